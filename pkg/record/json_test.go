package record

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func newJSONDecoder(t testing.TB, opts Options) *jsonDecoder {
	t.Helper()
	s, err := newSelection(opts)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := newColumns(opts)
	if err != nil {
		return newJSON(s, nil, &Bad{Reason: Schema, Detail: err.Error()})
	}
	return newJSON(s, lists, nil)
}

// jsonLayouts are the options that the tests use.
var jsonLayouts = []Options{
	{},
	{Label: "key"},
	{Label: "a.won", Features: []string{"a", "v.1", "zip#", "price"}, Positive: "won|1"},
	{Columns: []string{"a#", "y", "b"}},
	{Label: "1", Features: []string{"2#", "0"}},
}

// seen is what decoding a record came to, for comparisons.
func seen(dst *Block, err error) string {
	if err != nil {
		return err.Error()
	}
	row := dst.Row(dst.Rows() - 1)
	text := fmt.Sprintf("label %x, %x, %x", math.Float64bits(dst.Y[dst.Rows()-1]), floatBits(row.X), row.Hashes)
	if row.Shape != nil {
		text += fmt.Sprintf(", %v", row.Shape.Columns)
	}
	return text
}

// checkJSON holds both ways of decoding a record together, the one through a tree that other records have grown.
func checkJSON(t *testing.T, opts Options, key []byte, values ...[]byte) {
	t.Helper()
	tree := newJSONDecoder(t, opts)
	for range 2 {
		for _, value := range values {
			rec := Record{Offset: 1, Key: key, Value: value}
			var dst, plain Block
			dst.X, dst.Hashes = append(dst.X, 3), append(dst.Hashes, 4)
			dst.EndRow(&Record{}, nil, 1)
			before := Block{
				X: slices.Clone(dst.X), End: slices.Clone(dst.End), Hashes: slices.Clone(dst.Hashes), HashEnd: slices.Clone(dst.HashEnd),
				Y: slices.Clone(dst.Y), Time: slices.Clone(dst.Time), Offset: slices.Clone(dst.Offset),
			}
			err := tree.decode(&dst, &rec, value)
			outcome := seen(&dst, err)
			if err != nil && !reflect.DeepEqual(dst, before) {
				t.Fatalf("%q: no row, but the block has changed to %+v", value, dst)
			}

			strict := newJSONDecoder(t, opts)
			want := "empty: the value is empty or white space"
			if text := []byte(strings.TrimPrefix(string(value), "\ufeff")); !isBlank(text) {
				shape, label, bad := strict.strict(&plain, key, text)
				if bad != nil {
					want = bad.Error()
				} else {
					plain.EndRow(&rec, shape, label)
					want = seen(&plain, nil)
				}
				if bad == nil && plain.Missing != dst.Missing {
					t.Fatalf("%q: missing %v, want %v", value, dst.Missing, plain.Missing)
				}
			}
			if outcome != want {
				t.Fatalf("%+v, key %q: %q came to %s, want %s", opts, key, value, outcome, want)
			}
			if err == nil {
				row := dst.Row(1)
				if numbers, categories := kindsOf(row.Shape); row.Shape != nil && (numbers != len(row.X) || categories != len(row.Hashes)) {
					t.Fatalf("%q: %d numbers and %d categories in shape %+v", value, len(row.X), len(row.Hashes), row.Shape)
				}
			}
		}
	}
}

