package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"learner/pkg/sgd"
)

// situation is a store for decisions, and what is committed beside it.
type situation struct {
	*testing.T
	*Situation
	files map[ID][]byte
	loads int
}

func newSituation(t *testing.T) *situation {
	t.Helper()
	s := &situation{T: t, files: map[ID][]byte{}}
	s.Situation = &Situation{
		Source: testSource, Partitions: []int32{0, 1, 2}, Commits: map[int32]Commit{}, Start: "earliest",
		Load: func(id ID) ([]byte, error) {
			s.loads++
			if s.files[id] == nil {
				return nil, ErrNotFound
			}
			return s.files[id], nil
		},
	}
	return s
}

// has puts a checkpoint of partitions 0 and 1 into the store, all at offset next.
func (s *situation) has(id string, next int64, changes ...func(*Checkpoint)) {
	s.Helper()
	c := &Checkpoint{
		ID: parse(s.T, id), Generation: 1, Source: testSource, Resets: []string{"r1"},
		Partitions: []Partition{{Partition: 0, Next: next}, {Partition: 1, Next: next}},
	}
	for _, change := range changes {
		change(c)
	}
	s.lists(Entry{ID: c.ID, Generation: 1})
	s.files[c.ID] = encode(s.T, c)
}

// lists puts an entry into the list of the store.
func (s *situation) lists(e Entry) {
	s.Entries = append(s.Entries, e)
	slices.SortFunc(s.Entries, newestFirst)
}

// damaged puts a corrupt checkpoint into the store.
func (s *situation) damaged(id string) {
	s.has(id, 1)
	s.files[parse(s.T, id)][200] ^= 1
}

func (s *situation) commits(offset int64, metadata string, partitions ...int32) {
	for _, p := range partitions {
		s.Commits[p] = Commit{offset, metadata}
	}
}

