package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"learner/pkg/sgd"
)

// A safetensors file (https://github.com/huggingface/safetensors) is
//
//	8 bytes     n, little-endian
//	n bytes     JSON: {"__metadata__": {string: string}, name: {"dtype", "shape", "data_offsets": [begin, end]}, …},
//	            padded with spaces
//	the rest    the tensors' values, little-endian, row-major; offsets count from here, without gap or overlap

const (
	metadataKey = "__metadata__"
	maxHeader   = 100_000_000 // bytes; other readers refuse more
)

// dtypes holds the size of a value in bytes, by the name of its type.
var dtypes = map[string]int{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "U8": 1}

// WriteSafetensors writes tensors and metadata to w as a safetensors file. The bytes depend on the content alone, not on
// the order of tensors: they go by size of value, largest first, so that each begins at a multiple of it, then by name.
//
// Names are unique and none is "__metadata__"; names and metadata are UTF-8.
func WriteSafetensors(w io.Writer, tensors []sgd.Tensor, metadata map[string]string) error {
	sorted := slices.Clone(tensors)
	slices.SortStableFunc(sorted, func(a, b sgd.Tensor) int {
		return cmp.Or(cmp.Compare(dtypes[dtypeOf(b.Data)], dtypes[dtypeOf(a.Data)]), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(sorted, metadata)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("write safetensors header: %w", err)
	}
	for i := range sorted {
		if err := binary.Write(w, binary.LittleEndian, sorted[i].Data); err != nil {
			return fmt.Errorf("write safetensors tensor %q: %w", sorted[i].Name, err)
		}
	}
	return nil
}

// encodeHeader returns everything before the values.
func encodeHeader(tensors []sgd.Tensor, metadata map[string]string) ([]byte, error) {
	header := append(make([]byte, 8, 1024), '{')
	key := func(text string) {
		if last := header[len(header)-1]; last != '{' {
			header = append(header, ',')
		}
		header = append(appendString(header, text), ':')
	}
	if metadata != nil {
		key(metadataKey)
		header = append(header, '{')
		for _, name := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(name) || !utf8.ValidString(metadata[name]) {
				return nil, fmt.Errorf("metadata %q is not UTF-8", name)
			}
			key(name)
			header = appendString(header, metadata[name])
		}
		header = append(header, '}')
	}
	seen := make(map[string]bool, len(tensors))
	begin := 0
	for i := range tensors {
		t := &tensors[i]
		if err := check(t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %q: two of this name", t.Name)
		}
		seen[t.Name] = true
		end := begin + binary.Size(t.Data)
		key(t.Name)
		header = fmt.Appendf(header, `{"dtype":"%s","shape":[`, dtypeOf(t.Data))
		for d, n := range t.Shape {
			if d > 0 {
				header = append(header, ',')
			}
			header = strconv.AppendInt(header, int64(n), 10)
		}
		header = fmt.Appendf(header, `],"data_offsets":[%d,%d]}`, begin, end)
		begin = end
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if len(header)-8 > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, at most %d are read", len(header)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, nil
}

// check returns what stops the tensor from being written.
func check(t *sgd.Tensor) error {
	size := dtypes[dtypeOf(t.Data)]
	switch {
	case t.Name == metadataKey:
		return errors.New("the name is reserved")
	case !utf8.ValidString(t.Name):
		return errors.New("the name is not UTF-8")
	case size == 0:
		return fmt.Errorf("data of type %T cannot be written", t.Data)
	}
	want, err := byteSize(t.Shape, size)
	if err != nil {
		return err
	}
	if got := binary.Size(t.Data); got != want {
		return fmt.Errorf("%d values do not fill the shape %v", got/size, t.Shape)
	}
	return nil
}

// byteSize returns how many bytes a tensor takes whose values take size bytes each.
func byteSize(shape []int, size int) (int, error) {
	total := size
	for _, n := range shape {
		if n < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if n > 0 && total > math.MaxInt/n {
			return 0, errors.New("shape is larger than memory")
		}
		total *= n
	}
	return total, nil
}

// dtypeOf returns the name of the type of data's values, or "" if it has none here.
func dtypeOf(data any) string {
	switch data.(type) {
	case []float64:
		return "F64"
	case []float32:
		return "F32"
	case []int64:
		return "I64"
	case []uint64:
		return "U64"
	case []uint8:
		return "U8"
	}
	return ""
}

// appendString appends text, which is UTF-8, as a JSON string.
func appendString(dst []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("checkpoint: a string that JSON cannot hold") // there is none
	}
	return append(dst, quoted...)
}

// ReadSafetensors returns the tensors of a safetensors file, in the order of their values, and its metadata, nil if it
// has none. They share no memory with file. A file that is not exactly as the format says, or has values of another
// type than those that [WriteSafetensors] writes, is an error. It takes memory in proportion to the length of file,
// whatever is in it.
func ReadSafetensors(file []byte) ([]sgd.Tensor, map[string]string, error) {
	tensors, metadata, err := readSafetensors(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read safetensors: %w", err)
	}
	return tensors, metadata, nil
}

func readSafetensors(file []byte) ([]sgd.Tensor, map[string]string, error) {
	if len(file) < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too short for a header", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader || n > uint64(len(file)-8) {
		return nil, nil, fmt.Errorf("header of %d bytes in a file of %d (at most %d are read)", n, len(file), maxHeader)
	}
	infos, metadata, err := parseHeader(file[8 : 8+n])
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	slices.SortStableFunc(infos, func(a, b info) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})

	values := file[8+n:]
	tensors := make([]sgd.Tensor, 0, len(infos))
	at := 0
	for i := range infos {
		t := &infos[i]
		if err := t.fits(at, len(values)); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.name, err)
		}
		data, err := t.decode(values[t.begin:t.end])
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.name, err)
		}
		tensors = append(tensors, sgd.Tensor{Name: t.name, Shape: t.shape, Data: data})
		at = t.end
	}
	if at != len(values) {
		return nil, nil, fmt.Errorf("the last %d bytes belong to no tensor", len(values)-at)
	}
	return tensors, metadata, nil
}

