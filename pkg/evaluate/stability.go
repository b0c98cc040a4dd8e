package evaluate

import (
	"fmt"
	"math"
	"slices"

	"learner/internal/portable"
)

// StabilityAlarm is the population stability index above which a feature's distribution counts as changed. Without a
// change the index of a reference and a window of n rows each is about 2·9/n on average: .0018 for 10,000 rows.
const StabilityAlarm = 0.2

const (
	stabilityFeatures = 64 // that are watched at most: the first ones
	stabilityEdges    = 9  // edges between bins of a feature
	stabilityBins     = 10
	// stabilityValues is how many values of a feature make a histogram that the index can be taken of: fewer differ by chance
	// nearly as much as StabilityAlarm.
	stabilityValues = 400
)

// Stability tells by how much the distribution of each feature has changed since before a frozen copy of a model was
// taken, by the population stability index Σ (p - q)·ln(p/q): the sum is over ten bins, which hold the share p of a
// window's rows and q of the reference's (Siddiqi, Credit Risk Scorecards, 2006; it is Jeffreys' divergence of the two
// histograms).
//
// The reference are the newest rows before the copy was taken, and the bins end at its deciles. A window is as many
// rows that come one after another; the next one begins behind it. Two copies are alive, the newest and the one before
// it, which predicts: each has its reference from the moment it is taken, and rows are compared with that of the copy
// that predicts.
//
// Values that are missing, which are NaN, count nowhere: shares are of the values that are there. A feature of which hardly
// any are there, in the reference or in the window, has no index.
//
// A row costs a search in nine edges per feature, and a copied value while rows are collected.
type Stability struct {
	features int // that are watched
	rows     int // of a reference, and of a window

	collected int       // rows for the next reference since the last copy
	columns   []float64 // the newest of them: features × rows, column by column, each a ring; nil before the first row; NaN: missing

	newest     reference // of the newest copy
	predicting reference // of the copy that predicts

	counted int       // rows in the window so far
	counts  []int     // of these rows: features × bins
	index   []float64 // of the last complete window; NaN without one
}

// reference is a histogram of each feature. Without rows it has no bins. The histogram of a feature with too few values is
// empty.
type reference struct {
	edges  [][stabilityEdges]float64 // rising; +Inf where there are fewer
	counts [][stabilityBins]int      // rows in each bin; bin b has the values above b edges
}

// grow adds empty histograms of further features.
func (r *reference) grow(features int) {
	for r.edges != nil && len(r.edges) < features {
		r.edges = append(r.edges, noEdges)
		r.counts = append(r.counts, [stabilityBins]int{})
	}
}

// noEdges are the edges of an empty histogram.
var noEdges = func() (edges [stabilityEdges]float64) {
	for k := range edges {
		edges[k] = math.Inf(1)
	}
	return edges
}()

// NewStability returns an index over rows of that many features, of which the first 64 are watched. A reference and a
// window have that many rows each, at least 10: the service takes 10,000, or as many as lie between two copies.
func NewStability(features, rows int) *Stability {
	if features < 1 || rows < stabilityBins {
		panic("evaluate: stability without features or rows")
	}
	features = min(features, stabilityFeatures)
	s := &Stability{features: features, rows: rows, counts: make([]int, features*stabilityBins), index: make([]float64, features)}
	s.begin()
	return s
}

// Grow has rows be of more features from the next on, the new ones behind the old ones; those among the first 64 are watched
// too. They have no index until a copy predicts that has collected them. The old ones go on as they were.
func (s *Stability) Grow(features int) {
	more := min(features, stabilityFeatures) - s.features
	if more <= 0 {
		return
	}
	s.features += more
	if s.columns != nil {
		s.columns = append(s.columns, slices.Repeat([]float64{math.NaN()}, more*s.rows)...)
	}
	s.newest.grow(s.features)
	s.predicting.grow(s.features)
	s.counts = append(s.counts, make([]int, more*stabilityBins)...)
	s.index = append(s.index, slices.Repeat([]float64{math.NaN()}, more)...)
}

// begin begins to compare with another reference.
func (s *Stability) begin() {
	s.counted = 0
	clear(s.counts)
	for i := range s.index {
		s.index[i] = math.NaN()
	}
}

