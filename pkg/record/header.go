package record

import "bytes"

// HeaderNames returns the names in a CSV header; nil where line is none, see IsHeader.
func HeaderNames(line []byte) []string {
	if !IsHeader(line) {
		return nil
	}
	var names []string
	line = trimLine(line)
	for next := -1; next < len(line); {
		var text []byte
		text, next, _ = field(line, next+1)
		names = append(names, string(bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))))
	}
	return names
}
