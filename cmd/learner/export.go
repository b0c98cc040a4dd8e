package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/sgd"
)

// export writes the newest committed checkpoint of the group to a file. It changes nothing in the cluster.
func export(ctx context.Context, p *process) error {
	var output string
	var form exportForm
	flags := p.newFlags()
	flags.StringVar(&output, "output", "", "`file` to write, - for standard output (default GROUP-SEQUENCE.FORMAT)")
	flags.StringVar(&form.format, "format", formatSafetensors, "`format` of the file: safetensors or json (the whole checkpoint), or onnx (one model, to answer with)")
	flags.StringVar(&form.model, "model", "", "`name` of the model for ONNX (default the champion)")
	rest, err := p.parse(flags)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return usagef("export takes no arguments, found %q; -output names the file", rest[0])
	}
	if err := form.check(); err != nil {
		return err
	}
	cfg, err := loadConfig(p.environ, p.dir, cluster)
	if err != nil {
		return err
	}
	if cfg.Checkpoint == "none" {
		return usagef("export: %w", errNoStore)
	}
	client, err := checkedClient(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	e := &exporting{cfg: cfg, client: client}
	if err := e.find(ctx); err != nil {
		return fmt.Errorf("export: %w", errors.Join(append(e.broken, err)...))
	}
	if err := form.write(e); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if output == "-" {
		if err := p.print(string(e.data)); err != nil {
			return err
		}
		_, _ = fmt.Fprint(p.stderr, e.summary("standard output")) // nobody is left to be told
		return nil
	}
	if output == "" {
		output = filepath.Join(p.dir, exportName(e.checkpoint.ID, cfg.Group, form.format))
	}
	if err := writeWhole(output, e.data); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return p.print(e.summary(output))
}

// exporting is one run of the command.
type exporting struct {
	cfg     *Config
	client  *consumer.Client
	cluster string // its id
	store   checkpoint.Store

	// What find found.
	checkpoint *checkpoint.Checkpoint
	data       []byte
	which      string  // for people
	part       string  // of the checkpoint, that is written; for people
	broken     []error // checkpoints that cannot be used
}

// find takes the newest committed checkpoint. Where it cannot be used it takes the newest whole one before it of the same
// lineage, and where none is committed the newest whole one that there is.
func (e *exporting) find(ctx context.Context) (err error) {
	if e.cluster, err = e.client.ClusterID(ctx); err != nil {
		return err
	}
	if e.store, err = openStore(ctx, e.cfg, e.client, false); err != nil {
		return err
	}
	var committed checkpoint.ID
	for {
		id, err := e.committed(ctx)
		if err != nil {
			return err
		}
		if id == committed { // none, or again the one that cannot be used; another one: it was deleted meanwhile
			break
		}
		if found, err := e.take(ctx, id); found || err != nil {
			e.which = "the newest committed one"
			return err
		}
		committed = id
	}
	entries, err := e.store.List(ctx)
	if err != nil {
		return err
	}
	none := committed.Lineage == ""
	for _, entry := range entries {
		if !none && (entry.ID.Lineage != committed.Lineage || entry.ID.Sequence >= committed.Sequence) {
			continue
		}
		if found, err := e.take(ctx, entry.ID); found || err != nil {
			e.which = "the newest whole one; none is committed"
			if !none {
				e.which = fmt.Sprintf("the newest whole one before %s, which is committed and cannot be used", committed)
			}
			return err
		}
	}
	return fmt.Errorf("group %s has no checkpoint that can be used", e.cfg.Group)
}

// committed returns the newest checkpoint that the group has committed; the zero id: none.
func (e *exporting) committed(ctx context.Context) (id checkpoint.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, resetPatience)
	defer cancel()
	err = patiently(ctx, func() error {
		partitions, err := e.client.Partitions(ctx, e.cfg.TrainTopic)
		if err != nil {
			return err
		}
		commits, err := e.client.Commits(ctx, e.cfg.Group, e.cfg.TrainTopic, partitions)
		id = newestOf(commits)
		return err
	})
	return id, err
}

