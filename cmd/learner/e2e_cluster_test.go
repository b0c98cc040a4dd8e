package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/producer"
)

const susyFile = "../../internal/testdata/susy_10k_balanced.csv.gz"

// testCluster is a running cluster, with names for topics and a group of the test's own.
type testCluster struct {
	env         []string // what the service needs to connect
	train, test string
	group       string
}

var testNumber atomic.Int64

// onEveryCluster runs a test on the embedded broker and, where the environment names one (see .ci/kafka), on a real
// Apache Kafka, both in plain text and with SASL_SSL.
func onEveryCluster(t *testing.T, test func(t *testing.T, c *testCluster)) {
	t.Helper()
	for _, name := range []string{"embedded", "embedded SASL_SSL", "kafka", "kafka SASL_SSL"} {
		t.Run(name, func(t *testing.T) { test(t, startCluster(t, name)) })
	}
}

func startCluster(t *testing.T, name string) *testCluster {
	t.Helper()
	secure := strings.HasSuffix(name, "SASL_SSL")
	addr, key, secret, ca := os.Getenv("KAFKA_TEST_PLAINTEXT"), "", "", ""
	switch {
	case strings.HasPrefix(name, "embedded"):
		options := broker.Options{Brokers: 3}
		if secure {
			options.User, options.Password = "KEY", "se'cr=et#1"
		}
		b, err := broker.Start(options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		addr, key, secret = strings.Join(b.Addrs(), ","), options.User, options.Password
		if secure {
			ca = filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, b.CA, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	case secure:
		addr, ca = os.Getenv("KAFKA_TEST_SASL_SSL"), os.Getenv("KAFKA_TEST_CA")
		key, secret = os.Getenv("KAFKA_TEST_USER"), os.Getenv("KAFKA_TEST_PASSWORD")
	}
	if addr == "" {
		t.Skip("no real broker: see .ci/kafka")
	}
	id := fmt.Sprintf("%d-%d", time.Now().UnixNano(), testNumber.Add(1))
	c := &testCluster{train: "train-" + id, test: "test-" + id, group: "group-" + id}
	c.env = []string{
		"CCLOUD_BOOTSTRAP_ENDPOINT=" + addr, "CCLOUD_CLUSTER_API_KEY=" + key, "CCLOUD_CLUSTER_API_SECRET=" + secret,
		"LEARNER_TLS_CA_FILE=" + ca, "LEARNER_TRAIN_TOPIC=" + c.train, "LEARNER_TEST_TOPIC=" + c.test,
		"LEARNER_GROUP=" + c.group, "LEARNER_HTTP_ADDR=127.0.0.1:0", "LEARNER_ADMIN_ADDR=none", "LEARNER_EVAL_INTERVAL=200ms", "LEARNER_CHECKPOINT_INTERVAL=200ms",
		"LEARNER_LOG_FORMAT=json", "LEARNER_MODELS=logistic", // the cheapest
	}
	return c
}

// client returns a kafka-go client on the cluster.
func (c *testCluster) client(t *testing.T) *kafka.Client {
	t.Helper()
	cfg, err := loadConfig(c.env, t.TempDir(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafkaClient(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client.Kafka()
}

// create makes the two topics.
func (c *testCluster) create(t *testing.T, partitions int, configs map[string]string) {
	t.Helper()
	for _, topic := range []string{c.train, c.test} {
		if _, err := producer.EnsureTopic(t.Context(), c.client(t), topic, partitions, -1, configs); err != nil {
			t.Fatal(err)
		}
	}
}

// load runs learner load.
func (c *testCluster) load(t *testing.T, args ...string) {
	t.Helper()
	if got := runWith(t, c.env, append([]string{"load"}, args...)...); got.code != exitClean {
		t.Fatalf("load: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// produce writes values to a topic, the i-th with keys[i] if there are any, to partition i modulo their number.
func (c *testCluster) produce(t *testing.T, topic string, values []string) {
	t.Helper()
	p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range values {
		v := []byte(value)
		if value == "<null>" {
			v = nil
		}
		if err := p.Send(t.Context(), int32(i%p.Partitions()), time.Now(), nil, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// with returns the environment with some variables set otherwise.
func (c *testCluster) with(env ...string) []string {
	all := append([]string{}, env...)
	for _, line := range c.env {
		name, _, _ := strings.Cut(line, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			all = append(all, line)
		}
	}
	return all
}
