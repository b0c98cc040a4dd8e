package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"

	"learner/pkg/susy"
)

// row is a record as a test sees it.
type row struct {
	partition  int
	time       time.Time
	key, value string
	nullKey    bool
}

// rows reads all records of a topic with six partitions, partition after partition.
func (c *testCluster) rows(t *testing.T, topic string) [][]row {
	t.Helper()
	all := make([][]row, 6)
	c.each(t, topic, len(all), func(p int, rec *kafka.Record, key, value []byte) {
		all[p] = append(all[p], row{p, rec.Time, string(key), string(value), key == nil})
	})
	return all
}

// each calls f for all records of a topic, partition after partition.
func (c *testCluster) each(t *testing.T, topic string, partitions int, f func(partition int, rec *kafka.Record, key, value []byte)) {
	t.Helper()
	client := c.client(t)
	for p := range partitions {
		end := topicEnd(t, client, topic, p)
		for offset := int64(0); offset < end; {
			answer, err := client.Fetch(t.Context(), &kafka.FetchRequest{
				Topic: topic, Partition: p, Offset: offset, MinBytes: 1, MaxBytes: 8 << 20, MaxWait: 100 * time.Millisecond,
			})
			if err = errors.Join(err, answerError(answer)); err != nil {
				t.Fatal(err)
			}
			for {
				rec, err := answer.Records.ReadRecord()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				key, value := readAll(t, rec.Key), readAll(t, rec.Value)
				if rec.Offset == offset { // a batch may begin earlier
					f(p, rec, key, value)
					offset++
				}
			}
		}
	}
}

func answerError(answer *kafka.FetchResponse) error {
	if answer == nil {
		return nil
	}
	return answer.Error
}

func topicEnd(t *testing.T, client *kafka.Client, topic string, partition int) int64 {
	t.Helper()
	answer, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(partition)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Topics[topic][0].Error; err != nil {
		t.Fatal(err)
	}
	return answer.Topics[topic][0].LastOffset
}

