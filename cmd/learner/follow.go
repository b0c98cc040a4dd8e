package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/record"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// followEvery is how often a standby asks what is committed.
const followEvery = time.Second

// followed is what a standby knows of the holder's models.
type followed struct {
	checkpoint *checkpoint.Checkpoint // committed last; nil: none that may be loaded
	trainer    *train.Trainer         // that answers from it, and never runs; nil: none
	snapshots  []*train.Snapshot
	comparison *train.Comparison // nil with nothing that may be loaded
	twin       sgd.Predictor     // nil: none
	note       string            // why nothing is served, or what a take-over would do; for people
	refused    error             // why this process could not take over: the configuration does not fit, or nothing could be read
}

// follow keeps a standby's models at what the holder committed last. They stay until a tenure has its own: a take-over
// leaves no gap.
func (s *service) follow(ctx context.Context) {
	var store checkpoint.Store // nil: not opened yet
	var last string
	for ctx.Err() == nil {
		if m := s.membership.Load(); m != nil && m.State == consumer.Standby {
			err := s.look(ctx, &store)
			if err == nil {
				last = ""
			} else if ctx.Err() == nil {
				if last != err.Error() {
					s.log.Warn("follow the committed checkpoints", zap.Error(err))
				}
				last = err.Error()
				if now := s.followed.Load(); now == nil || now.refused != nil {
					s.followed.Store(&followed{refused: err})
				}
			}
		} else if s.tenure.Load() != nil {
			s.followed.Store(nil)
		}
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
		}
	}
}

// look asks once what is committed, and loads it if it is new. It opens the store when it needs it first: an open one
// reads only what is new.
func (s *service) look(ctx context.Context, store *checkpoint.Store) error {
	partitions, err := s.client.Partitions(ctx, s.cfg.TrainTopic)
	if err != nil {
		return err
	}
	commits, err := s.client.Commits(ctx, s.cfg.Group, s.cfg.TrainTopic, partitions)
	if err != nil {
		return err
	}
	newest := newestOf(commits)
	if newest.Lineage == "" {
		s.followed.Store(&followed{note: "no checkpoint is committed yet"})
		return nil
	}
	if now := s.followed.Load(); now != nil && now.checkpoint != nil && now.checkpoint.ID == newest {
		return nil
	}
	if *store == nil {
		if *store, err = openStore(ctx, s.cfg, s.client, false); err != nil {
			return err
		}
	}
	if *store == nil {
		s.followed.Store(&followed{note: "LEARNER_CHECKPOINT=none keeps nothing to follow"})
		return nil
	}
	data, err := (*store).Get(ctx, newest)
	if err != nil {
		return err
	}
	c, err := checkpoint.Decode(data)
	if err != nil {
		return fmt.Errorf("read checkpoint %s: %w", newest, err)
	}
	s.followed.Store(s.standbyOf(c))
	return nil
}

// newestOf returns the newest checkpoint that commits name; the zero id: none.
func newestOf(commits map[int32]consumer.Commit) (newest checkpoint.ID) {
	for _, c := range commits {
		if origin, id := checkpoint.ParseMetadata(c.Metadata); origin == checkpoint.Ours && id.Sequence >= newest.Sequence {
			newest = id
		}
	}
	return newest
}

// standbyOf makes what a standby serves of a checkpoint.
func (s *service) standbyOf(c *checkpoint.Checkpoint) *followed {
	f := &followed{checkpoint: c}
	reset := s.cfg.ResetID != "" && !slices.Contains(c.Resets, s.cfg.ResetID)
	_, _, err := c.Compatible(s.compatibility())
	switch {
	case reset:
		f.note = "reset " + s.cfg.ResetID + " is carried out at the take-over"
		if err != nil {
			return f // what is there now cannot be served, and will be replaced
		}
	case err != nil:
		f.refused = err
		return f
	}
	trainer, err := train.New(s.training(cutOf(c), silent{}))
	if err != nil {
		f.refused = err
		return f
	}
	if err := s.useHeader(c.Header); err != nil {
		f.refused = err
		return f
	}
	if s.schemas != nil {
		s.schemas.Condemn(c.NotFound...)
	}
	f.trainer, f.snapshots, f.comparison, f.twin = trainer, trainer.Snapshots(), trainer.Comparison(), trainer.Twin()
	s.metrics.Lineage(c.ID.Lineage, c.ID.Sequence)
	s.compared(f.comparison, trainer.Layout())
	s.columnMetrics(trainer)
	return f
}

// silent is a train.Observer of models that only answer.
type silent struct{}

func (silent) Passed(int32, int, int, int64, time.Time)         {}
func (silent) Refused(int32, record.Refusal)                    {}
func (silent) Lost(int32, int64)                                {}
func (silent) Waiting(int)                                      {}
func (silent) DrawnBack(int32)                                  {}
func (silent) Learned(string, int, int, float64, time.Duration) {}
func (silent) Published(*train.Snapshot)                        {}
func (silent) Happened(train.Event)                             {}
func (silent) Compared(*train.Comparison)                       {}
