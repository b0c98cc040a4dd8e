package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"learner/internal/broker"
	"learner/pkg/consumer"
	"learner/pkg/producer"
	"learner/pkg/susy"
)

// cluster is what is read from: an embedded one, in a process of its own, or one that is there already.
type cluster struct {
	addrs  []string
	filled []*topic // that are there
	stop   func()   // nil: it was there before, and stays
}

// serveBroker runs an embedded cluster until standard input ends.
func serveBroker(brokers int) error {
	b, err := broker.Start(broker.Options{Brokers: brokers})
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println(strings.Join(b.Addrs(), ","))
	_, err = os.Stdin.Read(make([]byte, 1))
	_ = err // the parent has gone, however it did
	return nil
}

// startCluster starts an embedded cluster.
func startCluster(ctx context.Context, brokers int) (*cluster, error) {
	self := exec.CommandContext(ctx, os.Args[0], "-broker", fmt.Sprint(brokers))
	self.Stderr = os.Stderr
	in, err := self.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := self.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := self.Start(); err != nil {
		return nil, err
	}
	stop := func() { _ = in.Close(); _ = self.Wait() } // it ends with its standard input
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	return &cluster{addrs: strings.Split(strings.TrimSpace(line), ","), stop: stop}, nil
}

func newClient(addrs []string, topics ...string) *consumer.Client {
	return consumer.NewClient(consumer.Config{Brokers: addrs, ClientID: "bench", Topics: topics})
}

// close leaves the cluster as it was found.
func (c *cluster) close(ctx context.Context) error {
	if c.stop == nil {
		return c.remove(context.WithoutCancel(ctx), slices.Clone(c.filled)...)
	}
	c.stop()
	return nil
}

// rows are records, one behind the other.
type rows struct {
	text []byte
	ends []int
}

// rowBytes is a little more than a row has on average.
const rowBytes = 480

// newRows returns the first n events of a generator in a format.
func newRows(format string, n int) *rows {
	r := &rows{text: make([]byte, 0, n*rowBytes), ends: make([]int, 1, n+1)}
	events := susy.NewGenerator(1)
	var x [susy.Features]float64
	for range n {
		r.text = appendRow(r.text, format, events.Next(&x), &x)
		r.ends = append(r.ends, len(r.text))
	}
	return r
}

func (r *rows) len() int        { return len(r.ends) - 1 }
func (r *rows) at(i int) []byte { return r.text[r.ends[i]:r.ends[i+1]] }

// topic is a topic of rows.
type topic struct {
	name       string
	codec      string
	partitions int
	records    int
	// place says to which partition the record goes, with which key, and how much later than it is sent its stamp is; nil:
	// to each partition in turn, without a key, stamped as it is sent.
	place func(i int, row []byte) (partition int, key []byte, later time.Duration)
}

// newTests returns a test topic.
func newTests(rows *rows) *topic {
	return &topic{name: "test", codec: "lz4", partitions: 1, records: min(evalRecords, rows.len())}
}

// byLabel places records as the usual clients do where the label is the key.
func byLabel(partitions int) func(int, []byte) (int, []byte, time.Duration) {
	all := make([]int, partitions)
	for p := range all {
		all[p] = p
	}
	return func(_ int, row []byte) (int, []byte, time.Duration) {
		key := row[:1]
		return kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, all...), key, 0
	}
}

// fill creates the topic, under a name that no other run has, and writes its rows.
func (c *cluster) fill(ctx context.Context, t *topic, rows *rows) error {
	t.name = fmt.Sprintf("bench-%d-%d-%s", os.Getpid(), len(c.filled), t.name)
	client := newClient(c.addrs, t.name)
	_, err := producer.EnsureTopic(ctx, client.Kafka(), t.name, t.partitions, 1, nil)
	client.Close()
	if err != nil {
		return err
	}
	c.filled = append(c.filled, t)
	return c.send(ctx, t, rows, t.records)
}

// send writes the first n rows to the topic.
func (c *cluster) send(ctx context.Context, t *topic, rows *rows, n int) error {
	client := newClient(c.addrs, t.name)
	defer client.Close()
	p, err := producer.New(ctx, client.Kafka(), producer.Config{Topic: t.name, Compression: t.codec})
	if err != nil {
		return err
	}
	for i := range n {
		row := rows.at(i)
		partition, key, later := i%t.partitions, []byte(nil), time.Duration(0)
		if t.place != nil {
			partition, key, later = t.place(i, row)
		}
		if err := p.Send(ctx, int32(partition), time.Now().Add(later), key, row); err != nil {
			return errors.Join(err, p.Close(ctx))
		}
	}
	return p.Close(ctx)
}

// remove deletes topics.
func (c *cluster) remove(ctx context.Context, topics ...*topic) error {
	if len(topics) == 0 {
		return nil
	}
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.name
	}
	c.filled = slices.DeleteFunc(c.filled, func(t *topic) bool { return slices.Contains(topics, t) })
	client := newClient(c.addrs, names...)
	defer client.Close()
	_, err := client.Kafka().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: names})
	return err
}
