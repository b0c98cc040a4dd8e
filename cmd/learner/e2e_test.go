package main

import (
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"learner/pkg/checkpoint"
	"learner/pkg/producer"
)

// TestLearnsSUSY loads a file with learner load, learns it to the end, and compares the final test accuracy with an
// implementation of the same learner that shares no code with it, on the same rows.
func TestLearnsSUSY(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.load(t, "--create", susyFile)
		s := startService(t, c)
		s.ready()
		m := s.metrics()

		trainLines, testLines := splitLines(susyLines(t), 1, .7) // as learner load does
		learned, tested := sum(m, "learner_consumer_records_total", c.train), sum(m, "learner_consumer_records_total", c.test)
		if learned != float64(len(trainLines)) || tested != float64(len(testLines)) {
			t.Errorf("%v records learned and %v tested, want %d and %d", learned, tested, len(trainLines), len(testLines))
		}
		if lag := sum(m, "learner_consumer_lag_records"); lag != 0 {
			t.Errorf("lag %v after learning to the end", lag)
		}
		accuracy, loss := m[`learner_test_accuracy_ratio{model="logistic"}`], m[`learner_test_loss{model="logistic"}`]
		want := referenceAccuracy(parsed(t, trainLines), parsed(t, testLines))
		t.Logf("test accuracy %.4f, log loss %.4f; independent implementation %.4f", accuracy, loss, want)
		if math.Abs(accuracy-want) > .005 {
			t.Errorf("test accuracy %.4f, independent implementation %.4f", accuracy, want)
		}
		if loss < .4 || loss > .52 {
			t.Errorf("test loss %.4f", loss)
		}
		if majority := m[`learner_test_baseline_accuracy_ratio{baseline="majority"}`]; majority < .5 || majority > .56 {
			t.Errorf("majority class scores %.4f on balanced rows", majority)
		}
		if progressive := m[`learner_model_progressive_accuracy_ratio{model="logistic"}`]; math.Abs(progressive-.769) > .015 {
			t.Errorf("progressive accuracy %.4f", progressive)
		}
		if got := m[`learner_ready`]; got != 1 {
			t.Errorf("learner_ready is %v", got)
		}

		_, state := s.get("/api/models/logistic/state")
		tensors, _, err := checkpoint.ReadSafetensors(state)
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range tensors {
			if tensor.Name == "weights" && tensor.Shape[0] != 1+18 {
				t.Errorf("intercept and weights have shape %v", tensor.Shape)
			}
		}
		if code := s.stop(); code != exitClean {
			t.Errorf("exit code %d", code)
		}
	})
}

// parsed returns the label and features of every line.
func parsed(t *testing.T, lines []string) (rows [][]float64) {
	t.Helper()
	for _, line := range lines {
		var row []float64
		for field := range strings.SplitSeq(line, ",") {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, v)
		}
		rows = append(rows, row)
	}
	return rows
}

// referenceAccuracy learns rows (label first) one by one with logistic regression on running z-scores, clipped at 5,
// with rate 0.5/sqrt(t), and returns the accuracy on test.
func referenceAccuracy(train, test [][]float64) float64 {
	d := len(train[0]) - 1
	sums, squares, w := make([]float64, d), make([]float64, d), make([]float64, d+1)
	n := 0.
	margin := func(row, z []float64) float64 {
		m := w[d]
		for j, x := range row[1:] {
			mean := sums[j] / n
			if sd := math.Sqrt(squares[j]/n - mean*mean); sd > 0 {
				z[j] = math.Max(-5, math.Min(5, (x-mean)/sd))
			}
			m += w[j] * z[j]
		}
		return m
	}
	for _, row := range train {
		n++
		for j, x := range row[1:] {
			sums[j] += x
			squares[j] += x * x
		}
		z := make([]float64, d)
		g := 1/(1+math.Exp(-margin(row, z))) - row[0]
		rate := .5 / math.Sqrt(n)
		for j := range z {
			w[j] -= rate * g * z[j]
		}
		w[d] -= rate * g
	}
	correct := 0
	for _, row := range test {
		if (margin(row, make([]float64, d)) >= 0) == (row[0] == 1) {
			correct++
		}
	}
	return float64(correct) / float64(len(test))
}

