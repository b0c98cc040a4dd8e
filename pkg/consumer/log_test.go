package consumer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"learner/internal/broker"
	"learner/pkg/record"
)

// pair is a record of a log.
type pair struct {
	key, value string
	tombstone  bool
}

func (p pair) String() string { return fmt.Sprintf("%s=%.20s(%d)", p.key, p.value, len(p.value)) }

// writePairs appends a batch to partition 0 of a topic.
func writePairs(t *testing.T, c *Client, topic string, codec kafka.Compression, pairs ...pair) {
	t.Helper()
	records := make([]kafka.Record, 0, len(pairs))
	for _, p := range pairs {
		r := kafka.Record{Key: kafka.NewBytes([]byte(p.key)), Value: kafka.NewBytes([]byte(p.value))}
		if p.tombstone {
			r.Value = nil
		}
		records = append(records, r)
	}
	produce(t, c, topic, codec, records...)
}

// produce appends a batch to partition 0 of a topic that may be so new that the client does not know of it.
func produce(t *testing.T, c *Client, topic string, codec kafka.Compression, records ...kafka.Record) {
	t.Helper()
	await(t, "the writing", func() bool {
		r, err := c.Kafka().Produce(limit(t, patience), &kafka.ProduceRequest{
			Topic: topic, RequiredAcks: kafka.RequireAll, Compression: codec, Records: kafka.NewRecordReader(records...),
		})
		if err == nil && r.Error != nil {
			t.Fatal(r.Error)
		}
		return err == nil
	})
}

// readPairs reads partition 0 of a topic.
func readPairs(t *testing.T, c *Client, topic string) ([]pair, error) {
	t.Helper()
	var got []pair
	_, err := c.ReadLog(limit(t, 2*patience), topic, 0, 0, func(_ int64, key, value []byte) error {
		got = append(got, pair{string(key), string(value), value == nil})
		return nil
	})
	return got, err
}

func TestReadLog(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, addrs []string, name string) {
		c := client(t, Config{Brokers: addrs, Topics: []string{name}})
		create(t, c, name, 1,
			kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"},
			kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "4000000"})
		if got, err := readPairs(t, c, name); err != nil || len(got) != 0 {
			t.Errorf("an empty log: %v, %v", got, err)
		}
		var want []pair
		write := func(codec kafka.Compression, pairs ...pair) {
			t.Helper()
			writePairs(t, c, name, codec, pairs...)
			want = append(want, pairs...)
		}
		for i := range 300 {
			id := strconv.Itoa(i)
			write(kafka.Compression(i%5), pair{key: "k" + id, value: "v" + id}, pair{key: "gone" + id, tombstone: true}, pair{key: "", value: ""})
		}
		for i := range 6 { // more than one answer takes, and one record is larger than what is asked for
			large := bytes.Repeat(digits, 16)[:900_000]
			if i == 3 {
				large = bytes.Repeat(digits, 60)[:3_900_000]
			}
			write(0, pair{key: "chunk" + strconv.Itoa(i), value: string(large)})
		}
		got, err := readPairs(t, c, name)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: read %d records, want %d", err, len(got), len(want))
		}

		// From the middle, the end, and beyond.
		length := int64(len(want))
		for _, from := range []int64{1, length - 2, length, length + 1000} {
			next := from
			end, err := c.ReadLog(limit(t, patience), name, 0, from, func(offset int64, key, _ []byte) error {
				if offset != next || string(key) != want[offset].key {
					t.Errorf("from %d: %d=%s, want %d", from, offset, key, next)
				}
				next++
				return nil
			})
			if err != nil || end != length || next != max(from, length) {
				t.Errorf("from %d: %v: read to %d, end %d, want %d", from, err, next, end, length)
			}
		}

		// What is written during the reading does not belong to it.
		n := 0
		_, err = c.ReadLog(limit(t, patience), name, 0, 0, func(int64, []byte, []byte) error {
			if n++; n == 1 {
				writePairs(t, c, name, 0, pair{key: "late"})
			}
			return nil
		})
		if err != nil || n != len(want) {
			t.Errorf("%v: read %d records, want %d", err, n, len(want))
		}

		// An error of the callee's ends it.
		enough := errors.New("enough")
		n = 0
		_, err = c.ReadLog(limit(t, patience), name, 0, 0, func(int64, []byte, []byte) error {
			n++
			return enough
		})
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("%v after %d records", err, n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err = c.ReadLog(ctx, name, 0, 0, func(int64, []byte, []byte) error {
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the context ended: %v", err)
		}
	})
}

