// Package producer writes records to a Kafka topic: in batches, compressed, several partitions at a time, each record
// once.
//
// It is an idempotent producer (KIP-98): every batch carries the producer's id and a sequence number, and is sent
// again, unchanged, until the brokers have it, so that a lost answer or a new leader costs time and neither loses
// nor doubles a record. Encoder and retries are this package's own: kafka-go's Writer writes without an id.
//
//	goroutine                 started and waited for by  ends when                 it alone touches
//	sender, one a partition   New, Close                 closed, or a failure      the batch in flight, the sequence
package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

// Config says what to write to and how. Zero values stand for the defaults.
type Config struct {
	Topic       string
	Compression string        // none, gzip, snappy, lz4, or zstd; default lz4
	BatchBytes  int           // most bytes of a batch, uncompressed; a larger record goes alone; default and most 1,000,000
	Linger      time.Duration // how long a record may wait for others to share its batch; default 20 ms
	Timeout     time.Duration // how long a batch is tried before the producer gives up; default 2 min

	// OnRetry, if not nil, is told of each try that came to nothing and will be repeated. It is called by several
	// goroutines.
	OnRetry func(partition int32, err error)
}

// maxBatchBytes keeps a batch below the brokers' default of message.max.bytes, 1,048,588.
const maxBatchBytes = 1_000_000

// Producer writes to one topic. Its methods may be called by several goroutines.
type Producer struct {
	client *kafka.Client
	cfg    Config
	codec  compress.Codec // nil: none
	id     int64
	epoch  int16

	ctx     context.Context // ends the requests; done after a failure or a Close that could not wait
	cancel  context.CancelFunc
	senders sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed *sync.Cond // a batch became ready or was acknowledged, the producer failed, or it was closed
	parts   []partition
	err     error // the first failure
	closed  bool
}

// partition is the queue of one partition: one batch that fills, besides the one that its sender has.
type partition struct {
	fill     *batch
	ready    bool // fill is to be sent as it is
	linger   *time.Timer
	accepted int64 // records taken by Send
	acked    int64 // records that the brokers have
}

// ErrClosed comes from Send after Close.
var ErrClosed = errors.New("producer is closed")

// New looks the topic up, asks for a producer id, and starts the senders. The topic has to exist: see [EnsureTopic].
func New(ctx context.Context, client *kafka.Client, cfg Config) (*Producer, error) {
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = maxBatchBytes
	}
	if cfg.BatchBytes < 0 || cfg.BatchBytes > maxBatchBytes {
		return nil, fmt.Errorf("batches of %d bytes: want 1 to %d", cfg.BatchBytes, maxBatchBytes)
	}
	if cfg.Linger == 0 {
		cfg.Linger = 20 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	if cfg.Compression == "" {
		cfg.Compression = "lz4"
	}
	var compression kafka.Compression
	if err := compression.UnmarshalText([]byte(cfg.Compression)); err != nil {
		return nil, err
	}

	p := &Producer{client: withTimeout(client), cfg: cfg, codec: compression.Codec()}
	p.changed = sync.NewCond(&p.mu)
	count, err := Partitions(ctx, client, cfg.Topic)
	if err != nil {
		return nil, err
	}
	if err := p.init(ctx); err != nil {
		return nil, fmt.Errorf("get a producer id: %w", err)
	}

	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.parts = make([]partition, count)
	for i := range p.parts {
		part := &p.parts[i]
		part.fill = new(batch)
		part.linger = time.AfterFunc(cfg.Linger, func() { p.expire(part) })
		part.linger.Stop()
		p.senders.Go(func() { p.send(int32(i)) })
	}
	return p, nil
}

// withTimeout returns client with the time limit of one request.
func withTimeout(client *kafka.Client) *kafka.Client {
	limited := *client
	limited.Timeout = requestTimeout // kafka-go gives the broker half of it
	return &limited
}

// init gets the producer id.
func (p *Producer) init(ctx context.Context) error {
	_, err := retry(ctx, startTimeout, nil, func() error {
		answer, err := p.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1})
		if err != nil {
			return err
		}
		p.id, p.epoch = int64(answer.Producer.ProducerID), int16(answer.Producer.ProducerEpoch)
		return answer.Error
	})
	return err
}

// Partitions returns how many partitions the topic had when New looked.
func (p *Producer) Partitions() int { return len(p.parts) }

// Send hands a record over; a nil key or value is null. Its time is kept to the millisecond. Send copies key and
// value, and waits where two batches of the partition are full: one that is sent and one that fills.
//
// The error is that of ctx, or the first failure of any partition, after which nothing more is sent. That a record
// was written is known after Flush.
func (p *Producer) Send(ctx context.Context, partition int32, timestamp time.Time, key, value []byte) error {
	return p.SendWithHeaders(ctx, partition, timestamp, key, value, nil)
}

