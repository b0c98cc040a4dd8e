package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// job says what a child process measures. Each measurement has a process of its own, so that memory, collector, and
// processor time of one are not those of another.
type job struct {
	Stage   string
	Brokers []string
	Topic   string
	Tests   string // test topic; empty: there is no evaluation
	Records int
	Models  string
	Profile string // file for a CPU profile; empty: none
}

// result is what a child measured.
type result struct {
	Records      int
	Seconds      float64            // from the first call to the last record
	CPU          float64            // processor seconds of the process meanwhile
	Allocs       float64            // allocations per record
	SteadyAllocs float64            // the same, for the records behind the first quarter
	Peak         float64            // most memory that the process held, bytes
	Figures      map[string]float64 // of stages that measure something else

	after func() error // what remains to be done and is not measured; nil: nothing
}

func (r *result) rate() float64 { return float64(r.Records) / r.Seconds }

// work is what is measured in a child. What runs on behind it ends with the process, whose broker may hold its last answer
// back for a while.
type work func(ctx context.Context, j *job, r *result) error

// child does the job that is given as JSON and prints its result as JSON.
func child(ctx context.Context, text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	do, ok := stages[j.Stage]
	if !ok {
		return fmt.Errorf("no stage %q", j.Stage)
	}
	r, err := measure(ctx, &j, do)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func measure(ctx context.Context, j *job, do work) (*result, error) {
	if j.Profile != "" {
		f, err := os.Create(j.Profile)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // the profile is complete, or the reader of it will say so
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
		defer pprof.StopCPUProfile()
	}
	r := &result{}
	allocs, cpu, start := mallocs(), cpuTime(), time.Now()
	err := do(ctx, j, r)
	r.Seconds, r.CPU = time.Since(start).Seconds(), cpuTime()-cpu
	r.Allocs = float64(mallocs()-allocs) / float64(max(r.Records, 1))
	if err == nil && r.after != nil {
		err = r.after()
	}
	if err == nil && r.Records != j.Records {
		err = fmt.Errorf("%d records of %d", r.Records, j.Records)
	}
	if err != nil {
		return nil, err
	}
	r.Peak, err = peak()
	return r, err
}

// mallocs returns how often the process has allocated.
func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// cpuTime returns the processor seconds that the process has used.
func cpuTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// peak returns the most memory that the process has held so far, in bytes.
func peak() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 64)
			return n * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/self/status")
}

// spawn has a child do the job.
func spawn(ctx context.Context, j *job) (*result, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], "-child", string(text))
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	r := &result{}
	return r, json.Unmarshal(out.Bytes(), r)
}
