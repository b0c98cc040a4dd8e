package record

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// plainFloat is parseFloat on all of s, by strconv.
func plainFloat(s string) (v float64, ok bool) {
	if !decimal.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil || math.IsInf(v, 0)
}

// checkFloat holds parseFloat and plainFloat together on s, alone and in the middle of a line.
func checkFloat(t *testing.T, s string) {
	t.Helper()
	checkDecimals(t, s)
	want, wantOK := plainFloat(s)
	for _, around := range [][2]string{{"", ""}, {"7", ""}, {"", ",12345678"}, {"7", " 1.2345678e9,1.0"}} {
		line, at := around[0]+s+around[1], len(around[0])
		got, next, ok := parseFloat([]byte(line), at)
		ok = ok && next == at+len(s)
		if ok != wantOK {
			t.Fatalf("parseFloat(%q, %d): next %d, ok %v, want ok %v", line, at, next, ok, wantOK)
		}
		if ok && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("parseFloat(%q, %d) = %x, strconv has %x", line, at, math.Float64bits(got), math.Float64bits(want))
		}
	}
}

var short = regexp.MustCompile(`^-?[0-9]\.[0-9]{1,18}$`)

// checkDecimals holds decimals and parseFloat together on s, at the end of a line and before it.
func checkDecimals(t *testing.T, s string) {
	t.Helper()
	for _, line := range []string{s, s + ",12345678", s + ","} {
		var got [1]float64
		n, size := decimals(got[:], []byte(line))
		if short.MatchString(s) && len(line) >= 8 && n == 0 {
			t.Fatalf("decimals(%q): nothing", line)
		}
		if n == 0 {
			continue
		}
		want, next, ok := parseFloat([]byte(line), 0)
		if !ok || next != size || size < len(line) && line[size] != ',' || math.Float64bits(got[0]) != math.Float64bits(want) {
			t.Fatalf("decimals(%q) = %v in %d bytes, parseFloat has %v in %d, %v", line, got[0], size, want, next, ok)
		}
	}
}

var floatSeeds = []string{
	"0", "-0", "1", "+1", "1.", ".5", ".", "", "-", "+.e1", "1e", "1e+", "1e5", "1E-5", "1e0", "0.0", "0.000000000000000000e+00",
	"1.000000000000000000e+00", "9.728614687919616699e-01", "-1.739873170852661133e+00", "12345678", "123456789012345678",
	"9999999999999999999", "18446744073709551615", "18446744073709551616", "99999999999999999999",
	"0.00000000000000000000000000000012345678901234567890", "1234567890123456789012345678901234567890", "00000000000000000000001",
	"9007199254740993", "9007199254740993.0", "9007199254740992.5", "9007199254740993.00000000000000000000000000000001",
	"1.00000000000000011102230246251565404236316680908203125", "1.00000000000000011102230246251565404236316680908203124",
	"1.00000000000000011102230246251565404236316680908203126", "8.5e22", "1e22", "1e23", "9007199254740991e22", "9007199254740992e22",
	"1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e308", "1e309", "-1e400", "1e99999", "1e999999999999",
	"2.2250738585072014e-308", "2.2250738585072011e-308", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-400",
	"0e400", "0x1p-2", "1_000", "nan", "inf", "Infinity", "1e1.5", "1,5", "1 ", " 1", "12345678:", "1234567/", "1.2345678\xff", "1.1234567é",
}

func TestParseFloatIsStrconv(t *testing.T) {
	for _, s := range floatSeeds {
		checkFloat(t, s)
	}
	// Every power of ten with the shortest, the longest, and a middling mantissa.
	for q := -420; q <= 400; q++ {
		for _, m := range []string{"1", "9007199254740993", "9999999999999999999", "18446744073709551615"} {
			checkFloat(t, m+"e"+strconv.Itoa(q))
		}
	}
}

func TestParseFloatRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 30_000 {
		f := math.Float64frombits(rng.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		denormal := math.Float64frombits(rng.Uint64() >> (12 + rng.IntN(52)))
		checkFloat(t, strconv.FormatFloat(f, 'g', -1, 64))
		checkFloat(t, strconv.FormatFloat(denormal, 'e', 18, 64))
		checkFloat(t, strconv.FormatFloat(3*rng.NormFloat64(), 'f', rng.IntN(21), 64))
		checkFloat(t, strconv.FormatFloat(rng.NormFloat64(), 'e', 18, 64))
		checkFloat(t, strconv.FormatFloat(float64(float32(rng.NormFloat64())), 'f', rng.IntN(25), 64))
		checkFloat(t, fmt.Sprintf("%d.%0*de%d", rng.Uint64()>>rng.IntN(64), rng.IntN(25), rng.Uint64()>>rng.IntN(64), rng.IntN(700)-350))
	}
	// Numbers halfway between two neighbours, in full and with one digit changed, have the hardest rounding.
	for range 3_000 {
		bits := rng.Uint64() >> 1
		if rng.IntN(2) == 0 {
			bits = math.Float64bits(math.Ldexp(1+rng.Float64(), rng.IntN(140)-70))
		}
		f := math.Float64frombits(bits)
		if math.IsNaN(f) || math.IsInf(f, 0) || f == math.MaxFloat64 {
			continue
		}
		sum := new(big.Float).SetPrec(2000).SetFloat64(f)
		sum.Add(sum, new(big.Float).SetFloat64(math.Nextafter(f, math.Inf(1))))
		half := sum.Quo(sum, big.NewFloat(2))
		exact := half.Text('e', 1100)
		mantissa, exp, _ := strings.Cut(exact, "e")
		mantissa = strings.TrimRight(mantissa, "0")
		checkFloat(t, mantissa+"e"+exp)
		checkFloat(t, mantissa+"1e"+exp)
		checkFloat(t, mantissa[:len(mantissa)-1]+"e"+exp)
		checkFloat(t, half.Text('e', 17+rng.IntN(4)))
	}
}

func FuzzParseFloat(f *testing.F) {
	for _, s := range floatSeeds {
		f.Add(s)
	}
	f.Fuzz(checkFloat)
}

func BenchmarkParseFloat(b *testing.B) {
	for _, s := range []string{"9.728614687919616699e-01", "0.000000000000000000e+00", "0.05644299999999999", "12.75", "7"} {
		text := []byte(s)
		b.Run(s, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, _, ok := parseFloat(text, 0); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}