func parse(t *testing.T, id string) ID {
	t.Helper()
	parsed, err := ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func inTopic(name string) func(*Checkpoint) { return func(c *Checkpoint) { c.Topic = name } }

func resets(ids ...string) func(*Checkpoint) { return func(c *Checkpoint) { c.Resets = ids } }

// ofVersion2 makes a checkpoint one that another release has written.
func (s *situation) ofVersion2(id string) {
	s.has(id, 1)
	s.files[parse(s.T, id)] = forge(s.T, s.files[parse(s.T, id)], func(m map[string]string, _ *[]sgd.Tensor) { m["version"] = "2" })
}

var r1 = []string{"r1"}

func TestDecide(t *testing.T) {
	type want struct {
		row       Row
		found     string // part of it
		follows   string // part of it
		resume    string // id
		offsets   map[int32]int64
		rest      Rest
		relearned int64
		resets    []string
		sequence  int64
		broken    int
	}
	tests := []struct {
		name  string
		setup func(s *situation)
		want  want
	}{
		{
			"first start", func(*situation) {},
			want{row: RowFresh, found: "no commits and no checkpoints", follows: "fresh models at LEARNER_START (earliest)", rest: AtStart, sequence: 1},
		},
		{
			"first start that died before its first checkpoint was whole",
			func(s *situation) { s.lists(Entry{ID{"a", 1, "b"}, 0, ErrUnfinished}) },
			want{row: RowFresh, found: "no commits, and 1 checkpoints of which none can be used", follows: "new lineage", rest: AtStart, sequence: 2, broken: 1},
		},
		{
			"checkpoints of another topic count only for the sequence",
			func(s *situation) { s.has("a/7/b", 10, inTopic("other")) },
			want{row: RowFresh, found: "none can be used", rest: AtStart, sequence: 8},
		},
		{
			"checkpoints of another cluster",
			func(s *situation) { s.has("a/7/b", 10, func(c *Checkpoint) { c.ClusterID = "c2" }) },
			want{row: RowFresh, found: "none can be used", rest: AtStart, sequence: 8},
		},
		{
			"checkpoints of another group",
			func(s *situation) { s.has("a/7/b", 10, func(c *Checkpoint) { c.Group = "g2" }) },
			want{row: RowFresh, found: "none can be used", rest: AtStart, sequence: 8},
		},

		{
			"new group or expired commits",
			func(s *situation) { s.has("a/7/b", 10); s.has("a/6/b", 9) },
			want{
				row: RowNewest, found: "no commits, and checkpoint a/7/b, the newest whole one", follows: "resume from checkpoint a/7/b",
				resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 8,
			},
		},
		{
			"expired commits, the newest checkpoint is damaged",
			func(s *situation) { s.damaged("b/9/b"); s.has("a/7/b", 10) },
			want{row: RowNewest, resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 10, broken: 1},
		},
		{
			"expired commits, the newest checkpoint is of another topic",
			func(s *situation) { s.has("b/9/b", 11, inTopic("other")); s.has("a/7/b", 10) },
			want{row: RowNewest, resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 10},
		},
		{
			"expired commits, equal sequences: the later generation",
			func(s *situation) {
				s.has("a/7/f", 10)
				s.has("a/7/b", 11, func(c *Checkpoint) { c.Generation = 2 })
				s.Entries[1].Generation = 2
				slices.SortFunc(s.Entries, newestFirst)
			},
			want{row: RowNewest, resume: "a/7/b", offsets: map[int32]int64{0: 11, 1: 11}, resets: r1, sequence: 8},
		},

		{
			"plain restart",
			func(s *situation) {
				s.has("a/6/b", 9)
				s.has("a/7/b", 10, func(c *Checkpoint) { c.Previous = []ID{{"a", 5, "b"}, {"a", 6, "b"}} })
				s.commits(10, "a/7/b", 0, 1)
			},
			want{
				row: RowResume, found: "commits of checkpoint a/7/b on partitions 0-1, which is whole", follows: "resume from checkpoint a/7/b",
				resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 8,
			},
		},
		{
			"a checkpoint above the committed one is not followed, and not overwritten",
			func(s *situation) { s.has("a/7/b", 10); s.has("a/8/b", 12); s.commits(10, "a/7/b", 0, 1) },
			want{row: RowResume, resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 9},
		},
		{
			"some commits of it are missing",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 1) },
			want{row: RowResume, found: "on partition 1,", resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 8},
		},

		{
			"the committed one is damaged",
			func(s *situation) {
				s.has("a/5/b", 6)
				s.has("a/6/b", 7, func(c *Checkpoint) { c.Partitions[1].Next = 9 })
				s.damaged("a/7/b")
				s.has("b/8/b", 1)
				s.commits(10, "a/7/b", 0, 1)
			},
			want{
				row: RowOlder, found: "a/7/b on partitions 0-1, which cannot be used (", follows: "resume from checkpoint a/6/b with its own offsets; at most 4 records are learned again",
				resume: "a/6/b", offsets: map[int32]int64{0: 7, 1: 9}, relearned: 4, resets: r1, sequence: 9, broken: 1,
			},
		},
		{
			"the committed one is gone",
			func(s *situation) { s.has("a/6/b", 7); s.commits(10, "a/7/b", 0, 1, 2) },
			want{
				row: RowOlder, found: "a/7/b on partitions 0-2, which cannot be used (no such checkpoint)", resume: "a/6/b",
				offsets: map[int32]int64{0: 7, 1: 7}, relearned: 6, resets: r1, sequence: 8,
			},
		},
		{
			"the committed one and the one before it are unfinished",
			func(s *situation) {
				s.has("a/5/b", 7)
				s.lists(Entry{ID{"a", 6, "b"}, 0, ErrUnfinished})
				s.lists(Entry{ID{"a", 7, "b"}, 0, ErrUnfinished})
				s.commits(10, "a/7/b", 0, 1)
			},
			want{row: RowOlder, resume: "a/5/b", offsets: map[int32]int64{0: 7, 1: 7}, relearned: 6, resets: r1, sequence: 8, broken: 2},
		},
		{
			"an older one of the lineage counts, a newer one does not",
			func(s *situation) {
				s.has("a/8/b", 12)
				s.has("a/6/c", 7)
				s.damaged("a/7/b")
				s.commits(10, "a/7/b", 0, 1)
			},
			want{row: RowOlder, resume: "a/6/c", offsets: map[int32]int64{0: 7, 1: 7}, relearned: 6, resets: r1, sequence: 9, broken: 1},
		},

		{
			"none of the lineage is whole",
			func(s *situation) { s.damaged("a/7/b"); s.has("b/6/b", 7); s.commits(10, "a/7/b", 0, 1) },
			want{
				row: RowLost, found: "and no other checkpoint of its lineage is whole", follows: "the model is lost: new lineage with fresh models at LEARNER_START",
				rest: AtStart, resets: r1, sequence: 8, broken: 1,
			},
		},
		{
			"the store is empty",
			func(s *situation) { s.commits(10, "a/7/b", 0, 1) },
			want{row: RowLost, found: "no such checkpoint", follows: "the model is lost", rest: AtStart, sequence: 8},
		},
		{
			"the committed one is of another topic",
			func(s *situation) { s.has("a/7/b", 10, inTopic("other")); s.commits(10, "a/7/b", 0, 1) },
			want{row: RowLost, found: "another cluster, topic, or group", follows: "the model is lost", rest: AtStart, sequence: 8},
		},
		{
			"the store is taken away",
			func(s *situation) { s.Load = nil; s.commits(10, "a/7/b", 0, 1) },
			want{row: RowLost, found: "no store is configured", follows: "the model is lost", rest: AtStart, sequence: 8},
		},

		{
			"the group ran without a store",
			func(s *situation) { s.has("a/6/b", 7); s.commits(10, "none/a/7/b", 0, 1) },
			want{row: RowStoreless, found: "ran without a checkpoint store", follows: "at LEARNER_START (earliest)", rest: AtStart, resets: r1, sequence: 8},
		},
		{
			"it runs without one again",
			func(s *situation) { s.Load = nil; s.commits(10, "none/a/7/b", 1); s.commits(10, "none/b/8/b", 2) },
			want{row: RowStoreless, rest: AtStart, sequence: 9},
		},

		{
			"an operator reset the group",
			func(s *situation) {
				s.has("a/7/b", 10)
				s.commits(0, "", 0)
				s.commits(5, "", 1)
				s.commits(0, "by hand", 2)
			},
			want{
				row: RowOperator, found: "someone else's commits on partitions 0-2", follows: "fresh models at the committed offsets",
				offsets: map[int32]int64{0: 0, 1: 5, 2: 0}, rest: AtStart, resets: r1, sequence: 8,
			},
		},
		{
			"an operator reset some partitions, and nothing is committed for the others",
			func(s *situation) { s.has("a/7/b", 10); s.commits(4, "", 1) },
			want{
				row: RowOperator, found: "someone else's commits on partition 1", follows: "and at LEARNER_START (earliest) on partitions 0, 2",
				offsets: map[int32]int64{1: 4}, rest: AtStart, resets: r1, sequence: 8,
			},
		},
		{
			"an operator reset the group with a tool that keeps the metadata",
			func(s *situation) { s.has("a/7/b", 10); s.commits(0, "a/7/b", 0, 1) },
			want{row: RowOperator, offsets: map[int32]int64{0: 0, 1: 0}, rest: AtStart, resets: r1, sequence: 8},
		},
		{
			"an operator reset the group, without a store",
			func(s *situation) { s.Load = nil; s.commits(3, "", 0, 1, 2) },
			want{row: RowOperator, offsets: map[int32]int64{0: 3, 1: 3, 2: 3}, rest: AtStart, sequence: 1},
		},
		{
			"an operator reset the group, and the newest checkpoint is of another version",
			func(s *situation) { s.ofVersion2("a/8/b"); s.has("a/7/b", 10); s.commits(0, "", 0, 1, 2) },
			want{row: RowOperator, offsets: map[int32]int64{0: 0, 1: 0, 2: 0}, rest: AtStart, resets: r1, sequence: 9, broken: 1},
		},

		{
			"commits for partitions that the topic does not have",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 0, 1); s.commits(3, "", 9) },
			want{row: RowResume, resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 8},
		},

		{
			"configured reset, first start",
			func(s *situation) { s.ResetID = "r2" },
			want{
				row: RowReset, found: `LEARNER_RESET_ID "r2", which was not used yet; no commits and no checkpoints`,
				follows: "fresh models at LEARNER_RESET (latest)", rest: AtReset, resets: []string{"r2"}, sequence: 1,
			},
		},
		{
			"configured reset, plain restart",
			func(s *situation) { s.ResetID = "r2"; s.has("a/7/b", 10); s.commits(10, "a/7/b", 0, 1) },
			want{row: RowReset, rest: AtReset, resets: []string{"r1", "r2"}, sequence: 8},
		},
		{
			"configured reset that was used",
			func(s *situation) { s.ResetID = "r1"; s.has("a/7/b", 10); s.commits(10, "a/7/b", 0, 1) },
			want{row: RowResume, resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 8},
		},
		{
			"configured reset whose checkpoint was written and not committed",
			func(s *situation) {
				s.ResetID = "r2"
				s.has("a/7/b", 10)
				s.has("b/8/b", 0, resets("r1", "r2"))
				s.commits(10, "a/7/b", 0, 1)
			},
			want{row: RowReset, rest: AtReset, resets: []string{"r1", "r2"}, sequence: 9},
		},
		{
			"configured reset that was used, commits expired",
			func(s *situation) { s.ResetID = "r1"; s.has("a/7/b", 10) },
			want{row: RowNewest, resume: "a/7/b", offsets: map[int32]int64{0: 10, 1: 10}, resets: r1, sequence: 8},
		},
		{
			"configured reset that was used, then an operator's",
			func(s *situation) { s.ResetID = "r1"; s.has("a/7/b", 10); s.commits(0, "", 0, 1, 2) },
			want{row: RowOperator, offsets: map[int32]int64{0: 0, 1: 0, 2: 0}, rest: AtStart, resets: r1, sequence: 8},
		},
		{
			"configured reset and an operator's in the same moment",
			func(s *situation) { s.ResetID = "r2"; s.has("a/7/b", 10); s.commits(4, "", 0, 1, 2) },
			want{row: RowReset, found: "someone else's commits", rest: AtReset, resets: []string{"r1", "r2"}, sequence: 8},
		},
		{
			"configured reset, commits that do not belong together",
			func(s *situation) {
				s.ResetID = "r2"
				s.has("a/7/b", 10)
				s.commits(10, "a/7/b", 0)
				s.commits(4, "", 1)
			},
			want{row: RowReset, found: "someone else's commits on partition 1", rest: AtReset, resets: []string{"r1", "r2"}, sequence: 8},
		},
		{
			"configured reset that was used, the committed checkpoint is damaged",
			func(s *situation) {
				s.ResetID = "r1"
				s.damaged("a/7/b")
				s.has("a/6/b", 7)
				s.commits(10, "a/7/b", 0, 1)
			},
			want{row: RowOlder, resume: "a/6/b", offsets: map[int32]int64{0: 7, 1: 7}, relearned: 6, resets: r1, sequence: 8, broken: 1},
		},
		{
			"configured reset that was used in an older lineage, the model is lost",
			func(s *situation) {
				s.ResetID = "r1"
				s.damaged("b/7/b")
				s.has("a/6/b", 7)
				s.commits(10, "b/7/b", 0, 1)
			},
			want{row: RowLost, rest: AtStart, resets: r1, sequence: 8, broken: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSituation(t)
			s.Reset = "latest"
			tt.setup(s)
			d, err := Decide(s.Situation)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %s: %s", d.Row, d.Found, d.Follows)
			got := want{
				row: d.Row, found: tt.want.found, follows: tt.want.follows, offsets: d.Offsets, rest: d.Rest, relearned: d.Relearned,
				resets: d.Resets, sequence: d.Sequence, broken: len(d.Broken),
			}
			if d.Resume != nil {
				got.resume = d.Resume.ID.String()
				if committed := append(slices.Clone(d.Resume.Previous), d.Resume.ID); !reflect.DeepEqual(d.Committed, committed) {
					t.Errorf("committed %v, want %v", d.Committed, committed)
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if !strings.Contains(d.Found, tt.want.found) || !strings.Contains(d.Follows, tt.want.follows) || d.Refuse != nil {
				t.Errorf("found %q, follows %q, refused: %v", d.Found, d.Follows, d.Refuse)
			}
			for _, e := range d.Broken {
				if e.Err == nil {
					t.Errorf("broken without a reason: %v", e)
				}
			}
			if s.loads > len(s.Entries) {
				t.Errorf("%d checkpoints loaded, %d are there", s.loads, len(s.Entries))
			}
		})
	}
}

