package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"learner/internal/broker"
)

// patience bounds waits for what has to happen.
const patience = 10 * time.Second

// participant is a member of a group under test.
type participant struct {
	t            *testing.T
	client       *Client
	group, topic string
	cancel       context.CancelFunc
	got          chan *stay // each time that hold starts
	ended        chan error // RunGroup's result

	mu       sync.Mutex
	events   []string
	statuses []GroupStatus
}

// stay is one run of hold.
type stay struct {
	*Tenure
	ctx  context.Context
	fail chan error // makes hold return
	left chan struct{}
}

// participate joins a group. last, if not nil, runs when hold's context has ended.
func participate(t *testing.T, c *Client, cfg GroupConfig, last func(p *participant, s *stay)) *participant {
	t.Helper()
	cfg.Group, cfg.Topic, cfg.Session = cmp.Or(cfg.Group, "group"), cmp.Or(cfg.Topic, "train"), cmp.Or(cfg.Session, 10*time.Second)
	cfg.Rebalance, cfg.Heartbeat, cfg.Growth = min(time.Second, cfg.Session), 50*time.Millisecond, 100*time.Millisecond
	p := &participant{t: t, client: c, group: cfg.Group, topic: cfg.Topic, got: make(chan *stay, 10), ended: make(chan error, 1)}
	cfg.OnEvent = func(event string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, event)
	}
	cfg.OnStatus = func(s GroupStatus) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.statuses = append(p.statuses, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		p.ended <- c.RunGroup(ctx, cfg, func(ctx context.Context, tenure *Tenure) error {
			s := &stay{Tenure: tenure, ctx: ctx, fail: make(chan error, 1), left: make(chan struct{})}
			defer close(s.left)
			p.got <- s
			select {
			case <-ctx.Done():
			case err := <-s.fail:
				return err
			}
			if last != nil {
				last(p, s)
			}
			return ctx.Err()
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-p.ended:
			p.ended <- err
		case <-time.After(patience):
			t.Error("a member did not end")
		}
	})
	return p
}

// holds waits until the participant has the partitions.
func (p *participant) holds() *stay {
	p.t.Helper()
	select {
	case s := <-p.got:
		return s
	case err := <-p.ended:
		p.t.Fatalf("the member ended: %v", err)
	case <-time.After(patience):
		p.t.Fatalf("no partitions; %+v", p.status())
	}
	return nil
}

// stop ends the participant and returns RunGroup's result.
func (p *participant) stop() error {
	p.cancel()
	return p.end()
}

func (p *participant) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(patience):
		p.t.Fatal("the member did not end")
	}
	return nil
}

func (p *participant) status() GroupStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.statuses) == 0 {
		return GroupStatus{State: Joining}
	}
	return p.statuses[len(p.statuses)-1]
}

func (p *participant) eventList() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.events, " ")
}

// await waits until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func (p *participant) standsBy() {
	p.t.Helper()
	await(p.t, "standing by", func() bool { return p.status().State == Standby })
}

// survives fails the test if the stay is over.
func (s *stay) survives(t *testing.T) {
	t.Helper()
	if s.ctx.Err() != nil {
		t.Fatal("the holder was disturbed")
	}
}

// commit commits offset 1 of partition 0 in a generation.
func (p *participant) commit(g Generation) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := p.client.Kafka().OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: p.group, GenerationID: int(g.ID), MemberID: g.Member, InstanceID: g.Instance,
		Topics: map[string][]kafka.OffsetCommit{p.topic: {{Partition: 0, Offset: 1}}},
	})
	if err != nil {
		return err
	}
	return r.Topics[p.topic][0].Error
}

