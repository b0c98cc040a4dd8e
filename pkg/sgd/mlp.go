package sgd

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"learner/internal/portable"
)

// network is a multilayer perceptron with rectified hidden units (ReLU) and one output, the log-odds. A layer takes inputs
// (1, x) and has a row of weights for each of its units, that of the constant, the bias, first.
type network struct {
	hidden  []int     // units of each hidden layer
	weights []float64 // layer by layer, unit by unit
}

// newNetwork returns a network for z, the constant 1 among it, of the given length. Weights begin as random numbers of
// variance 2/inputs (He, Zhang, Ren, Sun, ICCV 2015), those of the output a tenth of that.
func newNetwork(inputs int, hidden []int, seed uint64) network {
	n := network{hidden: hidden}
	for l := range len(hidden) + 1 {
		units, scale := 1, 0.1
		if l < len(hidden) {
			units, scale = hidden[l], 1
		}
		scale *= math.Sqrt(2 / float64(inputs))
		r := newRandom(seed, fmt.Sprintf("mlp layer %d", l))
		layer := make([]float64, units*inputs)
		for i := range inputs { // by input, so that one more leaves the others' weights as they are, but for their size
			for u := range units {
				layer[u*inputs+i] = float64(scale * r.normal())
			}
		}
		n.weights = append(n.weights, layer...)
		inputs = 1 + units
	}
	return n
}

// room returns how much memory forward needs.
func (n *network) room() int {
	sum := 0
	for _, units := range n.hidden {
		sum += 1 + units
	}
	return sum
}

// forward returns the log-odds of z, limited to ±30, and stores what the hidden layers hand on, the constant 1 of each
// among it, in values, layer by layer.
func (n *network) forward(z, values []float64) float64 {
	x, w := z, n.weights
	for _, units := range n.hidden {
		next := values[:1+units]
		next[0] = 1
		rectified(next[1:], w, x)
		x, w, values = next, w[units*len(x):], values[1+units:]
	}
	return limit(dot(0, w, x))
}

// rectified stores max(0, w·x) for each row w of weights in dst. Every sum has the order of x; four of them run side by
// side.
func rectified(dst, weights, x []float64) {
	n := len(x)
	i := 0
	for ; i+4 <= len(dst); i += 4 {
		four := weights[i*n:][:4*n]
		w0, w1, w2, w3 := four[:n], four[n:][:n], four[2*n:][:n], four[3*n:][:n]
		var s0, s1, s2, s3 float64
		for j, v := range x {
			s0 += float64(w0[j] * v)
			s1 += float64(w1[j] * v)
			s2 += float64(w2[j] * v)
			s3 += float64(w3[j] * v)
		}
		four = dst[i:][:4]
		four[0], four[1], four[2], four[3] = positive(s0), positive(s1), positive(s2), positive(s3)
	}
	for ; i < len(dst); i++ {
		dst[i] = positive(dot(0, weights[i*n:][:n], x))
	}
}

// positive returns v, or 0 where it is not above that.
func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return 0
}

// mlp is the expert that learns a network by its log loss: backpropagation, with a step after every record or after every
// batch of them. A batch counts the records that the model learned, however they came in.
type mlp struct {
	network
	values    []float64 // of the hidden layers
	layers    []mlpLayer
	optimizer mlpOptimizer
	batch     uint64

	// The batch in hand. Of no use with AdaGrad and a step for every record, which goes without (see stepAtOnce).
	gradient   []float64 // sums of importance × gradient, as weights
	importance float64   // sum
	rows       uint64    // fewer than batch

	moved   float64 // length of the last step
	refused uint64
}

// mlpLayer is what backpropagation needs of a layer.
type mlpLayer struct {
	from   int       // the layer's first weight
	inputs int       // with the constant
	x      []float64 // inputs (1, x) of the row in hand
	live   []int     // the places in x that are not 0; room for all
	delta  []float64 // derivative of the loss by the sum of each unit; a place without meaning comes first
	above  []int     // units whose derivative may differ from 0, counted from 1
}

func newMLP(inputs int, hidden []int, batch int, makeOptimizer func(weights int) mlpOptimizer, seed uint64) *mlp {
	m := &mlp{network: newNetwork(inputs, hidden, seed), batch: uint64(batch)}
	m.values = make([]float64, m.room())
	m.optimizer = makeOptimizer(len(m.weights))
	if _, adagrad := m.optimizer.(*mlpAdaGrad); !adagrad || batch > 1 {
		m.gradient = make([]float64, len(m.weights))
	}
	from, values := 0, m.values
	for _, units := range append(slices.Clone(hidden), 1) {
		layer := mlpLayer{from: from, inputs: inputs, live: make([]int, inputs), delta: make([]float64, 1+units)}
		if from > 0 {
			layer.x, values = values[:inputs], values[inputs:]
		}
		m.layers = append(m.layers, layer)
		from += units * inputs
		inputs = 1 + units
	}
	m.layers[len(hidden)].above = []int{1}
	return m
}

