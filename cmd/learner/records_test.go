package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"learner/pkg/deadletter"
	"learner/pkg/producer"
	"learner/pkg/record"
	"learner/pkg/susy"
	"learner/pkg/train"
)

// schemaRegistry is a Schema Registry in this process.
type schemaRegistry struct {
	*httptest.Server
	mu      sync.Mutex
	schemas []map[string]string // by id, from 1 on; guarded by mu
	away    bool                // nobody answers
	asked   map[string]int
}

func startRegistry(t *testing.T) *schemaRegistry {
	t.Helper()
	r := &schemaRegistry{asked: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// add registers a schema, Avro where no type is given, and returns its id.
func (r *schemaRegistry) add(schema, kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, known := range r.schemas {
		if known["schema"] == schema {
			return i + 1
		}
	}
	known := map[string]string{"schema": schema}
	if kind != "" {
		known["schemaType"] = kind
	}
	r.schemas = append(r.schemas, known)
	return len(r.schemas)
}

func (r *schemaRegistry) leave(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// ServeHTTP implements http.Handler.
func (r *schemaRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	answer := func(code int, body any) {
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
	if request.Method == http.MethodPost && strings.HasPrefix(request.URL.Path, "/subjects/") {
		var given struct{ Schema, SchemaType string }
		if err := json.NewDecoder(request.Body).Decode(&given); err != nil {
			answer(http.StatusUnprocessableEntity, map[string]any{"error_code": 42201, "message": err.Error()})
			return
		}
		answer(http.StatusOK, map[string]int{"id": r.add(given.Schema, "")})
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.TrimPrefix(request.URL.Path, "/schemas/ids/")
	r.asked[text]++
	id, err := strconv.Atoi(text)
	switch {
	case r.away:
		answer(http.StatusServiceUnavailable, map[string]any{"error_code": 50301, "message": "away"})
	case err != nil || id < 1 || id > len(r.schemas):
		answer(http.StatusNotFound, map[string]any{"error_code": 40403, "message": "Schema not found"})
	default:
		answer(http.StatusOK, r.schemas[id-1])
	}
}

// recordOf returns the text of an Avro record schema of fields "name type", where a type may be JSON.
func recordOf(fields ...string) string {
	all := make([]string, len(fields))
	for i, field := range fields {
		name, kind, _ := strings.Cut(field, " ")
		if !strings.ContainsAny(kind, "[{") {
			kind = strconv.Quote(kind)
		}
		all[i] = fmt.Sprintf(`{"name":%q,"type":%s}`, name, kind)
	}
	return `{"type":"record","name":"Row","fields":[` + strings.Join(all, ",") + `]}`
}

// avroValue returns a value in Avro's binary encoding, framed for Schema Registry. A nil is the first branch of a union with
// null, a pointer the second.
func avroValue(schema int, values ...any) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(schema))
	return avroBody(b, values...)
}

func avroBody(b []byte, values ...any) []byte {
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = binary.AppendVarint(b, 0)
		case *float64:
			b = avroBody(binary.AppendVarint(b, 1), *v)
		case *string:
			b = avroBody(binary.AppendVarint(b, 1), *v)
		case int:
			b = binary.AppendVarint(b, int64(v))
		case float64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		case float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		case string:
			b = append(binary.AppendVarint(b, int64(len(v))), v...)
		}
	}
	return b
}

// logRecord is a record to be written.
type logRecord struct {
	partition int32
	time      time.Time
	value     []byte
	headers   []protocol.Header
}

// append writes records to a topic.
func (c *testCluster) append(t *testing.T, topic string, records []logRecord) {
	t.Helper()
	p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: topic, Linger: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := p.SendWithHeaders(t.Context(), r.partition, r.time, nil, r.value, r.headers); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// named returns a cluster whose topics and group are another's with a suffix, with a store of its own.
func (c *testCluster) named(t *testing.T, name string, partitions int, env ...string) *testCluster {
	t.Helper()
	own := *c
	own.train, own.test = c.train+"-"+name, c.test+"-"+name
	own.env = c.with(append(env, "LEARNER_TRAIN_TOPIC="+own.train, "LEARNER_TEST_TOPIC="+own.test, "LEARNER_CHECKPOINT_TOPIC="+own.train+"-checkpoints")...)
	own.create(t, partitions, nil)
	return own.as(name)
}

// The same rows, with the same partition and timestamp each, give the same weights in every format. The rows are those of
// the UCI file, whose values are of 32 bits: so they are the same as Avro floats, too.
func TestFormatsGiveTheSameBits(t *testing.T) {
	needsTime(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster)
			registry := startRegistry(t)
			fields := make([]string, 1+susy.Features)
			for i := range fields {
				fields[i] = fmt.Sprintf("f%d double", i)
			}
			fields[0] = "signal double"
			doubles := registry.add(recordOf(fields...), "")
			floats := registry.add(strings.ReplaceAll(recordOf(fields...), "double", "float"), "")
			rows := parsed(t, susyLines(t)[:3000])
			formats := map[string]func(row []float64) []byte{
				"csv": func(row []float64) []byte {
					var line []byte
					for _, v := range row {
						line = append(strconv.AppendFloat(line, v, 'e', 18, 64), ',')
					}
					return line[:len(line)-1]
				},
				"json": func(row []float64) []byte {
					text := []byte(`{"signal":` + strconv.Itoa(int(row[0])))
					for i, v := range row[1:] {
						text = strconv.AppendFloat(fmt.Appendf(text, `, "f%d": `, 1+i), v, 'g', -1, 64)
					}
					return append(text, '}')
				},
				"json-list": func(row []float64) []byte {
					text, err := json.Marshal(row)
					if err != nil {
						t.Fatal(err)
					}
					return text
				},
				"avro": func(row []float64) []byte {
					values := make([]any, len(row))
					for i, v := range row {
						values[i] = v
					}
					return avroValue(doubles, values...)
				},
				"avro-floats": func(row []float64) []byte {
					values := make([]any, len(row))
					for i, v := range row {
						values[i] = float32(v)
					}
					return avroValue(floats, values...)
				},
			}
			start := time.Now().Add(-time.Hour)
			var want map[string]string
			for _, format := range slices.Sorted(maps.Keys(formats)) {
				own := c.named(t, format, 4, "LEARNER_MODELS=logistic;mix", "CCLOUD_SCHEMA_REGISTRY_ENDPOINT="+registry.URL)
				records := make([]logRecord, len(rows))
				for i, row := range rows {
					records[i] = logRecord{partition: int32(i*i) % 4, time: start.Add(time.Duration(i/3) * time.Millisecond), value: formats[format](row)}
				}
				own.append(t, own.train, records[:2500])
				own.append(t, own.test, records[2500:])
				s := startService(t, own)
				s.learns(2500)
				if n := sum(s.metrics(), "learner_consumer_skipped_records_total"); n != 0 {
					t.Errorf("%s: %v records refused", format, n)
				}
				if accuracy := s.metrics()[`learner_test_accuracy_ratio{model="mix"}`]; accuracy < .72 {
					t.Errorf("%s: test accuracy %v", format, accuracy)
				}
				s.stops()
				got := parts(t, own.newest(t))
				if want == nil {
					want = got
				}
				same(t, format, got, want)
			}
		})
	}
}