// groupCluster starts a cluster with the topic train that allows short sessions.
func groupCluster(t *testing.T, opts broker.Options, partitions int32) *broker.Broker {
	t.Helper()
	opts.Fake = append(opts.Fake, kfake.SeedTopics(partitions, "train"), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	return startCluster(t, opts)
}

var topics = []string{"train"}

func TestStandbysDoNotDisturbTheHolder(t *testing.T) {
	for _, test := range []struct {
		name string
		opts broker.Options
	}{
		{"one broker", broker.Options{}},
		{"three brokers, SASL_SSL", broker.Options{Brokers: 3, User: "key", Password: "secret"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := groupCluster(t, test.opts, 6)
			cfg := Config{User: test.opts.User, Password: test.opts.Password, Topics: topics}
			a := participate(t, connect(t, b, cfg), GroupConfig{}, nil)
			s := a.holds()
			if got := s.Partitions(); !slices.Equal(got, []int32{0, 1, 2, 3, 4, 5}) {
				t.Errorf("partitions %v", got)
			}
			for range 2 {
				before := s.Generation()
				standby := participate(t, connect(t, b, cfg), GroupConfig{}, nil)
				standby.standsBy()
				await(t, "the new generation", func() bool { return s.Generation().ID > before.ID })
				if err := a.commit(s.Generation()); err != nil {
					t.Errorf("commit in the new generation: %v", err)
				}
				if err := a.commit(before); !errors.Is(err, kafka.IllegalGeneration) {
					t.Errorf("commit in the old generation: %v", err)
				}
				before = s.Generation()
				if err := standby.stop(); err != nil {
					t.Errorf("the standby ended with %v", err)
				}
				await(t, "the new generation", func() bool { return s.Generation().ID > before.ID })
				if standby.eventList() != "" {
					t.Errorf("the standby saw %s", standby.eventList())
				}
			}
			s.survives(t)
			if a.eventList() != "assigned" || a.status() != (GroupStatus{State: Holder}) {
				t.Errorf("the holder saw %s and is %+v", a.eventList(), a.status())
			}
		})
	}
}

func TestCleanStopCommitsAndHandsOver(t *testing.T) {
	for _, instance := range []string{"", "one"} {
		t.Run("instance "+instance, func(t *testing.T) {
			t.Parallel()
			b := groupCluster(t, broker.Options{Brokers: 3}, 2)
			c := connect(t, b, Config{Topics: topics})
			var committed error
			// The last commit comes later than a session without heartbeats would last, after a rebalance.
			a := participate(t, c, GroupConfig{Session: 400 * time.Millisecond, InstanceID: instance}, func(p *participant, s *stay) {
				time.Sleep(600 * time.Millisecond)
				committed = p.commit(s.Generation())
			})
			s := a.holds()
			if s.Generation().Instance != instance {
				t.Errorf("generation %+v", s.Generation())
			}
			next := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{Session: 3 * time.Second}, nil)
			next.standsBy()
			a.cancel()
			third := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{Session: 3 * time.Second}, nil)
			third.standsBy()
			select {
			case <-s.left:
				t.Error("hold ended before the rebalance that the test wants to see")
			default:
			}
			if err := a.end(); err != nil || committed != nil {
				t.Errorf("ended with %v, last commit %v", err, committed)
			}
			left := time.Now()
			for next.status().State != Holder && third.status().State != Holder && time.Since(left) < patience {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(left); took > 2*time.Second {
				t.Errorf("took over after %s", took)
			}
			if a.eventList() != "assigned revoked" {
				t.Errorf("events: %s", a.eventList())
			}
		})
	}
}

func TestKilledHolderIsReplacedAndComesBackAsStandby(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{Brokers: 3}, 2)
	line := &cable{}
	a := participate(t, connect(t, b, Config{Topics: topics, Dial: line.dial}), GroupConfig{Session: 600 * time.Millisecond}, nil)
	s := a.holds()
	standby := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{Session: 600 * time.Millisecond}, nil)
	standby.standsBy()
	await(t, "the new generation", func() bool { return s.Generation().ID > 1 })
	s.survives(t)

	cut := time.Now()
	line.set(true)
	select {
	case <-s.ctx.Done():
	case <-time.After(patience):
		t.Fatal("the cut holder goes on")
	}
	if took := time.Since(cut); took > 1500*time.Millisecond {
		t.Errorf("the cut holder stopped after %s, with a session of 600 ms", took)
	}
	next := standby.holds()
	t.Logf("taken over after %s", time.Since(cut))
	if got := next.Partitions(); !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("partitions %v", got)
	}
	if err := a.status().Err; err == nil || Kind(err) == "" {
		t.Errorf("the cut member's trouble: %v", err)
	}

	line.set(false)
	await(t, "coming back", func() bool { return a.status() == (GroupStatus{State: Standby}) })
	if err := standby.commit(s.Generation()); !errors.Is(err, kafka.UnknownMemberId) && !errors.Is(err, kafka.IllegalGeneration) {
		t.Errorf("a commit of the lost tenure: %v", err)
	}
	next.survives(t)
	if a.eventList() != "assigned lost" || standby.eventList() != "assigned" {
		t.Errorf("events: %s; %s", a.eventList(), standby.eventList())
	}
}

