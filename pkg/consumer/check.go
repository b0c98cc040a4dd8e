package consumer

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"go.uber.org/zap"
)

// checkTimeout bounds Check, so that its error is there within 15 s.
const checkTimeout = 14 * time.Second

// Hints at what to look at. The names are the environment variables that the values usually come from.
const (
	hintAddress     = "check CCLOUD_BOOTSTRAP_ENDPOINT, and that the broker runs"
	hintCredentials = "check CCLOUD_CLUSTER_API_KEY and CCLOUD_CLUSTER_API_SECRET, and that they belong to this cluster"
	hintPlaintext   = "if the listener speaks plaintext, set LEARNER_SECURITY to plaintext or sasl_plaintext"
	hintTLS         = "if the listener speaks TLS, set LEARNER_SECURITY to sasl_ssl or ssl"
	hintNoSASL      = "if the listener wants no credentials, set LEARNER_SECURITY to ssl or plaintext"
	hintWantsSASL   = "the listener wants credentials: set CCLOUD_CLUSTER_API_KEY and CCLOUD_CLUSTER_API_SECRET"
	hintCA          = "set LEARNER_TLS_CA_FILE to the certificate of the authority that signed the broker's"
)

// Check finds out whether the client can read the topics and be a member of the group, and creates nothing. It returns
// nil or one error that says what was tried, at which address, and what to look at, within 15 s. What may pass (a broker
// that is starting) is tried until then; what will not (an unknown host, TLS that does not fit, wrong credentials, a
// missing topic or permission) ends it at once.
func (c *Client) Check(ctx context.Context, topics []string, group string) error {
	bounded, cancel := context.WithTimeout(ctx, c.checkTimeout)
	defer cancel()
	var last error
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.check(bounded, topics, group)
		if err == nil || permanent(err) {
			return err
		}
		// What the end of the time cut off says less than what was seen before.
		if last == nil || bounded.Err() == nil {
			last = err
		}
		if bounded.Err() == nil {
			c.log.Info("the cluster does not answer as it should yet", zap.Error(err))
		}
		select {
		case <-time.After(wait):
			continue
		case <-bounded.Done():
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w (tried for %s)", last, c.checkTimeout)
	}
}

func (c *Client) check(ctx context.Context, topics []string, group string) error {
	cluster, err := c.probe(ctx, topics)
	if err != nil {
		return err
	}
	for i := range cluster.Topics {
		if err := c.checkTopic(ctx, cluster, &cluster.Topics[i]); err != nil {
			return err
		}
	}
	return c.checkGroup(ctx, group)
}

// probe connects to the bootstrap addresses, in order, until one works.
func (c *Client) probe(ctx context.Context, topics []string) (*metadata.Response, error) {
	deadline, _ := ctx.Deadline()
	var errs []error
	for i, broker := range c.cfg.Brokers {
		left := time.Duration(len(c.cfg.Brokers) - i)
		each, cancel := context.WithTimeout(ctx, time.Until(deadline)/left)
		cluster, err := c.probeBroker(each, broker, topics)
		cancel()
		if err == nil {
			return cluster, nil
		}
		errs = append(errs, err)
	}
	// Refused credentials say most: they are the same for all brokers. Then whatever may still pass.
	if i := slices.IndexFunc(errs, func(err error) bool { return permanent(err) && Kind(err) == kindAuth }); i >= 0 {
		return nil, errs[i]
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return !permanent(err) }); i >= 0 {
		return nil, errs[i]
	}
	return nil, errs[0]
}

