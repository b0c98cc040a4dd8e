package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// start returns a producer on a new topic and closes it at the end of the test.
func start(t *testing.T, c *cluster, client *kafka.Client, partitions int, cfg Config) *Producer {
	t.Helper()
	cfg.Topic = c.topic(t, client, partitions)
	p, err := New(t.Context(), client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_ = p.Close(ctx) // most tests have closed it and looked at the error
	})
	return p
}

func TestEveryCodecArrives(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	onEach(t, func(t *testing.T, c *cluster) {
		client := c.client(t, nil)
		for _, codec := range []string{"", "none", "gzip", "snappy", "lz4", "zstd"} {
			t.Run("codec="+codec, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				const partitions = 3
				p := start(t, c, client, partitions, Config{Compression: codec, BatchBytes: 20_000})
				base := time.UnixMilli(time.Now().UnixMilli())
				want := make([][]kgo.Record, partitions)
				for i := range 2000 {
					rec := kgo.Record{
						Partition: int32(rng.IntN(partitions)),
						Timestamp: base.Add(time.Duration(rng.IntN(200_000)-100_000) * time.Millisecond), // also backwards
						Value:     text(fmt.Sprint("value ", i, " "), rng.IntN(300)),
					}
					switch i % 4 {
					case 0:
						rec.Key = []byte(fmt.Sprint("key ", i))
					case 1:
						rec.Key = []byte{}
					case 2:
						rec.Value = [][]byte{nil, {}}[rng.IntN(2)]
					}
					if i == 777 {
						rec.Value = text("larger than a batch ", 50_000)
					}
					var headers []kafka.Header
					for j := range i % 3 {
						headers = append(headers, kafka.Header{Key: fmt.Sprint("header ", j), Value: [][]byte{nil, {}, []byte("v")}[rng.IntN(3)]})
						rec.Headers = append(rec.Headers, kgo.RecordHeader(headers[j]))
					}
					if err := p.SendWithHeaders(t.Context(), rec.Partition, rec.Timestamp, rec.Key, rec.Value, headers); err != nil {
						t.Fatal(err)
					}
					want[rec.Partition] = append(want[rec.Partition], rec)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := c.read(t, p.cfg.Topic, partitions)
				for i := range want {
					if acked := p.Acked()[i]; int(acked) != len(want[i]) || len(got[i]) != len(want[i]) {
						t.Fatalf("partition %d: sent %d, acknowledged %d, read %d", i, len(want[i]), acked, len(got[i]))
					}
					for j, w := range want[i] {
						g := got[i][j]
						sameHeader := func(a, b kgo.RecordHeader) bool { return a.Key == b.Key && same(a.Value, b.Value) }
						if !slices.EqualFunc(g.Headers, w.Headers, sameHeader) {
							t.Fatalf("partition %d, record %d: headers %v, want %v", i, j, g.Headers, w.Headers)
						}
						if g.Offset != int64(j) || !g.Timestamp.Equal(w.Timestamp) || !same(g.Key, w.Key) || !same(g.Value, w.Value) {
							t.Fatalf("partition %d, record %d: got %v %q %q, want %v %q %q", i, j, g.Timestamp, g.Key, g.Value, w.Timestamp, w.Key, w.Value)
						}
					}
				}
			})
		}
	})
}

