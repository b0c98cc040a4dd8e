package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"learner/pkg/record"
)

const (
	// logPatience is how long ReadLog goes on without getting further.
	logPatience = 15 * time.Second
	// logTries is how often a log has to say the same strange thing to be believed.
	logTries = 3
)

// ReadLog calls each for the records of a partition, in log order, from the offset from on, or from the log's start if
// that is above it, to the last stable offset that its leader tells at the call, and returns that end. Where from is not
// below the end it calls nothing. Markers and aborted records are left out; compaction may have left gaps. key and value
// are nil where the log holds null; they are valid only during the call of each, whose error ends the reading and is
// wrapped by the one returned.
//
// Faults that may pass are waited out, each record being handed over once, until 15 s have brought nothing new. A
// missing topic or permission ends the reading at once. A batch that arrives damaged again and again is passed over
// with a warning, so that what follows it can be read: records that depend on each other need a check of their own.
//
// It holds one answer, of about a megabyte or one batch, whichever is larger, and one batch uncompressed.
func (c *Client) ReadLog(
	ctx context.Context, topic string, partition int32, from int64, each func(offset int64, key, value []byte) error,
) (end int64, err error) {
	l := &logReader{
		client: c, topic: topic, partition: partition, each: each, leader: -1, next: from, end: -1,
		scratch: newDecompressor(maxBatchBytes),
		log:     c.log.With(zap.String("topic", topic), zap.Int32("partition", partition)),
	}
	if err := l.run(ctx); err != nil {
		return 0, fmt.Errorf("read the log of %s/%d: %w", topic, partition, err)
	}
	return l.end, nil
}

// logReader is one run of ReadLog.
type logReader struct {
	client    *Client
	topic     string
	partition int32
	each      func(offset int64, key, value []byte) error
	log       *zap.Logger

	leader    int32 // -1: not known
	next, end int64 // end is -1 until the borders are known
	tries     int   // how often the log has said the same of next
	passed    int64 // base offset of the damaged batch that is being passed over, when passing
	passing   bool
	eachErr   error // what each returned

	frame   []byte
	block   record.Block // holds refusals for the time of one batch
	scratch *decompressor
}

func (l *logReader) run(ctx context.Context) error {
	var backoff time.Duration
	progress := time.Now()
	for {
		next, end := l.next, l.end
		pause, err := l.step(ctx)
		switch {
		case l.eachErr != nil:
			return l.eachErr
		case err == nil && l.end >= 0 && l.next >= l.end:
			return nil
		case l.next != next || l.end != end:
			progress, backoff = time.Now(), 0
		}
		if err != nil {
			if l.final(err) || time.Since(progress) > logPatience {
				return err
			}
			l.log.Warn("read the log", zap.Int64("offset", l.next), zap.Error(err))
			l.leader = -1
			backoff = nextBackoff(backoff)
			pause = max(pause, backoff)
		}
		switch alive := sleep(ctx, pause); {
		case !alive && err != nil:
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		case !alive:
			return ctx.Err()
		}
	}
}

// final reports whether to try again would bring the same. While the log is being read its topic is there, whatever a
// broker that has just come to lead it says.
func (l *logReader) final(err error) bool {
	code := kafka.Error(0)
	return errors.As(err, &code) && (refused(code) || code == kafka.UnknownTopicOrPartition && l.end < 0)
}

// step finds out where the log is, or reads on once. It returns how long the broker wants to be left alone.
func (l *logReader) step(ctx context.Context) (pause time.Duration, err error) {
	if l.end < 0 {
		return 0, l.borders(ctx)
	}
	if l.leader < 0 {
		if l.leader, err = l.client.leaderOf(ctx, l.topic, l.partition); err != nil {
			return 0, err
		}
	}
	s, pause, frame, err := l.client.fetchFrom(ctx, l.leader, l.topic, l.partition, l.next, partitionMax, l.frame)
	l.frame = frame
	switch {
	case err != nil:
		return pause, err
	case errors.Is(s.err, kafka.OffsetOutOfRange):
		return pause, l.outOfRange(ctx)
	case s.err != nil:
		return pause, s.err
	case len(s.records) == 0 && pause > 0: // throttled
		return pause, nil
	}
	return pause, l.take(&s)
}

// borders asks for the log's start and end.
func (l *logReader) borders(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ends, err := l.client.Ends(ctx, l.topic, []int32{l.partition})
	if err != nil {
		return err
	}
	l.next, l.end = max(l.next, ends[l.partition].First), ends[l.partition].LastStable
	return nil
}

// outOfRange goes on at the log's start where the log was cut while it was read.
func (l *logReader) outOfRange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ends, err := l.client.Ends(ctx, l.topic, []int32{l.partition})
	if err != nil {
		return err
	}
	o := ends[l.partition]
	if l.next >= o.First {
		return fmt.Errorf("%w: the log has offsets %d to %d", kafka.OffsetOutOfRange, o.First, o.End)
	}
	l.next, l.tries = o.First, 0
	return nil
}