// Sensors of cars as they come: texts, and values that are missing. Every record is read.
func TestCarSensors(t *testing.T) {
	c := startCluster(t, "embedded")
	registry := startRegistry(t)
	c.create(t, 3, nil)
	c.env = c.with("CCLOUD_SCHEMA_REGISTRY_ENDPOINT="+registry.URL, "LEARNER_LABEL=control_unit_firmware", "LEARNER_POSITIVE=2000", "LEARNER_MODELS=mix")
	lines := linesOf(t, "../../internal/testdata/car_sensor.csv.gz")
	names := strings.Split(lines[0], ",")
	fields := make([]string, len(names))
	for i, name := range names {
		fields[i] = name + ` ["null","double"]`
	}
	fields[0] = `time {"type":"long","logicalType":"timestamp-millis"}`
	fields[1] = `car ["null","string"]`
	fields[len(fields)-1] = "control_unit_firmware int"
	schema := registry.add(recordOf(fields...), "")
	rng := rand.New(rand.NewPCG(1, 15))
	var records []logRecord
	for i, line := range lines[1:] {
		values := make([]any, len(names))
		for j, text := range strings.Split(line, ",") {
			number, err := strconv.ParseFloat(text, 64)
			switch {
			case j == 1:
				values[j] = &text
			case err != nil:
				t.Fatal(err)
			case j == 0 || j == len(names)-1:
				values[j] = int(number)
			default:
				values[j] = &number
			}
			if 0 < j && j < len(names)-1 && rng.IntN(20) == 0 {
				values[j] = nil
			}
		}
		records = append(records, logRecord{partition: int32(i % 3), time: time.Now(), value: avroValue(schema, values...)})
	}
	c.append(t, c.train, records[:1500])
	c.append(t, c.test, records[1500:])
	s := startService(t, c)
	s.learns(1500)
	if n := sum(s.metrics(), "learner_consumer_skipped_records_total"); n != 0 {
		t.Errorf("%v records refused", n)
	}
	st := s.status()
	if st.Features != len(names)-1 || st.Test == nil || st.Test.Records != 500 {
		t.Errorf("%d features, test %+v", st.Features, st.Test)
	}
	at := slices.IndexFunc(st.Columns, func(c columnStatus) bool { return c.Name == "car" })
	if at < 0 || st.Columns[at].Kind != "category" || st.Columns[at].Missing < 30 || st.Categories.Used < 5 {
		t.Errorf("columns %v, categories %+v", st.Columns, st.Categories)
	}
	if missing := sum(s.metrics(), "learner_missing_values_total"); missing < 500 || sum(s.metrics(), "learner_columns", `kind="category"`) != 1 {
		t.Errorf("%v missing values", missing)
	}
	car := strings.Split(lines[1], ",")[1]
	code, got := s.ask("/v1/models/champion:predict?explain=true", fmt.Sprintf(`{"instances":[{"car":%q},{"car":null},{"car":"nobody's"}]}`, car))
	if code != 200 || len(got.Predictions) != 3 || len(got.Explanations[0].Contributions) != len(names)-1 {
		t.Fatalf("%d %s %v", code, got.Error, got.Explanations)
	}
	of := func(i int) float64 { return got.Explanations[i].Contributions["car"] }
	if of(0) == 0 || of(1) == 0 || of(0) == of(1) || of(2) != 0 {
		t.Errorf("a car contributes %v, none %v, one that nobody knows %v", of(0), of(1), of(2))
	}
	code, again := s.ask("/v2/models/champion/infer", fmt.Sprintf(`{"inputs":[{"name":"car","datatype":"BYTES","shape":[2],"data":[%q,null]}]}`, car))
	if code != 200 || again.Outputs[0].Data[1] != got.Predictions[0] || again.Outputs[0].Data[3] != got.Predictions[1] {
		t.Errorf("version 2: %d %s %v, want %v", code, again.Error, again.Outputs, got.Predictions)
	}
}

