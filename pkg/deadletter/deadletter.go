// Package deadletter writes refused records to a topic, each at least once: as it was, with
// headers that say where it came from and why it was refused.
//
//	goroutine   started and waited for by  ends when  it alone touches
//	writer      New, Close                 Close      the sink
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"learner/pkg/consumer"
	"learner/pkg/record"
)

// The headers of a dead letter, behind those of the record. Values are text.
const (
	HeaderTopic     = "learner.topic"     // where the record was read
	HeaderPartition = "learner.partition" // likewise; decimal
	HeaderOffset    = "learner.offset"    // likewise; decimal
	HeaderReason    = "learner.reason"    // record.Reason
	HeaderError     = "learner.error"     // what was found, for people
	HeaderGroup     = "learner.group"     // who read it
	HeaderTruncated = "learner.truncated" // what of the record is missing because it is too large for the topic; else not there
)

const (
	firstPause = 100 * time.Millisecond // between tries; it doubles
	maxPause   = 5 * time.Second
	maxDetail  = 1000 // bytes of HeaderError
)

// Sink is a topic that is written to. A *producer.Producer is one. Behind an error it is closed and replaced.
type Sink interface {
	Partitions() int
	SendWithHeaders(ctx context.Context, partition int32, timestamp time.Time, key, value []byte, headers []kafka.Header) error
	Flush(ctx context.Context) error
	Acked() []int64
	Close(ctx context.Context) error
}

// Observer is told what becomes of the letters.
type Observer interface {
	// DeadLetter says that the topic has another one.
	DeadLetter(reason record.Reason)
	// DeadLettersQueued says how many wait.
	DeadLettersQueued(n int)
}

// Config says what to write where.
type Config struct {
	Topic   string // of the letters
	From    string // topic of the records
	Group   string
	Records int // most that may wait
	Bytes   int // most that these may hold; a larger one waits alone
	// Open returns a new sink. It may tell retrying of tries that failed and are repeated.
	Open     func(ctx context.Context, retrying func(error)) (Sink, error)
	Observer Observer
	Logger   *zap.Logger
}

// Queue holds the letters that the topic does not have yet. A nil one takes nothing, and has nothing to wait for.
type Queue struct {
	cfg    Config
	learns context.Context // ends the waiting for room
	cancel context.CancelFunc
	done   chan struct{} // the writer has ended

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, with every change of what follows
	letters []*letter     // oldest first
	bytes   int           // that they hold
	next    uint64        // number of the next letter
	refused bool          // a letter found no room before learning ended
	problem error         // why letters wait; nil: nothing is known to be wrong
}

// letter is a refused record.
type letter struct {
	number    uint64
	partition int32
	record.Refusal
	cut int // how much is left out; see contents
}

// What of a record is left out.
const (
	whole = iota
	withoutValue
	withoutAll
)

// New returns a queue and starts its writer. Nobody waits for room any longer than learns lives.
func New(learns context.Context, cfg Config) *Queue {
	ctx, cancel := context.WithCancel(context.WithoutCancel(learns))
	q := &Queue{cfg: cfg, learns: learns, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.write(ctx)
	}()
	return q
}

// Close stops the writer. What was not written by then is dropped: see Flush.
func (q *Queue) Close() {
	if q == nil {
		return
	}
	q.cancel()
	<-q.done
	q.cfg.Observer.DeadLettersQueued(0)
}

// Add takes a refused record. It waits while the queue is full; where learning ends before there is room, the record is
// dropped, and no Flush succeeds any more.
func (q *Queue) Add(partition int32, r record.Refusal) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.letters) > 0 && (len(q.letters) >= q.cfg.Records || q.bytes+len(r.Raw) > q.cfg.Bytes) {
		if q.wait(q.learns) != nil {
			q.refused = true
			q.change()
			return
		}
	}
	r.Raw = slices.Clone(r.Raw)
	q.letters = append(q.letters, &letter{number: q.next, partition: partition, Refusal: r})
	q.bytes += len(r.Raw)
	q.next++
	q.change()
}

// Flush waits until the topic has every record that was added before.
func (q *Queue) Flush(ctx context.Context) error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for end := q.next; ; {
		switch {
		case q.refused:
			return fmt.Errorf("a refused record was not written to %s before learning ended", q.cfg.Topic)
		case len(q.letters) == 0 || q.letters[0].number >= end:
			return nil
		}
		if err := q.wait(ctx); err != nil {
			return fmt.Errorf("wait until %s has %d refused records: %w", q.cfg.Topic, len(q.letters), errors.Join(err, q.problem))
		}
	}
}

// Problem says why letters wait; nil: they do not, or nothing is known to be wrong.
func (q *Queue) Problem() error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.problem == nil {
		return nil
	}
	return fmt.Errorf("%d refused records wait for dead-letter topic %s, and nothing behind them is committed: %w", len(q.letters),
		q.cfg.Topic, q.problem)
}

