package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/producer"
)

const (
	// largestRecord bounds the records of the checkpoint topic, also where brokers take larger ones.
	largestRecord = 900_000
	// batchOverhead is more than a batch of one record has besides key and value.
	batchOverhead = 1024
)

// openStore returns the configured store; nil where none is kept. With create, a topic or folder that is missing is
// created if that is allowed; without, it is an error. The error says what would mend it.
func openStore(ctx context.Context, cfg *Config, client *consumer.Client, create bool) (checkpoint.Store, error) {
	switch cfg.Checkpoint {
	case "none":
		return nil, nil
	case "dir":
		if !create {
			if _, err := os.Stat(cfg.CheckpointDir); err != nil {
				return nil, fmt.Errorf("look for the checkpoint folder: %w", err)
			}
		}
		return checkpoint.NewDir(cfg.CheckpointDir, cfg.Group)
	}
	log, err := openLog(ctx, cfg.CheckpointTopic, client, create)
	if err != nil {
		return nil, err
	}
	return checkpoint.NewTopic(log, cfg.Group), nil
}

// openLog finds the checkpoint topic, or with create creates it, and checks that it keeps what it is given.
func openLog(ctx context.Context, topic string, client *consumer.Client, create bool) (*kafkaLog, error) {
	command := "confluent kafka topic create " + topic + " --partitions 1 --config cleanup.policy=compact" +
		", or kafka-topics --create --topic " + topic + " --partitions 1 --config cleanup.policy=compact"
	if create {
		_, err := producer.EnsureTopic(ctx, client.Kafka(), topic, 1, -1, map[string]string{"cleanup.policy": "compact"})
		if err != nil {
			return nil, fmt.Errorf("create the checkpoint topic: %w; allow CREATE on it, or create it with: %s", err, command)
		}
	}
	partitions, err := client.Partitions(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil, fmt.Errorf("checkpoint topic %s does not exist, so that no group has kept a checkpoint in it", topic)
	}
	if err != nil {
		return nil, err
	}
	if len(partitions) != 1 {
		return nil, fmt.Errorf("checkpoint topic %s has %d partitions and needs one: set LEARNER_CHECKPOINT_TOPIC to another, "+
			"created with: %s", topic, len(partitions), command)
	}
	const policy, limit = "cleanup.policy", "max.message.bytes"
	configs, err := client.TopicConfig(ctx, topic, policy, limit)
	if err != nil {
		return nil, fmt.Errorf("%w; allow DESCRIBE_CONFIGS on the checkpoint topic", err)
	}
	if configs[policy] != "compact" {
		return nil, fmt.Errorf("checkpoint topic %s has %s=%s, which loses checkpoints; mend it with: "+
			"confluent kafka topic update %[1]s --config cleanup.policy=compact, or "+
			"kafka-configs --alter --topic %[1]s --add-config cleanup.policy=compact", topic, policy, configs[policy])
	}
	most := largestRecord
	if n, err := strconv.Atoi(configs[limit]); err == nil {
		most = min(most, n-batchOverhead)
	}
	return &kafkaLog{client: client, topic: topic, most: most}, nil
}

// kafkaLog is the checkpoint topic as a checkpoint.Log.
type kafkaLog struct {
	client   *consumer.Client
	topic    string
	most     int
	producer *producer.Producer // nil: none, or the last one failed
}

// MaxRecord implements checkpoint.Log.
func (l *kafkaLog) MaxRecord() int { return l.most }

// Read implements checkpoint.Log.
func (l *kafkaLog) Read(ctx context.Context, from int64, each func(offset int64, key, value []byte) error) (int64, error) {
	return l.client.ReadLog(ctx, l.topic, 0, from, each)
}

// Append implements checkpoint.Log.
func (l *kafkaLog) Append(ctx context.Context, records []checkpoint.KeyValue) (err error) {
	if l.producer == nil {
		if l.producer, err = producer.New(ctx, l.client.Kafka(), producer.Config{
			Topic: l.topic, Compression: kafka.Compression(0).String(), BatchBytes: l.most, Timeout: time.Minute,
		}); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil { // the next one begins with a clean slate
			closed, cancel := context.WithCancel(ctx)
			cancel()
			_ = l.producer.Close(closed)
			l.producer = nil
		}
	}()
	for _, r := range records {
		if err := l.producer.Send(ctx, 0, time.Now(), r.Key, r.Value); err != nil {
			return err
		}
	}
	return l.producer.Flush(ctx)
}

// errNoStore is the error of commands that need a store where none is kept.
var errNoStore = errors.New("LEARNER_CHECKPOINT=none keeps no checkpoints")
