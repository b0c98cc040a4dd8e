package consumer

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"learner/pkg/record"
)

// waiting is a decoder that cannot decode a record of partition 1 before its schema is known.
type waiting struct {
	record.Decoder
	known chan struct{}
	asked atomic.Int32
}

func (w *waiting) Decode(dst *record.Block, rec record.Record) error {
	if bytes.HasPrefix(rec.Value, []byte("1,1,150,")) {
		select {
		case <-w.known:
		default:
			w.asked.Add(1)
			return &record.Pending{Schema: "7", Known: w.known, Why: func() string { return "the registry is away" }}
		}
	}
	return w.Decoder.Decode(dst, rec)
}

// A record that waits for its schema holds up its partition, and no other; then it is decoded as if it never had.
func TestPendingHoldsUpItsPartition(t *testing.T) {
	b := startTopic(t, 1, 2)
	l := newLog(t, b)
	for range 40 { // many answers' worth, from one broker
		for p := range int32(2) {
			l.write(p, 100, 1000, codecNone)
		}
	}
	c := NewClient(Config{Brokers: b.Addrs(), Topics: []string{"train"}})
	defer c.Close()
	w := &waiting{Decoder: csvDecoder(t), known: make(chan struct{})}
	g := startReading(t, c, ReaderConfig{Decoder: func() record.Decoder { return w }, Budget: 2 << 20, Keep: true}, nil)

	var blocked []*record.Block // of partition 1, in order
	deadline := time.After(patience)
	for g.rows[0] < 4000 {
		select {
		case block := <-g.r.Blocks():
			if block.Partition == 1 {
				blocked = append(blocked, block)
			} else {
				g.take(block)
			}
		case <-deadline:
			t.Fatalf("partition 0 is held up at record %d", g.rows[0])
		}
	}
	problems := g.r.Problems()
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "train/1: ") || !strings.Contains(problems[0], "schema 7") || !strings.Contains(problems[0], "registry is away") {
		t.Errorf("problems %q", problems)
	}
	i := slices.IndexFunc(blocked, func(b *record.Block) bool { return len(b.Ready) == 0 })
	if i < 0 {
		t.Fatalf("of %d blocks none waits", len(blocked))
	}
	if n := w.asked.Load(); n != 1 {
		t.Errorf("the record was tried %d times", n)
	}
	close(w.known)
	g.keep[1] = true
	for _, block := range blocked {
		g.take(block)
		for i := range block.Rows() {
			if o := ParseOriginal(block.RawRow(i)); !bytes.HasPrefix(o.Value, []byte("1,1,")) || o.Key != nil || o.Headers != nil {
				t.Fatalf("kept of a record: %q", o)
			}
		}
		g.r.Release(block)
	}
	g.keep[1] = false
	g.all(l)
	if problems := g.r.Problems(); len(problems) > 0 {
		t.Errorf("problems %q", problems)
	}
	g.stopClean()
}

// A reader that ends waits for no schema.
func TestPendingEndsWithTheReader(t *testing.T) {
	b := startTopic(t, 1, 2)
	l := newLog(t, b)
	l.write(1, 300, 100, codecNone)
	c := NewClient(Config{Brokers: b.Addrs(), Topics: []string{"train"}})
	defer c.Close()
	w := &waiting{Decoder: csvDecoder(t), known: make(chan struct{})}
	g := startReading(t, c, ReaderConfig{Decoder: func() record.Decoder { return w }}, nil)
	await(t, "a record that waits", func() bool { return w.asked.Load() > 0 && len(g.r.Problems()) > 0 })
	g.cancel()
	select {
	case err := <-g.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not end")
	}

	tail := c.NewTail(TailConfig{Topic: "train", Records: 10_000, Decoder: func() record.Decoder { return w }, Logger: g.r.cfg.Logger})
	if err := tail.Read(limit(t, 300*time.Millisecond), func(Row) { t.Error("a row") }); err == nil {
		t.Error("a tail has read what could not be decoded")
	}
}
