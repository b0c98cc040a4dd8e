package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
	"go.uber.org/zap"
)

// GroupConfig describes a membership. Times that are 0 have their defaults.
type GroupConfig struct {
	Group, Topic string
	// InstanceID makes the membership static (KIP-345) unless it is empty: a process that starts again with it within
	// the session takes up the place of the one that died.
	InstanceID string

	Session   time.Duration // the coordinator gives a silent member up after this; default 10 s
	Rebalance time.Duration // how long a rebalance waits for a member, at most Session; default 3 s
	Heartbeat time.Duration // default 500 ms
	Growth    time.Duration // how often the number of partitions is looked at; default 5 s

	// Progress returns the highest sequence that this process committed or restored as holder, and the generation of
	// that; nil: none. The group's leader prefers the member that is furthest.
	Progress func() (sequence int64, generation int32)
	// OnEvent is called with "assigned", "revoked" (orderly), and "lost" (the group went on without this member); nil:
	// nobody is told. Like OnStatus, it is called by the membership's goroutine and must not wait.
	OnEvent func(event string)
	// OnStatus is called whenever the status changes; nil: nobody is told.
	OnStatus func(GroupStatus)
	Logger   *zap.Logger // nil: the client's
}

// States of a membership.
const (
	Joining = "joining" // not in the group, or not any more
	Standby = "standby" // in the group, without partitions
	Holder  = "holder"  // has all partitions
)

// GroupStatus says how a membership stands.
type GroupStatus struct {
	State string // Joining, Standby, or Holder
	Err   error  // what is being retried; nil when all is well
}

// Generation is what a commit has to carry. The coordinator refuses one from a generation that has passed.
type Generation struct {
	ID               int32
	Member, Instance string
}

// Tenure is the time from getting the partitions to losing them, over any number of generations. After a loss it keeps
// the last generation that was its own, so a late commit is refused.
type Tenure struct {
	mu         sync.Mutex // guards what follows
	generation Generation
	partitions []int32
}

// Generation returns the generation that the holder is in now.
func (t *Tenure) Generation() Generation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.generation
}

// Partitions returns the topic's partitions, sorted; they become more when the topic grows. The slice is shared and must
// not be changed.
func (t *Tenure) Partitions() []int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.partitions
}

func (t *Tenure) set(g Generation, partitions []int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.generation, t.partitions = g, partitions
}

const (
	// answerTimeout is how long the coordinator may take beyond the time that a rebalance takes.
	answerTimeout = 5 * time.Second
	// leaveTimeout bounds the good-bye of a member.
	leaveTimeout = 3 * time.Second
	// lookTimeout bounds a look at the topic's partitions.
	lookTimeout = 2 * time.Second

	// Waits before the coordinator is asked again, doubling from the first to the last.
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Second
)

var (
	errNoTopic      = errors.New("the topic is gone")
	errHoldReturned = errors.New("the holder stopped although it has the partitions")
	errSession      = errors.New("the coordinator was not reached for a session")
)

