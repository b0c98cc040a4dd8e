package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"learner/pkg/record"
)

// TailConfig says what a [Tail] reads.
type TailConfig struct {
	Topic   string
	Records int // how many of the newest records matter
	Decoder func() record.Decoder
	Logger  *zap.Logger
	// Refused and Failed, when not nil, are told of records that are no rows and of requests that failed.
	Refused func(partition int32, offset int64, bad *record.Bad)
	Failed  func(error)
}

// Tail reads the newest records of a topic, over all partitions, without a group. It is for one goroutine.
type Tail struct {
	client *Client
	cfg    TailConfig
	next   map[int32]int64 // per partition, what was read
	rows   []tailRow
	found  map[int32]int // rows of each partition, those included that were too old to keep
	x      []float64     // numbers of rows
	hashes []uint64      // of categories of rows
	// Room for the next of both.
	spareX      []float64
	spareHashes []uint64
}

type tailRow struct {
	time      int64
	partition int32
	offset    int64
	shape     *record.Shape
	x, hashes span // of the tail's
	y         float64
}

// span is a part of a slice: length values from start on.
type span struct{ start, length int }

func of[T any](all []T, s span) []T { return all[s.start : s.start+s.length] }

// NewTail prepares a tail. Nothing is read before Read.
func (c *Client) NewTail(cfg TailConfig) *Tail {
	return &Tail{client: c, cfg: cfg, next: make(map[int32]int64)}
}

// Row is a record of a [Tail].
type Row struct {
	Partition  int32
	Offset     int64
	Time       int64 // microseconds since 1970
	record.Row       // valid only during the call
	Y          float64
}

// Read hands the records that came since the last call to add, the oldest first by (time, partition, offset); no more
// than the newest cfg.Records of them.
func (t *Tail) Read(ctx context.Context, add func(Row)) error {
	partitions, err := t.client.Partitions(ctx, t.cfg.Topic)
	if err != nil {
		return err
	}
	ends, err := t.client.Ends(ctx, t.cfg.Topic, partitions)
	if err != nil {
		return err
	}
	from := make(map[int32]int64)
	reported := make(map[int32]int64) // refusals from here on are told or not wanted
	for p, end := range ends {
		from[p], reported[p] = max(t.next[p], end.First), end.LastStable
		if from[p] > end.LastStable { // the log is another one
			from[p] = end.First
		}
	}
	for back := int64(t.cfg.Records); ; back *= 2 {
		start := make(map[int32]Position)
		until := make(map[int32]int64)
		var cut []int32 // partitions that have more
		for p, end := range ends {
			offset := max(from[p], end.LastStable-back)
			if offset > from[p] {
				cut = append(cut, p)
			}
			if offset < end.LastStable {
				start[p], until[p] = Position{Offset: offset}, end.LastStable
			}
		}
		if err := t.read(ctx, start, until, reported); err != nil {
			return err
		}
		// Markers, aborted transactions, and compaction leave fewer records than offsets.
		short := func(p int32) bool { return t.found[p] < t.cfg.Records }
		if !slices.ContainsFunc(cut, short) {
			break
		}
		for p, position := range start {
			reported[p] = position.Offset
		}
	}
	for p, end := range ends {
		t.next[p] = end.LastStable
	}
	t.prune()
	for _, r := range t.rows {
		row := record.Row{Shape: r.shape, X: of(t.x, r.x), Hashes: of(t.hashes, r.hashes)}
		add(Row{Partition: r.partition, Offset: r.offset, Time: r.time, Row: row, Y: r.y})
	}
	return nil
}

// read collects the rows of each partition from start to until. It tells refusals below reported.
func (t *Tail) read(ctx context.Context, start map[int32]Position, until, reported map[int32]int64) error {
	t.rows, t.x, t.hashes, t.found = t.rows[:0], t.x[:0], t.hashes[:0], make(map[int32]int)
	if len(start) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader := t.client.NewReader(ReaderConfig{
		Topic: t.cfg.Topic, Start: start, Until: until, Decoder: t.cfg.Decoder, Workers: 1, Budget: tailBudget,
		Logger: t.cfg.Logger, Failed: t.cfg.Failed,
	})
	ended := make(chan error, 1)
	go func() { ended <- reader.Run(ctx) }()
	for left := len(start); left > 0; {
		b, err := nextBlock(ctx, reader)
		if err != nil {
			cancel()
			return errors.Join(err, <-ended)
		}
		end := until[b.Partition]
		t.collect(b, end, reported[b.Partition])
		if b.Base < end && b.Next >= end {
			left--
		}
		reader.Release(b)
	}
	cancel()
	return <-ended
}

// tailBudget bounds the bytes of records in the hands of a tail's reader.
const tailBudget = 4 << 20

var errEnded = errors.New("reading ended early")

// nextBlock waits for a decoded block.
func nextBlock(ctx context.Context, r *Reader) (*record.Block, error) {
	select {
	case b, ok := <-r.Blocks():
		if !ok {
			return nil, errEnded
		}
		select {
		case <-b.Ready:
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// collect keeps the rows of b below end and tells its refusals below reported.
func (t *Tail) collect(b *record.Block, end, reported int64) {
	for _, r := range b.Refused {
		if r.Offset < reported && t.cfg.Refused != nil {
			t.cfg.Refused(b.Partition, r.Offset, r.Err)
		}
	}
	for i := range b.Rows() {
		if b.Offset[i] >= end {
			break
		}
		row := b.Row(i)
		t.rows = append(t.rows, tailRow{
			time: b.Time[i], partition: b.Partition, offset: b.Offset[i], shape: row.Shape,
			x: span{len(t.x), len(row.X)}, hashes: span{len(t.hashes), len(row.Hashes)}, y: b.Y[i],
		})
		t.x, t.hashes = append(t.x, row.X...), append(t.hashes, row.Hashes...)
		t.found[b.Partition]++
	}
	if len(t.rows) >= 4*t.cfg.Records {
		t.prune()
	}
}

// prune sorts the rows and drops all but the newest that matter.
func (t *Tail) prune() {
	slices.SortFunc(t.rows, func(a, b tailRow) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	surplus := len(t.rows) - t.cfg.Records
	if surplus <= 0 {
		return
	}
	t.rows = slices.Delete(t.rows, 0, surplus)
	x, hashes := t.spareX[:0], t.spareHashes[:0]
	for i, r := range t.rows {
		t.rows[i].x.start, t.rows[i].hashes.start = len(x), len(hashes)
		x, hashes = append(x, of(t.x, r.x)...), append(hashes, of(t.hashes, r.hashes)...)
	}
	t.x, t.spareX, t.hashes, t.spareHashes = x, t.x, hashes, t.hashes
}
