package consumer

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// protocolName names the way in which partitions are assigned. It never changes: members that share no protocol cannot
// be in one group, and a rolling update has both releases in it.
const protocolName = "learner"

// protocolType marks a group as one of consumers, so that Kafka's tools show its offsets and lag.
const protocolType = "consumer"

// progress is what a member's subscription tells about it. User data: version i8 (1), sequence i64, generation i32, big
// endian. Later versions keep these as a prefix, so each release understands the others.
type progress struct {
	sequence   int64 // the highest checkpoint that the member committed or restored as holder
	generation int32 // the latest in which it held the partitions
}

const (
	progressVersion = 1
	progressSize    = 1 + 8 + 4
)

func (p progress) encode() []byte {
	b := make([]byte, 0, progressSize)
	b = append(b, progressVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(p.sequence))
	return binary.BigEndian.AppendUint32(b, uint32(p.generation))
}

// decodeProgress reads user data; what it does not understand counts as no progress.
func decodeProgress(b []byte) progress {
	if len(b) < progressSize || b[0] < progressVersion {
		return progress{}
	}
	return progress{sequence: int64(binary.BigEndian.Uint64(b[1:])), generation: int32(binary.BigEndian.Uint32(b[9:]))}
}

// candidate is a member of the group in the leader's eyes.
type candidate struct {
	member string
	progress
}

// choose returns the member that gets all partitions: the one with the highest sequence, then the one that held them
// last, then the first by id.
func choose(candidates []candidate) string {
	best := slices.MinFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.sequence, a.sequence), cmp.Compare(b.generation, a.generation), cmp.Compare(a.member, b.member))
	})
	return best.member
}

// subscription encodes a member's subscription as Kafka's consumers do.
func subscription(topic string, p progress) ([]byte, error) {
	return protocol.Marshal(consumer.MaxVersionSupported, consumer.Subscription{
		Version: consumer.MaxVersionSupported, Topics: []string{topic}, UserData: p.encode(),
	})
}

// userData returns the user data of a subscription, nil if there is none: version i16, topics [string16], user data
// bytes32, and more in later versions. (kafka-go's decoder takes any length at its word and asks for that much memory.)
func userData(subscription []byte) []byte {
	c := cursor{data: subscription}
	c.int16()
	for topics := c.int32(); topics > 0 && !c.failed; topics-- {
		c.bytes(int(c.int16()))
	}
	return c.bytes(int(c.int32()))
}

// assign gives all partitions of topic to one member and none to the others.
func assign(members []joingroup.ResponseMember, topic string, partitions []int32) ([]syncgroup.RequestAssignment, error) {
	candidates := make([]candidate, len(members))
	for i, m := range members {
		candidates[i].member = m.MemberID
		candidates[i].progress = decodeProgress(userData(m.Metadata))
	}
	chosen := choose(candidates)
	assignments := make([]syncgroup.RequestAssignment, len(members))
	for i, m := range members {
		a := consumer.Assignment{Version: consumer.MaxVersionSupported}
		if m.MemberID == chosen && len(partitions) > 0 {
			a.AssignedPartitions = []consumer.TopicPartition{{Topic: topic, Partitions: partitions}}
		}
		b, err := protocol.Marshal(consumer.MaxVersionSupported, a)
		if err != nil {
			return nil, err
		}
		assignments[i] = syncgroup.RequestAssignment{MemberID: m.MemberID, Assignment: b}
	}
	return assignments, nil
}

// assigned reads the partitions of topic, sorted, out of an assignment: version i16, topics [name string16, partitions
// [i32]], and more. Members that joined after the leader assigned have an empty one.
func assigned(assignment []byte, topic string) ([]int32, error) {
	if len(assignment) == 0 {
		return nil, nil
	}
	c := cursor{data: assignment}
	c.int16()
	var partitions []int32
	for topics := c.int32(); topics > 0 && !c.failed; topics-- {
		name := string(c.bytes(int(c.int16())))
		for n := c.int32(); n > 0 && !c.failed; n-- {
			if p := c.int32(); name == topic {
				partitions = append(partitions, p)
			}
		}
	}
	if c.failed {
		return nil, io.ErrUnexpectedEOF
	}
	slices.Sort(partitions)
	return partitions, nil
}
