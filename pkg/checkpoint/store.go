package checkpoint

import (
	"cmp"
	"context"
	"slices"
)

// Store keeps the checkpoints of one group.
type Store interface {
	// Put keeps a checkpoint. When it returns nil, the checkpoint is whole and survives a crash; when it was
	// interrupted, an unfinished one may be left.
	Put(ctx context.Context, id ID, generation int32, data []byte) error
	// List returns all checkpoints, newest first, broken ones too.
	List(ctx context.Context) ([]Entry, error)
	// Get returns a checkpoint as it was given to Put. The error wraps ErrNotFound, ErrUnfinished, ErrCorrupt, or
	// ErrVersion if the store was read and has no such whole checkpoint; anything else means that it could not be read.
	Get(ctx context.Context, id ID) ([]byte, error)
	// Delete removes checkpoints, whole or not. Ones that are not there are no error.
	Delete(ctx context.Context, ids []ID) error
}

// Entry is a checkpoint in a store.
type Entry struct {
	ID         ID
	Generation int32 // of the group when it was written; 0 where it cannot be told
	Err        error // nil, or why it is not whole as far as was looked: it wraps ErrUnfinished, ErrCorrupt, or ErrVersion
}

// newestFirst orders entries by sequence, then generation, then writer.
func newestFirst(a, b Entry) int {
	return cmp.Or(cmp.Compare(b.ID.Sequence, a.ID.Sequence), cmp.Compare(b.Generation, a.Generation),
		cmp.Compare(b.ID.Writer, a.ID.Writer), cmp.Compare(b.ID.Lineage, a.ID.Lineage))
}

// kept is how many committed checkpoints stay in a store.
const kept = 3

// Prune returns which entries may be deleted after a commit: those below the newest committed checkpoint and the two
// committed before it, whether committed, strays, or broken. Where fewer commits are known, that is none.
func Prune(entries []Entry, committed []ID) []ID {
	var sequences []int64
	for _, id := range committed {
		sequences = append(sequences, id.Sequence)
	}
	slices.Sort(sequences)
	sequences = slices.Compact(sequences)
	if len(sequences) < kept {
		return nil
	}
	oldest := sequences[len(sequences)-kept]
	var ids []ID
	for _, e := range entries {
		if e.ID.Sequence < oldest {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
