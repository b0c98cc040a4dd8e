package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go"
)

// Partitions returns how many partitions the topic has. The error wraps kafka.UnknownTopicOrPartition where there is
// no such topic; looking it up does not create it.
func Partitions(ctx context.Context, client *kafka.Client, topic string) (int, error) {
	answer, err := withTimeout(client).Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	if len(answer.Topics) != 1 {
		return 0, fmt.Errorf("look up topic %s: the answer has %d topics", topic, len(answer.Topics))
	}
	if err := answer.Topics[0].Error; err != nil {
		return 0, fmt.Errorf("look up topic %s: %w", topic, err)
	}
	return len(answer.Topics[0].Partitions), nil
}

// EnsureTopic creates the topic if it does not exist, and says whether it did. A topic that exists is left as it is.
// A replication of -1 is the broker's default; configs are those of the topic, such as retention.ms.
func EnsureTopic(ctx context.Context, client *kafka.Client, topic string, partitions, replication int, configs map[string]string) (bool, error) {
	if _, err := Partitions(ctx, client, topic); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return false, err
	}
	request := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: replication}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		request.ConfigEntries = append(request.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: configs[name]})
	}
	answer, err := withTimeout(client).CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{request}})
	if err == nil {
		err = answer.Errors[topic]
	}
	created := err == nil
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) { // another was faster
		return false, fmt.Errorf("create topic %s: %w", topic, err)
	}
	_, err = retry(ctx, startTimeout, nil, func() error { // until the brokers have told each other
		_, err := Partitions(ctx, client, topic)
		return err
	})
	return created, err
}
