package deadletter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"learner/pkg/record"
)

// topic is what sinks write to. Its fields say what befalls them.
type topic struct {
	mu      sync.Mutex
	written []written
	most    int   // bytes of a batch
	fail    error // of Open
	half    int   // the next sink fails for good behind so many records
	opened  int
}

type written struct {
	partition  int32
	key, value []byte
	headers    []kafka.Header
}

func (w written) header(key string) string {
	for _, h := range w.headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return "none"
}

func (w written) String() string {
	return fmt.Sprintf("%s/%s %s", w.header(HeaderPartition), w.header(HeaderOffset), w.header(HeaderTruncated))
}

// sink holds what is sent until Flush.
type sink struct {
	*topic
	half  int
	sent  []written
	acked [2]int64
}

func (t *topic) open(context.Context, func(error)) (Sink, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened++
	half := t.half
	t.half = 0
	return &sink{topic: t, half: half}, t.fail
}

func (s *sink) Partitions() int { return len(s.acked) }
func (s *sink) Acked() []int64  { return append([]int64{}, s.acked[:]...) }

func (s *sink) Close(context.Context) error { return nil }

func (s *sink) SendWithHeaders(_ context.Context, partition int32, _ time.Time, key, value []byte, headers []kafka.Header) error {
	s.sent = append(s.sent, written{partition, key, value, headers})
	return nil
}

func (s *sink) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	size := 0
	for _, w := range s.sent {
		size += len(w.key) + len(w.value)
		for _, h := range w.headers {
			if !strings.HasPrefix(h.Key, "learner.") {
				size += len(h.Value)
			}
		}
	}
	if s.most > 0 && size > s.most {
		return fmt.Errorf("write: %w", kafka.MessageSizeTooLarge)
	}
	for i, w := range s.sent {
		if s.half > 0 && i == s.half {
			return errors.New("given up")
		}
		s.written = append(s.written, w)
		s.acked[w.partition]++
	}
	s.sent = nil
	return ctx.Err()
}

// nobody is an Observer that counts.
type nobody struct {
	mu      sync.Mutex
	letters int
	queued  int
}

func (n *nobody) DeadLetter(record.Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.letters++
}

func (n *nobody) DeadLettersQueued(queued int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queued = queued
}

// start returns a queue of at most 4 records and 1000 bytes, and a function that ends learning.
func start(t *testing.T, to *topic) (*Queue, *nobody, context.CancelFunc) {
	t.Helper()
	learns, stop := context.WithCancel(t.Context())
	seen := new(nobody)
	q := New(learns, Config{
		Topic: "dead", From: "train", Group: "group", Records: 4, Bytes: 1000, Open: to.open, Observer: seen, Logger: zap.NewNop(),
	})
	t.Cleanup(func() {
		stop()
		q.Close()
	})
	return q, seen, stop
}

// raw is a record as it stands in the log.
func raw(key, value string, headers ...string) []byte {
	field := func(b []byte, text string) []byte { return append(binary.AppendVarint(b, int64(len(text))), text...) }
	b := binary.AppendVarint(field(field(nil, key), value), int64(len(headers)/2))
	for _, text := range headers {
		b = field(b, text)
	}
	return b
}

func refusal(offset int64, raw []byte) record.Refusal {
	return record.Refusal{Offset: offset, Err: &record.Bad{Reason: record.Number, Detail: "column 1"}, Raw: raw}
}

func flush(t *testing.T, q *Queue, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	err := q.Flush(ctx)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Fatalf("error %v, want %q", err, want)
	}
}

func TestContents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := new(topic)
		q, seen, _ := start(t, to)
		text := raw("key", "value", "a", "1", "learner.offset", "3")
		q.Add(3, refusal(7, text))
		clear(text) // it is the caller's
		q.Add(4, record.Refusal{Offset: 8, Err: &record.Bad{Reason: record.Decode, Detail: strings.Repeat("ü", 2000)}})
		flush(t, q, "")
		first, second := to.written[0], to.written[1]
		want := "[{a 1} {learner.offset 3} {learner.topic train} {learner.partition 3} {learner.offset 7} {learner.reason number} " +
			"{learner.error column 1} {learner.group group}]"
		var got []string
		for _, h := range first.headers {
			got = append(got, "{"+h.Key+" "+string(h.Value)+"}")
		}
		if fmt.Sprint(got) != want || string(first.key) != "key" || string(first.value) != "value" || first.partition != 1 {
			t.Errorf("partition %d, key %q, value %q, headers %s, want %s", first.partition, first.key, first.value, got, want)
		}
		if second.key != nil || second.value != nil || second.partition != 0 || second.String() != "4/8 none" {
			t.Errorf("a damaged record is %+v", second)
		}
		if detail := second.header(HeaderError); len(detail) > maxDetail+len("…") || !strings.HasPrefix(detail, "üü") {
			t.Errorf("the error is %q", detail)
		}
		if seen.letters != 2 || seen.queued != 0 || q.Problem() != nil {
			t.Errorf("%d letters, %d queued, problem %v", seen.letters, seen.queued, q.Problem())
		}
	})
}