// take reads a checkpoint, and says whether it can be used. The error is that of a store that could not be read, or of a
// checkpoint that another release has to read.
func (e *exporting) take(ctx context.Context, id checkpoint.ID) (bool, error) {
	data, err := e.store.Get(ctx, id)
	var c *checkpoint.Checkpoint
	if err == nil {
		if c, err = checkpoint.Decode(data); err != nil {
			err = fmt.Errorf("checkpoint %s: %w", id, err)
		}
	}
	switch {
	case errors.Is(err, checkpoint.ErrNotFound), errors.Is(err, checkpoint.ErrUnfinished), errors.Is(err, checkpoint.ErrCorrupt):
		e.broken = append(e.broken, err)
		return false, nil
	case err != nil:
		return false, err
	case c.ID != id || c.ClusterID != e.cluster || c.Topic != e.cfg.TrainTopic || c.Group != e.cfg.Group:
		e.broken = append(e.broken, fmt.Errorf("checkpoint %s is of another place: id %s, cluster %s, topic %s, group %s",
			id, c.ID, c.ClusterID, c.Topic, c.Group))
		return false, nil
	}
	e.checkpoint, e.data = c, data
	return true, nil
}

// exportForm is what is made of a checkpoint.
type exportForm struct{ format, model string }

func (f *exportForm) check() error {
	switch {
	case f.format != formatSafetensors && f.format != formatONNX && f.format != formatJSON:
		return usagef("export: format %q is none of %s, %s, %s", f.format, formatJSON, formatONNX, formatSafetensors)
	case f.model != "" && f.format != formatONNX:
		return usagef("export: -model goes with -format %s: a file of format %s has all models", formatONNX, f.format)
	}
	return nil
}

// write makes the data of the form in place of the checkpoint's own.
func (f *exportForm) write(e *exporting) error {
	specs, err := sgd.ParseModels(e.cfg.Models)
	if err != nil {
		return err
	}
	switch f.format {
	case formatJSON:
		settings := map[string]*checkpoint.Settings{}
		for _, spec := range specs {
			if _, _, err := e.checkpoint.Compatible(e.cfg.compatibility([]sgd.Spec{spec})); err == nil {
				settings[spec.Name] = new(e.cfg.settings(spec))
			}
		}
		e.data, err = e.checkpoint.JSON(settings)
	case formatONNX:
		e.data, err = f.onnx(e, specs)
	}
	return err
}

// onnx returns the model as an ONNX file.
func (f *exportForm) onnx(e *exporting, specs []sgd.Spec) ([]byte, error) {
	if f.model == "" {
		f.model = e.checkpoint.Champion
	}
	i := slices.IndexFunc(specs, func(spec sgd.Spec) bool { return spec.Name == f.model })
	if i < 0 {
		return nil, fmt.Errorf("model %q is none of LEARNER_MODELS=%s, which says what it is made of", f.model, e.cfg.Models)
	}
	snapshot, slots, err := e.cfg.snapshotOf(e.checkpoint, specs[i])
	if err != nil {
		return nil, err
	}
	e.part = fmt.Sprintf("model %s of ", f.model)
	return e.cfg.onnx(specs[i], snapshot, slots, e.checkpoint.ID.Lineage)
}

// summary says what was written where.
func (e *exporting) summary(file string) string {
	var text strings.Builder
	for _, err := range e.broken {
		fmt.Fprintf(&text, "passed over: %v\n", err)
	}
	fmt.Fprintf(&text, "%scheckpoint %s of group %s, %s, was written to %s (%s)\n",
		e.part, e.checkpoint.ID, e.cfg.Group, e.which, file, bytesText(int64(len(e.data))))
	for _, m := range e.checkpoint.Models {
		fmt.Fprintf(&text, "  %s: %s learned\n", m.Name, plural(int64(m.Records), "record"))
	}
	return text.String()
}

// exportName returns the name of a group's exported checkpoint, whatever the group is called.
func exportName(id checkpoint.ID, group, format string) string {
	group = url.QueryEscape(group)
	return fmt.Sprintf("%s-%d.%s", group[:min(len(group), 200)], id.Sequence, format) // file names have at most 255 bytes
}

// writeWhole writes a file of which nobody ever sees a part. What is no regular file, such as a pipe, is written to as it is.
func writeWhole(name string, data []byte) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(name, data, 0o644)
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
