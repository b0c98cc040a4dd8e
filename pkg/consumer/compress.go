package consumer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// maxBatchBytes bounds a batch after decompression, so that a few hostile bytes cannot ask for all memory.
const maxBatchBytes = 256 << 20

// decompressor holds the state of all codecs for one goroutine. What it returns is valid until the next call.
type decompressor struct {
	limit int // of what is returned, in bytes
	buf   []byte
	src   bytes.Reader
	gzip  *gzip.Reader
	zstd  *zstd.Decoder
}

func newDecompressor(limit int) *decompressor { return &decompressor{limit: limit} }

// Codec numbers of a batch's attributes.
const (
	codecNone = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

// maxZstdRatio is what zstd can reach: its densest block turns 4 bytes into 128 KiB (RFC 8878, 3.1.1.2).
const maxZstdRatio = 32 << 10

// decompress returns the content of src.
func (d *decompressor) decompress(codec int, src []byte) (out []byte, err error) {
	if cap(d.buf) > keepBytes {
		d.buf = nil
	}
	switch codec {
	case codecNone:
		return src, nil
	case codecGzip:
		d.src.Reset(src)
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(&d.src); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		err = d.readAll(d.gzip)
	case codecSnappy:
		err = d.snappy(src)
	case codecLZ4:
		err = d.lz4Frame(src)
	case codecZstd:
		if d.zstd == nil {
			d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(d.limit)))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
		}
		var head zstd.Header
		if head.Decode(src) == nil && head.HasFCS && head.FrameContentSize > maxZstdRatio*uint64(len(src)) {
			err = errTooLarge // the decoder would believe the size and allocate it
			break
		}
		d.buf, err = d.zstd.DecodeAll(src, d.buf[:0])
	default:
		return nil, fmt.Errorf("unknown compression codec %d", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", [...]string{"", "gzip", "snappy", "lz4", "zstd"}[codec], err)
	}
	return d.buf, nil
}

// readAll reads r to its end into buf.
func (d *decompressor) readAll(r io.Reader) error {
	d.buf = d.buf[:0]
	for {
		if len(d.buf) == cap(d.buf) {
			// One byte more than the limit tells whether there is more.
			d.buf = append(make([]byte, 0, min(max(2*cap(d.buf), 64<<10), d.limit+1)), d.buf...)
		}
		n, err := r.Read(d.buf[len(d.buf):cap(d.buf)])
		d.buf = d.buf[:len(d.buf)+n]
		switch {
		case len(d.buf) > d.limit:
			return errTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

var errTooLarge = errors.New("too large when decompressed")

// xerial is the magic of the framing that the Java client puts around snappy blocks: magic, version i32, compatible
// version i32, then blocks with an i32 length each.
var xerial = []byte("\x82SNAPPY\x00")

func (d *decompressor) snappy(src []byte) error {
	d.buf = d.buf[:0]
	if !bytes.HasPrefix(src, xerial) {
		return d.snappyBlock(src)
	}
	if len(src) < 16 {
		return io.ErrUnexpectedEOF
	}
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 {
			return io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > len(src) {
			return io.ErrUnexpectedEOF
		}
		if err := d.snappyBlock(src[:n]); err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}

// maxSnappyRatio is above what snappy can reach: its longest copy turns 3 bytes into 64.
const maxSnappyRatio = 32

// snappyBlock appends one decoded block to buf.
func (d *decompressor) snappyBlock(src []byte) error {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return err
	}
	start := len(d.buf)
	if n > d.limit-start || n > maxSnappyRatio*len(src) {
		return errTooLarge
	}
	if cap(d.buf)-start < n {
		d.buf = append(make([]byte, 0, min(start+n+start/2, d.limit)), d.buf...)
	}
	_, err = s2.Decode(d.buf[start:start+n:start+n], src)
	if err != nil {
		return err
	}
	d.buf = d.buf[:start+n]
	return nil
}