// probeBroker goes the way of a connection step by step, because kafka-go does not tell which step failed.
func (c *Client) probeBroker(ctx context.Context, broker string, topics []string) (*metadata.Response, error) {
	raw, err := c.dial(ctx, "tcp", broker)
	if err != nil {
		return nil, dialFault(broker, err)
	}
	conn := raw
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			return nil, dialFault(broker, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if c.cfg.TLS != nil {
		cfg := c.cfg.TLS.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName, _, _ = net.SplitHostPort(broker)
		}
		secure := tls.Client(conn, cfg)
		if err := secure.Handshake(); err != nil {
			return nil, tlsHandshakeFault(broker, err)
		}
		conn = secure
	}
	pc := protocol.NewConn(conn, c.cfg.ClientID)
	offered, err := c.versions(pc, broker)
	if err != nil {
		return nil, err
	}
	versions := make(map[protocol.ApiKey]int16)
	for _, r := range offered {
		key := protocol.ApiKey(r.ApiKey)
		versions[key] = key.SelectVersion(r.MinVersion, r.MaxVersion)
	}
	pc.SetVersions(versions)
	if c.cfg.User != "" {
		if err := c.authenticate(pc, broker); err != nil {
			return nil, err
		}
	}
	m, err := pc.RoundTrip(metadataRequest(topics))
	switch {
	case err != nil && closedEarly(err) && c.cfg.User == "":
		return nil, &fault{fmt.Errorf("ask broker %s about the cluster: the broker hung up (%w); %s",
			broker, err, hintWantsSASL), kindAuth, true}
	case err != nil:
		return nil, &fault{fmt.Errorf("ask broker %s about the cluster: %s", broker, outcome(err)), kindDial, false}
	}
	return m.(*metadata.Response), nil
}

// versions asks for the protocol versions, and finds out whether it is a Kafka broker that answers.
func (c *Client) versions(pc *protocol.Conn, broker string) ([]apiversions.ApiKeyResponse, error) {
	what := "ask broker " + broker + " for its protocol versions"
	hint := ""
	if c.cfg.TLS == nil {
		hint = "; " + hintTLS
	}
	err := protocol.WriteRequest(pc, 0, 0, c.cfg.ClientID, &apiversions.Request{})
	var head []byte
	if err == nil {
		head, err = pc.Peek(4)
	}
	switch {
	case err != nil:
		return nil, &fault{fmt.Errorf("%s: %s%s", what, outcome(err), hint), kindDial, false}
	case head[0] == 0x15 && head[1] == 3: // an alert of TLS 1.x (RFC 8446, section 5.1)
		return nil, &fault{fmt.Errorf("%s: the answer is a TLS alert%s", what, hint), kindAuth, true}
	case binary.BigEndian.Uint32(head) > 1<<20:
		return nil, &fault{fmt.Errorf("%s: the answer begins with %q, which no Kafka broker says; check CCLOUD_BOOTSTRAP_ENDPOINT", what, head), kindDial, true}
	}
	_, m, err := protocol.ReadResponse(pc, protocol.ApiVersions, 0)
	if err != nil {
		return nil, &fault{fmt.Errorf("%s: %s%s", what, outcome(err), hint), kindDial, false}
	}
	r := m.(*apiversions.Response)
	if r.ErrorCode != 0 {
		return nil, &fault{fmt.Errorf("%s: %w", what, kafka.Error(r.ErrorCode)), kindDial, false}
	}
	return r.ApiKeys, nil
}

// authenticate does the SASL exchange by KIP-152.
func (c *Client) authenticate(pc *protocol.Conn, broker string) error {
	what := "authenticate to broker " + broker + " with SASL PLAIN"
	m, err := pc.RoundTrip(&saslhandshake.Request{Mechanism: "PLAIN"})
	if err != nil {
		return &fault{fmt.Errorf("%s: %s; %s", what, outcome(err), hintNoSASL), kindAuth, false}
	}
	if code := kafka.Error(m.(*saslhandshake.Response).ErrorCode); code != 0 {
		hint := hintNoSASL
		if code == kafka.UnsupportedSASLMechanism {
			hint = "the listener offers " + strings.Join(m.(*saslhandshake.Response).Mechanisms, ", ")
		}
		return &fault{fmt.Errorf("%s: %w; %s", what, code, hint), kindAuth, true}
	}
	m, err = pc.RoundTrip(&saslauthenticate.Request{AuthBytes: []byte("\x00" + c.cfg.User + "\x00" + c.cfg.Password)})
	if err != nil && closedEarly(err) {
		return &fault{fmt.Errorf("%s: the broker hung up on the credentials (%w); %s", what, err, hintCredentials), kindAuth, true}
	}
	if err != nil {
		return &fault{fmt.Errorf("%s: %s", what, outcome(err)), kindAuth, false}
	}
	r := m.(*saslauthenticate.Response)
	if code := kafka.Error(r.ErrorCode); code != 0 {
		return &fault{fmt.Errorf("%s: the credentials are refused: %w %s; %s", what, code, r.ErrorMessage, hintCredentials), kindAuth, true}
	}
	return nil
}