// wait waits for a change, or the end of ctx, whose error it returns. It is called with the lock held.
func (q *Queue) wait(ctx context.Context) error {
	changed := q.changed
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change wakes those who wait. It is called with the lock held.
func (q *Queue) change() {
	q.cfg.Observer.DeadLettersQueued(len(q.letters))
	close(q.changed)
	q.changed = make(chan struct{})
}

// trouble notes why letters wait, and logs it where it is new; nil: nothing is wrong any more.
func (q *Queue) trouble(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err == nil && q.problem != nil:
		q.cfg.Logger.Info("refused records are written again", zap.String("topic", q.cfg.Topic))
	case err != nil && (q.problem == nil || q.problem.Error() != err.Error()):
		q.cfg.Logger.Warn("refused records cannot be written: nothing behind them is committed, trying again until it works",
			zap.String("topic", q.cfg.Topic), zap.Error(err))
	}
	q.problem = err
}

// write writes letters until ctx ends, with a new sink whenever one has failed. A record that is too large ends a sink
// without saying which one it was: what was sent with it is then sent one by one.
func (q *Queue) write(ctx context.Context) {
	var sink Sink
	defer func() { closeSink(ctx, sink) }()
	pause, single := firstPause, 0
	for {
		letters := q.waiting(ctx, single > 0)
		if letters == nil {
			return
		}
		var err error
		if sink == nil {
			sink, err = q.cfg.Open(ctx, q.trouble)
		}
		if err == nil {
			single = max(single-len(letters), 0)
			if err = q.send(ctx, sink, letters); err != nil {
				sink = nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			q.trouble(nil)
			pause = firstPause
			continue
		case tooLarge(err) && len(letters) > 1:
			single = len(letters)
			continue
		case tooLarge(err) && letters[0].cut < withoutAll:
			letters[0].cut++
			single++
			q.cfg.Logger.Warn("refused record is too large for the dead-letter topic", zap.String("topic", q.cfg.Topic),
				zap.Int32("partition", letters[0].partition), zap.Int64("offset", letters[0].Offset),
				zap.String("left_out", leftOut[letters[0].cut]))
			continue
		}
		q.trouble(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// tooLarge says whether a broker takes no batch of that size.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// waiting returns the letters that wait, or only the first, as soon as there are any; nil: ctx has ended.
func (q *Queue) waiting(ctx context.Context, single bool) []*letter {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.letters) == 0 {
		if q.wait(ctx) != nil {
			return nil
		}
	}
	if single {
		return slices.Clone(q.letters[:1])
	}
	return slices.Clone(q.letters)
}

// send hands letters over, and takes those out of the queue that the brokers have. A sink that failed is closed.
func (q *Queue) send(ctx context.Context, sink Sink, letters []*letter) error {
	before := sink.Acked()
	partitions := int32(sink.Partitions())
	var err error
	for _, l := range letters {
		key, value, headers := q.contents(l)
		if err = sink.SendWithHeaders(ctx, l.partition%partitions, time.Now(), key, value, headers); err != nil {
			break
		}
	}
	if err == nil {
		err = sink.Flush(ctx)
	}
	if err != nil {
		closeSink(ctx, sink)
	}
	acked := sink.Acked()
	q.mu.Lock()
	defer q.mu.Unlock()
	left := make([]*letter, 0, len(q.letters))
	for _, l := range letters { // each partition has them in this order
		if p := l.partition % partitions; before[p] < acked[p] {
			before[p]++
			q.bytes -= len(l.Raw)
			q.cfg.Observer.DeadLetter(l.Err.Reason)
		} else {
			left = append(left, l)
		}
	}
	q.letters = append(left, q.letters[len(letters):]...)
	q.change()
	return err
}

// closeSink closes a sink, if there is one, without waiting for answers.
func closeSink(ctx context.Context, sink Sink) {
	if sink == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_ = sink.Close(ctx) // what it did not write is known, and why
}

// leftOut names what is left out of a letter.
var leftOut = [...]string{withoutValue: "value", withoutAll: "key,value,headers"}

// contents returns what is written of a letter.
func (q *Queue) contents(l *letter) (key, value []byte, headers []kafka.Header) {
	if l.Raw != nil && l.cut < withoutAll {
		original := consumer.ParseOriginal(l.Raw)
		key, value = original.Key, original.Value
		for _, h := range original.Headers {
			headers = append(headers, kafka.Header(h))
		}
	}
	detail := l.Err.Detail
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	for _, h := range [][2]string{
		{HeaderTopic, q.cfg.From},
		{HeaderPartition, strconv.Itoa(int(l.partition))},
		{HeaderOffset, strconv.FormatInt(l.Offset, 10)},
		{HeaderReason, l.Err.Reason.String()},
		{HeaderError, detail},
		{HeaderGroup, q.cfg.Group},
	} {
		headers = append(headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
	}
	if l.cut > whole {
		value = nil
		headers = append(headers, kafka.Header{Key: HeaderTruncated, Value: []byte(leftOut[l.cut])})
	}
	return key, value, headers
}