func TestReadCompactedLog(t *testing.T) {
	b := startCluster(t, broker.Options{})
	c := connect(t, b, Config{Topics: []string{"log"}})
	create(t, c, "log", 1,
		kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"},
		kafka.ConfigEntry{ConfigName: "delete.retention.ms", ConfigValue: "3600000"})
	latest := make(map[string]pair)
	for i := range 200 {
		one, two := pair{key: strconv.Itoa(i % 7), value: strconv.Itoa(i)}, pair{key: strconv.Itoa(i / 2), value: "x"}
		if i%31 == 30 {
			two = pair{key: strconv.Itoa(i - 20), tombstone: true}
		}
		writePairs(t, c, "log", kafka.Lz4, one, two)
		latest[one.key] = one
		latest[two.key] = two
	}
	last := pair{key: "last"}
	writePairs(t, c, "log", 0, last)
	latest["last"] = last
	b.Fake.Compact()
	got, err := readPairs(t, c, "log")
	if err != nil || len(got) != len(latest) || got[len(got)-1] != last {
		t.Fatalf("%v: read %v, want %d records", err, got, len(latest))
	}
	for _, p := range got {
		if latest[p.key] != p {
			t.Errorf("read %v, want %v", p, latest[p.key])
		}
	}
	// A batch is found from offsets in a gap before it too.
	ends, err := c.Ends(limit(t, patience), "log", []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	gaps := 0
	for offset := ends[0].First; offset < ends[0].End; offset++ {
		batch, found, err := c.BatchAt(limit(t, patience), "log", 0, offset)
		if err != nil || !found || batch.Last < offset {
			t.Errorf("batch at %d: %+v, %v, %v", offset, batch, found, err)
		}
		if batch.Base > offset {
			gaps++
		}
	}
	if gaps == 0 {
		t.Error("there is no gap: nothing was tested")
	}
}

func TestReadLogWithTransactions(t *testing.T) {
	b := startTopic(t, 3, 1)
	c := connect(t, b, Config{Topics: topics})
	p := transactional(t, b)
	inTransaction := func(value string) {
		t.Helper()
		if err := p.ProduceSync(limit(t, patience), &kgo.Record{Topic: "train", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i, how := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		inTransaction("t" + strconv.Itoa(i))
		writePairs(t, c, "train", 0, pair{value: "w" + strconv.Itoa(i)})
		if err := p.EndTransaction(limit(t, patience), how); err != nil {
			t.Fatal(err)
		}
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	inTransaction("open")
	writePairs(t, c, "train", 0, pair{value: "behind"})
	got, err := readPairs(t, c, "train")
	want := []pair{{value: "w0"}, {value: "t1"}, {value: "w1"}, {value: "w2"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
	// Offsets: t0 w0 abort t1 w1 commit t2 w2 abort open.
	for offset, want := range map[int64]bool{2: true, 5: true, 8: true, 9: false, 10: false} {
		batch, found, err := c.BatchAt(limit(t, patience), "train", 0, offset)
		if err != nil || found != want || found && (batch.Base != offset || batch.Last != offset) {
			t.Errorf("batch at %d: %+v, %v, %v", offset, batch, found, err)
		}
	}
}

// tenOffsets writes five batches of two records to partition 0.
func tenOffsets(t *testing.T, b *broker.Broker) {
	t.Helper()
	l := newLog(t, b)
	for range 5 {
		l.write(0, 2, 0, codecNone)
	}
}

// written returns five batches of two records, for answers about the log that tenOffsets writes, and their values.
func written() (batches []testBatch, values []string) {
	for i := range int64(5) {
		batches = append(batches, testBatch{base: 2 * i, producer: -1, records: []testRecord{
			{offset: 2 * i, value: fmt.Appendf(nil, "a%d", i)}, {offset: 2*i + 1, value: fmt.Appendf(nil, "b%d", i)},
		}})
		values = append(values, fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i))
	}
	return batches, values
}

func TestReadLogPassesOverDamage(t *testing.T) {
	t.Parallel()
	batches, values := written()
	flip := func(b []byte) { b[len(b)-1] ^= 1 }
	for _, test := range []struct {
		name  string
		times int // how many answers have the batch with offsets 4 and 5 damaged
		give  func([]byte)
		want  []string
	}{
		{"passing", 2, flip, values},
		{"lasting", 1000, flip, slices.Concat(values[:4], values[6:])},
		{"lasting, of the base offset too", 1000, func(b []byte) { b[3] ^= 1; flip(b) }, slices.Concat(values[:4], values[6:])},
		{"lasting, of the length", 1000, func(b []byte) { binary.BigEndian.PutUint32(b[8:], 7) }, slices.Concat(values[:4], values[6:])},
		{"inside of a valid checksum", 1000, func(b []byte) { b[len(b)-4] = 0x7f; seal(b) }, slices.Concat(values[:5], values[6:])},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startTopic(t, 1, 1)
			c := connect(t, b, Config{Topics: topics})
			tenOffsets(t, b)
			n := 0
			answers(b, func(f *kmsg.FetchRequest) *kmsg.FetchResponse {
				offset := f.Topics[0].Partitions[0].FetchOffset
				n++
				var all []byte
				for i, batch := range batches {
					one := batch.encode(t)
					if i == 2 && n <= test.times {
						test.give(one)
					}
					if batch.base+1 >= offset {
						all = append(all, one...)
					}
				}
				return fetched(0, 10, all)
			})
			if got, err := readPairs(t, c, "train"); err != nil || !slices.Equal(valuesOf(got), test.want) {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func valuesOf(pairs []pair) (values []string) {
	for _, p := range pairs {
		values = append(values, p.value)
	}
	return values
}

func TestReadLogWaitsForWhatIsThere(t *testing.T) {
	t.Parallel()
	batches, values := written()
	all := encodeAll(t, batches...)
	begin := len(encodeAll(t, batches[:2]...))
	none := func(end int64) *kmsg.FetchResponse { return fetched(0, end, nil) }
	for _, test := range []struct {
		name string
		give []func() *kmsg.FetchResponse // answers from offset 4 on; the last stands
		want []string
	}{
		{"a leader that knows of less for a while", []func() *kmsg.FetchResponse{
			func() *kmsg.FetchResponse { return none(4) }, func() *kmsg.FetchResponse { return none(4) },
			func() *kmsg.FetchResponse { return none(9) }, func() *kmsg.FetchResponse { return fetched(0, 10, all[begin:]) },
		}, values},
		{"throttling", []func() *kmsg.FetchResponse{
			func() *kmsg.FetchResponse {
				r := none(10)
				r.ThrottleMillis = 10
				return r
			}, func() *kmsg.FetchResponse { return none(10) }, func() *kmsg.FetchResponse { return none(10) },
			func() *kmsg.FetchResponse { return fetched(0, 10, all[begin:]) },
		}, values},
		{"errors", []func() *kmsg.FetchResponse{
			func() *kmsg.FetchResponse {
				r := none(10)
				r.Topics[0].Partitions[0].ErrorCode = int16(kafka.NotLeaderForPartition)
				return r
			}, func() *kmsg.FetchResponse {
				r := none(10)
				r.Topics[0].Partitions[0].ErrorCode = int16(kafka.UnknownTopicOrPartition)
				return r
			}, func() *kmsg.FetchResponse {
				r := none(10)
				r.Topics[0].Partitions[0].ErrorCode = int16(kafka.OffsetOutOfRange)
				return r
			}, func() *kmsg.FetchResponse { return fetched(5, 10, all[begin:]) },
			func() *kmsg.FetchResponse { return fetched(0, 10, all[begin:begin+70]) },
			func() *kmsg.FetchResponse { return fetched(0, 10, all[begin:]) },
		}, values},
		{"compaction that took the rest", []func() *kmsg.FetchResponse{func() *kmsg.FetchResponse { return none(10) }}, values[:4]},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startTopic(t, 1, 1)
			c := connect(t, b, Config{Topics: topics})
			tenOffsets(t, b)
			n := 0
			answers(b, func(f *kmsg.FetchRequest) *kmsg.FetchResponse {
				if f.Topics[0].Partitions[0].FetchOffset == 0 {
					return fetched(0, 10, all[:begin])
				}
				n++
				return test.give[min(n, len(test.give))-1]()
			})
			if got, err := readPairs(t, c, "train"); err != nil || !slices.Equal(valuesOf(got), test.want) {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
			if n < len(test.give) {
				t.Errorf("only %d answers were asked for", n)
			}
		})
	}
}

func TestReadLogWhileLeadersMove(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 3, 1)
	c := connect(t, b, Config{Topics: topics})
	for i := range 60 {
		writePairs(t, c, "train", 0, pair{value: strconv.Itoa(i), key: string(digits[:50_000])})
	}
	for round := range 5 {
		n := 0
		_, err := c.ReadLog(limit(t, patience), "train", 0, 0, func(_ int64, _, value []byte) error {
			if string(value) != strconv.Itoa(n) {
				t.Errorf("read %s, want %d", value, n)
			}
			if n++; n%20 == 1 {
				_ = b.Fake.MoveTopicPartition("train", 0, int32(n/20+round)%3)
			}
			return nil
		})
		if err != nil || n != 60 {
			t.Errorf("%v: read %d records", err, n)
		}
	}
}

func TestReadLogOverAConnectionThatIsCut(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 1, 1)
	line := &cable{}
	c := connect(t, b, Config{Topics: topics, Dial: line.dial})
	for i := range 60 {
		writePairs(t, c, "train", 0, pair{value: strconv.Itoa(i), key: string(digits[:50_000])})
	}
	n := 0
	_, err := c.ReadLog(limit(t, patience), "train", 0, 0, func(_ int64, _, value []byte) error {
		if string(value) != strconv.Itoa(n) {
			t.Errorf("read %s, want %d", value, n)
		}
		if n++; n%20 == 1 {
			line.set(true)
			time.AfterFunc(100*time.Millisecond, func() { line.set(false) })
		}
		return nil
	})
	if err != nil || n != 60 {
		t.Errorf("%v: read %d records", err, n)
	}
}

func TestReadLogGoesOnWhereTheLogBegins(t *testing.T) {
	t.Parallel()
	b := startTopic(t, 1, 1)
	c := connect(t, b, Config{Topics: topics})
	for i := range 50 {
		writePairs(t, c, "train", 0, pair{value: strconv.Itoa(i), key: string(digits[:60_000])})
	}
	var got []string
	_, err := c.ReadLog(limit(t, patience), "train", 0, 0, func(_ int64, _, value []byte) error {
		if got = append(got, string(value)); len(got) == 1 {
			return b.Fake.DeleteRecords("train", 0, 40)
		}
		return nil
	})
	if n := len(got); err != nil || n < 11 || n >= 50 || got[n-10] != "40" || got[n-1] != "49" {
		t.Errorf("%v: read %v", err, got)
	}
	// All of it goes.
	_, err = c.ReadLog(limit(t, patience), "train", 0, 0, func(int64, []byte, []byte) error { return b.Fake.DeleteRecords("train", 0, 50) })
	if err != nil {
		t.Error(err)
	}
}

func TestReadLogRefusals(t *testing.T) {
	t.Parallel()
	b := startCluster(t, broker.Options{User: "key", Password: "secret", Fake: []kfake.Opt{
		kfake.SeedTopics(1, "train"), kfake.EnableACLs(),
		kfake.User("PLAIN", "nothing", "pass"),
		kfake.User("PLAIN", "describer", "pass", acl(kmsg.ACLResourceTypeTopic, "train", kmsg.ACLOperationDescribe)),
	}})
	owner := connect(t, b, Config{User: "key", Password: "secret", Topics: topics})
	writePairs(t, owner, "train", 0, pair{value: "v"})
	silent := client(t, Config{Brokers: []string{silentBroker(t, 0)}})
	for _, test := range []struct {
		name      string
		c         *Client
		topic     string
		partition int32
		want      error
	}{
		{"no topic", owner, "gone", 0, kafka.UnknownTopicOrPartition},
		{"no partition", owner, "train", 1, kafka.UnknownTopicOrPartition},
		{"no permission", connect(t, b, Config{User: "nothing", Password: "pass"}), "train", 0, kafka.TopicAuthorizationFailed},
		{"permission to describe", connect(t, b, Config{User: "describer", Password: "pass"}), "train", 0, kafka.TopicAuthorizationFailed},
		{"silence", silent, "train", 0, context.DeadlineExceeded},
	} {
		ctx := limit(t, time.Second)
		_, err := test.c.ReadLog(ctx, test.topic, test.partition, 0, func(int64, []byte, []byte) error { return nil })
		if !errors.Is(err, test.want) || (ctx.Err() != nil) != (test.name == "silence") {
			t.Errorf("%s: %v", test.name, err)
		}
		batch, found, err := test.c.BatchAt(limit(t, time.Second), test.topic, test.partition, 0)
		if !errors.Is(err, test.want) || found {
			t.Errorf("%s: batch %+v, %v, %v", test.name, batch, found, err)
		}
	}
}

func TestReadLogLeavesNothingBehind(t *testing.T) {
	b := startTopic(t, 1, 1)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := NewClient(Config{Brokers: b.Addrs(), Topics: topics})
	writePairs(t, c, "train", 0, pair{value: "v"})
	if got, err := readPairs(t, c, "train"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	c.Close()
}

// cutLog deletes the records of partition 0 below offset.
func cutLog(t *testing.T, addrs []string, topic string, offset int64) {
	t.Helper()
	admin, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	deletion := kmsg.NewDeleteRecordsRequestTopic()
	deletion.Topic, deletion.Partitions = topic, []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: offset}}
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.Topics = append(request.Topics, deletion)
	r, err := request.RequestWith(limit(t, patience), admin)
	if err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, r)
	}
}

func TestBatchAt(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, addrs []string, name string) {
		c := client(t, Config{Brokers: addrs, Topics: []string{name}})
		create(t, c, name, 1)
		at := func(offset int64) (record.Batch, bool) {
			t.Helper()
			b, found, err := c.BatchAt(limit(t, patience), name, 0, offset)
			if err != nil {
				t.Fatal(err)
			}
			return b, found
		}
		await(t, "the first leader", func() bool {
			_, _, err := c.BatchAt(limit(t, patience), name, 0, 0)
			return !errors.Is(err, kafka.NotLeaderForPartition)
		})
		if b, found := at(0); found {
			t.Errorf("a batch in an empty log: %+v", b)
		}
		begun := time.UnixMilli(1_700_000_000_000)
		for i := range 4 { // batches of 3 records
			records := make([]kafka.Record, 0, 3)
			for j := range 3 {
				records = append(records, kafka.Record{Time: begun.Add(time.Duration(10*i+j) * time.Second), Value: kafka.NewBytes(digits[:2000])})
			}
			produce(t, c, name, 0, records...)
		}
		for offset := range int64(12) {
			i := offset / 3
			want := record.Batch{Base: 3 * i, Last: 3*i + 2, Time: begun.Add(time.Duration(10*i+2) * time.Second).UnixMicro()}
			if b, found := at(offset); !found || b != want {
				t.Errorf("batch at %d: %+v, %v; want %+v", offset, b, found, want)
			}
		}
		cutLog(t, addrs, name, 7)
		for offset, want := range map[int64]bool{0: false, 5: false, 6: false, 7: true, 11: true, 12: false, 13: false, 1 << 40: false} {
			if b, found := at(offset); found != want || want && b.Base > offset {
				t.Errorf("batch at %d of a log from 7 to 12: %+v, %v", offset, b, found)
			}
		}
	})
}