// Writers change their schema in the middle of a stream: learning goes on, what happened is told, and stops between make no
// difference.
func TestSchemasChange(t *testing.T) {
	needsTime(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster)
			registry := startRegistry(t)
			const seed, each = 15, 2000
			rng := rand.New(rand.NewPCG(seed, 0))
			t.Logf("seed %d", seed)
			// What a writer of each generation writes of the same four values and a text.
			a, b, d, kind := 0., 0., 0., ""
			generations := []struct {
				what   string
				schema int
				values func(label int) []any
			}{
				{"the first", registry.add(recordOf("label int", "a float", "b double", `kind ["null","string"]`), ""), func(y int) []any { return []any{y, float32(a), b, &kind} }},
				{"a field more", registry.add(recordOf("label int", "a float", "b double", "d int", `kind ["null","string"]`), ""), func(y int) []any { return []any{y, float32(a), b, int(d), &kind} }},
				{"a field less, another order", registry.add(recordOf(`kind ["null","string"]`, "d int", "a float", "label int"), ""), func(y int) []any { return []any{&kind, int(d), float32(a), y} }},
				{"wider", registry.add(recordOf("label long", "a double", "b double", "d double", `kind ["null","string"]`), ""), func(y int) []any { return []any{y, a, b, d, &kind} }},
				{"broken", registry.add(recordOf("label int", "a string", "b double", "d int", `kind ["null","string"]`), ""), func(y int) []any { return []any{y, "high", b, int(d), &kind} }},
				{"mended", registry.add(recordOf("label int", "a double", "b double", "d int", `kind ["null","string"]`, "new boolean"), ""), func(y int) []any { return append([]any{y, a, b, int(d), &kind}, 1) }},
			}
			start := time.Now().Add(-time.Hour)
			var segments [][]logRecord
			for g, generation := range generations {
				var records []logRecord
				for i := range each {
					a, b, d = rng.NormFloat64(), 100*rng.NormFloat64(), float64(rng.IntN(1000))
					kind = []string{"red", "green", "blue"}[rng.IntN(3)]
					score := a + b/100 + (d-500)/300
					if kind == "red" {
						score++
					}
					label := 0
					if score+rng.NormFloat64() > .3 {
						label = 1
					}
					value := avroValue(generation.schema, generation.values(label)...)
					if generation.what == "mended" {
						value[len(value)-1] = 1 // a boolean is a byte
					}
					records = append(records, logRecord{
						partition: int32(i % 4), time: start.Add(time.Duration(g*each+i) * time.Millisecond), value: value,
					})
				}
				segments = append(segments, records)
			}
			tests := segments[3][:500]
			env := []string{"CCLOUD_SCHEMA_REGISTRY_ENDPOINT=" + registry.URL, "LEARNER_MODELS=mix;logistic"}

			whole := c.named(t, "whole", 4, env...)
			whole.append(t, whole.train, slices.Concat(segments...))
			whole.append(t, whole.test, tests)
			s := startService(t, whole)
			s.learns(5 * each)
			m := s.metrics()
			if n := sum(m, "learner_consumer_skipped_records_total", whole.train, `reason="schema"`); n != each {
				t.Errorf("%v records refused for their schema, want %d", n, each)
			}
			if accuracy := m[`learner_model_recent_accuracy_ratio{model="mix"}`]; accuracy < .76 {
				t.Errorf("recent accuracy %v", accuracy)
			}
			st := s.status()
			if st.Features != 5 { // a, b, kind, d, new
				t.Errorf("%d features", st.Features)
			}
			var told []string
			for _, e := range st.Events {
				if e.Kind == train.SchemaMet {
					told = append(told, fmt.Sprintf("%d +%s -%s", e.Record, e.Added, e.Lacks))
				}
			}
			want := []string{"2000 +d -", "4000 + -b", "6000 + -", "8000 +new -"}
			if !slices.Equal(told, want) {
				t.Errorf("events %q, want %q", told, want)
			}
			s.stops()

			step := c.named(t, "step", 4, env...)
			step.append(t, step.test, tests)
			learned := 0
			for g, records := range segments {
				step.append(t, step.train, records)
				if generations[g].what != "broken" {
					learned += each
				}
				s := startService(t, step)
				s.eventually("passes the segment", func() bool {
					st := s.status()
					return st.CaughtUp && st.Lag == 0 && s.records() == learned
				})
				s.stops()
			}
			same(t, "with a stop in each generation", parts(t, step.newest(t)), parts(t, whole.newest(t)))
		})
	}
}