// SendWithHeaders is Send for a record with headers, which it copies as well; a nil value of one is null.
func (p *Producer) SendWithHeaders(
	ctx context.Context, partition int32, timestamp time.Time, key, value []byte, headers []kafka.Header,
) error {
	if partition < 0 || int(partition) >= len(p.parts) {
		return fmt.Errorf("send to %s/%d: the topic has %d partitions", p.cfg.Topic, partition, len(p.parts))
	}
	ms := timestamp.UnixMilli()
	part := &p.parts[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.err != nil:
			return p.err
		case p.closed:
			return ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if part.fill.count == 0 || part.fill.sizeWith(ms, key, value, headers...) <= p.cfg.BatchBytes {
			break
		}
		p.makeReady(part)
		p.wait(ctx)
	}
	if part.fill.count == 0 {
		part.linger.Reset(p.cfg.Linger)
	}
	part.fill.add(ms, key, value, headers...)
	part.accepted++
	return nil
}

// Flush ends the batches as they are and waits until the brokers have every record that was handed over before.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flush(ctx)
}

// flush is Flush with the lock held.
func (p *Producer) flush(ctx context.Context) error {
	want := make([]int64, len(p.parts))
	for i := range p.parts {
		part := &p.parts[i]
		want[i] = part.accepted
		if part.fill.count > 0 {
			p.makeReady(part)
		}
	}
	for i := range p.parts {
		for p.parts[i].acked < want[i] {
			switch {
			case p.err != nil:
				return p.err
			case ctx.Err() != nil:
				return ctx.Err()
			}
			p.wait(ctx)
		}
	}
	return p.err
}

// Close flushes and stops the senders. When ctx ends first, requests in flight are given up: their records may or
// may not be written, and are not counted as acknowledged.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	err := p.flush(ctx)
	p.mu.Unlock()
	p.cancel()
	p.senders.Wait()
	for i := range p.parts {
		p.parts[i].linger.Stop()
	}
	return err
}

// Acked returns how many records of each partition the brokers have acknowledged.
func (p *Producer) Acked() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	acked := make([]int64, len(p.parts))
	for i := range p.parts {
		acked[i] = p.parts[i].acked
	}
	return acked
}

// makeReady hands the batch that fills to its sender. It is called with the lock held.
func (p *Producer) makeReady(part *partition) {
	if !part.ready {
		part.ready = true
		p.changed.Broadcast()
	}
}

// expire is called when the first record of a batch has waited long enough.
func (p *Producer) expire(part *partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if part.fill.count > 0 {
		p.makeReady(part)
	}
}

// wait waits for a change, or the end of ctx. It is called with the lock held.
func (p *Producer) wait(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	p.changed.Wait()
}

// send is the sender of one partition.
func (p *Producer) send(index int32) {
	from := identity{id: p.id, epoch: p.epoch}
	spare := new(batch)
	for {
		full := p.take(index, spare)
		if full == nil {
			return
		}
		tries, err := p.deliver(index, full, from)
		if !p.settle(index, full, err) {
			return
		}
		from.sequence = nextSequence(from.sequence, full.count)
		if spare = full; tries > 1 {
			spare = new(batch) // an exchange that was given up may still read the batch
		}
		spare.reset()
	}
}

// take waits for the partition's next batch and puts spare into its place. It returns nil when there will be none.
func (p *Producer) take(index int32, spare *batch) *batch {
	part := &p.parts[index]
	p.mu.Lock()
	defer p.mu.Unlock()
	for !part.ready && !p.closed && p.err == nil {
		p.changed.Wait()
	}
	if !part.ready || p.err != nil {
		return nil
	}
	full := part.fill
	part.fill, part.ready = spare, false
	part.linger.Stop()
	p.changed.Broadcast() // there is room again
	return full
}

// deliver sends the batch until the brokers have it and returns how often it was sent.
func (p *Producer) deliver(index int32, full *batch, from identity) (tries int, err error) {
	set, err := full.seal(p.codec, from)
	if err != nil {
		return 0, err
	}
	var onRetry func(error)
	if p.cfg.OnRetry != nil {
		onRetry = func(err error) { p.cfg.OnRetry(index, err) }
	}
	return retry(p.ctx, p.cfg.Timeout, onRetry, func() error {
		answer, err := p.client.RawProduce(p.ctx, &kafka.RawProduceRequest{
			Topic:        p.cfg.Topic,
			Partition:    int(index),
			RequiredAcks: kafka.RequireAll,
			RawRecords:   protocol.RawRecordSet{Reader: bytes.NewReader(set)},
		})
		switch {
		case err != nil:
			return err
		case errors.Is(answer.Error, kafka.DuplicateSequenceNumber):
			return nil // an earlier try was written, and its answer lost
		}
		return answer.Error
	})
}

// settle records what became of the batch and says whether the sender goes on.
func (p *Producer) settle(index int32, full *batch, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.parts[index].acked += int64(full.count)
	case p.err == nil:
		p.err = fmt.Errorf("write to %s/%d: %w", p.cfg.Topic, index, err)
		p.cancel()
	}
	p.changed.Broadcast()
	return err == nil
}
