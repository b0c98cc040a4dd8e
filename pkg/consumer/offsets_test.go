package consumer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
)

// transactional returns a producer with an open transaction.
func transactional(t *testing.T, b *broker.Broker) *kgo.Client {
	t.Helper()
	p, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID("open"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEndsAndOffsetsAt(t *testing.T) {
	b := startCluster(t, broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.SeedTopics(3, "train")}})
	c := connect(t, b, Config{Topics: []string{"train"}})
	ctx := limit(t, 10*time.Second)
	at := func(second int64) time.Time { return time.Unix(1_700_000_000+second, 0) }
	// Partition 0: 10 records, the first 3 deleted. 1: 2 committed records, then 3 in an open transaction. 2: empty.
	records := make([]kafka.Record, 0, 10)
	for i := range int64(10) {
		records = append(records, kafka.Record{Time: at(i), Value: kafka.NewBytes([]byte("r"))})
	}
	for partition, n := range map[int]int{0: 10, 1: 2} {
		r, err := c.Kafka().Produce(ctx, &kafka.ProduceRequest{
			Topic: "train", Partition: partition, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records[:n]...),
		})
		if err != nil || r.Error != nil {
			t.Fatal(err, r)
		}
	}
	p := transactional(t, b)
	for i := range int64(3) {
		if err := p.ProduceSync(ctx, &kgo.Record{Topic: "train", Partition: 1, Timestamp: at(2 + i), Value: []byte("t")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	deletion := kmsg.NewDeleteRecordsRequestTopic()
	deletion.Topic, deletion.Partitions = "train", []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 3}}
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.Topics = append(request.Topics, deletion)
	if _, err := request.RequestWith(ctx, p); err != nil {
		t.Fatal(err)
	}

	all := []int32{0, 1, 2}
	ends, err := c.Ends(ctx, "train", all)
	if err != nil {
		t.Fatal(err)
	}
	for partition, want := range map[int32]Offsets{0: {3, 10, 10}, 1: {0, 2, 5}, 2: {0, 0, 0}} {
		if ends[partition] != want {
			t.Errorf("partition %d: %+v, want %+v", partition, ends[partition], want)
		}
	}
	for _, test := range []struct {
		name string
		give time.Time
		want [3]int64
	}{
		{"before all", time.Unix(-5, 0), [3]int64{3, 0, 0}},
		{"in the middle, exactly", at(5), [3]int64{5, 2, 0}},
		{"in the middle, between", at(4).Add(time.Millisecond), [3]int64{5, 2, 0}},
		{"the second record", at(1), [3]int64{3, 1, 0}},
		{"after all", at(100), [3]int64{10, 2, 0}},
	} {
		got, err := c.OffsetsAt(ctx, "train", all, test.give)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		for partition, want := range test.want {
			if got[int32(partition)] != want {
				t.Errorf("%s: partition %d: offset %d, want %d", test.name, partition, got[int32(partition)], want)
			}
		}
	}
}

func TestEndsTellsWhatItKnows(t *testing.T) {
	b := startCluster(t, broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.SeedTopics(6, "train")}})
	c := connect(t, b, Config{Topics: []string{"train"}})
	requests := 0
	b.Fake.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		requests++
		return nil, nil, false
	})
	all := []int32{0, 1, 2, 3, 4, 5}
	if ends, err := c.Ends(limit(t, 10*time.Second), "train", all); err != nil || len(ends) != 6 {
		t.Fatal(ends, err)
	}
	if requests > 9 {
		t.Errorf("%d requests for 3 questions to at most 3 leaders", requests)
	}
	b.Fake.Fault(kfake.Fault{Count: -1, Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "train", Partitions: []int32{4}, Err: kerr.NotLeaderForPartition})
	ends, err := c.Ends(limit(t, 10*time.Second), "train", append(all, 9))
	if len(ends) != 5 {
		t.Errorf("%d partitions, want 5: %v", len(ends), ends)
	}
	if _, ok := ends[4]; ok || !errors.Is(err, kafka.NotLeaderForPartition) || !errors.Is(err, kafka.UnknownTopicOrPartition) ||
		!strings.Contains(err.Error(), "train/4") || !strings.Contains(err.Error(), "train/9") {
		t.Errorf("error %v", err)
	}
	if at, err := c.OffsetsAt(limit(t, 10*time.Second), "train", all, time.Now()); len(at) != 5 || !errors.Is(err, kafka.NotLeaderForPartition) {
		t.Errorf("%v, %v", at, err)
	}
}
