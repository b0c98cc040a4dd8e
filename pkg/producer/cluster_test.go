package producer

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"learner/internal/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a broker that a test talks to: the embedded one, or a real Kafka.
type cluster struct {
	addrs []string
	fake  *kfake.Cluster // nil for a real one
}

// embedded starts an embedded cluster.
func embedded(t *testing.T, brokers int) *cluster {
	t.Helper()
	b, err := broker.Start(broker.Options{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &cluster{addrs: b.Addrs(), fake: b.Fake}
}

// onEach runs test over the embedded broker and, where KAFKA_TEST_PLAINTEXT names one, a real Kafka.
func onEach(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Run("embedded", func(t *testing.T) { test(t, embedded(t, 1)) })
	t.Run("real", func(t *testing.T) {
		addr := os.Getenv("KAFKA_TEST_PLAINTEXT")
		if addr == "" {
			t.Skip("KAFKA_TEST_PLAINTEXT is not set")
		}
		test(t, &cluster{addrs: []string{addr}})
	})
}

// client returns a client whose connections wrap, if not nil, may replace.
func (c *cluster) client(t *testing.T, wrap func(net.Conn) net.Conn) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{
		MetadataTTL: 200 * time.Millisecond,
		DialTimeout: 5 * time.Second,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil && wrap != nil {
				conn = wrap(conn)
			}
			return conn, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(c.addrs...), Transport: transport}
}

// topic creates a topic with a name of its own.
func (c *cluster) topic(t *testing.T, client *kafka.Client, partitions int) string {
	t.Helper()
	name := "producer." + rand.Text()
	created, err := EnsureTopic(t.Context(), client, name, partitions, -1, nil)
	if err != nil || !created {
		t.Fatalf("EnsureTopic: created %v, error %v", created, err)
	}
	return name
}

// read returns all records of the topic's partitions, read by an independent client.
func (c *cluster) read(t *testing.T, topic string, partitions int) [][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ends := c.ends(t, topic, partitions)
	from := make(map[int32]kgo.Offset)
	want := 0
	for p := range partitions {
		from[int32(p)] = kgo.NewOffset().AtStart()
		want += int(ends[p])
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	records := make([][]*kgo.Record, partitions)
	for have := 0; have < want; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s after %d of %d records: %v", topic, have, want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records[r.Partition] = append(records[r.Partition], r)
			have++
		})
	}
	return records
}

// ends returns the end offset of each partition.
func (c *cluster) ends(t *testing.T, topic string, partitions int) []int64 {
	t.Helper()
	ask := make([]kafka.OffsetRequest, 0, partitions)
	for p := range partitions {
		ask = append(ask, kafka.LastOffsetOf(p))
	}
	answer, err := c.client(t, nil).ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]int64, partitions)
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
		ends[p.Partition] = p.LastOffset
	}
	return ends
}

// cutter breaks connections around produce requests.
type cutter struct {
	fate         func() fate // decides over each produce request
	lost, unsent atomic.Int64
}

// fate is what becomes of a produce request.
type fate int

const (
	passes      fate = iota
	answerLost       // the broker has it, and the connection breaks before the answer arrives
	requestLost      // the connection breaks before the request leaves
)

func (c *cutter) wrap(conn net.Conn) net.Conn { return &cutConn{Conn: conn, cutter: c} }

// cutConn is used by one exchange at a time.
type cutConn struct {
	net.Conn
	cutter *cutter
	cut    atomic.Bool // lose the next answer
}

func (c *cutConn) Write(b []byte) (int, error) {
	// A request begins with its size, i32, and its API key, i16, that of produce being 0; kafka-go writes it in pages.
	if len(b) > 8 && b[0] == 0 && b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] >= 3 && b[7] <= 13 && !c.cut.Load() {
		switch c.cutter.fate() {
		case passes:
		case answerLost:
			c.cut.Store(true)
		case requestLost:
			c.cutter.unsent.Add(1)
			_ = c.Close()
			return 0, fmt.Errorf("test: %w", net.ErrClosed)
		}
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.Load() && n > 0 {
		c.cutter.lost.Add(1)
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// text returns a text of n bytes that starts with label.
func text(label string, n int) []byte {
	return []byte(label + strings.Repeat("x", max(0, n-len(label))))
}
