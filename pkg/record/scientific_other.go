//go:build !amd64

package record

func scientific(dst []float64, line []byte) (n, size int) { return plainScientific(dst, line) }