// readAll returns the contents of a key or value, nil for null.
func readAll(t *testing.T, b kafka.Bytes) []byte {
	t.Helper()
	if b == nil {
		return nil
	}
	all, err := kafka.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// susyLines returns the lines of the SUSY file.
func susyLines(t *testing.T) []string { return linesOf(t, susyFile) }

// linesOf returns the lines of a CSV.gz file.
func linesOf(t *testing.T, file string) []string {
	t.Helper()
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := decompress(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// splitLines deals lines to train and test as the command does.
func splitLines(lines []string, seed uint64, share float64) (train, test []string) {
	for i, line := range lines {
		if unit(seed, uint64(i)) < share {
			train = append(train, line)
		} else {
			test = append(test, line)
		}
	}
	return train, test
}

func TestLoadArrives(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		if got := runWith(t, c.env, "load", susyFile); got.code != exitFailure || !strings.Contains(got.stderr, "--create") {
			t.Fatalf("without topics: %+v", got)
		}
		before := time.Now().Truncate(time.Millisecond)
		got := runWith(t, c.env, "load", "--create", susyFile)
		after := time.Now()
		if got.code != exitClean || got.stderr != "" || !strings.Contains(got.stdout, "loaded 10000 rows in ") ||
			strings.Count(got.stdout, "6 partitions") != 2 || strings.Count(got.stdout, "the topic was created") != 2 {
			t.Fatalf("%+v", got)
		}

		train, test := splitLines(susyLines(t), 1, .7)
		if n := len(train); n < 6850 || n > 7150 {
			t.Errorf("%d of 10000 rows are in the train topic", n)
		}
		for topic, want := range map[string][]string{c.train: train, c.test: test} {
			parts := c.rows(t, topic)
			for i, line := range want { // dealt round robin, in the file's order
				p := i % 6
				if i/6 >= len(parts[p]) {
					t.Fatalf("%s/%d has only %d rows", topic, p, len(parts[p]))
				}
				r := parts[p][i/6]
				if r.value != line || !r.nullKey {
					t.Fatalf("%s/%d@%d: key %q, value %q, want no key and %q", topic, p, i/6, r.key, r.value, line)
				}
				if r.time.Before(before) || r.time.After(after) || i >= 6 && r.time.Before(parts[p][i/6-1].time) {
					t.Fatalf("%s/%d@%d: time %v, want from %v to %v, growing", topic, p, i/6, r.time, before, after)
				}
			}
			if n := countRows(parts); n != len(want) {
				t.Errorf("%s: %d rows, want %d", topic, n, len(want))
			}
		}

		answer, err := c.client(t).DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: c.train, ConfigNames: []string{"retention.ms"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if entries := answer.Resources[0].ConfigEntries; len(entries) != 1 || entries[0].ConfigValue != "-1" {
			t.Errorf("retention: %+v", entries)
		}

		// Again, by another way, into the topics that are there now.
		for _, codec := range []string{"none", "zstd"} {
			again := runWith(t, c.env, "load", susyFile, "--create", "--partitions=9", "--compression="+codec, "--split=0")
			if again.code != exitClean || strings.Contains(again.stdout, "created") ||
				!strings.Contains(again.stdout, c.test+": 10000 rows in 6 partitions") {
				t.Errorf("%s: %+v", codec, again)
			}
		}
		if n := countRows(c.rows(t, c.test)); n != len(test)+20_000 {
			t.Errorf("%d rows in the test topic", n)
		}
	})
}

func countRows(parts [][]row) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

func TestLoadWithKeys(t *testing.T) {
	for _, layout := range []string{"csv", "tensorflow"} {
		t.Run(layout, func(t *testing.T) {
			c := startCluster(t, "embedded")
			got := runWith(t, c.env, "load", "--create", "--split=1", "--key=label", "--layout="+layout, susyFile)
			if got.code != exitClean {
				t.Fatalf("%+v", got)
			}
			parts := c.rows(t, c.train)
			// Where Kafka's Java client puts them: Utils.toPositive(Utils.murmur2(key)), of kafka-clients 4.3.1, is
			// 696505482 and 711459323.
			for label, partition := range map[string]int{"0.0": 696505482 % 6, "1.0": 711459323 % 6} {
				var want []string
				for _, line := range susyLines(t) {
					first, others, _ := strings.Cut(line, ",")
					if first[:1] != label[:1] {
						continue
					}
					if layout == "tensorflow" {
						line = others
					}
					want = append(want, line)
				}
				var values []string
				for _, r := range parts[partition] {
					if r.key != label {
						t.Fatalf("key %q in partition %d", r.key, partition)
					}
					values = append(values, r.value)
				}
				if !slices.Equal(values, want) {
					t.Errorf("label %s: %d rows differ from the file's %d", label, len(values), len(want))
				}
			}
		})
	}
}

// memory is a sink in memory.
type memory struct {
	partitions int
	fail       error // of the Send that would be the third
	mu         sync.Mutex
	rows       []row
	closed     bool
}

func (m *memory) Send(ctx context.Context, partition int32, timestamp time.Time, key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil && len(m.rows) == 2 {
		return m.fail
	}
	m.rows = append(m.rows, row{int(partition), timestamp, string(key), string(value), key == nil})
	return ctx.Err()
}

func (m *memory) Close(context.Context) error {
	m.closed = true
	return m.fail
}

func (m *memory) Acked() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	acked := make([]int64, m.partitions)
	for _, r := range m.rows {
		acked[r.partition]++
	}
	return acked
}

func (m *memory) Partitions() int { return m.partitions }

func (m *memory) values() (values []string) {
	for _, r := range m.rows {
		values = append(values, r.value)
	}
	return values
}

// newLoader returns a loader into memory.
func newLoader(opts loadOptions) (l *loader, train, test *memory) {
	train, test = &memory{partitions: 3}, &memory{partitions: 2}
	return &loader{
		opts: opts, train: target{topic: "train", sink: train}, test: target{topic: "test", sink: test}, now: time.Now, started: time.Now(),
	}, train, test
}

func TestLoadLines(t *testing.T) {
	t.Parallel()
	long, tooLong := strings.Repeat("7", maxLine), strings.Repeat("7", maxLine+1)
	for _, tt := range []struct {
		name    string
		give    string
		label   bool
		want    []string
		summary string // part of it
	}{
		{name: "nothing", summary: "loaded 0 rows"},
		{name: "line breaks", give: "1,2\n0,3\r\n1,4", want: []string{"1,2", "0,3", "1,4"}, summary: "loaded 3 rows"},
		{name: "one row", give: "1,2\n", want: []string{"1,2"}, summary: "loaded 1 row in"},
		{name: "empty lines", give: "\n1,2\n\n \t\r\n0,3\n\n", want: []string{"1,2", "0,3"}, summary: "4 × empty line"},
		{name: "header", give: "label,x\n1,2\n", want: []string{"1,2"}, summary: "1 × header line"},
		{name: "header behind a byte order mark", give: "\ufefflabel,x\r\n1,2\n", want: []string{"1,2"}, summary: "1 × header line"},
		{name: "row behind a byte order mark", give: "\ufeff1,2\n", want: []string{"1,2"}},
		{name: "header only in the first line", give: "1,2\nlabel,x\n", want: []string{"1,2", "label,x"}},
		{name: "rows that are wrong", give: "2,nan\n\"1\" , x\n", want: []string{"2,nan", "\"1\" , x"}},
		{name: "long lines", give: long + "\r\n" + tooLong + "\n1,2\n" + tooLong + tooLong, want: []string{long, "1,2"}, summary: "2 × line above 1 MiB"},
		{
			name: "labels for keys", label: true, give: "1,2\n\"0.0\", 3\n 1e0 ,4\n2,5\nx,6\n1\n,7\n-0,8\n",
			want:    []string{"1.0|1,2", "0.0|\"0.0\", 3", "1.0| 1e0 ,4", "0.0|-0,8"},
			summary: "4 × row without a label 0 or 1 in column 0",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := loadOptions{split: 1}
			if tt.label {
				opts.key = "label"
			}
			l, train, test := newLoader(opts)
			if err := l.run(t.Context(), strings.NewReader(tt.give)); err != nil {
				t.Fatal(err)
			}
			got := train.values()
			if tt.label {
				for i, r := range train.rows {
					got[i] = r.key + "|" + r.value
				}
			}
			if !slices.Equal(got, tt.want) || len(test.rows) > 0 {
				t.Errorf("%.200q and %d more, want %.200q and none", got, len(test.rows), tt.want)
			}
			if summary := l.summary(true); !strings.Contains(summary, tt.summary) {
				t.Errorf("%q, want %q", summary, tt.summary)
			}
			if !train.closed || !test.closed || l.read.Load() != int64(len(tt.give)) {
				t.Errorf("closed %v and %v, %d of %d bytes read", train.closed, test.closed, l.read.Load(), len(tt.give))
			}
		})
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&file, "1,%d\n", i)
	}
	deal := func(seed uint64, split float64) []string {
		l, train, test := newLoader(loadOptions{split: split, seed: seed})
		if err := l.run(t.Context(), strings.NewReader(file.String())); err != nil {
			t.Fatal(err)
		}
		if n := len(train.rows) + len(test.rows); n != 20_000 {
			t.Errorf("%d rows, want 20000", n)
		}
		for _, sink := range []*memory{train, test} {
			if acked := sink.Acked(); slices.Max(acked)-slices.Min(acked) > 1 {
				t.Errorf("partitions have %v rows", acked)
			}
		}
		return train.values()
	}
	for _, split := range []float64{0, .25, .7, 1} {
		n := float64(len(deal(1, split))) / 20_000
		if n < split-.015 || n > split+.015 || split == float64(int(split)) && n != split {
			t.Errorf("-split %v sends %v to the train topic", split, n)
		}
	}
	first := deal(1, .5)
	if !slices.Equal(first, deal(1, .5)) {
		t.Error("the same seed splits differently")
	}
	if slices.Equal(first, deal(2, .5)) {
		t.Error("another seed splits alike")
	}
}

