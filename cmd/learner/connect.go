package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"learner/pkg/consumer"
	"learner/pkg/registry"
)

// kafkaClient returns the client that cfg describes. It connects when it is first used; the caller closes it.
func kafkaClient(cfg *Config, log *zap.Logger) (*consumer.Client, error) {
	protocol := cfg.Protocol()
	client := consumer.Config{
		Brokers:  cfg.Brokers,
		ClientID: "learner",
		Topics:   []string{cfg.TrainTopic, cfg.TestTopic, cfg.CheckpointTopic},
		Logger:   log,
	}
	if cfg.DeadLetterTopic != "" {
		client.Topics = append(client.Topics, cfg.DeadLetterTopic)
	}
	if strings.HasPrefix(protocol, "sasl_") {
		client.User, client.Password = string(cfg.APIKey), string(cfg.APISecret)
	}
	if strings.HasSuffix(protocol, "ssl") {
		var err error
		if client.TLS, err = consumer.TLSConfig(cfg.TLSCAFile); err != nil {
			return nil, err
		}
	}
	return consumer.NewClient(client), nil
}

// registry returns a client of the Schema Registry, which asks nothing yet; nil: there is none. The caller closes it.
func (c *Config) registry(log *zap.Logger, requested func(registry.Result)) (*registry.Client, error) {
	if c.RegistryURL == "" {
		return nil, nil //nolint:nilnil // it is no fault that there is none
	}
	return registry.New(registry.Config{
		URLs: c.RegistryURL, Key: string(c.RegistryKey), Secret: string(c.RegistrySecret), Logger: log, Requested: requested,
	})
}

// checkedClient is kafkaClient for commands that do one thing: the connection, the train topic, and the group are known
// to be usable. The caller closes it.
func checkedClient(ctx context.Context, cfg *Config) (*consumer.Client, error) {
	client, err := kafkaClient(cfg, nil)
	if err != nil {
		return nil, err
	}
	if err := client.Check(ctx, []string{cfg.TrainTopic}, cfg.Group); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// offsets returns where the start is in each partition of topic whose ends are given.
func (s Start) offsets(
	ctx context.Context, client *consumer.Client, topic string, ends map[int32]consumer.Offsets,
) (map[int32]int64, error) {
	if !s.Time.IsZero() {
		return client.OffsetsAt(ctx, topic, slices.Sorted(maps.Keys(ends)), s.Time)
	}
	offsets := make(map[int32]int64, len(ends))
	for p, end := range ends {
		offsets[p] = end.First
		if s.Latest {
			offsets[p] = end.LastStable
		}
	}
	return offsets, nil
}