// RunGroup is a member of the group until ctx ends or hold fails. One member holds all partitions of the topic; when it
// is this one, hold runs in a goroutine of its own until the context that it is given ends, because the partitions went
// to another member, the coordinator was not reached for a session, or ctx ended. Rebalances that the holder survives do
// not disturb it. Heartbeats go on while hold returns, so that its last commit is accepted; then the member leaves, static
// or not.
//
// RunGroup returns nil after ctx has ended, and an error when hold failed (an error after a loss is only logged), when
// another process uses the same instance id, or, before the first time in the group, when the coordinator refuses this
// member for good. Everything else is tried again without end.
//
// Goroutines: hold is started and waited for by RunGroup and ends with its context; one that looks at the number of
// partitions is too, and ends with ctx.
func (c *Client) RunGroup(ctx context.Context, cfg GroupConfig, hold func(ctx context.Context, t *Tenure) error) error {
	defaults := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	defaults(&cfg.Session, 10*time.Second)
	defaults(&cfg.Rebalance, 3*time.Second)
	defaults(&cfg.Heartbeat, 500*time.Millisecond)
	defaults(&cfg.Growth, 5*time.Second)
	if cfg.Rebalance > cfg.Session {
		return fmt.Errorf("join group %s: rebalance timeout %s is above the session timeout %s", cfg.Group, cfg.Rebalance, cfg.Session)
	}
	if cfg.Logger == nil {
		cfg.Logger = c.log
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(string) {}
	}
	if cfg.OnStatus == nil {
		cfg.OnStatus = func(GroupStatus) {}
	}
	m := &membership{
		client: c, cfg: cfg, hold: hold, generation: Generation{Instance: cfg.InstanceID}, retry: firstRetry,
		log: cfg.Logger.With(zap.String("group", cfg.Group)), status: GroupStatus{State: Joining},
	}
	return m.run(ctx)
}

// membership is the state of a member. Only the goroutine in run touches it.
type membership struct {
	client *Client
	cfg    GroupConfig
	hold   func(context.Context, *Tenure) error
	log    *zap.Logger

	generation Generation
	member     bool // in generation; otherwise the next step is to join
	everMember bool
	leader     bool
	fenced     bool    // another process carries the instance id
	partitions []int32 // assigned in generation
	known      int     // how many partitions there were when generation was assigned; -1: not known
	held       int32   // the latest generation with partitions
	contact    time.Time
	retry      time.Duration
	status     GroupStatus

	holding *holding // nil: hold does not run
}

// holding is one run of hold.
type holding struct {
	*Tenure
	ctx     context.Context
	cancel  context.CancelCauseFunc
	session *time.Timer // cancels when the coordinator was not reached for a session: errSession
	lost    bool        // the partitions are not ours any more; hold is to return
	done    chan error
}

func (m *membership) run(ctx context.Context) error {
	looking, stopLooking := context.WithCancel(ctx)
	counts := make(chan int)
	var wg sync.WaitGroup
	wg.Go(func() { m.client.watchPartitions(looking, m.cfg.Topic, m.cfg.Growth, counts) })
	defer wg.Wait()
	defer stopLooking()

	step := time.NewTimer(0)
	defer step.Stop()
	for {
		var done <-chan error
		var lost <-chan struct{}
		stop := ctx.Done()
		if h := m.holding; h != nil {
			done = h.done
			if !h.lost && ctx.Err() == nil {
				lost = h.ctx.Done()
			}
		}
		if ctx.Err() != nil {
			if m.holding == nil {
				m.leave(ctx)
				return nil
			}
			stop = nil // until hold has returned
		}
		select {
		case <-stop:
		case <-lost:
			m.expire()
			m.report(m.status.Err)
		case err := <-done:
			if err := m.returned(ctx, err); err != nil {
				m.leave(ctx)
				return err
			}
			m.settle(ctx)
			m.report(m.status.Err)
		case n := <-counts:
			// Not only the leader looks: a static leader that started anew does not know that it is one (KIP-814).
			// The holder's subscription differs from the last one, by its generation, so its rejoin is a rebalance.
			if m.member && (m.leader || m.holding != nil) && m.known >= 0 && n != m.known {
				m.log.Info("the number of partitions changed", zap.Int("was", m.known), zap.Int("is", n))
				m.member = false
				step.Reset(0)
			}
		case <-step.C:
			wait, err := m.step(ctx)
			if err != nil {
				m.stop()
				m.leave(ctx)
				return err
			}
			step.Reset(wait)
		}
	}
}

