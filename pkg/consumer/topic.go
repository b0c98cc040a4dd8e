package consumer

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
)

// resourceTopic is the type of a topic's configuration (KIP-133).
const resourceTopic = 2

// TopicConfig returns the values that the named settings of a topic have, whether set for it or inherited. A setting
// that the broker does not know is missing from the map.
func (c *Client) TopicConfig(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := c.ask(ctx, &describeconfigs.Request{Resources: []describeconfigs.RequestResource{{
		ResourceType: resourceTopic, ResourceName: topic, ConfigNames: names,
	}}})
	if err != nil {
		return nil, fmt.Errorf("look up the configuration of topic %s: %w", topic, err)
	}
	for _, r := range m.(*describeconfigs.Response).Resources {
		if r.ResourceName != topic {
			continue
		}
		if r.ErrorCode != 0 {
			return nil, fmt.Errorf("look up the configuration of topic %s: %w", topic, kafka.Error(r.ErrorCode))
		}
		values := make(map[string]string, len(r.ConfigEntries))
		for _, e := range r.ConfigEntries {
			values[e.ConfigName] = e.ConfigValue
		}
		return values, nil
	}
	return nil, fmt.Errorf("look up the configuration of topic %s: %w", topic, kafka.Unknown)
}

// TopicID returns the id that the topic was given when it was created (KIP-516), as Kafka's tools write it, or an empty
// string where the broker does not tell: those before Kafka 2.8, and topics that are older.
func (c *Client) TopicID(ctx context.Context, topic string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	e := &topicIDExchange{clientID: c.cfg.ClientID, topic: topic}
	_, err := c.transport.RoundTrip(ctx, c.addr, e)
	if err == nil && e.code != 0 {
		err = e.code
	}
	if err != nil {
		return "", fmt.Errorf("look up the id of topic %s: %w", topic, err)
	}
	if e.id == [16]byte{} {
		return "", nil
	}
	return base64.RawURLEncoding.EncodeToString(e.id[:]), nil
}

// topicIDVersion is the first version of Metadata that tells topics' ids, which kafka-go does not speak.
const topicIDVersion = 10

// maxMetadata bounds an answer about one topic.
const maxMetadata = 4 << 20

// topicIDExchange is a question for a topic's id.
type topicIDExchange struct {
	clientID, topic string
	id              [16]byte    // of the answer; all zero: not told
	code            kafka.Error // of the answer; 0 is none
}

// ApiKey implements protocol.Message.
func (e *topicIDExchange) ApiKey() protocol.ApiKey { return protocol.Metadata } //nolint:revive // the interface spells it so

// Required implements protocol.RawExchanger.
func (e *topicIDExchange) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger. It asks which versions the broker speaks first: kafka-go only passes on
// those that it speaks too.
func (e *topicIDExchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	m, err := protocol.RoundTrip(rw, 0, correlation.Add(1), e.clientID, &apiversions.Request{})
	if err != nil {
		return nil, err
	}
	for _, k := range m.(*apiversions.Response).ApiKeys {
		if protocol.ApiKey(k.ApiKey) == protocol.Metadata && k.MaxVersion < topicIDVersion {
			return answer{e}, nil
		}
	}
	id := correlation.Add(1)
	if _, err := rw.Write(e.request(id)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMetadata {
		return nil, fmt.Errorf("answer of %d bytes to %s", n, e.ApiKey())
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(rw, body); err != nil {
		return nil, err
	}
	if err := e.parse(body, id); err != nil {
		return nil, err
	}
	return answer{e}, nil
}

// request returns a Metadata request, version 10. A compact length is an unsigned varint of the length and one; each
// structure ends with tagged fields (KIP-482), of which there are none:
//
//	size i32, key i16, version i16, correlation i32, client id string16, tags,
//	topics compact [id 16 bytes, name compact, tags], create i8, operations i8 and i8, tags
func (e *topicIDExchange) request(correlation int32) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(protocol.Metadata))
	b = binary.BigEndian.AppendUint16(b, topicIDVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.clientID)))
	b = append(append(b, e.clientID...), 0)
	b = append(append(b, 2), make([]byte, len(e.id))...)
	b = append(binary.AppendUvarint(b, uint64(len(e.topic))+1), e.topic...)
	b = append(b, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// parse reads an answer up to the topic's id:
//
//	correlation i32, tags, throttle i32 (ms), brokers compact [id i32, host compact, port i32, rack compact, tags],
//	cluster id compact, controller i32, topics compact [error i16, name compact, id 16 bytes, ...]
func (e *topicIDExchange) parse(body []byte, correlation int32) error {
	c := cursor{data: body}
	if got := c.int32(); got != correlation {
		return fmt.Errorf("answer to request %d where %d was sent", got, correlation)
	}
	c.tags()
	c.int32()
	for brokers := c.compact(); brokers > 0 && !c.failed; brokers-- {
		c.int32()
		c.bytes(c.compact())
		c.int32()
		c.bytes(c.compact())
		c.tags()
	}
	c.bytes(c.compact())
	c.int32()
	topics := c.compact()
	code := kafka.Error(c.int16())
	name := c.bytes(c.compact())
	id := c.bytes(len(e.id))
	if c.failed || topics != 1 || string(name) != e.topic {
		return fmt.Errorf("answer to %s: no word of topic %s", e.ApiKey(), e.topic)
	}
	e.code = code
	copy(e.id[:], id)
	return nil
}

// uvarint reads an unsigned varint below 2³¹.
func (c *cursor) uvarint() int {
	v, n := binary.Uvarint(c.data)
	if n <= 0 || v >= 1<<31 {
		c.data, c.failed = nil, true
		return 0
	}
	c.data = c.data[n:]
	return int(v)
}

// compact reads a compact length; null counts as 0.
func (c *cursor) compact() int { return max(c.uvarint()-1, 0) }

// tags skips tagged fields.
func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && !c.failed; n-- {
		c.uvarint()
		c.bytes(c.uvarint())
	}
}
