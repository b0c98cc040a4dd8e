package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"learner/pkg/deadletter"
	"learner/pkg/producer"
)

const (
	// deadLetterRecords and deadLetterBytes bound what waits to be written to the dead-letter topic.
	deadLetterRecords = 10_000
	deadLetterBytes   = 32 << 20
	// deadLetterCheck is how long the start tries to find the dead-letter topic where the cluster does not answer.
	deadLetterCheck = 14 * time.Second
)

// checkDeadLetters finds out whether the dead-letter topic, if there is to be one, can be written to, and creates it if it is
// missing.
func (s *service) checkDeadLetters(ctx context.Context) error {
	if s.cfg.DeadLetterTopic == "" {
		return nil
	}
	for began := time.Now(); ; {
		err := s.ensureDeadLetters(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		code, told := errors.AsType[kafka.Error](err)
		if told && !code.Temporary() || time.Since(began) >= deadLetterCheck {
			return err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ensureDeadLetters is checkDeadLetters, tried once.
func (s *service) ensureDeadLetters(ctx context.Context) error {
	topic := s.cfg.DeadLetterTopic
	partitions, err := s.client.Partitions(ctx, s.cfg.TrainTopic)
	if err != nil {
		return err
	}
	if _, err := producer.EnsureTopic(ctx, s.client.Kafka(), topic, len(partitions), -1, nil); err != nil {
		return fmt.Errorf("dead-letter topic: %w; allow CREATE, DESCRIBE, and WRITE on it, or create it with: "+
			"confluent kafka topic create %s --partitions %d, or kafka-topics --create --topic %[2]s --partitions %[3]d", err, topic, len(partitions))
	}
	return s.client.CheckWrite(ctx, topic)
}

// newDeadLetters returns what takes refused records until learns ends; nil: nothing does.
func (s *service) newDeadLetters(learns context.Context) *deadletter.Queue {
	if s.cfg.DeadLetterTopic == "" {
		return nil
	}
	return deadletter.New(learns, deadletter.Config{
		Topic: s.cfg.DeadLetterTopic, From: s.cfg.TrainTopic, Group: s.cfg.Group, Records: deadLetterRecords, Bytes: deadLetterBytes,
		Open: func(ctx context.Context, retrying func(error)) (deadletter.Sink, error) {
			p, err := producer.New(ctx, s.client.Kafka(), producer.Config{
				Topic: s.cfg.DeadLetterTopic, OnRetry: func(_ int32, err error) { retrying(err) },
			})
			if err != nil {
				return nil, err // and no nil in an interface
			}
			return p, nil
		},
		Observer: s.metrics, Logger: s.log,
	})
}
