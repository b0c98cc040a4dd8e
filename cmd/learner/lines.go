package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"learner/pkg/record"
)

// maxLine is the longest line, in bytes, that is read: a record as large is refused by brokers with default settings.
const maxLine = 1 << 20

// openInput opens the file of that name for reading; - is the standard input. What is returned is to be closed.
func (p *process) openInput(name string) (io.ReadCloser, error) {
	if name == "-" {
		return standardInput{p.stdin}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the file to %s: %w", p.command.name, err)
	}
	return file, nil
}

// standardInput is left open: it is not the command's own.
type standardInput struct{ io.Reader }

func (standardInput) Close() error { return nil }

// csvLines are the lines of a CSV or CSV.gz file. What it counts is atomic, because progress is shown meanwhile.
type csvLines struct {
	read                    atomic.Int64 // bytes of the file
	headers, empty, tooLong atomic.Int64 // lines left out
	header                  []byte       // the header line, once each has passed it; nil: there is none
}

// each calls f for each line that may be a row, with its number in the file, from 1. f may use the line only during the
// call, and its error ends the reading.
func (c *csvLines) each(in io.Reader, f func(number int64, line []byte) error) error {
	plain, err := decompress(&countingReader{in, &c.read})
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	lines := bufio.NewReaderSize(plain, maxLine+len("\r\n"))
	first := true // nothing but empty lines was there before
	for number := int64(1); ; number++ {
		line, fits, err := readLine(lines)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the file after %s: %w", plural(number-1, "line"), err)
		}
		if first {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		switch {
		case !fits:
			c.tooLong.Add(1)
		case len(bytes.TrimSpace(line)) == 0:
			c.empty.Add(1)
			continue
		case first && record.IsHeader(line):
			c.headers.Add(1)
			c.header = bytes.Clone(line)
		default:
			if err := f(number, line); err != nil {
				return err
			}
		}
		first = false
	}
}

// lineCount is how many lines of a sort were left out.
type lineCount struct {
	n    int64
	what string
}

// leftOut says which lines were left out.
func (c *csvLines) leftOut() []lineCount {
	return []lineCount{
		{c.headers.Load(), "header line"},
		{c.empty.Load(), "empty line"},
		{c.tooLong.Load(), "line above 1 MiB"},
	}
}

// readLine returns the next line without its line break, and whether it fits: of one above maxLine only a part is
// returned. The error is io.EOF when no line is left.
func readLine(r *bufio.Reader) (line []byte, fits bool, err error) {
	line, err = r.ReadSlice('\n')
	fits = true
	for errors.Is(err, bufio.ErrBufferFull) {
		fits = false
		_, err = r.ReadSlice('\n')
	}
	if len(line) > 0 && errors.Is(err, io.EOF) {
		err = nil // the last line has no line break
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	return line, fits && len(line) <= maxLine, err
}

// decompress returns what r holds, unpacked if it is a gzip file.
func decompress(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	magic, _ := buffered.Peek(2) // an error comes again when it is read
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return buffered, nil
	}
	return gzip.NewReader(buffered)
}

// sizeOf returns the size of a file in bytes, or 0 where it cannot be known.
func sizeOf(in io.Reader) int64 {
	if std, ok := in.(standardInput); ok {
		in = std.Reader
	}
	if file, ok := in.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
	}
	return 0
}

// countingReader adds what it reads to n.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
