package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/deadletter"
	"learner/pkg/record"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

const (
	// watchGroup is how often the holder looks whether it is in a new generation.
	watchGroup = 500 * time.Millisecond
	// lastCut bounds the last checkpoint of a clean stop.
	lastCut = 10 * time.Second
	// vanishing is how long a log that ends too early must say so to be believed.
	vanishing = 30 * time.Second
)

// errOvertaken: another member has committed since this one did. Everything in memory is dropped, and the start is
// decided anew.
var errOvertaken = errors.New("another member has committed meanwhile")

// keeper keeps the models of one tenure: it decides what the start is from, and writes and commits checkpoints. It is
// used by one goroutine at a time.
type keeper struct {
	*service
	tenure  *consumer.Tenure
	letters *deadletter.Queue // of what is refused; nil: none

	store     checkpoint.Store // nil: none is kept
	source    checkpoint.Source
	writer    string
	lineage   string
	header    []string // names of CSV columns, by the log
	sequence  int64    // of the next checkpoint
	resets    []string
	entries   []checkpoint.Entry        // of the store, as far as this tenure knows
	committed []checkpoint.ID           // of the lineage, oldest first
	commits   map[int32]consumer.Commit // what is committed, as read at the start or made since
	joined    consumer.Generation       // in which commits was compared
}

// begin decides what to start from, and returns the cut. A new lineage begins with a checkpoint of its own, written and
// committed. It waits for as long as commits or checkpoints cannot be read, and returns nil when ctx ended.
func (k *keeper) begin(ctx context.Context) (*train.Cut, error) {
	var cut *train.Cut
	err := k.retry(ctx, "start", func() (err error) {
		cut, err = k.decide(ctx)
		return err
	})
	return cut, err
}

// stop is an error that no repetition mends.
type stop struct{ error }

func (s stop) Unwrap() error { return s.error }

