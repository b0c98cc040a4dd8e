package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Row names a row of the table of what a start decides.
type Row string

// The rows, and what leads to them.
const (
	RowFresh     Row = "fresh"             // no commits, no checkpoint: fresh models at the configured start
	RowNewest    Row = "resume_newest"     // no commits, a checkpoint: resume from the newest whole one
	RowResume    Row = "resume"            // commits of one checkpoint, which is whole: resume from it
	RowOlder     Row = "resume_older"      // it is not whole, an older one of its lineage is: resume from that
	RowLost      Row = "lost"              // none of its lineage is whole: fresh models at the configured start
	RowStoreless Row = "storeless"         // commits of a group that ran without a store: fresh models at the configured start
	RowOperator  Row = "operator_reset"    // someone else's commits: fresh models at these offsets
	RowMixed     Row = "refuse_mixed"      // commits that do not belong together: refused
	RowVersion   Row = "refuse_version"    // the checkpoint to resume from is of another version: refused
	RowReset     Row = "environment_reset" // LEARNER_RESET with an id that is not used yet: fresh models where it says
)

// Rest says where a partition begins for which a decision has no offset.
type Rest int

// The places.
const (
	AtBeginning Rest = iota // of its log: the topic has grown
	AtStart                 // where LEARNER_START says
	AtReset                 // where LEARNER_RESET says
)

// Commit is what the group has committed for a partition.
type Commit struct {
	Offset   int64
	Metadata string
}

// Situation is what a member finds when it has got the partitions: first the commits are read, then the entries. A
// commit or a list that could not be read is no situation to decide in: wait and ask again.
type Situation struct {
	Source
	Partitions []int32                  // all of the topic
	Commits    map[int32]Commit         // of partitions for which something is committed
	Entries    []Entry                  // of the store, newest first
	Load       func(ID) ([]byte, error) // reads a checkpoint, with the errors of [Store]; nil: no store is kept
	Start      string                   // LEARNER_START, for people
	Reset      string                   // LEARNER_RESET, for people
	ResetID    string                   // LEARNER_RESET_ID; empty: no reset is configured
}

// Decision is what a start does. Row, Found, and Follows make one log line.
type Decision struct {
	Row     Row
	Found   string // in the commits and the store
	Follows string
	Broken  []Entry // checkpoints that cannot be used, with the reason in Err, newest first

	Refuse error       // set: the start is refused, and the rest below is not
	Resume *Checkpoint // nil: fresh models in a new lineage

	Offsets   map[int32]int64 // where partitions begin
	Rest      Rest            // where the others begin
	Relearned int64           // records, at most, that are learned again because an older checkpoint is used
	Resets    []string        // ids used so far, the one that is used now included
	Sequence  int64           // of the next checkpoint: above every other that is known
	Committed []ID            // checkpoints of the lineage known to be committed, oldest first
}

// howToReset ends the error of a refused start.
const howToReset = "to begin a new lineage, stop all members and run learner reset --to earliest (or latest, or a time), " +
	"or set LEARNER_RESET and a LEARNER_RESET_ID that was not used yet"

// Decide says what follows from what was found. It returns an error where a checkpoint could not be read: then nothing
// is decided, and the caller asks again. A broken checkpoint is no such error.
func Decide(s *Situation) (*Decision, error) {
	d := decider{Situation: s, loaded: make(map[ID]loaded)}
	decision, err := d.decide()
	if err != nil {
		return nil, fmt.Errorf("decide what to start from: %w", err)
	}
	return decision, nil
}

// decider is Decide at work.
type decider struct {
	*Situation
	loaded map[ID]loaded

	// Partitions by whose commit they have.
	ours                     map[ID][]int32
	storeless, foreign, none []int32
}

// loaded is a checkpoint, or why it cannot be used.
type loaded struct {
	checkpoint *Checkpoint
	err        error
}

// errElsewhere: a checkpoint is of another cluster, topic, or group.
var errElsewhere = errors.New("checkpoint of another cluster, topic, or group")

func (d *decider) decide() (*Decision, error) {
	if err := d.sort(); err != nil {
		return nil, err
	}
	decision, err := d.row()
	if err != nil {
		return nil, err
	}
	if err := d.resets(decision); err != nil {
		return nil, err
	}
	decision.Sequence = d.sequence()
	for _, e := range d.Entries {
		if err := cmp.Or(e.Err, d.loaded[e.ID].err); err != nil && !errors.Is(err, errElsewhere) {
			e.Err = err
			decision.Broken = append(decision.Broken, e)
		}
	}
	return decision, nil
}

// sort finds out whose commits there are.
func (d *decider) sort() error {
	d.ours = make(map[ID][]int32)
	for _, p := range slices.Sorted(slices.Values(d.Partitions)) {
		c, ok := d.Commits[p]
		if !ok {
			d.none = append(d.none, p)
			continue
		}
		origin, id := ParseMetadata(c.Metadata)
		switch origin {
		case Ours:
			// Where the checkpoint is whole, its offset is the commit's.
			l, err := d.load(id)
			if err != nil {
				return err
			}
			if l.checkpoint != nil {
				if next, ok := l.checkpoint.Next(p); !ok || next != c.Offset {
					d.foreign = append(d.foreign, p)
					continue
				}
			}
			d.ours[id] = append(d.ours[id], p)
		case Storeless:
			d.storeless = append(d.storeless, p)
		case Foreign:
			d.foreign = append(d.foreign, p)
		}
	}
	return nil
}

