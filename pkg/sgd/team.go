package sgd

import (
	"runtime"
	"sync"
)

// team lets the scaler, the experts, and the mixer of a model work on a long run of rows side by side. Each takes the run
// block by block in order, and a block only when what it needs of it is there: so the bits are those of one after the
// other, whatever the number of cores.
type team struct {
	model *pipeline
	work  func() // one worker, as a value, so that starting it needs no memory

	rows *Rows
	prob []float64

	mu   sync.Mutex
	free sync.Cond // something was finished
	wait sync.WaitGroup
	// Guarded by mu. A station is the scaler, an expert, or the mixer, in this order.
	passed []int  // by station: blocks behind it
	busy   []bool // by station: one is in the hands of a worker
	last   []int  // by station: the worker that did it last, whose core's cache holds its state; -1: none yet
	joined int    // workers so far
	blocks []block
}

// cores is how many workers a team has at most, where Go runs so many goroutines at once.
var cores = runtime.NumCPU()

// teamRows is how many rows make a block of a team: enough for handing it on not to count.
const teamRows = 128

// patience is how often a worker looks for something to do before it sleeps.
const patience = 100

func newTeam(m *pipeline) *team {
	stations := len(m.experts) + 2
	t := &team{model: m, passed: make([]int, stations), busy: make([]bool, stations), last: make([]int, stations)}
	t.free.L = &t.mu
	t.work = t.worker
	return t
}

// worthwhile reports whether so many rows are learned faster side by side.
func (t *team) worthwhile(rows int) bool { return rows >= 2*teamRows && runtime.GOMAXPROCS(0) > 1 }

// learn is Learn of the model, which has room for all rows.
func (t *team) learn(rows *Rows, prob []float64) {
	n := (rows.Len() + teamRows - 1) / teamRows
	if cap(t.blocks) < n {
		t.blocks = make([]block, n)
	}
	t.rows, t.prob, t.blocks = rows, prob, t.blocks[:n]
	clear(t.passed)
	for s := range t.last {
		t.last[s] = -1
	}
	t.joined = 0
	for range min(runtime.GOMAXPROCS(0), cores, len(t.passed)) - 1 {
		t.wait.Add(1)
		go t.work()
	}
	t.wait.Add(1)
	t.worker()
	t.wait.Wait()
	t.rows, t.prob = nil, nil
	clear(t.blocks)
}

// worker does what can be done until all is done.
func (t *team) worker() {
	defer t.wait.Done()
	t.mu.Lock()
	defer t.mu.Unlock()
	me := t.joined
	t.joined++
	idle := 0 // looks in a row that found nothing to do
	for {
		s := t.next(me)
		switch {
		case s >= 0:
			idle = 0
			t.busy[s], t.last[s] = true, me
			k := t.passed[s]
			t.mu.Unlock()
			t.do(s, k)
			t.mu.Lock()
			t.busy[s] = false
			t.passed[s]++
			t.free.Broadcast()
		case t.passed[len(t.passed)-1] == len(t.blocks):
			return
		case idle < patience: // to wake a worker takes longer than most blocks
			idle++
			t.mu.Unlock()
			runtime.Gosched()
			t.mu.Lock()
		default:
			t.free.Wait()
		}
	}
}

// next returns the station that a worker does next, -1 where none can go on: of those that are not another worker's, if there
// are any, the one that is farthest behind.
func (t *team) next(worker int) int {
	end := len(t.passed) - 1
	slowest := len(t.blocks)
	for _, n := range t.passed[1:end] {
		slowest = min(slowest, n)
	}
	best, bestOthers := -1, false
	for s, n := range t.passed {
		ready := t.passed[0] // what the station before has finished
		switch s {
		case 0:
			ready = len(t.blocks)
		case end:
			ready = slowest
		}
		if t.busy[s] || n >= ready {
			continue
		}
		others := t.last[s] >= 0 && t.last[s] != worker
		if best < 0 || bestOthers && !others || others == bestOthers && n < t.passed[best] {
			best, bestOthers = s, others
		}
	}
	return best
}

// do lets a station work on block k.
func (t *team) do(station, k int) {
	m, at := t.model, k*teamRows
	switch station {
	case 0:
		t.blocks[k] = m.prepare(t.rows, at, min(at+teamRows, t.rows.Len()), at)
	case len(t.passed) - 1:
		m.answer(&t.blocks[k], at, t.prob[at:])
	default:
		b := &t.blocks[k]
		m.experts[station-1].learn(b, m.margins[station-1][at:][:b.len()])
	}
}
