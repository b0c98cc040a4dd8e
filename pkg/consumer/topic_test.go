package consumer

import (
	"encoding/base64"
	"errors"
	"maps"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"learner/internal/broker"
)

func TestTopicConfig(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, addrs []string, name string) {
		c := client(t, Config{Brokers: addrs, Topics: []string{name}})
		create(t, c, name, 1, kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"})
		got, err := c.TopicConfig(limit(t, patience), name, "cleanup.policy", "max.message.bytes", "no.such.setting")
		if want := map[string]string{"cleanup.policy": "compact", "max.message.bytes": "1048588"}; err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
		if got, err := c.TopicConfig(limit(t, patience), name+"-gone", "cleanup.policy"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("a missing topic: %v, %v", got, err)
		}
	})
	b := startCluster(t, broker.Options{User: "key", Password: "secret", Fake: []kfake.Opt{
		kfake.SeedTopics(1, "train"), kfake.EnableACLs(),
		kfake.User("PLAIN", "reader", "pass", acl(kmsg.ACLResourceTypeTopic, "train", kmsg.ACLOperationRead)),
	}})
	c := connect(t, b, Config{User: "reader", Password: "pass"})
	if got, err := c.TopicConfig(limit(t, patience), "train", "cleanup.policy"); !errors.Is(err, kafka.TopicAuthorizationFailed) || Kind(err) != kindAuth {
		t.Errorf("without a permission: %v, %v", got, err)
	}
}

func TestTopicID(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, addrs []string, name string) {
		c := client(t, Config{Brokers: addrs, Topics: []string{name}})
		other, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		seen := make(map[string]bool)
		for range 2 { // the second time the topic is another of the same name
			t.Run("topic", func(t *testing.T) {
				create(t, c, name, 3)
				request := kmsg.NewPtrMetadataRequest()
				topic := kmsg.NewMetadataRequestTopic()
				topic.Topic = &name
				request.Topics = append(request.Topics, topic)
				r, err := request.RequestWith(limit(t, patience), other)
				if err != nil {
					t.Fatal(err)
				}
				want := base64.RawURLEncoding.EncodeToString(r.Topics[0].TopicID[:])
				for range 2 {
					if got, err := c.TopicID(limit(t, patience), name); err != nil || got != want || len(got) != 22 {
						t.Errorf("id %q, %v; want %q", got, err, want)
					}
				}
				seen[want] = true
				// The connection still serves other questions.
				if p, err := c.Partitions(limit(t, patience), name); err != nil || len(p) != 3 {
					t.Errorf("partitions %v, %v", p, err)
				}
			})
		}
		if len(seen) != 2 {
			t.Errorf("ids of two topics: %v", seen)
		}
		if got, err := c.TopicID(limit(t, patience), name+"-gone"); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("a missing topic: %q, %v", got, err)
		}
	})
	b := startCluster(t, broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(1, "train"), kfake.MaxVersions(kversion.V2_7_0())}})
	if got, err := connect(t, b, Config{}).TopicID(limit(t, patience), "train"); err != nil || got != "" {
		t.Errorf("of a broker that knows of no ids: %q, %v", got, err)
	}
}

func TestTopicIDAnswers(t *testing.T) {
	good := []byte{0, 0, 0, 7, 0, 0, 0, 0, 0}
	good = append(good, 2, 0, 0, 0, 1, 2, 'h', 0, 0, 0, 9, 0, 1, 0, 1, 'x') // a broker without rack and with a tag
	good = append(good, 0, 0, 0, 0, 1)
	good = append(append(good, 2, 0, 0, 2, 't'), "0123456789abcdef"...)
	e := &topicIDExchange{topic: "t"}
	if err := e.parse(append(good, 1, 1, 0, 0), 7); err != nil || string(e.id[:]) != "0123456789abcdef" || e.code != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	for n := range good {
		e := &topicIDExchange{topic: "t"}
		if err := e.parse(good[:n], 7); err == nil {
			t.Errorf("an answer of %d of %d bytes is taken", n, len(good))
		}
	}
	if err := (&topicIDExchange{topic: "t"}).parse(good, 8); err == nil {
		t.Error("the answer to another request is taken")
	}
	if err := (&topicIDExchange{topic: "u"}).parse(good, 7); err == nil {
		t.Error("the answer about another topic is taken")
	}
}
