package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/segmentio/kafka-go"

	"learner/pkg/consumer"
)

// resetPatience is how long a reset waits for a coordinator or leader that is being elected.
const resetPatience = 20 * time.Second

// reset commits other offsets for the group while it has no members: the service then starts there with fresh models.
func reset(ctx context.Context, p *process) error {
	var to Start
	given, dry := false, false
	flags := p.newFlags()
	flags.Func("to", "`where` to begin: earliest, latest, or a time such as 2026-01-31T12:00:00Z (RFC 3339), for the first records at or after it", func(text string) error {
		given = true
		return to.Decode(text)
	})
	flags.BoolVar(&dry, "dry-run", false, "only show what would be done")
	rest, err := p.parse(flags)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return usagef("reset takes no arguments, found %q", rest[0])
	case !given:
		return usagef("reset: -to is missing, want earliest, latest, or a time (RFC 3339)")
	}
	cfg, err := loadConfig(p.environ, p.dir, cluster)
	if err != nil {
		return err
	}
	client, err := checkedClient(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	r := &resetting{client: client, group: cfg.Group, topic: cfg.TrainTopic}
	ctx, cancel := context.WithTimeout(ctx, resetPatience)
	defer cancel()
	if err := r.run(ctx, to, dry); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return p.print(r.summary(dry))
}

// resetting is one run of the command.
type resetting struct {
	client       *consumer.Client
	group, topic string
	old          map[int32]consumer.Commit
	now          map[int32]int64
}

func (r *resetting) run(ctx context.Context, to Start, dry bool) error {
	return patiently(ctx, func() error {
		// Checked first for a good message; the coordinator refuses the commit too.
		if err := r.inactive(ctx); err != nil {
			return err
		}
		partitions, err := r.client.Partitions(ctx, r.topic)
		if err != nil {
			return err
		}
		ends, err := r.client.Ends(ctx, r.topic, partitions)
		if err != nil {
			return err
		}
		if r.now, err = to.offsets(ctx, r.client, r.topic, ends); err != nil {
			return err
		}
		if r.old, err = r.client.Commits(ctx, r.group, r.topic, partitions); err != nil || dry {
			return err
		}
		// Without metadata they are no checkpoint's offsets, whatever they are: the next start takes them for a reset.
		err = r.client.Commit(ctx, r.group, consumer.Outsider, r.topic, r.now, "")
		if errors.Is(err, consumer.ErrFenced) { // a member joined meanwhile
			return cmp.Or(r.inactive(ctx), err)
		}
		return err
	})
}

// activeError says that the group has members.
type activeError struct {
	group string
	consumer.Group
}

func (e *activeError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "group %s is active (%s), and nothing was changed: stop its members first; one that was killed counts until its session ends",
		e.group, e.State)
	for _, m := range e.Members {
		fmt.Fprintf(&text, "\n  member %s", m.ID)
		if m.Instance != "" {
			fmt.Fprintf(&text, ", instance %s", m.Instance)
		}
		fmt.Fprintf(&text, ", client %s at %s", m.ClientID, strings.TrimPrefix(m.Host, "/"))
	}
	return text.String()
}

// inactive returns an activeError if the group has members.
func (r *resetting) inactive(ctx context.Context) error {
	g, err := r.client.Group(ctx, r.group)
	if err == nil && g.Active() {
		return &activeError{r.group, g}
	}
	return err
}

// summary shows what was done, or would be, and what follows.
func (r *resetting) summary(dry bool) string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "partition\told offset\tnew offset\t") // a strings.Builder takes everything
	for _, p := range slices.Sorted(maps.Keys(r.now)) {
		old := "none"
		if c, ok := r.old[p]; ok {
			old = strconv.FormatInt(c.Offset, 10)
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%d\t\n", p, old, r.now[p])
	}
	_ = table.Flush()
	if dry {
		fmt.Fprintf(&text, "Nothing was changed. Without --dry-run, group %s would go on in %s at the new offsets: its next start would\n"+
			"begin a new lineage there, with fresh models, and leave the present ones behind.\n", r.group, r.topic)
		return text.String()
	}
	fmt.Fprintf(&text, "Group %s goes on in %s at the new offsets: its next start begins a new lineage there, with fresh models.\n",
		r.group, r.topic)
	return text.String()
}

// patiently repeats do while its error may pass, until ctx ends.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || !passing(err) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// passing reports whether a coordinator or leader that is being elected is to blame for err.
func passing(err error) bool {
	code, ok := errors.AsType[kafka.Error](err)
	return ok && !errors.Is(err, consumer.ErrFenced) && code.Temporary()
}