func TestLoadGenerated(t *testing.T) {
	t.Parallel()
	generate := func(seed uint64) []string {
		l, train, _ := newLoader(loadOptions{split: 1})
		if err := l.run(t.Context(), &generatedLines{events: susy.NewGenerator(seed), left: 50}); err != nil {
			t.Fatal(err)
		}
		return train.values()
	}
	rows, next := generate(7), generated(7)
	if len(rows) != 50 {
		t.Fatalf("%d rows, want 50", len(rows))
	}
	for i, got := range rows {
		want, err := next()
		if err != nil || got != string(want.value) {
			t.Fatalf("row %d is %q, want the demo's %q (error %v)", i, got, want.value, err)
		}
	}
	if slices.Equal(rows, generate(8)) {
		t.Error("another seed generates the same rows")
	}
}

func TestLoadRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, train, _ := newLoader(loadOptions{split: 1, rate: 2})
		if err := l.run(t.Context(), strings.NewReader("1,0\n1,1\n1,2\n1,3\n")); err != nil {
			t.Fatal(err)
		}
		for i, r := range train.rows {
			if got, want := r.time.Sub(l.started), time.Duration(i)*time.Second/2; got != want {
				t.Errorf("row %d was sent after %v, want %v", i, got, want)
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l, train, _ = newLoader(loadOptions{split: 1, rate: 1})
		l.started = time.Now()
		err := l.run(ctx, strings.NewReader("1,0\n1,1\n1,2\n1,3\n"))
		train.mu.Lock() // what was read may still be on its way
		defer train.mu.Unlock()
		if err == nil || !strings.Contains(err.Error(), "interrupted") || len(train.rows) > 2 {
			t.Errorf("interrupted: %d rows, error %v", len(train.rows), err)
		}
	})
}

