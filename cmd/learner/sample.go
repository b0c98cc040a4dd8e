package main

import (
	"math"

	"learner/pkg/serve"
	"learner/pkg/train"
)

// sampledBaselines are the baselines that the history keeps.
func sampledBaselines() []string { return []string{train.Majority, train.LastLabel, train.FrozenTwin} }

// live returns what the page shows of now.
func (s *service) live() serve.Live {
	return serve.Live{Sample: s.sample, Baselines: sampledBaselines(), Status: func() any { return s.status() }}
}

// sample returns this moment for the history.
func (s *service) sample() serve.Sample {
	st := s.status()
	sample := serve.Sample{Lag: st.Lag, Behind: rounded(st.Behind)}
	if st.Replay != nil {
		sample.Remaining = st.Replay.Records - st.Replay.Done
	}
	for i := range st.Models {
		m := &st.Models[i]
		point := unknown()
		point[2], point[3], point[4], point[5] = rounded(m.RecentAccuracy), rounded(m.RecentLoss), rounded(m.Accuracy), rounded(m.Loss)
		if m.RecentRecords == 0 {
			point[2], point[3] = serve.Float(math.NaN()), serve.Float(math.NaN())
		}
		if m.Test != nil {
			point[0], point[1] = rounded(m.Test.Accuracy), rounded(m.Test.Loss)
		}
		sample.Models = append(sample.Models, point)
		if m.Champion {
			sample.Records = m.Records
			if s.tenure.Load() != nil {
				sample.Counted = m.Name
			}
		}
	}
	for _, name := range sampledBaselines() {
		point := unknown()
		for _, b := range st.Baselines {
			if b.Name == name && b.Records > 0 {
				point[2], point[3], point[4], point[5] = rounded(b.RecentAccuracy), rounded(b.RecentLoss), rounded(b.Accuracy), rounded(b.Loss)
			}
		}
		if st.Test != nil {
			if b, ok := st.Test.Baselines[name]; ok {
				point[0], point[1] = rounded(b.Accuracy), rounded(b.Loss)
			}
		}
		sample.Baselines = append(sample.Baselines, point)
	}
	return sample
}

// unknown returns a point without any score.
func unknown() serve.Point {
	var p serve.Point
	for i := range p {
		p[i] = serve.Float(math.NaN())
	}
	return p
}

// rounded returns x to six places, which is finer than a line on a screen.
func rounded(x serve.Float) serve.Float { return serve.Float(math.Round(float64(x)*1e6) / 1e6) }
