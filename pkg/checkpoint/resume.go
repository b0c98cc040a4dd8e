package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"learner/pkg/record"
)

// Config is what models and rows are configured to be.
type Config struct {
	Rows   string // as Checkpoint.ConfigRows
	Models []ModelConfig
}

// ModelConfig is the configuration of one model.
type ModelConfig struct {
	Name, Kind string
	Hash       string // as Model.ConfigHash
}

// Hash returns a hash of parts for ConfigRows and ConfigHash.
func Hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p)))) // so that ab, c is not a, bc
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Compatible reports what a change of configuration means for the models of a checkpoint: those added start empty at
// the cut, those dropped are not kept. Anything that would change what the state is made of is refused, with an error
// that says how to go on.
func (c *Checkpoint) Compatible(now Config) (added, dropped []string, err error) {
	var faults []error
	if now.Rows != c.ConfigRows {
		faults = append(faults, fmt.Errorf("format, label, features, or order are configured otherwise than when the models "+
			"were trained; set them back, or, %s", howToReset))
	}
	for _, m := range now.Models {
		i := slices.IndexFunc(c.Models, func(stored Model) bool { return stored.Name == m.Name })
		switch {
		case i < 0:
			added = append(added, m.Name)
		case c.Models[i].Kind != m.Kind:
			faults = append(faults, fmt.Errorf("model %s is of kind %s, and is configured as %s; give the new one another name, or, %s",
				m.Name, c.Models[i].Kind, m.Kind, howToReset))
		case c.Models[i].ConfigHash != m.Hash:
			faults = append(faults, fmt.Errorf("model %s has other options or another seed than it is configured with; "+
				"set them back, give the new one another name, or, %s", m.Name, howToReset))
		}
	}
	for i := range c.Models {
		name := c.Models[i].Name
		if !slices.ContainsFunc(now.Models, func(m ModelConfig) bool { return m.Name == name }) {
			dropped = append(dropped, name)
		}
	}
	if len(faults) > 0 {
		return nil, nil, fmt.Errorf("configuration does not fit checkpoint %s: %w", c.ID, errors.Join(faults...))
	}
	return added, dropped, nil
}

// Extent is what the brokers tell of one partition.
type Extent struct {
	First int64         // the oldest offset that retention has left
	End   int64         // of the log (not only of what is stable)
	Last  *record.Batch // the batch that holds the checkpoint's Last.Last; nil: not there any more
}

// CheckLog finds out whether a topic is the one that the checkpoint saw. It returns how many offsets of each partition
// retention took away before they were learned, without those that lost none. An end below the next offset may be a
// leader's passing ignorance: the caller asks for 30 s before it believes the error.
func (c *Checkpoint) CheckLog(topicID string, log map[int32]Extent) (lost map[int32]int64, err error) {
	if topicID != "" && c.TopicID != "" && topicID != c.TopicID {
		return nil, fmt.Errorf("topic %s was deleted and created again since checkpoint %s (its id was %s and is %s); %s",
			c.Topic, c.ID, c.TopicID, topicID, howToReset)
	}
	lost = make(map[int32]int64)
	var faults []error
	for i := range c.Partitions {
		p := &c.Partitions[i]
		extent, ok := log[p.Partition]
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("partition %d is gone", p.Partition))
		case extent.End < p.Next:
			faults = append(faults, fmt.Errorf("partition %d ends at offset %d, before the next one to learn, %d", p.Partition, extent.End, p.Next))
		case p.Last.Last >= 0 && extent.Last != nil && Batch(*extent.Last) != p.Last:
			faults = append(faults, fmt.Errorf("partition %d has another batch at offset %d than the one that was learned: %+v, was %+v",
				p.Partition, p.Last.Last, Batch(*extent.Last), p.Last))
		case extent.First > p.Next:
			lost[p.Partition] = extent.First - p.Next
		}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("topic %s is not the one that checkpoint %s saw: %w; if it was created again, %s",
			c.Topic, c.ID, errors.Join(faults...), howToReset)
	}
	return lost, nil
}
