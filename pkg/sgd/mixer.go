package sgd

import (
	"slices"

	"learner/internal/portable"
)

// mixer makes one answer of the answers of n experts. All of them are log-odds, before the experts learned the record.
//
//  1. The mixer proper, a logistic regression on (1, the experts' log-odds within ±5), that begins as their mean, gives M.
//  2. The calibrator, a logistic regression on (M, M within ±1, M within ±2), that begins as M, bends large values: it
//     bounds the loss under noisy labels and does not move the boundary between the classes.
//  3. The Bayes layer averages the probabilities of calibrator, mixer, and experts, by weights that begin as ¼, ¼, and ½
//     shared. A record multiplies each weight by the probability that it gave to the label, and then a part of 1e-5 of all is
//     shared out again, so that none is lost for ever. So the answer is never much worse than the best of them.
type mixer struct {
	mix, calibrate *newton
	layer          []float64 // weights: calibrator, mixer, experts; their sum is 1

	in    []float64 // of mix
	bend  [3]float64
	probs []float64 // of the record in hand, as layer
}

const (
	expertLimit = 5 // of an expert's log-odds
	mixerLimit  = 8 // of the mixer's
	mixerV0     = 0.1
	mixerQ      = 1e-6
	layerShare  = 1e-5
)

func newMixer(n int) *mixer {
	m := &mixer{
		mix: newNewton(1+n, mixerV0, mixerQ), calibrate: newNewton(3, mixerV0, mixerQ),
		layer: make([]float64, 2+n), in: make([]float64, 1+n), probs: make([]float64, 2+n),
	}
	for i := range n {
		m.mix.weights[1+i] = 1 / float64(n)
		m.layer[2+i] = 0.5 / float64(n)
	}
	m.calibrate.weights[0] = 1
	m.layer[0], m.layer[1] = 0.25, 0.25
	return m
}

// learn stores the answer to each row of the block in prob, and then takes one step on it. The experts' log-odds stand in
// margins, from the given row on.
func (m *mixer) learn(b *block, margins [][]float64, at int, prob []float64) {
	for i, y := range b.y {
		m.in[0] = 1
		for e, margin := range margins {
			m.in[1+e] = clip(margin[at+i], expertLimit)
		}
		sigmoids(m.probs[2:], m.in[1:])
		mixed := m.mix.step(m.in, nil, y, b.c[i])
		m.bend = bend(mixed)
		m.calibrate.step(m.bend[:], nil, y, b.c[i])
		m.probs[0], m.probs[1] = m.calibrate.prob, m.mix.prob
		prob[i] = dot(0, m.layer, m.probs)
		m.weigh(y, b.c[i])
	}
}

// weigh is the Bayes layer's step.
func (m *mixer) weigh(label, c float64) {
	sum := 0.0
	for i, p := range m.probs {
		if label == 0 {
			p = 1 - p
		}
		if c != 1 {
			p = portable.Exp(float64(c * portable.Log(p)))
		}
		m.layer[i] = float64(m.layer[i] * p)
		sum += m.layer[i]
	}
	if !(sum > 0) { // a record of such importance that no weight is left: they stay as they are shared out below
		sum = 1
	}
	keep, share := (1-layerShare)/sum, layerShare/float64(len(m.layer))
	for i := range m.layer {
		m.layer[i] = float64(keep*m.layer[i]) + share
	}
}

// bend returns what the calibrator learns from.
func bend(mixed float64) [3]float64 {
	return [3]float64{clip(mixed, mixerLimit), clip(mixed, 1), clip(mixed, 2)}
}

func (m *mixer) state() []Tensor {
	var tensors []Tensor
	for _, part := range []struct {
		name string
		of   *newton
	}{{"mixer/", m.mix}, {"calibrator/", m.calibrate}} {
		for _, t := range part.of.state() {
			t.Name = part.name + t.Name
			tensors = append(tensors, t)
		}
	}
	return append(tensors, vector("layer/weights", m.layer))
}

func (m *mixer) restore(from *Stored) {
	m.mix.restore(from.under("mixer/"))
	m.calibrate.restore(from.under("calibrator/"))
	load(from, "layer/weights", m.layer)
}

func (m *mixer) stats() Stats {
	s := m.mix.stats()
	s.NonFinite += m.calibrate.refused
	return s
}

func (m *mixer) freeze() *frozenMixer {
	return &frozenMixer{
		mix: slices.Clone(m.mix.weights), calibrate: slices.Clone(m.calibrate.weights), layer: slices.Clone(m.layer),
	}
}

// frozenMixer answers as a mixer did when it was made.
type frozenMixer struct{ mix, calibrate, layer []float64 }

// prob returns the probability of class 1 by the experts' log-odds.
func (f *frozenMixer) prob(margins []float64) float64 {
	mixed, sum := f.mix[0], 0.0
	for i, margin := range margins {
		v := clip(margin, expertLimit)
		mixed += float64(f.mix[1+i] * v)
		sum += float64(f.layer[2+i] * sigmoid(v))
	}
	bent := bend(mixed)
	return float64(f.layer[0]*sigmoid(dot(0, f.calibrate, bent[:]))) + float64(f.layer[1]*sigmoid(mixed)) + sum
}

// describe adds prob to a formula: margins are rows × experts.
func (f *frozenMixer) describe(to *Formula, margins int) int {
	v := to.clip(margins, expertLimit)
	mixed := to.linear(v, f.mix, 1)
	bent := to.step(OpJoin, to.clip(mixed, mixerLimit), to.clip(mixed, 1), to.clip(mixed, 2))
	calibrated := to.step(OpMatMul, bent, to.column(f.calibrate))
	probs := to.step(OpJoin, to.sigmoid(calibrated), to.sigmoid(mixed), to.sigmoid(v))
	return to.step(OpMatMul, probs, to.column(f.layer))
}
