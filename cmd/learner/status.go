package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/serve"
	"learner/pkg/train"
)

// status is what /api/status shows.
type status struct {
	Build      build         `json:"build"`
	Started    time.Time     `json:"started"`
	Role       string        `json:"role"` // holder, standby, or joining
	Ready      bool          `json:"ready"`
	Reasons    []string      `json:"reasons"` // why it is not ready
	Note       string        `json:"note"`    // what a standby has to say
	Group      string        `json:"group"`
	TrainTopic string        `json:"train_topic"`
	TestTopic  string        `json:"test_topic"`
	Lineage    string        `json:"lineage"`         // the history that the models belong to
	Sequence   int64         `json:"sequence"`        // of the checkpoint that was committed, restored, or followed last
	Writer     string        `json:"writer"`          // of that checkpoint
	Kept       *time.Time    `json:"checkpoint_time"` // when that checkpoint was made; null: there is none
	CaughtUp   bool          `json:"caught_up"`
	Replay     *replayStatus `json:"replay"`      // of the log as it was at the start; null: it is learned, or not known yet
	Lag        int64         `json:"lag_records"` // of all partitions
	Behind     serve.Float   `json:"lag_seconds"` // of the partition that is furthest behind
	Gap        bool          `json:"gap"`
	Features   int           `json:"features"`
	Partitions []partition   `json:"partitions"`
	Models     []modelStatus `json:"models"`
	Test       *testRun      `json:"test"` // the newest measurement

	Champion  championStatus   `json:"champion"`
	TwinAge   uint64           `json:"twin_age_records"` // 0: there is no frozen twin
	Baselines []baselineStatus `json:"baselines"`        // on the train records
	Drift     []driftStatus    `json:"drift"`
	Stability []featureStatus  `json:"stability"`
	Events    []eventStatus    `json:"events"` // the newest, oldest first
	Skipped   skippedStatus    `json:"skipped"`

	Categories *categoryStatus `json:"categories"`        // null: nothing is known yet
	Columns    []columnStatus  `json:"columns,omitempty"` // the first of features
}

// replayStatus says how much of a range is learned, in offsets.
type replayStatus struct {
	Done    int64 `json:"done_records"`
	Records int64 `json:"records"`
}

// skippedStatus are the records refused since the process started, by topic and reason.
type skippedStatus struct {
	Train map[string]int64 `json:"train"`
	Test  map[string]int64 `json:"test"`
}

// partition is one partition of the train topic.
type partition struct {
	train.PartitionProgress
	Learned         int64       `json:"learned_offset"` // everything below was learned by the first model
	Records         int64       `json:"lag_records"`
	Behind          serve.Float `json:"lag_seconds"`
	OpenTransaction int64       `json:"open_transaction_records"`
}

// modelStatus is one model.
type modelStatus struct {
	Name         string          `json:"name"`
	Kind         string          `json:"kind"`
	Champion     bool            `json:"champion"`
	Records      uint64          `json:"records"`
	Accuracy     serve.Float     `json:"progressive_accuracy"` // before learning each record
	Loss         serve.Float     `json:"progressive_loss"`
	LearningRate serve.Float     `json:"learning_rate"`
	WeightNorm   serve.Float     `json:"weight_norm"`
	NonFinite    uint64          `json:"nonfinite_steps"`
	Next         map[int32]int64 `json:"next_offsets"`
	Since        map[int32]int64 `json:"since_offsets"` // the first that it was to learn
	Test         *scores         `json:"test"`

	RecentRecords  int              `json:"recent_records"` // newest records that the recent scores are of
	RecentAccuracy serve.Float      `json:"recent_accuracy"`
	RecentLoss     serve.Float      `json:"recent_loss"`
	Comparison     *modelComparison `json:"comparison"` // with the champion; null: this is the champion

	Effects []effect `json:"effects,omitempty"` // what each feature does to the answer, the largest first
}

// wholeStatus gathers what /api/status shows.
func (s *service) wholeStatus() status {
	st := s.status()
	t := s.trainer()
	if t == nil {
		return st
	}
	progress := t.Progress()
	st.Columns = s.cfg.columnsStatus(&progress)
	for i, snapshot := range t.Snapshots() {
		if snapshot != nil && i < len(st.Models) {
			st.Models[i].Effects = s.effects.of(snapshot, s.cfg, t.Slots(), progress.Missing)
		}
	}
	return st
}

