package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/record"
)

// startTopic starts a cluster with the topic "train".
func startTopic(t *testing.T, brokers, partitions int) *broker.Broker {
	t.Helper()
	return startCluster(t, broker.Options{
		Brokers: brokers, Fake: []kfake.Opt{kfake.SeedTopics(int32(partitions), "train")},
	})
}

// trainLog writes to the partitions of "train" records that tell their place: value "1,<partition>,<sequence>", with the
// sequence counted from 0 over the records that are to be delivered.
type trainLog struct {
	tb     testing.TB
	broker *broker.Broker
	client *kgo.Client
	mu     sync.Mutex
	next   map[int32]int64 // per partition, the next sequence
}

func newLog(tb testing.TB, b *broker.Broker) *trainLog {
	tb.Helper()
	// The versions before topics have ids.
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.MaxVersions(kversion.V3_0_0()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return &trainLog{tb: tb, broker: b, client: client, next: make(map[int32]int64)}
}

// digits are what values are padded with; no codec makes them much shorter.
var digits = func() []byte {
	random := rand.New(rand.NewPCG(1, 1))
	d := make([]byte, 1<<16)
	for i := range d {
		d[i] = byte('0' + random.IntN(10))
	}
	return d
}()

// write appends a batch of n records with values of about size bytes.
func (l *trainLog) write(partition int32, n, size, attributes int) {
	l.tb.Helper()
	b := testBatch{attributes: int16(attributes), firstTime: time.Now().UnixMilli(), producer: -1}
	l.mu.Lock()
	for i := range int64(n) {
		value := fmt.Appendf(nil, "1,%d,%d", partition, l.next[partition]+i)
		if pad := size - len(value) - 3; pad > 0 {
			value = append(append(value, ",0."...), digits[(int(i)*37)%1000:][:pad]...)
		}
		b.records = append(b.records, testRecord{offset: i, time: b.firstTime, value: value})
	}
	l.next[partition] += int64(n)
	l.mu.Unlock()
	l.raw(partition, b.encode(l.tb))
}

// raw appends encoded batches.
func (l *trainLog) raw(partition int32, batch []byte) {
	l.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "train"
		topic.Partitions = []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: batch}}
		request := kmsg.NewPtrProduceRequest()
		request.Acks, request.TimeoutMillis, request.Topics = -1, 1000, []kmsg.ProduceRequestTopic{topic}
		r, err := l.client.Broker(int(l.broker.Fake.LeaderFor("train", partition))).Request(ctx, request)
		if err == nil {
			err = kerr.ErrorForCode(r.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
		}
		// The leader has just changed.
		if errors.Is(err, kerr.NotLeaderForPartition) {
			continue
		}
		if err != nil {
			l.tb.Errorf("write to partition %d: %v", partition, err)
		}
		return
	}
}

// reading is a running reader whose blocks are checked: each partition's follow each other without a gap, and its
// records have the sequence that they were written with.
type reading struct {
	t      *testing.T
	r      *Reader
	cancel context.CancelFunc
	done   chan error

	next    map[int32]int64 // offset
	rows    map[int32]int64 // count, which is the next sequence
	lost    map[int32]int64
	refused int
	blocks  int
	held    map[int32]int // bytes that are not released
	keep    map[int32]bool
	kept    []*record.Block
	faults  atomic.Int32
}

// startReading reads "train" from start on, by default from offset 0 of its partitions.
func startReading(t *testing.T, c *Client, cfg ReaderConfig, change func(*Reader)) *reading {
	t.Helper()
	g := &reading{
		t: t, done: make(chan error, 1), next: make(map[int32]int64), rows: make(map[int32]int64),
		lost: make(map[int32]int64), held: make(map[int32]int), keep: make(map[int32]bool),
	}
	cfg.Topic, cfg.Logger = "train", zap.NewNop()
	cfg.Workers = max(cfg.Workers, 1)
	if cfg.Decoder == nil {
		csv := csvDecoder(t)
		cfg.Decoder = func() record.Decoder { return csv }
	}
	cfg.Failed = func(error) { g.faults.Add(1) }
	if cfg.Start == nil {
		partitions, err := c.Partitions(limit(t, patience), "train")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Start = make(map[int32]Position)
		for _, p := range partitions {
			cfg.Start[p] = Position{}
		}
	}
	for p, start := range cfg.Start {
		g.next[p] = start.Offset
	}
	g.r = c.NewReader(cfg)
	if change != nil {
		change(g.r)
	}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(t.Context())
	go func() { g.done <- g.r.Run(ctx) }()
	t.Cleanup(g.cancel)
	return g
}

