package train

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

// stack is a Source of ready blocks.
type stack struct {
	blocks chan *record.Block
	ends   map[int32]record.End
}

func (s *stack) Blocks() <-chan *record.Block { return s.blocks }
func (s *stack) Release(*record.Block)        {}
func (s *stack) Ends(context.Context, time.Duration) map[int32]record.End {
	for id, end := range s.ends {
		end.Told = time.Now()
		s.ends[id] = end
	}
	return s.ends
}

// nothing is an Observer that looks away.
type nothing struct{}

func (nothing) Passed(int32, int, int, int64, time.Time)         {}
func (nothing) Refused(int32, record.Refusal)                    {}
func (nothing) Lost(int32, int64)                                {}
func (nothing) Waiting(int)                                      {}
func (nothing) DrawnBack(int32)                                  {}
func (nothing) Learned(string, int, int, float64, time.Duration) {}
func (nothing) Published(*Snapshot)                              {}
func (nothing) Happened(Event)                                   {}
func (nothing) Compared(*Comparison)                             {}

// idle is a model that learns nothing.
type idle struct{ recorder }

func (*idle) Learn(*sgd.Rows, []float64) {}
func (*idle) Grow(int)                   {}

// BenchmarkTrain merges partitions whose records come one from each in turn, 18 features, a thousand to a block, for
// nobody, and for one logistic model.
func BenchmarkTrain(b *testing.B) {
	const records, features, perBlock = 240_000, 18, 1000
	for _, partitions := range []int{6, 24} {
		var blocks []*record.Block
		for k := range records / partitions / perBlock {
			for p := range partitions {
				l := steadyLog(int32(p), 0, 0, 0, features)
				for o := range perBlock {
					offset := int64(k*perBlock + o)
					l.entries = append(l.entries, row(int32(p), offset, offset, features))
				}
				blocks = append(blocks, l.block(int64(k*perBlock), int64((k+1)*perBlock)))
			}
		}
		for _, mode := range []Mode{ByTime, ByProgress} {
			for _, spec := range []sgd.Spec{{Name: "none"}, logistic} {
				b.Run(fmt.Sprintf("partitions=%d/mode=%d/model=%s", partitions, mode, spec.Name), func(b *testing.B) {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					for b.Loop() {
						source := &stack{make(chan *record.Block, len(blocks)), map[int32]record.End{}}
						for p := range partitions {
							end := int64(records / partitions)
							source.ends[int32(p)] = record.End{Stable: end, Log: end}
						}
						for _, block := range blocks {
							source.blocks <- block
						}
						close(source.blocks)
						t, err := New(Config{Models: []sgd.Spec{spec}, Mode: mode, Observer: nothing{}, Logger: zap.NewNop()})
						if err != nil {
							b.Fatal(err)
						}
						if spec.Name == "none" {
							t.learners[0].model = &idle{}
						}
						t.Run(b.Context(), source)
						if s := t.Snapshots()[0]; s.Records != records {
							b.Fatalf("learned %d of %d", s.Records, records)
						}
					}
					runtime.ReadMemStats(&after)
					n := float64(b.N) * records
					b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
					b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/record")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}