func TestLoadGzip(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	for _, part := range []string{"1,2\n", "0,3\n"} { // one file made of two
		z := gzip.NewWriter(&packed)
		if _, err := io.WriteString(z, part); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, train, _ := newLoader(loadOptions{split: 1})
	if err := l.run(t.Context(), bytes.NewReader(packed.Bytes())); err != nil || !slices.Equal(train.values(), []string{"1,2", "0,3"}) {
		t.Errorf("%q, error %v", train.values(), err)
	}

	l, train, _ = newLoader(loadOptions{split: 1})
	err := l.run(t.Context(), bytes.NewReader(packed.Bytes()[:packed.Len()-9]))
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "after ") || !train.closed {
		t.Errorf("a file that is cut off: %v", err)
	}
	if summary := l.summary(false); !strings.HasPrefix(summary, "stopped after ") {
		t.Errorf("summary of a file that is cut off: %q", summary)
	}
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	l, train, test := newLoader(loadOptions{split: 1})
	train.fail = errors.New("broker is gone")
	err := l.run(t.Context(), strings.NewReader("1,2\n0,3\n1,4\n0,5\n"))
	if err == nil || strings.Count(err.Error(), "broker is gone") != 1 || !test.closed {
		t.Errorf("error %v, other sink closed %v", err, test.closed)
	}
	want := regexp.MustCompile(`^stopped after 2 rows read; the brokers have acknowledged 2 rows in .*\n  train: 2 rows in 3 partitions, 0 to 1 in each\n  test: 0 rows`)
	if summary := l.summary(false); !want.MatchString(summary) {
		t.Errorf("summary %q", summary)
	}
}

// waiting is a reader that gives a text and then blocks, as a terminal does.
type waiting struct {
	io.Reader
	blocked chan struct{} // closed when the text has been given
	release chan struct{} // ends the waiting
}

func (w *waiting) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		close(w.blocked)
		<-w.release
	}
	return n, err
}

