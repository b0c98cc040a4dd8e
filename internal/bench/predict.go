package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	predictRate    = 2000 // requests/s
	predictWorkers = 32   // each with a connection of its own
	predictRows    = 256  // that are asked for in turn
	predictTimeout = 10 * time.Second
)

// predictions prints how soon the service answers requests for predictions that come at a steady rate while it replays a
// topic at full speed, and how much they slow the replay down: rounds with and without requests take turns.
func predictions(ctx context.Context, c *cluster, dir string, o *options) error {
	rows := newRows(formatCSV, o.records)
	t, tests := &topic{name: "predictions", codec: "none", partitions: o.partitions, records: o.records}, newTests(rows)
	if err := errors.Join(c.fill(ctx, t, rows), c.fill(ctx, tests, rows)); err != nil {
		return err
	}
	binary, err := buildService(ctx, dir)
	if err != nil {
		return err
	}
	for _, model := range []string{"logistic", "mix"} {
		var alone, loaded, slower, p50, p99, most, reached []float64
		questions, err := questions(rows, model)
		if err != nil {
			return err
		}
		for round := range o.runs {
			var rate [2]float64
			for i, questions := range [][][]byte{nil, questions} {
				s, err := startService(ctx, binary, dir, c.addrs[0], t.name, fmt.Sprintf("predict-%s-%d-%d", model, round, i), never,
					"LEARNER_MODELS="+model, "LEARNER_TEST_TOPIC="+tests.name)
				if err != nil {
					return err
				}
				l := &traffic{addr: s.addr, questions: questions}
				rate[i], err = l.replay(ctx, s, o.records)
				if err := errors.Join(err, s.stop()); err != nil {
					return fmt.Errorf("%s: %w", model, err)
				}
				if questions == nil {
					continue
				}
				if err := l.check(o.records); err != nil {
					return fmt.Errorf("%s: %w", model, err)
				}
				took := l.took()
				at := func(q float64) float64 { return 1e3 * took[int(q*float64(len(took)-1))].Seconds() }
				p50, p99, most = append(p50, at(.5)), append(p99, at(.99)), append(most, at(1))
				reached = append(reached, float64(len(took))/l.lasted.Seconds())
			}
			alone, loaded, slower = append(alone, rate[0]), append(loaded, rate[1]), append(slower, 100*(1-rate[1]/rate[0]))
		}
		fmt.Printf("\npredictions of %s, %d requests/s due on %d connections during a replay of %d records: p50 %.2f ms, p99 %.2f ms "+
			"(medians of %d rounds), at most %.1f ms; %.0f requests/s reached, no error\n",
			model, predictRate, predictWorkers, o.records, median(p50), median(p99), o.runs, slices.Max(most), median(reached))
		fmt.Printf("learning: %.0f records/s without, %.0f with them, %.1f %% slower (medians)\n", median(alone), median(loaded), median(slower))
	}
	return nil
}

// questions returns requests for predictions, each of one row.
func questions(rows *rows, model string) ([][]byte, error) {
	var all [][]byte
	for i := range min(predictRows, rows.len()) {
		fields := strings.Split(strings.TrimSpace(string(rows.at(i))), ",")[1:]
		x := make([]float64, len(fields))
		for k, field := range fields {
			var err error
			if x[k], err = strconv.ParseFloat(field, 64); err != nil {
				return nil, err
			}
		}
		body, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{
			"name": "features", "shape": []int{1, len(x)}, "datatype": "FP64", "data": x,
		}}})
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Appendf(nil, "POST /v2/models/%s/infer HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			model, len(body), body))
	}
	return all, nil
}

// traffic asks one service for predictions. A request is due at a time that depends on no answer. Its time is taken from then on,
// so where answers are late, those behind them are, too; where a connection waited for that time, from when it woke.
type traffic struct {
	addr      string
	questions [][]byte // nil: it asks nothing
	began     time.Time
	next      atomic.Int64
	answers   [predictWorkers][]prediction // by connection
	lasted    time.Duration
}

