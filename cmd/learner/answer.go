package main

import (
	"slices"
	"strconv"

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
	lineage, snapshots, comparison, _ := s.serving()
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
	return serve.Predictor{
		Model: name, Kind: s.specs[i].Kind, Version: lineage + "." + strconv.FormatUint(snapshot.Records, 10),
		Features: s.featureNames(snapshot.Layout),
		Predict: func(dst, x []float64) {
			s.turns.Asked() // by what asks for predictions alone: probes come for ever
			sgd.PredictRows(snapshot.Predictor, dst, x, nil, nil)
		},
		Explain: func(dst, x []float64) float64 { return sgd.Explain(snapshot.Predictor, dst, x, nil) },
	}, nil
}

// index returns which model has a name; -1: none.
func (s *service) index(model string) int {
	return slices.IndexFunc(s.specs, func(spec sgd.Spec) bool { return spec.Name == model })
}

// featureNames are those of a layout's columns. They are made once for each layout, which changes next to never.
func (s *service) featureNames(layout *record.Layout) []string {
	if names := s.names.Load(); names != nil && names.layout == layout {
		return names.of
	}
	names := &layoutNames{layout, s.cfg.columnNames(layout)}
	s.names.Store(names)
	return names.of
}

// layoutNames are the names of a layout's columns.
type layoutNames struct {
	layout *record.Layout
	of     []string
}
