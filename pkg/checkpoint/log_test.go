package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// memoryLog is a Log in memory. Its fields are for tests to look at and to damage.
type memoryLog struct {
	records []memoryRecord
	end     int64
	max     int
	room    int   // records that Append still takes; -1: all
	fault   error // of Read
	read    int   // records that Read handed out
}

type memoryRecord struct {
	offset int64
	key    string
	value  []byte // nil: tombstone
}

var errLog = errors.New("no leader")

func newLog() *memoryLog { return &memoryLog{max: 200, room: -1} }

func (l *memoryLog) MaxRecord() int { return l.max }

func (l *memoryLog) Append(ctx context.Context, records []KeyValue) error {
	for _, r := range records {
		if l.room == 0 || ctx.Err() != nil {
			return errors.Join(errLog, ctx.Err())
		}
		if len(r.Key)+len(r.Value) > l.max {
			return fmt.Errorf("record of %d bytes, at most %d", len(r.Key)+len(r.Value), l.max)
		}
		l.room--
		l.records = append(l.records, memoryRecord{l.end, string(r.Key), bytes.Clone(r.Value)})
		l.end++
	}
	return nil
}

func (l *memoryLog) Read(ctx context.Context, from int64, each func(int64, []byte, []byte) error) (int64, error) {
	if l.fault != nil {
		return 0, l.fault
	}
	for _, r := range l.records {
		if r.offset < from {
			continue
		}
		l.read++
		key, value := []byte(r.key), bytes.Clone(r.value)
		if err := each(r.offset, key, value); err != nil {
			return 0, fmt.Errorf("read log at %d: %w", r.offset, err)
		}
		clear(key)
		clear(value)
	}
	return l.end, ctx.Err()
}

// compact keeps the last record of each key, and drops tombstones if they are old enough.
func (l *memoryLog) compact(tombstones bool) {
	seen := map[string]bool{}
	var left []memoryRecord
	for _, r := range slices.Backward(l.records) {
		if !seen[r.key] && (r.value != nil || !tombstones) {
			left = append(left, r)
		}
		seen[r.key] = true
	}
	slices.Reverse(left)
	l.records = left
}

// clone returns a copy of the log that takes all records.
func (l *memoryLog) clone() *memoryLog {
	c := &memoryLog{end: l.end, max: l.max, room: -1}
	for _, r := range l.records {
		r.value = bytes.Clone(r.value)
		c.records = append(c.records, r)
	}
	return c
}