// Collect takes a row, of finite values and NaN, for the reference of the next copy. That is of the newest rows collected, so
// the caller may begin as late as that many rows before the copy is due.
func (s *Stability) Collect(x []float64) {
	if s.columns == nil {
		s.columns = make([]float64, s.features*s.rows)
	}
	slot := s.collected % s.rows
	for i, v := range x[:s.features] {
		s.columns[i*s.rows+slot] = v
	}
	s.collected++
}

// CollectRun is Collect for each of a run of rows of that width, row-major, in turn.
func (s *Stability) CollectRun(x []float64, width int) {
	if s.columns == nil {
		s.columns = make([]float64, s.features*s.rows)
	}
	for len(x) > 0 {
		slot := s.collected % s.rows
		n := min(len(x)/width, s.rows-slot)
		for i := range s.features {
			column := s.columns[i*s.rows+slot:][:n]
			for k := range column {
				column[k] = x[k*width+i]
			}
		}
		s.collected += n
		x = x[n*width:]
	}
}

// Mark says that a copy was taken, with the collected rows as its reference, and that the one before it predicts from
// now on. A copy before which fewer rows were collected than a reference takes has none, and nothing is compared while
// it predicts. Mark takes about .1 ms per feature with 10,000 rows.
func (s *Stability) Mark() {
	s.predicting = s.newest
	s.newest = reference{}
	if s.collected >= s.rows {
		s.newest = s.newReference()
	}
	s.collected = 0
	s.begin()
}

// Drop says that both copies were dropped. Nothing is compared until a copy predicts again; collected rows stay.
func (s *Stability) Drop() {
	s.newest, s.predicting = reference{}, reference{}
	s.begin()
}

// newReference returns the histograms of the collected columns, whose values it moves about.
func (s *Stability) newReference() reference {
	r := reference{make([][stabilityEdges]float64, 0, s.features), make([][stabilityBins]int, 0, s.features)}
	room := make([]float64, s.rows)
	var places [stabilityEdges]int
	for column := range slices.Chunk(s.columns, s.rows) {
		values := slices.DeleteFunc(column, math.IsNaN)
		if len(values) < s.least() {
			r.grow(len(r.edges) + 1)
			continue
		}
		for k := range places {
			places[k] = decilePlace(k+1, len(values))
		}
		rank(values, room, places[:])
		edges := deciles(values)
		r.edges = append(r.edges, edges)
		r.counts = append(r.counts, binned(&edges, values))
	}
	return r
}

// least returns how many values of a feature its histogram takes.
func (s *Stability) least() int { return max(stabilityBins, min(stabilityValues, s.rows/2)) }

// binned returns how many values are in each bin.
func binned(edges *[stabilityEdges]float64, values []float64) (counts [stabilityBins]int) {
	if n := len(values); n%2 == 1 {
		counts[bin(edges, values[n-1])]++
		values = values[:n-1]
	}
	var twice [stabilityEdges][2]float64
	for k, e := range edges {
		twice[k] = [2]float64{e, e}
	}
	var above [stabilityEdges][2]int64
	countPair(&above, &twice, values, 2)
	left := len(values)
	for k, n := range above {
		more := int(n[0] + n[1])
		counts[k] += left - more
		left = more
	}
	counts[stabilityEdges] += left
	return counts
}

// decilePlace returns where the k-th decile of that many sorted values is.
func decilePlace(k, values int) int { return k*values/stabilityBins - 1 }

// deciles returns the edges of bins, of values whose deciles are at their places: a bin ends with the value at its edge.
//
// Where several deciles are equal, that value has a bin to itself, between two edges: so a column of few values, or of
// one, shows a change to either side.
func deciles(ranked []float64) [stabilityEdges]float64 {
	var edges [stabilityEdges]float64
	decile := func(k int) float64 {
		return ranked[decilePlace(k, len(ranked))] + 0 // no -0, see below
	}
	n := 0
	for k := 1; k <= stabilityEdges; {
		value := decile(k)
		k++
		if k <= stabilityEdges && decile(k) == value {
			edges[n] = math.Nextafter(value, math.Inf(-1))
			n++
		}
		edges[n] = value
		n++
		for k <= stabilityEdges && decile(k) == value {
			k++
		}
	}
	for ; n < stabilityEdges; n++ {
		edges[n] = math.Inf(1)
	}
	return edges
}

