package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
)

// onEveryCluster runs a test with the addresses of an embedded cluster of three brokers and, where KAFKA_TEST_PLAINTEXT
// names it, of a real one. name is for the test's topics and groups.
func onEveryCluster(t *testing.T, test func(t *testing.T, addrs []string, name string)) {
	t.Helper()
	name := fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano())
	t.Run("embedded", func(t *testing.T) { test(t, startCluster(t, broker.Options{Brokers: 3}).Addrs(), name) })
	t.Run("kafka", func(t *testing.T) {
		addr := os.Getenv("KAFKA_TEST_PLAINTEXT")
		if addr == "" {
			t.Skip("KAFKA_TEST_PLAINTEXT is not set")
		}
		test(t, []string{addr}, name)
	})
}

// create makes a topic that is deleted after the test.
func create(t *testing.T, c *Client, topic string, partitions int, configs ...kafka.ConfigEntry) {
	t.Helper()
	r, err := c.Kafka().CreateTopics(limit(t, patience), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs,
	}}})
	if err != nil || r.Errors[topic] != nil {
		t.Fatal(err, r)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if r, err := c.Kafka().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil || r.Errors[topic] != nil {
			t.Error(err, r)
		}
	})
	await(t, "the topic", func() bool {
		p, err := c.Partitions(limit(t, patience), topic)
		return err == nil && len(p) == partitions
	})
}