// step joins the group or sends a heartbeat, and returns when to do the next step. An error ends the membership.
func (m *membership) step(ctx context.Context) (wait time.Duration, err error) {
	// A holder's last commit needs a live generation: its membership goes on although ctx has ended.
	if m.holding != nil && !m.holding.lost {
		ctx = context.WithoutCancel(ctx)
	}
	what := "heartbeat to"
	if !m.member {
		what = "join"
		err = m.join(ctx)
	} else {
		err = m.beat(ctx)
	}
	switch {
	case err == nil:
		m.retry = firstRetry
		m.settle(ctx)
		if m.leader && m.known == 0 {
			err = fmt.Errorf("assign partitions of topic %s: %w", m.cfg.Topic, errNoTopic)
		}
		m.report(err)
		return m.cfg.Heartbeat, nil
	case errors.Is(err, kafka.RebalanceInProgress):
		m.member = false
		return 0, nil
	case errors.Is(err, kafka.UnknownMemberId), errors.Is(err, kafka.IllegalGeneration):
		if errors.Is(err, kafka.UnknownMemberId) {
			m.generation.Member = ""
		}
		m.member, m.partitions = false, nil
		m.lose("lost", err.Error())
		m.report(nil)
		// At once, but a coordinator that says so again and again is not asked in a tight loop.
		return 10 * time.Millisecond, nil
	case ctx.Err() != nil: // run sees it too; hold may still be busy
		return m.cfg.Heartbeat, nil //nolint:nilerr // the error is the end that was asked for
	}
	err = fmt.Errorf("%s group %s: %w", what, m.cfg.Group, err)
	if errors.Is(err, kafka.FencedInstanceID) {
		m.fenced = true
		return 0, &fault{fmt.Errorf("%w; another process carries LEARNER_INSTANCE_ID %q, each needs its own", err, m.cfg.InstanceID), kindJoin, true}
	}
	if hint, ok := refusal(err); ok && !m.everMember {
		return 0, &fault{fmt.Errorf("%w; %s", err, hint), kindJoin, true}
	}
	m.report(&fault{err, kindJoin, false})
	wait = m.retry
	m.retry = min(2*m.retry, lastRetry)
	return wait, nil
}

// refusal tells answers that the coordinator will give again, and what to look at.
func refusal(err error) (hint string, ok bool) {
	for code, hint := range map[kafka.Error]string{
		kafka.InconsistentGroupProtocol: "consumers of another kind are in this group: give the learner one of its own by LEARNER_GROUP",
		kafka.GroupAuthorizationFailed:  "allow READ on the group, or check LEARNER_GROUP",
		kafka.TopicAuthorizationFailed:  "allow READ on the topic",
		kafka.InvalidGroupId:            "check LEARNER_GROUP",
		kafka.InvalidSessionTimeout:     "the session timeout must be within the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms",
		kafka.GroupMaxSizeReached:       "the group is full (the brokers' group.max.size)",
		kafka.UnsupportedVersion:        "Kafka 2.3 or later is needed",
	} {
		if errors.Is(err, code) {
			return hint, true
		}
	}
	return "", false
}

