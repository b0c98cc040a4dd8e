package turns

import (
	"runtime"
	"sync"
	"testing"
)

// TestTurns counts how many goroutines have a turn at once.
func TestTurns(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	turns := Begin()
	if got, want := runtime.GOMAXPROCS(0), perCore*turns.Cores(); got != want {
		t.Errorf("%d processors, want %d", got, want)
	}
	var mu sync.Mutex
	now, most := 0, 0
	count := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		now += by
		most = max(most, now)
	}
	var wait sync.WaitGroup
	for range 8 * turns.Cores() {
		wait.Go(func() {
			for range 100 {
				turns.Lock()
				count(1)
				runtime.Gosched()
				count(-1)
				turns.Unlock()
			}
		})
	}
	wait.Wait()
	if most != turns.Cores() {
		t.Errorf("%d goroutines had a turn at once, want %d", most, turns.Cores())
	}
}

// TestTurnsOfAGivenNumber leaves GOMAXPROCS as the environment sets it.
func TestTurnsOfAGivenNumber(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1")
	before := runtime.GOMAXPROCS(0)
	if Begin(); runtime.GOMAXPROCS(0) != before {
		t.Errorf("%d processors, want %d", runtime.GOMAXPROCS(0), before)
	}
}