// A registry that is away holds up what it alone can read, shows it, and changes nothing that is learned.
func TestRegistryAway(t *testing.T) {
	c := startCluster(t, "embedded")
	registry := startRegistry(t)
	c.create(t, 2, nil)
	known := registry.add(recordOf("label int", "a double", "b double"), "")
	later := registry.add(recordOf("label int", "b double", "a double"), "")
	rng := rand.New(rand.NewPCG(3, 15))
	var records []logRecord
	for i := range 600 {
		schema := known
		if i%2 == 1 && i > 300 {
			schema = later
		}
		records = append(records, logRecord{
			partition: int32(i % 2), time: time.Now(), value: avroValue(schema, i/3%2, rng.NormFloat64(), rng.NormFloat64()),
		})
	}
	c.append(t, c.train, records[:200])
	c.append(t, c.test, records[:100])
	s := startService(t, c, "CCLOUD_SCHEMA_REGISTRY_ENDPOINT="+registry.URL)
	s.learns(200)
	registry.leave(true)
	c.append(t, c.train, records[200:])
	s.eventually("says that it waits for the schema", func() bool {
		return strings.Contains(strings.Join(s.status().Reasons, "; "), fmt.Sprintf("schema %d", later))
	})
	if s.records() >= 600 {
		t.Error("records were learned whose schema nobody could know")
	}
	registry.leave(false)
	s.learns(600)
	if n := sum(s.metrics(), "learner_consumer_skipped_records_total"); n != 0 {
		t.Errorf("%v records refused", n)
	}
}

