package record

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// formats are the values that Options.Format may have besides nothing, which means auto.
var formats = []string{"auto", "csv", "json", "avro"}

// NewDecoder returns a maker of decoders, one for each goroutine. Its error names every option that is wrong: each of its lines
// begins with the option's name and a colon.
func NewDecoder(opts Options) (func() Decoder, error) {
	format := opts.Format
	if format == "" {
		format = "auto"
	}
	lists, listErr := newColumns(opts)
	fields, fieldErr := newSelection(opts)
	var noLists *Bad
	if format != "csv" && len(opts.Columns) == 0 && listErr != nil && fieldErr == nil {
		// Label and features may be names of fields: then it is lists of values, if some come, that do not fit them.
		noLists = &Bad{Reason: Schema, Detail: "columns without names: " + strings.ReplaceAll(listErr.Error(), "\n", "; ")}
		listErr = nil
	}
	var errs []error
	switch format {
	case "csv":
		errs = append(errs, listErr)
	case "auto", "json":
		errs = append(errs, listErr, fieldErr)
	case "avro":
		errs = append(errs, fieldErr)
		if opts.Schemas == nil {
			errs = append(errs, errors.New("format: avro needs the schemas that records name: CCLOUD_SCHEMA_REGISTRY_ENDPOINT says where they are"))
		}
	default:
		errs = append(errs, fmt.Errorf("format: %q is none of %s", format, strings.Join(formats, ", ")))
	}
	if err := joinLines(errs); err != nil {
		return nil, err
	}
	plans := newAvroPlans(fields, opts.Schemas)
	return func() Decoder {
		return &decoder{
			format: format, schemas: opts.Schemas, numbers: format == "auto" && noLists == nil, noLists: noLists, seen: opts.Seen,
			csv: &CSV{lists}, json: newJSON(fields, lists, noLists), avro: newAvro(plans), types: make(map[schemaID]string),
		}
	}, nil
}

// joinLines returns an error of all lines of errs, each once.
func joinLines(errs []error) error {
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	said := make(map[string]bool)
	var once []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !said[line] {
			said[line] = true
			once = append(once, errors.New(line))
		}
	}
	return errors.Join(once...)
}

// decoder decodes records of every format. It is for one goroutine.
type decoder struct {
	format  string
	schemas Schemas
	numbers bool // whether what begins with a digit, and has no headers, is CSV
	noLists *Bad // why lists of values are refused; nil: they are not

	csv   *CSV
	json  *jsonDecoder
	avro  *avroDecoder
	types map[schemaID]string // of the schemas that were met

	seen func(format string)
	told [len(seenFormats)]bool // by place in seenFormats
}

// What Options.Seen is told.
const (
	seenCSV = iota
	seenJSON
	seenArray
	seenAvro
	seenHeader
)

var seenFormats = [...]string{"csv", "json", "json array", "avro", "avro with header"}

// Decode appends rec to dst as one row, or leaves dst as it was and returns a *Bad or a *Pending, or nil for a header line of
// CSV.
func (d *decoder) Decode(dst *Block, rec Record) error {
	format, err := d.decode(dst, &rec)
	if err == nil && !d.told[format] {
		d.told[format] = true
		if d.seen != nil {
			d.seen(seenFormats[format])
		}
	}
	return err
}

// decode does what Decode does, and returns the format of the record, if there is no error.
func (d *decoder) decode(dst *Block, rec *Record) (format int, err error) {
	switch {
	case rec.Value == nil:
		return 0, &Bad{Reason: Tombstone, Detail: "the value is null"}
	case d.format == "csv", d.numbers && len(rec.Headers) <= 1 && len(rec.Value) > 0 && isDigit(rec.Value[0]):
		return seenCSV, d.csv.decode(dst, rec)
	}
	if d.avro.expects(rec) {
		return seenAvro, d.avro.decode(dst, rec)
	}
	id, payload, framed, bad := frameOf(rec)
	switch {
	case bad != nil:
		return 0, bad
	case framed:
		return d.framed(dst, rec, id, payload)
	case d.format == "avro" && !isBlank(rec.Value):
		return 0, &Bad{Reason: Schema, Detail: "no schema id: neither byte 0 nor a header __value_schema_id begins one"}
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(rec.Value, byteOrderMark), " \t\r\n")
	switch {
	case len(text) == 0:
		return 0, &Bad{Reason: Empty, Detail: "the value is empty or white space"}
	case d.format == "json" || text[0] == '{' || text[0] == '[':
		return seenJSONIn(text), d.json.decode(dst, rec, rec.Value)
	case d.noLists != nil:
		return 0, d.noLists
	}
	return seenCSV, d.csv.decode(dst, rec)
}

// framed decodes a record that names its schema.
func (d *decoder) framed(dst *Block, rec *Record, id schemaID, payload []byte) (format int, err error) {
	is, ok := d.types[id]
	if !ok {
		if d.schemas == nil {
			return 0, &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %v: where it is known is not: CCLOUD_SCHEMA_REGISTRY_ENDPOINT would say so", id)}
		}
		def, err := d.schemas.Schema(id.String())
		if err != nil {
			return 0, err
		}
		is = def.Type
		d.types[id] = is
	}
	switch {
	case is == "AVRO" && d.format == "json":
		return 0, &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %v is of Avro, and LEARNER_FORMAT is json", id)}
	case is == "AVRO" && len(payload) == len(rec.Value):
		return seenHeader, d.avro.decode(dst, rec)
	case is == "AVRO":
		return seenAvro, d.avro.decode(dst, rec)
	case is == "JSON" && d.format == "avro":
		return 0, &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %v is of JSON, and LEARNER_FORMAT is avro", id)}
	case is == "JSON":
		return seenJSONIn(payload), d.json.decode(dst, rec, payload)
	case is == "PROTOBUF":
		return 0, &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %v: Protobuf is not read", id)}
	}
	return 0, &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %v is of type %s, which is not read", id, quoted([]byte(is)))}
}

// seenJSONIn says what Options.Seen is told of JSON.
func seenJSONIn(text []byte) int {
	text = bytes.TrimLeft(bytes.TrimPrefix(text, byteOrderMark), " \t\r\n")
	if len(text) > 0 && text[0] == '[' {
		return seenArray
	}
	return seenJSON
}