// status gathers what /api/status shows but the columns and the models' effects, which can be long.
func (s *service) status() status {
	reasons := s.unready()
	st := status{
		Build: currentBuild(), Started: s.started, Role: consumer.Joining, Ready: len(reasons) == 0, Reasons: reasons,
		Group: s.cfg.Group, TrainTopic: s.cfg.TrainTopic, TestTopic: s.cfg.TestTopic, Test: s.tests.Load(),
		Models: []modelStatus{}, Partitions: []partition{}, Baselines: []baselineStatus{}, Drift: []driftStatus{},
		Stability: []featureStatus{}, Events: []eventStatus{},
		Skipped: skippedStatus{Train: s.trainSkipped.byReason(), Test: s.testSkipped.byReason()},
	}
	if m := s.membership.Load(); m != nil {
		st.Role = m.State
	}
	if f := s.followed.Load(); f != nil {
		st.Note = f.note
		if c := f.checkpoint; c != nil {
			st.Lineage, st.Sequence, st.Writer = c.ID.Lineage, c.ID.Sequence, c.ID.Writer
			st.Kept, st.Gap, st.Features = &c.Created, c.Gap, max(c.Features, len(c.Columns))
			for _, p := range c.Partitions {
				st.Partitions = append(st.Partitions, partition{Learned: p.Next, PartitionProgress: train.PartitionProgress{
					Partition: p.Partition, Next: p.Next, Start: p.Start, Settled: p.Settled, End: p.End,
				}})
			}
		}
	}
	if t := s.tenure.Load(); t != nil {
		progress := t.trainer.Progress()
		st.CaughtUp, st.Gap, st.Features = progress.CaughtUp, progress.Gap, progress.Features()
		st.Partitions = t.partitions()
		st.measureLag()
		if kept := s.kept.Load(); kept != nil {
			st.Lineage, st.Sequence, st.Writer, st.Kept = kept.id.Lineage, kept.id.Sequence, kept.id.Writer, &kept.made
		}
	}
	for i, snapshot := range s.snapshots() {
		m := modelStatus{Name: s.specs[i].Name, Kind: s.specs[i].Kind}
		if snapshot != nil {
			accuracy, loss := progressive(snapshot)
			m.Records, m.Accuracy, m.Loss = snapshot.Records, serve.Float(accuracy), serve.Float(loss)
			m.LearningRate, m.WeightNorm = serve.Float(snapshot.Stats.LearningRate), serve.Float(snapshot.Stats.WeightNorm)
			m.NonFinite, m.Next, m.Since = snapshot.Stats.NonFinite, snapshot.Next, snapshot.Since
		}
		if st.Test != nil {
			m.Test = st.Test.models[m.Name]
		}
		st.Models = append(st.Models, m)
	}
	if t := s.trainer(); t != nil {
		st.Categories = categoriesStatus(t.Slots().Occupancy())
	}
	if c := s.comparison(); c != nil {
		st.compare(c, s.cfg, s.layout())
	}
	return st
}

// measureLag sums the partitions up.
func (st *status) measureLag() {
	var replay replayStatus
	for _, p := range st.Partitions {
		st.Lag += p.Records
		if b := float64(p.Behind); b > float64(st.Behind) || math.IsNaN(b) {
			st.Behind = p.Behind
		}
		replay.Done += min(p.Learned, p.End) - p.Start
		replay.Records += p.End - p.Start
	}
	if !st.CaughtUp && replay.Records > 0 {
		st.Replay = &replay
	}
}

// snapshots returns the newest snapshot of each model that this process has, as holder or as standby: none, or one for
// each configured model, nil where there is none yet.
func (s *service) snapshots() []*train.Snapshot {
	_, snapshots, _, _ := s.serving()
	return snapshots
}

// progressive returns the accuracy and mean log loss of the answers that a model gave before learning each record; NaN
// before the first.
func progressive(snapshot *train.Snapshot) (accuracy, loss float64) {
	n := float64(snapshot.Records)
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	return float64(snapshot.Correct) / n, snapshot.Loss / n
}