// kinds are records that are refused, each for a reason. The schemas are a registry's.
type badKind struct {
	name    string
	reason  record.Reason
	value   []byte
	headers []protocol.Header
}

// badKinds returns every kind of bad record beside rows of label, a, b, kind (a text), and n (a number or null) in all three
// formats. Good is their Avro schema.
func badKinds(registry *schemaRegistry, good int) []badKind {
	double := func(x float64) *float64 { return &x }
	avro := avroValue(good, 1, 1.5, 2.5, "red", double(3))
	protobuf := registry.add(`syntax = "proto3"; message Row {}`, "PROTOBUF")
	unread := registry.add(`{"type":"record","name":"Row","fields":[{"name":"label","type":"nothing"}]}`, "")
	noLabel := registry.add(recordOf("a double", "b double"), "")
	another := registry.add(recordOf("label int", "a string", "b double"), "")
	optional := registry.add(recordOf(`label ["null","int"]`, "a double"), "")
	header := func(value []byte) []protocol.Header {
		return []protocol.Header{{Key: "__value_schema_id", Value: value}}
	}
	return []badKind{
		{"no value", record.Tombstone, nil, nil},
		{"nothing", record.Empty, []byte{}, nil},
		{"white space", record.Empty, []byte(" \n"), nil},
		{"CSV that is not UTF-8", record.UTF8, []byte("1,1,2,\xff,3"), nil},
		{"JSON that is not UTF-8", record.UTF8, []byte("{\"label\":1,\"kind\":\"\xff\"}"), nil},
		{"Avro text that is not UTF-8", record.UTF8, avroValue(good, 1, 1.5, 2.5, "\xff", double(3)), nil},
		{"CSV with a column less", record.Arity, []byte("1,1,2,red"), nil},
		{"CSV with a column more", record.Arity, []byte("1,1,2,red,3,4"), nil},
		{"CSV text in place of a number", record.Number, []byte("1,high,2,red,3"), nil},
		{"JSON number in quotes", record.Number, []byte(`{"label":1,"a":"1.5"}`), nil},
		{"CSV number that is none", record.NonFinite, []byte("1,NaN,2,red,3"), nil},
		{"JSON number that is too large", record.NonFinite, []byte(`{"label":1,"a":1e999}`), nil},
		{"Avro infinity", record.NonFinite, avroValue(good, 1, math.Inf(1), 2.5, "red", double(3)), nil},
		{"CSV label that is neither", record.Label, []byte("2,1,2,red,3"), nil},
		{"CSV without a label", record.Label, []byte(",1,2,red,3"), nil},
		{"JSON label that is neither", record.Label, []byte(`{"label":"perhaps","a":1}`), nil},
		{"JSON without a label", record.Label, []byte(`{"a":1,"b":2}`), nil},
		{"Avro label that is neither", record.Label, avroValue(good, 7, 1.5, 2.5, "red", double(3)), nil},
		{"Avro label that is null", record.Label, avroValue(optional, nil, 1.5), nil},
		{"Avro schema without a label", record.Label, avroValue(noLabel, 1.5, 2.5), nil},
		{"JSON text where a number was", record.Schema, []byte(`{"label":1,"a":"high"}`), nil},
		{"JSON number where a text was", record.Schema, []byte(`{"label":1,"kind":3}`), nil},
		{"Avro text where a number was", record.Schema, avroValue(another, 1, "high", 2.5), nil},
		{"Protobuf", record.Schema, avroValue(protobuf), nil},
		{"schema that is no Avro", record.Schema, avroValue(unread, 1), nil},
		{"schema that nobody knows", record.SchemaNotFound, avroValue(9999, 1), nil},
		{"Avro that ends early", record.Decode, avro[:len(avro)-3], nil},
		{"Avro with more behind it", record.Decode, append(slices.Clone(avro), 0), nil},
		{"Avro branch that is not there", record.Decode, append(avroValue(good, 1, 1.5, 2.5, "red"), 8), nil},
		{"JSON that ends early", record.Decode, []byte(`{"label":1,"a":`), nil},
		{"JSON with a name twice", record.Decode, []byte(`{"label":1,"a":1,"a":2}`), nil},
		{"CSV with an open quote", record.Decode, []byte(`1,1,2,"red,3`), nil},
		{"header without an id", record.Decode, avro[5:], header([]byte{0, 1})},
	}
}

