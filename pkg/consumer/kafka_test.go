package consumer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// TestRealKafka runs what an embedded broker cannot vouch for against a real one, where KAFKA_TEST_PLAINTEXT names it.
func TestRealKafka(t *testing.T) {
	plaintext, secured := os.Getenv("KAFKA_TEST_PLAINTEXT"), os.Getenv("KAFKA_TEST_SASL_SSL")
	if plaintext == "" {
		t.Skip("KAFKA_TEST_PLAINTEXT is not set")
	}
	trusted, err := TLSConfig(os.Getenv("KAFKA_TEST_CA"))
	if err != nil {
		t.Fatal(err)
	}
	topic := fmt.Sprintf("consumer-test-%d", os.Getpid())
	cfg := Config{
		Brokers: []string{secured}, TLS: trusted, Topics: []string{topic},
		User: os.Getenv("KAFKA_TEST_USER"), Password: os.Getenv("KAFKA_TEST_PASSWORD"),
	}
	admin := client(t, cfg)
	create := func(t *testing.T, partitions int) {
		t.Helper()
		r, err := admin.Kafka().CreateTopics(limit(t, patience), &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}},
		})
		if err != nil || r.Errors[topic] != nil {
			t.Fatal(err, r)
		}
		await(t, "the topic", func() bool {
			p, err := admin.Partitions(limit(t, patience), topic)
			return err == nil && len(p) == partitions
		})
	}
	remove := func(t *testing.T) {
		t.Helper()
		r, err := admin.Kafka().DeleteTopics(limit(t, patience), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		if err != nil || r.Errors[topic] != nil {
			t.Fatal(err, r)
		}
	}
	create(t, 2)

	t.Run("check", func(t *testing.T) {
		if err := admin.Check(t.Context(), cfg.Topics, topic); err != nil {
			t.Error(err)
		}
		user := func(c Config, brokers, user, password string) Config {
			c.Brokers, c.User, c.Password = []string{brokers}, user, password
			return c
		}
		for _, test := range []struct {
			name string
			give Config
			ask  string
			want string
		}{
			{"wrong password", user(cfg, secured, cfg.User, "wrong"), topic, "credentials are refused"},
			{"no credentials", user(cfg, secured, "", ""), topic, "wants credentials"},
			{"plaintext to TLS", user(Config{}, secured, "", ""), topic, "TLS alert"},
			{"TLS to plaintext", user(cfg, plaintext, "", ""), topic, "speaks plaintext"},
			{"SASL to a listener without it", user(Config{}, plaintext, "key", "secret"), topic, "wants no credentials"},
			{"missing topic", cfg, topic + "-typo", "does not exist"},
		} {
			c := client(t, test.give)
			c.checkTimeout = 2 * time.Second
			err := c.Check(t.Context(), []string{test.ask}, topic)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want %q", test.name, err, test.want)
			}
			t.Log(err)
		}
	})
	t.Run("offsets", func(t *testing.T) {
		at := time.Now().Truncate(time.Millisecond)
		r, err := admin.Kafka().Produce(limit(t, patience), &kafka.ProduceRequest{
			Topic: topic, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(
				kafka.Record{Time: at, Value: kafka.NewBytes([]byte("a"))},
				kafka.Record{Time: at.Add(time.Second), Value: kafka.NewBytes([]byte("b"))}),
		})
		if err != nil || r.Error != nil {
			t.Fatal(err, r)
		}
		ends, err := admin.Ends(limit(t, patience), topic, []int32{0, 1})
		if err != nil || ends[0] != (Offsets{0, 2, 2}) || ends[1] != (Offsets{}) {
			t.Errorf("%+v, %v", ends, err)
		}
		offsets, err := admin.OffsetsAt(limit(t, patience), topic, []int32{0, 1}, at.Add(time.Millisecond))
		if err != nil || offsets[0] != 1 || offsets[1] != 0 {
			t.Errorf("%+v, %v", offsets, err)
		}
	})
	t.Run("dynamic members", func(t *testing.T) {
		config := GroupConfig{Group: topic + "-dynamic", Topic: topic}
		a := participate(t, client(t, cfg), config, nil)
		s := a.holds()
		b := participate(t, client(t, cfg), config, nil)
		b.standsBy()
		if err := a.commit(s.Generation()); err != nil {
			t.Errorf("commit: %v", err)
		}
		r, err := admin.Kafka().CreatePartitions(limit(t, patience), &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 3}},
		})
		if err != nil || r.Errors[topic] != nil {
			t.Fatal(err, r)
		}
		await(t, "growth", func() bool { return slices.Equal(s.Partitions(), []int32{0, 1, 2}) })
		s.survives(t)
		start := time.Now()
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		s = b.holds()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took over after %s", took)
		}
		remove(t)
		<-s.ctx.Done()
		await(t, "the report", func() bool { return errors.Is(b.status().Err, errNoTopic) })
		create(t, 4)
		if s := b.holds(); len(s.Partitions()) != 4 {
			t.Errorf("partitions %v", s.Partitions())
		}
	})
	t.Run("static members", func(t *testing.T) {
		config := GroupConfig{Group: topic + "-static", Topic: topic, InstanceID: "b"}
		line := &cable{}
		cut := cfg
		cut.Dial = line.dial
		dying := participate(t, client(t, cut), config, nil)
		s := dying.holds()
		config.InstanceID = "a" // before "b": stays standby only if the group was not rebalanced
		standby := participate(t, client(t, cfg), config, nil)
		standby.standsBy()
		await(t, "the new generation", func() bool { return s.Generation().ID > 1 })
		line.set(true)
		start := time.Now()
		config.InstanceID = "b"
		again := participate(t, client(t, cfg), config, nil)
		s = again.holds()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the new process has the partitions after %s", took)
		}
		line.set(false)
		if err := dying.end(); !errors.Is(err, kafka.FencedInstanceID) {
			t.Errorf("the replaced process ended with %v", err)
		}
		// The coordinator may not tell the new process that it leads; growth is seen all the same.
		before := len(s.Partitions())
		r, err := admin.Kafka().CreatePartitions(limit(t, patience), &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(before + 1)}},
		})
		if err != nil || r.Errors[topic] != nil {
			t.Fatal(err, r)
		}
		await(t, "growth", func() bool { return len(s.Partitions()) == before+1 })
		s.survives(t)
		if standby.eventList() != "" {
			t.Errorf("the standby saw %s", standby.eventList())
		}
	})
	remove(t)
}
