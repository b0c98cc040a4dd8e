package consumer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// TestLZ4Frames compares with the library's reader on frames of every kind, whole and cut.
func TestLZ4Frames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = "0123456789,.e+-\n"[rng.IntN(4)*rng.IntN(4)]
	}
	copy(data[200_000:], data[150_000:]) // matches that reach into the block before
	for range 5_000 {
		data[rng.IntN(100_000)] = byte(rng.Uint32())
	}
	d := newDecompressor(1 << 20)
	for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block4Mb} {
		for _, sums := range []bool{false, true} {
			for _, length := range []int{0, 10, 70_000, len(data)} {
				name := fmt.Sprintf("blocks of %v, checksums %v, %d bytes", size, sums, length)
				var frame bytes.Buffer
				w := lz4.NewWriter(&frame)
				if err := w.Apply(lz4.BlockSizeOption(size), lz4.BlockChecksumOption(sums), lz4.ChecksumOption(sums), lz4.SizeOption(uint64(length))); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(data[:length]); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				packed := frame.Bytes()
				want, err := io.ReadAll(lz4.NewReader(bytes.NewReader(packed)))
				if err != nil || !bytes.Equal(want, data[:length]) {
					t.Fatalf("%s: the library reads %d bytes, %v", name, len(want), err)
				}
				if got, err := d.decompress(codecLZ4, packed); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				behind := 4 // the end mark
				if sums {
					behind += 4
				}
				if _, err := d.decompress(codecLZ4, packed[:len(packed)-behind]); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s: without its end: %v", name, err)
				}
			}
		}
	}
}

// TestLZ4LinkedBlocks decodes a frame whose second block refers to the first, as librdkafka's may.
func TestLZ4LinkedBlocks(t *testing.T) {
	text := []byte("weights belong to names, not to positions; ")
	frame := binary.LittleEndian.AppendUint32(nil, lz4Magic)
	frame = append(frame, lz4Version<<6, 4<<4, 0)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(text))|lz4Uncompressed)
	frame = append(frame, text...)
	// One sequence: no literals, a match of 19 bytes that begins len(text) bytes back; then five literals.
	block := append([]byte{0x0f, byte(len(text)), 0, 0, 0x50}, "again"...)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(block)))
	frame = append(frame, block...)
	frame = append(frame, 0, 0, 0, 0)
	got, err := newDecompressor(1<<10).decompress(codecLZ4, frame)
	if want := string(text) + string(text[:19]) + "again"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
