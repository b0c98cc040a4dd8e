package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
	"learner/pkg/consumer"
)

// consumerClient returns a client of the configuration in env.
func consumerClient(t *testing.T, env []string) *consumer.Client {
	t.Helper()
	cfg, err := loadConfig(env, t.TempDir(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafkaClient(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// fields returns text with all white space made one blank.
func fields(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestReset(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.create(t, 3, nil)
		rows := make([]string, 15)
		for i := range rows {
			rows[i] = "1,2,3"
		}
		c.produce(t, c.train, rows[:10]) // 4, 3, and 3 in the partitions
		time.Sleep(10 * time.Millisecond)
		middle := time.Now().Format(time.RFC3339Nano)
		time.Sleep(10 * time.Millisecond)
		c.produce(t, c.train, rows[:5]) // 2, 2, and 1

		client := consumerClient(t, c.env)
		commits := func() map[int32]consumer.Commit {
			t.Helper()
			all, err := client.Commits(t.Context(), c.group, c.train, []int32{0, 1, 2})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		succeed := func(args, rows string) {
			t.Helper()
			got := runWith(t, c.env, strings.Fields("reset --to "+args)...)
			want := "partition old offset new offset " + rows
			if got.code != exitClean || !strings.HasPrefix(fields(got.stdout), want) || got.stderr != "" {
				t.Errorf("%s: %+v; want %s", args, got, want)
			}
			if dry := strings.Contains(args, "--dry-run"); strings.Contains(got.stdout, "Nothing was changed") != dry ||
				!strings.Contains(got.stdout, "fresh models") || !strings.Contains(got.stdout, c.group) {
				t.Errorf("%s: %s", args, got.stdout)
			}
		}
		succeed("earliest --dry-run", "0 none 0 1 none 0 2 none 0 Nothing")
		if got := commits(); len(got) != 0 {
			t.Errorf("commits after a dry run: %v", got)
		}
		succeed("latest", "0 none 6 1 none 5 2 none 4 Group")
		if got, want := commits(), map[int32]consumer.Commit{0: {Offset: 6}, 1: {Offset: 5}, 2: {Offset: 4}}; !maps.Equal(got, want) {
			t.Errorf("commits %v, want %v", got, want)
		}
		succeed(middle, "0 6 4 1 5 3 2 4 3 Group")
		succeed("2999-01-01T00:00:00Z", "0 4 6 1 3 5 2 3 4 Group")
		err := client.Commit(t.Context(), c.group, consumer.Outsider, c.train, map[int32]int64{0: 2, 2: 1}, "lineage/7/writer")
		if err != nil {
			t.Fatal(err)
		}
		succeed("earliest", "0 2 0 1 5 0 2 1 0 Group")
		fresh := map[int32]consumer.Commit{0: {}, 1: {}, 2: {}}
		if got := commits(); !maps.Equal(got, fresh) {
			t.Errorf("commits %v, want %v", got, fresh)
		}

		// Not while the group has members.
		ctx, cancel := context.WithCancel(t.Context())
		holds, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- client.RunGroup(ctx, consumer.GroupConfig{Group: c.group, Topic: c.train, InstanceID: "machine-7"},
				func(ctx context.Context, _ *consumer.Tenure) error {
					close(holds)
					<-ctx.Done()
					return ctx.Err()
				})
		}()
		select {
		case <-holds:
		case err := <-ended:
			t.Fatal(err)
		}
		for _, args := range []string{"latest", "latest --dry-run"} {
			got := runWith(t, c.env, strings.Fields("reset --to "+args)...)
			if got.code != exitFailure || got.stdout != "" {
				t.Errorf("%s of an active group: %+v", args, got)
			}
			for _, want := range []string{c.group + " is active (Stable)", "member machine-7-", "instance machine-7", "client learner at "} {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("%s of an active group: %q, want %q", args, got.stderr, want)
				}
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := commits(); !maps.Equal(got, fresh) {
			t.Errorf("commits %v, want %v", got, fresh)
		}
		succeed("latest", "0 0 6 1 0 5 2 0 4 Group")
	})
}

func TestResetBearsTrouble(t *testing.T) {
	t.Parallel()
	b, err := broker.Start(broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.SeedTopics(2, "train")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	env := []string{"CCLOUD_BOOTSTRAP_ENDPOINT=" + strings.Join(b.Addrs(), ","), "LEARNER_TRAIN_TOPIC=train", "LEARNER_GROUP=group"}
	earliest := []string{"reset", "--to", "earliest"}
	for _, f := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator, Partitions: []int32{1}, Count: 2},
		{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.CoordinatorLoadInProgress},
		{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorNotAvailable, TopLevel: true},
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition},
	} {
		b.Fake.Fault(f)
		if got := runWith(t, env, earliest...); got.code != exitClean || !strings.Contains(got.stdout, "new lineage") {
			t.Errorf("%v: %+v", f.Err, got)
		}
	}
	for code, want := range map[*kerr.Error]string{
		kerr.UnknownMemberID:          "not of the group's generation", // joined after the look at it, and left again
		kerr.TopicAuthorizationFailed: "Topic Authorization Failed",
		kerr.UnknownServerError:       "partitions [0 1] of topic train",
	} {
		b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: code})
		if got := runWith(t, env, earliest...); got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: %+v", code, got)
		}
	}
	if got := runWith(t, append(env, "LEARNER_TRAIN_TOPIC_TYPO=x"), earliest...); got.code != exitUsage {
		t.Errorf("an unknown variable: %+v", got)
	}
	env[1] = "LEARNER_TRAIN_TOPIC=gone"
	if got := runWith(t, env, earliest...); got.code != exitFailure || !strings.Contains(got.stderr, "topic gone does not exist") {
		t.Errorf("a missing topic: %+v", got)
	}
}

func TestResetRefuses(t *testing.T) {
	t.Parallel()
	env := []string{"CCLOUD_BOOTSTRAP_ENDPOINT=127.0.0.1:1"}
	for give, want := range map[string]string{
		"reset":                          "-to is missing",
		"reset --dry-run":                "-to is missing",
		"reset earliest":                 `no arguments, found "earliest"`,
		"reset --to":                     "needs an argument",
		"reset --to yesterday":           "yesterday",
		"reset --to=1969-12-31":          "1969-12-31",
		"reset --to=1969-12-31T0:0:0Z":   "1969-12-31",
		"reset --to=earliest --force":    "not defined",
		"reset --to=earliest all":        `no arguments, found "all"`,
		"reset --to=2026-01-31T12:00Z":   "2026-01-31T12:00Z",
		"reset --to=earliest --dry-run=": "invalid boolean",
	} {
		if got := runWith(t, env, strings.Fields(give)...); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want %q", give, got, want)
		}
	}
	if got := runWith(t, nil, "reset", "--to", "latest"); got.code != exitUsage || !strings.Contains(got.stderr, "CCLOUD_BOOTSTRAP_ENDPOINT") {
		t.Errorf("without brokers: %+v", got)
	}
}

func TestPassing(t *testing.T) {
	t.Parallel()
	if passing(errors.New("x")) || passing(fmt.Errorf("%w: %w", consumer.ErrFenced, context.Canceled)) {
		t.Error("what will not pass is waited for")
	}
}
