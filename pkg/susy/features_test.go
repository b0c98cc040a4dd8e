package susy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// realRow is a row of the UCI file.
type realRow struct {
	line  string
	label int
	x     [Features]float64
}

// readRealRows reads 10,000 rows of the UCI file, half of them signal.
var readRealRows = sync.OnceValues(func() (rows []realRow, err error) {
	file, err := os.ReadFile("../../internal/testdata/susy_10k_balanced.csv.gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		row := realRow{line: lines.Text()}
		for i, field := range strings.Split(row.line, ",") {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				row.label = int(v)
			} else {
				row.x[i-1] = v
			}
		}
		rows = append(rows, row)
	}
	return rows, lines.Err()
})

func realRows(tb testing.TB) []realRow {
	tb.Helper()
	rows, err := readRealRows()
	if err != nil {
		tb.Fatal(err)
	}
	return rows
}

func TestHighLevelAgreesWithRealRows(t *testing.T) {
	rows := realRows(t)
	if len(rows) != 10_000 {
		t.Fatalf("%d rows", len(rows))
	}
	var errs [Features][]float64
	sameZero := 0
	for _, row := range rows {
		x := row.x
		for i := missingRel; i < Features; i++ {
			x[i] = math.NaN()
		}
		HighLevel(&x)
		for i := range x {
			errs[i] = append(errs[i], math.Abs(x[i]-row.x[i]))
		}
		if (x[mT2] == 0) == (row.x[mT2] == 0) {
			sameZero++
		}
	}
	within := func(column int, limit float64) float64 {
		n := 0
		for _, e := range errs[column] {
			if e <= limit {
				n++
			}
		}
		return float64(n) / float64(len(rows))
	}
	for i, e := range errs {
		slices.Sort(e)
		t.Logf("%-12s median error %.1e, 99.9 %% %.1e, largest %.1e, within 1e-3 %.4f",
			Columns[i+1], e[len(e)/2], e[len(e)*999/1000], e[len(e)-1], within(i, 1e-3))
		if i < missingRel && e[len(e)-1] != 0 {
			t.Errorf("%s was changed", Columns[i+1])
		}
		if !(e[len(e)/2] < 1.2e-5) {
			t.Errorf("%s: median error %g", Columns[i+1], e[len(e)/2])
		}
		if share := within(i, 1e-3); i > missingRel && share < 0.996 {
			t.Errorf("%s: %.4f of the rows agree", Columns[i+1], share)
		}
	}
	if share := within(missingRel, 1e-4); share < 0.83 || share > 0.87 {
		t.Errorf("MET_rel: %.4f of the rows agree", share)
	}
	if share := within(mT2, 1e-3); share < 0.999 {
		t.Errorf("MT2: %.4f of the rows agree", share)
	}
	t.Logf("MT2 zero or not as in the file: %d of %d", sameZero, len(rows))
	if sameZero < 9990 {
		t.Errorf("MT2: %d rows are zero where the file is not, or the other way round", len(rows)-sameZero)
	}
}

func BenchmarkHighLevel(b *testing.B) {
	rows := realRows(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		HighLevel(&rows[i%len(rows)].x)
		i++
	}
}
