package turns

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns counts how many goroutines have a turn at once.
func TestTurns(t *testing.T) {
	turns := New()
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

// TestAsked looks at how many processors Go has while requests come, and behind the last.
func TestAsked(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, tt := range []struct {
		environment string
		busy        int
	}{{"", perCore * cores}, {"1", cores}} {
		t.Setenv("GOMAXPROCS", tt.environment)
		synctest.Test(t, func(t *testing.T) {
			turns := New()
			for _, after := range []time.Duration{0, calm - time.Second, calm - time.Second} {
				time.Sleep(after)
				turns.Asked()
				if got := runtime.GOMAXPROCS(0); got != tt.busy {
					t.Errorf("GOMAXPROCS=%s: %d processors with a request, want %d", tt.environment, got, tt.busy)
				}
			}
			time.Sleep(2 * calm)
			if got := runtime.GOMAXPROCS(0); got != cores {
				t.Errorf("GOMAXPROCS=%s: %d processors long after a request, want %d", tt.environment, got, cores)
			}
		})
	}
}