// take hands over the records of an answer.
func (l *logReader) take(s *section) error {
	gone, start := newAborted(s.aborted), l.next
	data := s.records
	for l.next < l.end {
		var b batch
		size, err := nextBatch(data, &b)
		if err != nil {
			return l.damaged(data, err)
		}
		if size == 0 {
			break
		}
		data = data[size:]
		b.skip = gone.covers(&b) || b.attributes&attrControl != 0
		if b.Last < l.next {
			continue
		}
		l.block.Reset()
		_ = b.decode(&l.block, l.next, l, l.scratch, false) // there is no schema to wait for
		if l.eachErr != nil {
			return l.eachErr
		}
		for _, r := range l.block.Refused {
			l.log.Warn("passed over damaged records", zap.Int64("offset", r.Offset), zap.Error(r.Err))
		}
		l.next, l.tries, l.passing = b.Last+1, 0, false
	}
	switch {
	case l.next > start:
		return nil
	case len(s.records) > 0: // a broker that sends anything sends the whole batch that was asked for (KIP-74)
		return l.damaged(data, fmt.Errorf("%w: nothing from offset %d on in %d bytes", errCorrupt, start, len(s.records)))
	case s.lastStable < l.end:
		return fmt.Errorf("the log's last stable offset is %d, and was %d", s.lastStable, l.end)
	}
	// Compaction may have taken all that was left.
	if l.tries++; l.tries == logTries {
		l.next = l.end
		return nil
	}
	return fmt.Errorf("nothing from offset %d on, below the last stable offset %d", l.next, s.lastStable)
}

// damaged passes over the batch at the start of data when it comes damaged again and again. How far it reaches cannot be
// told for sure: one offset after the other is tried until another batch comes.
func (l *logReader) damaged(data []byte, err error) error {
	base := (&cursor{data: data}).int64()
	if l.tries++; l.tries < logTries && (!l.passing || l.passed != base) {
		return err
	}
	if !l.passing || l.passed != base {
		l.log.Warn("passed over a damaged batch", zap.Int64("offset", l.next), zap.Error(err))
	}
	l.next, l.tries, l.passed, l.passing = l.next+1, 0, base, true
	return nil
}

// Decode implements record.Decoder: it hands rec over.
func (l *logReader) Decode(_ *record.Block, rec record.Record) error {
	if l.eachErr == nil && rec.Offset < l.end {
		l.eachErr = l.each(rec.Offset, rec.Key, rec.Value)
	}
	return nil
}

// BatchAt returns the batch that holds offset, or else the next one that compaction has left, of any kind, as the
// partition's log has it now; false if retention took the offset or nothing stable is there. It asks once: after a
// fault the caller asks again.
func (c *Client) BatchAt(ctx context.Context, topic string, partition int32, offset int64) (record.Batch, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	b, found, err := c.batchAt(ctx, topic, partition, offset)
	if err != nil {
		return record.Batch{}, false, fmt.Errorf("look up the batch at %s/%d@%d: %w", topic, partition, offset, err)
	}
	return b, found, nil
}

func (c *Client) batchAt(ctx context.Context, topic string, partition int32, offset int64) (record.Batch, bool, error) {
	leader, err := c.leaderOf(ctx, topic, partition)
	if err != nil {
		return record.Batch{}, false, err
	}
	var s section
	var frame []byte
	for {
		var pause time.Duration
		if s, pause, frame, err = c.fetchFrom(ctx, leader, topic, partition, offset, 1, frame); err != nil {
			return record.Batch{}, false, err
		}
		if pause == 0 || s.err != nil || len(s.records) > 0 {
			break
		}
		if !sleep(ctx, pause) { // a broker that throttles sends nothing
			return record.Batch{}, false, ctx.Err()
		}
	}
	if errors.Is(s.err, kafka.OffsetOutOfRange) {
		ends, err := c.Ends(ctx, topic, []int32{partition})
		if o := ends[partition]; err != nil || offset < o.First || offset > o.End {
			return record.Batch{}, false, err
		}
	}
	if s.err != nil {
		return record.Batch{}, false, s.err
	}
	for data := s.records; ; {
		var b batch
		size, err := nextBatch(data, &b)
		switch {
		case err != nil:
			return record.Batch{}, false, err
		case size == 0 && len(s.records) > 0:
			return record.Batch{}, false, errCorrupt
		case size == 0:
			return record.Batch{}, false, nil
		case b.Last >= offset:
			return b.Batch, true, nil
		}
		data = data[size:]
	}
}

// leaderOf returns the leader of a partition.
func (c *Client) leaderOf(ctx context.Context, topic string, partition int32) (int32, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	leaders, err := c.leaders(ctx, topic)
	if err != nil {
		return -1, err
	}
	switch leader, ok := leaders[partition]; {
	case !ok:
		return -1, kafka.UnknownTopicOrPartition
	case leader < 0:
		return -1, kafka.LeaderNotAvailable
	default:
		return leader, nil
	}
}

// fetchFrom asks the leader of one partition for committed records from offset on: about as many bytes as that, at least
// one batch, none if there are none now. What it returns is in frame, which is scratch for the next call also after an
// error, and is nil where it must not be used again. pause is how long the broker wants to be left alone.
func (c *Client) fetchFrom(
	ctx context.Context, leader int32, topic string, partition int32, offset int64, bytes int32, scratch []byte,
) (s section, pause time.Duration, frame []byte, err error) {
	r := newRawFetch(leader, c.cfg.ClientID, topic)
	r.maxBytes, r.partitions = bytes, []fetchPartition{{partition, offset, bytes}}
	r.frame = scratch
	if frame, err = r.do(ctx, c.transport, c.addr, fetchGrace); err != nil {
		return s, 0, frame, err
	}
	found := false
	pause, err = parseAnswer(frame, func(got section) {
		if got.partition == partition {
			s, found = got, true
		}
	})
	if err == nil && !found {
		err = errTruncated
	}
	return s, pause, frame, err
}
