package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"time"

	"learner/pkg/train"
)

// demoLines prints a line a second, and ends when all that was fed is learned and measured.
type demoLines struct {
	service *service
	feed    *demoFeed
	out     io.Writer
	started time.Time

	records uint64    // at the last line
	at      time.Time // of the last line
	passed  bool      // the target was remarked upon
	fed     time.Time // since when everything is produced and learned; zero: it is not
}

func (d *demoLines) run(ctx context.Context) {
	d.at = d.started
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if d.line(now) {
				return
			}
		}
	}
}

// line prints one line, and reports whether it was the last.
func (d *demoLines) line(now time.Time) (last bool) {
	st := d.service.status()
	at := slices.IndexFunc(st.Models, func(m modelStatus) bool { return m.Champion })
	if at < 0 || st.Models[at].Records == 0 {
		return false
	}
	m := st.Models[at]
	lag := int64(0)
	for _, p := range st.Partitions {
		lag += p.Records
	}
	rate := float64(m.Records-d.records) / now.Sub(d.at).Seconds()
	d.records, d.at = m.Records, now
	test, majority := math.NaN(), math.NaN()
	if m.Test != nil {
		test = float64(m.Test.Accuracy)
	}
	if st.Test != nil {
		if b, ok := st.Test.Baselines[train.Majority]; ok {
			majority = float64(b.Accuracy)
		}
	}
	after := now.Sub(d.started).Round(time.Second)
	_, _ = fmt.Fprintf(d.out, "%6s  learned %9d  %8.0f/s  accuracy %.4f progressive, %.4f test (majority class %.4f)  lag %d\n",
		after, m.Records, rate, float64(m.Accuracy), test, majority, lag)
	if !d.passed && test > demoTarget {
		d.passed = true
		_, _ = fmt.Fprintf(d.out, "%6s  test accuracy %.4f passed %.2f\n", after, test, demoTarget)
	}
	if !d.feed.done.Load() || lag > 0 || !st.CaughtUp {
		d.fed = time.Time{}
		return false
	}
	if d.fed.IsZero() {
		d.fed = now
	}
	if st.Test == nil || st.Test.Time.Before(d.fed) {
		return false
	}
	_, _ = fmt.Fprintf(d.out, "All %d records learned in %s.\n", m.Records, after)
	return true
}

// browsable returns addr as a browser on this machine can reach it.
func browsable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
