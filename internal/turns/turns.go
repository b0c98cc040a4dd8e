// Package turns keeps a process answering promptly while it computes as fast as it can.
//
// Go looks for requests that have come when a processor of its own has nothing else to run, or every 10 ms. While a log is
// replayed at full speed all of them have something to run, and a request waits. So there are three of Go's processors for
// each core, and goroutines that compute take turns: as many of them run at once as there are cores. One of Go's processors is
// then free to see a request at once, and the operating system gives it a core.
package turns

import (
	"os"
	"runtime"
)

// perCore is how many of Go's processors there are for each core.
const perCore = 3

// Turns is a [sync.Locker] that as many goroutines can hold at once as there are cores. None may wait for another meanwhile.
type Turns chan struct{}

// cores is how many goroutines Go would let run at once: cores, the limit of a container, or what GOMAXPROCS says.
var cores = runtime.GOMAXPROCS(0)

// Begin returns turns for the process, and raises the number of Go's processors, unless GOMAXPROCS is set in the environment.
func Begin() Turns {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(perCore * cores)
	}
	return make(Turns, cores)
}

// Lock waits for a turn.
func (t Turns) Lock() { t <- struct{}{} }

// Unlock ends a turn.
func (t Turns) Unlock() { <-t }

// Cores returns how many can have a turn at once.
func (t Turns) Cores() int { return cap(t) }