// until takes blocks until ok.
func (g *reading) until(what string, ok func() bool) {
	g.t.Helper()
	timeout := time.After(patience)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case b, open := <-g.r.Blocks():
			if !open {
				g.t.Fatalf("reading ended before %s: %v", what, <-g.done)
			}
			g.take(b)
		case <-poll.C:
		case <-timeout:
			g.t.Fatalf("%s did not happen: rows %v, next %v, problems %v", what, g.rows, g.next, g.r.Problems())
		}
	}
}

// take checks a block and releases it unless its partition is kept.
func (g *reading) take(b *record.Block) {
	g.t.Helper()
	p := b.Partition
	select {
	case <-b.Ready:
	case <-time.After(patience):
		g.t.Fatal("a block is never decoded")
	}
	if b.Base != g.next[p] || b.Next <= b.Base {
		g.t.Fatalf("partition %d: block from %d to %d follows one to %d", p, b.Base, b.Next, g.next[p])
	}
	offset := b.Base - 1
	for i := range b.Rows() {
		x := b.Row(i).X
		if x[0] != float64(p) || x[1] != float64(g.rows[p]) {
			g.t.Fatalf("partition %d: record %v at offset %d where %d comes next", p, x, b.Offset[i], g.rows[p])
		}
		if b.Offset[i] <= offset || b.Offset[i] >= b.Next {
			g.t.Fatalf("partition %d: offset %d after %d in a block to %d", p, b.Offset[i], offset, b.Next)
		}
		offset = b.Offset[i]
		g.rows[p]++
	}
	g.lost[p] += b.Lost
	g.rows[p] += b.Lost // in these tests an offset that was lost is a record
	g.refused += len(b.Refused)
	g.next[p] = b.Next
	g.blocks++
	if g.keep[p] {
		g.held[p] += b.Bytes
		g.kept = append(g.kept, b)
		return
	}
	g.r.Release(b)
}

// all waits for everything in l.
func (g *reading) all(l *trainLog) {
	g.t.Helper()
	g.until("the end of the log", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return maps.Equal(g.rows, l.next)
	})
}

// stop ends the reading and returns what Run returned.
func (g *reading) stop() error {
	g.t.Helper()
	start := time.Now()
	g.cancel()
	var err error
	select {
	case err = <-g.done:
	case <-time.After(patience):
		g.t.Fatal("Run does not end")
	}
	if took := time.Since(start); took > time.Second {
		g.t.Errorf("Run ended after %s", took)
	}
	for b := range g.r.Blocks() {
		g.take(b)
	}
	return err
}

func (g *reading) stopClean() {
	g.t.Helper()
	if err := g.stop(); err != nil {
		g.t.Error(err)
	}
}

func TestReaderDeliversEachRecordOnce(t *testing.T) {
	t.Parallel()
	for _, brokers := range []int{1, 3} {
		b := startTopic(t, brokers, 6)
		c := connect(t, b, Config{Topics: []string{"train"}})
		l := newLog(t, b)
		for i := range 30 {
			for p := range int32(6) {
				l.write(p, 20+i, 150, (i+int(p))%len(codecNames))
			}
		}
		for _, cfg := range []ReaderConfig{{Workers: 1}, {Workers: 3, Budget: 1}} {
			g := startReading(t, c, cfg, nil)
			g.all(l)
			g.stopClean()
			if g.refused > 0 || g.faults.Load() > 0 {
				t.Errorf("%d brokers: %d refused, %d faults", brokers, g.refused, g.faults.Load())
			}
			for p, n := range g.next {
				if e := g.r.Ends(t.Context(), time.Hour)[p]; e.First != 0 || e.Stable != n || e.Log != n || time.Since(e.Told) > time.Minute {
					t.Errorf("partition %d: end %+v, read to %d", p, e, n)
				}
			}
		}
	}
}