func (m *mlp) learn(b *block, margin []float64) {
	for i := range margin {
		margin[i] = m.step(b.row(i).z, b.y[i], b.c[i])
	}
}

// maxCurvature limits importance × gradient² of a record. A record above it, which has to come from a network that has run
// away, is refused: sums of 2^64 records below it are finite, and so are the weights.
const maxCurvature = 1e280

// step returns the log-odds of z and then learns z.
func (m *mlp) step(z []float64, label, c float64) float64 {
	margin := m.forward(z, m.values)
	if c == 0 {
		return margin
	}
	size := m.backward(z, sigmoid(margin)-label)
	if curvature := float64(c * max(1, float64(size*size))); !(curvature <= maxCurvature) {
		m.refused++
		m.moved = 0
		return margin
	}
	if m.gradient == nil {
		m.moved = m.stepAtOnce(c)
		return margin
	}
	m.collect(c)
	m.importance += c
	m.rows++
	if m.rows == m.batch {
		for i := range m.gradient {
			m.gradient[i] /= m.importance
		}
		m.moved = m.optimizer.step(m.weights, m.gradient, m.importance/float64(m.batch))
		clear(m.gradient)
		m.importance, m.rows = 0, 0
	}
	return margin
}

// backward finds the derivatives of the loss, given that by the log-odds, and what is not 0 among the values. It returns a
// number that no derivative by a weight exceeds.
func (m *mlp) backward(z []float64, gradient float64) (size float64) {
	m.layers[0].x = z
	for l := range m.layers {
		layer := &m.layers[l]
		layer.live = nonzero(layer.live, layer.x)
		if l > 0 {
			m.layers[l-1].above = layer.live[1:]
		}
	}
	last := len(m.layers) - 1
	m.layers[last].delta[1] = gradient
	for l := last; l >= 0; l-- {
		layer := &m.layers[l]
		if l > 0 {
			m.propagate(layer, m.layers[l-1].delta)
		}
		var deltas, values float64
		for _, i := range layer.above {
			deltas += math.Abs(layer.delta[i])
		}
		for _, j := range layer.live {
			values += math.Abs(layer.x[j])
		}
		size = max(size, float64(deltas*values))
	}
	return size
}

// nonzero stores the places of x that are not 0 in places, which has room for all.
func nonzero(places []int, x []float64) []int {
	places = places[:len(x)]
	n := 0
	for j, v := range x {
		places[n] = j
		if v != 0 {
			n++
		}
	}
	return places[:n]
}

// propagate stores the derivatives by the layer's live inputs in below, and 0 for the others.
func (m *mlp) propagate(layer *mlpLayer, below []float64) {
	clear(below)
	n := len(layer.x)
	for _, i := range layer.above {
		d, w := layer.delta[i], m.weights[layer.from+(i-1)*n:][:n]
		for _, j := range layer.live {
			below[j] += float64(d * w[j])
		}
	}
}

// collect adds the row in hand to the batch's gradient.
func (m *mlp) collect(c float64) {
	for l := range m.layers {
		layer := &m.layers[l]
		x, n := layer.x, len(layer.x)
		for _, i := range layer.above {
			d, sums := float64(c*layer.delta[i]), m.gradient[layer.from+(i-1)*n:][:n]
			for _, j := range layer.live {
				sums[j] += float64(d * x[j])
			}
		}
	}
}

// stepAtOnce takes the step of mlpAdaGrad on the row in hand without the way over m.gradient. Most of a step's cost is a
// root and a quotient for each weight, and a derivative of 0 has no need of them.
func (m *mlp) stepAtOnce(c float64) (moved float64) {
	o := m.optimizer.(*mlpAdaGrad)
	rate := float64(o.rate * c)
	for l := range m.layers {
		layer := &m.layers[l]
		n := len(layer.x)
		x := layer.x[:n]
		for _, i := range layer.above {
			d := layer.delta[i]
			from := layer.from + (i-1)*n
			w, squares := m.weights[from:][:n], o.squares[from:][:n]
			for _, j := range layer.live {
				g := float64(d * x[j])
				s := squares[j] + float64(c*float64(g*g))
				squares[j] = s
				change := float64(rate*g) / math.Sqrt(s+mlpEpsilon)
				w[j] -= change
				moved += float64(change * change)
			}
		}
	}
	return math.Sqrt(moved)
}

