package sgd

import "math"

const reluUnits = 64

// relu are random features: the row, standardised once more by its plain running moments, goes through 64 linear units with
// random weights that are never learned, cut off below 0 and standardised themselves (Rahimi, Recht, Weighted sums of random
// kitchen sinks, NIPS 2008). With d columns:
//
//	1, z'_1 … z'_d, standardised max(0, a_k·z' + b_k) for k = 1 … 64; a_k from N(0, 1/d), b_k uniform in (-1, 1)
//
// The random numbers are a function of the seed and the width, and no part of the state.
type relu struct {
	units          *reluLayer
	inputs, hidden moments
	vector         []float64
}

func newRelu(width int, seed uint64) *relu {
	return &relu{
		units: newReluLayer(width, seed), inputs: newMoments(width), hidden: newMoments(reluUnits),
		vector: make([]float64, 1+width+reluUnits),
	}
}

func (f *relu) width() int { return len(f.vector) }

func (f *relu) advance(r row, _ stepper) []float64 {
	f.vector[0] = 1
	z, out := f.vector[1:][:len(f.inputs.mean)], f.vector[1+len(f.inputs.mean):]
	f.inputs.advance(z, r.z[1:], false) // leaves nothing out: standardised values are small
	f.units.apply(out, z)
	f.hidden.advance(out, out, false)
	return f.vector
}

func (f *relu) state() []Tensor {
	return append(f.inputs.state("relu/inputs"), f.hidden.state("relu/hidden")...)
}

func (f *relu) restore(from *Stored) {
	f.inputs.restore(from, "relu/inputs")
	f.hidden.restore(from, "relu/hidden")
}

func (f *relu) adopt(narrow features) []int {
	old := narrow.(*relu)
	f.inputs.adopt(&old.inputs)
	f.hidden = old.hidden
	places, more := upTo(old.width()), f.width()-old.width()
	for unit := range reluUnits {
		places[len(places)-reluUnits+unit] += more
	}
	return places
}

func (f *relu) freeze() frozenFeatures {
	return &frozenRelu{units: f.units, inputs: f.inputs.clone(), hidden: f.hidden.clone()}
}

// frozenRelu makes the vectors that relu made when it was frozen.
type frozenRelu struct {
	units          *reluLayer
	inputs, hidden moments
}

func (f *frozenRelu) scratch() int { return 1 + len(f.inputs.mean) + reluUnits }

func (f *frozenRelu) apply(r row, scratch []float64) []float64 {
	vector := scratch[:f.scratch()]
	vector[0] = 1
	z, out := vector[1:][:len(f.inputs.mean)], vector[1+len(f.inputs.mean):]
	f.inputs.apply(z, r.z[1:])
	f.units.apply(out, z)
	f.hidden.apply(out, out)
	return vector
}

func (f *frozenRelu) describe(to *Formula, _, z int) int {
	z = f.inputs.describe(to, z)
	return to.step(OpJoin, z, f.hidden.describe(to, f.units.describe(to, z)))
}

// reluLayer holds the random units. It is immutable.
type reluLayer struct {
	bias    [reluUnits]float64
	weights []float64 // by fours of units, input by input, the four
}

func newReluLayer(width int, seed uint64) *reluLayer {
	l := &reluLayer{weights: make([]float64, width*reluUnits)}
	r := newRandom(seed, "relu")
	deviation := 1 / math.Sqrt(float64(width))
	for k := range reluUnits {
		l.bias[k] = float64(2*r.uniform()) - 1
	}
	for i := range width { // by column, so that one more column leaves the others' weights as they are, but for their size
		for k := range reluUnits {
			l.weights[k/4*4*width+4*i+k%4] = float64(deviation * r.normal())
		}
	}
	return l
}

// apply stores what the units give for z in out.
func (l *reluLayer) apply(out, z []float64) {
	weights := l.weights
	for k := 0; k < reluUnits; k += 4 {
		a, b, c, d := l.bias[k], l.bias[k+1], l.bias[k+2], l.bias[k+3]
		four := weights[:4*len(z)]
		for _, zi := range z {
			w := four[:4:4]
			a += float64(w[0] * zi)
			b += float64(w[1] * zi)
			c += float64(w[2] * zi)
			d += float64(w[3] * zi)
			four = four[4:]
		}
		out[k], out[k+1], out[k+2], out[k+3] = max(a, 0), max(b, 0), max(c, 0), max(d, 0)
		weights = weights[4*len(z):]
	}
}

func (l *reluLayer) describe(f *Formula, z int) int {
	width := len(l.weights) / reluUnits
	weights := make([]float64, 0, len(l.weights))
	for i := range width {
		for k := range reluUnits {
			weights = append(weights, l.weights[k/4*4*width+4*i+k%4])
		}
	}
	sums := f.step(OpMatMul, z, f.constant(weights, width, reluUnits))
	return f.step(OpMax, f.step(OpAdd, sums, f.vector(l.bias[:])), f.number(0))
}
