package checkpoint

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ID names a checkpoint. It is in every key and file name, so that no writer ever overwrites another's.
type ID struct {
	Lineage  string // of the model: one history from fresh models on; lower-case hexadecimal
	Sequence int64  // only grows, also into a new lineage
	Writer   string // random for each process and tenure; lower-case hexadecimal
}

// nonePrefix marks the commits of a group that keeps no checkpoints.
const nonePrefix = "none/"

// String returns lineage/sequence/writer.
func (id ID) String() string {
	return id.Lineage + "/" + strconv.FormatInt(id.Sequence, 10) + "/" + id.Writer
}

// MarshalText returns the id as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the id as ParseID does.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// ParseID reads what String returns, and nothing else.
func ParseID(text string) (ID, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return ID{}, fmt.Errorf("checkpoint id %q: want lineage/sequence/writer", text)
	}
	sequence, err := strconv.ParseInt(parts[1], 10, 64)
	id := ID{parts[0], sequence, parts[2]}
	if err != nil || sequence < 0 || !isHex(id.Lineage) || !isHex(id.Writer) || id.String() != text {
		return ID{}, fmt.Errorf("checkpoint id %q: want lineage/sequence/writer", text)
	}
	return id, nil
}

func isHex(text string) bool {
	return text != "" && len(text) <= 32 && strings.Trim(text, "0123456789abcdef") == ""
}

// NewLineage returns a random name for a new lineage.
func NewLineage() string { return random() }

// NewWriter returns a random name for a writer of checkpoints.
func NewWriter() string { return random() }

func random() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Origin says who wrote the metadata of a committed offset.
type Origin int

// The origins.
const (
	Foreign   Origin = iota // someone else: an operator who reset the group, or another program
	Ours                    // a checkpoint's commit
	Storeless               // a commit of ours without a checkpoint behind it
)

// NoneMetadata returns the metadata of a commit where no checkpoint is kept: none/lineage/sequence/writer.
func NoneMetadata(id ID) string { return nonePrefix + id.String() }

// ParseMetadata tells whose commit has this metadata, and the id in it unless it is foreign. With a checkpoint the
// metadata is the id.
func ParseMetadata(text string) (Origin, ID) {
	origin := Ours
	if rest, ok := strings.CutPrefix(text, nonePrefix); ok {
		origin, text = Storeless, rest
	}
	id, err := ParseID(text)
	if err != nil {
		return Foreign, ID{}
	}
	return origin, id
}