// partitions says where the tenure stands in every partition, by what the brokers told last.
func (t *tenure) partitions() []partition {
	progress := t.trainer.Progress()
	ends := t.reader.Ends(context.Background(), math.MaxInt64)
	var learned map[int32]int64
	if champion := t.trainer.Snapshots()[0]; champion != nil {
		learned = champion.Next
	}
	all := make([]partition, 0, len(progress.Partitions))
	for _, pp := range progress.Partitions {
		p := partition{PartitionProgress: pp, Learned: pp.Start}
		if next, ok := learned[pp.Partition]; ok {
			p.Learned = next
		}
		if end, ok := ends[pp.Partition]; ok {
			p.Records = max(end.Stable-p.Learned, 0)
			p.OpenTransaction = max(end.Log-end.Stable, 0)
		}
		if p.Records > 0 {
			p.Behind = serve.Float(math.NaN()) // nothing was learned yet
			if last, ok := t.observer.lastTime(pp.Partition); ok {
				p.Behind = serve.Float(max(time.Since(last), 0).Seconds())
			}
		}
		all = append(all, p)
	}
	return all
}

// kind returns the kind of a model.
func (s *service) kind(model string) string {
	for _, spec := range s.specs {
		if spec.Name == model {
			return spec.Kind
		}
	}
	return ""
}

// unready says why the service is not ready; empty: it is. A holder is ready once it has caught up with the log as it
// was at the start and was measured; a standby is ready to take over, and stays ready when it does.
func (s *service) unready() []string {
	if s.stopping.Load() {
		return []string{"stopping"}
	}
	m := s.membership.Load()
	if m == nil {
		return []string{"connecting"}
	}
	var reasons []string
	if m.Err != nil {
		reasons = append(reasons, fmt.Sprintf("group %s: %v", s.cfg.Group, m.Err))
	}
	if problem := s.problem.Load(); problem != nil {
		reasons = append(reasons, *problem)
	}
	if m.State == consumer.Standby {
		if f := s.followed.Load(); f == nil {
			reasons = append(reasons, "looking for the holder's checkpoint")
		} else if f.refused != nil {
			reasons = append(reasons, f.refused.Error())
		}
		return reasons
	}
	t := s.tenure.Load()
	if t == nil {
		if f := s.followed.Load(); m.State == consumer.Holder && f != nil && len(f.snapshots) > 0 {
			return reasons // taking over, and answering as before
		}
		return append(reasons, "joining group "+s.cfg.Group)
	}
	reasons = append(reasons, t.reader.Problems()...)
	if err := t.observer.letters.Problem(); err != nil {
		reasons = append(reasons, err.Error())
	}
	for _, p := range t.trainer.Progress().Partitions {
		if p.Waiting {
			reasons = append(reasons, fmt.Sprintf("waiting for %s/%d at offset %d of %d", s.cfg.TrainTopic, p.Partition, p.Next, p.End))
		}
	}
	for i, snapshot := range t.trainer.Snapshots() {
		if !t.served && (snapshot == nil || !snapshot.CaughtUp) {
			reasons = append(reasons, fmt.Sprintf("model %s is catching up", s.specs[i].Name))
		}
	}
	if t.served && s.tests.Load() == nil {
		return reasons
	}
	return append(reasons, s.untested()...)
}

// Names implements serve.Models.
func (s *service) Names() []string {
	names := make([]string, len(s.specs))
	for i, spec := range s.specs {
		names[i] = spec.Name
	}
	return names
}

// State implements serve.Models.
func (s *service) State(ctx context.Context, model, format string) (serve.State, error) {
	if format == formatONNX {
		return s.onnxState(model)
	}
	var state train.State
	if t := s.tenure.Load(); t != nil {
		var err error
		if state, err = t.trainer.State(ctx, model); err != nil {
			return serve.State{}, err
		}
	} else if f := s.followed.Load(); f != nil && len(f.snapshots) > 0 {
		state.Name = model // without tensors where it has learned nothing yet
		for _, m := range cutOf(f.checkpoint).Models {
			if m.Name == model {
				state = m
			}
		}
	}
	if state.Name == "" {
		return serve.State{}, errStandby
	}
	if format == formatJSON {
		data, err := s.modelJSON(&state)
		return serve.State{Data: data, Records: state.Records}, err
	}
	var file bytes.Buffer
	err := checkpoint.WriteSafetensors(&file, state.Tensors, map[string]string{"model": model})
	return serve.State{Data: file.Bytes(), Records: state.Records}, err
}

var errStandby = fmt.Errorf("%w: this process neither learns nor follows a checkpoint", serve.ErrNoState)
