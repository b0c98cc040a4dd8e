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
}

// Decoder reads records of one format. One decoder is used by one goroutine at a time.
type Decoder interface {
	// Decode appends rec to dst as one row, or leaves dst as it was and returns a *Bad. A record that is neither a
	// row nor bad (the header line of a CSV file) leaves dst as it was and returns nil.
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
}

func (b *Bad) Error() string { return fmt.Sprintf("%v: %s", b.Reason, b.Detail) }
