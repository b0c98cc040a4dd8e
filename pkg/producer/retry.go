package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	requestTimeout = 30 * time.Second // of one try
	startTimeout   = 10 * time.Second // of all tries of what New and EnsureTopic ask for

	firstPause = 50 * time.Millisecond // between tries; it doubles
	maxPause   = time.Second           // leaders move and brokers restart within seconds
)

// retry calls try until it succeeds or fails for good, with growing pauses, for as long as timeout allows. It tells
// onRetry, if not nil, of each error that it passes over, and returns how often it called try.
func retry(ctx context.Context, timeout time.Duration, onRetry func(error), try func() error) (tries int, err error) {
	giveUp := time.Now().Add(timeout)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		tries++
		err := try()
		switch {
		case err == nil || !retriable(err) || ctx.Err() != nil:
			return tries, err
		case time.Now().Add(pause).After(giveUp):
			return tries, fmt.Errorf("given up after %v and %d tries: %w", timeout, tries, err)
		}
		if onRetry != nil {
			onRetry(err)
		}
		select {
		case <-ctx.Done():
			return tries, err
		case <-time.After(pause):
		}
	}
}

// retriable says whether the same request may succeed later: the broker says so, or there was no answer from one.
func retriable(err error) bool {
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return code.Temporary() || code == kafka.BrokerNotAvailable // kafka-go's own, while the leader is away
	}
	return true
}
