package main

import (
	"strings"

	"go.uber.org/zap"

	"learner/pkg/consumer"
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
