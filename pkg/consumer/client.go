// Package consumer is the way in from Kafka: the connection to a cluster, membership in a group, fetching and checking
// record batches, offsets and commits.
//
// Connections, SASL, metadata, and routing are kafka-go's; fetch, heartbeat, and leave are messages of this package. It
// knows a decoder that it calls for each record, and nothing of features, models, or HTTP.
package consumer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/sasl/plain"
	"go.uber.org/zap"
)

const (
	// dialTimeout bounds a connection attempt to one address; a dead bootstrap address must not use up the time of
	// the others.
	dialTimeout = 5 * time.Second
	// connectTimeout bounds TCP, TLS, and SASL together.
	connectTimeout = 10 * time.Second
	// metadataTTL bounds how old the transport's picture of the cluster is.
	metadataTTL = 2 * time.Second
	// idleTimeout closes connections that nobody uses.
	idleTimeout = 3 * time.Minute
	// requestTimeout bounds requests of Kafka's users whose context has no deadline of its own.
	requestTimeout = 30 * time.Second
)

// Config says which cluster to talk to, and how.
type Config struct {
	Brokers  []string    // host:port, at least one
	TLS      *tls.Config // nil: plaintext; see TLSConfig
	User     string      // SASL PLAIN unless empty
	Password string
	ClientID string
	// Topics are all topics that are read or written through the client: only they are in the transport's metadata.
	Topics []string
	// Dial opens connections; nil: a net.Dialer.
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	Logger *zap.Logger // nil: none
}

// Client is the connection to one cluster, shared by everything that talks to it. Its methods may be called from many
// goroutines.
type Client struct {
	cfg       Config
	log       *zap.Logger
	addr      net.Addr
	transport *kafka.Transport
	cancel    context.CancelFunc

	checkTimeout time.Duration // of Check

	mu     sync.Mutex // guards what follows
	conns  map[*guardConn]struct{}
	closed bool
}

// NewClient returns a client that connects when it is first used.
func NewClient(cfg Config) *Client {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{
		cfg: cfg, log: cfg.Logger, addr: kafka.TCP(cfg.Brokers...), cancel: cancel,
		checkTimeout: checkTimeout, conns: make(map[*guardConn]struct{}),
	}
	c.transport = &kafka.Transport{
		Dial:        c.dial,
		DialTimeout: connectTimeout,
		IdleTimeout: idleTimeout,
		MetadataTTL: metadataTTL,
		// Not nil: nil means all topics of the cluster.
		MetadataTopics: append([]string{}, cfg.Topics...),
		ClientID:       cfg.ClientID,
		TLS:            cfg.TLS,
		Context:        ctx,
	}
	if cfg.User != "" {
		c.transport.SASL = plain.Mechanism{Username: cfg.User, Password: cfg.Password}
	}
	return c
}

// TLSConfig returns a configuration for Config.TLS: TLS 1.2 or later, and sessions are resumed. The certificates in
// caFile (PEM) are trusted instead of the system's, unless it is empty.
func TLSConfig(caFile string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the trusted certificates: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the trusted certificates: no certificate in PEM form in %s", caFile)
	}
	return cfg, nil
}

// Kafka returns a kafka-go client on the shared transport.
func (c *Client) Kafka() *kafka.Client {
	return &kafka.Client{Addr: c.addr, Timeout: requestTimeout, Transport: c.transport}
}

// Transport returns the shared transport. Requests sent through it need a context with a deadline.
func (c *Client) Transport() *kafka.Transport { return c.transport }

// Close ends all connections, also those in use. The client cannot be used afterwards.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	c.cancel()
	c.transport.CloseIdleConnections()
	for conn := range conns {
		_ = conn.Close()
	}
}

// dial opens a guarded connection. The receive buffer is left to the system: setting its size would end the growth
// that Linux gives it, and is capped at about 200 KiB by default (socket(7), tcp(7)).
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := c.cfg.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &guardConn{Conn: raw, timeout: exchangeTimeout, onClose: c.forget}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.conns[conn] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		_ = conn.Close()
		return nil, fmt.Errorf("dial %s: %w", addr, net.ErrClosed)
	}
	return conn, nil
}

func (c *Client) forget(conn *guardConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

// metadata asks a broker, never a cache, about topics. It creates none.
func (c *Client) metadata(ctx context.Context, topics ...string) (*metadata.Response, error) {
	m, err := c.ask(ctx, metadataRequest(topics))
	if err != nil {
		return nil, err
	}
	return m.(*metadata.Response), nil
}

// metadataRequest asks for topics; an empty list is for none, where nil would be for all.
func metadataRequest(topics []string) *metadata.Request {
	return &metadata.Request{TopicNames: append([]string{}, topics...)}
}

// Partitions returns the numbers of a topic's partitions, sorted. A topic that does not exist is not created; the error
// is then kafka.UnknownTopicOrPartition.
func (c *Client) Partitions(ctx context.Context, topic string) ([]int32, error) {
	found, err := c.topic(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("look up the partitions of topic %s: %w", topic, err)
	}
	partitions := make([]int32, 0, len(found.Partitions))
	for _, p := range found.Partitions {
		partitions = append(partitions, p.PartitionIndex)
	}
	slices.Sort(partitions)
	return partitions, nil
}

func (c *Client) topic(ctx context.Context, topic string) (*metadata.ResponseTopic, error) {
	m, err := c.metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	for i := range m.Topics {
		if t := &m.Topics[i]; t.Name == topic {
			if t.ErrorCode != 0 {
				return nil, kafka.Error(t.ErrorCode)
			}
			return t, nil
		}
	}
	return nil, kafka.UnknownTopicOrPartition
}

// ClusterID returns the id that the cluster has given itself.
func (c *Client) ClusterID(ctx context.Context) (string, error) {
	m, err := c.metadata(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for the cluster id: %w", err)
	}
	return m.ClusterID, nil
}