// TestNoneIsLostWhereTheTopicIsAway holds that the queue fills, has those who add wait, and goes on by itself.
func TestNoneIsLostWhereTheTopicIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &topic{fail: errors.New("broker is away")}
		q, seen, _ := start(t, to)
		added := 0
		go func() {
			for offset := range int64(20) {
				q.Add(0, refusal(offset, raw("", "v")))
				added++
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if added != 4 || seen.queued != 4 {
			t.Errorf("%d were added and %d wait, want 4", added, seen.queued)
		}
		if err := q.Problem(); err == nil || !strings.Contains(err.Error(), "4 refused records wait for dead-letter topic dead") ||
			!strings.Contains(err.Error(), "broker is away") {
			t.Errorf("problem %v", err)
		}
		flush(t, q, "broker is away")
		to.mu.Lock()
		to.fail, to.half = nil, 2
		to.mu.Unlock()
		time.Sleep(time.Minute)
		flush(t, q, "")
		if got := fmt.Sprint(to.written); got != fmt.Sprint(inOrder(20)) || seen.letters != 20 || q.Problem() != nil {
			t.Errorf("written %s, %d told, problem %v", got, seen.letters, q.Problem())
		}
	})
}

func inOrder(n int) (all []string) {
	for offset := range n {
		all = append(all, fmt.Sprintf("0/%d none", offset))
	}
	return all
}

func TestBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &topic{fail: errors.New("away")}
		q, _, _ := start(t, to)
		added := 0
		go func() {
			for offset := range int64(3) {
				q.Add(0, refusal(offset, raw("", strings.Repeat("v", 2000)))) // each alone is more than may wait
				added++
			}
		}()
		synctest.Wait()
		if added != 1 {
			t.Errorf("%d were added, want 1", added)
		}
		to.mu.Lock()
		to.fail = nil
		to.mu.Unlock()
		time.Sleep(time.Minute)
		flush(t, q, "")
		if len(to.written) != 3 {
			t.Errorf("%d written", len(to.written))
		}
	})
}

// TestTheEndOfLearningUnblocks holds that who waits for room is let go, and that nothing is then said to be written.
func TestTheEndOfLearningUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &topic{fail: errors.New("away")}
		q, _, stop := start(t, to)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for offset := range int64(20) {
				q.Add(0, refusal(offset, raw("", "v")))
			}
		}()
		synctest.Wait()
		stop()
		<-done
		to.mu.Lock()
		to.fail = nil
		to.mu.Unlock()
		time.Sleep(time.Minute) // what was added is written
		synctest.Wait()
		if len(to.written) != 4 {
			t.Errorf("%d written, want 4", len(to.written))
		}
		flush(t, q, "a refused record was not written to dead before learning ended")
	})
}

func TestLargeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &topic{most: 100}
		q, seen, _ := start(t, to)
		large := strings.Repeat("x", 101)
		for offset, r := range [][]byte{
			raw("k", strings.Repeat("v", 60)), raw("k", large, "a", "1"), raw("k", strings.Repeat("v", 60)), raw(large, "v", "a", "1"),
			raw("k", "v", "a", large), raw("k", "v"),
		} {
			q.Add(0, refusal(int64(offset), r))
		}
		flush(t, q, "")
		want := "[0/0 none 0/1 value 0/2 none 0/3 key,value,headers 0/4 key,value,headers 0/5 none]"
		if got := fmt.Sprint(to.written); got != want || seen.letters != 6 {
			t.Fatalf("written %s, want %s", got, want)
		}
		if w := to.written[1]; string(w.key) != "k" || w.value != nil || w.header("a") != "1" {
			t.Errorf("without its value it is %+v", w)
		}
		if w := to.written[3]; w.key != nil || w.value != nil || w.header("a") != "none" {
			t.Errorf("without all it is %+v", w)
		}
	})
}

// TestNoQueue holds that a service without a dead-letter topic needs none.
func TestNoQueue(t *testing.T) {
	var q *Queue
	q.Add(0, refusal(0, nil))
	if err := errors.Join(q.Flush(t.Context()), q.Problem()); err != nil {
		t.Error(err)
	}
	q.Close()
}
