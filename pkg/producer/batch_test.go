package producer

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestSizesAreExact(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	b := new(batch)
	for i := range 3000 {
		time := rng.Int64N(1<<rng.IntN(60) + 1)
		key, value := make([]byte, rng.IntN(200)), make([]byte, rng.IntN(20_000))
		if i%3 == 0 {
			key = nil
		}
		var headers []kafka.Header
		for range rng.IntN(4) {
			headers = append(headers, kafka.Header{Key: string(text("", rng.IntN(200))), Value: make([]byte, rng.IntN(200))})
		}
		if i%4 == 1 {
			headers = append(headers, kafka.Header{Key: "null"})
		}
		want := b.sizeWith(time, key, value, headers...)
		b.add(time, key, value, headers...)
		if got := len(b.raw) - sizeLen; got != want {
			t.Fatalf("record %d: the batch has %d bytes, %d were foretold", i, got, want)
		}
		if len(b.raw) > 1_000_000 {
			b.reset()
		}
	}
}

func TestVarintLen(t *testing.T) {
	for _, n := range []int64{0, -1, 1, 63, 64, -64, -65, 8191, 8192, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		// Zigzag: 0, -1, 1, -2 … become 0, 1, 2, 3 …, seven bits a byte.
		want, z := 1, uint64(n)<<1
		if n < 0 {
			z = ^z
		}
		for ; z >= 128; z >>= 7 {
			want++
		}
		if got := varintLen(n); got != want {
			t.Errorf("varintLen(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestHeader(t *testing.T) {
	b := new(batch)
	for range 2 { // the second time with used memory
		b.reset()
		b.add(1000, []byte("k"), []byte("first"))
		b.add(900, nil, nil)
		b.add(1500, nil, []byte("last"))
		set, err := b.seal(nil, identity{id: 1<<40 + 3, epoch: 7, sequence: math.MaxInt32})
		if err != nil {
			t.Fatal(err)
		}
		var got kmsg.RecordBatch
		if err := got.ReadFrom(set[sizeLen:]); err != nil {
			t.Fatal(err)
		}
		got.Records, got.CRC = nil, 0 // brokers check them in the other tests
		want := kmsg.RecordBatch{
			Length: int32(len(set) - sizeLen - 12), PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: 2, FirstTimestamp: 1000,
			MaxTimestamp: 1500, ProducerID: 1<<40 + 3, ProducerEpoch: 7, FirstSequence: math.MaxInt32, NumRecords: 3,
		}
		if !bytes.Equal(got.AppendTo(nil), want.AppendTo(nil)) {
			t.Errorf("header is %+v, want %+v", got, want)
		}
	}
}

func TestSequenceWrapsToZero(t *testing.T) {
	for _, c := range []struct{ sequence, n, want int32 }{
		{0, 5, 5},
		{math.MaxInt32 - 5, 5, math.MaxInt32},
		{math.MaxInt32 - 5, 6, 0},
		{math.MaxInt32, 3, 2},
	} {
		if got := nextSequence(c.sequence, c.n); got != c.want {
			t.Errorf("%d records from sequence %d are followed by %d, want %d", c.n, c.sequence, got, c.want)
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	b, value := new(batch), make([]byte, 450)
	fill := func() {
		b.reset()
		for b.sizeWith(0, nil, value) <= maxBatchBytes {
			b.add(0, nil, value)
		}
	}
	fill()
	if n := testing.AllocsPerRun(5, fill); n > 0 {
		t.Errorf("filling a used batch allocates %v times", n)
	}
}

func BenchmarkBatch(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 450)
	for i := range value {
		value[i] = "0123456789.,e+-"[rng.IntN(15)]
	}
	for _, codec := range []compress.Codec{nil, &compress.SnappyCodec, &compress.Lz4Codec, &compress.ZstdCodec} {
		name := "none"
		if codec != nil {
			name = codec.Name()
		}
		b.Run("codec="+name, func(b *testing.B) {
			full := new(batch)
			b.SetBytes(maxBatchBytes)
			b.ReportAllocs()
			for b.Loop() {
				full.reset()
				for full.sizeWith(0, nil, value) <= maxBatchBytes {
					full.add(0, nil, value)
				}
				if _, err := full.seal(codec, identity{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
