package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"learner/pkg/producer"
	"learner/pkg/record"
	"learner/pkg/susy"
)

// feedRow is one record to be produced.
type feedRow struct {
	test  bool // for the test topic
	value []byte
}

// generated returns endless SUSY-like events, every tenth for testing.
func generated(seed uint64) func() (feedRow, error) {
	events := susy.NewGenerator(seed)
	var x [susy.Features]float64
	var line []byte
	n := 0
	return func() (feedRow, error) {
		n++
		label := events.Next(&x)
		line = susy.AppendCSV(line[:0], label, &x)
		return feedRow{test: n%demoTestEvery == 0, value: line}, nil
	}
}

// demoFeed produces rows at a steady rate.
type demoFeed struct {
	rate        int
	records     int
	train, test *producer.Producer
	next        func() (feedRow, error) // io.EOF after the last

	sent [2]int64 // per partition turn, of train and test
	done atomic.Bool
}

// run produces until ctx ends, or the rows or the number of training records do.
func (f *demoFeed) run(ctx context.Context) error {
	err := f.feed(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(err, f.train.Close(closing), f.test.Close(closing))
	f.done.Store(true)
	if ctx.Err() != nil {
		return nil // stopped, and what is lost was only for show
	}
	return err
}

func (f *demoFeed) feed(ctx context.Context) error {
	started := time.Now()
	for f.records == 0 || f.sent[0] < int64(f.records) {
		if err := pace(ctx, started, uint64(f.sent[0]), f.rate); err != nil {
			return err
		}
		r, err := f.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the next row: %w", err)
		}
		to, topic := f.train, 0
		if r.test {
			to, topic = f.test, 1
		}
		if err := to.Send(ctx, int32(f.sent[topic]%demoPartitions), time.Now(), nil, r.value); err != nil {
			return err
		}
		f.sent[topic]++
	}
	return nil
}

// streamed returns the lines of a CSV or CSV.gz file but for a header and empty ones, about every tenth for testing.
func streamed(in io.Reader, seed uint64) (func() (feedRow, error), error) {
	text, err := decompress(in)
	if err != nil {
		return nil, fmt.Errorf("unpack the file to stream: %w", err)
	}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, maxLine)
	var n uint64
	return func() (feedRow, error) {
		for lines.Scan() {
			line := lines.Bytes()
			n++
			if len(bytes.TrimSpace(line)) == 0 || n == 1 && record.IsHeader(line) {
				continue
			}
			return feedRow{test: unit(seed, n) < 1./demoTestEvery, value: line}, nil
		}
		if err := lines.Err(); err != nil {
			return feedRow{}, fmt.Errorf("line %d: %w", n+1, err)
		}
		return feedRow{}, io.EOF
	}, nil
}
