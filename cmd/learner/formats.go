package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"learner/pkg/checkpoint"
	"learner/pkg/onnx"
	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// The formats that models come in.
const (
	formatSafetensors = "safetensors"
	formatONNX        = "onnx"
	formatJSON        = "json"
)

// modelDocument is the JSON form of one model.
type modelDocument struct {
	Format   string              `json:"format"`  // learner-model
	Version  int                 `json:"version"` // of the form
	Name     string              `json:"name"`
	Kind     string              `json:"kind"`
	Settings checkpoint.Settings `json:"settings"`
	Features []string            `json:"features"` // names of columns, or their numbers
	Lineage  string              `json:"lineage"`
	Records  uint64              `json:"records"` // learned
	Next     map[int32]int64     `json:"next_offsets"`
	Since    map[int32]int64     `json:"since"`
	Build    string              `json:"build"`
	Tensors  checkpoint.Tensors  `json:"tensors"`

	Columns []record.Column `json:"columns,omitempty"` // where they have names
	Hash    *hashDocument   `json:"hash,omitempty"`    // where the model knows sparse features
	Slots   []int64         `json:"slots,omitempty"`   // of the sparse features, in the order of their numbers; likewise
}

// hashDocument says for people how a category's slot is found.
type hashDocument struct {
	Bits    int    `json:"bits"`
	Slot    string `json:"slot"`
	Missing string `json:"missing"`
}

// hash says how categories are hashed, which is the same for all models: see record.Hasher.
func (c *Config) hash() *hashDocument {
	return &hashDocument{
		Bits: c.HashBits,
		Slot: "first bits of xxh64(le64(xxh64(column)) + le64(xxh64(value))), all with seed 0; " +
			"value is the text, or the shortest decimal text of a number, with an exponent from 1e+21 on and below 1e-06",
		Missing: "first bits of xxh64(le64(xxh64(column)) + le64(2^64-1)); column is the name, or the number from 0 where there are no names",
	}
}

// modelJSON returns the state of a model as JSON.
func (s *service) modelJSON(state *train.State) ([]byte, error) {
	spec := s.specs[slices.Index(s.Names(), state.Name)]
	lineage := s.lineage()
	document := modelDocument{
		Format: "learner-model", Version: 1, Name: spec.Name, Kind: spec.Kind, Settings: s.cfg.settings(spec),
		Features: s.cfg.columnNames(s.layout()), Lineage: lineage, Records: state.Records, Next: state.Next, Since: state.Since,
		Build: currentBuild().Version, Tensors: state.Tensors,
	}
	if t := s.trainer(); t != nil {
		if layout := t.Layout(); layout != nil {
			document.Columns = layout.Columns
		}
		if slots := t.Slots().Known(); len(slots) > 0 {
			document.Hash, document.Slots = s.cfg.hash(), slots
		}
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("model %s as JSON: %w", spec.Name, err)
	}
	return append(text, '\n'), nil
}

// onnxState is State in the format ONNX: of the newest snapshot.
func (s *service) onnxState(model string) (serve.State, error) {
	_, snapshots, _, slots := s.serving()
	if len(snapshots) == 0 {
		return serve.State{}, errStandby
	}
	i := slices.Index(s.Names(), model)
	if snapshots[i] == nil || snapshots[i].Predictor == nil {
		return serve.State{}, serve.ErrNoState
	}
	lineage := s.lineage()
	data, err := s.cfg.onnx(s.specs[i], snapshots[i], slots, lineage)
	return serve.State{Data: data, Records: snapshots[i].Records}, err
}

// lineage returns that of the models that this process has; empty where it has none.
func (s *service) lineage() string {
	if s.tenure.Load() != nil {
		if kept := s.kept.Load(); kept != nil {
			return kept.id.Lineage
		}
		return ""
	}
	if f := s.followed.Load(); f != nil && f.checkpoint != nil {
		return f.checkpoint.ID.Lineage
	}
	return ""
}

// onnx returns a model as an ONNX file.
func (c *Config) onnx(spec sgd.Spec, snapshot *train.Snapshot, slots *record.Slots, lineage string) ([]byte, error) {
	formula, err := sgd.Describe(snapshot.Predictor)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", spec.Name, err)
	}
	about := onnx.About{
		Name: spec.Name, Version: currentBuild().Version,
		Doc: fmt.Sprintf("Model %s of kind %s, after learning %s of topic %s.", spec.Name, spec.Kind, plural(int64(snapshot.Records), "record"), c.TrainTopic),
		Metadata: map[string]string{
			"model": spec.Name, "kind": spec.Kind, "lineage": lineage, "records": fmt.Sprint(snapshot.Records),
			"build": currentBuild().Version,
		},
	}
	more := map[string]any{
		"settings": c.settings(spec), "features": c.numberNames(snapshot.Layout), "next_offsets": snapshot.Next,
	}
	if snapshot.Layout.Columns != nil {
		more["columns"] = snapshot.Layout.Columns
	}
	if formula.Sparse > 0 {
		more["hash"], more["slots"] = c.hash(), slots.Known()[:formula.Sparse]
	}
	for key, value := range more {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("model %s: %s: %w", spec.Name, key, err)
		}
		about.Metadata[key] = string(text)
	}
	return onnx.Marshal(formula, &about)
}

// snapshotOf returns a model of a checkpoint, that of the spec, and the numbers of categories there.
func (c *Config) snapshotOf(from *checkpoint.Checkpoint, spec sgd.Spec) (*train.Snapshot, *record.Slots, error) {
	added, _, err := from.Compatible(c.compatibility([]sgd.Spec{spec}))
	if err != nil {
		return nil, nil, err
	}
	cut := cutOf(from)
	cut.Comparison, cut.Champion = nil, ""
	trainer, err := train.New(train.Config{
		Models: []sgd.Spec{spec}, TwinAge: c.TwinAge, Seed: c.Seed, HashBits: c.HashBits, From: cut, Observer: silent{}, Logger: zap.NewNop(),
	})
	switch {
	case err != nil:
		return nil, nil, err
	case len(added) > 0:
		return nil, nil, fmt.Errorf("checkpoint %s has no model %s", from.ID, spec.Name)
	case trainer.Snapshots()[0].Predictor == nil:
		return nil, nil, fmt.Errorf("model %s of checkpoint %s has learned nothing yet", spec.Name, from.ID)
	}
	return trainer.Snapshots()[0], trainer.Slots(), nil
}

// settings returns what a model is configured with.
func (c *Config) settings(spec sgd.Spec) checkpoint.Settings {
	options := spec.Options
	if options == nil {
		options = map[string]string{} // not null
	}
	return checkpoint.Settings{Options: options, Seed: c.Seed}
}
