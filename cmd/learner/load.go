package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"learner/pkg/producer"
	"learner/pkg/record"
	"learner/pkg/susy"
)

// flushTimeout bounds how long an interrupted load waits for the brokers to take what has been read.
const flushTimeout = 10 * time.Second

// loadOptions are the flags of the command.
type loadOptions struct {
	split       float64
	seed        uint64
	generate    int // rows instead of a file's; 0: those of a file
	rate        int // rows a second; 0: as fast as it goes
	create      bool
	partitions  int
	key         string // none or label
	layout      string // csv, tensorflow, json, or avro
	compression kafka.Compression
}

// load writes the rows of a file, or generated ones, to the train and test topics.
func load(ctx context.Context, p *process) error {
	var opts loadOptions
	flags := p.newFlags()
	flags.Float64Var(&opts.split, "split", 0.7, "`share` of the rows that goes to the train topic, the rest to the test topic")
	flags.Uint64Var(&opts.seed, "seed", 1, "`seed` of the split, and of generated rows: with the same seed, a row goes to the same topic")
	flags.IntVar(&opts.generate, "generate", 0, "write that `number` of generated SUSY-like rows instead of a file's")
	flags.IntVar(&opts.rate, "rate", 0, "`rows` a second; 0: as fast as it goes")
	flags.BoolVar(&opts.create, "create", false, "create topics that are missing, with unlimited retention")
	flags.IntVar(&opts.partitions, "partitions", 6, "`number` of partitions of topics that are created")
	flags.StringVar(&opts.key, "key", "none", "`what` is the records' key: none, or label (0.0 or 1.0, from column 0, which decides the partition)")
	flags.StringVar(&opts.layout, "layout", "csv", "`how` the value looks: csv, the line; tensorflow, the line without the label, which is the key; json, an object; or avro, by a schema that is registered for the topic")
	flags.TextVar(&opts.compression, "compression", kafka.Lz4, "`codec` of the batches: none, gzip, snappy, lz4, or zstd")
	rest, err := p.parse(flags)
	if err != nil {
		return err
	}
	switch {
	case opts.generate > 0 && len(rest) > 0:
		return usagef("load -generate takes no file, found %q", rest)
	case opts.generate == 0 && len(rest) != 1:
		return usagef("load takes one file, or - for standard input, found %q", rest)
	}
	if err := opts.check(); err != nil {
		return err
	}
	cfg, err := loadConfig(p.environ, p.dir, cluster)
	if err != nil {
		return err
	}

	var in io.Reader = &generatedLines{events: susy.NewGenerator(opts.seed), left: opts.generate}
	if opts.generate == 0 {
		file, err := p.openInput(rest[0])
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only read
		in = file
	}
	client, err := kafkaClient(cfg, nil)
	if err != nil {
		return err
	}
	defer client.Close()

	l := &loader{opts: opts, train: target{topic: cfg.TrainTopic}, test: target{topic: cfg.TestTopic}, now: time.Now, names: cfg.Columns}
	if opts.generate > 0 && l.names == nil {
		l.names = susy.Columns[:]
	}
	if opts.layout == "avro" {
		if cfg.RegistryURL == "" {
			return usagef("load -layout avro registers a schema: CCLOUD_SCHEMA_REGISTRY_ENDPOINT: not set, want %s", wanted("CCLOUD_SCHEMA_REGISTRY_ENDPOINT"))
		}
		registry, err := cfg.registry(zap.NewNop(), nil)
		if err != nil {
			return err
		}
		defer registry.Close()
		l.register = registry.Register
	}
	show := newProgress(p.stderr, l.state)
	if err := l.open(ctx, client.Kafka(), show); err != nil {
		return err
	}
	l.size, l.started = sizeOf(in), l.now()
	stop := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() { show.run(stop) })
	err = l.run(ctx, in)
	close(stop)
	showing.Wait()
	return errors.Join(err, p.print(l.summary(err == nil)))
}