// adopt keeps what was learned of the old columns. The new ones' weights are those that were drawn for them.
func (m *mlp) adopt(narrow expert) {
	old := narrow.(*mlp)
	units, inputs, wide := m.hidden[0], old.inputs(), m.inputs()
	move := func(to, from []float64) {
		if len(from) == 0 {
			return
		}
		for u := range units {
			copy(to[u*wide:], from[u*inputs:(u+1)*inputs])
		}
		copy(to[units*wide:], from[units*inputs:])
	}
	move(m.weights, old.weights)
	move(m.gradient, old.gradient)
	m.optimizer.adopt(old.optimizer, move)
	m.importance, m.rows, m.refused = old.importance, old.rows, old.refused
}

func (m *mlp) freeze() frozen {
	return &frozenMLP{network{m.hidden, slices.Clone(m.weights)}}
}

func (m *mlp) state() []Tensor {
	tensors := append([]Tensor{vector("weights", m.weights), scalar("nonfinite", m.refused)}, m.optimizer.state()...)
	if m.batch > 1 {
		tensors = append(tensors, vector("batch/gradient", m.gradient), scalar("batch/importance", m.importance),
			scalar("batch/rows", m.rows))
	}
	return tensors
}

func (m *mlp) restore(from *Stored) {
	load(from, "weights", m.weights)
	LoadScalar(from, "nonfinite", &m.refused)
	m.optimizer.restore(from)
	if m.batch > 1 {
		load(from, "batch/gradient", m.gradient)
		LoadScalar(from, "batch/importance", &m.importance)
		LoadScalar(from, "batch/rows", &m.rows)
		if m.rows >= m.batch {
			from.Fault("tensor %sbatch/rows holds %d, want less than %d", from.prefix, m.rows, m.batch)
		}
		if !(m.importance >= 0 && finite(m.importance)) {
			from.Fault("tensor %sbatch/importance holds %g, want a number from 0", from.prefix, m.importance)
		}
	}
}

func (m *mlp) stats() Stats {
	var sum float64
	for _, layer := range m.layers {
		for i := range len(layer.delta) - 1 {
			w := m.weights[layer.from+i*layer.inputs:][1:layer.inputs]
			sum = dot(sum, w, w)
		}
	}
	return Stats{LearningRate: m.optimizer.learningRate(), WeightNorm: math.Sqrt(sum), UpdateNorm: m.moved, NonFinite: m.refused}
}

type frozenMLP struct{ network }

func (f *frozenMLP) margin(r row, _ []int32, scratch []float64) float64 {
	return f.forward(r.z, scratch)
}
func (f *frozenMLP) scratch() int { return f.room() }
func (f *frozenMLP) known() int   { return 0 }

func (f *frozenMLP) describe(to *Formula, _, z int) int {
	x, inputs := z, f.inputs()
	w := f.weights
	for _, units := range f.hidden {
		x = to.step(OpMax, to.linear(x, w[:units*inputs], units), to.number(0))
		w, inputs = w[units*inputs:], 1+units
	}
	return to.clip(to.linear(x, w, 1), 30)
}

// inputs returns how long z is.
func (n *network) inputs() int {
	weights := len(n.weights) - 1 - n.hidden[len(n.hidden)-1] // without those of the output
	for l, units := range n.hidden[1:] {
		weights -= units * (1 + n.hidden[l])
	}
	return weights / n.hidden[0]
}

// mlpOptimizer decides how far a gradient moves the weights.
type mlpOptimizer interface {
	// step moves weights by the mean gradient of a batch, and returns how far. The amount is the importance of the batch
	// in units of one whose records count once.
	step(weights, gradient []float64, amount float64) (moved float64)
	learningRate() float64
	state() []Tensor
	restore(from *Stored)
	// adopt takes over the state of an optimizer of the same kind. What is kept for each weight is moved to where it belongs.
	adopt(narrow mlpOptimizer, move func(to, from []float64))
}

const mlpEpsilon = 1e-8

// mlpAdaGrad is AdaGrad, diagonal form (Duchi, Hazan, Singer, JMLR 12, 2011), for a gradient g of amount a:
//
//	G += a·g², w -= rate·a·g/√(G + 1e-8)
type mlpAdaGrad struct {
	rate    float64
	squares []float64 // G
}

func (o *mlpAdaGrad) step(weights, gradient []float64, amount float64) (moved float64) {
	rate := float64(o.rate * amount)
	squares, gradient := o.squares[:len(weights)], gradient[:len(weights)]
	for i := range weights {
		g := gradient[i]
		s := squares[i] + float64(amount*float64(g*g))
		squares[i] = s
		change := float64(rate*g) / math.Sqrt(s+mlpEpsilon)
		weights[i] -= change
		moved += float64(change * change)
	}
	return math.Sqrt(moved)
}