func TestLeadersMoveWhileReading(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 3, 6)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	g := startReading(t, c, ReaderConfig{Workers: 2, Budget: 1}, nil)
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() {
		for i := range 40 {
			for p := range int32(6) {
				l.write(p, 10, 300, i%len(codecNames))
			}
			if i%8 == 3 {
				b.Fake.ShufflePartitionLeaders()
			}
			if i%8 == 7 {
				_ = b.Fake.MoveTopicPartition("train", int32(i%6), int32(i%3))
			}
		}
	})
	g.until("all records", func() bool {
		for p := range int32(6) {
			if g.rows[p] < 400 {
				return false
			}
		}
		return true
	})
	g.stopClean()
	if g.faults.Load() == 0 {
		t.Error("no fetch went to the wrong leader: nothing was tested")
	}
}

func TestNewPartitionsAreReadFromTheirStart(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 3, 2)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	l.write(0, 5, 0, codecNone)
	g := startReading(t, c, ReaderConfig{}, nil)
	g.all(l)
	r, err := c.Kafka().CreatePartitions(limit(t, patience), &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: "train", Count: 4}},
	})
	if err != nil || r.Errors["train"] != nil {
		t.Fatal(err, r)
	}
	l.write(1, 5, 0, codecNone)
	l.write(3, 7, 0, codecNone)
	l.write(3, 7, 0, codecNone)
	g.all(l)
	if ends := g.r.Ends(t.Context(), 0); len(ends) != 4 || ends[3].Stable != 14 || ends[2].Stable != 0 {
		t.Errorf("ends %+v", ends)
	}
	g.stopClean()

	// Bounded reading leaves other partitions alone.
	g = startReading(t, c, ReaderConfig{
		Start: map[int32]Position{1: {}, 3: {Offset: 0}}, Until: map[int32]int64{1: 0, 3: 3},
	}, nil)
	g.until("the bound", func() bool { return g.next[3] >= 3 })
	time.Sleep(50 * time.Millisecond)
	g.stopClean()
	if g.rows[0]+g.rows[1] > 0 {
		t.Errorf("rows %v", g.rows)
	}
}

func TestRetentionCutsBelowThePosition(t *testing.T) {
	b := startTopic(t, 1, 2)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	for range 100 {
		l.write(0, 10, 1000, codecNone)
	}
	l.write(1, 10, 0, codecNone)
	if err := b.Fake.DeleteRecords("train", 0, 205); err != nil {
		t.Fatal(err)
	}
	g := startReading(t, c, ReaderConfig{Budget: 1}, nil)
	g.keep[0] = true
	g.until("a full share", func() bool { return g.held[0] >= minShare && g.rows[1] == 10 })
	if g.lost[0] != 205 {
		t.Errorf("lost %v, want the first 205", g.lost)
	}
	// While the partition waits for room, retention takes what comes next.
	if err := b.Fake.DeleteRecords("train", 0, 700); err != nil {
		t.Fatal(err)
	}
	g.keep[0] = false
	for _, block := range g.kept {
		g.r.Release(block)
	}
	before := g.next[0]
	g.all(l)
	if got, most := g.lost[0]-205, 700-before; got <= 0 || got > most {
		t.Errorf("lost %d more, want 1 to %d", got, most)
	}
	g.stopClean()
}

// timing notes the time of each record.
type timing struct {
	record.Decoder
	mu    sync.Mutex
	times map[int64]int64 // by offset
}

func (d *timing) Decode(dst *record.Block, rec record.Record) error {
	d.mu.Lock()
	d.times[rec.Offset] = rec.Time
	d.mu.Unlock()
	return d.Decoder.Decode(dst, rec)
}

