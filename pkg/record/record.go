// Package record turns one record's bytes into a label and features, and holds them in blocks.
//
// A [Decoder] reads one format. It appends good records to a [Block] as rows and refuses the others with a [*Bad]
// error that names the reason. The package knows neither Kafka nor models: a partition and an offset are only the
// place that a row came from.
package record

import "fmt"

// Record is one record of a log as it is given to a [Decoder]. Key and Value are nil where the log holds null; both
// may be used only during the call.
type Record struct {
	Offset int64
	Time   int64 // microseconds since 1970, as the order stage compares them
	Key    []byte
	Value  []byte
	// Headers are the record's headers as they stand in the log: their number, and the key and value of each, with lengths,
	// all numbers as zigzag varints.
	Headers []byte
}

// Decoder reads records of one format. One decoder is used by one goroutine at a time.
type Decoder interface {
	// Decode appends rec to dst as one row, or leaves dst as it was and returns a *Bad. A record that is neither a
	// row nor bad (the header line of a CSV file) leaves dst as it was and returns nil. A *Pending says that the record
	// cannot be decoded yet; dst is as it was.
	Decode(dst *Block, rec Record) error
}

// Reason says why a record was refused. The set is fixed: it is a label of a metric.
type Reason uint8

// The reasons.
const (
	Tombstone      Reason = iota // null value
	Empty                        // value without content
	UTF8                         // text that is not UTF-8
	Arity                        // more or fewer features than the model has
	Number                       // text where a number belongs
	NonFinite                    // NaN, infinite, or too large for a float64
	Label                        // label missing or neither 0 nor 1
	Schema                       // schema does not fit
	SchemaNotFound               // the registry does not know the schema
	Decode                       // any other damage
	reasons
)

var reasonNames = [reasons]string{
	"tombstone", "empty", "utf8", "arity", "number", "non_finite", "label", "schema", "schema_not_found", "decode",
}

func (r Reason) String() string { return reasonNames[r] }

// Reasons returns all reasons, in order.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Bad is the error of a record that cannot be learned. It wraps nothing: the record is the fault.
type Bad struct {
	Reason Reason
	Detail string // what was found and where in the record, for people
	Schema string // of SchemaNotFound: the id that nobody knows
}

func (b *Bad) Error() string { return fmt.Sprintf("%v: %s", b.Reason, b.Detail) }

// Pending is the error of a record whose schema is not known yet: neither a row nor bad before somebody has said what the
// schema is.
type Pending struct {
	Schema string          // its id
	Known  <-chan struct{} // closed when it is worth trying again
	Why    func() string   // what is waited for, for people
}

func (p *Pending) Error() string { return "schema " + p.Schema + ": " + p.Why() }

// Options say what of a record is what. Names of nested fields are those of all levels with dots between.
type Options struct {
	Format string // auto, csv, json, or avro

	// Label says where the label is: auto or nothing, key for the record's key, or a field, by name; or, where values are
	// lists of columns, a column by its number from 0. Auto: of named fields the first called label, signal, target, class,
	// or y; else column 0.
	Label string

	// Columns are the names of all columns of CSV values and JSON arrays, in order. Without them columns have numbers only. A #
	// behind a name says that the column's values are categories.
	Columns []string

	// Features are the fields to learn from, by name or column number. If there are none, these are all numbers and texts
	// but the label. A # behind a name says that its values are categories, also where they are numbers. JSON's numbers in quotes
	// are refused, as nobody knows whether they count or name something, unless the field is here: they are numbers then, or
	// categories by a #.
	Features []string

	// Positive are the values that mean label 1, with | between; nothing: true|1|1.0|yes.
	Positive string

	// Schemas knows the schemas that records name. Nil: none are known.
	Schemas Schemas

	// Seen is told which formats rows come in, by each decoder once: csv, json, json array, avro, or avro with header. Nil:
	// nobody wants to know.
	Seen func(format string)
}

// Schemas knows the schemas of records. Any goroutine may use it.
type Schemas interface {
	// Schema returns the schema of an id: a number, or a GUID in its usual form. The error is a *Pending while it is not known,
	// and a *Bad with SchemaNotFound where it is known that there is none.
	Schema(id string) (*Definition, error)
}

// Definition is a schema as a registry tells it. It is immutable, and there is one for each id.
type Definition struct {
	ID   string
	Type string // AVRO, JSON, or PROTOBUF
	Text string
	// References are the texts of the schemas that it names, those that need none of the others first.
	References []string
}