// prediction is an answer.
type prediction struct {
	took time.Duration
	body []byte
}

// replay waits until the service has learned all records, and returns how many it learned in a second, from the first it is
// seen with. Meanwhile it asks.
func (l *traffic) replay(ctx context.Context, s *serviceProcess, records int) (rate float64, err error) {
	if err := s.until(ctx, func(st *serviceStatus) bool { return st.records() > 0 }); err != nil {
		return 0, err
	}
	l.began = time.Now()
	first := s.last.records()
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var wait sync.WaitGroup
	var failed [predictWorkers]error
	if l.questions != nil {
		for i := range predictWorkers {
			wait.Go(func() { l.answers[i], failed[i] = l.work(asking) })
		}
	}
	err = s.until(ctx, func(st *serviceStatus) bool { return st.CaughtUp && st.records() == records })
	l.lasted = time.Since(l.began)
	stop()
	wait.Wait()
	return float64(records-first) / l.lasted.Seconds(), errors.Join(err, errors.Join(failed[:]...))
}

// work asks on one connection until ctx ends.
func (l *traffic) work(ctx context.Context) ([]prediction, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	var all []prediction
	for {
		i := l.next.Add(1) - 1
		due := l.began.Add(time.Duration(i) * time.Second / predictRate)
		begin := due
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			begin = time.Now()
		}
		if ctx.Err() != nil {
			return all, nil
		}
		body, err := ask(conn, in, l.questions[i%int64(len(l.questions))])
		if err != nil {
			return all, err
		}
		all = append(all, prediction{time.Since(begin), body})
	}
}

// ask sends one request and returns the answer's body. It reads only what the service's answers have, as what it takes of the
// machine is taken from the service.
func ask(conn net.Conn, in *bufio.Reader, question []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(predictTimeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(question); err != nil {
		return nil, err
	}
	status, size := "", 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimSpace(line)
		if status == "" {
			status = string(line)
		} else if length, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(length)); err != nil {
				return nil, err
			}
		} else if len(line) == 0 {
			break
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, err
	}
	if status != "HTTP/1.1 200 OK" {
		return nil, fmt.Errorf("the service answers %s: %s", status, bytes.TrimSpace(body))
	}
	return body, nil
}

// took returns the times that the answers took, the shortest first.
func (l *traffic) took() []time.Duration {
	var all []time.Duration
	for _, answers := range l.answers {
		for _, a := range answers {
			all = append(all, a.took)
		}
	}
	slices.Sort(all)
	return all
}

// check looks whether every answer is a prediction of a version that can have been: all of one lineage, never older than what
// the connection has seen before, and of no more records than there are.
func (l *traffic) check(records int) error {
	lineage, versions := "", make(map[int]bool)
	for _, answers := range l.answers {
		last := 0
		for _, a := range answers {
			var p struct {
				Version string `json:"model_version"`
				Outputs []struct {
					Name string    `json:"name"`
					Data []float64 `json:"data"`
				} `json:"outputs"`
			}
			if err := json.Unmarshal(a.body, &p); err != nil {
				return fmt.Errorf("%w in the answer %s", err, a.body)
			}
			of, text, _ := strings.Cut(p.Version, ".")
			n, err := strconv.Atoi(text)
			if err != nil || of == "" || lineage != "" && of != lineage || n < max(last, 1) || n > records {
				return fmt.Errorf("version %q behind %s.%d, with %d records in the topic", p.Version, lineage, last, records)
			}
			if len(p.Outputs) == 0 || len(p.Outputs[0].Data) != 2 || p.Outputs[0].Data[0] < 0 || p.Outputs[0].Data[1] < 0 {
				return fmt.Errorf("no probabilities of two classes in the answer %s", a.body)
			}
			lineage, last, versions[n] = of, n, true
		}
	}
	if len(versions) < 2 {
		return fmt.Errorf("all answers are of the same %d versions, though the model learned meanwhile", len(versions))
	}
	return nil
}
