package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

// Errors that callers act on.
var (
	// ErrNotFound: the store has no such checkpoint.
	ErrNotFound = errors.New("no such checkpoint")
	// ErrUnfinished: parts are there, and what makes it whole is not. Its writer died, or is still at it.
	ErrUnfinished = errors.New("unfinished checkpoint")
	// ErrCorrupt: it is not what was written. An older checkpoint may do.
	ErrCorrupt = errors.New("corrupt checkpoint")
	// ErrVersion: it is undamaged and of a version that this build does not read.
	ErrVersion = errors.New("checkpoint of an unknown version")
)

// Checkpoint is one cut: the state of all models and the place in the topic that it belongs to.
type Checkpoint struct {
	ID         ID
	Generation int32 // of the group when it was written
	Source
	Previous   []ID     // committed before it, oldest first: as many as are kept besides the newest
	Resets     []string // every LEARNER_RESET_ID used so far
	Partitions []Partition
	Turn       int32           // the merge's own state: the partition that was taken last; -1: none yet
	Features   int             // numbers of a row; 0 without Columns: not settled yet
	Header     []string        // names of CSV columns, as the topic's header line had them; nil: there was none
	Columns    []record.Column // of a row, in the order of first appearance; nil: they have no names
	Missing    []uint64        // rows that had no value, by column
	Origins    []string        // of rows met: schemas
	NotFound   []string        // schemas of which it was decided that nobody knows them
	Slots      []int64         // of categories, by number
	Records    uint64          // of the sequence that the cut has behind it
	Gap        bool            // the log had lost records that the lineage should have learned
	Lost       int64           // how many offsets
	ConfigRows string          // hash of all that decides what a row is and which comes next: format, label, features, order
	Models     []Model
	Champion   string       // name of the model that answers for the service
	Comparison []sgd.Tensor // the whole state of what compares the models; none: it begins anew
	Build      string       // for people
	Created    time.Time    // for people
}

// Source is what a checkpoint belongs to. It counts only for its own cluster, topic, and group.
type Source struct {
	ClusterID string
	Topic     string
	TopicID   string // empty where the broker does not tell it
	Group     string
}

// counts reports whether a checkpoint of source c counts for s. Whether the topic is still the same one is decided
// later, because a new topic of the old name must stop the start.
func (s *Source) counts(c *Source) bool {
	return s.ClusterID == c.ClusterID && s.Topic == c.Topic && s.Group == c.Group
}

// Partition is the merge's place in one partition: offsets from Start to End are the range in hand, Settled is its end
// before any drawing back, and everything below Next is learned.
type Partition struct {
	Partition int32 `json:"partition"`
	Next      int64 `json:"next_offset"`
	Start     int64 `json:"range_start"`
	Settled   int64 `json:"range_settled_end"`
	End       int64 `json:"range_end"`
	Last      Batch `json:"last_batch"` // passed, of any kind
}

// Batch is a record.Batch. Its Last is -1 where none is known.
type Batch struct {
	Base        int64 `json:"base_offset"`
	Last        int64 `json:"last_offset"`
	Time        int64 `json:"time_us"` // microseconds since 1970
	LeaderEpoch int32 `json:"leader_epoch"`
}

// Model is the whole state of one model, progressive scores included.
type Model struct {
	Name       string          `json:"name"` // without a slash
	Kind       string          `json:"kind"`
	ConfigHash string          `json:"config_hash"` // of kind, options, seed
	Since      map[int32]int64 `json:"since"`       // per partition: the offset from which on it has learned
	Records    uint64          `json:"records"`     // learned
	Tensors    []sgd.Tensor    `json:"-"`           // none: a fresh model
}

// Next returns the next offset of a partition, and whether the checkpoint knows the partition.
func (c *Checkpoint) Next(partition int32) (int64, bool) {
	for i := range c.Partitions {
		if c.Partitions[i].Partition == partition {
			return c.Partitions[i].Next, true
		}
	}
	return 0, false
}

// A checkpoint is a safetensors file. Its tensors are named model/tensor, those of the comparison /tensor, as no model is
// without a name, as is that of the slots; everything else is in the metadata, text as it is and what has structure as JSON.
const (
	format  = "learner-checkpoint"
	version = "1"

	slotsTensor = "/layout/slots"

	sumField = `"sha256":"` // in the header; JSON cannot hold these bytes anywhere else than at this key
	sumSize  = 2 * sha256.Size
)

// optional are the keys that a checkpoint may be without, because earlier releases knew nothing of them.
var optional = []string{"records", "header", "columns", "missing", "origins", "not_found"}

// fields returns a pointer to everything that is kept in the metadata, by key.
func (c *Checkpoint) fields() map[string]any {
	return map[string]any{
		"id":          &c.ID,
		"generation":  &c.Generation,
		"cluster_id":  &c.ClusterID,
		"topic":       &c.Topic,
		"topic_id":    &c.TopicID,
		"group":       &c.Group,
		"previous":    &c.Previous,
		"resets":      &c.Resets,
		"partitions":  &c.Partitions,
		"turn":        &c.Turn,
		"features":    &c.Features,
		"records":     &c.Records,
		"header":      &c.Header,
		"columns":     &c.Columns,
		"missing":     &c.Missing,
		"origins":     &c.Origins,
		"not_found":   &c.NotFound,
		"gap":         &c.Gap,
		"lost":        &c.Lost,
		"config_rows": &c.ConfigRows,
		"models":      &c.Models,
		"champion":    &c.Champion,
		"build":       &c.Build,
		"created":     &c.Created,
	}
}

