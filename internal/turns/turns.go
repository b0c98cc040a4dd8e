// Package turns keeps a process answering promptly while it computes as fast as it can.
//
// Go looks for requests that have come when a processor of its own has nothing else to run, or every 10 ms. While a log is
// replayed at full speed all of them have something to run, and a request waits. So while requests come there are two of
// Go's processors for each core, and goroutines that compute take turns: as many of them run at once as there are cores. One of
// Go's processors is then free to see a request at once, and the operating system gives it a core. Without requests there is
// one for each core, as the others cost some speed.
package turns

import (
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	perCore = 2                // of Go's processors, while requests come
	calm    = 10 * time.Second // without a request, behind which there is one for each core again
)

// cores is how many goroutines Go would let run at once: cores, the limit of a container, or what GOMAXPROCS says.
var cores = runtime.GOMAXPROCS(0)

// Turns is a [sync.Locker] that as many goroutines can hold at once as there are cores. None may wait for another meanwhile.
type Turns struct {
	held  chan struct{}
	fixed bool         // GOMAXPROCS is set in the environment, and stays
	many  atomic.Bool  // there are perCore processors for each core
	asked atomic.Int64 // when the last request came, nanoseconds since 1970
}

// New returns turns for the process.
func New() *Turns {
	return &Turns{held: make(chan struct{}, cores), fixed: os.Getenv("GOMAXPROCS") != ""}
}

// Lock waits for a turn.
func (t *Turns) Lock() { t.held <- struct{}{} }

// Unlock ends a turn.
func (t *Turns) Unlock() { <-t.held }

// Cores returns how many can have a turn at once.
func (t *Turns) Cores() int { return cap(t.held) }

// Asked says that a request has come that is to be answered promptly, and so are those that may follow.
func (t *Turns) Asked() {
	t.asked.Store(time.Now().UnixNano())
	if !t.fixed && t.many.CompareAndSwap(false, true) {
		runtime.GOMAXPROCS(perCore * cores)
		time.AfterFunc(calm, t.rest)
	}
}

// rest gives up processors once no more requests come.
func (t *Turns) rest() {
	if left := calm - time.Since(time.Unix(0, t.asked.Load())); left > 0 {
		time.AfterFunc(left, t.rest)
		return
	}
	runtime.GOMAXPROCS(cores)
	t.many.Store(false)
}
