package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/record"
)

// testTail is a tail of "train" with what it told.
type testTail struct {
	*Tail
	t       *testing.T
	refused []string // partition@offset
	faults  atomic.Int32
}

func newTestTail(t *testing.T, c *Client, records int) *testTail {
	t.Helper()
	csv := csvDecoder(t)
	tail := &testTail{t: t}
	tail.Tail = c.NewTail(TailConfig{
		Topic: "train", Records: records, Decoder: func() record.Decoder { return csv }, Logger: zap.NewNop(),
		Refused: func(p int32, offset int64, bad *record.Bad) {
			if bad == nil {
				t.Error("refused without a reason")
			}
			tail.refused = append(tail.refused, fmt.Sprintf("%d@%d", p, offset))
		},
		Failed: func(error) { tail.faults.Add(1) },
	})
	return tail
}

// read returns the features of new rows, each of which holds one.
func (t *testTail) read() []int {
	t.t.Helper()
	var got []int
	err := t.Read(limit(t.t, patience), func(r Row) {
		if len(r.X) != 1 || r.Y != 1 {
			t.t.Errorf("row %+v", r)
		}
		got = append(got, int(r.X[0]))
	})
	if err != nil {
		t.t.Fatal(err)
	}
	return got
}

// stamped writes a batch with a row for each time, in seconds, that holds its time. Negative times are bad records.
func (l *trainLog) stamped(partition int32, times ...int) {
	l.tb.Helper()
	b := testBatch{producer: -1}
	for i, at := range times {
		r := testRecord{offset: int64(i), time: int64(max(at, -at)) * 1000, value: fmt.Appendf(nil, "1,%d", at)}
		if at < 0 {
			r.value = []byte("bad")
		}
		b.records = append(b.records, r)
	}
	l.raw(partition, b.encode(l.tb))
}

func TestTailIsTheNewestOverAllPartitions(t *testing.T) {
	b := startTopic(t, 3, 3)
	l := newLog(t, b)
	tail := newTestTail(t, connect(t, b, Config{Topics: []string{"train"}}), 5)
	check := func(what string, want ...int) {
		t.Helper()
		if got := tail.read(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("an empty topic")
	l.stamped(0, 10, 40)
	l.stamped(2, 30)
	check("fewer than asked for", 10, 30, 40)
	check("nothing new")
	l.stamped(1, 20, 25)
	check("only what is new, though older", 20, 25)
	for i := range 10 {
		l.stamped(0, 100+3*i)
		l.stamped(1, 101+3*i, 102+3*i)
	}
	l.stamped(2, 110, 90)
	check("no more than the newest", 125, 126, 127, 128, 129)
	l.stamped(2, 91)
	check("one", 91)
	if err := b.Fake.DeleteTopic("train"); err != nil {
		t.Fatal(err)
	}
	if err := b.Fake.CreateTopic("train", 2, nil); err != nil {
		t.Fatal(err)
	}
	l.stamped(0, 1, 2)
	check("the topic was made anew", 1, 2)
	if tail.faults.Load() > 0 || len(tail.refused) > 0 {
		t.Errorf("%d faults, refused %v", tail.faults.Load(), tail.refused)
	}
}

func TestTailStepsBackOverGaps(t *testing.T) {
	b := startTopic(t, 1, 2)
	l := newLog(t, b)
	l.stamped(0, 50, 51, 52, -53, 54)
	p := transactional(t, b)
	for range 30 {
		r := &kgo.Record{Topic: "train", Partition: 0, Value: []byte("1,-1"), Timestamp: time.Unix(60, 0)}
		if err := p.ProduceSync(limit(t, patience), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.EndTransaction(limit(t, patience), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	l.stamped(0, -70, 71)
	// The other partition has enough rows, and all of them are older.
	l.stamped(1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	c := connect(t, b, Config{Topics: []string{"train"}})
	tail := newTestTail(t, c, 4)
	if got := tail.read(); !slices.Equal(got, []int{51, 52, 54, 71}) {
		t.Errorf("read %v", got)
	}
	slices.Sort(tail.refused)
	if want := []string{"0@3", "0@36"}; !slices.Equal(tail.refused, want) {
		t.Errorf("refused %v, want %v, each once", tail.refused, want)
	}

	// An open transaction hides what is behind it, and holds nothing up.
	if err := p.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: "train", Partition: 0, Value: []byte("1,80"), Timestamp: time.Unix(80, 0)}
	if err := p.ProduceSync(limit(t, patience), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	l.stamped(0, 81)
	l.stamped(1, 82)
	if got := tail.read(); !slices.Equal(got, []int{82}) {
		t.Errorf("beside an open transaction: %v", got)
	}
	if err := p.EndTransaction(limit(t, patience), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := tail.read(); !slices.Equal(got, []int{80, 81}) {
		t.Errorf("after the commit: %v", got)
	}
}

// TestTailAsksForNoMore counts what is asked of partitions that hold nothing new.
func TestTailAsksForNoMore(t *testing.T) {
	b := startTopic(t, 1, 3)
	l := newLog(t, b)
	for p := range int32(3) {
		for i := range 50 {
			l.stamped(p, 3*i+int(p))
		}
	}
	tail := newTestTail(t, connect(t, b, Config{Topics: []string{"train"}}), 10)
	if got := tail.read(); !slices.Equal(got, []int{140, 141, 142, 143, 144, 145, 146, 147, 148, 149}) {
		t.Errorf("read %v", got)
	}
	answers(b, func(r *kmsg.FetchRequest) *kmsg.FetchResponse {
		for _, p := range r.Topics[0].Partitions {
			if p.Partition != 1 || p.FetchOffset < 50 {
				t.Errorf("asked for partition %d from %d on", p.Partition, p.FetchOffset)
			}
		}
		return nil
	})
	l.stamped(1, 200)
	if got := tail.read(); !slices.Equal(got, []int{200}) {
		t.Errorf("read %v", got)
	}
}

func TestTailEndsWithItsContext(t *testing.T) {
	b := startCluster(t, broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(2, "train")}})
	l := newLog(t, b)
	l.stamped(0, 1, 2, 3)
	tail := newTestTail(t, connect(t, b, Config{Topics: []string{"train"}}), 10)
	answers(b, func(*kmsg.FetchRequest) *kmsg.FetchResponse { return fetched(0, 3, nil) })
	start := time.Now()
	err := tail.Read(limit(t, 200*time.Millisecond), func(Row) { t.Error("a row") })
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("%v after %s", err, took)
	}
}
