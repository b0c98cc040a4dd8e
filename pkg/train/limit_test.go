package train

import (
	"errors"
	"strings"
	"testing"

	"learner/pkg/record"
)

// TestTheLimitOfRefusedRecordsEndsTheRun holds at which record a run ends, and that nothing behind it is learned or can be
// kept.
func TestTheLimitOfRefusedRecordsEndsTheRun(t *testing.T) {
	every := func(n, from, to int64) func(int64) bool {
		return func(offset int64) bool { return offset >= from && offset < to && offset%n == 0 }
	}
	for name, tt := range map[string]struct {
		limit Limit
		bad   func(offset int64) bool
		want  int64 // offset of the one too many; -1: none
	}{
		"no limit":                   {Limit{}, every(2, 0, 4000), -1},
		"as many as allowed":         {Limit{.1, 100}, every(10, 0, 4000), -1},
		"share that is not exact":    {Limit{.29, 100}, func(offset int64) bool { return offset%100 < 29 }, -1},
		"more":                       {Limit{.1, 1000}, every(5, 2000, 4000), 2500},
		"from the first record on":   {Limit{.1, 1000}, every(1, 0, 4000), 100},
		"windows end":                {Limit{.1, 100}, func(offset int64) bool { return offset >= 190 && offset < 210 }, -1},
		"inside a window":            {Limit{.1, 100}, func(offset int64) bool { return offset >= 205 && offset < 216 }, 215},
		"none allowed":               {Limit{.001, 100}, func(offset int64) bool { return offset == 3333 }, 3333},
		"many where all are learned": {Limit{.1, 1_000_000}, every(2, 0, 4000), -1},
	} {
		t.Run(name, func(t *testing.T) {
			log := &testLog{end: 4000}
			for k := range log.end {
				if e := row(0, k, k, 3); tt.bad(k) {
					log.entries = append(log.entries, bad(k))
				} else {
					log.entries = append(log.entries, e)
				}
			}
			source := newFakeSource(40)
			source.says(0, 0, log.end, log.end)
			for at := int64(0); at < log.end; at += 100 {
				source.send(t.Context(), log.block(at, at+100))
			}
			close(source.blocks)
			r := newRig(source, ByTime)
			r.cfg.Limit = tt.limit
			r.run(t.Context())
			_, err := r.Cut(t.Context())
			if tt.want < 0 {
				if r.Err() != nil || err != nil {
					t.Errorf("errors %v and %v", r.Err(), err)
				}
				return
			}
			tooMany, ok := errors.AsType[*TooManyRefusedError](err)
			if !ok || !errors.Is(r.Err(), err) {
				t.Fatalf("errors %v and %v", r.Err(), err)
			}
			if tooMany.Newest.Offset != tt.want || !strings.Contains(err.Error(), "number: test") {
				t.Errorf("%v, want the one too many at offset %d", err, tt.want)
			}
			for _, p := range r.recorder.seen() {
				if p.offset > tt.want {
					t.Fatalf("offset %d was learned, behind the limit at %d", p.offset, tt.want)
				}
			}
			if last := r.seen.refused[len(r.seen.refused)-1]; last.offset != tt.want {
				t.Errorf("refusals are told up to offset %d, want %d", last.offset, tt.want)
			}
		})
	}
}

func TestTheLimitCountsAllPartitions(t *testing.T) {
	source := newFakeSource(2)
	for id := range int32(2) {
		log := steadyLog(id, 500, int64(id), 2, 3)
		for k := 400; k < 430; k++ {
			log.entries[k] = bad(int64(k))
		}
		source.says(id, 0, log.end, log.end)
		source.send(t.Context(), log.block(0, log.end))
	}
	close(source.blocks)
	r := newRig(source, ByTime)
	r.cfg.Limit = Limit{.05, 1000}
	r.run(t.Context())
	if err, ok := errors.AsType[*TooManyRefusedError](r.Err()); !ok || err.Refused != 51 || err.Newest.Err.Reason != record.Number {
		t.Errorf("%v, want the 51st of both partitions", r.Err())
	}
}