// bin returns how many of the edges are below v: a binary search without branches, which no predictor could foresee.
func bin(edges *[stabilityEdges]float64, v float64) int {
	b := 2 * below(edges[1], v) // 7 edges are left, from b on
	b += 4 * below(edges[b+3], v)
	b += 2 * below(edges[b+1], v)
	return b + below(edges[b], v)
}

// below returns 1 if a < b, else 0, also for NaN. The compiler makes no branch of it.
func below(a, b float64) int {
	if a < b {
		return 1
	}
	return 0
}

// Add takes a row, of finite values and NaN, to compare, and says whether it completed a window: then the indices are new.
// It does nothing while the copy that predicts has no reference.
func (s *Stability) Add(x []float64) bool {
	if s.predicting.edges == nil {
		return false
	}
	for i, v := range x[:s.features] {
		if !math.IsNaN(v) {
			s.counts[i*stabilityBins+bin(&s.predicting.edges[i], v)]++
		}
	}
	s.counted++
	return s.complete()
}

// AddRun is Add for each of a run of rows of that width, row-major, in turn, up to the first that completes a window. It
// returns how many it took, and whether the last of them completed one. Missing says whether there may be NaN in x.
func (s *Stability) AddRun(x []float64, width int, missing bool) (n int, complete bool) {
	n = len(x) / width
	if s.predicting.edges == nil {
		return n, false
	}
	n = min(n, s.rows-s.counted)
	s.count(x[:n*width], width)
	if missing {
		s.leaveOut(x[:n*width], width)
	}
	s.counted += n
	return n, s.complete()
}

// count adds rows to the window's histograms, two columns side by side. Edges rise: a bin has the values that are above the
// edge below it, and not above its own.
func (s *Stability) count(x []float64, width int) {
	for i := 0; i < s.features; i += 2 {
		if i+1 == s.features {
			for at := i; at < len(x); at += width {
				s.counts[i*stabilityBins+bin(&s.predicting.edges[i], x[at])]++
			}
			break
		}
		var edges [stabilityEdges][2]float64
		for k := range edges {
			edges[k] = [2]float64{s.predicting.edges[i][k], s.predicting.edges[i+1][k]}
		}
		var above [stabilityEdges][2]int64
		countPair(&above, &edges, x[i:], width)
		for side := range 2 {
			counts := s.counts[(i+side)*stabilityBins:][:stabilityBins]
			left := len(x) / width
			for k := range above {
				more := int(above[k][side])
				counts[k] += left - more
				left = more
			}
			counts[stabilityEdges] += left
		}
	}
}

// leaveOut takes the values that are missing in a run of rows out of the window's histograms. NaN is above no edge.
func (s *Stability) leaveOut(x []float64, width int) {
	for i := range s.features {
		missing := 0
		for at := i; at < len(x); at += width {
			missing += int(bit(math.IsNaN(x[at])))
		}
		s.counts[i*stabilityBins] -= missing
	}
}

// plainCountPair counts for each of two columns, the first in a run of rows of that width, the values above each edge.
func plainCountPair(above *[stabilityEdges][2]int64, edges *[stabilityEdges][2]float64, x []float64, width int) {
	*above = [stabilityEdges][2]int64{}
	for ; len(x) >= 2; x = x[min(width, len(x)):] {
		for k := range above {
			above[k][0] += int64(below(edges[k][0], x[0]))
			above[k][1] += int64(below(edges[k][1], x[1]))
		}
	}
}

// complete says whether the window is complete, and begins the next one then.
func (s *Stability) complete() bool {
	if s.counted < s.rows {
		return false
	}
	for i := range s.index {
		s.index[i] = s.compare(s.predicting.counts[i][:], s.counts[i*stabilityBins:(i+1)*stabilityBins])
	}
	s.counted = 0
	clear(s.counts)
	return true
}

// compare returns the index of two histograms, NaN where one has too few values. Counts are scaled to what they were if none
// were missing; a bin without values then counts as one with half a value.
func (s *Stability) compare(reference, window []int) float64 {
	values, windowValues := total(reference), total(window)
	if min(values, windowValues) < s.least() {
		return math.NaN()
	}
	scale, windowScale := float64(s.rows)/float64(values), float64(s.rows)/float64(windowValues)
	sum := 0.0
	for i, n := range reference {
		q, p := max(float64(float64(n)*scale), 0.5), max(float64(float64(window[i])*windowScale), 0.5)
		sum += float64((p - q) * portable.Log(p/q))
	}
	return sum / float64(s.rows)
}

