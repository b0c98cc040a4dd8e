package sgd

import (
	"math"
	"slices"
)

// maxZ limits standardised values to ±maxZ.
const maxZ = 5

// scaler brings rows on one scale, column by column, and keeps up with columns that move. No label is involved, so a
// row updates it before it is answered.
type scaler interface {
	// advance takes in the row x, in which there may be NaN if values are missing, and stores its two forms in to (see block).
	// A missing value stands at the column's mean, where z is 0, and changes nothing of the column.
	advance(to row, x []float64, missing bool)
	// apply stores the two forms of x by the scaler as it is. NaN is a missing value; of a shorter x the rest is missing, of a
	// longer one the rest counts for nothing.
	apply(to row, x []float64)
	// above returns the value one deviation above the mean of column i.
	above(i int) float64
	// describe adds to a formula how apply makes the two forms of rows x, and returns them without the constant 1 of z.
	describe(f *Formula, x int) (t, z int)
	clone() scaler
	state() []Tensor
	restore(from *Stored)
	// adopt makes the state of a fresh scaler that of another of its kind, which is of no use then, for rows with fewer columns.
	adopt(narrow scaler)
	// refused returns how many values were left out because the moments with them would not be finite.
	refused() uint64
}

// scalers holds every scaler, by name.
var scalers = map[string]func(width int) scaler{
	"robust": func(width int) scaler { return newRobustScaler(width) },
	"plain":  func(width int) scaler { return newPlainScaler(width) },
}

// unit shifts a column by its first value and scales it by the power of two that brings the first other value near 1, so
// that columns of any size keep their information: t = (x - shift)·2^-e, within ±maxT.
type unit struct {
	shift float64
	// The factor 2^-e, in two parts, as it may itself be out of range. 0: no value other than the shift was seen yet.
	scale, scale2 float64
	begun         bool // the shift is known
}

const maxT = 1e150

// fit makes the unit known from a column's first values, and reports whether it is.
func (u *unit) fit(x float64) bool {
	if u.scale != 0 {
		return true
	}
	if !u.begun {
		u.shift, u.begun = x, true
	}
	d := x - u.shift
	if d == 0 {
		return false
	}
	_, e := math.Frexp(max(min(d, math.MaxFloat64), -math.MaxFloat64))
	half := -e / 2
	u.scale, u.scale2 = math.Ldexp(1, half), math.Ldexp(1, -e-half)
	return true
}

func (u *unit) apply(x float64) float64 {
	t := float64((x - u.shift) * u.scale * u.scale2)
	if t > maxT {
		return maxT
	}
	if t < -maxT {
		return -maxT
	}
	return t
}

// units holds the units of columns, field by field.
type units struct {
	shift, scale, scale2 []float64
	begun                []uint8 // 0 or 1
}

func newUnits(width int) units {
	return units{make([]float64, width), make([]float64, width), make([]float64, width), make([]uint8, width)}
}

func (u *units) unit(i int) unit { return unit{u.shift[i], u.scale[i], u.scale2[i], u.begun[i] == 1} }

func (u *units) setUnit(i int, to unit) {
	u.shift[i], u.scale[i], u.scale2[i] = to.shift, to.scale, to.scale2
	if u.begun[i] = 0; to.begun {
		u.begun[i] = 1
	}
}

func (u *units) clone() units {
	v := copyFloats(u.shift, u.scale, u.scale2)
	return units{v[0], v[1], v[2], slices.Clone(u.begun)}
}

func (u *units) adopt(narrow *units) {
	copy(u.shift, narrow.shift)
	copy(u.scale, narrow.scale)
	copy(u.scale2, narrow.scale2)
	copy(u.begun, narrow.begun)
}

// tensors returns the units themselves as tensors, of the given shape, with room for the rest of a model.
func (u *units) tensors(shape []int) []Tensor {
	return append(make([]Tensor, 0, 16),
		Tensor{"scaler/shift", shape, u.shift},
		Tensor{"scaler/scale", shape, u.scale},
		Tensor{"scaler/scale2", shape, u.scale2},
		Tensor{"scaler/begun", shape, u.begun},
	)
}

func (u *units) restore(from *Stored) {
	load(from, "scaler/shift", u.shift)
	load(from, "scaler/scale", u.scale)
	load(from, "scaler/scale2", u.scale2)
	load(from, "scaler/begun", u.begun)
}

// bounded limits t to ±maxT. What is not a number is the mean: a missing value, or an infinite distance times a unit that is
// not known, with a mean of 0.
func bounded(t, mean float64) float64 {
	if math.IsNaN(t) {
		return mean
	}
	return clip(t, maxT)
}

// standard returns distance/deviation, limited to ±maxZ, and 0 where the deviation is 0.
func standard(distance, deviation float64) float64 {
	if deviation == 0 {
		return 0
	}
	return clip(distance/deviation, maxZ)
}

// clip limits v to ±limit.
func clip(v, limit float64) float64 {
	if v > limit {
		return limit
	}
	if v < -limit {
		return -limit
	}
	return v
}

// finite reports whether v is neither NaN nor infinite.
func finite(v float64) bool { return math.Abs(v) <= math.MaxFloat64 }
