package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	// fetchVersion is the newest that kafka-go knows; Kafka 2.3 and later speak it.
	fetchVersion = 11
	// maxFrame bounds an answer. A broker returns at least one whole batch whatever the limits asked for.
	maxFrame = 128 << 20
)

// rawFetch is a fetch request that hands over the answer as it came. kafka-go's own decodes records with an allocation
// each and drops what gaps and aborted transactions need; this one borrows the broker connection for one exchange. After
// an error it is not used again: an exchange that was given up may go on until its deadline.
type rawFetch struct {
	broker          int32
	clientID, topic string
	partitions      []fetchPartition
	maxBytes        int32
	maxWait         time.Duration // for which the broker may hold an answer back for want of records
	frame           []byte        // scratch before, the answer's body after

	version int16
	request []byte
	head    [8]byte
	done    chan struct{} // receives one value when the exchange no longer touches frame
}

// fetchPartition is what is asked of a partition.
type fetchPartition struct {
	id       int32
	offset   int64
	maxBytes int32
}

func newRawFetch(broker int32, clientID, topic string) *rawFetch {
	return &rawFetch{broker: broker, clientID: clientID, topic: topic, done: make(chan struct{}, 1)}
}

var correlation atomic.Int32

// ApiKey implements protocol.Message.
func (r *rawFetch) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // the interface spells it so

// Broker implements protocol.BrokerMessage.
func (r *rawFetch) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	if b, ok := cluster.Brokers[r.broker]; ok {
		return b, nil
	}
	return protocol.Broker{ID: -1}, kafka.BrokerNotAvailable
}

// Required implements protocol.RawExchanger.
func (r *rawFetch) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Fetch]
	return true
}

// RawExchange implements protocol.RawExchanger. Whatever error it returns makes the transport drop the connection.
func (r *rawFetch) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	defer func() { r.done <- struct{}{} }()
	if r.version != fetchVersion {
		return nil, fmt.Errorf("broker speaks fetch version %d, %d is needed (Kafka 2.3 or later)", r.version, fetchVersion)
	}
	id := correlation.Add(1)
	r.request = r.appendRequest(r.request[:0], id)
	if _, err := rw.Write(r.request); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(rw, r.head[:]); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(r.head[:])) - 4
	if got := int32(binary.BigEndian.Uint32(r.head[4:])); got != id {
		return nil, fmt.Errorf("answer to request %d where %d was sent", got, id)
	}
	if size < 0 || size > maxFrame {
		return nil, fmt.Errorf("answer of %d bytes: at most %d are read", size, maxFrame)
	}
	if int64(cap(r.frame)) < size {
		r.frame = make([]byte, size, size+size/8) // the next answer may be a little larger
	}
	r.frame = r.frame[:size]
	_, err := io.ReadFull(rw, r.frame)
	return r, err
}

// appendRequest appends the request, version 11:
//
//	size i32, api key i16, version i16, correlation id i32, client id string16, replica -1 i32, max wait i32 (ms),
//	min bytes i32, max bytes i32, isolation level i8, session id i32, session epoch i32,
//	topics [name string16, partitions [id i32, leader epoch i32, offset i64, log start i64, max bytes i32]],
//	forgotten topics [], rack string16
func (r *rawFetch) appendRequest(to []byte, correlation int32) []byte {
	const none = math.MaxUint32 // -1
	be := binary.BigEndian
	to = be.AppendUint32(to, 0) // size
	to = be.AppendUint16(to, uint16(protocol.Fetch))
	to = be.AppendUint16(to, fetchVersion)
	to = be.AppendUint32(to, uint32(correlation))
	to = append(be.AppendUint16(to, uint16(len(r.clientID))), r.clientID...)
	to = be.AppendUint32(to, none)
	to = be.AppendUint32(to, uint32(r.maxWait.Milliseconds()))
	to = be.AppendUint32(to, 1)
	to = be.AppendUint32(to, uint32(r.maxBytes))
	to = append(to, readCommitted)
	to = be.AppendUint32(to, 0)
	to = be.AppendUint32(to, none)
	to = be.AppendUint32(to, 1)
	to = append(be.AppendUint16(to, uint16(len(r.topic))), r.topic...)
	to = be.AppendUint32(to, uint32(len(r.partitions)))
	for _, p := range r.partitions {
		to = be.AppendUint32(to, uint32(p.id))
		to = be.AppendUint32(to, none)
		to = be.AppendUint64(to, uint64(p.offset))
		to = be.AppendUint64(to, math.MaxUint64)
		to = be.AppendUint32(to, uint32(p.maxBytes))
	}
	to = be.AppendUint32(to, 0)
	to = be.AppendUint16(to, 0)
	be.PutUint32(to, uint32(len(to)-4))
	return to
}

