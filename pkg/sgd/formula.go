package sgd

import (
	"fmt"
	"slices"
)

// Formula says how a model answers for rows, as steps on tensors: all that another program needs to answer as it does, but
// for rounding.
//
// Numbers are float64 where no step makes them float32, places are int64 and count from 0. Operands of different shapes are
// stretched as NumPy does: a dimension that is missing in front, or of length 1, repeats.
type Formula struct {
	Width  int    // of a row
	Sparse int    // sparse features that count; 0: no step needs them
	Steps  []Step // each behind those that it needs; the last gives the probabilities of class 1, rows × 1

	sparse int // the step OpSparse
}

// Step is an operation on the results of earlier steps.
type Step struct {
	Op    Op
	Of    []int  // its operands: numbers of steps
	Value Tensor // of OpConstant: float64, float32, or int64
}

// Op is what a step does.
type Op string

// The operations. The values of rows are finite, or NaN where they are missing.
const (
	OpRows     Op = "rows"     // the rows to answer for, rows × Width
	OpSparse   Op = "sparse"   // rows × Sparse: 1 where a row has a sparse feature, 0 elsewhere
	OpConstant Op = "constant" // the step's value
	OpAdd      Op = "add"
	OpSub      Op = "sub"
	OpMul      Op = "mul"
	OpDiv      Op = "div"
	OpMin      Op = "min" // the lesser of two, value by value
	OpMax      Op = "max"
	OpAbs      Op = "abs"
	OpExp      Op = "exp"
	OpLog      Op = "log" // natural
	OpMatMul   Op = "matmul"
	OpSum      Op = "sum"     // over the last dimension, which it takes away
	OpJoin     Op = "join"    // any number of operands, along the last dimension
	OpGreater  Op = "greater" // a > b, for OpSelect
	OpNaN      Op = "nan"     // whether a value is not a number, such as a missing one or the difference of infinite ones, for OpSelect
	OpSelect   Op = "select"  // condition, a, b: a where the condition holds, b elsewhere
	OpColumns  Op = "columns" // of a matrix, at constant places: each row is what the row has there, in their shape
	OpPick     Op = "pick"    // of a matrix, in each row what it has at the places of the same row of a second matrix
	OpTake     Op = "take"    // of a constant table, the entries at places, along its first dimension
	OpLeast    Op = "least"   // of a matrix, in each row the places of the k least, least first, the earlier of equals first; k is a constant
	OpFloat32  Op = "float32" // rounded to float32
	OpFloat64  Op = "float64"
)

// Describe returns the formula of a model's copy that [Model.Snapshot] made.
func Describe(p Predictor) (*Formula, error) {
	s, ok := p.(*snapshot)
	if !ok {
		return nil, fmt.Errorf("a model of type %T has no formula", p)
	}
	f := &Formula{Width: s.width}
	t, z := s.scaler.describe(f, f.step(OpRows))
	for _, e := range s.experts {
		f.Sparse = max(f.Sparse, e.known())
	}
	if f.Sparse > 0 {
		f.sparse = f.step(OpSparse)
	}
	margins := make([]int, len(s.experts))
	for i, e := range s.experts {
		margins[i] = e.describe(f, t, z)
	}
	if s.mixer != nil {
		s.mixer.describe(f, f.step(OpJoin, margins...))
	} else {
		f.sigmoid(margins[0])
	}
	return f, nil
}

// step appends a step and returns its number, as all other methods do.
func (f *Formula) step(op Op, of ...int) int {
	f.Steps = append(f.Steps, Step{Op: op, Of: of})
	return len(f.Steps) - 1
}

// constant appends a constant that keeps data.
func (f *Formula) constant(data any, shape ...int) int {
	f.Steps = append(f.Steps, Step{Op: OpConstant, Value: Tensor{Shape: append([]int{}, shape...), Data: data}})
	return len(f.Steps) - 1
}

func (f *Formula) number(v float64) int { return f.constant([]float64{v}) }

func (f *Formula) vector(values []float64) int { return f.constant(slices.Clone(values), len(values)) }

// places appends constant places, in the shape of a vector where none is given.
func (f *Formula) places(places []int, shape ...int) int {
	values := make([]int64, len(places))
	for i, place := range places {
		values[i] = int64(place)
	}
	if len(shape) == 0 {
		shape = []int{len(places)}
	}
	return f.constant(values, shape...)
}

// limit limits v to [low, high].
func (f *Formula) limit(v int, low, high float64) int {
	return f.step(OpMin, f.step(OpMax, v, f.number(low)), f.number(high))
}

// clip is the function clip.
func (f *Formula) clip(v int, limit float64) int { return f.limit(v, -limit, limit) }

// sigmoid is the function sigmoid.
func (f *Formula) sigmoid(margin int) int {
	one := f.number(1)
	e := f.step(OpExp, f.step(OpSub, f.number(0), f.clip(margin, 30)))
	return f.step(OpDiv, one, f.step(OpAdd, one, e))
}

// odds returns ln(p/(1-p)).
func (f *Formula) odds(p int) int {
	return f.step(OpLog, f.step(OpDiv, p, f.step(OpSub, f.number(1), p)))
}

// column appends a constant matrix of one column.
func (f *Formula) column(values []float64) int {
	return f.constant(slices.Clone(values), len(values), 1)
}

// linear returns what linear units make of vectors: weights has those of one unit after the other, that of the constant 1, which
// the vectors lack, first.
func (f *Formula) linear(vectors int, weights []float64, units int) int {
	n := len(weights) / units
	bias, matrix := make([]float64, units), make([]float64, 0, len(weights)-units)
	for u := range units {
		bias[u] = weights[u*n]
	}
	for i := 1; i < n; i++ {
		for u := range units {
			matrix = append(matrix, weights[u*n+i])
		}
	}
	return f.step(OpAdd, f.step(OpMatMul, vectors, f.constant(matrix, n-1, units)), f.vector(bias))
}

// standard is the function standard, column by column.
func (f *Formula) standard(distance int, deviation []float64) int {
	divisor, alive := make([]float64, len(deviation)), make([]float64, len(deviation))
	for i, d := range deviation {
		divisor[i] = 1
		if d != 0 {
			divisor[i], alive[i] = d, 1
		}
	}
	return f.step(OpMul, f.clip(f.step(OpDiv, distance, f.vector(divisor)), maxZ), f.vector(alive))
}