// join makes this a member of a new generation.
func (m *membership) join(ctx context.Context) error {
	p := progress{generation: m.held}
	if m.cfg.Progress != nil {
		sequence, generation := m.cfg.Progress()
		p = progress{sequence: sequence, generation: max(generation, m.held)}
	}
	metadata, err := subscription(m.cfg.Topic, p)
	if err != nil {
		return fmt.Errorf("encode the subscription: %w", err)
	}
	var joined *joingroup.Response
	// A dynamic member first gets its id and has to come again with it (KIP-394).
	for range 2 {
		r, err := m.ask(ctx, &joingroup.Request{
			GroupID: m.cfg.Group, MemberID: m.generation.Member, GroupInstanceID: m.cfg.InstanceID,
			SessionTimeoutMS: milliseconds(m.cfg.Session), RebalanceTimeoutMS: milliseconds(m.cfg.Rebalance),
			ProtocolType: protocolType, Protocols: []joingroup.RequestProtocol{{Name: protocolName, Metadata: metadata}},
		})
		if err != nil {
			return err
		}
		joined = r.(*joingroup.Response)
		if kafka.Error(joined.ErrorCode) != kafka.MemberIDRequired {
			break
		}
		m.generation.Member = joined.MemberID
	}
	if joined.ErrorCode != 0 {
		return kafka.Error(joined.ErrorCode)
	}
	m.generation.Member, m.generation.ID = joined.MemberID, joined.GenerationID
	m.leader = joined.LeaderID == joined.MemberID
	known := -1
	request := &syncgroup.Request{
		GroupID: m.cfg.Group, GenerationID: m.generation.ID, MemberID: m.generation.Member, GroupInstanceID: m.cfg.InstanceID,
		ProtocolType: protocolType, ProtocolName: protocolName,
	}
	if m.leader {
		partitions, err := m.client.existing(ctx, m.cfg.Topic)
		if err != nil {
			return err
		}
		known = len(partitions)
		if request.Assignments, err = assign(joined.Members, m.cfg.Topic, partitions); err != nil {
			return fmt.Errorf("assign partitions: %w", err)
		}
	}
	contact := time.Now()
	r, err := m.ask(ctx, request)
	if err != nil {
		return err
	}
	synced := r.(*syncgroup.Response)
	if synced.ErrorCode != 0 {
		return kafka.Error(synced.ErrorCode)
	}
	partitions, err := assigned(synced.Assignments, m.cfg.Topic)
	if err != nil {
		return fmt.Errorf("read the assignment: %w", err)
	}
	if !m.leader && len(partitions) > 0 {
		known = len(partitions)
	}
	m.member, m.everMember = true, true
	m.contact, m.known, m.partitions = contact, known, partitions
	if len(partitions) > 0 {
		m.held = m.generation.ID
	}
	m.log.Debug("in a new generation", zap.Int32("generation", m.generation.ID), zap.String("member", m.generation.Member),
		zap.Bool("leader", m.leader), zap.Int32s("partitions", partitions))
	return nil
}

// ask sends a request that the coordinator may answer only when the rebalance is over.
func (m *membership) ask(ctx context.Context, request protocol.Message) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Rebalance+answerTimeout)
	defer cancel()
	return m.client.askGroup(ctx, m.cfg.Group, request)
}

func milliseconds(d time.Duration) int32 { return int32(d.Milliseconds()) }

// beat sends a heartbeat.
func (m *membership) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(m.cfg.Session/3, answerTimeout))
	defer cancel()
	sent := time.Now()
	err := m.client.heartbeat(ctx, m.cfg.Group, m.generation)
	if err == nil || errors.Is(err, kafka.RebalanceInProgress) {
		m.contact = sent
		if m.holding != nil && !m.holding.lost {
			m.holding.session.Reset(time.Until(m.contact.Add(m.cfg.Session)))
		}
	}
	return err
}

// settle makes hold run, go on, or stop as the assignment says.
func (m *membership) settle(ctx context.Context) {
	m.expire()
	h := m.holding
	switch {
	case !m.member:
	case h != nil && !h.lost && len(m.partitions) == 0:
		m.lose("revoked", "the group gave the partitions to another member")
	case h != nil && !h.lost:
		h.session.Reset(time.Until(m.contact.Add(m.cfg.Session)))
		h.set(m.generation, m.partitions)
	case h == nil && len(m.partitions) > 0 && ctx.Err() == nil && time.Since(m.contact) < m.cfg.Session:
		m.start(ctx)
	}
}

func (m *membership) start(ctx context.Context) {
	h := &holding{Tenure: &Tenure{}, done: make(chan error, 1)}
	h.set(m.generation, m.partitions)
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	h.session = time.AfterFunc(time.Until(m.contact.Add(m.cfg.Session)), func() { h.cancel(errSession) })
	m.holding = h
	m.log.Info("got the partitions", zap.Int32s("partitions", m.partitions), zap.Int32("generation", m.generation.ID))
	m.cfg.OnEvent("assigned")
	go func() { h.done <- m.hold(h.ctx, h.Tenure) }()
}