// One record in a hundred of every kind of bad: each is counted for its reason and found in the dead-letter topic with its
// offset, and the weights are those of the stream without them.
func TestEveryKindOfBad(t *testing.T) {
	needsTime(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			const seed, rows, each = 15, 4000, 40
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			c := startCluster(t, cluster)
			registry := startRegistry(t)
			schema := registry.add(recordOf("label int", "a double", "b double", "kind string", `n ["null","double"]`), "")
			start := time.Now().Add(-time.Hour)
			var clean []logRecord
			for i := range rows {
				a, b, n, kind := rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), []string{"red", "green"}[rng.IntN(2)]
				label := 0
				if a-b+rng.NormFloat64() > 0 {
					label = 1
				}
				var value []byte
				switch i % 3 {
				case 0:
					value = avroValue(schema, label, a, b, kind, &n)
				case 1:
					value = fmt.Appendf(nil, `{"label":%d,"a":%v,"b":%v,"kind":%q,"n":%v}`, label, a, b, kind, n)
				default:
					value = fmt.Appendf(nil, "%d,%v,%v,%s,%v", label, a, b, kind, n)
				}
				clean = append(clean, logRecord{partition: int32(i % 3), time: start.Add(time.Duration(i) * time.Millisecond), value: value})
			}
			kinds := badKinds(registry, schema)
			at := make([][]badKind, rows) // those behind each row
			for _, kind := range kinds {
				for range each {
					i := rng.IntN(rows)
					at[i] = append(at[i], kind)
				}
			}
			var dirty []logRecord
			offsets := map[int32]int64{}
			want := map[string]badKind{} // by place
			reasons := map[record.Reason]float64{}
			for i, row := range clean {
				dirty = append(dirty, row)
				offsets[row.partition]++
				for _, kind := range at[i] {
					dirty = append(dirty, logRecord{partition: row.partition, time: row.time, value: kind.value, headers: kind.headers})
					want[fmt.Sprintf("%d/%d", row.partition, offsets[row.partition])] = kind
					offsets[row.partition]++
					reasons[kind.reason]++
				}
			}
			env := []string{
				"CCLOUD_SCHEMA_REGISTRY_ENDPOINT=" + registry.URL, "LEARNER_COLUMNS=label,a,b,kind#,n", "LEARNER_MODELS=mix;logistic",
			}
			learned := func(name string, records []logRecord, env ...string) (*running, *testCluster) {
				own := c.named(t, name, 3, env...)
				own.append(t, own.train, records)
				own.append(t, own.test, clean[:100])
				s := startService(t, own)
				s.learns(rows)
				return s, own
			}
			s, own := learned("clean", clean, env...)
			s.stops()
			wanted := parts(t, own.newest(t))

			dead := c.train + "-letters"
			s, own = learned("dirty", dirty, append(env, "LEARNER_DEAD_LETTER_TOPIC="+dead)...)
			m := s.metrics()
			for _, reason := range record.Reasons() {
				if n := sum(m, "learner_consumer_skipped_records_total", own.train+`"`, `reason="`+reason.String()+`"`); n != reasons[reason] {
					t.Errorf("%v records refused for %v, want %v", n, reason, reasons[reason])
				}
			}
			s.stops()
			same(t, "with bad records", parts(t, own.newest(t)), wanted)
			for _, letter := range own.letters(t, dead) {
				kind, ok := want[letter.place()]
				if !ok {
					t.Errorf("a letter of %s, where no bad record is, or twice", letter.place())
					continue
				}
				delete(want, letter.place())
				if letter.header(deadletter.HeaderReason) != kind.reason.String() || !bytes.Equal(letter.value, kind.value) {
					t.Errorf("%s at %s: refused for %s: %s", kind.name, letter.place(), letter.header(deadletter.HeaderReason), letter.header(deadletter.HeaderError))
				}
			}
			if len(want) > 0 {
				t.Errorf("%d bad records without a letter", len(want))
			}
		})
	}
}