// load reads a checkpoint once. Its error is that of a store that could not be read; that a checkpoint cannot be used is
// part of the answer.
func (d *decider) load(id ID) (loaded, error) {
	if l, ok := d.loaded[id]; ok {
		return l, nil
	}
	l := loaded{err: ErrNotFound}
	if i := slices.IndexFunc(d.Entries, func(e Entry) bool { return e.ID == id }); i >= 0 {
		l.checkpoint, l.err = d.read(&d.Entries[i])
	}
	for _, known := range []error{nil, ErrNotFound, ErrUnfinished, ErrCorrupt, ErrVersion, errElsewhere} {
		if errors.Is(l.err, known) {
			d.loaded[id] = l
			return l, nil
		}
	}
	return l, l.err
}

func (d *decider) read(e *Entry) (*Checkpoint, error) {
	if e.Err != nil {
		return nil, e.Err
	}
	data, err := d.Load(e.ID)
	if err != nil {
		return nil, err
	}
	c, err := Decode(data)
	switch {
	case err != nil:
		return nil, err
	case c.ID != e.ID || c.Generation != e.Generation:
		return nil, fmt.Errorf("%w: it says that it is %s of generation %d, not of %d", ErrCorrupt, c.ID, c.Generation, e.Generation)
	case !d.counts(&c.Source):
		return nil, errElsewhere
	}
	return c, nil
}

// newest returns the newest usable checkpoint among the entries that match. One of an unknown version ends the search
// with its error.
func (d *decider) newest(match func(*Entry) bool) (loaded, error) {
	for i := range d.Entries {
		if !match(&d.Entries[i]) {
			continue
		}
		l, err := d.load(d.Entries[i].ID)
		if err != nil || l.checkpoint != nil || errors.Is(l.err, ErrVersion) {
			return l, err
		}
	}
	return loaded{}, nil
}

// row finds the row of the table.
func (d *decider) row() (*Decision, error) {
	mixed := len(d.ours)
	for _, partitions := range [][]int32{d.storeless, d.foreign} {
		if len(partitions) > 0 {
			mixed++
		}
	}
	switch {
	case mixed > 1:
		return d.mixed(), nil
	case len(d.storeless) > 0:
		return d.fresh(RowStoreless, "commits of a group that ran without a checkpoint store"), nil
	case len(d.foreign) > 0:
		return d.operator(), nil
	case len(d.ours) == 1:
		for id := range d.ours {
			return d.resume(id)
		}
	}
	l, err := d.newest(func(*Entry) bool { return true })
	switch {
	case err != nil:
		return nil, err
	case l.checkpoint != nil:
		return from(l.checkpoint, RowNewest, fmt.Sprintf("no commits, and checkpoint %s, the newest whole one", l.checkpoint.ID)), nil
	case errors.Is(l.err, ErrVersion):
		return refuseVersion("no commits, and checkpoints", l.err), nil
	case len(d.Entries) > 0:
		return d.fresh(RowFresh, fmt.Sprintf("no commits, and %d checkpoints of which none can be used", len(d.Entries))), nil
	}
	return d.fresh(RowFresh, "no commits and no checkpoints"), nil
}

// resume decides where all commits are those of one checkpoint.
func (d *decider) resume(id ID) (*Decision, error) {
	found := fmt.Sprintf("commits of checkpoint %s on %s", id, list(d.ours[id]))
	l, err := d.load(id)
	switch {
	case err != nil:
		return nil, err
	case l.checkpoint != nil:
		return from(l.checkpoint, RowResume, found+", which is whole"), nil
	case errors.Is(l.err, ErrVersion):
		return refuseVersion(found, l.err), nil
	case d.Load == nil:
		return d.lost(found + ", and no store is configured to read it from"), nil
	}
	found += fmt.Sprintf(", which cannot be used (%v)", l.err)
	l, err = d.newest(func(e *Entry) bool { return e.ID.Lineage == id.Lineage && e.ID.Sequence < id.Sequence })
	switch {
	case err != nil:
		return nil, err
	case errors.Is(l.err, ErrVersion):
		return refuseVersion(found, l.err), nil
	case l.checkpoint == nil:
		return d.lost(found + ", and no other checkpoint of its lineage is whole"), nil
	}
	decision := from(l.checkpoint, RowOlder, fmt.Sprintf("%s, and checkpoint %s of its lineage, which is whole", found, l.checkpoint.ID))
	for _, p := range d.ours[id] {
		if next, ok := l.checkpoint.Next(p); ok {
			decision.Relearned += max(0, d.Commits[p].Offset-next)
		}
	}
	decision.Follows += fmt.Sprintf("; at most %d records are learned again", decision.Relearned)
	return decision, nil
}