// settled repeats what a coordinator that is being elected refuses.
func settled(t *testing.T, f func() error) {
	t.Helper()
	var err error
	await(t, "an answer", func() bool {
		err = f()
		return !errors.Is(err, kafka.NotCoordinatorForGroup) && !errors.Is(err, kafka.GroupCoordinatorNotAvailable) &&
			!errors.Is(err, kafka.GroupLoadInProgress)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommits(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, addrs []string, name string) {
		c := client(t, Config{Brokers: addrs, Topics: []string{name}})
		create(t, c, name, 4)
		all := []int32{0, 1, 2, 3}
		read := func() map[int32]Commit {
			t.Helper()
			commits, err := c.Commits(limit(t, patience), name, name, all)
			if err != nil {
				t.Fatal(err)
			}
			return commits
		}
		write := func(g Generation, offset int64, metadata string) error {
			t.Helper()
			return c.Commit(limit(t, patience), name, g, name, map[int32]int64{0: offset, 2: offset + 2}, metadata)
		}
		settled(t, func() error {
			_, err := c.Commits(limit(t, patience), name, name, all)
			return err
		})
		if got := read(); len(got) != 0 {
			t.Errorf("commits of a new group: %v", got)
		}
		if g, err := c.Group(limit(t, patience), name); err != nil || g.Active() {
			t.Errorf("a new group: %+v, %v", g, err)
		}

		// An outsider may commit to a group without members, and the metadata are kept whole.
		id := strings.Repeat("lineage/7/writer ", 20)[:300]
		if err := write(Outsider, 40, id); err != nil {
			t.Fatal(err)
		}
		if got, want := read(), map[int32]Commit{0: {40, id}, 2: {42, id}}; !maps.Equal(got, want) {
			t.Errorf("commits %v, want %v", got, want)
		}

		// Only the member of the generation commits to a group that has one.
		member := participate(t, c, GroupConfig{Group: name, Topic: name, InstanceID: "a"}, nil)
		g := member.holds().Generation()
		if err := write(g, 50, "in it"); err != nil {
			t.Error(err)
		}
		late, foreign, double := g, g, g
		late.ID--
		foreign.Member, foreign.Instance = "foreign", ""
		double.Member = "double"
		for _, test := range []struct {
			give Generation
			want error
		}{
			{late, kafka.IllegalGeneration},
			{foreign, kafka.UnknownMemberId},
			{double, kafka.FencedInstanceID},
			{Outsider, kafka.UnknownMemberId},
		} {
			if err := write(test.give, 60, ""); !errors.Is(err, ErrFenced) || !errors.Is(err, test.want) || Kind(err) != "" {
				t.Errorf("commit in generation %+v: %v, want %v", test.give, err, test.want)
			}
		}
		if got, want := read(), map[int32]Commit{0: {50, "in it"}, 2: {52, "in it"}}; !maps.Equal(got, want) {
			t.Errorf("commits %v, want %v", got, want)
		}
		state, err := c.Group(limit(t, patience), name)
		if err != nil || !state.Active() || state.State != "Stable" || len(state.Members) != 1 {
			t.Fatalf("group %+v, %v", state, err)
		}
		if m := state.Members[0]; m.ID != g.Member || m.Instance != "a" || m.ClientID != "test" || !strings.Contains(m.Host, "127.0.0.1") {
			t.Errorf("member %+v", m)
		}

		if err := member.stop(); err != nil {
			t.Error(err)
		}
		if state, err := c.Group(limit(t, patience), name); err != nil || state.Active() {
			t.Errorf("a group that was left: %+v, %v", state, err)
		}
		if err := write(Outsider, 0, ""); err != nil {
			t.Error(err)
		}
		if got, want := read(), map[int32]Commit{0: {0, ""}, 2: {2, ""}}; !maps.Equal(got, want) {
			t.Errorf("commits %v, want %v", got, want)
		}
		if err := c.Commit(limit(t, patience), name, Outsider, name, nil, ""); err != nil {
			t.Errorf("a commit of nothing: %v", err)
		}
	})
}

func TestCommitErrorsAreNeverNone(t *testing.T) {
	b := startCluster(t, broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.SeedTopics(3, "train")}})
	c := connect(t, b, Config{Topics: topics})
	all := []int32{0, 1, 2}
	offsets := map[int32]int64{0: 1, 1: 2, 2: 3}
	if err := c.Commit(limit(t, patience), "group", Outsider, "train", offsets, "id"); err != nil {
		t.Fatal(err)
	}
	one := []int32{1}
	for _, f := range []kfake.Fault{
		{Err: kerr.CoordinatorLoadInProgress, TopLevel: true},
		{Err: kerr.NotCoordinator, TopLevel: true},
		{Err: kerr.GroupAuthorizationFailed, TopLevel: true},
		{Err: kerr.UnstableOffsetCommit, Partitions: one},
		{Err: kerr.TopicAuthorizationFailed, Partitions: one},
		{Err: kerr.UnknownServerError, Partitions: one},
	} {
		f.Keys = []kmsg.Key{kmsg.OffsetFetch}
		b.Fake.Fault(f)
		got, err := c.Commits(limit(t, patience), "group", "train", all)
		if !errors.Is(err, kafka.Error(f.Err.Code)) || got != nil {
			t.Errorf("%v: %v, %v", f.Err, got, err)
		}
		if auth := Kind(err) == kindAuth; auth != strings.Contains(f.Err.Message, "AUTHORIZATION") {
			t.Errorf("%v: kind %q", err, Kind(err))
		}
		if got, err := c.Commits(limit(t, patience), "group", "train", all); err != nil || len(got) != 3 {
			t.Errorf("after %v: %v, %v", f.Err, got, err)
		}
	}
	for _, test := range []struct {
		code       *kerr.Error
		fenced     bool
		kind, text string
	}{
		{kerr.RebalanceInProgress, true, "", "partitions [1]"},
		{kerr.IllegalGeneration, true, "", ""},
		{kerr.UnknownMemberID, true, "", ""},
		{kerr.FencedInstanceID, true, "", ""},
		{kerr.NotCoordinator, false, "", "partitions [1] of topic train"},
		{kerr.CoordinatorNotAvailable, false, "", ""},
		{kerr.OffsetMetadataTooLarge, false, "", ""},
		{kerr.TopicAuthorizationFailed, false, kindAuth, ""},
		{kerr.GroupAuthorizationFailed, false, kindAuth, ""},
	} {
		b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: test.code, Partitions: one})
		err := c.Commit(limit(t, patience), "group", Outsider, "train", offsets, "id")
		if !errors.Is(err, kafka.Error(test.code.Code)) || errors.Is(err, ErrFenced) != test.fenced || Kind(err) != test.kind ||
			!strings.Contains(err.Error(), test.text) {
			t.Errorf("%v: %v", test.code, err)
		}
	}

	// A partition that the coordinator is silent about has neither a commit nor none.
	drop := func(request kmsg.Request) (kmsg.Response, error, bool) {
		topic := kmsg.NewOffsetFetchResponseTopic()
		topic.Topic = "train"
		for _, p := range []int32{0, 2} {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p, Offset: -1})
		}
		r := request.ResponseKind().(*kmsg.OffsetFetchResponse)
		r.Topics = []kmsg.OffsetFetchResponseTopic{topic}
		return r, nil, true
	}
	b.Fake.ControlKey(int16(kmsg.OffsetFetch), drop)
	if got, err := c.Commits(limit(t, patience), "group", "train", all); err == nil || !strings.Contains(err.Error(), "partitions [1]") {
		t.Errorf("an answer without partition 1: %v, %v", got, err)
	}
}