// retry repeats what until it succeeds, ctx ends (then it returns nil as well), or a stop comes. Meanwhile the service is
// not ready, and says why.
func (k *keeper) retry(ctx context.Context, name string, what func() error) error {
	defer k.problem.Store(nil)
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := what()
		if s, ok := errors.AsType[stop](err); ok {
			return s.error
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if old := k.problem.Load(); old == nil || *old != err.Error() {
			k.log.Warn(name+": trying again until it works", zap.Error(err))
		}
		text := err.Error()
		k.problem.Store(&text)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// decide looks once at what there is, and acts on it.
func (k *keeper) decide(ctx context.Context) (*train.Cut, error) {
	k.joined = k.tenure.Generation()
	partitions := k.tenure.Partitions()
	var err error
	if k.commits, err = k.client.Commits(ctx, k.cfg.Group, k.cfg.TrainTopic, partitions); err != nil {
		return nil, err
	}
	if k.source, err = k.identity(ctx); err != nil {
		return nil, err
	}
	situation := checkpoint.Situation{
		Source: k.source, Partitions: partitions, Commits: make(map[int32]checkpoint.Commit, len(k.commits)),
		Start: k.cfg.Start.String(), Reset: k.cfg.Reset.String(), ResetID: k.cfg.ResetID,
	}
	for p, c := range k.commits {
		situation.Commits[p] = checkpoint.Commit(c)
	}
	if k.store, err = openStore(ctx, k.cfg, k.client, true); err != nil {
		return nil, err
	}
	if k.store != nil {
		if situation.Entries, err = k.store.List(ctx); err != nil {
			return nil, err
		}
		k.entries = situation.Entries
		situation.Load = func(id checkpoint.ID) ([]byte, error) { return k.store.Get(ctx, id) }
	}
	d, err := checkpoint.Decide(&situation)
	if err != nil {
		return nil, err
	}
	for _, broken := range d.Broken {
		k.log.Error("checkpoint cannot be used", zap.Stringer("checkpoint", broken.ID), zap.Error(broken.Err))
	}
	k.log.Info("start decided", zap.String("row", string(d.Row)), zap.String("found", d.Found), zap.String("follows", d.Follows),
		zap.Int64("learned_again", d.Relearned))
	if d.Refuse != nil {
		return nil, stop{d.Refuse}
	}
	k.writer, k.sequence, k.resets, k.committed = checkpoint.NewWriter(), d.Sequence, d.Resets, d.Committed
	if d.Resume != nil {
		return k.resume(ctx, d)
	}
	return k.originate(ctx, d)
}

// identity says which cluster, topic, and group a checkpoint is of.
func (s *service) identity(ctx context.Context) (checkpoint.Source, error) {
	cluster, err := s.client.ClusterID(ctx)
	if err != nil {
		return checkpoint.Source{}, err
	}
	topic, err := s.client.TopicID(ctx, s.cfg.TrainTopic)
	return checkpoint.Source{ClusterID: cluster, Topic: s.cfg.TrainTopic, TopicID: topic, Group: s.cfg.Group}, err
}

// resume goes on from a checkpoint, if configuration and log still fit it.
func (k *keeper) resume(ctx context.Context, d *checkpoint.Decision) (*train.Cut, error) {
	c := d.Resume
	added, dropped, err := c.Compatible(k.compatibility())
	if err != nil {
		return nil, stop{err}
	}
	if len(added)+len(dropped) > 0 {
		k.log.Info("models changed", zap.Strings("start_empty", added), zap.Strings("dropped", dropped))
	}
	lost, err := k.checkLog(ctx, c)
	if err != nil {
		return nil, err
	}
	for p, n := range lost {
		k.log.Error("retention has taken records that were not learned", zap.Int32("partition", p), zap.Int64("offsets", n))
	}
	k.lineage, k.header = c.ID.Lineage, c.Header
	k.mark(c, k.tenure.Generation().ID)
	return cutOf(c), nil
}

// mark notes what this process has committed or restored.
func (k *keeper) mark(c *checkpoint.Checkpoint, generation int32) {
	k.kept.Store(&keptMark{id: c.ID, made: c.Created, generation: generation})
	k.metrics.Lineage(c.ID.Lineage, c.ID.Sequence)
}

// checkLog finds out whether the topic is the one that the checkpoint saw. A log that ends too early is asked again for
// a while: a new leader may not know better yet.
func (k *keeper) checkLog(ctx context.Context, c *checkpoint.Checkpoint) (lost map[int32]int64, err error) {
	for began := time.Now(); ; {
		log, err := k.extents(ctx, c)
		if err != nil {
			return nil, err
		}
		lost, err := c.CheckLog(k.source.TopicID, log)
		if err == nil {
			return lost, nil
		}
		early := k.source.TopicID == c.TopicID && slices.ContainsFunc(c.Partitions, func(p checkpoint.Partition) bool {
			extent, ok := log[p.Partition]
			return !ok || extent.End < p.Next
		})
		if !early || time.Since(began) >= vanishing {
			return nil, stop{err}
		}
		text := err.Error()
		k.problem.Store(&text)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// extents asks how far the partitions reach that a checkpoint knows, and for the last batch passed of each.
func (k *keeper) extents(ctx context.Context, c *checkpoint.Checkpoint) (map[int32]checkpoint.Extent, error) {
	ends, err := k.client.Ends(ctx, k.cfg.TrainTopic, k.tenure.Partitions())
	if err != nil {
		return nil, err
	}
	log := make(map[int32]checkpoint.Extent, len(ends))
	for p, end := range ends {
		log[p] = checkpoint.Extent{First: end.First, End: end.End}
	}
	for _, p := range c.Partitions {
		extent, ok := log[p.Partition]
		if !ok || p.Last.Last < extent.First || p.Last.Last >= extent.End {
			continue
		}
		b, found, err := k.client.BatchAt(ctx, k.cfg.TrainTopic, p.Partition, p.Last.Last)
		if err != nil {
			return nil, err
		}
		if found && b.Base <= p.Last.Last { // else compaction has taken it
			extent.Last = &b
			log[p.Partition] = extent
		}
	}
	return log, nil
}

// originate begins a new lineage: its first checkpoint has resolved offsets and the first range, and no models yet.
func (k *keeper) originate(ctx context.Context, d *checkpoint.Decision) (*train.Cut, error) {
	rest := Start{}
	switch d.Rest {
	case checkpoint.AtStart:
		rest = k.cfg.Start
	case checkpoint.AtReset:
		rest = k.cfg.Reset.Start
	}
	ends, err := k.client.Ends(ctx, k.cfg.TrainTopic, k.tenure.Partitions())
	if err != nil {
		return nil, err
	}
	start, err := rest.offsets(ctx, k.client, k.cfg.TrainTopic, ends)
	if err != nil {
		return nil, err
	}
	maps.Copy(start, d.Offsets)
	cut := &train.Cut{Place: train.Place{Turn: -1}, Champion: k.specs[0].Name}
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		next := start[p]
		end := max(ends[p].LastStable, next)
		cut.Partitions = append(cut.Partitions, train.PartitionPlace{
			Partition: p, Next: next, Start: next, Settled: end, End: end, Passed: record.Batch{Base: -1, Last: -1},
		})
	}
	if k.header, err = k.findHeader(ctx, ends); err != nil {
		return nil, err
	}
	k.lineage, k.committed = checkpoint.NewLineage(), nil
	reason := "start"
	if d.Row == checkpoint.RowOperator || d.Row == checkpoint.RowReset {
		reason = "reset_offset"
	}
	if err := k.put(ctx, cut); err != nil {
		return nil, err
	}
	k.metrics.Restarted(reason)
	return cut, nil
}

// findHeader looks whether the log of a partition begins with the header of a CSV file, and returns the names in it. They
// become part of the lineage: every start of it sees the same, whatever retention takes.
func (k *keeper) findHeader(ctx context.Context, ends map[int32]consumer.Offsets) ([]string, error) {
	if len(k.cfg.Columns) > 0 || k.cfg.Format != "auto" && k.cfg.Format != "csv" {
		return nil, nil
	}
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		if ends[p].First > 0 || ends[p].LastStable == 0 {
			continue
		}
		var header, row []byte
		_, err := k.client.ReadLog(ctx, k.cfg.TrainTopic, p, 0, func(offset int64, _, value []byte) error {
			if offset == 0 && record.IsHeader(value) {
				header = bytes.Clone(value)
				return nil
			}
			row = bytes.Clone(value)
			return errSeen
		})
		if err != nil && !errors.Is(err, errSeen) {
			return nil, err
		}
		if names := record.HeaderNames(header, row); names != nil {
			k.log.Info("the columns have names by a header line", zap.Int32("partition", p), zap.Strings("columns", names))
			return names, nil
		}
	}
	return nil, nil
}

// errSeen ends the reading of a log of which enough was seen.
var errSeen = errors.New("enough was seen")

// keep writes and commits a checkpoint at every interval, and when one is asked for, until ctx ends. It returns errOvertaken
// when another member has committed.
func (k *keeper) keep(ctx context.Context, trainer *train.Trainer, asked <-chan chan<- checkpoint.ID) error {
	interval, watch := time.NewTicker(k.cfg.CheckpointInterval), time.NewTicker(watchGroup)
	defer interval.Stop()
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C:
			if err := k.retry(ctx, "compare the commits", func() error { return k.compare(ctx) }); err != nil {
				return err
			}
		case <-interval.C:
			if err := k.keepOne(ctx, trainer); err != nil {
				return err
			}
		case first := <-asked:
			if err := k.keepFor(ctx, trainer, first, asked); err != nil {
				return err
			}
		}
	}
}