func TestBatchAtAnswers(t *testing.T) {
	t.Parallel()
	batches, _ := written()
	all := encodeAll(t, batches...)
	broken := bytes.Clone(all)
	broken[70] ^= 1
	b := startTopic(t, 1, 1)
	c := connect(t, b, Config{Topics: topics})
	tenOffsets(t, b)
	var mu sync.Mutex
	var next []*kmsg.FetchResponse
	answers(b, func(*kmsg.FetchRequest) *kmsg.FetchResponse {
		mu.Lock()
		defer mu.Unlock()
		r := next[0]
		next = next[1:]
		return r
	})
	ask := func(give ...*kmsg.FetchResponse) (record.Batch, bool, error) {
		mu.Lock()
		next = give
		mu.Unlock()
		return c.BatchAt(limit(t, patience), "train", 0, 5)
	}
	throttled := fetched(0, 10, nil)
	throttled.ThrottleMillis = 10
	if got, found, err := ask(throttled, throttled, fetched(0, 10, all)); err != nil || !found || got.Base != 4 || got.LeaderEpoch != 7 {
		t.Errorf("after throttling, and behind batches that nobody asked for: %+v, %v, %v", got, found, err)
	}
	if got, found, err := ask(fetched(0, 10, broken)); !errors.Is(err, errCorrupt) || found {
		t.Errorf("damage: %+v, %v, %v", got, found, err)
	}
	if got, found, err := ask(fetched(0, 10, all[:40])); !errors.Is(err, errCorrupt) || found {
		t.Errorf("half a batch: %+v, %v, %v", got, found, err)
	}
	moved := fetched(0, 10, nil)
	moved.Topics[0].Partitions[0].ErrorCode = int16(kafka.OffsetOutOfRange)
	if got, found, err := ask(moved); !errors.Is(err, kafka.OffsetOutOfRange) || found {
		t.Errorf("an offset that the log has, out of range: %+v, %v, %v", got, found, err)
	}
	if got, found, err := ask(fetched(3, 10, all)); err == nil || found || !strings.Contains(err.Error(), "train/0@5") {
		t.Errorf("another partition: %+v, %v, %v", got, found, err)
	}
}