func TestDecideRefuses(t *testing.T) {
	tests := []struct {
		name  string
		setup func(s *situation)
		row   Row
		want  []string
	}{
		{
			"ours beside someone else's",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 0, 1); s.commits(3, "", 2) },
			RowMixed,
			[]string{"commits of checkpoint a/7/b on partitions 0-1", "someone else's commits on partition 2", "learner reset --to"},
		},
		{
			"ours beside one whose offset was changed",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 0); s.commits(0, "a/7/b", 1) },
			RowMixed,
			[]string{"commits of checkpoint a/7/b on partition 0", "someone else's commits on partition 1"},
		},
		{
			"ours on a partition that the checkpoint does not know",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 0, 1, 2) },
			RowMixed,
			[]string{"someone else's commits on partition 2"},
		},
		{
			"two ids of ours",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 0); s.commits(9, "a/6/b", 1, 2) },
			RowMixed,
			[]string{"checkpoint a/7/b on partition 0", "checkpoint a/6/b on partitions 1-2"},
		},
		{
			"ours beside one without a store",
			func(s *situation) { s.has("a/7/b", 10); s.commits(10, "a/7/b", 0); s.commits(9, "none/a/6/b", 1) },
			RowMixed,
			[]string{"commits without a checkpoint store on partition 1"},
		},
		{
			"one without a store beside someone else's",
			func(s *situation) { s.commits(10, "", 0); s.commits(9, "none/a/6/b", 1) },
			RowMixed,
			[]string{"commits without a checkpoint store on partition 1", "someone else's commits on partition 0"},
		},
		{
			"the same with a configured reset that was used",
			func(s *situation) {
				s.ResetID = "r1"
				s.has("a/7/b", 10)
				s.commits(10, "a/7/b", 0)
				s.commits(4, "", 1)
			},
			RowMixed,
			[]string{"someone else's commits on partition 1"},
		},
		{
			"the committed checkpoint is of another version",
			func(s *situation) { s.ofVersion2("a/7/b"); s.has("a/6/b", 7); s.commits(1, "a/7/b", 0, 1) },
			RowVersion,
			[]string{`version "2", this build reads 1`, "run a release that reads it"},
		},
		{
			"the committed checkpoint's manifest is of another version",
			func(s *situation) {
				s.lists(Entry{ID{"a", 7, "b"}, 0, fmt.Errorf("%w: 2", ErrVersion)})
				s.commits(1, "a/7/b", 0, 1)
			},
			RowVersion,
			[]string{"run a release that reads it"},
		},
		{
			"the one to fall back to is of another version",
			func(s *situation) {
				s.damaged("a/7/b")
				s.ofVersion2("a/6/b")
				s.has("a/5/b", 7)
				s.commits(1, "a/7/b", 0, 1)
			},
			RowVersion,
			[]string{`version "2"`},
		},
		{
			"no commits, the newest checkpoint is of another version",
			func(s *situation) { s.ofVersion2("a/7/b"); s.has("a/6/b", 7) },
			RowVersion,
			[]string{`version "2"`},
		},
		{
			"with a configured reset, which it may know",
			func(s *situation) { s.ResetID = "r1"; s.ofVersion2("a/7/b"); s.commits(1, "a/7/b", 0, 1) },
			RowVersion,
			[]string{`version "2"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSituation(t)
			tt.setup(s)
			d, err := Decide(s.Situation)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %s: %s: %v", d.Row, d.Found, d.Follows, d.Refuse)
			if d.Row != tt.row || d.Refuse == nil || d.Resume != nil || d.Offsets != nil {
				t.Fatalf("row %s, refused: %v, resume %v", d.Row, d.Refuse, d.Resume)
			}
			for _, want := range tt.want {
				if !strings.Contains(d.Refuse.Error(), want) {
					t.Errorf("refused with %q, want it to say %q", d.Refuse, want)
				}
			}
		})
	}
}

// A store that cannot be read is no answer, whatever else is known.
func TestDecideNeedsAnAnswer(t *testing.T) {
	for name, setup := range map[string]func(s *situation){
		"the committed one":    func(s *situation) { s.commits(10, "a/7/b", 0, 1) },
		"the newest one":       func(*situation) {},
		"an older one":         func(s *situation) { s.damagedEntry("a/9/b"); s.commits(10, "a/9/b", 0) },
		"one with reset ids":   func(s *situation) { s.commits(0, "", 0, 1, 2) },
		"one, reset waiting":   func(s *situation) { s.ResetID = "r2"; s.commits(0, "none/a/1/b", 0) },
		"one beside another's": func(s *situation) { s.commits(0, "", 0); s.commits(10, "a/7/b", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			s.has("a/7/b", 10)
			setup(s)
			s.Load = func(ID) ([]byte, error) { return nil, errLog }
			if d, err := Decide(s.Situation); !errors.Is(err, errLog) || d != nil {
				t.Errorf("decided on %+v, error %v", d, err)
			}
		})
	}
}

// damagedEntry lists a checkpoint as corrupt.
func (s *situation) damagedEntry(id string) { s.lists(Entry{parse(s.T, id), 1, ErrCorrupt}) }

// A checkpoint that is not the one asked for is not used.
func TestDecideTrustsNoName(t *testing.T) {
	for name, change := range map[string]func(s *situation){
		"another's content":  func(s *situation) { s.files[ID{"a", 7, "b"}] = s.files[ID{"a", 6, "b"}] },
		"another generation": func(s *situation) { s.Entries[0].Generation++ },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			s.has("a/6/b", 7)
			s.has("a/7/b", 10)
			s.commits(7, "a/7/b", 0, 1)
			change(s)
			d, err := Decide(s.Situation)
			if err != nil || d.Row != RowOlder || len(d.Broken) != 1 || !errors.Is(d.Broken[0].Err, ErrCorrupt) {
				t.Errorf("decided on %+v, error %v", d, err)
			}
		})
	}
}

// Whatever is committed and stored, a crash loop with a configured reset resets once.
func TestDecideResetsOnce(t *testing.T) {
	s := newSituation(t)
	s.ResetID = "r2"
	s.has("a/7/b", 10)
	s.commits(10, "a/7/b", 0, 1)
	for start, want := range []Row{RowReset, RowResume, RowResume} {
		d, err := Decide(s.Situation)
		if err != nil || d.Row != want {
			t.Fatalf("start %d: %+v, error %v", start, d, err)
		}
		id := fmt.Sprintf("b/%d/%d", d.Sequence, start)
		s.has(id, int64(start), resets(d.Resets...))
		clear(s.Commits)
		s.commits(int64(start), id, 0, 1)
	}
	// An operator's reset is followed, and the id still counts as used.
	s.commits(0, "", 0, 1)
	d, err := Decide(s.Situation)
	if err != nil || d.Row != RowOperator || !slices.Equal(d.Resets, []string{"r1", "r2"}) {
		t.Errorf("after an operator's reset: %+v, error %v", d, err)
	}
}

func TestDecideLeavesItsInputAlone(t *testing.T) {
	s := newSituation(t)
	s.ResetID = "r2"
	s.Partitions = []int32{2, 0, 1}
	s.damaged("a/7/b")
	s.has("a/6/b", 10)
	s.commits(10, "a/7/b", 0, 1)
	entries, commits := slices.Clone(s.Entries), maps.Clone(s.Commits)
	if _, err := Decide(s.Situation); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(entries, s.Entries) || !reflect.DeepEqual(commits, s.Commits) || !slices.Equal(s.Partitions, []int32{2, 0, 1}) {
		t.Errorf("the situation was changed: %+v", s.Situation)
	}
}