// keepOne writes and commits a checkpoint, if ctx does not end before.
func (k *keeper) keepOne(ctx context.Context, trainer *train.Trainer) error {
	if cut, err := trainer.Cut(ctx); err == nil { // else ctx has ended
		return k.retry(ctx, "keep a checkpoint", func() error { return k.put(ctx, cut) })
	}
	return nil
}

// keepFor makes one checkpoint for all who ask now, and tells them its id once it is committed. Where nothing was learned
// since the last one, it is that.
func (k *keeper) keepFor(ctx context.Context, trainer *train.Trainer, first chan<- checkpoint.ID, asked <-chan chan<- checkpoint.ID) error {
	all := []chan<- checkpoint.ID{first}
	for more := true; more; {
		select {
		case next := <-asked:
			all = append(all, next)
		default:
			more = false
		}
	}
	if err := k.keepOne(ctx, trainer); err != nil || ctx.Err() != nil {
		return err
	}
	for _, answer := range all {
		answer <- k.kept.Load().id // it has room for one
	}
	return nil
}

// compare finds out, once in each generation, whether what is committed is what this holder found or committed last.
func (k *keeper) compare(ctx context.Context) error {
	generation := k.tenure.Generation()
	if generation == k.joined {
		return nil
	}
	commits, err := k.client.Commits(ctx, k.cfg.Group, k.cfg.TrainTopic, k.tenure.Partitions())
	if err != nil {
		return err
	}
	if !maps.Equal(commits, k.commits) {
		return stop{errOvertaken}
	}
	k.joined = generation
	return nil
}