// check returns a usageError if an option is wrong, and settles what follows from others.
func (o *loadOptions) check() error {
	switch {
	case !(o.split >= 0 && o.split <= 1):
		return usagef("load: -split %v, want 0 to 1", o.split)
	case o.generate < 0 || o.rate < 0:
		return usagef("load: -generate and -rate must not be negative")
	case o.partitions < 1:
		return usagef("load: -partitions %d, want 1 or more", o.partitions)
	case !slices.Contains([]string{"none", "label"}, o.key):
		return usagef("load: -key %q, want none or label", o.key)
	case !slices.Contains([]string{"csv", "tensorflow", "json", "avro"}, o.layout):
		return usagef("load: -layout %q, want csv, tensorflow, json, or avro", o.layout)
	}
	if o.layout == "tensorflow" {
		o.key = "label"
	}
	return nil
}

// generatedLines reads like a CSV file of SUSY-like rows.
type generatedLines struct {
	events *susy.Generator
	left   int    // rows
	line   []byte // the newest one, reused
	unread []byte // what is left of it
}

func (g *generatedLines) Read(dst []byte) (int, error) {
	if len(g.unread) == 0 {
		if g.left == 0 {
			return 0, io.EOF
		}
		g.left--
		var x [susy.Features]float64
		label := g.events.Next(&x)
		g.line = append(susy.AppendCSV(g.line[:0], label, &x), '\n')
		g.unread = g.line
	}
	n := copy(dst, g.unread)
	g.unread = g.unread[n:]
	return n, nil
}

// sink takes the records of one topic. *producer.Producer is one.
type sink interface {
	Send(ctx context.Context, partition int32, timestamp time.Time, key, value []byte) error
	Close(ctx context.Context) error
	Acked() []int64
	Partitions() int
}

// target is one of the two topics.
type target struct {
	topic   string
	created bool
	sink    sink
	schema  int      // id of the schema of its values, where they have one
	keyed   [2]int32 // partition of the records with the key 0.0, and with 1.0
	next    int32    // partition of the next record without a key
}

// loader is one run of the command.
//
// One goroutine reads rows and sends them; everything it counts is atomic, because progress is shown meanwhile.
type loader struct {
	opts        loadOptions
	train, test target
	now         func() time.Time
	size        int64     // of the file in bytes; 0: not known
	started     time.Time // when reading began
	took        time.Duration

	csvLines
	rows, bytes  atomic.Int64 // read, without what was left out
	withoutLabel atomic.Int64 // lines left out

	// Where values are no lines.
	names    []string // of the columns; nil: those of the header line, if there is one
	register func(ctx context.Context, subject, schema, kind string) (int, error)
	sample   [][]byte // the first lines, while columns are not known
	columns  *table   // nil: not known
	unfit    atomic.Int64
	misfit   atomic.Pointer[string] // what is wrong with the first of them
	value    []byte                 // memory of a value
}

// open finds or creates the topics and starts their producers.
func (l *loader) open(ctx context.Context, client *kafka.Client, show *progress) error {
	for _, t := range l.targets() {
		if err := t.ensure(ctx, client, l.opts); err != nil {
			return err
		}
	}
	var quiet atomic.Int64 // until when no retry is told of, nanoseconds since 1970
	for _, t := range l.targets() {
		p, err := producer.New(ctx, client, producer.Config{
			Topic:       t.topic,
			Compression: l.opts.compression.String(),
			Linger:      100 * time.Millisecond,
			OnRetry: func(partition int32, err error) {
				now, until := l.now(), quiet.Load()
				if now.UnixNano() > until && quiet.CompareAndSwap(until, now.Add(5*time.Second).UnixNano()) {
					show.note(fmt.Sprintf("%s/%d: %v; trying again", t.topic, partition, err))
				}
			},
		})
		if err != nil {
			return l.close(ctx, err)
		}
		t.sink = p
	}
	return nil
}

// ensure finds the topic, or creates it if that is allowed.
func (t *target) ensure(ctx context.Context, client *kafka.Client, opts loadOptions) (err error) {
	if opts.create {
		t.created, err = producer.EnsureTopic(ctx, client, t.topic, opts.partitions, -1, map[string]string{"retention.ms": "-1"})
		return err
	}
	_, err = producer.Partitions(ctx, client, t.topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return fmt.Errorf("topic %s does not exist; load --create creates it with %d partitions and unlimited retention",
			t.topic, opts.partitions)
	}
	return err
}

