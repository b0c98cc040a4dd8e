package record

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var printed = regexp.MustCompile(`^-?[0-9]\.[0-9]{18}e[+-][0-9]{2}$`)

// checkScientific holds scientific, plainScientific, and strconv together on a line, for dst with room for so many
// numbers.
func checkScientific(t *testing.T, line []byte, room int) {
	t.Helper()
	var want []float64
	size := 0
	for rest, at := string(line), 0; len(want) < room; {
		text, behind, more := strings.Cut(rest, ",")
		v, err := strconv.ParseFloat(text, 64)
		if !printed.MatchString(text) || err != nil {
			break
		}
		if exp, err := strconv.Atoi(text[len(text)-3:]); err != nil || exp > maxScientific {
			break
		}
		want, size = append(want, v), at+len(text)
		if rest, at = behind, size+1; !more {
			break
		}
	}
	for name, read := range map[string]func([]float64, []byte) (int, int){"scientific": scientific, "plainScientific": plainScientific} {
		dst := make([]float64, room+1)
		n, got := read(dst[:room], line)
		if n != len(want) || got != size || dst[n] != 0 {
			t.Fatalf("%s(%q), room for %d: %d numbers in %d bytes, want %d in %d; behind them %v", name, line, room, n, got, len(want), size, dst[n])
		}
		for i, v := range want {
			if math.Float64bits(dst[i]) != math.Float64bits(v) {
				t.Fatalf("%s(%q): number %d is %x, strconv has %x", name, line, i, math.Float64bits(dst[i]), math.Float64bits(v))
			}
		}
	}
}

var scientificSeeds = []string{
	"", ",", "-", "1", "0.000000000000000000e+00", "-0.000000000000000000e+00,1.000000000000000000e+00",
	"9.728614687919616699e-01,-1.739873170852661133e+00,", "9.999999999999999999e-99,9.999999999999999999e+13,1.0e+00",
	"1.000000000000000000e+14", "5.000000000000000001e-324", "0.000000000000000001e-99,0.000000000000000000e+99",
	"+1.000000000000000000e+00", "1.000000000000000000E+00", "1.000000000000000000e+000", "1.000000000000000000e,00",
	"1.00000000000000000/e+00", "1.0000000:0000000000e+00", ":.000000000000000000e+00", "1,000000000000000000e+00",
	"1.000000000000000000e+00 ,1.000000000000000000e+00", "--1.000000000000000000e+00", "9007199254740993.5",
	"9.007199254740992500e-03,9.007199254740993500e+00,4.503599627370496500e+13,1.797693134862315807e-90",
}

func TestScientific(t *testing.T) {
	for _, line := range scientificSeeds {
		for room := range 4 {
			checkScientific(t, []byte(line), room)
		}
		for i := range line { // every byte changed in every way
			changed := []byte(line)
			for c := range 256 {
				changed[i] = byte(c)
				checkScientific(t, changed, 3)
			}
		}
	}
}

func TestScientificRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 20_000 {
		var line []byte
		for range 1 + rng.IntN(20) {
			v := rng.NormFloat64() * math.Pow(10, float64(rng.IntN(60)-45)*float64(rng.IntN(2)))
			switch rng.IntN(3) {
			case 0:
				v = float64(float32(v))
			case 1: // any digits
				line = fmt.Appendf(line, "%d.%018de%+03d,", rng.IntN(10), rng.Uint64N(1e18), rng.IntN(112)-98)
				continue
			}
			line = append(strconv.AppendFloat(line, v, 'e', 18, 64), ',')
		}
		if rng.IntN(2) == 0 {
			line = line[:len(line)-1]
		}
		if rng.IntN(4) == 0 {
			line[rng.IntN(len(line))] = "0123456789.,e+-E "[rng.IntN(17)]
		}
		checkScientific(t, line, 1+rng.IntN(24))
	}
}

func FuzzScientific(f *testing.F) {
	for _, line := range scientificSeeds {
		f.Add([]byte(line), uint8(3))
	}
	f.Fuzz(func(t *testing.T, line []byte, room uint8) { checkScientific(t, line, int(room)) })
}

// BenchmarkScientific reads the 19 numbers of a line of SUSY data in one operation.
func BenchmarkScientific(b *testing.B) {
	size, lines := susyLines(1024)
	for _, way := range []struct {
		name string
		read func([]float64, []byte) (int, int)
	}{{"fast", scientific}, {"plain", plainScientific}} {
		b.Run(way.name, func(b *testing.B) {
			var dst [19]float64
			b.SetBytes(int64(size / len(lines)))
			for i := 0; b.Loop(); i++ {
				if n, _ := way.read(dst[:], lines[i%len(lines)]); n != len(dst) {
					b.Fatal(n)
				}
			}
		})
	}
}