// expire notices that the session ended: hold was told already, and its generation must not go on.
func (m *membership) expire() {
	if m.holding != nil && errors.Is(context.Cause(m.holding.ctx), errSession) {
		m.lose("lost", errSession.Error())
	}
}

// lose tells hold to return because the partitions are gone.
func (m *membership) lose(event, why string) {
	h := m.holding
	if h == nil || h.lost {
		return
	}
	h.lost = true
	h.session.Stop()
	h.cancel(nil)
	m.log.Warn("lost the partitions", zap.String("event", event), zap.String("why", why))
	m.cfg.OnEvent(event)
}

// returned takes hold's result. An error ends the membership.
func (m *membership) returned(ctx context.Context, err error) error {
	m.expire()
	h := m.holding
	m.holding = nil
	h.session.Stop()
	// Asked before the context is cancelled: did hold return by itself?
	cancelled := h.ctx.Err() != nil
	h.cancel(nil)
	switch {
	case !h.lost && ctx.Err() != nil:
		m.cfg.OnEvent("revoked")
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	case !cancelled && err == nil:
		return errHoldReturned
	case !cancelled:
		return err
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		m.log.Warn("the holder stopped with an error after the loss", zap.Error(err))
	}
	return nil
}

// stop ends hold, without heartbeats, when the membership is over.
func (m *membership) stop() {
	if m.holding == nil {
		return
	}
	m.lose("lost", "the membership is over")
	if err := <-m.holding.done; err != nil && !errors.Is(err, context.Canceled) {
		m.log.Warn("the holder stopped with an error after the loss", zap.Error(err))
	}
	m.holding = nil
}

// leave tells the coordinator that the member is gone, so that the others need not wait for its session to end.
func (m *membership) leave(ctx context.Context) {
	if m.generation.Member == "" || m.fenced {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	for {
		err := m.client.leaveGroup(ctx, m.cfg.Group, m.generation.Member, m.cfg.InstanceID)
		if err == nil || errors.Is(err, kafka.UnknownMemberId) {
			m.log.Info("left the group")
			return
		}
		select {
		case <-time.After(firstRetry):
		case <-ctx.Done():
			m.log.Warn("could not leave the group: the others wait for the session to end", zap.Error(err))
			return
		}
	}
}

// report tells status and err to whom it concerns, if either is new.
func (m *membership) report(err error) {
	s := GroupStatus{State: Joining, Err: err}
	switch {
	case m.holding != nil && !m.holding.lost:
		s.State = Holder
	case m.member:
		s.State = Standby
	}
	if s.State == m.status.State && text(s.Err) == text(m.status.Err) {
		return
	}
	// A text may hold a port that is new each time: one line for each kind of trouble.
	if err != nil && (m.status.Err == nil || Kind(err) != Kind(m.status.Err)) {
		m.log.Warn("the group has trouble", zap.String("state", s.State), zap.Error(err))
	}
	m.status = s
	m.cfg.OnStatus(s)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// watchPartitions sends the number of the topic's partitions every so often; 0 is for a topic that is gone.
func (c *Client) watchPartitions(ctx context.Context, topic string, every time.Duration, counts chan<- int) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		partitions, err := c.existing(ctx, topic)
		if err != nil {
			continue // no answer is no news
		}
		select {
		case counts <- len(partitions):
		case <-ctx.Done():
			return
		}
	}
}

// existing returns the topic's partitions, none if the topic is gone. It says so only when the answer stays the same for
// a moment: a broker that starts may not know all topics yet, and the holder would lose its partitions.
func (c *Client) existing(ctx context.Context, topic string) ([]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for range 3 {
		partitions, err := c.Partitions(ctx, topic)
		if err == nil || !errors.Is(err, kafka.UnknownTopicOrPartition) {
			return partitions, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, nil
}