// from decides to resume from a checkpoint.
func from(c *Checkpoint, row Row, found string) *Decision {
	d := &Decision{
		Row: row, Found: found, Follows: fmt.Sprintf("resume from checkpoint %s with its own offsets", c.ID),
		Resume: c, Offsets: make(map[int32]int64, len(c.Partitions)), Rest: AtBeginning, Resets: c.Resets,
		Committed: append(slices.Clone(c.Previous), c.ID),
	}
	for i := range c.Partitions {
		d.Offsets[c.Partitions[i].Partition] = c.Partitions[i].Next
	}
	return d
}

// fresh decides on a new lineage at the configured start.
func (d *decider) fresh(row Row, found string) *Decision {
	return &Decision{
		Row: row, Found: found, Follows: fmt.Sprintf("new lineage with fresh models at LEARNER_START (%s)", d.Start), Rest: AtStart,
	}
}

func (d *decider) lost(found string) *Decision {
	decision := d.fresh(RowLost, found)
	decision.Follows = "the model is lost: " + decision.Follows
	return decision
}

// operator decides where someone else's commits are all that there is.
func (d *decider) operator() *Decision {
	decision := d.fresh(RowOperator, "someone else's commits on "+list(d.foreign)+": the group was reset")
	decision.Follows = "new lineage with fresh models at the committed offsets"
	if len(d.none) > 0 {
		decision.Follows += fmt.Sprintf(", and at LEARNER_START (%s) on %s", d.Start, list(d.none))
	}
	decision.Offsets = make(map[int32]int64, len(d.foreign))
	for _, p := range d.foreign {
		decision.Offsets[p] = d.Commits[p].Offset
	}
	return decision
}

// mixed refuses commits that do not belong together.
func (d *decider) mixed() *Decision {
	var found []string
	for _, id := range slices.SortedFunc(maps.Keys(d.ours), func(a, b ID) int { return cmp.Compare(a.String(), b.String()) }) {
		found = append(found, fmt.Sprintf("commits of checkpoint %s on %s", id, list(d.ours[id])))
	}
	if len(d.storeless) > 0 {
		found = append(found, "commits without a checkpoint store on "+list(d.storeless))
	}
	if len(d.foreign) > 0 {
		found = append(found, "someone else's commits on "+list(d.foreign))
	}
	return refuse(RowMixed, strings.Join(found, ", "),
		fmt.Errorf("the committed offsets do not belong together: %s; all partitions must be reset at once: %s", strings.Join(found, ", "), howToReset))
}

func refuseVersion(found string, err error) *Decision {
	return refuse(RowVersion, fmt.Sprintf("%s (%v)", found, err),
		fmt.Errorf("resume: %w; run a release that reads it, or, %s", err, howToReset))
}

func refuse(row Row, found string, err error) *Decision {
	return &Decision{Row: row, Found: found, Follows: "the start is refused", Refuse: err}
}

// resets finds out which reset ids are used, and turns the decision into the configured reset if its id is not among
// them. Where nothing is resumed, the newest checkpoint that can be read knows; ids live on through any reset.
func (d *decider) resets(decision *Decision) error {
	if decision.Row == RowVersion {
		return nil // it may hold the id: a release that cannot read it must not reset again
	}
	for i := 0; i < len(d.Entries) && decision.Resume == nil; i++ {
		l, err := d.load(d.Entries[i].ID)
		if err != nil {
			return err
		}
		if l.checkpoint != nil {
			decision.Resets = l.checkpoint.Resets
			break
		}
	}
	decision.Resets = slices.Clone(decision.Resets)
	if d.ResetID == "" || slices.Contains(decision.Resets, d.ResetID) {
		return nil
	}
	*decision = Decision{
		Row: RowReset, Found: fmt.Sprintf("LEARNER_RESET_ID %q, which was not used yet; %s", d.ResetID, decision.Found),
		Follows: fmt.Sprintf("new lineage with fresh models at LEARNER_RESET (%s)", d.Reset),
		Rest:    AtReset, Resets: append(decision.Resets, d.ResetID),
	}
	return nil
}

// sequence returns the sequence of the next checkpoint. The first is 1.
func (d *decider) sequence() int64 {
	highest := int64(0)
	for _, e := range d.Entries {
		highest = max(highest, e.ID.Sequence)
	}
	for _, c := range d.Commits {
		_, id := ParseMetadata(c.Metadata)
		highest = max(highest, id.Sequence)
	}
	return highest + 1
}

// list names partitions, sorted, with runs drawn together: partitions 0-2, 5.
func list(partitions []int32) string {
	var text strings.Builder
	text.WriteString("partition ")
	if len(partitions) > 1 {
		text.Reset()
		text.WriteString("partitions ")
	}
	for i := 0; i < len(partitions); {
		last := i
		for last+1 < len(partitions) && partitions[last+1] == partitions[last]+1 {
			last++
		}
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(strconv.Itoa(int(partitions[i])))
		if last > i {
			text.WriteString("-" + strconv.Itoa(int(partitions[last])))
		}
		i = last + 1
	}
	return text.String()
}
