package main

import (
	"math"
	"slices"
	"strconv"
	"sync"

	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// championAlias stands for the champion where predictions are asked for, unless a model has that name.
const championAlias = "champion"

// serving returns what this process answers with, as holder or as standby: the newest snapshot of each configured model,
// nil where there is none yet, the comparison of the models, the lineage that both belong to, and the numbers of categories
// there. With no snapshots it has nothing to answer with.
func (s *service) serving() (lineage string, snapshots []*train.Snapshot, comparison *train.Comparison, slots *record.Slots) {
	if t := s.tenure.Load(); t != nil {
		return t.lineage, t.trainer.Snapshots(), t.trainer.Comparison(), t.trainer.Slots()
	}
	if f := s.followed.Load(); f != nil && len(f.snapshots) > 0 {
		return f.checkpoint.ID.Lineage, f.snapshots, f.comparison, f.trainer.Slots()
	}
	return "", nil, nil, nil
}

// predictor returns what answers for a model now.
func (s *service) predictor(name string) (serve.Predictor, error) {
	lineage, snapshots, comparison, slots := s.serving()
	if name == championAlias && s.index(name) < 0 {
		if snapshots == nil {
			return serve.Predictor{}, errStandby
		}
		name = comparison.Champion
	}
	i := s.index(name)
	switch {
	case i < 0:
		return serve.Predictor{}, serve.ErrNoModel
	case snapshots == nil:
		return serve.Predictor{}, errStandby
	case snapshots[i] == nil || snapshots[i].Predictor == nil:
		return serve.Predictor{}, serve.ErrNoState
	}
	snapshot := snapshots[i]
	columns := s.columnsOf(snapshot.Layout, slots)
	return serve.Predictor{
		Model: name, Kind: s.specs[i].Kind, Version: lineage + "." + strconv.FormatUint(snapshot.Records, 10),
		Columns: columns.asked,
		Predict: func(dst []float64, rows *serve.Rows) {
			s.turns.Asked() // by what asks for predictions alone: probes come for ever
			x, sparse, sparseEnd := columns.place(rows)
			sgd.PredictRows(snapshot.Predictor, dst, x, sparse, sparseEnd)
		},
		Explain: func(dst []float64, rows *serve.Rows, row int) float64 {
			return columns.explain(dst, snapshot.Predictor, rows, row)
		},
	}, nil
}

// index returns which model has a name; -1: none.
func (s *service) index(model string) int {
	return slices.IndexFunc(s.specs, func(spec sgd.Spec) bool { return spec.Name == model })
}

// columnsOf returns the columns of a layout. They are made once for each layout, which changes next to never.
func (s *service) columnsOf(layout *record.Layout, slots *record.Slots) *askedColumns {
	if c := s.columns.Load(); c != nil && c.layout == layout && c.slots == slots {
		return c
	}
	c := newAskedColumns(layout, slots, s.cfg.columnNames(layout))
	s.columns.Store(c)
	return c
}

// askedColumns are the columns of a layout as those know them who ask for predictions.
type askedColumns struct {
	layout  *record.Layout
	slots   *record.Slots
	asked   *serve.Columns
	shape   *record.Shape // of rows that are asked for; nil: columns without names
	placers sync.Pool
}

func newAskedColumns(layout *record.Layout, slots *record.Slots, names []string) *askedColumns {
	c := &askedColumns{layout: layout, slots: slots}
	c.placers.New = func() any { return record.NewPlacer(layout, slots, false, nil) }
	columns := make([]serve.Column, len(names))
	for i, name := range names {
		columns[i].Name = name
		if layout.Columns != nil && layout.Columns[i].Kind == record.Categorical {
			columns[i].Category = record.NewHasher(name)
		}
	}
	if layout.Columns != nil {
		c.shape = &record.Shape{Columns: layout.Columns}
	}
	c.asked = serve.NewColumns(columns, c.shape != nil)
	return c
}

// plain says that rows are placed as they are.
func (c *askedColumns) plain(rows *serve.Rows) bool {
	return !rows.Missing && c.layout.Features() == c.layout.Width
}

// place returns rows as models take them.
func (c *askedColumns) place(rows *serve.Rows) (x []float64, sparse []int32, sparseEnd []int) {
	if c.plain(rows) {
		return rows.X, nil, nil
	}
	placer := c.placers.Get().(*record.Placer)
	defer c.placers.Put(placer)
	x, sparseEnd = make([]float64, 0, rows.N*c.layout.Width), make([]int, rows.N)
	for i := range sparseEnd {
		x, sparse, _ = placer.Place(x, sparse, c.row(rows, i), !rows.Missing)
		sparseEnd[i] = len(sparse)
	}
	return x, sparse, sparseEnd
}

// row returns one of the rows, as if a record had it.
func (c *askedColumns) row(rows *serve.Rows, i int) record.Row {
	width, categories := c.layout.Width, c.layout.Features()-c.layout.Width
	return record.Row{Shape: c.shape, X: rows.X[i*width : (i+1)*width], Hashes: rows.Hashes[i*categories : (i+1)*categories]}
}

// explain explains the answer for a row: a column contributes by its number, by the feature of its category, and by the one
// that says that it has no value.
func (c *askedColumns) explain(dst []float64, p sgd.Predictor, rows *serve.Rows, i int) (base float64) {
	row := c.row(rows, i)
	if c.plain(rows) {
		return sgd.Explain(p, dst, row.X, nil)
	}
	placer := c.placers.Get().(*record.Placer)
	defer c.placers.Put(placer)
	x, sparse, _ := placer.Place(nil, nil, row, false)
	parts := make([]float64, len(x)+len(sparse))
	base = sgd.Explain(p, parts, x, sparse)
	numbers, features := parts[:len(x)], parts[len(x):]
	for column := range dst {
		dst[column] = 0
		var hash uint64 // of the sparse feature that the column has
		if c.layout.Columns != nil && c.layout.Columns[column].Kind == record.Categorical {
			hash, row.Hashes = row.Hashes[0], row.Hashes[1:]
			if hash == 0 {
				hash = c.layout.Absent(column)
			}
		} else {
			dst[column], numbers = numbers[0], numbers[1:]
			if math.IsNaN(row.X[0]) {
				hash = c.layout.Absent(column)
			}
			row.X = row.X[1:]
		}
		if hash == 0 {
			continue
		}
		if at := slices.Index(sparse, c.slots.Find(hash)); at >= 0 {
			dst[column] += features[at]
			features[at] = 0 // what several columns share counts once
		}
	}
	return base
}