func (o *mlpAdaGrad) learningRate() float64 { return o.rate }
func (o *mlpAdaGrad) state() []Tensor       { return []Tensor{vector("adagrad/squares", o.squares)} }
func (o *mlpAdaGrad) restore(from *Stored)  { load(from, "adagrad/squares", o.squares) }

func (o *mlpAdaGrad) adopt(narrow mlpOptimizer, move func(to, from []float64)) {
	move(o.squares, narrow.(*mlpAdaGrad).squares)
}

// mlpAdam is Adam, in the form of adam, for a gradient g of amount a, with t the sum of amounts:
//
//	m ← β1^a·m + (1-β1^a)·g, s ← β2^a·s + (1-β2^a)·g², w -= a·rate·√(1-β2^t)/(1-β1^t)/(√s + 1e-8)·m
type mlpAdam struct {
	rate          float64
	mean, squares []float64 // m, s
	t             float64
}

// faded is a mean that no step feels. It becomes 0: those of units at rest would come to numbers below 2^-1022, with which a
// CPU is many times slower.
const faded = 1e-200

func (o *mlpAdam) step(weights, gradient []float64, amount float64) (moved float64) {
	o.t += amount
	rest := 1 - portable.Exp(o.t*logBeta1)
	if rest == 0 {
		return 0 // so small an amount that the means would not feel it
	}
	keep1, keep2 := portable.Exp(amount*logBeta1), portable.Exp(amount*logBeta2)
	add1, add2 := 1-keep1, 1-keep2
	rate := float64(o.rate*amount) * math.Sqrt(1-portable.Exp(o.t*logBeta2)) / rest
	mean, squares, gradient := o.mean[:len(weights)], o.squares[:len(weights)], gradient[:len(weights)]
	for i := range weights {
		g := gradient[i]
		m := float64(keep1*mean[i]) + float64(add1*g)
		s := float64(keep2*squares[i]) + float64(add2*float64(g*g))
		if math.Abs(m) < faded {
			m = 0
		}
		if s < faded {
			s = 0
		}
		mean[i], squares[i] = m, s
		change := float64(rate / (math.Sqrt(s) + mlpEpsilon) * m)
		weights[i] -= change
		moved += float64(change * change)
	}
	return math.Sqrt(moved)
}

func (o *mlpAdam) learningRate() float64 { return o.rate }

func (o *mlpAdam) state() []Tensor {
	return []Tensor{
		vector("adam/mean", o.mean), vector("adam/squares", o.squares), scalar("adam/seen", o.t),
	}
}

func (o *mlpAdam) restore(from *Stored) {
	load(from, "adam/mean", o.mean)
	load(from, "adam/squares", o.squares)
	LoadScalar(from, "adam/seen", &o.t)
}

func (o *mlpAdam) adopt(narrow mlpOptimizer, move func(to, from []float64)) {
	old := narrow.(*mlpAdam)
	move(o.mean, old.mean)
	move(o.squares, old.squares)
	o.t = old.t
}

const (
	maxUnits   = 4096    // of a hidden layer
	maxBetween = 1 << 24 // weights between hidden layers
	maxBatch   = 1 << 20
)

// mlpOptions reads the options of the kind mlp: hidden, the units of each hidden layer with x between; optimizer and rate;
// and batch, how many records make a step.
func mlpOptions(o *options) expertBuilder {
	hidden := hiddenLayers(o, []int{32, 16})
	name := o.choice("optimizer", "adagrad", []string{"adagrad", "adam"})
	rate := o.positive("rate", map[string]float64{"adagrad": 0.1, "adam": 0.001}[name], maxRate)
	batch := o.whole("batch", 1, maxBatch)
	makeOptimizer := func(weights int) mlpOptimizer {
		if name == "adam" {
			return &mlpAdam{rate: rate, mean: make([]float64, weights), squares: make([]float64, weights)}
		}
		return &mlpAdaGrad{rate: rate, squares: make([]float64, weights)}
	}
	return func(width int, seed uint64) expert { return newMLP(1+width, hidden, batch, makeOptimizer, seed) }
}

// hiddenLayers reads the option hidden, such as 32x16.
func hiddenLayers(o *options, fallback []int) []int {
	text, given := o.get("hidden")
	if !given {
		return fallback
	}
	var hidden []int
	between := 0
	for size := range strings.SplitSeq(text, "x") {
		units, err := strconv.Atoi(size)
		if err != nil || units < 1 || units > maxUnits {
			o.fault("option hidden=%q is no list of whole numbers from 1 to %d with x between", text, maxUnits)
			return fallback
		}
		if len(hidden) > 0 {
			between += hidden[len(hidden)-1] * units
		}
		hidden = append(hidden, units)
	}
	if between > maxBetween {
		o.fault("option hidden=%q asks for %d weights between the layers, the limit is %d", text, between, maxBetween)
	}
	return hidden
}
