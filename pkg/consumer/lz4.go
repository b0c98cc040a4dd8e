package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
)

// LZ4 frame format 1.6: magic u32, flags u8, block descriptor u8, content size u64 if flagged, dictionary id u32 if
// flagged, header checksum u8; then blocks: size u32 (its top bit: not compressed), data, checksum u32 if flagged; a
// size of 0 ends them. All numbers are little endian.
const (
	lz4Magic        = 0x184D2204
	lz4Version      = 1
	lz4Independent  = 0x20 // each block can be decoded alone; else it refers to the 64 KiB before it
	lz4BlockSum     = 0x10
	lz4ContentSize  = 0x08
	lz4Dictionary   = 0x01
	lz4Uncompressed = 1 << 31
	lz4Window       = 64 << 10
	lz4MaxRatio     = 255 // a byte of a block adds at most so many to a match
)

var errLZ4Frame = errors.New("not an LZ4 frame")

// lz4Frame decodes a frame into buf, block by block, where it stays. The frame's checksums are passed over: the batch's
// own, CRC-32C, was of the same bytes.
func (d *decompressor) lz4Frame(src []byte) error {
	d.buf = d.buf[:0]
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic || src[4]>>6 != lz4Version {
		return errLZ4Frame
	}
	flags, largest := src[4], 1<<(8+2*(src[5]>>4&7)) // 64 KiB, 256 KiB, 1 MiB, or 4 MiB
	head := 7
	if flags&lz4ContentSize != 0 {
		head += 8
	}
	if flags&lz4Dictionary != 0 {
		return fmt.Errorf("%w that can be read: it needs a dictionary", errLZ4Frame)
	}
	for src = src[min(head, len(src)):]; ; {
		if len(src) < 4 {
			return io.ErrUnexpectedEOF
		}
		word := binary.LittleEndian.Uint32(src)
		size := int(word &^ lz4Uncompressed)
		if src = src[4:]; word == 0 {
			return nil
		}
		if size > len(src) {
			return io.ErrUnexpectedEOF
		}
		if err := d.lz4Block(src[:size], word&lz4Uncompressed == 0, flags&lz4Independent != 0, largest); err != nil {
			return err
		}
		if src = src[size:]; flags&lz4BlockSum != 0 {
			src = src[min(4, len(src)):]
		}
	}
}

// lz4Block appends one decoded block, of at most largest bytes, to buf.
func (d *decompressor) lz4Block(src []byte, compressed, independent bool, largest int) error {
	start := len(d.buf)
	room := min(largest, lz4MaxRatio*len(src), d.limit-start+1) // one byte beyond the limit tells whether there is more
	if cap(d.buf)-start < room {
		d.buf = append(make([]byte, 0, start+room+start/2), d.buf...)
	}
	dst := d.buf[start : start+room]
	n := len(src)
	if compressed {
		var before []byte
		if !independent {
			before = d.buf[max(0, start-lz4Window):start]
		}
		var err error
		if n, err = lz4.UncompressBlockWithDict(src, dst, before); err != nil {
			return err
		}
	} else if copy(dst, src) < n {
		return errTooLarge
	}
	if start+n > d.limit {
		return errTooLarge
	}
	d.buf = d.buf[:start+n]
	return nil
}