// final keeps what a clean stop ends with.
func (k *keeper) final(ctx context.Context, trainer *train.Trainer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCut)
	defer cancel()
	cut, err := trainer.Cut(ctx)
	if err == nil {
		err = k.put(ctx, cut)
	}
	if err != nil {
		k.log.Error("the last checkpoint was not kept: records since the one before are learned again", zap.Error(err))
	}
}

// put writes a cut as a checkpoint, commits it, and deletes what is no longer needed. Where nothing has moved since the
// last commit of the lineage there is nothing to do.
func (k *keeper) put(ctx context.Context, cut *train.Cut) error {
	offsets := nextOffsets(cut)
	moved := len(offsets) != len(k.commits)
	for p, next := range offsets {
		c := k.commits[p]
		_, id := checkpoint.ParseMetadata(c.Metadata)
		// The id is another where the checkpoint that was committed was broken: the one restored is committed anew.
		moved = moved || c.Offset != next || id.Lineage != k.lineage || id != k.kept.Load().id
	}
	if !moved {
		return nil
	}
	var pause time.Duration
	for _, m := range cut.Models {
		pause = max(pause, m.Pause)
	}
	k.metrics.CheckpointPause(pause)

	if err := k.letters.Flush(ctx); err != nil { // the cut is behind all that was refused by now
		return err
	}
	if err := k.compare(ctx); err != nil {
		return err
	}
	c := k.checkpointOf(cut)
	k.sequence++ // also if it does not get anywhere: an id is used once
	metadata := checkpoint.NoneMetadata(c.ID)
	if k.store != nil {
		data, err := c.Encode()
		if err != nil {
			return stop{fmt.Errorf("encode checkpoint %s: %w", c.ID, err)}
		}
		if err := k.store.Put(ctx, c.ID, c.Generation, data); err != nil {
			return err
		}
		k.entries = append(k.entries, checkpoint.Entry{ID: c.ID, Generation: c.Generation})
		metadata = c.ID.String()
	}
	if err := k.commit(ctx, offsets, metadata); err != nil {
		return err
	}
	k.commits = make(map[int32]consumer.Commit, len(offsets))
	for p, next := range offsets {
		k.commits[p] = consumer.Commit{Offset: next, Metadata: metadata}
	}
	k.committed = append(k.committed, c.ID)
	k.metrics.Committed()
	k.metrics.CheckpointKept(c.Created)
	k.mark(c, k.joined.ID)
	k.prune(ctx)
	return nil
}