// TestAppendTimesAfterALoss checks that the batch before is unknown after retention has cut the log. The embedded
// broker stamps batches and leaves their checksums as they were, so the stamped ones are made here.
func TestAppendTimesAfterALoss(t *testing.T) {
	b := startTopic(t, 1, 1)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	stamped := make([]testBatch, 3)
	for i := range stamped {
		l.write(0, 4, 0, codecNone)
		stamped[i] = testBatch{base: 4 * int64(i), attributes: attrLogAppendTime, maxTime: 100_000 + 100*int64(i)}
		for o := stamped[i].base; o < stamped[i].base+4; o++ {
			stamped[i].records = append(stamped[i].records, testRecord{offset: o, value: fmt.Appendf(nil, "1,0,%d", o)})
		}
	}
	if err := b.Fake.DeleteRecords("train", 0, 4); err != nil {
		t.Fatal(err)
	}
	answers(b, func(r *kmsg.FetchRequest) *kmsg.FetchResponse {
		if r.Topics[0].Partitions[0].FetchOffset != 4 {
			return nil
		}
		return fetched(0, 12, encodeAll(t, stamped[1:]...))
	})
	times := &timing{Decoder: csvDecoder(t), times: make(map[int64]int64)}
	g := startReading(t, c, ReaderConfig{
		Start:   map[int32]Position{0: {Previous: 100_000_000, Known: true}},
		Decoder: func() record.Decoder { return times },
	}, nil)
	g.all(l)
	g.stopClean()
	want := map[int64]int64{
		4: 92_600_000, 5: 95_100_000, 6: 97_600_000, 7: 100_100_000, 8: 100_125_000, 9: 100_150_000, 10: 100_175_000, 11: 100_200_000,
	}
	if !maps.Equal(times.times, want) {
		t.Errorf("times %v, want %v", times.times, want)
	}
}

func TestLogEndsBeforeTheOffset(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 1, 1)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	l.write(0, 10, 0, codecNone)
	start := map[int32]Position{0: {Offset: 25}}

	// For a while it is borne, and goes on where the log grows past the offset.
	g := startReading(t, c, ReaderConfig{Start: start}, nil)
	g.rows[0] = 25
	g.until("the problem", func() bool { return len(g.r.Problems()) > 0 })
	if text := g.r.Problems()[0]; !strings.Contains(text, "train/0") || !strings.Contains(text, "ends at offset 10") {
		t.Errorf("problem %q", text)
	}
	l.write(0, 20, 0, codecNone)
	g.all(l)
	if problems := g.r.Problems(); len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
	g.stopClean()

	// Then it is an error, also while the other log grows.
	start[0] = Position{Offset: 1000}
	began := time.Now()
	g = startReading(t, c, ReaderConfig{Start: start}, func(r *Reader) { r.beyondFor = 500 * time.Millisecond })
	timeout := time.After(patience)
	for ended := false; !ended; {
		select {
		case err := <-g.done:
			if ended = true; err == nil || !strings.Contains(err.Error(), "made anew or cut") {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(50 * time.Millisecond):
			l.write(0, 1, 0, codecNone)
		case <-timeout:
			t.Fatal("a cut log is never noticed")
		}
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
}

func TestOpenTransactions(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 3, 2)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	l.write(0, 3, 0, codecNone)
	p := transactional(t, b)
	produce := func(partition int32, value string) {
		t.Helper()
		r := &kgo.Record{Topic: "train", Partition: partition, Value: []byte(value)}
		if err := p.ProduceSync(limit(t, patience), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	end := func(how kgo.TransactionEndTry) {
		t.Helper()
		if err := p.EndTransaction(limit(t, patience), how); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		produce(0, "1,0,-1")
	}
	l.write(0, 2, 0, codecGzip)
	l.write(1, 5, 0, codecZstd)

	g := startReading(t, c, ReaderConfig{}, nil)
	g.until("what is decided", func() bool { return g.rows[0] == 3 && g.rows[1] == 5 })
	time.Sleep(2 * maxWait)
	g.until("nothing", func() bool { return len(g.r.Blocks()) == 0 })
	if ends := g.r.Ends(t.Context(), 0); g.next[0] != 3 || ends[0].Stable != 3 || ends[0].Log != 9 || ends[1].Stable != 5 {
		t.Errorf("read to %v, ends %+v", g.next, ends)
	}
	end(kgo.TryAbort)
	g.all(l)
	g.until("the marker", func() bool { return g.next[0] == 10 })

	if err := p.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(0, "1,0,5")
	produce(1, "1,1,5")
	l.next[0], l.next[1] = 6, 6
	end(kgo.TryCommit)
	g.all(l)
	g.until("the markers", func() bool { return g.next[0] == 12 && g.next[1] == 7 })
	g.stopClean()
	if g.refused > 0 {
		t.Errorf("%d refused", g.refused)
	}
}

// answers puts a function in front of the fetch answers of a cluster. It returns nil for the cluster's own.
func answers(b *broker.Broker, f func(*kmsg.FetchRequest) *kmsg.FetchResponse) {
	b.Fake.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		fetch := request.(*kmsg.FetchRequest)
		if r := f(fetch); r != nil {
			r.Version = fetch.Version
			return r, nil, true
		}
		return nil, nil, false
	})
}