func (l *loader) targets() []*target { return []*target{&l.train, &l.test} }

// run loads everything that in holds. When ctx ends it stops reading, and waits a while for what it has read.
func (l *loader) run(ctx context.Context, in io.Reader) error {
	for _, t := range l.targets() {
		for label, key := range labelKeys {
			t.keyed[label] = partitionOf(key, t.sink.Partitions())
		}
	}
	read := make(chan error, 1)
	go func() { read <- l.readRows(ctx, in) }()
	var err error
	select {
	case err = <-read:
	case <-ctx.Done(): // reading may hang for as long as nobody types
		err = ctx.Err()
	}
	closing := ctx // reading may still use ctx
	if ctx.Err() != nil {
		err = errors.New("interrupted")
		var cancel context.CancelFunc
		closing, cancel = context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
	}
	err = l.close(closing, err)
	l.took = l.now().Sub(l.started)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

// close closes both producers at once, after what they were given is written. It adds their errors to err.
func (l *loader) close(ctx context.Context, err error) error {
	errs := make([]error, len(l.targets()))
	var closing sync.WaitGroup
	for i, t := range l.targets() {
		if t.sink != nil {
			closing.Go(func() { errs[i] = t.sink.Close(ctx) })
		}
	}
	closing.Wait()
	for i, t := range l.targets() {
		if errs[i] != nil && !errors.Is(err, errs[i]) { // Send may have told the same
			err = errors.Join(err, fmt.Errorf("write what was read to %s: %w", t.topic, errs[i]))
		}
	}
	return err
}

// readRows reads all lines and sends those that are rows.
func (l *loader) readRows(ctx context.Context, in io.Reader) error {
	row := uint64(0)
	next := func(line []byte) error {
		if err := pace(ctx, l.started, row, l.opts.rate); err != nil {
			return err
		}
		err := l.send(ctx, row, line)
		row++
		return err
	}
	convert := l.opts.layout == "json" || l.opts.layout == "avro"
	err := l.each(in, func(_ int64, line []byte) error {
		if !convert || l.columns != nil {
			return next(line)
		}
		if l.sample = append(l.sample, bytes.Clone(line)); len(l.sample) < sampleLines {
			return nil
		}
		return l.settle(ctx, next)
	})
	if err == nil && convert && len(l.sample) > 0 {
		err = l.settle(ctx, next)
	}
	return err
}

// settle finds out what the columns are, and sends the lines that were kept for that.
func (l *loader) settle(ctx context.Context, next func(line []byte) error) error {
	names := l.names
	if names == nil {
		names = record.HeaderNames(l.header, l.sample[0])
	}
	var err error
	if l.columns, err = newTable(names, l.sample); err != nil {
		return err
	}
	if l.opts.layout == "avro" {
		schema, err := l.columns.avroSchema()
		if err != nil {
			return err
		}
		for _, t := range l.targets() {
			if t.schema, err = l.register(ctx, t.topic+"-value", schema, "AVRO"); err != nil {
				return err
			}
		}
	}
	lines := l.sample
	l.sample = nil
	for _, line := range lines {
		if err := next(line); err != nil {
			return err
		}
	}
	return nil
}

// valueOf returns the value of the record of a line; nil: there is none.
func (l *loader) valueOf(t *target, line []byte) []byte {
	if l.columns == nil {
		return line
	}
	row, err := l.columns.values(line)
	switch {
	case err != nil:
		text := err.Error()
		l.misfit.CompareAndSwap(nil, &text)
		l.unfit.Add(1)
		return nil
	case l.opts.layout == "json":
		l.value = l.columns.appendJSON(l.value[:0], row)
	default:
		l.value = l.columns.appendAvro(l.value[:0], t.schema, row)
	}
	return l.value
}

// pace waits until it is time for row number n, from 0, at rate rows a second since then, or until ctx ends. Rate 0
// stands for as fast as it goes.
func pace(ctx context.Context, since time.Time, n uint64, rate int) error {
	if rate == 0 {
		return nil
	}
	early := time.Until(since.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second))))
	if early <= time.Millisecond {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(early):
		return nil
	}
}

