package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

// evaluateFile shows how good the models would have been on the rows of a file: each model predicts, is scored, and
// then learns every row in the file's order, as it does in the service.
func evaluateFile(ctx context.Context, p *process) error {
	flags := p.newFlags()
	markdown := flags.Bool("markdown", false, "print the table as Markdown")
	asJSON := flags.Bool("json", false, "print everything as JSON")
	rest, err := p.parse(flags)
	switch {
	case err != nil:
		return err
	case len(rest) != 1:
		return usagef("evaluate takes one file, or - for standard input, found %q", rest)
	case *markdown && *asJSON:
		return usagef("evaluate: -markdown and -json exclude each other")
	}
	cfg, err := loadConfig(p.environ, p.dir, offline)
	if err != nil {
		return err
	}
	r, err := newReplay(cfg)
	if err != nil {
		return err
	}
	in, err := p.openInput(rest[0])
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read

	r.size, r.started = sizeOf(in), time.Now()
	show := newProgress(p.stderr, r.state)
	stop := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() { show.run(stop) })
	err = r.run(ctx, in)
	close(stop)
	showing.Wait()
	if len(r.labels) == 0 {
		return fmt.Errorf("evaluate %s: %w", rest[0], cmp.Or(err, r.result().nothing()))
	}
	if err != nil { // what came before it is worth a look
		err = fmt.Errorf("evaluate %s: %w", rest[0], err)
	}
	result := r.result()
	var text string
	switch {
	case *asJSON:
		text = result.json()
	case *markdown:
		text = result.markdown() + result.notes()
	default:
		text = result.text() + result.notes()
	}
	return errors.Join(err, p.print(text))
}

const (
	replayRows = 1024 // of a batch
	widthRows  = 100  // that settle how many features a row has
	namedLines = 5    // refused lines that are shown
)

// replay is one run of the command. All answers and labels are kept for the exact AUC: 8 bytes a row and model, and 8 a
// row.
//
// One goroutine reads, decodes, and learns; what it counts is atomic where progress is shown of it.
type replay struct {
	csvLines
	size    int64     // of the file in bytes; 0: not known
	started time.Time // when reading began
	learned atomic.Int64

	options record.Options
	decoder record.Decoder // nil before the first line: a header line may name the columns
	slots   *record.Slots
	first   []string       // of several columns that are new
	placer  *record.Placer // nil: columns are not settled
	keyed   bool           // column 0 is the record's key, as learner load writes it with --layout tensorflow
	seed    uint64
	models  []*tried

	block  record.Block // decoded and not yet learned; a row's offset is the number of its line
	rows   sgd.Rows     // those of the block that fit
	labels []float64    // of all rows learned

	refused map[string]int   // lines, by reason
	named   []record.Refusal // the first of them
}

// tried is one of the models.
type tried struct {
	spec sgd.Spec
	sgd.Model
	prob []float64     // answered before learning, for each row
	took time.Duration // to predict and learn
}

func newReplay(cfg *Config) (*replay, error) {
	slots, err := record.NewSlots(cfg.HashBits, nil)
	if err != nil {
		return nil, err
	}
	specs, err := sgd.ParseModels(cfg.Models)
	if err != nil {
		return nil, usageError{err}
	}
	r := &replay{options: cfg.recordOptions(nil), slots: slots, first: cfg.firstColumns(), keyed: strings.TrimSpace(cfg.Label) == "key", seed: cfg.Seed, refused: make(map[string]int)}
	for _, spec := range specs {
		r.models = append(r.models, &tried{spec: spec})
	}
	return r, nil
}

// run learns everything that in holds. An error leaves the results of what came before it.
func (r *replay) run(ctx context.Context, in io.Reader) error {
	err := r.each(in, func(number int64, line []byte) error {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return r.decode(number, line)
	})
	r.learn()
	return err
}