// fetched returns an answer about one partition.
func fetched(partition int32, end int64, records []byte) *kmsg.FetchResponse {
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.HighWatermark, p.LastStableOffset, p.RecordBatches = partition, end, end, records
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic, topic.Partitions = "train", []kmsg.FetchResponseTopicPartition{p}
	r := kmsg.NewPtrFetchResponse()
	r.Topics = []kmsg.FetchResponseTopic{topic}
	return r
}

func TestThrottlingIsObeyed(t *testing.T) {
	t.Parallel()
	const throttle = 300 * time.Millisecond
	b := startTopic(t, 1, 1)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	l.write(0, 3, 0, codecNone)
	var mu sync.Mutex
	var asked []time.Time
	answers(b, func(*kmsg.FetchRequest) *kmsg.FetchResponse {
		mu.Lock()
		defer mu.Unlock()
		if asked = append(asked, time.Now()); len(asked) > 2 {
			return nil
		}
		r := kmsg.NewPtrFetchResponse()
		if r.ThrottleMillis = int32(throttle.Milliseconds()); len(asked) == 2 {
			r.ErrorCode = int16(kafka.ThrottlingQuotaExceeded)
		}
		return r
	})
	var told atomic.Int64
	g := startReading(t, c, ReaderConfig{Throttled: func(d time.Duration) { told.Add(int64(d)) }}, nil)
	g.all(l)
	mu.Lock()
	for i, at := range asked[1:3] {
		if gap := at.Sub(asked[i]); gap < throttle {
			t.Errorf("asked again %s after answer %d", gap, i)
		}
	}
	mu.Unlock()
	if d := time.Duration(told.Load()); d != 2*throttle {
		t.Errorf("told of %s", d)
	}
	g.stopClean()
}

func TestCorruptAnswerIsAskedForAgain(t *testing.T) {
	b := startTopic(t, 1, 2)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	for range 3 {
		l.write(0, 4, 0, codecNone)
		l.write(1, 4, 0, codecLZ4)
	}
	var seen atomic.Int32
	answers(b, func(r *kmsg.FetchRequest) *kmsg.FetchResponse {
		records := encodeAll(t, testBatch{
			records: []testRecord{{value: []byte("1,0,0")}, {offset: 1, value: []byte("1,0,1")}},
		}, testBatch{base: 2, last: 3, records: []testRecord{{offset: 2, value: []byte("1,0,2")}, {offset: 3, value: []byte("1,0,3")}}})
		switch seen.Add(1) {
		case 1:
			records[len(records)-1] ^= 4
		case 2:
			if from := r.Topics[0].Partitions; !slices.ContainsFunc(from, func(p kmsg.FetchRequestTopicPartition) bool {
				return p.Partition == 1 && p.FetchOffset == 0
			}) {
				t.Errorf("asked for %+v", from)
			}
			return fetched(1, 12, records[:50])
		case 3:
			r := fetched(0, 12, records)
			r.Topics[0].Partitions[0].Partition = 77 // nobody asked for it
			return r
		default:
			return nil
		}
		return fetched(0, 12, records)
	})
	g := startReading(t, c, ReaderConfig{}, nil)
	g.all(l)
	g.stopClean()
	if g.faults.Load() != 2 {
		t.Errorf("%d faults, want 2", g.faults.Load())
	}
}

// line is a Dial function whose connections can be made to misbehave in the answer to the next fetch requests.
type line struct {
	mu    sync.Mutex
	fault lineFault
	times int // how many requests are still to meet it
}

type lineFault int

const (
	noFault lineFault = iota
	giantSize
	cutInside
	silence
)

type lineConn struct {
	net.Conn
	line  *line
	fault lineFault
	left  int // bytes that pass before the line is cut
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &lineConn{Conn: conn, line: l}, nil
}

func (l *line) set(fault lineFault, times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.times = fault, times
}

func (l *line) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times
}

func (c *lineConn) Write(p []byte) (int, error) {
	if len(p) > 6 && binary.BigEndian.Uint16(p[4:]) == uint16(kmsg.Fetch) {
		c.line.mu.Lock()
		if c.line.times > 0 {
			c.line.times--
			c.fault, c.left = c.line.fault, 1500
		}
		c.line.mu.Unlock()
	}
	return c.Conn.Write(p)
}

