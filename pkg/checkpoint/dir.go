package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Dir is a [Store] in a folder that groups of one cluster may share. A checkpoint is the file
//
//	group.lineage.sequence.writer.generation.safetensors
//
// where group is escaped as in a URL's query. While it is written, .tmp stands behind the name. That the content is what
// was written, [Decode] finds out.
type Dir struct {
	path, group string
}

const (
	suffix     = ".safetensors"
	unfinished = ".tmp"
	longGroup  = 128 // bytes; file names have at most 255
)

// NewDir returns the checkpoints of a group in the folder path, which is made if it is missing.
func NewDir(path, group string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make checkpoint folder: %w", err)
	}
	return &Dir{path: path, group: fileGroup(group)}, nil
}

// fileGroup returns the group's name for file names. A long one is cut, and has its hash behind %~, which escaping never
// makes.
func fileGroup(group string) string {
	escaped := url.QueryEscape(group)
	if len(escaped) <= longGroup {
		return escaped
	}
	return escaped[:longGroup-32] + "%~" + hexSum([]byte(group))[:30]
}

// file is a file of the folder that belongs to a checkpoint of the group.
type file struct {
	name       string
	id         ID
	generation int32
	finished   bool
}

// Put implements [Store]: the file is written under another name, synced, and renamed, and the folder is synced.
func (d *Dir) Put(_ context.Context, id ID, generation int32, data []byte) error {
	name := filepath.Join(d.path, fmt.Sprintf("%s.%s.%d.%s.%d%s", d.group, id.Lineage, id.Sequence, id.Writer, generation, suffix))
	err := writeSynced(name+unfinished, data)
	if err == nil {
		err = os.Rename(name+unfinished, name)
	}
	if err == nil {
		err = syncDir(d.path)
	} else {
		_ = os.Remove(name + unfinished) // else deleted with what is older than the checkpoints kept
	}
	if err != nil {
		return fmt.Errorf("put checkpoint %s: %w", id, err)
	}
	return nil
}

func writeSynced(name string, data []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// List implements [Store]. It opens no file.
func (d *Dir) List(context.Context) ([]Entry, error) {
	files, err := d.files()
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	found := make(map[ID]Entry)
	for _, f := range files {
		if _, ok := found[f.id]; f.finished {
			found[f.id] = Entry{ID: f.id, Generation: f.generation}
		} else if !ok {
			found[f.id] = Entry{ID: f.id, Generation: f.generation, Err: fmt.Errorf("%w: %s", ErrUnfinished, f.name)}
		}
	}
	entries := make([]Entry, 0, len(found))
	for _, e := range found {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, newestFirst)
	return entries, nil
}

// Get implements [Store].
func (d *Dir) Get(_ context.Context, id ID) ([]byte, error) {
	files, err := d.files()
	if err != nil {
		return nil, fmt.Errorf("get checkpoint %s: %w", id, err)
	}
	missing := ErrNotFound
	for _, f := range files {
		switch {
		case f.id != id:
		case !f.finished:
			missing = ErrUnfinished
		default:
			data, err := os.ReadFile(filepath.Join(d.path, f.name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("get checkpoint %s: %w", id, err)
			}
			return data, nil
		}
	}
	return nil, fmt.Errorf("get checkpoint %s: %w", id, missing)
}

// Delete implements [Store].
func (d *Dir) Delete(_ context.Context, ids []ID) error {
	files, err := d.files()
	if err != nil {
		return fmt.Errorf("delete %d checkpoints: %w", len(ids), err)
	}
	var errs []error
	for _, f := range files {
		if !slices.Contains(ids, f.id) {
			continue
		}
		if err := os.Remove(filepath.Join(d.path, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("delete checkpoint %s: %w", f.id, err))
		}
	}
	return errors.Join(errs...)
}

// files returns the files of the group's checkpoints.
func (d *Dir) files() ([]file, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		if f, ok := d.parseName(e.Name()); ok {
			files = append(files, f)
		}
	}
	return files, nil
}

// parseName reads a file's name; false: it is of no checkpoint of the group.
func (d *Dir) parseName(name string) (file, bool) {
	f := file{name: name}
	name, tmp := strings.CutSuffix(name, unfinished)
	f.finished = !tmp
	name, ok := strings.CutSuffix(name, suffix)
	name, ours := strings.CutPrefix(name, d.group+".")
	parts := strings.Split(name, ".") // a dot in a group's name makes more of them
	if !ok || !ours || len(parts) != 4 {
		return file{}, false
	}
	generation, err := strconv.ParseInt(parts[3], 10, 32)
	if err != nil {
		return file{}, false
	}
	f.generation = int32(generation)
	f.id, err = ParseID(strings.Join(parts[:3], "/"))
	return f, err == nil
}