// TestKeyedByLabel learns a topic whose producers key each record by its label, so that each partition holds one class
// only, and compares with the same rows spread evenly.
func TestKeyedByLabel(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		accuracy := func(name, order string, fill func(own *testCluster)) float64 {
			own := *c
			own.train, own.test = c.train+name, c.test+name
			own.env = c.with("LEARNER_TRAIN_TOPIC="+own.train, "LEARNER_TEST_TOPIC="+own.test,
				"LEARNER_GROUP="+c.group+name, "LEARNER_ORDER="+order)
			fill(&own)
			s := startService(t, &own)
			s.ready()
			defer s.stop()
			return s.metrics()[`learner_test_accuracy_ratio{model="logistic"}`]
		}
		want := accuracy("even", "time", func(own *testCluster) { own.load(t, "--create", susyFile) })
		keyed := func(own *testCluster) { own.load(t, "--create", "--key", "label", susyFile) }
		for name, got := range map[string]float64{
			"by create time": accuracy("create", "time", keyed),
			"by append time": accuracy("append", "time", func(own *testCluster) { own.appendKeyed(t) }),
			"by progress":    accuracy("progress", "progress", keyed),
		} {
			t.Logf("%s: test accuracy %.4f, spread evenly %.4f", name, got, want)
			if math.Abs(got-want) > .005 {
				t.Errorf("%s: test accuracy %.4f, spread evenly %.4f", name, got, want)
			}
		}
	})
}

// appendKeyed fills LogAppendTime topics with the split of learner load, the training rows in partitions by label, in
// batches of up to 1 MB whose partitions fill at the same time.
func (c *testCluster) appendKeyed(t *testing.T) {
	t.Helper()
	c.create(t, 6, map[string]string{"message.timestamp.type": "LogAppendTime"})
	p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: c.train, BatchBytes: 1_000_000, Linger: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	train, test := splitLines(susyLines(t), 1, .7)
	for i, line := range train {
		// The first batches are short: a producer's first words to a partition take their time.
		if i == 10 || i == 3500 {
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		label, _, _ := cutLabel([]byte(line))
		if err := p.Send(t.Context(), partitionOf(labelKeys[label], 6), time.Now(), labelKeys[label], []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.produce(t, c.test, test)
}

// TestLabelInTheKey learns the layout of the TensorFlow-IO Kafka tutorial.
func TestLabelInTheKey(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.load(t, "--create", "--layout", "tensorflow", susyFile)
		s := startService(t, c, "LEARNER_LABEL=key")
		s.ready()
		m := s.metrics()
		if got := sum(m, "learner_consumer_skipped_records_total"); got != 0 {
			t.Errorf("%v records refused", got)
		}
		if got := m[`learner_test_accuracy_ratio{model="logistic"}`]; got < .74 {
			t.Errorf("test accuracy %.4f", got)
		}
		if got := s.status().Features; got != 18 {
			t.Errorf("%d features", got)
		}
	})
}

// TestBadRecords holds that what is no row is counted by reason, and logged with its place.
func TestBadRecords(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.create(t, 1, nil)
		values := []string{"label,a,b"}
		for i := range 200 {
			values = append(values, strconv.Itoa(i%2)+",1.5,"+strconv.Itoa(i))
		}
		values = append(values, "<null>", "", "1,nan,2", "1,x,2", "2,1,2", "1,1", "1,1,2,3", "1,\xff,2", "1,1e999,2", "\"1\", 1.5 ,\"2\"")
		c.produce(t, c.train, values)
		c.produce(t, c.test, []string{"0,1,2"})
		s := startService(t, c)
		s.ready()
		m := s.metrics()
		for reason, want := range map[string]float64{
			"tombstone": 1, "empty": 1, "non_finite": 2, "number": 1, "label": 1, "arity": 2, "utf8": 1, "decode": 0,
		} {
			if got := sum(m, "learner_consumer_skipped_records_total", c.train, `reason="`+reason+`"`); got != want {
				t.Errorf("%v records refused for %s, want %v", got, reason, want)
			}
		}
		if got := sum(m, "learner_consumer_records_total", c.train); got != 201 {
			t.Errorf("%v records learned, want 201", got)
		}
		if got := s.log.String(); !strings.Contains(got, `"partition":0,"offset":201,"reason":"tombstone"`) {
			t.Error("the log does not name the place of the null record")
		}
	})
}

