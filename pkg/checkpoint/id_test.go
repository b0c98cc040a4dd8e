package checkpoint

import (
	"strings"
	"testing"
)

func TestParseMetadata(t *testing.T) {
	tests := []struct {
		give   string
		origin Origin
		id     ID
	}{
		{"0a1b/12/cd", Ours, ID{"0a1b", 12, "cd"}},
		{"a/0/b", Ours, ID{"a", 0, "b"}},
		{"a/9223372036854775807/b", Ours, ID{"a", 9223372036854775807, "b"}},
		{"none/0a1b/12/cd", Storeless, ID{"0a1b", 12, "cd"}},
		{"", Foreign, ID{}},
		{"none/", Foreign, ID{}},
		{"none", Foreign, ID{}},
		{"none/none/a/1/b", Foreign, ID{}},
		{"a/1", Foreign, ID{}},
		{"a/1/b/", Foreign, ID{}},
		{"/1/b", Foreign, ID{}},
		{"a/1/", Foreign, ID{}},
		{"a/-1/b", Foreign, ID{}},
		{"a/+1/b", Foreign, ID{}},
		{"a/01/b", Foreign, ID{}},
		{"a/9223372036854775808/b", Foreign, ID{}},
		{"A/1/b", Foreign, ID{}},
		{"g/1/b", Foreign, ID{}},
		{"a/1/b ", Foreign, ID{}},
		{strings.Repeat("a", 33) + "/1/b", Foreign, ID{}},
		{"reset by an operator", Foreign, ID{}},
	}
	for _, tt := range tests {
		origin, id := ParseMetadata(tt.give)
		if origin != tt.origin || id != tt.id {
			t.Errorf("%q: %v, %v; want %v, %v", tt.give, origin, id, tt.origin, tt.id)
		}
		back := map[Origin]string{Ours: id.String(), Storeless: NoneMetadata(id), Foreign: tt.give}[origin]
		if back != tt.give {
			t.Errorf("%q became %q", tt.give, back)
		}
	}
}

func TestNewNames(t *testing.T) {
	id := ID{NewLineage(), 1, NewWriter()}
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("%v is read as %v, %v", id, got, err)
	}
	if id.Lineage == NewLineage() || id.Writer == NewWriter() || id.Lineage == id.Writer {
		t.Errorf("names come twice: %v", id)
	}
}
