package consumer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
)

// exchange sends one of kafka-go's requests as it is and takes the answer as it comes. On its own, kafka-go's transport
// answers Metadata from a cache, splits ListOffsets into a request and a connection for each partition, and loses the
// error code of SyncGroup.
type exchange struct {
	protocol.Message
	clientID string
	version  int16
}

// answer keeps kafka-go's transport from recognising the answer to an exchange.
type answer struct{ protocol.Message }

// Required implements protocol.RawExchanger.
func (e *exchange) Required(versions map[protocol.ApiKey]int16) bool {
	e.version = versions[e.ApiKey()]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (e *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	m, err := protocol.RoundTrip(rw, e.version, correlation.Add(1), e.clientID, e.Message)
	if err != nil {
		return nil, err
	}
	return answer{m}, nil
}

// brokerExchange is an exchange with a certain broker.
type brokerExchange struct {
	exchange
	broker int32
}

// Broker implements protocol.BrokerMessage.
func (e *brokerExchange) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	if b, ok := cluster.Brokers[e.broker]; ok {
		return b, nil
	}
	return protocol.Broker{ID: -1}, kafka.BrokerNotAvailable
}

// groupExchange is an exchange with the coordinator of a group.
type groupExchange struct {
	exchange
	group string
}

// Group implements protocol.GroupMessage.
func (e *groupExchange) Group() string { return e.group }

// ask sends m to any broker.
func (c *Client) ask(ctx context.Context, m protocol.Message) (protocol.Message, error) {
	return c.roundTrip(ctx, &exchange{Message: m, clientID: c.cfg.ClientID})
}

// askBroker sends m to the broker with this id.
func (c *Client) askBroker(ctx context.Context, broker int32, m protocol.Message) (protocol.Message, error) {
	return c.roundTrip(ctx, &brokerExchange{exchange{Message: m, clientID: c.cfg.ClientID}, broker})
}

// askGroup sends m to the coordinator of group.
func (c *Client) askGroup(ctx context.Context, group string, m protocol.Message) (protocol.Message, error) {
	return c.roundTrip(ctx, &groupExchange{exchange{Message: m, clientID: c.cfg.ClientID}, group})
}

func (c *Client) roundTrip(ctx context.Context, m protocol.Message) (protocol.Message, error) {
	r, err := c.transport.RoundTrip(ctx, c.addr, m)
	if err != nil {
		return nil, err
	}
	return r.(answer).Message, nil
}

// membershipVersion is the version of Heartbeat and LeaveGroup that is spoken: the first with static members (KIP-345)
// and the last before flexible fields; Kafka 2.3 to 4.x speak it.
const membershipVersion = 3

// membershipMessage is a Heartbeat or LeaveGroup request, version 3. kafka-go reads the answers to both in the wrong
// order (the error code comes after the throttle time since version 1), and so never reports an error.
type membershipMessage struct {
	groupExchange
	code kafka.Error // of the answer; 0 is none
}

// RawExchange implements protocol.RawExchanger. The answer's body begins with throttle i32 (ms), error i16; LeaveGroup
// goes on with members [id string16, instance string16 or null, error i16].
func (m *membershipMessage) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	id := correlation.Add(1)
	if err := protocol.WriteRequest(rw, membershipVersion, id, m.clientID, m.Message); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 1<<16 {
		return nil, fmt.Errorf("answer of %d bytes to %s", n, m.ApiKey())
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(rw, body); err != nil {
		return nil, err
	}
	c := cursor{data: body}
	if got := c.int32(); got != id {
		return nil, fmt.Errorf("answer to request %d where %d was sent", got, id)
	}
	c.int32()
	m.code = kafka.Error(c.int16())
	if m.ApiKey() == protocol.LeaveGroup && m.code == 0 {
		for members := c.int32(); members > 0 && !c.failed; members-- {
			c.bytes(int(c.int16()))
			c.bytes(max(int(c.int16()), 0))
			m.code = kafka.Error(c.int16())
		}
	}
	if c.failed {
		return nil, fmt.Errorf("answer to %s: %w", m.ApiKey(), io.ErrUnexpectedEOF)
	}
	return answer{m}, nil
}

// heartbeat tells the coordinator that the member lives, and returns the coordinator's answer if it is an error.
func (c *Client) heartbeat(ctx context.Context, group string, g Generation) error {
	return c.member(ctx, group, &heartbeat.Request{
		GroupID: group, GenerationID: g.ID, MemberID: g.Member, GroupInstanceID: g.Instance,
	})
}

// leaveGroup ends the membership, static or not.
func (c *Client) leaveGroup(ctx context.Context, group, member, instance string) error {
	return c.member(ctx, group, &leavegroup.Request{
		GroupID: group, Members: []leavegroup.RequestMember{{MemberID: member, GroupInstanceID: instance}},
	})
}

func (c *Client) member(ctx context.Context, group string, m protocol.Message) error {
	message := &membershipMessage{groupExchange: groupExchange{exchange{Message: m, clientID: c.cfg.ClientID}, group}}
	if _, err := c.transport.RoundTrip(ctx, c.addr, message); err != nil {
		return err
	}
	if message.code != 0 {
		return message.code
	}
	return nil
}