func TestJSONRows(t *testing.T) {
	hash := func(column, text string) uint64 { return NewHasher(column).Text([]byte(text)) }
	for _, tt := range []struct {
		name, give, key string
		opts            Options
		label           float64
		columns         string
		x               []float64
		hashes          []uint64
	}{
		{"numbers", `{"label":1,"a":0.5,"b":-2e1}`, "", Options{}, 1, "a=number b=number", []float64{.5, -20}, nil},
		{"white space", " {\t\"label\" : 0 ,\r\n\"a\" : 1 } \n", "", Options{}, 0, "a=number", []float64{1}, nil},
		{"byte order mark", "\ufeff{\"label\":1,\"a\":2}", "", Options{}, 1, "a=number", []float64{2}, nil},
		{"texts and booleans", `{"a":true,"b":"red","c":false,"label":false}`, "", Options{}, 0, "a=number b=category c=number", []float64{1, 0}, []uint64{hash("b", "red")}},
		{"null and blank texts", `{"a":null,"b":"","c":" ","y":true}`, "", Options{}, 1, "a=null b=null c=null", nil, nil},
		{"objects", `{"a":{"b":1,"c":{"d":"x"}},"label":1,"e":3}`, "", Options{}, 1, "a.b=number a.c.d=category e=number", []float64{1, 3}, []uint64{hash("a.c.d", "x")}},
		{"arrays", `{"v":[1,null,3],"label":1,"w":[null]}`, "", Options{}, 1, "v.0=number v.1=null v.2=number w.0=null", []float64{1, 3}, nil},
		{"arrays passed over", `{"v":[],"w":["a"],"x":[1,"a"],"y":1,"z":[[1]],"u":[{"a":1,"a":2}],"t":[1,true],"a":2,"o":{}}`, "", Options{}, 1, "a=number", []float64{2}, nil},
		{"escapes", `{"\u0061":"\u00e9\n\/","label":1}`, "", Options{}, 1, "a=category", nil, []uint64{hash("a", "é\n/")}},
		{"surrogates", `{"a":"\ud83d\ude00","label":1}`, "", Options{}, 1, "a=category", nil, []uint64{hash("a", "😀")}},
		{"lone surrogates", `{"a":"\ud800\u0041\udc00\ud800\ud800\udc00","label":1}`, "", Options{}, 1, "a=category", nil, []uint64{hash("a", "\ufffdA\ufffd\ufffd𐀀")}},
		{"not ASCII", `{"größe":1,"a":"Zürich","label":1}`, "", Options{}, 1, "größe=number a=category", []float64{1}, []uint64{hash("a", "Zürich")}},
		{"quotes in keys", `{"a\"\\":1,"label":1}`, "", Options{}, 1, `a"\=number`, []float64{1}, nil},
		{"the first of the names of labels", `{"y":5,"target":1,"Class":7}`, "", Options{}, 1, "y=number Class=number", []float64{5, 7}, nil},
		{"capitals of the label", `{"LABEL":"Yes","a":1}`, "", Options{}, 1, "a=number", []float64{1}, nil},
		{"label in the key", `{"label":5,"a":1}`, "1.0", Options{Label: "key"}, 1, "label=number a=number", []float64{5, 1}, nil},
		{"label deeper, fields asked for", `{"a":{"won":"won","b":3},"v":[1,2],"c":1e999,"zip":"01234","price":"12.50"}`, "", jsonLayouts[2], 1, "a.b=number v.1=number zip=category price=number", []float64{3, 2, 12.5}, []uint64{hash("zip", "01234")}},
		{"numbers as categories", `{"a":{"won":"lost"},"zip":10.0}`, "", jsonLayouts[2], 0, "zip=category", nil, []uint64{hash("zip", "10")}},
		{"negative zero", `{"label":-0,"a":-0}`, "", Options{}, 0, "a=number", []float64{math.Copysign(0, -1)}, nil},
		{"array", `[1, 0.5,-3]`, "", Options{}, 1, "", []float64{.5, -3}, nil},
		{"array, printed", "[1.000000000000000000e+00,9.728614687919616699e-01,-6.538545489311218262e-01]\n", "", Options{}, 1, "", []float64{9.728614687919616699e-01, -6.538545489311218262e-01}, nil},
		{"array, missing, booleans, and numbers in quotes", `[false,null,true," 2.5 ",""]`, "", Options{}, 0, "", []float64{notANumber, 1, 2.5, notANumber}, nil},
		{"array, label in the key", `[1,2]`, "0", Options{Label: "key"}, 0, "", []float64{1, 2}, nil},
		{"array, columns by number", `[0.5,"1","x",{"a":[]}]`, "", jsonLayouts[4], 1, "2=category 0=number", []float64{.5}, []uint64{hash("2", "x")}},
		{"array, columns by name", `[3,1,2]`, "", jsonLayouts[3], 1, "a=category b=number", []float64{2}, []uint64{hash("a", "3")}},
		{"array, missing category", `[null,1,null]`, "", jsonLayouts[3], 1, "a=category b=number", []float64{notANumber}, []uint64{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkJSON(t, tt.opts, []byte(tt.key), []byte(tt.give))
			var dst Block
			if err := newJSONDecoder(t, tt.opts).decode(&dst, &Record{Offset: 5, Time: 6, Key: []byte(tt.key)}, []byte(tt.give)); err != nil {
				t.Fatal(err)
			}
			row := dst.Row(0)
			var columns []string
			if row.Shape != nil {
				for _, c := range row.Shape.Columns {
					columns = append(columns, c.Name+"="+c.Kind.String())
				}
			}
			if dst.Y[0] != tt.label || math.Signbit(dst.Y[0]) || strings.Join(columns, " ") != tt.columns || !slices.Equal(floatBits(row.X), floatBits(tt.x)) || !slices.Equal(row.Hashes, tt.hashes) {
				t.Errorf("label %v, columns %v, %v %x", dst.Y[0], columns, row.X, row.Hashes)
			}
			if dst.Offset[0] != 5 || dst.Time[0] != 6 {
				t.Errorf("offset %d, time %d", dst.Offset[0], dst.Time[0])
			}
		})
	}
}

