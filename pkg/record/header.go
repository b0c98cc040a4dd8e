package record

import (
	"bytes"
	"slices"
	"strconv"
)

// HeaderNames returns the names of columns in a CSV header; nil where header is none, see IsHeader, or its names are of no
// use: one is a number or there twice, or the first row behind it, where there is one, has another number of columns.
func HeaderNames(header, row []byte) []string {
	if !IsHeader(header) {
		return nil
	}
	var names []string
	for _, text := range fields(header) {
		name := string(text)
		if _, err := strconv.Atoi(name); err == nil || slices.Contains(names, name) {
			return nil
		}
		names = append(names, name)
	}
	if row != nil && len(fields(row)) != len(names) {
		return nil
	}
	return names
}

// fields returns the texts of a line's fields, up to the first that is damaged.
func fields(line []byte) (texts [][]byte) {
	line = trimLine(line)
	for next := -1; next < len(line); {
		text, end, fault := field(line, next+1)
		if fault != "" {
			return texts
		}
		texts, next = append(texts, bytes.Clone(undoubled(text))), end
	}
	return texts
}