func TestCutLineWithoutStandby(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{}, 2)
	line := &cable{}
	a := participate(t, connect(t, b, Config{Topics: topics, Dial: line.dial}), GroupConfig{Session: 1500 * time.Millisecond}, nil)
	s := a.holds()
	for range 2 {
		line.set(true)
		await(t, "trouble", func() bool { return a.status().Err != nil })
		line.set(false)
		await(t, "recovery", func() bool { return a.status().Err == nil })
	}
	s.survives(t) // shorter than a session

	line.set(true)
	<-s.ctx.Done()
	<-s.left
	line.set(false)
	if again := a.holds(); again.Generation().Member == s.Generation().Member && again.Generation().ID < s.Generation().ID {
		t.Errorf("from generation %+v to %+v", s.Generation(), again.Generation())
	}
	if a.eventList() != "assigned lost assigned" {
		t.Errorf("events: %s", a.eventList())
	}
}

func TestStaticMemberComesBackAtOnce(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{Brokers: 3}, 2)
	line := &cable{}
	dying := participate(t, connect(t, b, Config{Topics: topics, Dial: line.dial}), GroupConfig{InstanceID: "a"}, nil)
	dying.holds()
	standby := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{InstanceID: "b"}, nil)
	standby.standsBy()
	line.set(true)

	start := time.Now()
	again := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{InstanceID: "a"}, nil)
	s := again.holds()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the new process has the partitions after %s, with a session of 10 s", took)
	}
	if got := s.Partitions(); !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("partitions %v", got)
	}
	// The old process was not dead after all.
	line.set(false)
	err := dying.end()
	if !errors.Is(err, kafka.FencedInstanceID) || !strings.Contains(err.Error(), `LEARNER_INSTANCE_ID "a"`) || Kind(err) != kindJoin {
		t.Errorf("the replaced process ended with %v", err)
	}
	time.Sleep(200 * time.Millisecond)
	s.survives(t)
	if standby.eventList() != "" || standby.status() != (GroupStatus{State: Standby}) {
		t.Errorf("the standby saw %q and is %+v", standby.eventList(), standby.status())
	}
}

func TestCoordinatorMoves(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{Brokers: 3}, 2)
	c := connect(t, b, Config{Topics: topics})
	a := participate(t, c, GroupConfig{Session: 2 * time.Second}, nil)
	s := a.holds()
	for moves := 0; moves < 3; {
		before := b.Fake.CoordinatorFor("group")
		b.Fake.RehashCoordinators()
		if b.Fake.CoordinatorFor("group") == before {
			continue
		}
		moves++
		time.Sleep(150 * time.Millisecond)
	}
	if err := a.commit(s.Generation()); err != nil {
		t.Errorf("commit after the moves: %v", err)
	}
	standby := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{Session: 2 * time.Second}, nil)
	standby.standsBy()
	s.survives(t)
}