func total(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Index returns the index of a feature in the last complete window, NaN if there is none since the copy predicts, or too few
// values.
func (s *Stability) Index(feature int) float64 { return s.index[feature] }

// Worst returns the feature of the highest index, and the index; -1 and NaN if no feature has one.
func (s *Stability) Worst() (feature int, index float64) {
	feature, index = -1, math.NaN()
	for i, v := range s.index {
		if !math.IsNaN(v) && !(v <= index) {
			feature, index = i, v
		}
	}
	return feature, index
}

// Features returns how many features are watched.
func (s *Stability) Features() int { return s.features }

const (
	stabilityHead    = 4                              // numbers at the start of a state
	histogramNumbers = stabilityEdges + stabilityBins // of a feature in a reference
)

// State returns what Restore needs to go on at the same point: features × rows numbers while rows are collected, and
// some 50 for each feature.
func (s *Stability) State() []float64 {
	kept := min(s.collected, s.rows)
	state := make([]float64, 0, s.stateLen(kept, len(s.newest.edges)+len(s.predicting.edges)))
	state = append(state, float64(s.collected), float64(s.counted), float64(len(s.newest.edges)), float64(len(s.predicting.edges)))
	if kept > 0 {
		for column := range slices.Chunk(s.columns, s.rows) {
			state = append(state, column[:kept]...)
		}
	}
	for _, r := range []reference{s.newest, s.predicting} {
		for i, edges := range r.edges {
			state = append(state, edges[:]...)
			state = appendCounts(state, r.counts[i][:])
		}
	}
	state = appendCounts(state, s.counts)
	return append(state, s.index...)
}

// stateLen returns the length of a state with that many rows collected and that many histograms in the references.
func (s *Stability) stateLen(kept, histograms int) int {
	return stabilityHead + s.features*(kept+stabilityBins+1) + histograms*histogramNumbers
}

func appendCounts(dst []float64, counts []int) []float64 {
	for _, n := range counts {
		dst = append(dst, float64(n))
	}
	return dst
}

// Restore takes over the state of a Stability over as many features and rows. After an error it is as it was.
func (s *Stability) Restore(state []float64) error {
	if len(state) < stabilityHead {
		return fmt.Errorf("restore stability: state of %d numbers", len(state))
	}
	collected, counted, newest, predicting := state[0], state[1], state[2], state[3]
	all := float64(s.features)
	if !whole(collected, 1<<53) || !whole(counted, float64(s.rows-1)) ||
		newest != 0 && newest != all || predicting != 0 && predicting != all {
		return fmt.Errorf("restore stability of %d features: counts %v", s.features, state[:stabilityHead])
	}
	restored := NewStability(s.features, s.rows)
	restored.collected, restored.counted = int(collected), int(counted)
	kept := min(restored.collected, s.rows)
	if want := s.stateLen(kept, int(newest+predicting)); len(state) != want {
		return fmt.Errorf("restore stability of %d features: state of %d numbers, want %d", s.features, len(state), want)
	}
	rest := state[stabilityHead:]
	take := func(n int) []float64 {
		taken := rest[:n]
		rest = rest[n:]
		return taken
	}
	if kept > 0 {
		restored.columns = make([]float64, s.features*s.rows)
		for column := range slices.Chunk(restored.columns, s.rows) {
			copy(column, take(kept))
		}
	}
	for _, r := range []struct {
		dst      *reference
		features int
	}{{&restored.newest, int(newest)}, {&restored.predicting, int(predicting)}} {
		for range r.features {
			r.dst.edges = append(r.dst.edges, [stabilityEdges]float64(take(stabilityEdges)))
			var counts [stabilityBins]int
			takeCounts(counts[:], take(stabilityBins))
			r.dst.counts = append(r.dst.counts, counts)
		}
	}
	takeCounts(restored.counts, take(len(restored.counts)))
	copy(restored.index, rest)
	*s = *restored
	return nil
}

func takeCounts(dst []int, src []float64) {
	for i, n := range src {
		dst[i] = int(n)
	}
}