// info is what a header says of one tensor.
type info struct {
	name, dtype string
	shape       []int
	begin, end  int
}

// fits returns an error unless the tensor begins at the given place and its values, of a known type, are as many as its
// shape says and not beyond the end of the file.
func (t *info) fits(at, end int) error {
	size, ok := dtypes[t.dtype]
	switch {
	case !ok:
		return fmt.Errorf("values of type %q cannot be read", t.dtype)
	case t.begin < at:
		return fmt.Errorf("begins at %d, inside the tensor before it, which ends at %d", t.begin, at)
	case t.begin > at:
		return fmt.Errorf("begins at %d, with a gap from %d", t.begin, at)
	case t.end < t.begin || t.end > end:
		return fmt.Errorf("values from %d to %d in a file that has %d bytes of them", t.begin, t.end, end)
	}
	want, err := byteSize(t.shape, size)
	if err != nil {
		return err
	}
	if want != t.end-t.begin {
		return fmt.Errorf("%d bytes of values, but its type and shape take %d", t.end-t.begin, want)
	}
	return nil
}

// decode returns a copy of the values; fits has been checked.
func (t *info) decode(values []byte) (any, error) {
	var data any
	switch n := len(values) / dtypes[t.dtype]; t.dtype {
	case "F64":
		data = make([]float64, n)
	case "F32":
		data = make([]float32, n)
	case "I64":
		data = make([]int64, n)
	case "U64":
		data = make([]uint64, n)
	case "U8":
		data = make([]uint8, n)
	}
	_, err := binary.Decode(values, binary.LittleEndian, data)
	return data, err
}

// parseHeader reads the JSON of a header. Unlike json.Unmarshal, it refuses fields that are unknown or come twice.
func parseHeader(header []byte) ([]info, map[string]string, error) {
	if !utf8.Valid(header) {
		return nil, nil, errors.New("not UTF-8")
	}
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("does not begin with {")
	}
	p := parser{json.NewDecoder(bytes.NewReader(header))}
	p.json.UseNumber()
	var infos []info
	var metadata map[string]string
	err := p.object(func(name string) error {
		if name == metadataKey {
			metadata = map[string]string{}
			return p.object(func(key string) (err error) {
				metadata[key], err = p.string()
				return err
			})
		}
		t := info{name: name, begin: -1, shape: []int{}}
		if err := p.info(&t); err != nil {
			return err
		}
		infos = append(infos, t)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if rest := bytes.Trim(header[p.json.InputOffset():], " "); len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d bytes after its end", len(rest))
	}
	return infos, metadata, nil
}

// parser reads a header token by token.
type parser struct{ json *json.Decoder }

// info reads what the header says of one tensor.
func (p parser) info(t *info) error {
	hasShape := false
	err := p.object(func(field string) (err error) {
		switch field {
		case "dtype":
			t.dtype, err = p.string()
		case "shape":
			hasShape = true
			t.shape, err = p.numbers()
		case "data_offsets":
			var offsets []int
			if offsets, err = p.numbers(); err == nil && len(offsets) != 2 {
				err = fmt.Errorf("%d numbers, want 2", len(offsets))
			}
			if err == nil {
				t.begin, t.end = offsets[0], offsets[1]
			}
		default:
			err = errors.New("unknown field")
		}
		return err
	})
	if err == nil && (t.dtype == "" || !hasShape || t.begin < 0) {
		err = fmt.Errorf("%q: dtype, shape, and data_offsets are needed", t.name)
	}
	return err
}

// object reads an object and calls value to read the value of each key. A key that comes twice is an error.
func (p parser) object(value func(key string) error) error {
	if err := p.delimiter('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.json.More() {
		key, err := p.string()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q comes twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return p.delimiter('}')
}

// numbers reads an array of whole numbers that are not negative.
func (p parser) numbers() ([]int, error) {
	if err := p.delimiter('['); err != nil {
		return nil, err
	}
	numbers := []int{}
	for p.json.More() {
		token, err := p.token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v where a number belongs", token)
		}
		n, err := strconv.ParseUint(number.String(), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("%v where a whole number belongs", number)
		}
		numbers = append(numbers, int(n))
	}
	return numbers, p.delimiter(']')
}

// token reads the next token. Outside a finished object, the end of the header comes too early.
func (p parser) token() (json.Token, error) {
	token, err := p.json.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return token, err
}

func (p parser) string() (string, error) {
	token, err := p.token()
	if err != nil {
		return "", err
	}
	text, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%v where a string belongs", token)
	}
	return text, nil
}

func (p parser) delimiter(want json.Delim) error {
	token, err := p.token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%v where %v belongs", token, want)
	}
	return nil
}
