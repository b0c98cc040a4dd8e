package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Log is a topic with one partition that is compacted by key.
type Log interface {
	// Append writes records in order. They are durable when it returns nil; some may be when it does not.
	Append(ctx context.Context, records []KeyValue) error
	// Read calls each for every record from the offset from on (0: from the oldest that is left) up to the end of the
	// log as it is at the call, in order, and returns that end. Where from lies beyond the end, it calls nothing. A nil
	// value is a tombstone; key and value may be used only during the call. An error of each ends it and is wrapped by
	// the error that it returns.
	Read(ctx context.Context, from int64, each func(offset int64, key, value []byte) error) (end int64, err error)
	// MaxRecord returns how many bytes the key and the value of a record may have together.
	MaxRecord() int
}

// KeyValue is a record of a Log. A nil Value is a tombstone.
type KeyValue struct{ Key, Value []byte }

// Topic is a [Store] in a log that groups may share. A checkpoint is
//
//	group/lineage/sequence/writer/0000      the first chunk, then 0001, …
//	group/lineage/sequence/writer/manifest  written last: it makes the checkpoint whole
//
// Methods may be called by several goroutines.
type Topic struct {
	log   Log
	group string

	mu    sync.Mutex
	index map[ID]*parts // everything of the group below next, and what Put wrote
	next  int64         // offset that is read next
}

// parts is what the log has of one checkpoint.
type parts struct {
	chunks   map[int]place
	manifest []byte // nil: none
}

// place says where a chunk is.
type place struct {
	offset int64 // -1: not known yet
	size   int
}

// manifest says what a whole checkpoint consists of.
type manifest struct {
	Version    int    `json:"version"`
	Chunks     int    `json:"chunks"`
	Size       int    `json:"size"`   // bytes of all chunks
	SHA256     string `json:"sha256"` // of all chunks, one after the other
	Generation int32  `json:"generation"`
}

const (
	manifestVersion = 1
	manifestKey     = "manifest"
)

// NewTopic returns the checkpoints of a group in a log.
func NewTopic(log Log, group string) *Topic {
	return &Topic{log: log, group: group, index: make(map[ID]*parts)}
}

// Put implements [Store]: chunks first, then the manifest.
func (t *Topic) Put(ctx context.Context, id ID, generation int32, data []byte) error {
	m := manifest{Version: manifestVersion, Size: len(data), SHA256: hexSum(data), Generation: generation}
	room := t.log.MaxRecord() - len(t.key(id, manifestKey))
	if room < 1 {
		return fmt.Errorf("put checkpoint %s: a record of %d bytes has no room for data", id, t.log.MaxRecord())
	}
	var chunks []KeyValue
	p := &parts{chunks: make(map[int]place)}
	for chunk := range slices.Chunk(data, room) {
		chunks = append(chunks, KeyValue{t.key(id, chunkKey(m.Chunks)), chunk})
		p.chunks[m.Chunks] = place{-1, len(chunk)}
		m.Chunks++
	}
	encoded, err := m.encode()
	if err != nil {
		return fmt.Errorf("put checkpoint %s: encode manifest: %w", id, err)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.index[id] = p
	if err := t.log.Append(ctx, chunks); err != nil {
		return fmt.Errorf("put checkpoint %s: write %d chunks: %w", id, len(chunks), err)
	}
	if err := t.log.Append(ctx, []KeyValue{{t.key(id, manifestKey), encoded}}); err != nil {
		return fmt.Errorf("put checkpoint %s: write manifest: %w", id, err)
	}
	p.manifest = encoded
	return nil
}

// List implements [Store]. It reads the whole log: what it says does not depend on tombstones that compaction may have
// taken away since the last time.
func (t *Topic) List(ctx context.Context) ([]Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.index)
	t.next = 0
	if err := t.refresh(ctx); err != nil {
		return nil, fmt.Errorf("list checkpoints of group %s: %w", t.group, err)
	}
	entries := make([]Entry, 0, len(t.index))
	for id, p := range t.index {
		m, err := p.check()
		entries = append(entries, Entry{ID: id, Generation: m.Generation, Err: err})
	}
	slices.SortFunc(entries, newestFirst)
	return entries, nil
}

// Get implements [Store]. It reads what was written since the last time, and from the checkpoint's first chunk to its last.
func (t *Topic) Get(ctx context.Context, id ID) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	data, err := t.get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get checkpoint %s: %w", id, err)
	}
	return data, nil
}

func (t *Topic) get(ctx context.Context, id ID) ([]byte, error) {
	if err := t.refresh(ctx); err != nil {
		return nil, err
	}
	p := t.index[id]
	if p == nil {
		return nil, ErrNotFound
	}
	m, err := p.check()
	if err != nil {
		return nil, err
	}
	data := make([]byte, m.Size) // as many as the chunks that were seen have together
	room := make(map[int64][]byte)
	from, at := int64(0), 0
	for i := range m.Chunks {
		c := p.chunks[i]
		if c.offset < 0 {
			return nil, ErrNotFound // written here, then deleted by another before it was read
		}
		room[c.offset] = data[at : at+c.size]
		at += c.size
		if i == 0 || c.offset < from {
			from = c.offset
		}
	}
	if err := t.collect(ctx, from, room); err != nil {
		return nil, err
	}
	if hexSum(data) != m.SHA256 {
		return nil, fmt.Errorf("%w: the SHA-256 does not fit its %d chunks", ErrCorrupt, m.Chunks)
	}
	return data, nil
}

