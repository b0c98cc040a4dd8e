package varint

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

func TestReadIsVarint(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		v := int64(rng.Uint64()) >> rng.IntN(64)
		b := binary.AppendVarint(nil, v)
		b = append(b, byte(rng.Uint32()))[:rng.IntN(len(b)+2)]
		got, size := Read(b)
		want, wantSize := binary.Varint(b)
		if size != wantSize || size > 0 && got != want {
			t.Fatalf("seed %d: % x: %d of %d bytes, want %d of %d", seed, b, got, size, want, wantSize)
		}
	}
	if _, n := Read([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}); n >= 0 {
		t.Errorf("a number of more than 64 bits takes %d bytes", n)
	}
}