// Encode returns the checkpoint as a safetensors file.
//
// The sha256 in its metadata is that of the file as it is with 64 digits 0 in the place of the sum: it covers the
// tensors, the metadata, and all between.
func (c *Checkpoint) Encode() ([]byte, error) {
	metadata := map[string]string{"format": format, "version": version, "sha256": strings.Repeat("0", sumSize)}
	for key, field := range c.fields() {
		var text []byte
		var err error
		switch field := field.(type) {
		case *string:
			text = []byte(*field)
		case encoding.TextMarshaler:
			text, err = field.MarshalText()
		default:
			text, err = json.Marshal(field)
		}
		if err != nil {
			return nil, fmt.Errorf("encode checkpoint %s: %s: %w", c.ID, key, err)
		}
		metadata[key] = string(text)
	}
	tensors := named(nil, "", c.Comparison)
	if len(c.Slots) > 0 {
		tensors = append(tensors, sgd.Tensor{Name: slotsTensor, Shape: []int{len(c.Slots)}, Data: c.Slots})
	}
	for i := range c.Models {
		m := &c.Models[i]
		if m.Name == "" || strings.Contains(m.Name, "/") {
			return nil, fmt.Errorf("encode checkpoint %s: model name %q is empty or has a slash", c.ID, m.Name)
		}
		tensors = named(tensors, m.Name, m.Tensors)
	}
	var file bytes.Buffer
	if err := WriteSafetensors(&file, tensors, metadata); err != nil {
		return nil, fmt.Errorf("encode checkpoint %s: %w", c.ID, err)
	}
	at, _ := sumPlace(file.Bytes())
	copy(file.Bytes()[at:], sum(file.Bytes(), at))
	return file.Bytes(), nil
}

// named appends tensors to dst under the names that they have in a file.
func named(dst []sgd.Tensor, owner string, tensors []sgd.Tensor) []sgd.Tensor {
	for _, t := range tensors {
		t.Name = owner + "/" + t.Name
		dst = append(dst, t)
	}
	return dst
}

// sumPlace returns where in the file the sum is, and whether there is room for one.
func sumPlace(file []byte) (int, bool) {
	if len(file) < 8 {
		return 0, false
	}
	header := file[8:]
	if n := binary.LittleEndian.Uint64(file); n < uint64(len(header)) {
		header = header[:n]
	}
	at := bytes.Index(header, []byte(sumField))
	if at < 0 || len(header)-at-len(sumField) < sumSize {
		return 0, false
	}
	return 8 + at + len(sumField), true
}

// sum returns the SHA-256 of the file with 64 digits 0 at the given place, in hexadecimal.
func sum(file []byte, at int) string {
	h := sha256.New()
	h.Write(file[:at])
	h.Write(bytes.Repeat([]byte{'0'}, sumSize))
	h.Write(file[at+sumSize:])
	return hex.EncodeToString(h.Sum(nil))
}

// Decode reads what Encode returns. The error wraps ErrCorrupt where the file is not what was written, and ErrVersion
// where it is and this build does not know its version. A model's tensors come in the order of the file. It takes
// memory in proportion to the length of file, whatever is in it, and shares none with it.
func Decode(file []byte) (*Checkpoint, error) {
	at, ok := sumPlace(file)
	if !ok {
		return nil, fmt.Errorf("decode checkpoint: %w: %d bytes without a SHA-256", ErrCorrupt, len(file))
	}
	if sum(file, at) != string(file[at:at+sumSize]) {
		return nil, fmt.Errorf("decode checkpoint: %w: the SHA-256 does not fit its %d bytes", ErrCorrupt, len(file))
	}
	tensors, metadata, err := ReadSafetensors(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("decode checkpoint: %w: %w", ErrCorrupt, err)
	case metadata["format"] != format:
		return nil, fmt.Errorf("decode checkpoint: %w: format %q, want %q", ErrCorrupt, metadata["format"], format)
	case metadata["version"] != version:
		return nil, fmt.Errorf("decode checkpoint: %w: version %q, this build reads %s", ErrVersion, metadata["version"], version)
	}
	c := &Checkpoint{}
	if err := c.decode(metadata, tensors); err != nil {
		return nil, fmt.Errorf("decode checkpoint: %w: %w", ErrCorrupt, err)
	}
	return c, nil
}

func (c *Checkpoint) decode(metadata map[string]string, tensors []sgd.Tensor) error {
	for key, field := range c.fields() {
		text, ok := metadata[key]
		if !ok && slices.Contains(optional, key) {
			continue
		}
		if !ok {
			return fmt.Errorf("metadata %q is missing", key)
		}
		var err error
		switch field := field.(type) {
		case *string:
			*field = text
		case encoding.TextUnmarshaler:
			err = field.UnmarshalText([]byte(text))
		default:
			err = json.Unmarshal([]byte(text), field)
		}
		if err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
	}
	owners := make(map[string]*[]sgd.Tensor, len(c.Models)+1)
	for i := range c.Models {
		owners[c.Models[i].Name] = &c.Models[i].Tensors
	}
	owners[""] = &c.Comparison
	for _, t := range tensors {
		if t.Name == slotsTensor {
			slots, ok := t.Data.([]int64)
			if !ok {
				return fmt.Errorf("tensor %q holds %T, want %T", t.Name, t.Data, slots)
			}
			c.Slots = slots
			continue
		}
		name, rest, slash := strings.Cut(t.Name, "/")
		owner := owners[name]
		if owner == nil || !slash {
			return fmt.Errorf("tensor %q belongs to no model", t.Name)
		}
		t.Name = rest
		*owner = append(*owner, t)
	}
	return nil
}