var badJSON = []struct {
	name, give string
	opts       int
	reason     Reason
	detail     string
}{
	{"nothing", " \n", 0, Empty, "white space"},
	{"cut", `{"label":1,"a":`, 0, Decode, "byte 15: unexpected end"},
	{"garbage behind", `{"label":1,"a":1}x`, 0, Decode, "byte 18"},
	{"two objects", `{"label":1,"a":1}{}`, 0, Decode, "byte 18"},
	{"comma at the end", `{"label":1,"a":1,}`, 0, Decode, "byte 18"},
	{"not a number", `{"label":1,"a":NaN}`, 0, Decode, "'N'"},
	{"plus", `{"label":1,"a":+1}`, 0, Decode, "'+'"},
	{"no whole part", `{"label":1,"a":.5}`, 0, Decode, "'.'"},
	{"no fraction", `{"label":1,"a":1.}`, 0, Decode, "'}'"},
	{"zero in front", `{"label":1,"a":01}`, 0, Decode, "'1'"},
	{"zero in front, printed", `{"label":1,"a":01.000000000000000000e+00}`, 0, Decode, "'1'"},
	{"control character", "{\"label\":1,\"a\":\"\x01\"}", 0, Decode, `'\x01'`},
	{"neither object nor array", `12`, 0, Decode, "neither"},
	{"null", `null`, 0, Decode, "neither"},
	{"name twice", `{"label":1,"a":1,"a":1}`, 0, Decode, `field "a" is there twice`},
	{"name twice by an escape", `{"label":1,"a":1,"\u0061":1}`, 0, Decode, `field "a"`},
	{"name twice by a dot", `{"label":1,"a":{"b":1},"a.b":1}`, 0, Decode, `field "a.b"`},
	{"name twice by an array", `{"label":1,"a":[1],"a.0":1}`, 0, Decode, `field "a.0"`},
	{"too deep", `{"label":1,"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, 0, Decode, "more than 64 deep"},
	{"not UTF-8", "{\"label\":1,\"a\":\"\xff\"}", 0, UTF8, "byte 16"},
	{"not UTF-8 in a key", "{\"label\":1,\"\xff\":1}", 0, UTF8, "byte 12"},
	{"not UTF-8 in what is passed over", "{\"label\":1,\"a\":[\"\xc3\"]}", 0, UTF8, "byte 17"},
	{"too large", `{"label":1,"a":1e999}`, 0, NonFinite, `field "a": "1e999" is not finite`},
	{"number in quotes", `{"label":1,"a":"12.5"}`, 0, Number, "in LEARNER_FEATURES"},
	{"number in quotes that is too large", `{"a":{"won":"1"},"price":"1e999"}`, 2, NonFinite, "price"},
	{"no label", `{"a":1}`, 0, Label, "no field label, signal, target, class, y"},
	{"no label of that name", `{"label":1,"a":1}`, 2, Label, `no field "a.won"`},
	{"label null", `{"label":null,"a":1}`, 0, Label, `field "label": "null" is neither`},
	{"label 2", `{"label":2,"a":1}`, 0, Label, `"2" is neither`},
	{"label text", `{"label":"maybe","a":1}`, 0, Label, `"maybe"`},
	{"label an object", `{"label":{"x":1},"a":1}`, 0, Label, "no field label"},
	{"label only", `{"label":1}`, 0, Arity, "no field is a feature"},
	{"nothing asked for", `{"a":{"won":1},"x":2}`, 2, Arity, "no field is a feature"},
	{"key", `{"a":1}`, 1, Label, "key"},
	{"array of text", `[1,"a"]`, 0, Number, `column 1: "a" is not a number`},
	{"array of arrays", `[1,[2]]`, 0, Number, `column 1: "[2]" is not a number`},
	{"array, label", `[2,3]`, 0, Label, `column 0: "2" is neither`},
	{"array, label null", `[null,3]`, 0, Label, "column 0"},
	{"array, label only", `[1]`, 0, Arity, "the label is the only column"},
	{"array empty", `[]`, 0, Arity, "0 columns"},
	{"array too short for names", `[1,1]`, 3, Arity, "2 columns where 3 have names"},
	{"array too large", `[1,1e400]`, 0, NonFinite, "column 1"},
	{"array where fields have names", `[1,2]`, 2, Schema, "label"},
	{"array, no fraction", `[1,1.,2.5]`, 0, Decode, "byte 6"},
	{"array, no fraction at the end", `[1,2.5,1.]`, 0, Decode, "byte 10"},
	{"array and garbage", `[1,2]]`, 0, Decode, "byte 6"},
}

func TestJSONBadRecords(t *testing.T) {
	for _, tt := range badJSON {
		t.Run(tt.name, func(t *testing.T) {
			var bad *Bad
			err := newJSONDecoder(t, jsonLayouts[tt.opts]).decode(new(Block), &Record{}, []byte(tt.give))
			if !errors.As(err, &bad) || bad.Reason != tt.reason || !strings.Contains(bad.Detail, tt.detail) {
				t.Errorf("%v, want %v: …%s…", err, tt.reason, tt.detail)
			}
			checkJSON(t, jsonLayouts[tt.opts], nil, []byte(tt.give))
		})
	}
}

// susyJSON returns the rows of CSV lines as objects and as arrays.
func susyJSON(lines [][]byte) (objects, arrays [][]byte) {
	for _, line := range lines {
		object := []byte{'{'}
		for i, field := range strings.Split(string(line), ",") {
			if i > 0 {
				object = append(object, ',')
			}
			object = append(object, fmt.Sprintf("%q:%s", susyNames[i], field)...)
		}
		objects = append(objects, append(object, '}'))
		arrays = append(arrays, slices.Concat([]byte{'['}, line, []byte{']'}))
	}
	return objects, arrays
}

var susyNames = []string{
	"signal", "lepton_1_pT", "lepton_1_eta", "lepton_1_phi", "lepton_2_pT", "lepton_2_eta", "lepton_2_phi", "missing_energy_magnitude",
	"missing_energy_phi", "MET_rel", "axial_MET", "M_R", "M_TR_2", "R", "MT2", "S_R", "M_Delta_R", "dPhi_r_b", "cos_theta_r1",
}

// The same rows in every format are the same.
func TestJSONAsCSV(t *testing.T) {
	_, printed := susyLines(100)
	_, short := shortLines(100)
	lines := slices.Concat(printed, short)
	objects, arrays := susyJSON(lines)
	byName, plain := Options{Columns: susyNames}, Options{}
	var csv, named, object, array, namedArray Block
	csvPlain, csvNamed, decoder, namedDecoder := newCSV(t, plain), newCSV(t, byName), newJSONDecoder(t, plain), newJSONDecoder(t, byName)
	for i := range lines {
		rec := Record{Offset: int64(i), Value: lines[i]}
		if err := errors.Join(csvPlain.Decode(&csv, rec), csvNamed.Decode(&named, rec), decoder.decode(&object, &rec, objects[i]),
			decoder.decode(&array, &rec, arrays[i]), namedDecoder.decode(&namedArray, &rec, arrays[i])); err != nil {
			t.Fatal(err)
		}
	}
	want := named.Shapes[0].Shape.Columns
	for _, b := range []*Block{&named, &object, &namedArray} {
		if len(b.Shapes) != 1 || !slices.Equal(b.Shapes[0].Shape.Columns, want) {
			t.Errorf("shapes %+v", b.Shapes)
		}
		b.Shapes = nil
	}
	for _, b := range []*Block{&named, &object, &array, &namedArray} {
		if !reflect.DeepEqual(*b, csv) {
			t.Error("the rows are not those of CSV")
		}
	}
}

func TestJSONAllocatesNothing(t *testing.T) {
	_, lines := susyLines(50)
	objects, arrays := susyJSON(lines)
	records := slices.Concat(objects, arrays)
	for _, text := range []string{
		`{"a":1,"b":{"c":"red","d":null},"v":[1,2,3],"w":["x",{"y":[1]}],"label":"yes"}`,
		`{"b": {"c": "Z\u00fcrich \/ \ud83d\ude00 \n", "d": 2}, "a": true, "y": false, "v": [1, null], "w": []}`,
	} {
		records = append(records, []byte(text))
	}
	d := newJSONDecoder(t, Options{})
	var dst Block
	pass := func() {
		dst.Reset()
		for i, value := range records {
			if err := d.decode(&dst, &Record{Offset: int64(i)}, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	pass()
	if n := testing.AllocsPerRun(20, pass); n != 0 {
		t.Errorf("%v allocations for %d rows", n, len(records))
	}
}

// A stream of ever new keys uses up the room of the tree, and is decoded like any other.
func TestJSONRoom(t *testing.T) {
	d := newJSONDecoder(t, Options{})
	d.room = 20_000
	var dst Block
	for i := range 500 {
		value := fmt.Sprintf(`{"a%d":%d,"label":1}`, i, i)
		for range 2 {
			if err := d.decode(&dst, &Record{}, []byte(value)); err != nil {
				t.Fatal(err)
			}
			row := dst.Row(dst.Rows() - 1)
			if len(row.X) != 1 || row.X[0] != float64(i) || row.Shape.Columns[0].Name != "a"+strconv.Itoa(i) {
				t.Fatalf("row %+v of %s", row, value)
			}
		}
	}
	if d.room < 0 || d.room > 1000 || len(d.shapes) > 100 {
		t.Errorf("room %d, %d shapes", d.room, len(d.shapes))
	}
}

// Random records made of pieces that matter.
func TestJSONRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	keys := []string{"a", "b", "y", "label", "Y", "won", "v", "zip", "price", "0", "a.b", `\u0061`, "é", "class"}
	scalars := []string{"1", "0", "-0", "2.5", "1e0", "null", "true", "false", `"x"`, `"1"`, `""`, `"won"`, `"é"`, `"\n"`, `"\ud83d\ude00\ud83d\u00FC\/"`, `"\ude00"`, "1e999", "01", "1.", "9.728614687919616699e-01", "-6.538545489311218262e-01", `"yes"`}
	var value func(depth int) string
	value = func(depth int) string {
		var b strings.Builder
		switch kind := rng.IntN(10); {
		case kind == 0 && depth < 3 || depth == 0 && kind < 8:
			b.WriteString("{")
			for i := range rng.IntN(5) {
				if i > 0 {
					b.WriteString(",")
				}
				b.WriteString(`"` + keys[rng.IntN(len(keys))] + `"` + strings.Repeat(" ", rng.IntN(5)/4) + ":" + strings.Repeat(" ", rng.IntN(2)) + value(depth+1))
			}
			b.WriteString("}")
		case kind == 1 && depth < 3 || depth == 0:
			b.WriteString("[")
			few := rng.IntN(2) * 16
			for i := range rng.IntN(5) {
				if i > 0 {
					b.WriteString(",")
				}
				if few > 0 {
					b.WriteString(scalars[rng.IntN(6)])
				} else {
					b.WriteString(value(depth + 1))
				}
			}
			b.WriteString("]")
		case kind < 6:
			b.WriteString(scalars[rng.IntN(6)])
		default:
			b.WriteString(scalars[rng.IntN(len(scalars))])
		}
		return b.String()
	}
	for range 5_000 {
		var values [][]byte
		for range 1 + rng.IntN(3) {
			values = append(values, []byte(value(0)))
		}
		checkJSON(t, jsonLayouts[rng.IntN(len(jsonLayouts))], []byte([]string{"1", "0", "x"}[rng.IntN(3)]), values...)
	}
}

func FuzzJSON(f *testing.F) {
	for _, tt := range badJSON {
		f.Add(uint8(tt.opts), []byte("1"), []byte(`{"label":1,"a":"b"}`), []byte(tt.give))
	}
	f.Add(uint8(0), []byte("1"), []byte(`{"a\":1,\"b":2,"label":1}`), []byte(`{"a":1,"b":2,"label":1}`))
	f.Add(uint8(2), []byte("1"), []byte(`{"a":{"won":1,"b":[1,null]},"v":[0,1],"zip":"1","price":"2"}`), []byte(`{"a":{"won":1,"b":[1,true]},"v":[0,"x"],"zip":1,"price":""}`))
	f.Add(uint8(4), []byte("1"), []byte(`[1,0,"x"]`), []byte(`[9.728614687919616699e-01,1,5]`))
	f.Fuzz(func(t *testing.T, layout uint8, key, first, value []byte) {
		checkJSON(t, jsonLayouts[int(layout)%len(jsonLayouts)], key, first, value)
	})
}

// BenchmarkJSON decodes one row of a label and 18 features in one operation, those of BenchmarkCSV.
func BenchmarkJSON(b *testing.B) {
	run := func(b *testing.B, values [][]byte) {
		d := newJSONDecoder(b, Options{})
		var dst Block
		b.SetBytes(int64(len(values[0])))
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i == len(values) {
				i = 0
				dst.Reset()
			}
			if err := d.decode(&dst, &Record{Offset: int64(i)}, values[i]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}
	_, printed := susyLines(1024)
	_, short := shortLines(1024)
	objects, arrays := susyJSON(printed)
	shortObjects, shortArrays := susyJSON(short)
	b.Run("own", func(b *testing.B) { run(b, objects) })
	b.Run("short", func(b *testing.B) { run(b, shortObjects) })
	b.Run("array", func(b *testing.B) { run(b, arrays) })
	b.Run("short_array", func(b *testing.B) { run(b, shortArrays) })
	b.Run("strict", func(b *testing.B) {
		for i, value := range objects {
			objects[i] = []byte(strings.Replace(string(value), "signal", `signa\u006c`, 1))
		}
		run(b, objects)
	})
}