// decode takes one line into the block, and learns the block when it is full. The error says that no line can be decoded.
func (r *replay) decode(number int64, line []byte) error {
	if r.decoder == nil {
		options := r.options
		if len(options.Columns) == 0 {
			options.Columns = record.HeaderNames(r.header, line)
		}
		if start := bytes.TrimLeft(line, " \t"); options.Format == "auto" && start[0] != '{' && start[0] != '[' {
			options.Format = "csv"
		}
		decoders, err := record.NewDecoder(options)
		if err != nil {
			return decoderFaults(err).err()
		}
		r.decoder = decoders()
	}
	rec := record.Record{Offset: number, Value: line}
	if r.keyed {
		rec.Key, rec.Value, _ = bytes.Cut(line, []byte(","))
	}
	if bad, ok := errors.AsType[*record.Bad](r.decoder.Decode(&r.block, rec)); ok {
		r.refuse(number, bad)
	}
	if r.block.Rows() == replayRows {
		r.learn()
	}
	return nil
}

// learn lets every model predict and learn the rows of the block, and empties the block.
func (r *replay) learn() {
	b := &r.block
	if r.placer == nil && b.Rows() > 0 {
		r.settle()
	}
	for i := range b.Rows() {
		row := b.Row(i)
		if bad := r.placer.Fits(row.Shape, len(row.X)); bad != nil {
			r.refuse(b.Offset[i], bad)
			continue
		}
		if r.placer.Extends(row.Shape) {
			r.learnRows()
			r.placer.Extend(row.Shape)
			for _, m := range r.models {
				m.Grow(r.placer.Layout().Width)
			}
		}
		var missing bool
		r.rows.X, r.rows.Sparse, missing = r.placer.Place(r.rows.X, r.rows.Sparse, row, false)
		r.rows.Missing = r.rows.Missing || missing
		r.rows.Y, r.rows.SparseEnd = append(r.rows.Y, b.Y[i]), append(r.rows.SparseEnd, len(r.rows.Sparse))
	}
	b.Reset()
	r.learnRows()
}

// learnRows lets every model predict and learn the rows, one model after the other, and takes these away.
func (r *replay) learnRows() {
	if r.rows.Len() == 0 {
		return
	}
	r.rows.Width = r.placer.Layout().Width
	n := len(r.labels)
	r.labels = append(r.labels, r.rows.Y...)
	for _, m := range r.models {
		m.prob = append(m.prob, make([]float64, r.rows.Len())...)
		started := time.Now()
		m.Learn(&r.rows, m.prob[n:])
		m.took += time.Since(started)
	}
	r.learned.Store(int64(len(r.labels)))
	r.rows = sgd.Rows{X: r.rows.X[:0], Y: r.rows.Y[:0], Sparse: r.rows.Sparse[:0], SparseEnd: r.rows.SparseEnd[:0]}
}

// settle settles which columns rows have by the first ones, and makes the models.
func (r *replay) settle() {
	first := make([]record.Row, min(r.block.Rows(), record.SettleRows))
	for i := range first {
		first[i] = r.block.Row(i)
	}
	r.placer = record.Settle(first, r.slots, r.first)
	for _, m := range r.models {
		m.Model = m.spec.New(r.placer.Layout().Width, r.seed)
	}
}

// features returns how many columns are learned from; 0: no row was.
func (r *replay) features() int {
	if r.placer == nil {
		return 0
	}
	return r.placer.Layout().Features()
}

// refuse counts a refused line, and keeps it if it is one of the first. Lines of a wrong width come late.
func (r *replay) refuse(number int64, bad *record.Bad) {
	r.refused[bad.Reason.String()]++
	r.named = append(r.named, record.Refusal{Offset: number, Err: bad})
	slices.SortFunc(r.named, func(a, b record.Refusal) int { return cmp.Compare(a.Offset, b.Offset) })
	r.named = r.named[:min(len(r.named), namedLines)]
}

// state returns how far the replay is.
func (r *replay) state() progressState {
	return progressState{rows: r.learned.Load(), verb: "learned", read: r.read.Load(), size: r.size, elapsed: time.Since(r.started)}
}
