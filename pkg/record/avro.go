package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// avroDecoder decodes records in Avro's binary encoding that name their schemas: see frameOf. It reads by the schema that a record
// was written with. Fields that are numbers, booleans, or decimals become numbers; strings, enums, and UUIDs become categories;
// null and blank text are missing values. The fields of nested records have all names with dots between; items of arrays of
// numbers have the array's name and their number. Everything else is passed over.
type avroDecoder struct {
	plans *avroPlans
	known map[schemaID]*avroPlan

	plan     *avroPlan // of the newest record
	idNumber uint32    // of its schema
	prefixed bool      // whether that has one, which may stand in front of a value

	// The record at hand.
	cursor
	dst      *Block
	label    float64
	labelled bool
	depth    int
	lengths  []int // of its arrays, as far as they are columns

	// The shape of the record before, where that depends on lengths.
	shape    *Shape
	shapeKey []byte

	nextKey []byte
	name    []byte   // of an item
	scratch [64]byte // for a UUID, or the digits of a decimal
}

func newAvro(plans *avroPlans) *avroDecoder {
	return &avroDecoder{plans: plans, known: make(map[schemaID]*avroPlan)}
}

// Decode appends rec to dst as one row, or leaves dst as it was and returns a *Bad or a *Pending. It allocates nothing but room in
// dst, errors, and what it keeps of a schema.
func (d *avroDecoder) Decode(dst *Block, rec Record) error { return d.decode(dst, &rec) }

// decode does what Decode does.
func (d *avroDecoder) decode(dst *Block, rec *Record) error {
	switch {
	case rec.Value == nil:
		return &Bad{Reason: Tombstone, Detail: "the value is null"}
	case len(rec.Value) == 0:
		return &Bad{Reason: Empty, Detail: "the value is empty"}
	}
	at := prefixSize
	if !d.expects(rec) {
		var err error
		if at, err = d.find(rec); err != nil {
			return err
		}
	}
	if d.plan.bad != nil {
		return d.plan.bad
	}
	width, hashes, missing := len(dst.X), len(dst.Hashes), dst.Missing
	shape, bad := d.row(dst, rec, at)
	if bad != nil {
		dst.X, dst.Hashes, dst.Missing = dst.X[:width], dst.Hashes[:hashes], missing
		return bad
	}
	dst.EndRow(rec, shape, d.label)
	return nil
}

// expects reports whether a record names the schema that the one before did, in front of its value.
func (d *avroDecoder) expects(rec *Record) bool {
	v := rec.Value
	return d.prefixed && len(rec.Headers) <= 1 && len(v) >= prefixSize && v[0] == numberFollows && binary.BigEndian.Uint32(v[1:]) == d.idNumber
}

// find takes the plan of a record's schema, and returns where the record begins in the value.
func (d *avroDecoder) find(rec *Record) (at int, err error) {
	id, payload, framed, bad := frameOf(rec)
	switch {
	case bad != nil:
		return 0, bad
	case !framed:
		return 0, &Bad{Reason: Decode, Detail: fmt.Sprintf("byte 0 is %#02x, not 0, which a schema id follows, and no header %s has one", rec.Value[0], schemaHeader)}
	}
	at = len(rec.Value) - len(payload)
	plan, ok := d.known[id]
	if !ok {
		if plan, err = d.plans.plan(id); err != nil {
			return 0, err
		}
		d.known[id] = plan
	}
	if plan != d.plan {
		d.plan, d.shape = plan, nil
	}
	d.idNumber, d.prefixed = id.number, !id.global
	return at, nil
}

// row appends what is in a value from byte at on to dst, and returns its shape.
func (d *avroDecoder) row(dst *Block, rec *Record, at int) (shape *Shape, bad *Bad) {
	d.cursor = cursor{data: rec.Value, at: at}
	d.dst, d.labelled, d.depth, d.lengths = dst, false, 0, d.lengths[:0]
	if d.plans.keyed {
		if d.label, bad = keyLabel(rec.Key, d.plans.labels); bad != nil {
			return nil, bad
		}
		d.labelled = true
	}
	if bad = d.run(d.plan.steps); bad != nil {
		return nil, bad
	}
	switch {
	case d.at < len(d.data):
		return nil, &Bad{Reason: Decode, Detail: fmt.Sprintf("byte %d: the record ends here, and %d bytes are left", d.at, len(d.data)-d.at)}
	case !d.labelled:
		return nil, &Bad{Reason: Label, Detail: "the record that holds the label is null"}
	case d.plan.shape != nil:
		return d.plan.shape, nil
	}
	shape = d.shapeByLengths()
	if len(shape.Columns) == 0 {
		return nil, &Bad{Reason: Arity, Detail: "all arrays are empty, which leaves no feature"}
	}
	return shape, nil
}