func TestCoordinatorTroubleIsRetried(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{}, 2)
	for _, f := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress},
		{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorNotAvailable},
		{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.RebalanceInProgress},
		{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.UnknownMemberID},
		{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.NotCoordinator, Count: 2},
	} {
		f.TopLevel, f.Group = true, "group"
		b.Fake.Fault(f)
	}
	a := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{}, nil)
	s := a.holds()
	await(t, "trouble with heartbeats", func() bool { return a.status().Err != nil })
	await(t, "recovery", func() bool { return a.status() == (GroupStatus{State: Holder}) })
	s.survives(t)
	// Refusals that would have ended a member at its start are waited out later.
	h := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.GroupAuthorizationFailed, Count: -1, TopLevel: true})
	await(t, "trouble with the permission", func() bool { return Kind(a.status().Err) == kindAuth })
	h.Remove()
	await(t, "recovery", func() bool { return a.status() == (GroupStatus{State: Holder}) })
	s.survives(t)
	for _, code := range []*kerr.Error{kerr.UnknownMemberID, kerr.IllegalGeneration} {
		b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: code, TopLevel: true})
		<-s.ctx.Done()
		s = a.holds()
	}
	if a.eventList() != "assigned lost assigned lost assigned" {
		t.Errorf("events: %s", a.eventList())
	}
}

func TestRefusedMembersEnd(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{Fake: []kfake.Opt{kfake.GroupMaxSessionTimeout(time.Minute)}}, 2)
	c := connect(t, b, Config{Topics: topics})
	foreign := func(member string) *kafka.JoinGroupResponse {
		r, err := c.Kafka().JoinGroup(limit(t, patience), &kafka.JoinGroupRequest{
			GroupID: "group", MemberID: member, SessionTimeout: 30 * time.Second, RebalanceTimeout: time.Second,
			ProtocolType: protocolType, Protocols: []kafka.GroupProtocol{{Name: "range"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	foreign(foreign("").MemberID)
	for _, test := range []struct {
		give GroupConfig
		code error
		want string
	}{
		{GroupConfig{}, kafka.InconsistentGroupProtocol, "LEARNER_GROUP"},
		{GroupConfig{Session: time.Hour}, kafka.InvalidSessionTimeout, "group.max.session.timeout.ms"},
	} {
		err := participate(t, c, test.give, nil).end()
		if !errors.Is(err, test.code) || !strings.Contains(err.Error(), test.want) || Kind(err) != kindJoin {
			t.Errorf("ended with %v", err)
		}
	}
	err := c.RunGroup(t.Context(), GroupConfig{Group: "group", Topic: "train", Session: time.Second, Rebalance: 2 * time.Second}, nil)
	if err == nil || !strings.Contains(err.Error(), "above the session timeout") {
		t.Errorf("rebalance above session: %v", err)
	}
}

func TestPartitionGrowthDoesNotInterrupt(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{Brokers: 3}, 2)
	c := connect(t, b, Config{Topics: topics})
	var members []*participant
	var s *stay
	for i := range 3 {
		members = append(members, participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{}, nil))
		if i == 0 {
			s = members[0].holds()
			continue
		}
		members[i].standsBy()
	}
	for _, count := range []int32{4, 7} {
		r, err := c.Kafka().CreatePartitions(limit(t, patience), &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: "train", Count: count}},
		})
		if err != nil || r.Errors["train"] != nil {
			t.Fatal(err, r.Errors)
		}
		await(t, fmt.Sprintf("growth to %d", count), func() bool { return len(s.Partitions()) == int(count) })
		for i, p := range s.Partitions() {
			if int(p) != i {
				t.Errorf("partitions %v", s.Partitions())
			}
		}
	}
	s.survives(t)
	for _, m := range members {
		if m != members[0] && m.eventList() != "" {
			t.Errorf("a standby saw %s", m.eventList())
		}
	}
}

