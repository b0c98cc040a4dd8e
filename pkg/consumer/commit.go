package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// Commit is what a group has committed for a partition.
type Commit struct {
	Offset   int64 // the one to read next
	Metadata string
}

// Outsider is the generation of a commit from outside of the group. The coordinator takes it only while the group has
// no members, and refuses it with ErrFenced otherwise.
var Outsider = Generation{ID: -1}

// ErrFenced is in the error of a commit that the coordinator refused because of the generation that it was made in: the
// group went on without the member, is in the middle of a rebalance, or another process carries the instance id. The
// error wraps the coordinator's answer too, which tells which it is: kafka.IllegalGeneration (22), kafka.UnknownMemberId
// (25), kafka.RebalanceInProgress (27), or kafka.FencedInstanceID (82).
var ErrFenced = errors.New("the commit is not of the group's generation")

// fencing are the answers that mean ErrFenced.
var fencing = []kafka.Error{
	kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.RebalanceInProgress, kafka.FencedInstanceID,
}

// Commits returns what the group has committed for partitions of topic; a partition without a commit is missing from the
// map. Whatever keeps the coordinator from telling all of them is an error and leaves no map: an error is never taken
// for "none". Offsets that a transaction has yet to commit are left out of account: the coordinator tells the last ones
// before it (asking it to wait takes OffsetFetch version 7, KIP-447, which kafka-go does not speak).
//
// It asks once. The coordinator is looked up for each question, so asking again finds one that has moved.
func (c *Client) Commits(ctx context.Context, group, topic string, partitions []int32) (map[int32]Commit, error) {
	commits, err := c.commits(ctx, group, topic, partitions)
	if err != nil {
		return nil, fmt.Errorf("read the commits of group %s: %w", group, err)
	}
	return commits, nil
}

func (c *Client) commits(ctx context.Context, group, topic string, partitions []int32) (map[int32]Commit, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := c.askGroup(ctx, group, &offsetfetch.Request{
		GroupID: group, Topics: []offsetfetch.RequestTopic{{Name: topic, PartitionIndexes: partitions}},
	})
	if err != nil {
		return nil, err
	}
	r := m.(*offsetfetch.Response)
	switch code := kafka.Error(r.ErrorCode); code {
	case 0:
	case kafka.GroupIdNotFound: // an answer: a group that does not exist has no commits
		return map[int32]Commit{}, nil
	default:
		return nil, code
	}
	codes := make(map[int32]int16, len(partitions))
	commits := make(map[int32]Commit, len(partitions))
	for _, t := range r.Topics {
		if t.Name != topic {
			continue
		}
		for _, p := range t.Partitions {
			codes[p.PartitionIndex] = p.ErrorCode
			if p.CommittedOffset >= 0 { // -1: none
				commits[p.PartitionIndex] = Commit{Offset: p.CommittedOffset, Metadata: p.Metadata}
			}
		}
	}
	if err := answered(topic, partitions, codes); err != nil {
		return nil, err
	}
	return commits, nil
}

// Commit commits the offsets to read next, one for each partition of topic that is named, all with the same metadata,
// in generation g of the group. It returns nil when the coordinator has taken all of them; after an error it may have
// taken some or all, if the error is not ErrFenced.
//
// It asks once, and three kinds of errors want three answers: after ErrFenced the same generation will not be accepted
// any more; one whose [Kind] is "auth" wants a permission; any other may pass, and since a repetition in the same
// generation does no harm, also where an answer was lost, the caller repeats it. The coordinator is looked up each time,
// so a repetition finds one that has moved.
func (c *Client) Commit(ctx context.Context, group string, g Generation, topic string, offsets map[int32]int64, metadata string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request := offsetcommit.RequestTopic{Name: topic}
	partitions := slices.Sorted(maps.Keys(offsets))
	for _, p := range partitions {
		request.Partitions = append(request.Partitions, offsetcommit.RequestPartition{
			PartitionIndex: p, CommittedOffset: offsets[p], CommittedLeaderEpoch: -1, CommittedMetadata: metadata,
		})
	}
	m, err := c.askGroup(ctx, group, &offsetcommit.Request{
		GroupID: group, GenerationID: g.ID, MemberID: g.Member, GroupInstanceID: g.Instance,
		RetentionTimeMs: -1, Topics: []offsetcommit.RequestTopic{request},
	})
	if err == nil {
		codes := make(map[int32]int16, len(partitions))
		for _, t := range m.(*offsetcommit.Response).Topics {
			for _, p := range t.Partitions {
				if t.Name == topic {
					codes[p.PartitionIndex] = p.ErrorCode
				}
			}
		}
		err = answered(topic, partitions, codes)
	}
	switch {
	case err == nil:
		return nil
	case slices.ContainsFunc(fencing, func(code kafka.Error) bool { return errors.Is(err, code) }):
		return fmt.Errorf("commit offsets of group %s: %w: %w", group, ErrFenced, err)
	}
	return fmt.Errorf("commit offsets of group %s: %w", group, err)
}

// answered returns what a coordinator's codes for partitions say, nil if it said for each of them that all is well.
func answered(topic string, partitions []int32, codes map[int32]int16) error {
	byCode := make(map[kafka.Error][]int32)
	for _, p := range partitions {
		code, told := codes[p]
		if !told {
			code = int16(kafka.Unknown)
		}
		if code != 0 {
			byCode[kafka.Error(code)] = append(byCode[kafka.Error(code)], p)
		}
	}
	errs := make([]error, 0, len(byCode))
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		errs = append(errs, fmt.Errorf("partitions %v of topic %s: %w", byCode[code], topic, code))
	}
	return errors.Join(errs...)
}

// States of a group in which it has no members, as Group.State has them.
const (
	groupEmpty = "Empty" // it has commits
	groupDead  = "Dead"  // nothing is known of it
)

// Group says how a group stands.
type Group struct {
	State   string // as the coordinator names it, such as Stable
	Members []GroupMember
}

// GroupMember is one member of a group.
type GroupMember struct {
	ID, Instance   string // Instance is empty for a dynamic member
	ClientID, Host string // what it calls itself, and its address
}

// Active reports whether the group has members or is about to: commits from outside are refused then.
func (g Group) Active() bool {
	return g.State != groupEmpty && g.State != groupDead || len(g.Members) > 0
}

// Group asks the coordinator how the group stands. A group that does not exist is in state "Dead".
func (c *Client) Group(ctx context.Context, group string) (Group, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := c.askGroup(ctx, group, &describegroups.Request{Groups: []string{group}})
	if err != nil {
		return Group{}, fmt.Errorf("describe group %s: %w", group, err)
	}
	for _, r := range m.(*describegroups.Response).Groups {
		if r.GroupID != group {
			continue
		}
		if r.ErrorCode != 0 {
			return Group{}, fmt.Errorf("describe group %s: %w", group, kafka.Error(r.ErrorCode))
		}
		g := Group{State: r.GroupState}
		for _, member := range r.Members {
			g.Members = append(g.Members, GroupMember{
				ID: member.MemberID, Instance: member.GroupInstanceID, ClientID: member.ClientID, Host: member.ClientHost,
			})
		}
		return g, nil
	}
	return Group{}, fmt.Errorf("describe group %s: %w", group, kafka.Unknown)
}