// send sends one row, whose number counts from 0, to the topic that the split gives it.
func (l *loader) send(ctx context.Context, row uint64, line []byte) error {
	t := &l.test
	if unit(l.opts.seed, row) < l.opts.split {
		t = &l.train
	}
	partition, key, value := t.next, []byte(nil), l.valueOf(t, line)
	if value == nil {
		return nil
	}
	if l.opts.key == "label" {
		label, others, ok := cutLabel(line)
		if !ok {
			l.withoutLabel.Add(1)
			return nil
		}
		partition, key = t.keyed[label], labelKeys[label]
		if l.opts.layout == "tensorflow" {
			value = others
		}
	}
	if err := t.sink.Send(ctx, partition, l.now(), key, value); err != nil {
		return err
	}
	t.next = (t.next + 1) % int32(t.sink.Partitions())
	l.rows.Add(1)
	l.bytes.Add(int64(len(line)))
	return nil
}

// labelKeys are the keys of records that are keyed by their label, 0 or 1.
var labelKeys = [2][]byte{[]byte("0.0"), []byte("1.0")}

// cutLabel splits a line into its label, column 0, and the other columns.
func cutLabel(line []byte) (label int, others []byte, ok bool) {
	first, others, ok := bytes.Cut(line, []byte(","))
	if !ok {
		return 0, nil, false
	}
	v, err := strconv.ParseFloat(string(bytes.Trim(bytes.TrimSpace(first), `"`)), 64)
	return int(v), others, err == nil && (v == 0 || v == 1)
}

// partitionOf returns the partition to which Kafka's Java client sends records with that key.
func partitionOf(key []byte, partitions int) int32 {
	all := make([]int, partitions)
	for i := range all {
		all[i] = i
	}
	return int32(kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: key}, all...))
}

// unit returns the row's number in [0, 1), uniform over rows and seeds: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014),
// with the row as its step.
func unit(seed, row uint64) float64 {
	z := mix(mix(seed) + row*0x9e3779b97f4a7c15)
	return float64(z>>11) / (1 << 53)
}

// mix is SplitMix64's output function.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// state returns how far the load is.
func (l *loader) state() progressState {
	return progressState{rows: l.written(), verb: "written", read: l.read.Load(), size: l.size, elapsed: l.now().Sub(l.started)}
}

// written returns how many rows the brokers have acknowledged.
func (l *loader) written() int64 {
	var n int64
	for _, t := range l.targets() {
		n += total(t.sink.Acked())
	}
	return n
}

func total(list []int64) (n int64) {
	for _, v := range list {
		n += v
	}
	return n
}

// summary says what was read and written, and what was left out.
func (l *loader) summary(complete bool) string {
	var text strings.Builder
	written := l.written()
	if complete {
		text.WriteString("loaded ")
	} else {
		fmt.Fprintf(&text, "stopped after %s read; the brokers have acknowledged ", plural(l.rows.Load(), "row"))
	}
	fmt.Fprintf(&text, "%s in %v: %.0f rows/s, %s of CSV\n",
		plural(written, "row"), l.took.Round(time.Millisecond), perSecond(written, l.took), bytesText(l.bytes.Load()))
	for _, t := range l.targets() {
		acked := t.sink.Acked()
		fmt.Fprintf(&text, "  %s: %s in %s, %d to %d in each", t.topic, plural(total(acked), "row"),
			plural(int64(len(acked)), "partition"), slices.Min(acked), slices.Max(acked))
		if t.created {
			text.WriteString("; the topic was created")
		}
		text.WriteByte('\n')
	}
	leftOut := append(l.leftOut(), lineCount{l.withoutLabel.Load(), "row without a label 0 or 1 in column 0"})
	if misfit := l.misfit.Load(); misfit != nil {
		leftOut = append(leftOut, lineCount{l.unfit.Load(), "row that does not fit (the first: " + *misfit + ")"})
	}
	for _, left := range leftOut {
		if left.n > 0 {
			fmt.Fprintf(&text, "  not loaded: %d × %s\n", left.n, left.what)
		}
	}
	return text.String()
}