// same compares contents and whether they are null.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func TestFlushEndsBatches(t *testing.T) {
	c := embedded(t, 1)
	client := c.client(t, nil)
	batches := observe(c)
	p := start(t, c, client, 2, Config{Linger: time.Hour})
	for _, n := range []int{1, 7, 500} {
		for i := range n {
			if err := p.Send(t.Context(), 0, time.UnixMilli(int64(i)), nil, []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil { // nothing to do
		t.Fatal(err)
	}
	all := batches()
	counts, sequences := make([]int32, 0, len(all)), make([]int32, 0, len(all))
	for _, b := range all {
		counts, sequences = append(counts, b.NumRecords), append(sequences, b.FirstSequence)
		if b.ProducerID != p.id || b.ProducerEpoch != p.epoch || b.ProducerID < 0 {
			t.Errorf("batch of producer %d/%d, want %d/%d", b.ProducerID, b.ProducerEpoch, p.id, p.epoch)
		}
	}
	if !slices.Equal(counts, []int32{1, 7, 500}) || !slices.Equal(sequences, []int32{0, 1, 8}) {
		t.Errorf("batches of %v records from sequences %v, want 1, 7, 500 from 0, 1, 8", counts, sequences)
	}
}

// observe returns a function that gives the batches that the cluster was sent so far.
func observe(c *cluster) func() []kmsg.RecordBatch {
	var mu sync.Mutex
	var seen []kmsg.RecordBatch
	c.fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, part := range topic.Partitions {
				var b kmsg.RecordBatch
				if err := b.ReadFrom(part.Records); err == nil {
					mu.Lock()
					seen = append(seen, b)
					mu.Unlock()
				}
			}
		}
		return nil, nil, false
	})
	return func() []kmsg.RecordBatch {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func TestBatchesStayWithinTheirSize(t *testing.T) {
	c := embedded(t, 1)
	client := c.client(t, nil)
	batches := observe(c)
	const size = 10_000
	p := start(t, c, client, 1, Config{BatchBytes: size, Compression: "none", Linger: time.Hour})
	for i := range 1000 {
		if err := p.Send(t.Context(), 0, time.Now(), nil, text(fmt.Sprint(i), 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := batches()
	for i, b := range all {
		n := int(b.Length) + 12
		if n > size || i < len(all)-1 && n < size-120 {
			t.Errorf("batch %d of %d has %d bytes, want %d or hardly less", i, len(all), n, size)
		}
	}
}

func TestLingerSendsWhatWaits(t *testing.T) {
	c := embedded(t, 1)
	p := start(t, c, c.client(t, nil), 1, Config{Linger: time.Millisecond})
	if err := p.Send(t.Context(), 0, time.Now(), nil, []byte("alone")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); p.Acked()[0] == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a record without company was not sent")
		}
	}
}

// sendNumbers sends n numbered records round robin, flushing now and then, and closes the producer.
func sendNumbers(t *testing.T, p *Producer, n int, each func(i int)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range n {
		if each != nil {
			each(i)
		}
		if err := p.Send(ctx, int32(i%p.Partitions()), time.Now(), nil, []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if i%200 == 199 {
			if err := p.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// checkNumbers finds each number once and in order.
func checkNumbers(t *testing.T, c *cluster, p *Producer, n int) {
	t.Helper()
	partitions := p.Partitions()
	for part, records := range c.read(t, p.cfg.Topic, partitions) {
		want := (n - part + partitions - 1) / partitions
		if acked := p.Acked()[part]; len(records) != want || int(acked) != want {
			t.Errorf("partition %d has %d records and acknowledged %d, want %d", part, len(records), acked, want)
		}
		for i, r := range records {
			if want := fmt.Sprint(i*partitions + part); string(r.Value) != want {
				t.Fatalf("partition %d has %q at offset %d, want %q", part, r.Value, r.Offset, want)
			}
		}
	}
}

func TestBrokenConnectionsDoNotDouble(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	onEach(t, func(t *testing.T, c *cluster) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fates := []fate{passes, passes, passes, passes, passes, passes, answerLost, requestLost}
		var mu sync.Mutex
		asked := 0
		cut := &cutter{fate: func() fate {
			mu.Lock()
			defer mu.Unlock()
			if asked%len(fates) == 0 {
				rng.Shuffle(len(fates), func(i, j int) { fates[i], fates[j] = fates[j], fates[i] })
			}
			asked++
			return fates[(asked-1)%len(fates)]
		}}
		client := c.client(t, cut.wrap)
		var retries atomic.Int64
		p := start(t, c, client, 3, Config{BatchBytes: 500, OnRetry: func(int32, error) { retries.Add(1) }})
		const n = 1500
		sendNumbers(t, p, n, nil)
		checkNumbers(t, c, p, n)
		t.Logf("%d answers and %d requests lost, %d retries", cut.lost.Load(), cut.unsent.Load(), retries.Load())
		if cut.lost.Load() == 0 || cut.unsent.Load() == 0 || retries.Load() < cut.lost.Load()+cut.unsent.Load() {
			t.Error("the faults did not happen")
		}
	})
}

func TestBrokerErrorsDoNotDouble(t *testing.T) {
	for _, answer := range []*kerr.Error{
		kerr.NotEnoughReplicasAfterAppend, // written, and an error all the same
		kerr.RequestTimedOut,              // likewise
		kerr.NotLeaderForPartition,
		kerr.LeaderNotAvailable,
		kerr.KafkaStorageError,
		kerr.CorruptMessage,
	} {
		t.Run(answer.Message, func(t *testing.T) {
			c := embedded(t, 1)
			client := c.client(t, nil)
			fault := c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: answer, Count: 3})
			p := start(t, c, client, 2, Config{BatchBytes: 500})
			const n = 500
			sendNumbers(t, p, n, nil)
			if fault.Hits() != 3 {
				t.Errorf("the fault happened %d times, want 3", fault.Hits())
			}
			checkNumbers(t, c, p, n)
		})
	}
}

func TestMovingLeaders(t *testing.T) {
	c := embedded(t, 3)
	p := start(t, c, c.client(t, nil), 4, Config{BatchBytes: 500})
	const n = 4000
	sendNumbers(t, p, n, func(i int) {
		if i%1000 == 500 {
			c.fake.ShufflePartitionLeaders()
		}
	})
	checkNumbers(t, c, p, n)
}

func TestDuplicateCountsAsWritten(t *testing.T) {
	c := embedded(t, 1)
	c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.DuplicateSequenceNumber})
	p := start(t, c, c.client(t, nil), 1, Config{})
	if err := p.Send(t.Context(), 0, time.Now(), nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil || p.Acked()[0] != 1 {
		t.Errorf("acknowledged %d, error %v", p.Acked()[0], err)
	}
}

func TestFatalErrorsSurface(t *testing.T) {
	for _, want := range []*kerr.Error{
		kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.TopicAuthorizationFailed, kerr.MessageTooLarge, kerr.InvalidRecord,
	} {
		t.Run(want.Message, func(t *testing.T) {
			c := embedded(t, 1)
			p := start(t, c, c.client(t, nil), 2, Config{})
			send := func(partition int32) error { return p.Send(t.Context(), partition, time.Now(), nil, []byte("v")) }
			if err := errors.Join(send(0), send(1), p.Flush(t.Context())); err != nil {
				t.Fatal(err)
			}
			c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: want, Count: -1})
			if err := send(1); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{"Flush": p.Flush(t.Context()), "Send": send(0), "Close": p.Close(t.Context())} {
				if code, ok := errors.AsType[kafka.Error](err); !ok || int16(code) != want.Code {
					t.Errorf("%s after the failure: %v, want code %d", what, err, want.Code)
				}
			}
			if got := p.Acked(); !slices.Equal(got, []int64{1, 1}) {
				t.Errorf("acknowledged %v, want one of each partition", got)
			}
		})
	}
}

