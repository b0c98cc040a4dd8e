package sgd

import "math"

// describe returns the shifted and scaled form of columns x. A column without a unit is 0 in it.
func (u *units) describe(f *Formula, x int) (t int) {
	shift := make([]float64, len(u.shift))
	for i, v := range u.shift {
		if u.scale[i] != 0 { // else the way to 0 is not over a difference that may be infinite
			shift[i] = v
		}
	}
	d := f.step(OpSub, x, f.vector(shift))
	return f.clip(f.step(OpMul, f.step(OpMul, d, f.vector(u.scale)), f.vector(u.scale2)), maxT)
}

func (s *robustScaler) describe(f *Formula, x int) (t, z int) {
	t = f.step(OpSelect, f.step(OpNaN, x), f.vector(s.mean), s.units.describe(f, x))
	d := f.step(OpSub, t, f.vector(s.mean))
	farthest := make([]float64, len(s.mean)) // distance beyond which z is 0
	for i, deviation := range s.deviation {
		switch reach := s.reach[i]; {
		case deviation == 0 || s.twins > 0 && s.twin[i] >= 0:
			farthest[i] = -1
		case reach > 0:
			farthest[i] = max(float64(robustFault*reach), float64(robustFault*deviation))
		default:
			farthest[i] = math.MaxFloat64
		}
	}
	none := f.step(OpGreater, f.step(OpAbs, d), f.vector(farthest))
	return t, f.step(OpSelect, none, f.number(0), f.standard(d, s.deviation))
}

func (s *plainScaler) describe(f *Formula, x int) (t, z int) {
	x = f.step(OpSelect, f.step(OpNaN, x), f.vector(s.mean), x)
	return s.units.describe(f, x), s.moments.describe(f, x)
}

func (m *moments) describe(f *Formula, x int) (z int) {
	return f.standard(f.step(OpSub, x, f.vector(m.mean)), m.deviation)
}
