package sgd

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"
)

// streams are the shared streams of rows that the project carries, in file order; internal/testdata/README.md says what
// they are. Nobody changes them.
var streams = map[string]func() (*Rows, error){
	"susy_10k_balanced": sync.OnceValues(func() (*Rows, error) { return readStream("susy_10k_balanced") }),
	"elec2":             sync.OnceValues(func() (*Rows, error) { return readStream("elec2") }),
	"rbf_moving":        sync.OnceValues(func() (*Rows, error) { return readStream("rbf_moving") }),
	"tree_change":       sync.OnceValues(func() (*Rows, error) { return readStream("tree_change") }),
}

func readStream(name string) (*Rows, error) {
	f, err := os.Open("../../internal/testdata/" + name + ".csv.gz")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	unzip, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	rows := &Rows{}
	for lines := csv.NewReader(unzip); ; {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		rows.Width = len(line) - 1
		for i, field := range line {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				rows.Y = append(rows.Y, v)
			} else {
				rows.X = append(rows.X, v)
			}
		}
	}
}

func stream(tb testing.TB, name string) *Rows {
	tb.Helper()
	rows, err := streams[name]()
	if err != nil {
		tb.Fatal(err)
	}
	return rows
}

func susyRows(tb testing.TB) *Rows {
	tb.Helper()
	return stream(tb, "susy_10k_balanced")
}

// head returns the first n rows.
func head(rows *Rows, n int) *Rows { return between(rows, 0, n) }

// between returns rows [from, to).
func between(rows *Rows, from, to int) *Rows {
	part := &Rows{Width: rows.Width, X: rows.X[from*rows.Width : to*rows.Width], Missing: rows.Missing, Y: rows.Y[from:to]}
	for i := from; i < to && rows.SparseEnd != nil; i++ {
		part.Sparse = append(part.Sparse, rows.SparseRow(i)...)
		part.SparseEnd = append(part.SparseEnd, len(part.Sparse))
	}
	if rows.Importance != nil {
		part.Importance = rows.Importance[from:to]
	}
	return part
}

// newModel makes a model by a spec such as LEARNER_MODELS has.
func newModel(tb testing.TB, spec string, width int, seed uint64) Model {
	tb.Helper()
	s, err := Parse(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return s.New(width, seed)
}

// progress returns the share of rows that a model answers correctly before it learns them, and its mean log loss then.
func progress(m Model, rows *Rows) (accuracy, loss float64) {
	prob := make([]float64, 1024)
	var correct, sum float64
	for from := 0; from < rows.Len(); from += len(prob) {
		part := between(rows, from, min(from+len(prob), rows.Len()))
		m.Learn(part, prob)
		for i, y := range part.Y {
			sum += LogLoss(prob[i], y)
			if (prob[i] >= 0.5) == (y == 1) {
				correct++
			}
		}
	}
	n := float64(rows.Len())
	return correct / n, sum / n
}

// raced says whether the race detector watches.
var raced bool

// measured skips a test that measures models in one goroutine, which under the race detector would take minutes and show
// nothing.
func measured(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("nothing to race")
	}
}