func TestCommitsAfterTheCoordinatorMoved(t *testing.T) {
	b := startCluster(t, broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.SeedTopics(1, "train")}})
	c := connect(t, b, Config{Topics: topics})
	offset := int64(0)
	for moves := 0; moves < 5; {
		before := b.Fake.CoordinatorFor("group")
		b.Fake.RehashCoordinators()
		if b.Fake.CoordinatorFor("group") == before {
			continue
		}
		moves++
		offset++
		if err := c.Commit(limit(t, patience), "group", Outsider, "train", map[int32]int64{0: offset}, ""); err != nil {
			t.Fatalf("commit after move %d: %v", moves, err)
		}
		got, err := c.Commits(limit(t, patience), "group", "train", []int32{0})
		if err != nil || got[0].Offset != offset {
			t.Fatalf("commits after move %d: %v, %v; want %d", moves, got, err, offset)
		}
	}
}

func TestCommitsWithoutPermission(t *testing.T) {
	const topic, group = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	const read = kmsg.ACLOperationRead
	b := startCluster(t, broker.Options{User: "key", Password: "secret", Fake: []kfake.Opt{
		kfake.SeedTopics(2, "train"), kfake.EnableACLs(),
		kfake.User("PLAIN", "no-group", "pass", acl(topic, "train", read)),
		kfake.User("PLAIN", "no-topic", "pass", acl(group, "group", read)),
	}})
	owner := connect(t, b, Config{User: "key", Password: "secret"})
	offsets := map[int32]int64{0: 1, 1: 2}
	if err := owner.Commit(limit(t, patience), "group", Outsider, "train", offsets, ""); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]error{"no-group": kafka.GroupAuthorizationFailed, "no-topic": kafka.TopicAuthorizationFailed} {
		c := connect(t, b, Config{User: user, Password: "pass"})
		got, err := c.Commits(limit(t, patience), "group", "train", []int32{0, 1})
		if user == "no-group" && (!errors.Is(err, want) || Kind(err) != kindAuth || got != nil) { // kfake does not look at the topic
			t.Errorf("%s: commits %v, %v", user, got, err)
		}
		if err := c.Commit(limit(t, patience), "group", Outsider, "train", offsets, ""); !errors.Is(err, want) || Kind(err) != kindAuth || errors.Is(err, ErrFenced) {
			t.Errorf("%s: commit: %v", user, err)
		}
	}
	c := connect(t, b, Config{User: "no-group", Password: "pass"})
	if g, err := c.Group(limit(t, patience), "group"); !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Errorf("group %+v, %v", g, err)
	}
}

func TestCommitsOfASilentCoordinator(t *testing.T) {
	c := client(t, Config{Brokers: []string{silentBroker(t, 0)}})
	ctx := limit(t, 100*time.Millisecond)
	if got, err := c.Commits(ctx, "group", "train", []int32{0}); !errors.Is(err, context.DeadlineExceeded) || got != nil {
		t.Errorf("commits %v, %v", got, err)
	}
	err := c.Commit(ctx, "group", Outsider, "train", map[int32]int64{0: 0}, "")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrFenced) {
		t.Errorf("commit: %v", err)
	}
	if _, err := c.Group(ctx, "group"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("group: %v", err)
	}
}
