package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"learner/pkg/checkpoint"
	"learner/pkg/producer"
)

// tally is what was written to each partition: how many rows, and the sum of their tokens.
type tally struct{ rows, tokens [killPartitions]float64 }

// write writes n rows, each to a random partition. A row has two columns for each partition: 1 and a random number in
// those of its own, 0 elsewhere. So the means that a model keeps of the columns tell which rows it has learned.
func (w *tally) write(ctx context.Context, p *producer.Producer, random *rand.Rand, n int) error {
	for range n {
		at, token := random.IntN(killPartitions), 1+random.IntN(1000)
		line := []byte{'0' + byte(random.IntN(2))}
		for i := range killPartitions {
			if i == at {
				line = fmt.Appendf(line, ",1,%d", token)
			} else {
				line = append(line, ",0,0"...)
			}
		}
		w.rows[at]++
		w.tokens[at] += float64(token)
		if err := p.Send(ctx, int32(at), time.Now(), nil, line); err != nil {
			return err
		}
	}
	return nil
}

// total returns how many rows were written.
func (w *tally) total() (n uint64) {
	for _, rows := range w.rows {
		n += uint64(rows)
	}
	return n
}

// TestKilledWhileProducing kills a learner while its topic is written: each record counts exactly once, and the range
// that a cut names is finished as it was settled.
func TestKilledWhileProducing(t *testing.T) {
	needsTime(t)
	stock, pointed := buildLearner(t), buildLearner(t, killPoints...)
	seed := killSeed(t)
	onPlainClusters(t, func(t *testing.T, c *testCluster) {
		c.create(t, killPartitions, nil)
		c.produce(t, c.test, []string{"0,1,2,0,0,0,0,0,0,0,0", "1,0,0,1,2,0,0,0,0,0,0"})
		p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: c.train})
		if err != nil {
			t.Fatal(err)
		}
		written, random := &tally{}, rand.New(rand.NewPCG(seed, 1))
		if err := written.write(t.Context(), p, random, 600_000); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop, stopped := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				select {
				case <-time.After(10 * time.Millisecond):
					if err := written.write(t.Context(), p, random, 200); err != nil {
						stopped <- err
						return
					}
				case <-stop:
					stopped <- p.Close(t.Context())
					return
				}
			}
		}()

		r := newTrial(t, c, killCase{cheapModels, "topic", "time", smallRecords, nil}, ".killed", stock, pointed)
		r.random = rand.New(rand.NewPCG(seed, 2))
		var last *checkpoint.Checkpoint
		finishing := 0
		for i := range 12 {
			switch i {
			case 0:
				r.at("commit 2")
			case 1, 2:
				r.at("commit 1")
			case 6:
				r.at("manifest 2")
			case 9:
				r.at("chunks 1")
			default:
				r.atRandom()
			}
			now := r.committed()
			if last != nil && now.ID != last.ID && r.follows(last, now) {
				finishing++
			}
			last = now
		}
		close(stop)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		v := startVictim(t, stock, r.c)
		want := written.total()
		learned := func() bool {
			if !v.isReady() {
				return false
			}
			for _, m := range v.status().Models {
				if m.Records < want {
					return false
				}
			}
			return true
		}
		if !v.within(time.Minute, learned) {
			t.Errorf("%d records are not all learned", want)
		}
		for name, state := range v.states() {
			written.compare(t, name, []byte(state))
		}
		v.stop()
		for _, fault := range r.faults {
			t.Error(fault)
		}
		if finishing == 0 {
			t.Error("no restart was inside a range")
		}
		t.Logf("%d records; %d of %d starts went on inside a range; kills %v", want, finishing, r.starts, r.landed)
	})
}

// committed returns the checkpoint that the group committed last.
func (r *trial) committed() *checkpoint.Checkpoint {
	r.t.Helper()
	id, err := checkpoint.ParseID(r.commits()[0].Metadata)
	if err != nil {
		r.t.Fatal(err)
	}
	data := asked(r.t, func() ([]byte, error) { return r.store.Get(r.t.Context(), id) })
	c, err := checkpoint.Decode(data)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// follows checks that a cut comes from finishing the range of an earlier one, and returns whether there was something to
// finish.
func (r *trial) follows(was, is *checkpoint.Checkpoint) (unfinished bool) {
	same, beyond := true, true
	for i, a := range was.Partitions {
		b := is.Partitions[i]
		same = same && a.Start == b.Start && a.Settled == b.Settled && a.End == b.End && a.Next <= b.Next
		beyond = beyond && a.End <= b.Start
		unfinished = unfinished || a.Next < a.End
	}
	if !same && !beyond {
		r.fault("the range of %s was not finished: %+v, then %+v", was.ID, was.Partitions, is.Partitions)
	}
	return unfinished
}

// compare finds out from a model's state whether it has learned what was written.
func (w *tally) compare(t *testing.T, model string, state []byte) {
	t.Helper()
	tensors, _, err := checkpoint.ReadSafetensors(state)
	if err != nil {
		t.Fatal(err)
	}
	var mean []float64
	var count uint64
	for _, tensor := range tensors {
		if strings.HasSuffix(tensor.Name, "scaler/mean") {
			mean = tensor.Data.([]float64)
		}
		if strings.HasSuffix(tensor.Name, "scaler/count") {
			count = tensor.Data.([]uint64)[0]
		}
	}
	if count != w.total() || len(mean) != 2*killPartitions {
		t.Fatalf("model %s has learned %d records of %d columns, want %d of %d", model, count, len(mean), w.total(), 2*killPartitions)
	}
	for p := range killPartitions {
		rows, tokens := math.Round(mean[2*p]*float64(count)), math.Round(mean[2*p+1]*float64(count))
		if rows != w.rows[p] || tokens != w.tokens[p] {
			t.Errorf("model %s, partition %d: learned %v rows and tokens %v, written %v and %v", model, p, rows, tokens, w.rows[p], w.tokens[p])
		}
	}
}