// commit commits in the generation that was compared last. A commit that is refused because that has passed is repeated
// once in the next, if nobody else has committed since.
func (k *keeper) commit(ctx context.Context, offsets map[int32]int64, metadata string) error {
	err := k.client.Commit(ctx, k.cfg.Group, k.joined, k.cfg.TrainTopic, offsets, metadata)
	if err != nil {
		k.metrics.ConsumerError("commit")
	}
	if !errors.Is(err, consumer.ErrFenced) {
		return err
	}
	k.log.Warn("commit refused", zap.Error(err))
	for k.tenure.Generation() == k.joined {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := k.compare(ctx); err != nil {
		return err
	}
	return k.client.Commit(ctx, k.cfg.Group, k.joined, k.cfg.TrainTopic, offsets, metadata)
}

// prune deletes checkpoints that are older than the two committed before the newest.
func (k *keeper) prune(ctx context.Context) {
	if k.store == nil {
		return
	}
	ids := checkpoint.Prune(k.entries, k.committed)
	if len(ids) == 0 {
		return
	}
	if err := k.store.Delete(ctx, ids); err != nil {
		k.log.Warn("delete old checkpoints", zap.Error(err))
		return
	}
	gone := func(id checkpoint.ID) bool { return slices.Contains(ids, id) }
	k.entries = slices.DeleteFunc(k.entries, func(e checkpoint.Entry) bool { return gone(e.ID) })
	k.committed = slices.DeleteFunc(k.committed, gone)
}

// checkpointOf makes a checkpoint of a cut.
func (k *keeper) checkpointOf(cut *train.Cut) *checkpoint.Checkpoint {
	config := k.compatibility()
	c := &checkpoint.Checkpoint{
		ID:         checkpoint.ID{Lineage: k.lineage, Sequence: k.sequence, Writer: k.writer},
		Generation: k.joined.ID, Source: k.source, Previous: k.committed[max(0, len(k.committed)-2):], Resets: k.resets,
		Turn: cut.Turn, Features: cut.Features, Records: cut.Records, Gap: cut.Gap, Lost: cut.Lost, ConfigRows: config.Rows,
		Header: k.header, Columns: cut.Columns, Missing: cut.Missing, Origins: cut.Origins, NotFound: cut.NotFound, Slots: cut.Slots,
		Champion: cut.Champion, Comparison: cut.Comparison, Build: currentBuild().Version, Created: time.Now(),
	}
	for _, p := range cut.Partitions {
		c.Partitions = append(c.Partitions, checkpoint.Partition{
			Partition: p.Partition, Next: p.Next, Start: p.Start, Settled: p.Settled, End: p.End, Last: checkpoint.Batch(p.Passed),
		})
	}
	for i, m := range cut.Models {
		c.Models = append(c.Models, checkpoint.Model{
			Name: m.Name, Kind: config.Models[i].Kind, ConfigHash: config.Models[i].Hash, Since: m.Since, Records: m.Records,
			Tensors: m.Tensors,
		})
	}
	return c
}

// cutOf makes a cut of a checkpoint.
func cutOf(c *checkpoint.Checkpoint) *train.Cut {
	cut := &train.Cut{
		Place: train.Place{
			Turn: c.Turn, Features: c.Features, Records: c.Records, Gap: c.Gap, Lost: c.Lost,
			Columns: c.Columns, Missing: c.Missing, Origins: c.Origins, NotFound: c.NotFound, Slots: c.Slots,
		},
		Comparison: c.Comparison, Champion: c.Champion,
	}
	for _, p := range c.Partitions {
		cut.Partitions = append(cut.Partitions, train.PartitionPlace{
			Partition: p.Partition, Next: p.Next, Start: p.Start, Settled: p.Settled, End: p.End, Passed: record.Batch(p.Last),
		})
	}
	for _, m := range c.Models {
		cut.Models = append(cut.Models, train.State{
			Name: m.Name, Tensors: m.Tensors, Records: m.Records, Next: nextOffsets(cut), Since: m.Since,
		})
	}
	return cut
}

// compatibility says what rows and models are configured to be, in a form that checkpoints can be compared with.
func (s *service) compatibility() checkpoint.Config { return s.cfg.compatibility(s.specs) }

// compatibility is that of a service with these models.
func (c *Config) compatibility(specs []sgd.Spec) checkpoint.Config {
	config := checkpoint.Config{Rows: checkpoint.Hash(
		c.Format, c.Label, strings.Join(c.Columns, ","), strings.Join(c.Features, ","), c.Positive, fmt.Sprint(c.HashBits), c.Order,
	)}
	for _, spec := range specs {
		parts := append(make([]string, 0, 2+2*len(spec.Options)), spec.Kind, fmt.Sprint(c.Seed))
		for _, name := range slices.Sorted(maps.Keys(spec.Options)) {
			parts = append(parts, name, spec.Options[name])
		}
		config.Models = append(config.Models, checkpoint.ModelConfig{Name: spec.Name, Kind: spec.Kind, Hash: checkpoint.Hash(parts...)})
	}
	return config
}
