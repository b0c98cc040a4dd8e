package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// drainFranz reads the topic with franz-go, its options left as they are, and counts the records.
func drainFranz(ctx context.Context, j *job, r *result) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(j.Brokers...), kgo.ConsumeTopics(j.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	for r.Records < j.Records {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		r.Records += fetches.NumRecords()
	}
	return nil
}

// drainKafkaGo reads the topic with one kafka-go Reader for each partition.
func drainKafkaGo(ctx context.Context, j *job, r *result) error {
	conn, err := kafka.DialContext(ctx, "tcp", j.Brokers[0])
	if err != nil {
		return err
	}
	partitions, err := conn.ReadPartitions(j.Topic)
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	var count atomic.Int64
	all := make(chan struct{})
	failed := make(chan error, len(partitions))
	for _, p := range partitions {
		go func() {
			reader := kafka.NewReader(kafka.ReaderConfig{Brokers: j.Brokers, Topic: j.Topic, Partition: p.ID})
			for {
				if _, err := reader.ReadMessage(ctx); err != nil {
					failed <- err
					return
				}
				if count.Add(1) == int64(j.Records) {
					close(all)
				}
			}
		}()
	}
	select {
	case <-all:
		r.Records = j.Records
		return nil
	case err := <-failed:
		return err
	}
}

// errAbsent comes from a peer that is not installed.
var errAbsent = errors.New("not installed")

// drainKcat reads the topic with kcat, which formats nothing and writes nothing, until what end says: -e, until the brokers
// say that there are no more records, for which they let it wait; -c and a number, behind so many records.
func drainKcat(ctx context.Context, j *job, end ...string) (*result, error) {
	path, err := exec.LookPath("kcat")
	if err != nil {
		return nil, errAbsent
	}
	return timed(exec.CommandContext(ctx, path, append([]string{
		"-C", "-b", strings.Join(j.Brokers, ","), "-t", j.Topic,
		"-o", "beginning", "-q", "-f", "",
	}, end...)...), j.Records)
}

// timed runs a foreign program, from its start to its end.
func timed(cmd *exec.Cmd, records int) (*result, error) {
	cmd.Stderr = io.Discard
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	took := time.Since(start).Seconds()
	state := cmd.ProcessState
	return &result{Records: records, Seconds: took, CPU: (state.UserTime() + state.SystemTime()).Seconds()}, nil
}

// vowpal is Vowpal Wabbit, which learns the rows from a file of its own format.
type vowpal struct {
	command []string // what runs before its arguments
	file    string
	records int
}

// vowpalRecords are enough for a rate: it takes a few microseconds for each.
const vowpalRecords = 200_000

// newVowpal looks for the program vw, or else for a Python that has the package vowpalwabbit, and writes the file.
func newVowpal(ctx context.Context, python, dir string, rows *rows) (*vowpal, error) {
	v := &vowpal{file: dir + "/rows.vw", records: min(vowpalRecords, rows.len())}
	if path, err := exec.LookPath("vw"); err == nil {
		v.command = []string{path}
	} else if exec.CommandContext(ctx, python, "-c", "import vowpalwabbit").Run() == nil {
		v.command = []string{python, "-c", "import sys, vowpalwabbit; vowpalwabbit.Workspace(arg_list=sys.argv[1:]).finish()"}
	} else {
		return nil, errAbsent
	}
	f, err := os.Create(v.file)
	if err != nil {
		return nil, err
	}
	var line strings.Builder
	for i := range v.records {
		line.Reset()
		for k, field := range strings.Split(string(rows.at(i)), ",") {
			switch {
			case k > 0:
				fmt.Fprintf(&line, " f%d:%s", k, field)
			case field[0] == '1':
				line.WriteString("1 |")
			default:
				line.WriteString("-1 |")
			}
		}
		line.WriteByte('\n')
		if _, err := f.WriteString(line.String()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return v, f.Close()
}

// learn has it learn the file.
func (v *vowpal) learn(ctx context.Context) (*result, error) {
	args := slices.Concat(v.command[1:], []string{"--quiet", "--loss_function", "logistic", "-d", v.file})
	return timed(exec.CommandContext(ctx, v.command[0], args...), v.records)
}