func (c *lineConn) Read(p []byte) (int, error) {
	switch c.fault {
	case cutInside:
		if c.left <= 0 {
			_ = c.Close()
			return 0, io.ErrUnexpectedEOF
		}
		n, err := c.Conn.Read(p[:min(len(p), c.left)])
		c.left -= n
		return n, err
	case silence:
		for {
			if _, err := c.Conn.Read(p); err != nil {
				return 0, err
			}
		}
	case giantSize:
		n, err := c.Conn.Read(p)
		binary.BigEndian.PutUint32(p, maxFrame+5)
		c.fault = noFault
		return n, err
	default:
		return c.Conn.Read(p)
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 1, 3)
	l := newLog(t, b)
	for name, fault := range map[string]lineFault{"frame cap": giantSize, "cut inside": cutInside, "silence": silence} {
		wire := &line{} // of this case alone: a request of the case before may still be on its way
		c := connect(t, b, Config{Topics: []string{"train"}, Dial: wire.dial})
		for p := range int32(3) {
			l.write(p, 50, 200, codecNone)
		}
		wire.set(fault, 2)
		g := startReading(t, c, ReaderConfig{}, func(r *Reader) { r.grace = 100 * time.Millisecond })
		g.until(name+": the fault", func() bool { return wire.left() == 0 })
		g.all(l)
		if g.faults.Load() < 2 {
			t.Errorf("%s: %d faults", name, g.faults.Load())
		}
		g.until(name+": no problems", func() bool { return len(g.r.Problems()) == 0 })
		g.stopClean()
	}
}

func TestMemoryIsBoundedWhereOnePartitionIsAhead(t *testing.T) {
	const batchBytes, batches = 50_000, 60
	b := startTopic(t, 1, 2)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	for range batches {
		l.write(0, 50, batchBytes/50, codecNone)
		l.write(1, 50, batchBytes/50, codecNone)
	}
	g := startReading(t, c, ReaderConfig{Budget: 400_000}, nil)
	share := 200_000
	g.keep[0] = true
	g.until("the other partition's end", func() bool { return g.rows[1] == l.next[1] })
	// The last request may be sent with one byte of room, and bring its limit or the batch that lies over it.
	if most := share + share + batchBytes*11/10; g.held[0] < share || g.held[0] > most {
		t.Errorf("holds %d bytes of the partition that is ahead, want %d to %d", g.held[0], share, most)
	}
	g.r.mu.Lock()
	if got := g.r.partitions[0].queued; got != g.held[0] {
		t.Errorf("%d bytes are charged, %d are held", got, g.held[0])
	}
	g.r.mu.Unlock()
	g.keep[0] = false
	for _, block := range g.kept {
		g.r.Release(block)
	}
	g.all(l)
	for p, q := range g.r.partitions {
		g.until("release", func() bool { g.r.mu.Lock(); defer g.r.mu.Unlock(); return q.queued == 0 })
		if q.next != g.next[p] {
			t.Errorf("partition %d at %d, delivered to %d", p, q.next, g.next[p])
		}
	}
	g.stopClean()
}

// TestReleaseWakesTheFetch has a partition that is full again and again. If only the clock woke its fetch, this would
// take a second each time.
func TestReleaseWakesTheFetch(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 1, 1)
	l := newLog(t, b)
	for range 40 {
		l.write(0, 50, 1000, codecNone)
	}
	g := startReading(t, connect(t, b, Config{Topics: []string{"train"}}), ReaderConfig{Budget: 1}, nil)
	g.keep[0] = true
	start := time.Now()
	for g.rows[0] < l.next[0] {
		g.until("a full share", func() bool { return g.held[0] >= minShare || g.rows[0] == l.next[0] })
		time.Sleep(5 * time.Millisecond)
		for _, block := range g.kept {
			g.held[0] -= block.Bytes
			g.r.Release(block)
		}
		g.kept = nil
	}
	if took := time.Since(start); took > patience {
		t.Errorf("took %s", took)
	}
	g.stopClean()
}

