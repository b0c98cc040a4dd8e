package main

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"syscall"
	"testing"
	"time"

	"learner/pkg/checkpoint"
	"learner/pkg/producer"
	"learner/pkg/susy"
	"learner/pkg/train"
)

const (
	championRecords = 160_000
	championTwinAge = 20_000
)

// TestChampion holds that of models that learn side by side the best one gets the lead and keeps it, on a topic keyed by
// its labels, that everything shows it, and that stops, kills, and restarts change nothing of it.
func TestChampion(t *testing.T) {
	needsTime(t)
	binary := buildLearner(t, killPoints...)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster)
			c.create(t, 6, nil)
			c.writeKeyed(t, championRecords)
			c.env = c.with("LEARNER_MODELS=pa;logistic;mix", "LEARNER_CHAMPION=best", "LEARNER_TWIN_AGE="+strconv.Itoa(championTwinAge),
				"LEARNER_CHECKPOINT_INTERVAL=100ms", "LEARNER_CHECKPOINT_TOPIC="+c.train+"-checkpoints")
			whole := c.as("whole")
			s := startService(t, whole)
			s.learns(championRecords)
			leads(t, s, "holder")
			standby := startService(t, whole)
			standby.standsBy()
			standby.eventually("follows", func() bool { return standby.status().Sequence == s.status().Sequence })
			standby.eventually("measures", func() bool { return standby.status().Test != nil })
			leads(t, standby, "standby")
			standby.stops()
			s.stops()
			want := whole.newest(t)

			restarted := c.as("restarted", "LEARNER_INSTANCE_ID=one") // which has the partitions back at once
			if middle := restarted.interrupt(t, binary); middle == 0 {
				t.Error("no start was in the middle of the log")
			} else {
				t.Logf("%d starts were in the middle of the log", middle)
			}
			s = startService(t, restarted)
			s.learns(championRecords)
			leads(t, s, "restarted holder")
			s.stops()
			got := restarted.newest(t)
			same(t, "after stops and kills", parts(t, got), parts(t, want))
			if got.Champion != want.Champion || got.Records != want.Records {
				t.Errorf("champion %s after %d records, want %s after %d", got.Champion, got.Records, want.Champion, want.Records)
			}

			// Started once more, there is nothing to learn, and all is as it was.
			s = startService(t, restarted)
			s.ready()
			s.decides(checkpoint.RowResume)
			leads(t, s, "started again")
			s.stops()
			same(t, "after another start", parts(t, restarted.newest(t)), parts(t, want))
		})
	}
}

