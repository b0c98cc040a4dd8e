package consumer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codecNames has the codecs by their number.
var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// compress is the other way of decompress. Snappy comes without framing.
func compress(tb testing.TB, codec int, data []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case codecGzip:
		fast, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
		if err != nil {
			tb.Fatal(err)
		}
		w = fast
	case codecSnappy:
		return s2.EncodeSnappy(nil, data)
	case codecLZ4:
		w = lz4.NewWriter(&out)
	case codecZstd:
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	default:
		return data
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// framed returns snappy as the Java client frames it.
func framed(data []byte, size int) []byte {
	out := append(slices.Clone(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
	for part := range slices.Chunk(data, size) {
		block := s2.EncodeSnappy(nil, part)
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
	}
	return out
}

func TestDecompress(t *testing.T) {
	d := newDecompressor(8 << 20)
	for _, size := range []int{0, 1, 1000, 70_000, 1 << 20} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i * i >> 7)
		}
		for codec, name := range codecNames {
			got, err := d.decompress(codec, compress(t, codec, want))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes: got %d, %v", name, size, len(got), err)
			}
		}
		if got, err := d.decompress(codecSnappy, framed(want, 32<<10)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("framed snappy, %d bytes: got %d, %v", size, len(got), err)
		}
	}
	two := slices.Concat(compress(t, codecZstd, []byte("one ")), compress(t, codecZstd, []byte("two")))
	if got, err := d.decompress(codecZstd, two); err != nil || string(got) != "one two" {
		t.Errorf("two zstd frames: %q, %v", got, err)
	}
}

// TestDecompressDamage cuts and flips compressed data at every byte, and checks that a decompressor is good again
// afterwards.
func TestDecompressDamage(t *testing.T) {
	text := []byte(strings.Repeat("1,0.25,0.75,-3e-2\n", 12))
	d := newDecompressor(8 << 20)
	for codec, name := range codecNames[1:] {
		codec++
		packed := compress(t, codec, text)
		if codec == codecSnappy {
			packed = framed(text, 100)
		}
		for i := range packed {
			if got, err := d.decompress(codec, packed[:i]); err == nil && !bytes.HasPrefix(text, got) {
				t.Fatalf("%s cut to %d bytes: %q", name, i, got)
			}
			bad := bytes.Clone(packed)
			bad[i] ^= 0x10
			if got, err := d.decompress(codec, bad); err == nil && len(got) > 8<<20 {
				t.Fatalf("%s with byte %d changed: %d bytes", name, i, len(got))
			}
			if got, err := d.decompress(codec, packed); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("%s after damage at byte %d: %d bytes, %v", name, i, len(got), err)
			}
		}
	}
}

// allocated returns how many bytes were allocated since the start of the process.
func allocated() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

func TestDecompressIsBounded(t *testing.T) {
	const limit = 8 << 20
	zeros := make([]byte, 2*limit)
	// A frame of zstd that says it holds 1 GiB, in one piece, and holds 1 byte.
	liar := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 0x09, 0, 0, 'a'}
	bombs := map[string]struct {
		codec int
		data  []byte
	}{
		"zstd header": {codecZstd, liar},
		// 5 bytes that say they hold 4 GiB.
		"snappy header": {codecSnappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}},
		"framed snappy": {codecSnappy, framed(zeros, 1<<16)},
	}
	for codec, name := range codecNames[1:] {
		bombs[name] = struct {
			codec int
			data  []byte
		}{codec + 1, compress(t, codec+1, zeros)}
	}
	for name, bomb := range bombs {
		d := newDecompressor(limit)
		before := allocated()
		got, err := d.decompress(bomb.codec, bomb.data)
		if err == nil {
			t.Errorf("%s: %d bytes where %d are allowed", name, len(got), limit)
		}
		if used := allocated() - before; used > 8*limit || cap(d.buf) > 2*limit {
			t.Errorf("%s: %d bytes were allocated, %d are kept", name, used, cap(d.buf))
		}
	}
	for _, codec := range []int{codecGzip, codecSnappy, codecZstd} {
		d, name := newDecompressor(limit), codecNames[codec]
		if got, err := d.decompress(codec, compress(t, codec, zeros[:limit])); err != nil || len(got) != limit {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := d.decompress(codec, compress(t, codec, zeros[:limit+1])); err == nil {
			t.Errorf("%s: one byte more than the limit passes", name)
		}
	}
}

// FuzzDecompress looks for data that make a codec panic, loop, or use more memory than it should.
func FuzzDecompress(f *testing.F) {
	text := []byte(strings.Repeat("1,0.25,0.75,-3e-2\n", 40))
	for codec := range codecNames {
		f.Add(byte(codec), compress(f, codec, text))
		f.Add(byte(codec), compress(f, codec, nil))
	}
	f.Add(byte(codecSnappy), framed(text, 100))
	const limit = 8 << 20 // no less than zstd's usual window
	d := newDecompressor(limit)
	f.Fuzz(func(t *testing.T, codec byte, data []byte) {
		before := allocated()
		got, err := d.decompress(int(codec%8), data)
		if err == nil && len(got) > max(limit, len(data)) {
			t.Errorf("%d bytes", len(got))
		}
		if used := allocated() - before; used > 8*limit || cap(d.buf) > 2*limit {
			t.Errorf("%d bytes were allocated, %d are kept", used, cap(d.buf))
		}
	})
}