func TestDeletedTopicStaysDeleted(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{Brokers: 3, AutoCreate: true}, 2)
	c := connect(t, b, Config{Topics: topics})
	c.transport.MetadataTTL = 100 * time.Millisecond
	a := participate(t, c, GroupConfig{}, nil)
	s := a.holds()
	standby := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{}, nil)
	standby.standsBy()
	if r, err := c.Kafka().DeleteTopics(limit(t, patience), &kafka.DeleteTopicsRequest{Topics: topics}); err != nil || r.Errors["train"] != nil {
		t.Fatal(err, r)
	}
	<-s.ctx.Done()
	await(t, "the report", func() bool {
		return errors.Is(a.status().Err, errNoTopic) || errors.Is(standby.status().Err, errNoTopic)
	})
	time.Sleep(400 * time.Millisecond) // everything has looked for it meanwhile
	if got := allTopics(t, c); len(got) != 0 {
		t.Errorf("topics %v: the topic came back", got)
	}
	if a.eventList() != "assigned revoked" {
		t.Errorf("events: %s", a.eventList())
	}
	r, err := c.Kafka().CreateTopics(limit(t, patience), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "train", NumPartitions: 5, ReplicationFactor: 1}},
	})
	if err != nil || r.Errors["train"] != nil {
		t.Fatal(err, r)
	}
	if s := a.holds(); len(s.Partitions()) != 5 {
		t.Errorf("partitions of the new topic: %v", s.Partitions())
	}
	await(t, "the all-clear", func() bool { return a.status().Err == nil && standby.status().Err == nil })
}

func TestFurthestMemberGetsThePartitions(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{}, 2)
	c := connect(t, b, Config{Topics: topics})
	release := make(chan struct{})
	var late error
	a := participate(t, c, GroupConfig{Progress: func() (int64, int32) { return 3, 100 }}, func(p *participant, s *stay) {
		<-release
		late = p.commit(s.Generation())
	})
	s := a.holds()
	further := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{Progress: func() (int64, int32) { return 4, 1 }}, nil)
	next := further.holds()
	<-s.ctx.Done()
	a.standsBy()
	// While the old holder is still busy, the partitions come back to it: it must not hold twice.
	if err := further.stop(); err != nil {
		t.Error(err)
	}
	<-next.ctx.Done()
	time.Sleep(200 * time.Millisecond)
	select {
	case <-a.got:
		t.Fatal("held twice at the same time")
	default:
	}
	close(release)
	again := a.holds()
	if !errors.Is(late, kafka.IllegalGeneration) {
		t.Errorf("the commit of the revoked tenure: %v", late)
	}
	if err := a.commit(again.Generation()); err != nil {
		t.Errorf("the commit of the new tenure: %v", err)
	}
	if a.eventList() != "assigned revoked assigned" {
		t.Errorf("events: %s", a.eventList())
	}
}

func TestHoldThatReturnsEndsTheMembership(t *testing.T) {
	t.Parallel()
	b := groupCluster(t, broker.Options{}, 2)
	broken := errors.New("broken")
	for give, want := range map[error]error{broken: broken, nil: errHoldReturned} {
		a := participate(t, connect(t, b, Config{Topics: topics}), GroupConfig{}, nil)
		a.holds().fail <- give
		if err := a.end(); !errors.Is(err, want) {
			t.Errorf("hold returned %v, RunGroup %v", give, err)
		}
		if info := b.Fake.GroupInfo("group"); info != nil && len(info.Members) != 0 {
			t.Errorf("%d members are left", len(info.Members))
		}
	}
}

func TestEndsBeforeTheFirstAnswer(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := NewClient(Config{Brokers: []string{"127.0.0.1:1"}, Topics: topics})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	reported := make(chan error, 100)
	done := make(chan error)
	go func() {
		done <- c.RunGroup(ctx, GroupConfig{Group: "group", Topic: "train", OnStatus: func(s GroupStatus) { reported <- s.Err }}, nil)
	}()
	if err := <-reported; Kind(err) != kindDial {
		t.Errorf("reported %v", err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("does not end")
	}
}

func TestGroupLeavesNothingBehind(t *testing.T) {
	b := groupCluster(t, broker.Options{Brokers: 3}, 2)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := NewClient(Config{Brokers: b.Addrs(), Topics: topics})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	err := c.RunGroup(ctx, GroupConfig{Group: "group", Topic: "train"}, func(ctx context.Context, _ *Tenure) error {
		cancel()
		<-ctx.Done()
		return nil
	})
	if err != nil {
		t.Errorf("ended with %v", err)
	}
	if info := b.Fake.GroupInfo("group"); info != nil && len(info.Members) != 0 {
		t.Errorf("%d members are left", len(info.Members))
	}
}
