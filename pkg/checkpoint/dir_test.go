package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func newDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := NewDir(path, "g/1")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func names(t *testing.T, path string) []string {
	t.Helper()
	files, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

func TestDirNames(t *testing.T) {
	path := t.TempDir()
	put(t, newDir(t, path), newer, 3, data(2, 10))
	if got, want := names(t, path), []string{"g%2F1.a.2.b.3.safetensors"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	for _, name := range []string{
		"g%2F1.a.2.b.safetensors", "g%2F1.a.2.b.3", "g%2F1.a.2.b.x.safetensors", "g%2F1.a.x.b.3.safetensors", "notes.txt", ".tmp", "a.2.b.3.safetensors",
	} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantIDs(t, newDir(t, path), "a/2/b of 3")
}

// What a crash leaves after each step of Put, from which a new process goes on.
func TestDirCrash(t *testing.T) {
	content := encode(t, sampleCheckpoint())
	const name = "g%2F1.a.2.b.1.safetensors"
	tests := []struct {
		name  string
		files map[string][]byte
		get   error // of the store
		whole bool  // what is there can be decoded
	}{
		{"nothing written", map[string][]byte{}, ErrNotFound, false},
		{"created", map[string][]byte{name + ".tmp": {}}, ErrUnfinished, false},
		{"half written", map[string][]byte{name + ".tmp": content[:100]}, ErrUnfinished, false},
		{"not renamed", map[string][]byte{name + ".tmp": content}, ErrUnfinished, false},
		{"renamed", map[string][]byte{name: content}, nil, true},
		{"renamed, then begun again", map[string][]byte{name: content, name + ".tmp": content[:9]}, nil, true},
		{"emptied by the file system", map[string][]byte{name: {}}, nil, false},
		{"cut by the file system", map[string][]byte{name: content[:len(content)-1]}, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := t.TempDir()
			d := newDir(t, path)
			put(t, d, older, 1, data(1, 10))
			for name, content := range tt.files {
				if err := os.WriteFile(filepath.Join(path, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			file, err := d.Get(t.Context(), newer)
			if !errors.Is(err, tt.get) {
				t.Errorf("get: error %v, want %v", err, tt.get)
			}
			if c, err := Decode(file); tt.whole != (err == nil) || tt.whole != (c != nil) || !tt.whole && !errors.Is(err, ErrCorrupt) {
				t.Errorf("decode: %v, error %v", c, err)
			}
			for _, e := range entries(t, d) {
				if e.ID == newer && !errors.Is(e.Err, tt.get) {
					t.Errorf("listed %v", e)
				}
			}
			wantData(t, d, older, data(1, 10))
			if err := d.Delete(t.Context(), []ID{newer}); err != nil {
				t.Fatal(err)
			}
			wantIDs(t, d, "a/1/b of 1")
			if got := names(t, path); len(got) != 1 {
				t.Errorf("files left: %q", got)
			}
		})
	}
}

func TestDirReplacesWhatIsUnfinished(t *testing.T) {
	path := t.TempDir()
	d := newDir(t, path)
	stray := filepath.Join(path, "g%2F1.a.2.b.1.safetensors.tmp")
	if err := os.WriteFile(stray, data(9, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, d, newer, 1, data(2, 10))
	wantData(t, d, newer, data(2, 10))
	if got := names(t, path); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
}

func TestDirFaults(t *testing.T) {
	path := t.TempDir()
	d := newDir(t, path)
	// A folder in the place of the file: the file can be written, not renamed.
	if err := os.Mkdir(filepath.Join(path, "g%2F1.a.2.b.1.safetensors"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), newer, 1, data(2, 10)); err == nil {
		t.Error("a file that cannot be renamed is no error")
	}
	if _, err := d.Get(t.Context(), newer); err == nil || broken(err) {
		t.Errorf("get of what cannot be read: error %v", err)
	}
	if got := names(t, path); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
	if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDir(filepath.Join(path, "file"), "g"); err == nil || !strings.Contains(err.Error(), "checkpoint folder") {
		t.Errorf("a file for a folder: error %v", err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if _, err := d.List(t.Context()); err == nil {
		t.Error("list of a folder that is gone is no error")
	}
	if _, err := d.Get(t.Context(), newer); err == nil || broken(err) {
		t.Errorf("get from a folder that is gone: error %v", err)
	}
	if err := d.Put(t.Context(), newer, 1, nil); err == nil {
		t.Error("put to a folder that is gone is no error")
	}
	if err := d.Delete(t.Context(), []ID{newer}); err == nil {
		t.Error("delete in a folder that is gone is no error")
	}
}