// TestStandby holds that one member learns and others stand by, coming and going without disturbing it, and that a
// standby goes on when the holder is killed.
func TestStandby(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "learner")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.load(t, "--create", susyFile)
		holder := &safeBuffer{}
		process := exec.Command(binary)
		process.Env, process.Dir, process.Stderr = append(os.Environ(), c.env...), t.TempDir(), holder
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = process.Process.Kill()
			_ = process.Wait()
		})
		first := &running{t: t, log: holder, stop: func() int { return 0 }}
		first.eventually("listens", func() bool {
			m := listening.FindStringSubmatch(holder.String())
			if m != nil {
				first.url = "http://" + m[1]
			}
			return m != nil
		})
		first.ready()

		for range 2 {
			passing := startService(t, c)
			passing.eventually("stands by", func() bool { return passing.status().Role == "standby" })
			passing.eventually("is ready, by what the holder committed", func() bool {
				code, _ := passing.get("/readyz")
				return code == http.StatusOK
			})
			passing.eventually("has the model's state", func() bool {
				code, _ := passing.get("/api/models/logistic/state")
				return code == http.StatusOK
			})
			if st := passing.status(); st.Role != "standby" || st.Lineage != first.status().Lineage {
				t.Errorf("role %s, lineage %s, the holder's is %s", st.Role, st.Lineage, first.status().Lineage)
			}
			if code := passing.stop(); code != exitClean {
				t.Errorf("exit code %d", code)
			}
		}
		second := startService(t, c)
		second.eventually("stands by", func() bool { return second.status().Role == "standby" })
		more := susyLines(t)[:100]
		want := first.status().Models[0].Records + uint64(len(more))
		c.produce(t, c.train, more)
		first.eventually("learns what comes", func() bool { return first.status().Models[0].Records == want })
		m := first.metrics()
		if got := sum(m, "learner_train_restarts_total"); got != 1 {
			t.Errorf("the holder began %v times", got)
		}
		if got := sum(m, "learner_consumer_rebalances_total", `event="assigned"`); got != 1 {
			t.Errorf("the holder was assigned the partitions %v times", got)
		}

		if err := process.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		second.eventually("takes over", func() bool { return second.status().Role == "holder" })
		second.eventually("goes on to the end", func() bool {
			st := second.status()
			return len(st.Models) > 0 && st.Models[0].Records == want
		})
		t.Logf("taken over and learned %d records %.1f s after the kill", want, time.Since(killed).Seconds())
	})
}

// TestStartErrors holds that what cannot work ends the process soon, with one clear error.
func TestStartErrors(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "embedded")
	secure := startCluster(t, "embedded SASL_SSL")
	secure.create(t, 1, nil)
	for _, tt := range []struct {
		name string
		env  []string
		want string
	}{
		{"missing topic", c.env, c.train},
		{"unknown host", c.with("CCLOUD_BOOTSTRAP_ENDPOINT=no-such-host.invalid:9092"), "no-such-host.invalid"},
		{"wrong password", secure.with("CCLOUD_CLUSTER_API_SECRET=wrong"), "CCLOUD_CLUSTER_API_SECRET"},
		{"no TLS", secure.with("LEARNER_SECURITY=sasl_plaintext"), "TLS"},
		{"untrusted certificate", secure.with("LEARNER_TLS_CA_FILE="), "LEARNER_TLS_CA_FILE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			got := runWith(t, tt.env)
			if got.code != exitFailure {
				t.Errorf("exit code %d", got.code)
			}
			var errs []string
			for line := range strings.Lines(got.stderr) {
				if strings.HasPrefix(line, "learner: ") {
					errs = append(errs, line)
				}
			}
			if len(errs) != 1 || !strings.Contains(errs[0], tt.want) || strings.Contains(got.stderr, "wrong\"") {
				t.Errorf("errors %q, want one that names %s", errs, tt.want)
			}
			if took := time.Since(start); took > 16*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}