// writeKeyed writes generated events to the train topic, each to a partition by its label, four with one timestamp,
// and some others to the test topic.
func (c *testCluster) writeKeyed(t *testing.T, records int) {
	t.Helper()
	p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: c.train, BatchBytes: 100_000, Linger: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	g := susy.NewGenerator(1)
	var x [susy.Features]float64
	at := time.Now().Add(-time.Hour)
	for i := range records {
		label := g.Next(&x)
		line := susy.AppendCSV(nil, label, &x)
		key := labelKeys[line[0]-'0']
		if err := p.Send(t.Context(), partitionOf(key, p.Partitions()), at.Add(time.Duration(i/4)*time.Millisecond), key, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	tests := make([]string, 2000)
	for i := range tests {
		tests[i] = string(susy.AppendCSV(nil, g.Next(&x), &x))
	}
	c.produce(t, c.test, tests)
}

// leads holds that mix has the lead, has not lost it since it had it first, and that status and metrics show so.
func leads(t *testing.T, s *running, who string) {
	t.Helper()
	var st status
	s.eventually("has compared all records", func() bool {
		st = s.status()
		return len(st.Baselines) > 0 && st.Baselines[0].Records == championRecords
	})
	changes, since := 0, uint64(0)
	for _, e := range st.Events {
		if e.Kind != train.ChampionChanged {
			continue
		}
		changes++
		if e.Before == "mix" {
			t.Errorf("%s: mix has lost the lead at record %d", who, e.Record)
		}
		if e.Champion == "mix" {
			since = e.Record
		}
	}
	c := st.Champion
	if c.Name != "mix" || c.Since == nil || *c.Since != since || since < 10_000 || since >= championRecords || c.Changes != uint64(changes) {
		t.Errorf("%s: champion %+v (since %d), events %+v", who, c, since, st.Events)
	}
	t.Logf("%s: mix leads since record %d, after %d changes", who, since, changes)
	m := s.metrics()
	for _, model := range st.Models {
		of := `{model="` + model.Name + `"}`
		champion := model.Name == "mix"
		if model.Champion != champion || (m["learner_champion"+of] == 1) != champion {
			t.Errorf("%s: model %s is the champion: status says %v, metric %v", who, model.Name, model.Champion, m["learner_champion"+of])
		}
		if model.Records != championRecords || model.RecentRecords < 9900 || m["learner_model_recent_records"+of] != float64(model.RecentRecords) {
			t.Errorf("%s: model %s has learned %d records, recent %d, metric %v", who, model.Name, model.Records, model.RecentRecords,
				m["learner_model_recent_records"+of])
		}
		accuracy, loss := float64(model.RecentAccuracy), float64(model.RecentLoss)
		if accuracy < .65 || accuracy > .85 || loss < .4 || m["learner_model_recent_accuracy_ratio"+of] != accuracy || m["learner_model_recent_loss"+of] != loss {
			t.Errorf("%s: model %s scores %v, %v on recent records", who, model.Name, accuracy, loss)
		}
		if champion {
			if model.Comparison != nil {
				t.Errorf("%s: the champion is compared with itself: %+v", who, model.Comparison)
			}
			continue
		}
		x := model.Comparison
		if x == nil || x.Records == 0 || x.Difference >= 0 || x.Low > x.Difference || x.High < x.Difference ||
			m["learner_comparison_difference"+of] != float64(x.Difference) || m["learner_comparison_low"+of] != float64(x.Low) ||
			m["learner_comparison_high"+of] != float64(x.High) || m["learner_comparison_records"+of] != float64(x.Records) {
			t.Errorf("%s: model %s is compared with mix as %+v", who, model.Name, x)
			continue
		}
		t.Logf("%s: %s is worse by %.4f (%.4f to %.4f) over %d records", who, model.Name, -x.Difference, -x.High, -x.Low, x.Records)
	}
	if age := m["learner_twin_age_records"]; st.TwinAge < championTwinAge || st.TwinAge > 2*championTwinAge || age != float64(st.TwinAge) {
		t.Errorf("%s: the twin is %d records old, metric %v", who, st.TwinAge, age)
	}
	for _, name := range []string{train.Majority, train.LastLabel, train.FrozenTwin} {
		accuracy := m[`learner_baseline_recent_accuracy_ratio{baseline="`+name+`"}`]
		test := m[`learner_test_baseline_accuracy_ratio{baseline="`+name+`"}`]
		if least := map[bool]float64{true: .7, false: .2}[name == train.FrozenTwin]; !(accuracy > least) || !(test > least) {
			t.Errorf("%s: baseline %s has accuracy %v, on the test topic %v", who, name, accuracy, test)
		}
	}
}

// interrupt starts processes one after the other that learn on, and ends each: at a kill point, at a random moment by
// SIGKILL, or in order. It returns how many of them began in the middle of the log.
func (c *testCluster) interrupt(t *testing.T, binary string) (middle int) {
	t.Helper()
	random := rand.New(rand.NewPCG(killSeed(t), 0))
	const atRandom, inOrder = "random", "stop" // no kill points
	for _, end := range []string{"commit 2", atRandom, inOrder, "manifest 2", atRandom, inOrder, "commit 1"} {
		v := startVictim(t, binary, c, "GOMAXPROCS=1", "KILL_AT="+end)
		if !v.within(time.Minute, func() bool { return v.find(learningLine) != nil }) && v.find(learningLine) == nil {
			t.Fatalf("the process does not begin to learn:\n%s", v.log)
		}
		next := int64(0)
		for _, offset := range v.find(learningLine).Offsets {
			next += offset
		}
		if next > 0 && next < championRecords {
			middle++
		}
		switch end {
		case inOrder:
			if err := v.process.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			<-v.ended
			if code := v.process.ProcessState.ExitCode(); code != exitClean {
				t.Errorf("exit code %d", code)
			}
			continue
		case atRandom:
			time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
		default:
			v.within(time.Minute, v.isReady) // until it is killed, or will not come there any more
		}
		v.kill()
	}
	return middle
}

// newest returns the checkpoint that the group has committed last.
func (c *testCluster) newest(t *testing.T) *checkpoint.Checkpoint {
	t.Helper()
	store, err := openStore(t.Context(), c.config(t), c.kafka(t), false)
	if err != nil {
		t.Fatal(err)
	}
	data, err := store.Get(t.Context(), newestOf(c.commits(t)))
	if err != nil {
		t.Fatal(err)
	}
	newest, err := checkpoint.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return newest
}

// parts returns the states of the models of a checkpoint, and under no name that of their comparison, as bytes.
func parts(t *testing.T, c *checkpoint.Checkpoint) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, m := range append([]checkpoint.Model{{Tensors: c.Comparison}}, c.Models...) {
		var file bytes.Buffer
		if err := checkpoint.WriteSafetensors(&file, m.Tensors, nil); err != nil {
			t.Fatal(err)
		}
		all[m.Name] = file.String()
	}
	return all
}