// shapeByLengths returns the shape of the row at hand.
func (d *avroDecoder) shapeByLengths() *Shape {
	key := d.nextKey[:0]
	for _, n := range d.lengths {
		key = binary.LittleEndian.AppendUint16(key, uint16(n))
	}
	d.nextKey = key
	if d.shape == nil || !bytes.Equal(key, d.shapeKey) {
		d.shape, d.shapeKey = d.plan.shapeOf(d.lengths, key), append(d.shapeKey[:0], key...)
	}
	return d.shape
}

// run reads what steps say.
func (d *avroDecoder) run(steps []avroStep) *Bad {
	for i := range steps {
		s := &steps[i]
		var bad *Bad
		switch s.do {
		case skipBytes:
			if _, ok := d.take(s.n); !ok {
				bad = d.broken(s, 0)
			}
		case skipValue:
			if !d.skip(s.typ) {
				bad = d.broken(s, 0)
			}
		case takeDoubles:
			bad = d.doubles(s, 0, s.n)
		case takeFloats:
			bad = d.floats(s, 0, s.n)
		case takeNumber:
			bad = d.number(s, 0)
		case takeCategory:
			bad = d.category(s, 0, s.hash)
		case takeLabel:
			bad = d.takeLabel(s)
		case takeItems:
			bad = d.items(s)
		case takeOptional:
			bad = d.optional(s)
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}

// doubles reads n doubles, of which the first is number i of the step.
func (d *avroDecoder) doubles(s *avroStep, i, n int) *Bad {
	left := len(d.data) - d.at
	b, ok := d.take(8 * n)
	if !ok {
		return d.broken(s, i+left/8)
	}
	x := slices.Grow(d.dst.X, n)
	to := x[len(x) : len(x)+n]
	const exponent, one = 0x7ff << 52, 1 << 52
	odd := uint64(0) // the sign is set where an exponent has no bit that is 0: the number is infinite or none
	for j := range to {
		v := binary.LittleEndian.Uint64(b)
		odd |= v&exponent + one
		to[j] = math.Float64frombits(v)
		b = b[8:]
	}
	if odd>>63 != 0 {
		return d.firstOdd(s, i, to, 8)
	}
	d.dst.X = x[:len(x)+n]
	return nil
}

// floats does what doubles does for floats.
func (d *avroDecoder) floats(s *avroStep, i, n int) *Bad {
	left := len(d.data) - d.at
	b, ok := d.take(4 * n)
	if !ok {
		return d.broken(s, i+left/4)
	}
	x := slices.Grow(d.dst.X, n)
	to := x[len(x) : len(x)+n]
	const exponent, one = 0xff << 23, 1 << 23
	odd := uint32(0)
	for j := range to {
		v := binary.LittleEndian.Uint32(b)
		odd |= v&exponent + one
		to[j] = float64(math.Float32frombits(v))
		b = b[4:]
	}
	if odd>>31 != 0 {
		return d.firstOdd(s, i, to, 4)
	}
	d.dst.X = x[:len(x)+n]
	return nil
}

// firstOdd returns the error of numbers just read, of so many bytes each, that are not all finite.
func (d *avroDecoder) firstOdd(s *avroStep, i int, read []float64, size int) *Bad {
	j := slices.IndexFunc(read, func(v float64) bool { return !finite(v) })
	d.at -= (len(read) - j) * size
	return d.bad(s, i+j, NonFinite, fmt.Sprintf("%v is not finite", read[j]))
}

func finite(v float64) bool { return math.Abs(v) <= math.MaxFloat64 }

// number reads the value of a column of numbers, which is number i of the step.
func (d *avroDecoder) number(s *avroStep, i int) *Bad {
	start := d.at
	v, ok := d.value(s.typ)
	switch {
	case !ok:
		return d.broken(s, i)
	case v.is != isNumber && v.is != isBoolean:
		d.dst.AppendMissing()
		return nil
	case !finite(v.number):
		d.at = start
		return d.bad(s, i, NonFinite, fmt.Sprintf("%v is not finite", v.number))
	}
	d.dst.X = append(d.dst.X, v.number)
	return nil
}

// category reads the value of a column of categories, which is number i of the step.
func (d *avroDecoder) category(s *avroStep, i int, hash Hasher) *Bad {
	start := d.at
	v, ok := d.value(s.typ)
	if !ok {
		return d.broken(s, i)
	}
	made := uint64(0)
	switch v.is {
	case isText:
		if !utf8.Valid(v.text) {
			d.at = start
			return d.bad(s, i, UTF8, quoted(v.text)+" is not UTF-8")
		}
		if !isBlank(v.text) {
			made = hash.Text(v.text)
		}
	case isNumber, isBoolean:
		if !finite(v.number) {
			d.at = start
			return d.bad(s, i, NonFinite, fmt.Sprintf("%v is not finite", v.number))
		}
		made = hash.Number(v.number)
	}
	d.dst.Hashes = append(d.dst.Hashes, made)
	return nil
}

// takeLabel reads the label.
func (d *avroDecoder) takeLabel(s *avroStep) *Bad {
	start := d.at
	v, ok := d.value(s.typ)
	if !ok {
		return d.broken(s, 0)
	}
	var found string
	switch v.is {
	case isNumber:
		if v.number*v.number == v.number && v.number <= 1 { // 0 or 1, without asking which: labels are a coin toss
			l := &d.plans.labelOf[int(v.number)]
			d.label, ok = l.label, l.ok
		} else {
			d.label, ok = d.plans.number(v.number)
		}
		if !ok {
			found = strconv.FormatFloat(v.number, 'g', -1, 64)
		}
	case isBoolean:
		if d.label, ok = d.plans.boolean(v.number == 1); !ok {
			found = strconv.FormatBool(v.number == 1)
		}
	case isText:
		if !utf8.Valid(v.text) {
			d.at = start
			return d.bad(s, 0, UTF8, quoted(v.text)+" is not UTF-8")
		}
		if d.label, ok = d.plans.text(bytes.TrimSpace(v.text)); !ok {
			found = quoted(v.text)
		}
	default:
		d.at = start
		return d.bad(s, 0, Label, "the label is missing")
	}
	if !ok {
		d.at = start
		return d.bad(s, 0, Label, found+" is "+d.plans.wanted())
	}
	d.labelled = true
	return nil
}

// items reads an array of numbers, of which no more than MaxColumns become columns.
func (d *avroDecoder) items(s *avroStep) *Bad {
	there, ok := d.present(s)
	if !ok {
		return d.broken(s, -1)
	}
	length := 0
	for there {
		start := d.at
		n, _, ok := d.blockOf()
		if !ok {
			return d.broken(s, -1)
		}
		if n == 0 {
			break
		}
		if left := len(d.data) - d.at; n > int64(left) { // each has a byte at least
			d.at, d.fault = start, fmt.Sprintf("%d items in %d bytes", n, left)
			return d.broken(s, -1)
		}
		if bad := d.someItems(s, length, int(n)); bad != nil {
			return bad
		}
		length += int(n)
	}
	d.lengths = append(d.lengths, min(length, MaxColumns))
	return nil
}

// someItems reads n items of an array from item i on.
func (d *avroDecoder) someItems(s *avroStep, i, n int) *Bad {
	end := i + n
	if read := min(n, MaxColumns-i); read > 0 && s.items.feature && !s.items.category && s.items.asked == nil {
		var bad *Bad
		switch s.typ.kind {
		case avroDouble:
			bad = d.doubles(s, i, read)
			i += read
		case avroFloat:
			bad = d.floats(s, i, read)
			i += read
		}
		if bad != nil {
			return bad
		}
	}
	for ; i < end; i++ {
		feature, category := s.items.use(i)
		var bad *Bad
		switch {
		case i >= MaxColumns || !feature:
			if !d.skip(s.typ) {
				bad = d.broken(s, i)
			}
		case category:
			name := strconv.AppendInt(append(append(d.name[:0], s.names[0]...), '.'), int64(i), 10)
			d.name = name
			bad = d.category(s, i, Hasher(xxhash.Sum64(name)))
		default:
			bad = d.number(s, i)
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}

// optional reads a record, or that it is null.
func (d *avroDecoder) optional(s *avroStep) *Bad {
	there, ok := d.present(s)
	if !ok {
		return d.broken(s, 0)
	}
	if there {
		return d.run(s.below)
	}
	for range s.numbers {
		d.dst.AppendMissing()
	}
	for range s.categories {
		d.dst.Hashes = append(d.dst.Hashes, 0)
	}
	for range s.arrays {
		d.lengths = append(d.lengths, 0)
	}
	return nil
}

// present reads which branch of a union is there, if the step's value is in one, and returns false where it is null.
func (d *avroDecoder) present(s *avroStep) (there, ok bool) {
	if s.branches == 0 {
		return true, true
	}
	i, ok := d.index(s.branches, "branch")
	return i != s.null, ok
}

// bad returns the error for what was found in field i of a step, from the byte on where the cursor is.
func (d *avroDecoder) bad(s *avroStep, i int, reason Reason, found string) *Bad {
	name := s.names[0]
	switch {
	case s.do == takeItems && i >= 0:
		name = itemName(name, i)
	case i > 0:
		name = s.names[i]
	}
	return &Bad{Reason: reason, Detail: fmt.Sprintf("byte %d: field %q: %s", d.at, name, found)}
}

// broken returns the error for what is no Avro.
func (d *avroDecoder) broken(s *avroStep, i int) *Bad { return d.bad(s, i, Decode, d.fault) }
