package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	checkpointPairs = 9
	// often is the interval that is measured. Commits in one run at 1 s would be too few to measure.
	often    = 100 * time.Millisecond
	usual    = time.Second
	never    = 24 * time.Hour
	httpWait = 20 * time.Millisecond
)

// checkpoints prints what checkpoints cost: CPU seconds per million records with one every 100 ms and with none but the
// first and the last, in interleaved pairs, and the time from the start of a process to its first record.
func checkpoints(ctx context.Context, c *cluster, dir string, o *options) error {
	t := &topic{name: "checkpoints", codec: "none", partitions: o.partitions, records: o.records}
	rows := newRows(formatCSV, o.records)
	if err := c.fill(ctx, t, rows); err != nil {
		return err
	}
	addr, topic, records := c.addrs[0], t.name, o.records
	binary, err := buildService(ctx, dir)
	if err != nil {
		return err
	}
	var with, without, ratio []float64
	commits := 0
	for pair := range checkpointPairs {
		cpu := map[time.Duration]float64{}
		for _, interval := range []time.Duration{often, never} {
			s, err := startService(ctx, binary, dir, addr, topic, fmt.Sprintf("cost-%d-%s", pair, interval), interval)
			if err != nil {
				return err
			}
			if err := s.until(ctx, func(st *serviceStatus) bool { return st.CaughtUp && st.records() == records }); err != nil {
				return errors.Join(err, s.stop())
			}
			sequence := s.last.Sequence
			if err := s.stop(); err != nil {
				return err
			}
			cpu[interval] = (s.process.ProcessState.UserTime() + s.process.ProcessState.SystemTime()).Seconds() / float64(records) * 1e6
			if interval == often {
				commits = sequence
			}
		}
		with, without = append(with, cpu[often]), append(without, cpu[never])
		ratio = append(ratio, cpu[often]/cpu[never]-1)
	}
	fmt.Printf("\ncheckpoints: CPU seconds per million records %.3f with one every %s (%d in a run), %.3f with none; medians of %d pairs\n",
		median(with), often, commits, median(without), checkpointPairs)
	fmt.Printf("cost of one every %s: %.2f %% measured; of one every %s, a tenth: %.2f %%\n", often, 100*median(ratio), usual, 10*median(ratio))

	var first []float64
	for range checkpointPairs {
		if err := c.send(ctx, t, rows, 1); err != nil {
			return err
		}
		records++
		began := time.Now()
		s, err := startService(ctx, binary, dir, addr, topic, fmt.Sprintf("cost-0-%s", never), never)
		if err != nil {
			return err
		}
		err = s.until(ctx, func(st *serviceStatus) bool { return st.records() == records })
		took := time.Since(began)
		if err := errors.Join(err, s.stop()); err != nil {
			return err
		}
		first = append(first, took.Seconds())
	}
	fmt.Printf("from process start to the first record learned, after a clean stop: %.2f s (median of %d)\n", median(first), checkpointPairs)
	return nil
}

// buildService builds the service into a directory.
func buildService(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "learner")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "learner/cmd/learner").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the service: %w: %s", err, out)
	}
	return binary, nil
}

// serviceProcess is a learner that runs as a process of its own.
type serviceProcess struct {
	process *exec.Cmd
	addr    string // of its HTTP server
	url     string // of its status
	last    serviceStatus
}

// serviceStatus is what is looked at of /api/status.
type serviceStatus struct {
	CaughtUp bool `json:"caught_up"`
	Sequence int  `json:"sequence"`
	Models   []struct {
		Records int `json:"records"`
	} `json:"models"`
}

func (s *serviceStatus) records() int {
	if len(s.Models) == 0 {
		return 0
	}
	return s.Models[0].Records
}

// startService starts the service on a topic, from its beginning. env are more variables, or others.
func startService(ctx context.Context, binary, dir, addr, topic, group string, interval time.Duration, env ...string) (*serviceProcess, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	web := listener.Addr().String()
	_ = listener.Close() // the service takes the port
	s := &serviceProcess{process: exec.CommandContext(ctx, binary), addr: web, url: "http://" + web + "/api/status"}
	s.process.Dir, s.process.Stderr = dir, io.Discard
	s.process.Env = append(os.Environ(),
		"CCLOUD_BOOTSTRAP_ENDPOINT="+addr, "LEARNER_TRAIN_TOPIC="+topic, "LEARNER_TEST_TOPIC="+topic+"-test", "LEARNER_GROUP="+group,
		"LEARNER_HTTP_ADDR="+web, "LEARNER_ADMIN_ADDR=none", "LEARNER_MODELS=logistic", "LEARNER_CHECKPOINT_INTERVAL="+interval.String())
	s.process.Env = append(s.process.Env, env...) // of several of one name the last counts
	return s, s.process.Start()
}

// until waits for a status.
func (s *serviceProcess) until(ctx context.Context, ok func(*serviceStatus) bool) error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(httpWait) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			s.last = serviceStatus{}
			err = json.NewDecoder(answer.Body).Decode(&s.last)
			if _ = answer.Body.Close(); err == nil && ok(&s.last) {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the service does not get there: %+v", s.last)
		}
	}
}

func (s *serviceProcess) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.process.Wait()
}
