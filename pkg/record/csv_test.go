package record

import (
	"bufio"
	"compress/gzip"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The layouts that the tests use.
var (
	labelFirst = Options{Label: "auto"}
	labelKey   = Options{Label: "key"}
	named      = Options{Label: "class", Columns: []string{"time", "car", "speed", "class"}, Features: []string{"speed", "0"}}
	allNamed   = Options{Columns: []string{"class", "a", "b"}}
	numbered   = Options{Label: "2", Features: []string{"4", "1"}}
	marked     = Options{Columns: []string{"car#", "speed", "y", "zip"}, Features: []string{"speed", "zip#", "car"}, Positive: "won|1"}
	markedSome = Options{Label: "key", Features: []string{"2#", "0"}}

	layouts = []Options{labelFirst, labelKey, named, allNamed, numbered, marked, markedSome}
)

func newCSV(t testing.TB, opts Options) *CSV {
	t.Helper()
	c, err := NewCSV(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The parts of a line as plainRow finds them.
var (
	plainField = regexp.MustCompile(`^[ \t]*(?:"((?:[^"]|"")*)"|([^",\r\n]*))[ \t]*(,|$)`)
	plainBreak = regexp.MustCompile(`\r?\n?$`)
	plainBlank = regexp.MustCompile(`^[ \t\r\n]*$`)
	notFinite  = regexp.MustCompile(`(?i)^(nan|[+-]?inf|[+-]?infinity)$`)
)

func plainLine(b []byte) string {
	return plainBreak.ReplaceAllString(strings.TrimPrefix(string(b), "\ufeff"), "")
}

// plainCut returns the first field of line and the rest behind its comma, if there is one.
func plainCut(line string) (text, rest string, more, ok bool) {
	m := plainField.FindStringSubmatch(line)
	if m == nil {
		return "", "", false, false
	}
	return strings.Trim(m[1]+m[2], " \t"), line[len(m[0]):], m[3] == ",", true
}

func plainHeader(line string) bool {
	for more := true; more; {
		var text string
		var ok bool
		text, line, more, ok = plainCut(line)
		_, isNumber := plainFloat(text)
		if !ok || text == "" || isNumber || notFinite.MatchString(text) || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// plainLabel reads a label by words and strconv.
func plainLabel(opts Options, text string) (label float64, ok bool) {
	v, isNumber := plainFloat(text)
	if opts.Positive != "" { // won|1: whatever is neither is 0
		if strings.EqualFold(text, "won") || isNumber && v == 1 {
			return 1, true
		}
		return 0, text != ""
	}
	switch text = strings.ToLower(text); {
	case text == "true", text == "yes", isNumber && v == 1:
		return 1, true
	case text == "false", text == "no", isNumber && v == 0:
		return 0, true
	}
	return 0, false
}

// plainRow decodes a record as CSV does, by regular expressions and strconv. It returns a Reason, or -1 for a row, or
// -2 for a header.
func plainRow(opts Options, rec Record) (label float64, x []float64, hashes []uint64, outcome int) {
	line := plainLine(rec.Value)
	switch {
	case rec.Value == nil:
		return 0, nil, nil, int(Tombstone)
	case plainBlank.MatchString(line):
		return 0, nil, nil, int(Empty)
	}
	var names, texts []string // of the columns, and in the line
	for _, name := range opts.Columns {
		names = append(names, strings.TrimSuffix(name, "#"))
	}
	whole := true
	for rest, more := line, true; more && whole; {
		var text string
		if text, rest, more, whole = plainCut(rest); whole {
			texts = append(texts, strings.ReplaceAll(text, `""`, `"`))
		}
	}
	if whole && len(names) > 0 && slices.Equal(texts, names) {
		return 0, nil, nil, -2
	}
	label, x, hashes, outcome = plainValues(opts, names, rec, line)
	switch {
	case outcome >= 0 && !utf8.ValidString(line):
		outcome = int(UTF8)
	case outcome >= 0 && rec.Offset == 0 && plainHeader(line):
		outcome = -2
	}
	return label, x, hashes, outcome
}

// plainValues does what plainRow does for a line that is neither empty nor the names of its columns.
func plainValues(opts Options, names []string, rec Record, line string) (label float64, x []float64, hashes []uint64, outcome int) {
	column := func(ref string) int {
		if i := slices.Index(names, ref); i >= 0 {
			return i
		}
		i, _ := strconv.Atoi(ref)
		return i
	}
	readLabel := func(text string) (ok bool) {
		label, ok = plainLabel(opts, strings.ReplaceAll(text, `""`, `"`))
		return ok && utf8.ValidString(text)
	}

	labelAt := column(opts.Label)
	switch {
	case opts.Label == "key":
		labelAt = -1
		key := plainLine(rec.Key)
		text, _, more, ok := plainCut(key)
		if rec.Key == nil || !ok || more || !readLabel(text) {
			return 0, nil, nil, int(Label)
		}
	case opts.Label == "" && len(names) > 0:
		labelAt = slices.IndexFunc(names, func(name string) bool { return name == "class" || name == "y" })
	}
	features := slices.Clone(opts.Features)
	if len(features) == 0 {
		for i, name := range names {
			if i != labelAt {
				features = append(features, name)
			}
		}
	}
	values, categories := map[int]float64{}, map[int]uint64{}
	columns := 0
	for more := true; more; columns++ {
		var text string
		var ok bool
		if text, line, more, ok = plainCut(line); !ok {
			return 0, nil, nil, int(Decode)
		}
		wanted, category, name := len(features) == 0, false, strconv.Itoa(columns)
		if columns < len(names) {
			name = names[columns]
		}
		for _, feature := range features {
			feature, mark := strings.CutSuffix(feature, "#")
			if column(feature) == columns {
				wanted, category = true, mark || columns < len(names) && opts.Columns[columns] == name+"#"
			}
		}
		if columns == labelAt {
			if !readLabel(text) {
				return 0, nil, nil, int(Label)
			}
			continue
		}
		if !wanted {
			if !utf8.ValidString(text) {
				return 0, nil, nil, int(UTF8)
			}
			continue
		}
		v, ok := plainFloat(text)
		finite := ok && !math.IsInf(v, 0)
		switch {
		case category && !utf8.ValidString(text):
			return 0, nil, nil, int(UTF8)
		case category && text == "":
			categories[columns] = 0
		case category && finite:
			categories[columns] = NewHasher(name).Number(v)
		case category:
			categories[columns] = NewHasher(name).Text([]byte(strings.ReplaceAll(text, `""`, `"`)))
		case text == "":
			v = math.NaN()
		case ok && !finite || notFinite.MatchString(text):
			return 0, nil, nil, int(NonFinite)
		case !ok:
			return 0, nil, nil, int(Number)
		}
		if category {
			continue
		}
		values[columns] = v
		if len(features) == 0 {
			x = append(x, v)
		}
	}
	if len(names) > 0 && columns != len(names) || labelAt >= columns {
		return 0, nil, nil, int(Arity)
	}
	for _, feature := range features {
		at := column(strings.TrimSuffix(feature, "#"))
		hash, isCategory := categories[at]
		v, isNumber := values[at]
		switch {
		case isCategory:
			hashes = append(hashes, hash)
		case isNumber:
			x = append(x, v)
		default:
			return 0, nil, nil, int(Arity)
		}
	}
	if len(x)+len(hashes) == 0 {
		return 0, nil, nil, int(Arity)
	}
	return label, x, hashes, -1
}

func floatBits(x []float64) []uint64 {
	bits := make([]uint64, 0, len(x))
	for _, v := range x {
		bits = append(bits, math.Float64bits(v))
	}
	return bits
}

// kindsOf returns how many numbers and categories rows of a shape have.
func kindsOf(shape *Shape) (numbers, categories int) {
	if shape == nil {
		return 0, 0
	}
	for _, c := range shape.Columns {
		switch c.Kind {
		case Numeric:
			numbers++
		case Categorical:
			categories++
		}
	}
	return numbers, categories
}

// checkCSV holds CSV and plainRow together on one record.
func checkCSV(t *testing.T, opts Options, rec Record) {
	t.Helper()
	c := newCSV(t, opts)
	dst := &Block{}
	dst.X = append(dst.X, 3, 4)
	dst.EndRow(&Record{Offset: -7, Time: -7}, nil, 1)
	dst.Hashes = []uint64{}
	before := Block{Hashes: []uint64{}, X: slices.Clone(dst.X), End: slices.Clone(dst.End), Y: slices.Clone(dst.Y), Time: slices.Clone(dst.Time), Offset: slices.Clone(dst.Offset)}

	err := c.Decode(dst, rec)
	label, x, hashes, outcome := plainRow(opts, rec)
	got := -1
	var bad *Bad
	switch {
	case errors.As(err, &bad):
		got = int(bad.Reason)
		if bad.Detail == "" || len(bad.Detail) > 400 || !utf8.ValidString(bad.Detail) {
			t.Errorf("detail %q", bad.Detail)
		}
	case err != nil:
		t.Fatalf("error %v is not a *Bad", err)
	case dst.Rows() == 1:
		got = -2
	}
	if got != outcome {
		t.Fatalf("%+v: key %q, value %q at %d: outcome %d (%v), want %d", opts, rec.Key, rec.Value, rec.Offset, got, err, outcome)
	}
	if got != -1 {
		if !reflect.DeepEqual(*dst, before) {
			t.Fatalf("value %q: no row, but the block has changed to %+v", rec.Value, *dst)
		}
		return
	}
	row := dst.Row(1)
	if !slices.Equal(floatBits(row.X), floatBits(x)) || !slices.Equal(row.Hashes, hashes) || math.Float64bits(dst.Y[1]) != math.Float64bits(label) {
		t.Fatalf("%+v: value %q: row %v %x label %v, want %v %x %v", opts, rec.Value, row.X, row.Hashes, dst.Y[1], x, hashes, label)
	}
	if numbers, categories := kindsOf(row.Shape); row.Shape != nil && (numbers != len(row.X) || categories != len(row.Hashes)) {
		t.Fatalf("value %q: %d numbers and %d categories in shape %+v", rec.Value, len(row.X), len(row.Hashes), row.Shape)
	}
	if row.Shape == nil && (len(opts.Columns) > 0 || len(opts.Features) > 0) {
		t.Fatalf("value %q: no shape", rec.Value)
	}
	if dst.Y[1] != 0 && dst.Y[1] != 1 {
		t.Fatalf("value %q: label %v", rec.Value, dst.Y[1])
	}
	for _, v := range row.X {
		if math.IsNaN(v) && !dst.Missing || math.IsInf(v, 0) {
			t.Fatalf("value %q: feature %v", rec.Value, v)
		}
	}
	if dst.Offset[1] != rec.Offset || dst.Time[1] != rec.Time {
		t.Fatalf("row has offset %d and time %d", dst.Offset[1], dst.Time[1])
	}
}

func TestCSVRows(t *testing.T) {
	for _, tt := range []struct {
		name, give, key string
		opts            Options
		label           float64
		want            []float64
	}{
		{"label first, as in the UCI file", "1.000000000000000000e+00,9.728614687919616699e-01,6.538545489311218262e-01", "", labelFirst, 1, []float64{9.728614687919616699e-01, 6.538545489311218262e-01}},
		{"label in the key, as in the tutorial", "0.5,-2", "1.0", labelKey, 1, []float64{0.5, -2}},
		{"label in the key, whole", "0.5,-2", "0", labelKey, 0, []float64{0.5, -2}},
		{"quoted key with blanks", "0.5,-2", ` "1" ` + "\n", labelKey, 1, []float64{0.5, -2}},
		{"key beside a label column is no matter", "0,5", "nonsense", labelFirst, 0, []float64{5}},
		{"line break", "1,2,3\n", "", labelFirst, 1, []float64{2, 3}},
		{"line break of two bytes", "1,2,3\r\n", "", labelFirst, 1, []float64{2, 3}},
		{"half a line break", "1,2,3\r", "", labelFirst, 1, []float64{2, 3}},
		{"byte order mark", "\ufeff1,2,3", "", labelFirst, 1, []float64{2, 3}},
		{"blanks", " 1\t, 2 ,\t3 ", "", labelFirst, 1, []float64{2, 3}},
		{"quotes", `"1","2" , "3"`, "", labelFirst, 1, []float64{2, 3}},
		{"blanks inside of quotes", `1," 2 ","	3"`, "", labelFirst, 1, []float64{2, 3}},
		{"label 1e0", "1e0,2", "", labelFirst, 1, []float64{2}},
		{"label 0.0", "0.0,2", "", labelFirst, 0, []float64{2}},
		{"label -0", "-0,2", "", labelFirst, 0, []float64{2}},
		{"denormal, underflow, negative zero", "1,5e-324,1e-400,-0", "", labelFirst, 1, []float64{5e-324, 0, math.Copysign(0, -1)}},
		{"forms of numbers", "1,+1.,.5,1E3,00012,-1e+2", "", labelFirst, 1, []float64{1, .5, 1000, 12, -100}},
		{"features in the order asked for, text between", `1567606196,"car ""1"", red",17.5,1`, "", named, 1, []float64{17.5, 1567606196}},
		{"text with a line break in quotes", "5,\"a\r\nb\",6,0", "", named, 0, []float64{6, 5}},
		{"no text", "5,,6,0", "", named, 0, []float64{6, 5}},
		{"text that is not ASCII", "5,Fürth,6,0", "", named, 0, []float64{6, 5}},
		{"columns by number, more behind them", "x,1,0,y,4,z", "", numbered, 0, []float64{4, 1}},
		{"all columns named", "1,2,3", "", allNamed, 1, []float64{2, 3}},
		{"label in words", "yes,2", "", labelFirst, 1, []float64{2}},
		{"label in words, quoted, and capitals", ` "FALSE" ,2`, "", labelFirst, 0, []float64{2}},
		{"label in the key, in words", "2", "No", labelKey, 0, []float64{2}},
		{"empty fields are missing", "1,,3, ,\"\",\" \",", "", labelFirst, 1, []float64{notANumber, 3, notANumber, notANumber, notANumber, notANumber}},
		{"all features missing", "0,", "", labelFirst, 0, []float64{notANumber}},
		{"missing where names are", "5,,,0", "", named, 0, []float64{notANumber, 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := Record{Offset: 12, Time: 34, Key: []byte(tt.key), Value: []byte(tt.give)}
			var dst Block
			if err := newCSV(t, tt.opts).Decode(&dst, rec); err != nil {
				t.Fatal(err)
			}
			if dst.Rows() != 1 || !slices.Equal(floatBits(dst.Row(0).X), floatBits(tt.want)) || dst.Y[0] != tt.label || math.Signbit(dst.Y[0]) {
				t.Fatalf("got %v label %v, want %v label %v", dst.X, dst.Y, tt.want, tt.label)
			}
			if dst.Offset[0] != 12 || dst.Time[0] != 34 {
				t.Errorf("offset %d, time %d", dst.Offset[0], dst.Time[0])
			}
			checkCSV(t, tt.opts, rec)
		})
	}
}

// badRecords are faults of the features; each is tried with a good label before it and with one in the key.
var badRecords = []struct {
	name, give string
	reason     Reason
	column     int    // within give
	detail     string // what the detail holds besides the column
}{
	{"not a number", "1,nan", NonFinite, 1, `"nan"`},
	{"not a number, other spelling", "1,NaN", NonFinite, 1, `"NaN"`},
	{"infinite", "1,inf", NonFinite, 1, `"inf"`},
	{"infinite, other spelling", "1, -InFiNiTy ", NonFinite, 1, "InFiNiTy"},
	{"infinite, in quotes", `1,"+Inf"`, NonFinite, 1, "+Inf"},
	{"too large", "1,1e400", NonFinite, 1, `"1e400"`},
	{"too large by rounding", "1,-1.7976931348623159e308", NonFinite, 1, `"-1.79`},
	{"too large in quotes", `1,"1e999999999999"`, NonFinite, 1, `1e999`},
	{"text", "1,abc", Number, 1, `"abc" is not a number`},
	{"number and text", "1,2abc", Number, 1, `"2abc"`},
	{"signed not-a-number", "1,+nan", Number, 1, `"+nan"`},
	{"two numbers in a field", "1,2 3", Number, 1, `"2 3"`},
	{"semicolons", "1;2;3", Number, 0, `"1;2;3"`},
	{"hexadecimal", "1,0x1p-2", Number, 1, `"0x1p-2"`},
	{"underscore", "1,1_000", Number, 1, `"1_000"`},
	{"half an exponent", "1,2e", Number, 1, `"2e"`},
	{"sign only", "1,-", Number, 1, `"-"`},
	{"point only", "1,.", Number, 1, `"."`},
	{"doubled quotes", `1,"2""3"`, Number, 1, `"2\"\"3"`},
	{"line break in quotes", "1,\"2\n3\"", Number, 1, `"2\n3"`},
	{"long text", "1,x" + strings.Repeat("é", 1000), Number, 1, strings.Repeat("é", 19) + "\"… is not"},
	{"text that is not ASCII", "1,½", Number, 1, `"½"`},
	{"no-break space", "1,\u00a02", Number, 1, "2"},
	{"two lines", "1,2\n1,2", Decode, 1, "line break"},
	{"two lines, carriage return", "1,2\r1,2", Decode, 1, "line break"},
	{"line and an empty line", "1,2\n\n", Decode, 1, "line break"},
	{"no closing quote", `1,"2`, Decode, 1, "closing quote"},
	{"no closing quote after a doubled one", `1,"2""`, Decode, 1, "closing quote"},
	{"text behind the quote", `1,"2"3`, Decode, 1, "behind the closing quote"},
	{"line break behind the quote", "1,\"2\"\n\"3\"", Decode, 1, "behind the closing quote"},
	{"quote inside a field", `1,2"3`, Decode, 1, "quote inside"},
	{"invalid UTF-8", "1,\xff", UTF8, 1, `"\xff"`},
	{"invalid UTF-8 behind another fault", "abc,\xc3", UTF8, 1, `"\xc3"`},
	{"invalid UTF-8, cut", "1,\xe2\x82", UTF8, 1, `\xe2`},
	{"binary", "1\x00\x00\x00\x01\x02\x80", UTF8, 0, `\x80`},
}

func TestCSVBadRecords(t *testing.T) {
	for _, layout := range []struct {
		name, key, before string
		column            int
		opts              Options
	}{
		{"label first", "", "1,", 1, labelFirst},
		{"label in the key", "0.0", "", 0, labelKey},
	} {
		for _, tt := range badRecords {
			t.Run(layout.name+"/"+tt.name, func(t *testing.T) {
				rec := Record{Offset: 5, Key: []byte(layout.key), Value: []byte(layout.before + tt.give)}
				column := "column " + strconv.Itoa(layout.column+tt.column) + ": "
				if detail := checkBad(t, layout.opts, rec, tt.reason); !strings.HasPrefix(detail, column) || !strings.Contains(detail, tt.detail) {
					t.Errorf("detail %q, want %q and %q", detail, column, tt.detail)
				}
			})
		}
	}

	for _, tt := range []struct {
		name   string
		opts   Options
		rec    Record
		reason Reason
		detail string
	}{
		{"null value", labelFirst, Record{}, Tombstone, "null"},
		{"null value, label in the key", labelKey, Record{Key: []byte("1")}, Tombstone, "null"},
		{"no bytes", labelFirst, Record{Value: []byte("")}, Empty, "empty"},
		{"no bytes, label in the key", labelKey, Record{Key: []byte("1"), Value: []byte("")}, Empty, "empty"},
		{"white space", labelFirst, Record{Value: []byte(" \t\r\n\n ")}, Empty, "white space"},
		{"byte order mark only", labelFirst, Record{Value: []byte("\ufeff")}, Empty, "empty"},
		{"label 2", labelFirst, Record{Value: []byte("2,3")}, Label, `column 0: "2" is neither true, 1, 1.0, yes nor false, 0, 0.0, no`},
		{"label -1", labelFirst, Record{Value: []byte("-1,3")}, Label, `"-1"`},
		{"label 0.5", labelFirst, Record{Value: []byte("0.5,3")}, Label, `"0.5"`},
		{"label in quotes", labelFirst, Record{Value: []byte(`"7",3`)}, Label, `7`},
		{"label empty", labelFirst, Record{Value: []byte(",3")}, Label, `""`},
		{"label text", labelFirst, Record{Value: []byte("yeah,3")}, Label, `"yeah"`},
		{"label not a number", labelFirst, Record{Value: []byte("nan,3")}, Label, `"nan"`},
		{"label infinite", labelFirst, Record{Value: []byte("1e999,3")}, Label, `"1e999"`},
		{"label cut off by a quote", labelFirst, Record{Value: []byte(`"1,3`)}, Decode, "column 0"},
		{"key null", labelKey, Record{Value: []byte("3")}, Label, "the key is null"},
		{"key empty", labelKey, Record{Key: []byte{}, Value: []byte("3")}, Label, `key: ""`},
		{"key 2.0", labelKey, Record{Key: []byte("2.0"), Value: []byte("3")}, Label, `key: "2.0"`},
		{"key text", labelKey, Record{Key: []byte("car1"), Value: []byte("3")}, Label, `"car1"`},
		{"key of two fields", labelKey, Record{Key: []byte("1,0"), Value: []byte("3")}, Label, `"1,0"`},
		{"key not UTF-8", labelKey, Record{Key: []byte("\xff"), Value: []byte("3")}, Label, `"\xff"`},
		{"key wrong and value not UTF-8", labelKey, Record{Key: []byte("x"), Value: []byte("\xff")}, UTF8, "column 0"},
		{"label only", labelFirst, Record{Value: []byte("1")}, Arity, "the label is the only column"},
		{"label column missing", numbered, Record{Value: []byte("0,1")}, Arity, "2 columns; column 4"},
		{"feature column missing", numbered, Record{Value: []byte("0,1,1,3")}, Arity, "4 columns; column 4"},
		{"too few for the names", named, Record{Value: []byte("1,car,2")}, Arity, "3 columns where 4 have names"},
		{"too many for the names", named, Record{Value: []byte("1,car,2,1,5")}, Arity, "5 columns where 4 have names"},
		{"too many for the names, text", allNamed, Record{Value: []byte("1,2,3,x")}, Arity, "4 columns where 3 have names"},
		{"named feature", named, Record{Value: []byte("1,car,fast,1")}, Number, `column 2 (speed): "fast"`},
		{"named label", named, Record{Value: []byte("1,car,5,3")}, Label, `column 3 (class): "3"`},
		{"unused column not UTF-8", named, Record{Value: []byte("1,c\xe9r,5,1")}, UTF8, "column 1: byte 3"},
		{"unused column with an open quote", named, Record{Value: []byte(`1,"car,5,1`)}, Decode, "column 1 (car)"},
		{"text in a column that is not marked", marked, Record{Value: []byte("vw,fast,won,1")}, Number, "a # behind its column's name"},
		{"label of words without opposites, empty", marked, Record{Value: []byte("vw,1,,1")}, Label, `"" is no value`},
		{"category not UTF-8", marked, Record{Value: []byte("v\xff,1,won,1")}, UTF8, "column 0"},
		{"a header with a number is none", labelFirst, Record{Value: []byte("label,2")}, Label, "label"},
		{"a header behind offset 0", labelFirst, Record{Offset: 1, Value: []byte("label,x")}, Label, "label"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if detail := checkBad(t, tt.opts, tt.rec, tt.reason); !strings.Contains(detail, tt.detail) {
				t.Errorf("detail %q, want %q", detail, tt.detail)
			}
		})
	}
}

// checkBad checks that rec is refused for reason, and returns the detail.
func checkBad(t *testing.T, opts Options, rec Record, reason Reason) string {
	t.Helper()
	var bad *Bad
	if err := newCSV(t, opts).Decode(new(Block), rec); !errors.As(err, &bad) || bad.Reason != reason {
		t.Fatalf("value %q: error %v, want reason %v", rec.Value, err, reason)
	}
	checkCSV(t, opts, rec)
	return bad.Detail
}

var headers = []struct {
	give string
	want bool
}{
	{"label,lepton_1_pT,lepton_1_eta\r\n", true},
	{`"label", "a ""b""",c`, true},
	{"\ufefflabel,x", true},
	{"class", true},
	{"größe,x", true},
	{"0x10,x", true},
	{"label,1", false},
	{"1.0,2.0", false},
	{"label,nan", false},
	{"label,-Infinity", false},
	{"label,1e999", false},
	{"label,,x", false},
	{`label,""`, false},
	{"label,x\n1,2", false},
	{"label,x\n\n", false},
	{`label,"x`, false},
	{"label,\xff", false},
	{"", false},
	{" \n", false},
}

func TestIsHeader(t *testing.T) {
	for _, tt := range headers {
		if got := IsHeader([]byte(tt.give)); got != tt.want {
			t.Errorf("IsHeader(%q) = %v", tt.give, got)
		}
		for _, opts := range layouts {
			checkCSV(t, opts, Record{Value: []byte(tt.give), Key: []byte("1")})
		}
	}
}

// Categories are the same whether they are quoted or not, and numbers among them however they are written.
func TestCSVCategories(t *testing.T) {
	car, zip := NewHasher("car"), NewHasher("zip")
	c := newCSV(t, marked)
	for _, tt := range []struct {
		name, give string
		label      float64
		x          float64
		want       []uint64
	}{
		{"texts", "vw golf,5,won,AB1", 1, 5, []uint64{zip.Text([]byte("AB1")), car.Text([]byte("vw golf"))}},
		{"blanks and quotes", ` "vw golf" ,5, won, AB1 `, 1, 5, []uint64{zip.Text([]byte("AB1")), car.Text([]byte("vw golf"))}},
		{"doubled quotes", `"the ""car""",5,lost,x`, 0, 5, []uint64{zip.Text([]byte("x")), car.Text([]byte(`the "car"`))}},
		{"numbers", "10.0,5,1,01234", 1, 5, []uint64{zip.Number(1234), car.Number(10)}},
		{"missing", ",5,1.0,\"\"", 1, 5, []uint64{0, 0}},
		{"not finite", "nan,5,0,1e999", 0, 5, []uint64{zip.Text([]byte("1e999")), car.Text([]byte("nan"))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := Record{Offset: 3, Value: []byte(tt.give)}
			checkCSV(t, marked, rec)
			var dst Block
			if err := c.Decode(&dst, rec); err != nil {
				t.Fatal(err)
			}
			if row := dst.Row(0); dst.Y[0] != tt.label || !slices.Equal(row.X, []float64{tt.x}) || !slices.Equal(row.Hashes, tt.want) {
				t.Errorf("row %+v, label %v", row, dst.Y[0])
			}
		})
	}
	want := []Column{{"speed", Numeric}, {"zip", Categorical}, {"car", Categorical}}
	if !slices.Equal(c.shape.Columns, want) {
		t.Errorf("columns %v, want %v", c.shape.Columns, want)
	}
	if by := newCSV(t, markedSome).shape.Columns; !slices.Equal(by, []Column{{"2", Categorical}, {"0", Numeric}}) {
		t.Errorf("columns %v", by)
	}
}

// The names of all columns are no row anywhere, and no other header line is left out behind offset 0.
func TestCSVNames(t *testing.T) {
	for _, tt := range []struct {
		give   string
		offset int64
		none   bool
	}{
		{"time,car,speed,class", 7, true},
		{"\ufefftime, car ,\"speed\",class\r\n", 7, true},
		{"time,car,speed", 7, false},
		{"time,car,speed,class,more", 7, false},
		{"time,speed,car,class", 7, false},
		{"time,speed,car,class", 0, true},
	} {
		rec := Record{Offset: tt.offset, Value: []byte(tt.give)}
		if err := newCSV(t, named).Decode(new(Block), rec); (err == nil) != tt.none {
			t.Errorf("%q at %d: %v", tt.give, tt.offset, err)
		}
		checkCSV(t, named, rec)
	}
	// A row of nothing but text is one at offset 0, too.
	var dst Block
	if err := newCSV(t, marked).Decode(&dst, Record{Value: []byte("vw,,lost,x")}); err != nil || dst.Rows() != 1 {
		t.Errorf("%d rows: %v", dst.Rows(), err)
	}
}

func TestNewCSVErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		give Options
		want []string
	}{
		{"label name unknown", Options{Label: "klass", Columns: []string{"class", "a"}}, []string{`label: no column has the name "klass"`}},
		{"label name without names", Options{Label: "class"}, []string{`label: "class" is not a column number`}},
		{"label number beyond the names", Options{Label: "2", Columns: []string{"class", "a"}}, []string{"label: column 2 is not within the 2 columns"}},
		{"label number negative", Options{Label: "-1"}, []string{"label: column -1 is not within 0 to 1048575"}},
		{"label number too large", Options{Label: "1048576"}, []string{"label: column 1048576"}},
		{"label number far too large", Options{Label: "99999999999999999999"}, []string{"label: column 99999999999999999999"}},
		{"label is a feature", Options{Features: []string{"1", "0"}}, []string{`features: "0" is the label`}},
		{"label is a feature by name", Options{Label: "1", Columns: []string{"a", "class"}, Features: []string{"class"}}, []string{`features: "class" is the label`}},
		{"feature twice", Options{Columns: []string{"class", "a"}, Features: []string{"a", "1"}}, []string{`features: "1" is there twice`}},
		{"feature name unknown", Options{Columns: []string{"class", "a"}, Features: []string{"b"}}, []string{`features: no column has the name "b"`}},
		{"feature empty", Options{Features: []string{""}}, []string{`features: "" is not a column number`}},
		{"feature number beyond the names", Options{Columns: []string{"class", "a"}, Features: []string{"2"}}, []string{"features: column 2"}},
		{"names twice", Options{Columns: []string{"class", "a", "a"}}, []string{`column 1 and 2 both have the name "a"`}},
		{"name empty", Options{Columns: []string{"class", " ", "a"}}, []string{"columns: column 1 has no name"}},
		{"name is a number", Options{Columns: []string{"class", "7"}}, []string{`columns: the name "7"`}},
		{"positive empty", Options{Positive: "a||b"}, []string{"positive: a value is empty"}},
		{"marked twice", Options{Features: []string{"1#", "1"}}, []string{`features: "1" is there twice`}},
		{"only a mark", Options{Columns: []string{"class", "#"}}, []string{"columns: column 1 has no name"}},
		{"no feature left", Options{Columns: []string{"class"}}, []string{"leaves no feature"}},
		{"all at once", Options{Label: "x", Columns: []string{"a", "a"}, Features: []string{"y", "5"}}, []string{"columns: ", `label: no column has the name "x"`, `"y"`, "column 5"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewCSV(tt.give)
			if err == nil {
				t.Fatalf("no error, but %+v", c)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != max(len(tt.want), 1) {
				t.Errorf("%d errors: %q", lines, err)
			}
		})
	}
}

// The first rows of the UCI file, each in both layouts, must come out as strconv reads them.
func TestCSVFile(t *testing.T) {
	file, err := os.Open("../../internal/testdata/susy_10k_balanced.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	whole, split := newCSV(t, labelFirst), newCSV(t, labelKey)
	var a, b Block
	offset := int64(0)
	for lines := bufio.NewScanner(unzip); lines.Scan(); offset++ {
		line := lines.Text()
		if err := whole.Decode(&a, Record{Offset: offset, Value: []byte(line)}); err != nil {
			t.Fatal(err)
		}
		label, features, _ := strings.Cut(line, ",")
		if err := split.Decode(&b, Record{Offset: offset, Key: []byte(label[:3]), Value: []byte(features)}); err != nil {
			t.Fatal(err)
		}
		row := a.Row(a.Rows() - 1).X
		for i, text := range strings.Split(features, ",") {
			if want, err := strconv.ParseFloat(text, 64); err != nil || row[i] != want {
				t.Fatalf("line %d: %q came out as %v", offset+1, text, row[i])
			}
		}
	}
	if a.Rows() != 10_000 || len(a.X) != 180_000 {
		t.Fatalf("%d rows of %d features in all", a.Rows(), len(a.X))
	}
	if !reflect.DeepEqual(a, b) {
		t.Error("the two layouts differ")
	}
}

func TestCSVAllocatesNothing(t *testing.T) {
	_, lines := susyLines(100)
	lines = append(lines, []byte(`1, "2" ,3.00000000000000000000000000001,4`))
	for _, opts := range []Options{labelFirst, {Label: "key"}, {Features: []string{"3", "1"}}} {
		c := newCSV(t, opts)
		var dst Block
		key := []byte("1.0")
		pass := func() {
			dst.Reset()
			for i, line := range lines {
				if err := c.Decode(&dst, Record{Offset: int64(i), Key: key, Value: line}); err != nil {
					t.Fatal(err)
				}
			}
		}
		pass()
		if n := testing.AllocsPerRun(20, pass); n != 0 {
			t.Errorf("%+v: %v allocations for %d rows", opts, n, len(lines))
		}
	}
}

func FuzzCSV(f *testing.F) {
	for layout := range layouts {
		for _, tt := range badRecords {
			f.Add(uint8(layout), []byte("1.0"), []byte("1,"+tt.give), int64(1))
		}
		for _, tt := range headers {
			f.Add(uint8(layout), []byte("0"), []byte(tt.give), int64(0))
		}
	}
	f.Add(uint8(1), []byte(" \"1\" \n"), []byte("9.728614687919616699e-01,0.000000000000000000e+00\r\n"), int64(7))
	f.Add(uint8(2), []byte(nil), []byte("1567606196,\"car \"\"1\"\", red\",17.5,1"), int64(3))
	f.Fuzz(func(t *testing.T, layout uint8, key, value []byte, offset int64) {
		checkCSV(t, layouts[int(layout)%len(layouts)], Record{Offset: offset, Time: 5, Key: key, Value: value})
	})
}

// Random rows made of pieces that matter, so that the two decoders meet on faults behind faults, too.
func TestCSVRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	pieces := []string{"0", "1", "1.0", "-0", "2.5", "1e400", "nan", "abc", "é", "\xff", "", " ", "\t", `"`, `""`, `"1"`, "\n", "\r", "\ufeff", "12345678901234567890", "e5", ".", "-", "won", "yes", "car", "y"}
	for range 20_000 {
		var value strings.Builder
		for col := range 1 + rng.IntN(6) {
			if col > 0 {
				value.WriteByte(',')
			}
			for range 1 + rng.IntN(2)*rng.IntN(3) {
				n := len(pieces)
				if rng.IntN(3) > 0 {
					n = 5
				}
				value.WriteString(pieces[rng.IntN(n)])
			}
		}
		rec := Record{Offset: int64(rng.IntN(2)), Key: []byte(pieces[rng.IntN(6)]), Value: []byte(value.String())}
		checkCSV(t, layouts[rng.IntN(len(layouts))], rec)
	}
}

// shortLines returns n lines of a label and 18 features in as few digits as they need, four to seventeen.
func shortLines(n int) (size int, lines [][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		line := strconv.AppendInt(nil, rng.Int64N(2), 10)
		for col := range 18 {
			digits := math.Pow(10, float64(4+col%14))
			line = append(line, ',')
			line = strconv.AppendFloat(line, math.Round(rng.NormFloat64()*digits)/digits, 'f', -1, 64)
		}
		lines = append(lines, line)
		size += len(line)
	}
	return size, lines
}

// susyLines returns n lines like those of the UCI file, a label and 18 features, and their length in bytes.
func susyLines(n int) (size int, lines [][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		line := strconv.AppendFloat(nil, float64(rng.IntN(2)), 'e', 18, 64)
		for range 18 {
			line = append(line, ',')
			line = strconv.AppendFloat(line, float64(float32(rng.NormFloat64())), 'e', 18, 64)
		}
		lines = append(lines, line)
		size += len(line)
	}
	return size, lines
}

// BenchmarkCSV decodes one row of a label and 18 features in one operation, with the plain loop over strconv beside
// it.
func BenchmarkCSV(b *testing.B) {
	run := func(b *testing.B, give func(n int) (int, [][]byte), decode func(dst *Block, rec Record) error) {
		size, lines := give(1024)
		var dst Block
		b.SetBytes(int64(size / len(lines)))
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i == len(lines) {
				i = 0
				dst.Reset()
			}
			if err := decode(&dst, Record{Offset: int64(i), Value: lines[i]}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}
	b.Run("own", func(b *testing.B) { run(b, susyLines, newCSV(b, labelFirst).Decode) })
	b.Run("short", func(b *testing.B) { run(b, shortLines, newCSV(b, labelFirst).Decode) })
	b.Run("strconv", func(b *testing.B) {
		run(b, susyLines, func(dst *Block, rec Record) error {
			label, rest := 0.0, string(rec.Value)
			for col, more := 0, true; more; col++ {
				var text string
				text, rest, more = strings.Cut(rest, ",")
				v, err := strconv.ParseFloat(text, 64)
				if err != nil {
					return err
				}
				if col == 0 {
					label = v
				} else {
					dst.X = append(dst.X, v)
				}
			}
			dst.EndRow(&rec, nil, label)
			return nil
		})
	})
}