// outcome says what came instead of an answer.
func outcome(err error) string {
	switch {
	case closedEarly(err):
		return "the broker hung up (" + err.Error() + ")"
	case timedOut(err):
		return "no answer in time (" + err.Error() + ")"
	}
	return err.Error()
}

func dialFault(broker string, err error) error {
	var dns *net.DNSError
	var addr *net.AddrError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return &fault{fmt.Errorf("connect to broker %s: unknown host: %w; check CCLOUD_BOOTSTRAP_ENDPOINT", broker, err), kindDial, true}
	case errors.As(err, &addr):
		return &fault{fmt.Errorf("connect to broker %s: not an address: %w; check CCLOUD_BOOTSTRAP_ENDPOINT", broker, err), kindDial, true}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &fault{fmt.Errorf("connect to broker %s: connection refused: %w; %s", broker, err, hintAddress), kindDial, false}
	case timedOut(err):
		return &fault{fmt.Errorf("connect to broker %s: no answer in time: %w; %s", broker, err, hintAddress), kindDial, false}
	}
	return &fault{fmt.Errorf("connect to broker %s: %w; %s", broker, err, hintAddress), kindDial, false}
}

func tlsHandshakeFault(broker string, err error) error {
	var verification *tls.CertificateVerificationError
	what := "TLS handshake with broker " + broker
	switch {
	case errors.As(err, &verification):
		return &fault{fmt.Errorf("%s: the broker's certificate is not trusted: %w; %s", what, verification.Err, hintCA), kindAuth, true}
	case closedEarly(err), timedOut(err):
		// A plaintext listener takes the greeting for a giant request, and hangs up or waits for the rest.
		return &fault{fmt.Errorf("%s: %s; %s", what, outcome(err), hintPlaintext), kindAuth, false}
	case errors.As(err, new(tls.RecordHeaderError)):
		return &fault{fmt.Errorf("%s: the answer is not TLS: %w; %s", what, err, hintPlaintext), kindAuth, true}
	}
	return &fault{fmt.Errorf("%s: %w", what, err), kindAuth, true}
}

// checkTopic finds out whether the topic is there and may be read.
func (c *Client) checkTopic(ctx context.Context, cluster *metadata.Response, topic *metadata.ResponseTopic) error {
	switch code := kafka.Error(topic.ErrorCode); code {
	case 0, kafka.LeaderNotAvailable:
	case kafka.UnknownTopicOrPartition, kafka.InvalidTopic:
		return &fault{fmt.Errorf("topic %s does not exist on cluster %s: %w; create it, or check LEARNER_TRAIN_TOPIC and LEARNER_TEST_TOPIC",
			topic.Name, cluster.ClusterID, code), "", true}
	case kafka.TopicAuthorizationFailed:
		return c.mayNotRead(topic.Name, code)
	default:
		return &fault{fmt.Errorf("look up topic %s: %w", topic.Name, code), "", false}
	}
	leaders := slices.DeleteFunc(slices.Clone(topic.Partitions), func(p metadata.ResponsePartition) bool { return p.LeaderID < 0 })
	if len(leaders) == 0 {
		return &fault{fmt.Errorf("read topic %s: none of its partitions has a leader", topic.Name), "", false}
	}
	// No log has this offset, so the answer is an error either way, and brokers look at the permission first.
	m, err := c.askBroker(ctx, leaders[0].LeaderID, &fetch.Request{
		ReplicaID: -1, SessionEpoch: -1, MaxBytes: 1, IsolationLevel: readCommitted,
		Topics: []fetch.RequestTopic{{Topic: topic.Name, Partitions: []fetch.RequestPartition{{
			Partition: leaders[0].PartitionIndex, CurrentLeaderEpoch: -1, FetchOffset: math.MaxInt64,
			LogStartOffset: -1, PartitionMaxBytes: 1,
		}}}},
	})
	if err != nil {
		return &fault{fmt.Errorf("read topic %s from broker %d (%s): %w", topic.Name, leaders[0].LeaderID,
			advertised(cluster, leaders[0].LeaderID), err), "", false}
	}
	for _, t := range m.(*fetch.Response).Topics {
		for _, p := range t.Partitions {
			if code := kafka.Error(p.ErrorCode); code == kafka.TopicAuthorizationFailed {
				return c.mayNotRead(topic.Name, code)
			}
		}
	}
	return nil
}

