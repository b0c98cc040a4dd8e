package main

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

const (
	maxEffects   = 784             // features of a row that effects are shown of: they cost an answer for each
	effectsPause = 5 * time.Second // between two computations for a model, at least
	effectsShare = 50              // and at least this many times what the last one took
)

// effect is what a feature does to the answers of a model. Columns of categories have none: their values are hashed.
type effect struct {
	Feature string      `json:"feature"`  // a column of numbers, or that a column is missing
	LogOdds serve.Float `json:"log_odds"` // by how much they rise when it stands one deviation above its mean, or is missing
}

// effectCache keeps the newest effects of each model. They are computed by whoever asks, on no goroutine that learns.
type effectCache struct {
	mu     sync.Mutex
	models map[string]*cachedEffects // guarded by mu, by name
}

type cachedEffects struct {
	snapshot *train.Snapshot
	effects  []effect
	next     time.Time // not computed anew before
}

// of returns the effects of a snapshot, or of one of the same model a few seconds before: the largest first.
func (c *effectCache) of(snapshot *train.Snapshot, cfg *Config, slots *record.Slots, missing []uint64) []effect {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.models == nil {
		c.models = make(map[string]*cachedEffects)
	}
	cached := c.models[snapshot.Model]
	if cached == nil {
		cached = &cachedEffects{}
		c.models[snapshot.Model] = cached
	}
	start := time.Now()
	if snapshot == cached.snapshot || start.Before(cached.next) && cached.snapshot.Features == snapshot.Features {
		return cached.effects
	}
	cached.snapshot, cached.effects = snapshot, effectsOf(snapshot, cfg, slots, missing)
	cached.next = time.Now().Add(max(effectsPause, effectsShare*time.Since(start)))
	return cached.effects
}

// effectsOf returns the effects of a snapshot, also of columns that rows were without; nil where it has none, or too many.
func effectsOf(snapshot *train.Snapshot, cfg *Config, slots *record.Slots, missing []uint64) []effect {
	if snapshot.Predictor == nil || snapshot.Features > maxEffects {
		return nil
	}
	values := make([]float64, snapshot.Features)
	sgd.Effects(snapshot.Predictor, values)
	effects := make([]effect, len(values))
	for i, v := range values {
		effects[i] = effect{cfg.numberName(snapshot.Layout, i), serve.Float(v)}
	}
	var columns []int
	var sparse []int32
	for i := range min(len(missing), snapshot.Layout.Features()) {
		if missing[i] == 0 || len(effects)+len(columns) == maxEffects {
			continue
		}
		if n := slots.Find(snapshot.Layout.Absent(i)); n >= 0 {
			columns, sparse = append(columns, i), append(sparse, n)
		}
	}
	values = make([]float64, len(sparse))
	sgd.SparseEffects(snapshot.Predictor, values, sparse)
	for i, v := range values {
		effects = append(effects, effect{cfg.columnName(snapshot.Layout, columns[i]) + " missing", serve.Float(v)})
	}
	slices.SortStableFunc(effects, func(a, b effect) int {
		return cmp.Compare(math.Abs(float64(b.LogOdds)), math.Abs(float64(a.LogOdds)))
	})
	return effects
}
