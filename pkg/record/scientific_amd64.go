package record

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI2

// scientific is plainScientific, in vectors where the CPU has them.
func scientific(dst []float64, line []byte) (n, size int) {
	if !hasAVX2 {
		return plainScientific(dst, line)
	}
	return scientificAVX2(dst, line, &powers[-18-minPower])
}

// scientificAVX2 is plainScientific with all digits of a number in one register: integers only, so the bits are the
// same. It needs AVX2 and BMI2; power is that of the last digit of a number with exponent 0.
//
//go:noescape
func scientificAVX2(dst []float64, line []byte, power *uint128) (n, size int)
