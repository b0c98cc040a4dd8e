package consumer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"learner/internal/broker"
)

// startCluster starts an embedded cluster for a test.
func startCluster(t *testing.T, opts broker.Options) *broker.Broker {
	t.Helper()
	b, err := broker.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// connect returns a client of b that is closed after the test.
func connect(t *testing.T, b *broker.Broker, cfg Config) *Client {
	t.Helper()
	cfg.Brokers = b.Addrs()
	if b.CA != nil && cfg.TLS == nil {
		cfg.TLS = trusting(t, b)
	}
	return client(t, cfg)
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.ClientID = "test"
	c := NewClient(cfg)
	t.Cleanup(c.Close)
	return c
}

func trusting(t *testing.T, b *broker.Broker) *tls.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, b.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := TLSConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// allTopics lists what the cluster holds.
func allTopics(t *testing.T, c *Client) []string {
	t.Helper()
	m, err := c.ask(limit(t, 5*time.Second), &metadata.Request{})
	if err != nil {
		t.Fatal(err)
	}
	found := m.(*metadata.Response).Topics
	names := make([]string, 0, len(found))
	for _, topic := range found {
		names = append(names, topic.Name)
	}
	slices.Sort(names)
	return names
}

func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// cable is a Dial function whose connections can be cut, as when a machine loses its network.
type cable struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("network is unreachable")}
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.conns = nil
	}
}

func TestPartitionsAndClusterID(t *testing.T) {
	b := startCluster(t, broker.Options{
		Brokers: 3, User: "key", Password: "secret",
		Fake: []kfake.Opt{kfake.SeedTopics(12, "train"), kfake.ClusterID("lkc-test")},
	})
	c := connect(t, b, Config{User: "key", Password: "secret", Topics: []string{"train"}})
	got, err := c.Partitions(limit(t, 5*time.Second), "train")
	if err != nil || !slices.Equal(got, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
		t.Errorf("partitions %v, %v; want 0 to 11", got, err)
	}
	if id, err := c.ClusterID(limit(t, 5*time.Second)); id != "lkc-test" || err != nil {
		t.Errorf("cluster id %q, %v", id, err)
	}
}

func TestLookingCreatesNoTopic(t *testing.T) {
	t.Parallel()
	b := startCluster(t, broker.Options{AutoCreate: true, Fake: []kfake.Opt{kfake.SeedTopics(2, "train")}})
	c := connect(t, b, Config{Topics: []string{"train", "typo"}})
	c.transport.MetadataTTL = 100 * time.Millisecond
	if _, err := c.Partitions(limit(t, 5*time.Second), "typo"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("partitions of a missing topic: %v", err)
	}
	if _, err := c.Ends(limit(t, 5*time.Second), "typo", []int32{0}); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("ends of a missing topic: %v", err)
	}
	if err := c.Check(limit(t, 20*time.Second), []string{"train", "typo"}, "group"); !permanent(err) {
		t.Errorf("check of a missing topic: %v", err)
	}
	time.Sleep(300 * time.Millisecond) // the transport has looked again, at both topics
	if got := allTopics(t, c); !slices.Equal(got, []string{"train"}) {
		t.Errorf("topics %v: looking must not create any", got)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	b := startCluster(t, broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.SeedTopics(6, "train")}})
	silent := silentBroker(t, 0)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := NewClient(Config{Brokers: b.Addrs(), Topics: []string{"train"}})
	if _, err := c.Ends(limit(t, 5*time.Second), "train", []int32{0, 1, 2, 3, 4, 5}); err != nil {
		t.Error(err)
	}
	c.Close()
	if _, err := c.ClusterID(limit(t, time.Second)); err == nil {
		t.Error("a closed client answers")
	}

	c = NewClient(Config{Brokers: []string{silent}, User: "key", Password: "secret"})
	if _, err := c.ClusterID(limit(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent broker: %v", err)
	}
	c.Close()
}

func TestGuardConnNeverWaitsForEver(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	closed := 0
	c := &guardConn{Conn: near, timeout: 20 * time.Millisecond, onClose: func(*guardConn) { closed++ }}
	var b [1]byte
	for _, set := range []func() error{
		func() error { return nil },
		func() error { return c.SetDeadline(time.Time{}) },
		func() error { return errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})) },
	} {
		if err := set(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
	}
	// A deadline of the caller's is kept, and a pause without one leaves no deadline behind.
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(60*time.Millisecond, func() { _, _ = far.Write(b[:]) })
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Errorf("read with a far deadline: %v", err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil || closed != 1 {
		t.Errorf("closed twice: %v, counted %d times", err, closed)
	}
}

func TestTLSConfig(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{empty: "no certificate", empty + ".gone": "no such file"} {
		if _, err := TLSConfig(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	cfg, err := TLSConfig("")
	if err != nil || cfg.MinVersion < tls.VersionTLS12 || cfg.ClientSessionCache == nil || cfg.RootCAs != nil {
		t.Errorf("%+v, %v", cfg, err)
	}
}
