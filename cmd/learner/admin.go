package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/serve"
)

const (
	noAdmin      = "none" // as LEARNER_ADMIN_ADDR: there is no server for operators
	defaultAdmin = "127.0.0.1:8081"
)

// listenAdmin prepares the server for operators, if there is to be one. It listens already. Several services on one machine
// cannot all have the default address: the others go without.
func (s *service) listenAdmin(level zap.AtomicLevel) error {
	if s.cfg.AdminAddr == noAdmin {
		return nil
	}
	admin := serve.NewAdmin(serve.AdminConfig{
		Addr: s.cfg.AdminAddr, Token: string(s.cfg.AdminToken), Level: level, Checkpoint: s.checkpointNow, Observer: s.metrics, Log: s.log,
	})
	err := admin.Listen()
	switch {
	case err == nil:
		s.admin = admin
	case s.cfg.AdminAddr == defaultAdmin:
		s.log.Warn("no server for operators: set LEARNER_ADMIN_ADDR to a free address, or to none", zap.Error(err))
		err = nil
	}
	return err
}

// checkpointNow asks the keeper for a checkpoint and waits until it is committed.
func (s *service) checkpointNow(ctx context.Context) (serve.Checkpoint, error) {
	if s.cfg.Checkpoint == "none" {
		return serve.Checkpoint{}, fmt.Errorf("%w: %w", serve.ErrNoCheckpoint, errNoStore)
	}
	t := s.tenure.Load()
	if t == nil {
		role := consumer.Joining
		if m := s.membership.Load(); m != nil {
			role = m.State
		}
		return serve.Checkpoint{}, fmt.Errorf("%w: this process does not learn now, its role is %s", serve.ErrNoCheckpoint, role)
	}
	answer := make(chan checkpoint.ID, 1)
	for asked := t.asked; ; {
		select {
		case asked <- answer:
			asked = nil
		case id := <-answer:
			return serve.Checkpoint{Lineage: id.Lineage, Sequence: id.Sequence, Writer: id.Writer}, nil
		case <-t.ended:
			return serve.Checkpoint{}, fmt.Errorf("learning ended before a checkpoint was committed that was asked for")
		case <-ctx.Done():
			return serve.Checkpoint{}, s.notCommitted(ctx.Err())
		}
	}
}

// notCommitted says why no checkpoint was committed for so long.
func (s *service) notCommitted(err error) error {
	if problem := s.problem.Load(); problem != nil {
		return fmt.Errorf("not committed yet, and tried again until it is: %s: %w", *problem, err)
	}
	return fmt.Errorf("not committed yet: %w", err)
}
