package train

import (
	"bufio"
	"compress/gzip"
	"os"
	"testing"

	"learner/pkg/record"
)

// readSUSY returns the rows of the balanced SUSY sample.
func readSUSY(t *testing.T) *record.Block {
	t.Helper()
	f, err := os.Open("../../internal/testdata/susy_10k_balanced.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := record.NewCSV(record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows := &record.Block{}
	lines := bufio.NewScanner(z)
	for offset := int64(0); lines.Scan(); offset++ {
		if err := decoder.Decode(rows, record.Record{Offset: offset, Value: lines.Bytes()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// Keys decide partitions, and who keys by label puts each class into partitions of its own. Merged by time such a topic
// teaches as much as one without keys; read partition after partition it does not.
func TestKeyedByLabel(t *testing.T) {
	rows := readSUSY(t)
	const heldOut = 2000
	n := rows.Rows() - heldOut
	accuracy := func(partition func(i int) int32, stamp func(i int) int64) float64 {
		logs := make([]*testLog, 6)
		source := newFakeSource(4)
		for p := range logs {
			logs[p] = &testLog{id: int32(p)}
		}
		for i := range n {
			l := logs[partition(i)]
			l.entries = append(l.entries, entry{offset: l.end, time: stamp(i), x: rows.Row(i).X, y: rows.Y[i]})
			l.end++
		}
		for _, l := range logs {
			source.says(l.id, 0, l.end, l.end)
		}
		r := newRig(source, ByTime, logistic)
		ctx, stop := r.start(t)
		shared(ctx, source, logs, 97, 2)
		close(source.blocks)
		<-r.learners[1].done
		stop()
		s := r.Snapshots()[1]
		if s.Records != uint64(n) || !s.CaughtUp {
			t.Fatalf("learned %d of %d", s.Records, n)
		}
		right := 0
		var prob [1]float64
		for i := n; i < n+heldOut; i++ {
			if s.Predict(prob[:], rows.Row(i).X, nil); (prob[0] >= .5) == (rows.Y[i] == 1) {
				right++
			}
		}
		return float64(right) / heldOut
	}

	byRow := func(i int) int32 { return int32(i % 6) }
	byLabel := func(i int) int32 { return int32(2 + 3*int(rows.Y[i])) }
	loaded := func(i int) int64 { return int64(i/100) * 1000 } // a hundred rows a millisecond
	plain, keyed := accuracy(byRow, loaded), accuracy(byLabel, loaded)
	drained := accuracy(byLabel, func(i int) int64 { return int64(byLabel(i)) }) // what draining one by one would learn
	t.Logf("accuracy on %d held-out rows: %.4f without keys, %.4f keyed by label, %.4f drained partition after partition",
		heldOut, plain, keyed, drained)
	if keyed < plain-.005 || plain < .76 {
		t.Errorf("keyed by label %.4f, without keys %.4f", keyed, plain)
	}
	if drained > keyed-.05 {
		t.Errorf("drained partition after partition %.4f is no loss beside %.4f", drained, keyed)
	}
}
