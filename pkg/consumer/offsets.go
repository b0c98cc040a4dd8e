package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// Offsets are the borders of one partition's log.
type Offsets struct {
	First      int64 // the oldest that retention has left
	LastStable int64 // where a reader of committed records has to stop: nothing before belongs to an open transaction
	End        int64 // the high watermark: one more than the newest offset on all in-sync replicas
}

// Isolation levels of a ListOffsets request (KIP-98).
const (
	readUncommitted = 0
	readCommitted   = 1
)

// question is what ListOffsets is asked about every partition.
type question struct {
	timestamp int64 // milliseconds, or one of kafka.FirstOffset and kafka.LastOffset
	isolation int8
}

// Ends returns the borders of partitions as their leaders tell them now. Partitions that could not be asked are missing
// from the map, and the error says why for each.
func (c *Client) Ends(ctx context.Context, topic string, partitions []int32) (map[int32]Offsets, error) {
	// The order keeps First <= LastStable <= End while the log moves on.
	answers, err := c.listOffsets(ctx, topic, partitions, []question{
		{kafka.FirstOffset, readUncommitted},
		{kafka.LastOffset, readCommitted},
		{kafka.LastOffset, readUncommitted},
	})
	ends := make(map[int32]Offsets, len(answers))
	for p, a := range answers {
		ends[p] = Offsets{First: a[0], LastStable: a[1], End: a[2]}
	}
	return ends, err
}

// OffsetsAt returns, for each partition, the first offset whose timestamp is t or later, or its last stable offset if
// there is none. Partitions that could not be asked are missing from the map, and the error says why for each.
func (c *Client) OffsetsAt(ctx context.Context, topic string, partitions []int32, t time.Time) (map[int32]int64, error) {
	// The end is asked for first: a record that arrives between the two questions is not jumped over.
	answers, err := c.listOffsets(ctx, topic, partitions, []question{
		{kafka.LastOffset, readCommitted},
		{max(t.UnixMilli(), 0), readCommitted}, // negative numbers mean something else
	})
	offsets := make(map[int32]int64, len(answers))
	for p, a := range answers {
		if offsets[p] = a[1]; a[1] < 0 {
			offsets[p] = a[0]
		}
	}
	return offsets, err
}

// listOffsets asks the partitions' leaders all questions, in order. A partition is in the answer when every question
// was answered.
func (c *Client) listOffsets(ctx context.Context, topic string, partitions []int32, questions []question) (map[int32][]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	found, err := c.topic(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: look up its partitions: %w", topic, err)
	}
	faults := make(map[int32]error)
	for _, p := range partitions {
		faults[p] = kafka.UnknownTopicOrPartition
	}
	byLeader := make(map[int32][]int32)
	for _, p := range found.Partitions {
		if _, wanted := faults[p.PartitionIndex]; !wanted {
			continue
		}
		if faults[p.PartitionIndex] = nil; p.LeaderID < 0 {
			faults[p.PartitionIndex] = kafka.LeaderNotAvailable
			continue
		}
		byLeader[p.LeaderID] = append(byLeader[p.LeaderID], p.PartitionIndex)
	}
	answers := make(map[int32][]int64, len(partitions))
	var mu sync.Mutex // guards answers and faults
	var wg sync.WaitGroup
	for leader, led := range byLeader {
		wg.Go(func() {
			for _, q := range questions {
				response, err := c.askOffsets(ctx, leader, topic, led, q)
				mu.Lock()
				for _, p := range led {
					switch r, ok := response[p]; {
					case faults[p] != nil:
					case err != nil:
						faults[p] = err
					case !ok:
						faults[p] = kafka.UnknownTopicOrPartition
					case r.ErrorCode != 0:
						faults[p] = kafka.Error(r.ErrorCode)
					default:
						answers[p] = append(answers[p], r.Offset)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var errs []error
	for _, p := range partitions {
		if err := faults[p]; err != nil {
			delete(answers, p)
			errs = append(errs, fmt.Errorf("list offsets of %s/%d: %w", topic, p, err))
		}
	}
	return answers, errors.Join(errs...)
}

// askOffsets asks one leader one question about the partitions that it leads, in one request.
func (c *Client) askOffsets(ctx context.Context, leader int32, topic string, partitions []int32, q question) (map[int32]listoffsets.ResponsePartition, error) {
	request := listoffsets.RequestTopic{Topic: topic}
	for _, p := range partitions {
		request.Partitions = append(request.Partitions, listoffsets.RequestPartition{
			Partition: p, CurrentLeaderEpoch: -1, Timestamp: q.timestamp,
		})
	}
	m, err := c.askBroker(ctx, leader, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: q.isolation, Topics: []listoffsets.RequestTopic{request},
	})
	if err != nil {
		return nil, err
	}
	response := make(map[int32]listoffsets.ResponsePartition, len(partitions))
	for _, t := range m.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			response[p.Partition] = p
		}
	}
	return response, nil
}