// A gap in the sequence is what a broker that lost records answers to: that must not go unseen.
func TestGapSurfaces(t *testing.T) {
	onEach(t, func(t *testing.T, c *cluster) {
		p := start(t, c, c.client(t, nil), 1, Config{})
		if err := errors.Join(p.Send(t.Context(), 0, time.Now(), nil, []byte("v")), p.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		b := new(batch)
		b.add(time.Now().UnixMilli(), nil, []byte("far ahead"))
		_, err := p.deliver(0, b, identity{id: p.id, epoch: p.epoch, sequence: 5})
		if !errors.Is(err, kafka.OutOfOrderSequenceNumber) {
			t.Errorf("a batch from sequence 5 after sequence 0: %v", err)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	c := embedded(t, 1)
	p := start(t, c, c.client(t, nil), 2, Config{BatchBytes: 10_000, Linger: time.Hour})
	c.fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		return nil, nil, true // never an answer
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	const size = 100
	sent := 0
	for ; ; sent++ {
		if err := p.Send(ctx, 0, time.Now(), nil, text("", size)); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	if most, least := 2*10_000/size, 2*10_000/(size+20)-2; sent > most || sent < least {
		t.Errorf("%d records of %d bytes wait for the broker, want %d to %d", sent, size, least, most)
	}
	if err := p.Send(t.Context(), 1, time.Now(), nil, []byte("v")); err != nil {
		t.Errorf("the other partition is held up: %v", err)
	}
	if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush: %v", err)
	}
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if err := p.Send(t.Context(), 0, time.Now(), nil, nil); err == nil {
		t.Error("Send after Close succeeds")
	}
}

func TestGivesUpInTime(t *testing.T) {
	c := embedded(t, 1)
	p := start(t, c, c.client(t, nil), 1, Config{Timeout: 300 * time.Millisecond})
	c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	if err := p.Send(t.Context(), 0, time.Now(), nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := p.Close(t.Context()); !errors.Is(err, kafka.NotLeaderForPartition) {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

func TestManySenders(t *testing.T) {
	c := embedded(t, 1)
	p := start(t, c, c.client(t, nil), 3, Config{BatchBytes: 1000})
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for i := range 1500 {
				if err := p.Send(t.Context(), int32(i%3), time.Now(), nil, []byte("v")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.ends(t, p.cfg.Topic, 3); !slices.Equal(got, []int64{2000, 2000, 2000}) {
		t.Errorf("ends %v, want 2000 each", got)
	}
}

func TestNewRefuses(t *testing.T) {
	c := embedded(t, 1)
	client := c.client(t, nil)
	topic := c.topic(t, client, 1)
	if _, err := New(t.Context(), client, Config{Topic: "nowhere"}); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("missing topic: %v", err)
	}
	for _, cfg := range []Config{{Compression: "zip"}, {BatchBytes: -1}, {BatchBytes: maxBatchBytes + 1}} {
		cfg.Topic = topic
		if _, err := New(t.Context(), client, cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	if _, err := Partitions(t.Context(), client, "nowhere"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("looking a topic up has created it, or: %v", err)
	}
}

func TestEnsureTopic(t *testing.T) {
	onEach(t, func(t *testing.T, c *cluster) {
		client := c.client(t, nil)
		topic := c.topic(t, client, 4)
		if created, err := EnsureTopic(t.Context(), client, topic, 9, -1, nil); created || err != nil {
			t.Errorf("again: created %v, error %v", created, err)
		}
		if n, err := Partitions(t.Context(), client, topic); n != 4 || err != nil {
			t.Errorf("%d partitions, error %v; want 4 as created first", n, err)
		}

		other := topic + ".kept"
		if created, err := EnsureTopic(t.Context(), client, other, 1, -1, map[string]string{"retention.ms": "-1"}); !created || err != nil {
			t.Errorf("with configs: created %v, error %v", created, err)
		}
		answer, err := client.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: other, ConfigNames: []string{"retention.ms"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if entries := answer.Resources[0].ConfigEntries; len(entries) != 1 || entries[0].ConfigValue != "-1" {
			t.Errorf("retention.ms: %+v", entries)
		}

		if _, err := EnsureTopic(t.Context(), client, other+"2", 0, -1, nil); !errors.Is(err, kafka.InvalidPartitionNumber) {
			t.Errorf("no partitions: %v", err)
		}
	})
}