func TestRunEndsPromptlyAndLeavesNothing(t *testing.T) {
	b := startTopic(t, 3, 6)
	l := newLog(t, b)
	for p := range int32(6) {
		for range 3 {
			l.write(p, 100, 1000, codecNone)
		}
	}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	wire := &line{}
	c := NewClient(Config{Brokers: b.Addrs(), Topics: []string{"train"}, Dial: wire.dial})
	defer c.Close()

	// Connections, and what serves them on both sides, come once and stay.
	settled := func() int {
		g := startReading(t, c, ReaderConfig{}, nil)
		g.all(l)
		g.stopClean()
		time.Sleep(maxWait)
		return runtime.NumGoroutine()
	}
	before := settled()
	for range 3 {
		settled()
	}
	if after := settled(); after > before+8 {
		t.Errorf("%d goroutines, %d after the first reading", after, before)
	}
	// Nobody takes the blocks.
	g := startReading(t, c, ReaderConfig{Budget: 1}, func(r *Reader) { r.blocks = make(chan *record.Block) })
	time.Sleep(100 * time.Millisecond)
	g.stopClean()
	// A broker is silent.
	wire.set(silence, 1)
	g = startReading(t, c, ReaderConfig{}, nil)
	await(t, "silence", func() bool { return wire.left() == 0 })
	g.stopClean()
	// A fetch goroutine rests.
	answers(b, func(*kmsg.FetchRequest) *kmsg.FetchResponse {
		r := kmsg.NewPtrFetchResponse()
		r.ThrottleMillis = 60_000
		return r
	})
	throttled := make(chan time.Duration, 100)
	g = startReading(t, c, ReaderConfig{Throttled: func(d time.Duration) { throttled <- d }}, nil)
	<-throttled
	g.stopClean()
}

func TestEndsAreAskedForByAge(t *testing.T) {
	b := startTopic(t, 1, 2)
	wire := &cable{}
	c := connect(t, b, Config{Topics: []string{"train"}, Dial: wire.dial})
	l := newLog(t, b)
	l.write(0, 5, 0, codecNone)
	// Without Run nothing but the question itself tells the ends.
	r := c.NewReader(ReaderConfig{Topic: "train", Start: map[int32]Position{0: {Offset: 2}, 1: {}}, Logger: zap.NewNop()})
	if ends := r.Ends(t.Context(), time.Hour); ends[0].First != 2 || ends[0].Stable != 5 || ends[0].Log != 5 || ends[1].Told.IsZero() {
		t.Errorf("first ends %+v", ends)
	}
	l.write(0, 5, 0, codecNone)
	if ends := r.Ends(t.Context(), time.Hour); ends[0].Stable != 5 {
		t.Errorf("ends that are young enough were asked for again: %+v", ends)
	}
	if ends := r.Ends(t.Context(), 0); ends[0].Stable != 10 {
		t.Errorf("old ends were not asked for again: %+v", ends)
	}
	l.write(0, 5, 0, codecNone)
	wire.set(true)
	for range 2 {
		start := time.Now()
		if ends := r.Ends(t.Context(), 0); ends[0].Stable != 10 || ends[0].Told.After(start) {
			t.Errorf("ends without a broker: %+v", ends)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("waited %s for a broker that is away", took)
		}
	}
	wire.set(false)
	await(t, "the new end", func() bool { return r.Ends(t.Context(), 0)[0].Stable == 15 })
}

func TestDeletedTopicIsAProblemAndComesBack(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 1, 1)
	c := connect(t, b, Config{Topics: []string{"train"}})
	l := newLog(t, b)
	l.write(0, 5, 0, codecNone)
	g := startReading(t, c, ReaderConfig{}, func(r *Reader) { r.beyondFor = 200 * time.Millisecond })
	g.all(l)
	if err := b.Fake.DeleteTopic("train"); err != nil {
		t.Fatal(err)
	}
	g.until("the problem", func() bool { return len(g.r.Problems()) > 0 })
	time.Sleep(300 * time.Millisecond) // longer than a log that ends too early is borne
	select {
	case err := <-g.done:
		t.Fatalf("a deleted topic ended the reading: %v", err)
	default:
	}
	if err := b.Fake.CreateTopic("train", 1, nil); err != nil {
		t.Fatal(err)
	}
	for timeout := time.After(patience); ; {
		select {
		case err := <-g.done:
			if err == nil || !strings.Contains(err.Error(), "made anew or cut") {
				t.Errorf("ended with %v", err)
			}
			return
		case <-timeout:
			t.Fatal("a topic that was made anew is never noticed")
		}
	}
}
