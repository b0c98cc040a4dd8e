package susy

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestAppendFloat32AgreesWithStrconv(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	check := func(v float32) {
		t.Helper()
		got := string(appendFloat32(nil, v))
		if want := strconv.FormatFloat(float64(v), 'e', precision, 64); got != want {
			t.Fatalf("bits %#x: %s, want %s", math.Float32bits(v), got, want)
		}
	}
	for _, v := range []float32{0, float32(math.Copysign(0, -1)), 1, 0.5, math.MaxFloat32, math.SmallestNonzeroFloat32} {
		check(v)
	}
	for exp := -12; exp <= 20; exp++ { // around the powers of ten, and around those of two
		for _, v := range []float32{float32(math.Pow10(exp)), float32(math.Ldexp(1, 3*exp))} {
			check(math.Nextafter32(v, 0))
			check(v)
			check(math.Nextafter32(v, math.MaxFloat32))
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		check(float32(random.NormFloat64() * math.Pow(10, 30*random.Float64()-12)))
		if v := math.Float32frombits(random.Uint32()); v == v {
			check(v)
		}
	}
}

func TestCSVRoundTrip(t *testing.T) {
	const seed = 2
	t.Logf("seed %d", seed)
	g := NewGenerator(seed)
	var x [Features]float64
	var line []byte
	for range 10_000 {
		label := g.Next(&x)
		line = AppendCSV(line[:0], label, &x)
		fields := strings.Split(string(line), ",")
		if len(fields) != len(Columns) {
			t.Fatalf("%d fields in %s", len(fields), line)
		}
		if want := strconv.Itoa(label) + ".000000000000000000e+00"; fields[0] != want {
			t.Fatalf("label %s, want %s", fields[0], want)
		}
		for i, want := range x {
			if got, err := strconv.ParseFloat(fields[i+1], 64); err != nil || got != want {
				t.Fatalf("%s: wrote %v, read %v (%v)", Columns[i+1], want, got, err)
			}
		}
	}
}

// Lines of the UCI file, read and written again, must be the same bytes.
func TestCSVStyleOfRealRows(t *testing.T) {
	for _, row := range realRows(t) {
		if got := string(AppendCSV(nil, row.label, &row.x)); got != row.line {
			t.Fatalf("wrote %s\n want %s", got, row.line)
		}
	}
}

func BenchmarkAppendCSV(b *testing.B) {
	g := NewGenerator(1)
	var x [Features]float64
	label := g.Next(&x)
	line := AppendCSV(nil, label, &x)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		line = AppendCSV(line[:0], label, &x)
	}
}