// do sends the request and waits for the answer as roundTrip does, until grace after the time that the broker was asked
// to wait.
func (r *rawFetch) do(ctx context.Context, t *kafka.Transport, addr net.Addr, grace time.Duration) (frame []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.maxWait+grace)
	defer cancel()
	return r.roundTrip(ctx, t, addr)
}

// roundTrip sends the request and waits for the answer until ctx ends. It returns the answer's body. After an error it
// returns scratch for the next request, or nil where the exchange may still write to the frame.
func (r *rawFetch) roundTrip(ctx context.Context, t *kafka.Transport, addr net.Addr) (frame []byte, err error) {
	if _, err := t.RoundTrip(ctx, addr, r); err != nil {
		select {
		case <-r.done:
			return r.frame, err
		default:
			return nil, err
		}
	}
	<-r.done
	return r.frame, nil
}

// deadline makes the contexts of one request after another. Most share one, so that a request needs no timer of its own.
type deadline struct {
	ctx    context.Context
	cancel context.CancelFunc
	end    time.Time
}

// after returns a context of parent that ends after d, or up to an eighth later.
func (l *deadline) after(parent context.Context, d time.Duration) context.Context {
	if now := time.Now(); l.ctx == nil || l.end.Sub(now) < d {
		l.close()
		l.end = now.Add(d + d/8)
		l.ctx, l.cancel = context.WithDeadline(parent, l.end)
	}
	return l.ctx
}

// close frees the last context.
func (l *deadline) close() {
	if l.cancel != nil {
		l.cancel()
	}
	l.ctx, l.cancel = nil, nil
}

// section is one partition's part of a fetch answer.
type section struct {
	partition       int32
	err             error
	logStart        int64
	lastStable, end int64
	aborted         []abortedTxn
	records         []byte
}

var errTruncated = errors.New("fetch answer ends too early")

// parseAnswer goes over the body of a fetch answer, version 11, and calls each for every partition's section:
//
//	throttle i32 (ms), error i16, session i32, topics [name string16, partitions [id i32, error i16, high watermark i64,
//	last stable offset i64, log start i64, aborted [producer i64, first offset i64], preferred replica i32,
//	records bytes32]]
func parseAnswer(frame []byte, each func(section)) (throttle time.Duration, err error) {
	c := cursor{data: frame}
	throttle = time.Duration(max(c.int32(), 0)) * time.Millisecond
	if code := c.int16(); code != 0 {
		return throttle, kafka.Error(code)
	}
	c.int32()
	for topics := c.int32(); topics > 0 && !c.failed; topics-- {
		c.bytes(int(c.int16()))
		for partitions := c.int32(); partitions > 0 && !c.failed; partitions-- {
			s := section{partition: c.int32()}
			if code := c.int16(); code != 0 {
				s.err = kafka.Error(code)
			}
			s.end, s.lastStable, s.logStart = c.int64(), c.int64(), c.int64()
			for n := c.int32(); n > 0 && !c.failed; n-- {
				s.aborted = append(s.aborted, abortedTxn{producer: c.int64(), first: c.int64()})
			}
			c.int32()
			if n := c.int32(); n > 0 {
				s.records = c.bytes(int(n))
			}
			if !c.failed {
				each(s)
			}
		}
	}
	if c.failed {
		return throttle, errTruncated
	}
	return throttle, nil
}

// cursor reads big endian numbers and remembers when data ran out.
type cursor struct {
	data   []byte
	failed bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.data) {
		c.data, c.failed = nil, true
		return nil
	}
	b := c.data[:n:n]
	c.data = c.data[n:]
	return b
}

func (c *cursor) int16() int16 {
	if b := c.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if b := c.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}