func TestLoadInterrupted(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "embedded")
	ctx, cancel := context.WithCancel(t.Context())
	in := &waiting{strings.NewReader(strings.Repeat("1,2\n", 50_000)), make(chan struct{}), make(chan struct{})}
	defer close(in.release)
	go func() {
		<-in.blocked
		cancel()
	}()
	var stdout, stderr bytes.Buffer
	code := run(ctx, &process{
		args: []string{"load", "--create", "-"}, stdin: in, stdout: &stdout, stderr: &stderr, environ: c.env, dir: t.TempDir(),
	})
	if code != exitFailure || stderr.String() != "learner: load: interrupted\n" {
		t.Errorf("exit code %d, stderr %q", code, &stderr)
	}
	// All that was read is written: nothing held it up.
	read := regexp.MustCompile(`^stopped after (\d+) rows read; the brokers have acknowledged (\d+) rows`).FindStringSubmatch(stdout.String())
	if read == nil || read[1] != read[2] || len(read[1]) != 5 {
		t.Errorf("stdout %q", &stdout)
	}
	if n := countRows(c.rows(t, c.train)) + countRows(c.rows(t, c.test)); read != nil && fmt.Sprint(n) != read[2] {
		t.Errorf("the topics have %d rows", n)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	env := []string{"CCLOUD_BOOTSTRAP_ENDPOINT=127.0.0.1:1"}
	for give, want := range map[string]struct {
		code   int
		stderr string
	}{
		"load":                         {exitUsage, "one file"},
		"load a b":                     {exitUsage, "one file"},
		"load --split=1.5 a":           {exitUsage, "-split 1.5"},
		"load --split=NaN a":           {exitUsage, "-split NaN"},
		"load --rate=-1 a":             {exitUsage, "must not be negative"},
		"load --generate=-1 a":         {exitUsage, "must not be negative"},
		"load --generate=5 a":          {exitUsage, "takes no file"},
		"load --partitions=0 a":        {exitUsage, "-partitions 0"},
		"load --key=x a":               {exitUsage, `-key "x"`},
		"load --layout=x a":            {exitUsage, `-layout "x"`},
		"load --compression=zip a":     {exitUsage, "compression format"},
		"load there-is-no-such-file":   {exitFailure, "open there-is-no-such-file"},
		"load --create load_test.go":   {exitFailure, "connection refused"},
		"load load_test.go -partition": {exitUsage, "not defined"},
	} {
		if got := runWith(t, env, strings.Fields(give)...); got.code != want.code || !strings.Contains(got.stderr, want.stderr) {
			t.Errorf("%s: %+v, want %+v", give, got, want)
		}
	}
	if got := runWith(t, nil, "load", "load_test.go"); got.code != exitUsage || !strings.Contains(got.stderr, "CCLOUD_BOOTSTRAP_ENDPOINT") {
		t.Errorf("without brokers: %+v", got)
	}
}

// One CSV file makes a whole trial of each format: loaded, learned, and measured.
func TestLoadLayouts(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		registry := startRegistry(t)
		header := "label"
		for i := range 18 {
			header += fmt.Sprintf(",feature %d", i)
		}
		var text strings.Builder
		text.WriteString(header + ",side\n")
		for i, line := range susyLines(t)[:2000] {
			side := []string{"left", "right", ""}[i%3]
			if i%10 == 0 {
				line = line[:strings.LastIndexByte(line, ',')+1] // without the last number
			}
			text.WriteString(line + "," + side + "\n")
		}
		text.WriteString("1,2,3\n")
		file := fileOf(t, text.String())
		for _, layout := range []string{"json", "avro"} {
			own := *c
			own.train, own.test = c.train+layout, c.test+layout
			own.env = c.with("LEARNER_TRAIN_TOPIC="+own.train, "LEARNER_TEST_TOPIC="+own.test, "LEARNER_GROUP="+c.group+layout,
				"CCLOUD_SCHEMA_REGISTRY_ENDPOINT="+registry.URL, "LEARNER_FORMAT="+layout)
			got := runWith(t, own.env, "load", "--create", "--layout", layout, file)
			if got.code != exitClean || !strings.Contains(got.stdout, "loaded 2000 rows") || !strings.Contains(got.stdout, "1 × row that does not fit (the first: 3 columns where the first lines have 20)") {
				t.Fatalf("%s: %+v", layout, got)
			}
			s := startService(t, &own)
			s.ready()
			m := s.metrics()
			if learned, refused := sum(m, "learner_consumer_records_total"), sum(m, "learner_consumer_skipped_records_total"); learned != 2000 || refused != 0 {
				t.Errorf("%s: %v records learned or tested, %v refused", layout, learned, refused)
			}
			if accuracy := m[`learner_test_accuracy_ratio{model="logistic"}`]; accuracy < .7 {
				t.Errorf("%s: test accuracy %v", layout, accuracy)
			}
			st := s.status()
			if n := len(st.Columns); n != 19 || st.Columns[17].Missing == 0 || st.Columns[18].Kind != "category" {
				t.Errorf("%s: columns %+v", layout, st.Columns)
			}
			s.stop()
		}
		if got := runWith(t, c.env, "load", "--layout", "avro", file); got.code != exitUsage || !strings.Contains(got.stderr, "CCLOUD_SCHEMA_REGISTRY_ENDPOINT") {
			t.Errorf("without a registry: %+v", got)
		}
	})
}