func (c *Client) mayNotRead(topic string, code kafka.Error) error {
	return &fault{fmt.Errorf("no permission to read topic %s%s: %w; allow READ on it, or check the topic's name",
		topic, c.as(), code), kindAuth, true}
}

// CheckWrite finds out whether a topic that exists may be written to, where the brokers tell (KIP-430, Kafka 2.3).
func (c *Client) CheckWrite(ctx context.Context, topic string) error {
	const write, untold = 1 << 4, math.MinInt32 // a bit for each operation by its code
	request := metadataRequest([]string{topic})
	request.IncludeTopicAuthorizedOperations = true
	m, err := c.ask(ctx, request)
	if err != nil {
		return fmt.Errorf("look up topic %s: %w", topic, err)
	}
	for _, t := range m.(*metadata.Response).Topics {
		switch allowed := t.TopicAuthorizedOperations; {
		case t.ErrorCode != 0:
			return fmt.Errorf("look up topic %s: %w", topic, kafka.Error(t.ErrorCode))
		case allowed != 0 && allowed != untold && allowed&write == 0:
			return &fault{fmt.Errorf("no permission to write to topic %s%s: %w; allow WRITE on it, or check the topic's name",
				topic, c.as(), kafka.TopicAuthorizationFailed), kindAuth, true}
		}
	}
	return nil
}

// as says whose permissions count.
func (c *Client) as() string {
	if c.cfg.User == "" {
		return ""
	}
	return " with the API key in use"
}

// advertised returns the address under which the cluster announces a broker.
func advertised(cluster *metadata.Response, broker int32) string {
	for _, b := range cluster.Brokers {
		if b.NodeID == broker {
			return fmt.Sprintf("advertised as %s:%d", b.Host, b.Port)
		}
	}
	return "which the cluster does not announce"
}

// checkGroup finds out whether the group may be joined, without joining it.
func (c *Client) checkGroup(ctx context.Context, group string) error {
	m, err := c.ask(ctx, &findcoordinator.Request{Key: group})
	if err != nil {
		return &fault{fmt.Errorf("look up the coordinator of group %s: %w", group, err), kindJoin, false}
	}
	switch r := m.(*findcoordinator.Response); kafka.Error(r.ErrorCode) {
	case 0:
	case kafka.GroupAuthorizationFailed:
		return c.mayNotJoin(group, kafka.GroupAuthorizationFailed)
	default:
		return &fault{fmt.Errorf("look up the coordinator of group %s: %w", group, kafka.Error(r.ErrorCode)), kindJoin, false}
	}
	// A heartbeat of a member that nobody knows: READ on the group is looked at first.
	err = c.heartbeat(ctx, group, Generation{Member: "check"})
	switch code := kafka.Error(0); {
	case err == nil:
		return nil
	case !errors.As(err, &code):
		return &fault{fmt.Errorf("reach the coordinator of group %s: %w", group, err), kindJoin, false}
	case code == kafka.GroupAuthorizationFailed:
		return c.mayNotJoin(group, code)
	case code.Temporary(), code == kafka.BrokerNotAvailable:
		return &fault{fmt.Errorf("reach the coordinator of group %s: %w", group, code), kindJoin, false}
	}
	return nil
}

func (c *Client) mayNotJoin(group string, code kafka.Error) error {
	return &fault{fmt.Errorf("no permission for consumer group %s%s: %w; allow READ on it, or check LEARNER_GROUP",
		group, c.as(), code), kindAuth, true}
}
