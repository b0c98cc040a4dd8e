package record

import (
	"slices"
	"testing"
)

func TestHeaderNames(t *testing.T) {
	for _, tt := range []struct {
		name, header, row string
		want              []string
	}{
		{"plain", "label,a,b", "1,2,3", []string{"label", "a", "b"}},
		{"quotes and blanks", "\ufeff\"la\"\"bel\", a ,\"b,c\"\r\n", "1,2,3", []string{`la"bel`, "a", "b,c"}},
		{"nothing behind it", "label,a", "", []string{"label", "a"}},
		{"a row", "1,2", "1,2", nil},
		{"twice", "label,a,a", "1,2,3", nil},
		{"others columns than rows", "label,a", "1,2,3", nil},
		{"a field without a name", "label,,a", "1,2,3", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var row []byte
			if tt.row != "" {
				row = []byte(tt.row)
			}
			if got := HeaderNames([]byte(tt.header), row); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
