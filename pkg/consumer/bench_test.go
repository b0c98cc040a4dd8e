package consumer

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/record"
	"learner/pkg/susy"
)

// skipping is a decoder that reads nothing.
type skipping struct{}

func (skipping) Decode(*record.Block, record.Record) error { return nil }

// BenchmarkRead reads rows of SUSY data, 480 bytes each in batches of 1000, from the embedded broker, whose work
// counts. One operation is one record.
func BenchmarkRead(b *testing.B) {
	const partitions, batchRows, batches = 6, 1000, 40
	for _, codec := range []int{codecNone, codecLZ4, codecZstd} {
		cluster, err := broker.Start(broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(partitions, "train")}})
		if err != nil {
			b.Fatal(err)
		}
		c := NewClient(Config{Brokers: cluster.Addrs(), ClientID: "bench", Topics: []string{"train"}})
		l := newLog(b, cluster)
		events := susy.NewGenerator(1)
		var x [susy.Features]float64
		for p := range int32(partitions) {
			batch := testBatch{attributes: int16(codec), producer: -1}
			for i := range int64(batchRows) {
				label := events.Next(&x)
				batch.records = append(batch.records, testRecord{offset: i, value: susy.AppendCSV(nil, label, &x)})
			}
			data := batch.encode(b)
			for range batches {
				l.raw(p, data)
			}
		}
		const total = partitions * batchRows * batches
		b.Run("batches/"+codecNames[codec], func(b *testing.B) {
			measure(b, total, func() { fetchAll(b, c, partitions, batchRows*batches) })
		})
		csv := csvDecoder(b)
		for _, work := range []struct {
			name    string
			decoder record.Decoder
		}{{"records/", skipping{}}, {"rows/", csv}} {
			b.Run(work.name+codecNames[codec], func(b *testing.B) {
				measure(b, total, func() { readAll(b, c, work.decoder, partitions, batchRows*batches) })
			})
		}
		c.Close()
		cluster.Close()
	}
}

// measure runs pass, which reads total records, until b.N were read.
func measure(b *testing.B, total int, pass func()) {
	var before, after runtime.MemStats
	pass()
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	start, records := time.Now(), 0
	for ; records < b.N || records == 0; records += total {
		pass()
	}
	took := time.Since(start)
	b.StopTimer()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(records)/took.Seconds(), "records/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(records), "objects/record")
	b.ReportMetric(took.Seconds()*1e9/float64(records), "ns/record")
	b.ReportMetric(0, "ns/op")
}

// readAll reads all partitions to the end of their logs.
func readAll(b *testing.B, c *Client, decoder record.Decoder, partitions, each int64) {
	start := make(map[int32]Position)
	for p := range partitions {
		start[int32(p)] = Position{}
	}
	r := c.NewReader(ReaderConfig{
		Topic: "train", Start: start, Decoder: func() record.Decoder { return decoder },
		Workers: runtime.GOMAXPROCS(0), Logger: zap.NewNop(),
	})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for left := partitions; left > 0; {
		block := <-r.Blocks()
		<-block.Ready
		if block.Next == each {
			left--
		}
		r.Release(block)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// fetchAll reads the batches of all partitions and looks at no record.
func fetchAll(b *testing.B, c *Client, partitions int32, each int64) {
	next := make(map[int32]int64)
	var frame []byte
	for left := partitions; left > 0; {
		request := newRawFetch(0, "bench", "train")
		for p := range partitions {
			if next[p] < each {
				request.partitions = append(request.partitions, fetchPartition{p, next[p], partitionMax})
			}
		}
		request.maxBytes, request.maxWait, request.frame = answerMax, 100*time.Millisecond, frame
		var err error
		if frame, err = request.do(b.Context(), c.Transport(), c.addr, fetchGrace); err != nil {
			b.Fatal(err)
		}
		if _, err := parseAnswer(frame, func(s section) {
			for data := s.records; ; {
				var parsed batch
				size, err := nextBatch(data, &parsed)
				if err != nil {
					b.Fatal(err)
				}
				if size == 0 {
					break
				}
				data, next[s.partition] = data[size:], parsed.Last+1
			}
			if next[s.partition] == each {
				left--
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
}
