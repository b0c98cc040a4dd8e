package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// stores makes stores of several groups that share a place, for each kind of store.
var stores = map[string]func(t *testing.T) func(group string) Store{
	"topic": func(*testing.T) func(string) Store {
		log := newLog()
		return func(group string) Store { return NewTopic(log, group) }
	},
	"compacted topic": func(*testing.T) func(string) Store {
		log := newLog()
		return func(group string) Store {
			log.compact(true)
			return NewTopic(log, group)
		}
	},
	"dir": func(t *testing.T) func(string) Store {
		path := t.TempDir() + "/made"
		return func(group string) Store {
			store, err := NewDir(path, group)
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
	},
}

func put(t *testing.T, s Store, id ID, generation int32, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), id, generation, data); err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, s Store) []Entry {
	t.Helper()
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ids returns what the store lists, in its order, with ! before what is broken.
func ids(t *testing.T, s Store) []string {
	t.Helper()
	all := []string{}
	for _, e := range entries(t, s) {
		text := fmt.Sprintf("%s of %d", e.ID, e.Generation)
		if e.Err != nil {
			text = "!" + text
		}
		all = append(all, text)
	}
	return all
}

func wantIDs(t *testing.T, s Store, want ...string) {
	t.Helper()
	if got := ids(t, s); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func wantData(t *testing.T, s Store, id ID, want []byte) {
	t.Helper()
	if got, err := s.Get(t.Context(), id); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %q, error %v; want %q", id, got, err, want)
	}
}

func wantError(t *testing.T, s Store, id ID, want error) {
	t.Helper()
	if got, err := s.Get(t.Context(), id); !errors.Is(err, want) || got != nil {
		t.Errorf("%v: %q, error %v; want %v", id, got, err, want)
	}
}

// data returns n bytes that depend on seed.
func data(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*7)
	}
	return b
}

func TestStores(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			group := open(t)
			s := group("g")
			wantIDs(t, s)
			wantError(t, s, ID{"a", 1, "f"}, ErrNotFound)

			put(t, s, ID{"a", 9, "f"}, 1, data(9, 100))
			put(t, s, ID{"b", 10, "c"}, 2, data(1, 1))
			put(t, s, ID{"a", 10, "f"}, 1, data(2, 1000))
			put(t, s, ID{"a", 10, "e"}, 2, data(3, 0))
			want := []string{"a/10/e of 2", "b/10/c of 2", "a/10/f of 1", "a/9/f of 1"}
			for _, s := range []Store{s, group("g")} {
				wantIDs(t, s, want...)
				wantData(t, s, ID{"a", 9, "f"}, data(9, 100))
				wantData(t, s, ID{"b", 10, "c"}, data(1, 1))
				wantData(t, s, ID{"a", 10, "f"}, data(2, 1000))
				wantData(t, s, ID{"a", 10, "e"}, data(3, 0))
				wantError(t, s, ID{"a", 9, "e"}, ErrNotFound)
				wantError(t, s, ID{"b", 9, "f"}, ErrNotFound)
			}

			// What one has opened long ago sees what another does now.
			other := group("g")
			put(t, other, ID{"a", 11, "d"}, 3, data(4, 70))
			wantData(t, s, ID{"a", 11, "d"}, data(4, 70))
			if err := s.Delete(t.Context(), []ID{{"a", 10, "f"}, {"a", 11, "d"}, {"b", 10, "c"}, {"c", 1, "d"}}); err != nil {
				t.Fatal(err)
			}
			for _, s := range []Store{s, other, group("g")} {
				wantIDs(t, s, "a/10/e of 2", "a/9/f of 1")
				wantError(t, s, ID{"a", 10, "f"}, ErrNotFound)
				wantData(t, s, ID{"a", 9, "f"}, data(9, 100))
			}
			if err := s.Delete(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStoresKeepGroupsApart(t *testing.T) {
	groups := []string{"g", "g/g", "g/a/1/b", "G", "g.a", "g.a.1.b.1", ".", "..", "", "é %2F+\n", string(data('a', 249)), string(data('a', 248))}
	id := ID{"a", 1, "b"}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			group := open(t)
			for i, g := range groups {
				s := group(g)
				if topic, ok := s.(*Topic); ok {
					topic.log.(*memoryLog).max = 400
				}
				wantIDs(t, s)
				put(t, s, id, 1, data(byte(i), 50))
			}
			for i, g := range groups {
				wantIDs(t, group(g), "a/1/b of 1")
				wantData(t, group(g), id, data(byte(i), 50))
			}
			for i, g := range groups {
				if err := group(g).Delete(t.Context(), []ID{id}); err != nil {
					t.Fatal(err)
				}
				for j, other := range groups {
					if got := len(entries(t, group(other))); got != 0 && j <= i || got != 1 && j > i {
						t.Errorf("group %q has %d checkpoints after those of %q were deleted", other, got, g)
					}
				}
			}
		})
	}
}

func TestPrune(t *testing.T) {
	id := func(sequence int64, writer string) ID { return ID{"a", sequence, writer} }
	all := []Entry{
		{ID: id(9, "b")},
		{ID: id(8, "a")},
		{ID: id(8, "b"), Err: ErrUnfinished},
		{ID: id(6, "a")},
		{ID: id(5, "a")},
		{ID: id(5, "b")},
		{ID: id(4, "a")},
		{ID: id(4, "b"), Err: ErrCorrupt},
		{ID: ID{"f", 3, "e"}},
	}
	tests := []struct {
		name      string
		committed []ID
		want      []ID
	}{
		{"no commit is known", nil, nil},
		{"two commits are known", []ID{id(6, "a"), id(8, "a")}, nil},
		{"one commit is told thrice", []ID{id(8, "a"), id(8, "a"), id(8, "a")}, nil},
		{"three", []ID{id(5, "a"), id(6, "a"), id(8, "a")}, []ID{id(4, "a"), id(4, "b"), {"f", 3, "e"}}},
		{"more, in any order", []ID{id(8, "a"), id(4, "a"), id(6, "a"), id(5, "a")}, []ID{id(4, "a"), id(4, "b"), {"f", 3, "e"}}},
		{"the lowest is the third", []ID{{"f", 3, "e"}, id(4, "a"), id(5, "a")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Prune(all, tt.committed); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// Whatever is in the store, the three newest commits and all above them stay, and what stays is bounded.
func TestPruneKeeps(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 1000 {
		var all []Entry
		var committed []ID
		for sequence := range int64(random.IntN(12)) {
			for _, writer := range []string{"a", "b"}[:random.IntN(3)] {
				e := Entry{ID: ID{"a", sequence, writer}}
				if writer == "a" && random.IntN(2) == 0 {
					committed = append(committed, e.ID)
				} else if random.IntN(2) == 0 {
					e.Err = ErrUnfinished
				}
				all = append(all, e)
			}
		}
		gone := Prune(all, committed)
		keep := committed[max(0, len(committed)-3):]
		for _, e := range all {
			deleted := slices.Contains(gone, e.ID)
			below := len(keep) == 3 && e.ID.Sequence < keep[0].Sequence
			if deleted != below {
				t.Fatalf("of %v with commits %v, %v were deleted: wrong for %v", all, committed, gone, e.ID)
			}
		}
	}
}
