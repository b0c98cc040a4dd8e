package train

// Comparison says how the models compare after a number of records of the lineage, all by answers before learning. It is
// immutable. A figure that its records do not define is NaN.
type Comparison struct {
	Champion string
	Records  uint64 // of the lineage: every model was compared up to here
	Changes  uint64 // of champion, in the lineage
	Models   []ModelComparison
	// Baselines are majority, last_label, and frozen_twin.
	Baselines []BaselineScores
	Drift     []Detector
	// Stability holds the population stability index of each watched feature (the first 64) in the newest complete window,
	// against the records before the twin was taken. NaN: too few of its values are there. Nil while rows have no numbers.
	Stability []float64
	TwinAge   uint64  // records since the copy that predicts was taken; 0: there is none
	Events    []Event // the newest, at most 50, oldest first
}

// ModelComparison is a model beside the champion.
type ModelComparison struct {
	Name string

	RecentRecords  int // the newest records: up to 10,000
	RecentAccuracy float64
	RecentLoss     float64 // mean log loss, nats

	// The confidence sequence on champion's loss - model's loss, each capped at 5 nats. Above 0 the model is better.
	Segment    int     // of the sequence, from 1 on; 0: the champion
	Compared   int     // records in the segment
	Difference float64 // mean; NaN: the champion, or no records
	Low, High  float64 // bounds of the mean: NaN likewise
}

// The baselines.
const (
	Majority   = "majority"    // the share of ones so far
	LastLabel  = "last_label"  // the label before, with the share of repeats so far
	FrozenTwin = "frozen_twin" // a copy of the champion from one to two twin ages ago
)

// BaselineScores are the scores of a baseline. The twin's begin when one predicts, and pause while none does.
type BaselineScores struct {
	Name string

	Records  uint64 // in the lineage
	Accuracy float64
	Loss     float64 // mean log loss, nats

	RecentRecords  int // the newest of these: up to 10,000
	RecentAccuracy float64
	RecentLoss     float64
}

// The detectors, and the signals that they watch.
const (
	ADWIN       = "adwin"
	PageHinkley = "page_hinkley"
	PSI         = "psi"

	SignalChampion = "champion" // the champion's log loss, capped at 5
	SignalExcess   = "excess"   // the twin's log loss - the champion's, each capped at 5
	SignalFeatures = "features" // the distribution of each feature
)

// Detector is a drift detector on its signal.
type Detector struct {
	Detector string
	Signal   string
	// Score is what the detector goes by. adwin: the mean in its window. page_hinkley: how far the sum stands above its
	// lowest point. psi: the highest index of all features. NaN: nothing yet.
	Score   float64
	Reports uint64 // in the lineage
	Raised  uint64 // the same, with what was raised within 50,000 records after a report
}

// What an Event is about.
const (
	ChampionChanged = "champion"
	DriftReported   = "drift"
	SchemaMet       = "schema"
)

// Event is a happening in the lineage.
type Event struct {
	Record uint64 `json:"record"` // records of the lineage by then
	Kind   string `json:"kind"`

	// Of a change of champion.
	Champion string `json:"champion,omitempty"`
	Before   string `json:"before,omitempty"` // the champion before
	// Of a report of drift. Score as in Detector; page_hinkley: the threshold, which it exceeded.
	Detector string  `json:"detector,omitempty"`
	Signal   string  `json:"signal,omitempty"`
	Score    float64 `json:"score,omitempty"`
	Feature  int     `json:"feature,omitempty"` // psi: the one with the highest index, from 0 on
	// Of a schema met first, or columns: their names, with commas between.
	Schema string `json:"schema,omitempty"` // empty: records that name none
	Added  string `json:"added,omitempty"`  // columns that no record had before
	Lacks  string `json:"lacks,omitempty"`  // columns that records had before, and the schema does not have
}