// collect fills each slice with the value at its offset, the first of which is from.
func (t *Topic) collect(ctx context.Context, from int64, room map[int64][]byte) error {
	if len(room) == 0 {
		return nil
	}
	done := errors.New("all chunks are read")
	_, err := t.log.Read(ctx, from, func(offset int64, _, value []byte) error {
		if dst, ok := room[offset]; ok && len(dst) == len(value) {
			copy(dst, value)
			delete(room, offset)
		}
		if len(room) == 0 {
			return done
		}
		return nil
	})
	switch {
	case errors.Is(err, done):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: %d chunks were deleted meanwhile", ErrCorrupt, len(room))
}

// Delete implements [Store]. It reads the log only if it does not know all ids.
func (t *Topic) Delete(ctx context.Context, ids []ID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if t.index[id] != nil {
			continue
		}
		if err := t.refresh(ctx); err != nil {
			return fmt.Errorf("delete %d checkpoints: %w", len(ids), err)
		}
		break
	}
	var records []KeyValue
	for _, id := range ids {
		p := t.index[id]
		if p == nil {
			continue
		}
		// The manifest first: what is left if the rest cannot be written is unfinished, not corrupt.
		records = append(records, KeyValue{Key: t.key(id, manifestKey)})
		for _, i := range slices.Sorted(maps.Keys(p.chunks)) {
			records = append(records, KeyValue{Key: t.key(id, chunkKey(i))})
		}
	}
	if len(records) == 0 {
		return nil
	}
	if err := t.log.Append(ctx, records); err != nil {
		return fmt.Errorf("delete %d checkpoints: write tombstones: %w", len(ids), err)
	}
	for _, id := range ids {
		delete(t.index, id)
	}
	return nil
}

// refresh reads what was written since the last time.
func (t *Topic) refresh(ctx context.Context) error {
	end, err := t.log.Read(ctx, t.next, t.note)
	if err == nil && end < t.next { // another log: the topic was created again
		clear(t.index)
		end, err = t.log.Read(ctx, 0, t.note)
	}
	if err != nil {
		return err
	}
	t.next = end
	return nil
}

// note enters a record into the index. The last value of a key is the one that counts.
func (t *Topic) note(offset int64, key, value []byte) error {
	id, part, ok := t.parseKey(key)
	if !ok {
		return nil // another group's
	}
	p := t.index[id]
	if p == nil {
		p = &parts{chunks: make(map[int]place)}
		t.index[id] = p
	}
	switch {
	case part == manifestKey:
		p.manifest = bytes.Clone(value)
	case value == nil:
		delete(p.chunks, chunkNumber(part))
	default:
		p.chunks[chunkNumber(part)] = place{offset, len(value)}
	}
	if len(p.chunks) == 0 && p.manifest == nil {
		delete(t.index, id)
	}
	return nil
}

func (t *Topic) key(id ID, part string) []byte {
	return []byte(t.group + "/" + id.String() + "/" + part)
}

// chunkKey returns the last part of a chunk's key.
func chunkKey(n int) string { return fmt.Sprintf("%04d", n) }

// chunkNumber reads what chunkKey returns; -1 for anything else.
func chunkNumber(part string) int {
	n, err := strconv.Atoi(part)
	if err != nil || n < 0 || chunkKey(n) != part {
		return -1
	}
	return n
}

// parseKey returns the id and the last part of a key, or false for keys that are not of this group's checkpoints. A
// group's name may have slashes; nothing behind it has.
func (t *Topic) parseKey(key []byte) (ID, string, bool) {
	rest, ok := strings.CutPrefix(string(key), t.group+"/")
	last := strings.LastIndexByte(rest, '/')
	if !ok || last < 0 {
		return ID{}, "", false
	}
	part := rest[last+1:]
	id, err := ParseID(rest[:last])
	return id, part, err == nil && (part == manifestKey || chunkNumber(part) >= 0)
}

// check returns the manifest, or why the checkpoint is not whole as far as can be told without its data.
func (p *parts) check() (manifest, error) {
	if p.manifest == nil {
		return manifest{}, fmt.Errorf("%w: %d chunks without a manifest", ErrUnfinished, len(p.chunks))
	}
	m, err := decodeManifest(p.manifest)
	if err != nil {
		return m, err
	}
	size := 0
	for i := range m.Chunks {
		chunk, ok := p.chunks[i]
		if !ok {
			return m, fmt.Errorf("%w: chunk %d of %d is missing", ErrCorrupt, i, m.Chunks)
		}
		size += chunk.size
	}
	if size != m.Size {
		return m, fmt.Errorf("%w: its %d chunks have %d bytes, it had %d", ErrCorrupt, m.Chunks, size, m.Size)
	}
	return m, nil
}

// castagnoli is the polynomial that Kafka uses for its batches.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns a CRC-32C in hexadecimal, a space, and the manifest as JSON, which the CRC is of: without one, a flipped bit
// could make another version of it.
func (m *manifest) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	return fmt.Appendf(nil, "%08x %s", crc32.Checksum(text, castagnoli), text), err
}

func decodeManifest(value []byte) (manifest, error) {
	var m manifest
	crc, text, _ := bytes.Cut(value, []byte{' '})
	if string(crc) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return m, fmt.Errorf("%w: the manifest's CRC does not fit", ErrCorrupt)
	}
	var head struct{ Version int }
	if err := json.Unmarshal(text, &head); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	if head.Version != manifestVersion {
		return m, fmt.Errorf("%w: manifest of version %d, this build reads %d", ErrVersion, head.Version, manifestVersion)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	return m, nil
}

func hexSum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
