package metrics

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"learner/pkg/evaluate"
	"learner/pkg/record"
	"learner/pkg/sgd"
)

func newMetrics(t *testing.T) (*Metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m := New(reg, Config{
		Version: "1.2.3", Revision: "abc", TrainTopic: "train", TestTopic: "test", Models: []string{"logistic"},
	})
	return m, reg
}

// expect compares the series of the families that want speaks of, whose TYPE lines name them.
func expect(t *testing.T, reg prometheus.Gatherer, want string) {
	t.Helper()
	var full strings.Builder
	var names []string
	help := map[string]string{}
	for _, f := range Families() {
		help[f.Name] = f.Help
	}
	for line := range strings.Lines(want) {
		line = strings.TrimLeft(line, "\t")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
			fmt.Fprintf(&full, "# HELP %s %s\n", name, help[name])
		}
		full.WriteString(line)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(full.String()), names...); err != nil {
		t.Error(err)
	}
}

func TestSeriesThatExistFromTheStart(t *testing.T) {
	_, reg := newMetrics(t)
	expect(t, reg, `# TYPE learner_ready gauge
		learner_ready 0
		# TYPE learner_role gauge
		learner_role{role="holder"} 0
		learner_role{role="standby"} 0
		# TYPE learner_consumer_rebalances_total counter
		learner_consumer_rebalances_total{event="assigned"} 0
		learner_consumer_rebalances_total{event="lost"} 0
		learner_consumer_rebalances_total{event="revoked"} 0
		# TYPE learner_consumer_errors_total counter
		learner_consumer_errors_total{kind="auth"} 0
		learner_consumer_errors_total{kind="commit"} 0
		learner_consumer_errors_total{kind="dial"} 0
		learner_consumer_errors_total{kind="fetch"} 0
		learner_consumer_errors_total{kind="join"} 0
		# TYPE learner_train_restarts_total counter
		learner_train_restarts_total{reason="diverged"} 0
		learner_train_restarts_total{reason="manual"} 0
		learner_train_restarts_total{reason="reset_offset"} 0
		learner_train_restarts_total{reason="start"} 0
		# TYPE learner_train_predictions_total counter
		learner_train_predictions_total{model="logistic",outcome="correct"} 0
		learner_train_predictions_total{model="logistic",outcome="incorrect"} 0
		# TYPE learner_train_nonfinite_total counter
		learner_train_nonfinite_total{model="logistic"} 0
		# TYPE learner_predictions_total counter
		learner_predictions_total{class="0",model="logistic"} 0
		learner_predictions_total{class="1",model="logistic"} 0
		# TYPE learner_test_accuracy_ratio gauge
		learner_test_accuracy_ratio{model="logistic"} NaN
		# TYPE learner_test_baseline_loss gauge
		learner_test_baseline_loss{baseline="frozen_twin"} NaN
		learner_test_baseline_loss{baseline="last_label"} NaN
		learner_test_baseline_loss{baseline="majority"} NaN
		# TYPE learner_model_recent_records gauge
		learner_model_recent_records{model="logistic"} NaN
		# TYPE learner_comparison_records gauge
		learner_comparison_records{model="logistic"} NaN
		# TYPE learner_champion_changes_total counter
		learner_champion_changes_total 0
		# TYPE learner_baseline_recent_loss gauge
		learner_baseline_recent_loss{baseline="frozen_twin"} NaN
		learner_baseline_recent_loss{baseline="last_label"} NaN
		learner_baseline_recent_loss{baseline="majority"} NaN
		# TYPE learner_twin_age_records gauge
		learner_twin_age_records NaN
		# TYPE learner_drift_detected_total counter
		learner_drift_detected_total{detector="adwin",signal="champion"} 0
		learner_drift_detected_total{detector="adwin",signal="excess"} 0
		learner_drift_detected_total{detector="page_hinkley",signal="champion"} 0
		learner_drift_detected_total{detector="page_hinkley",signal="excess"} 0
		learner_drift_detected_total{detector="psi",signal="features"} 0
		# TYPE learner_drift_score gauge
		learner_drift_score{detector="adwin",signal="champion"} NaN
		learner_drift_score{detector="adwin",signal="excess"} NaN
		learner_drift_score{detector="page_hinkley",signal="champion"} NaN
		learner_drift_score{detector="page_hinkley",signal="excess"} NaN
		learner_drift_score{detector="psi",signal="features"} NaN
		# TYPE learner_test_runs_total counter
		learner_test_runs_total{result="failure"} 0
		learner_test_runs_total{result="success"} 0
		# TYPE learner_consumer_last_record_timestamp_seconds gauge
		learner_consumer_last_record_timestamp_seconds{topic="test"} NaN
		learner_consumer_last_record_timestamp_seconds{topic="train"} NaN
	`)
	if n, want := count(t, reg, "learner_consumer_skipped_records_total"), 2*len(record.Reasons()); n != want {
		t.Errorf("%d series of refused records before any was refused, want %d", n, want)
	}
	if n := count(t, reg, "learner_consumer_lag_records"); n != 0 {
		t.Errorf("%d series of lag before any was told: a sum over them would be wrong", n)
	}
}

func count(t *testing.T, reg prometheus.Gatherer, name string) int {
	t.Helper()
	n, err := testutil.GatherAndCount(reg, name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestConsuming(t *testing.T) {
	m, reg := newMetrics(t)
	m.Assigned(2)
	m.Role(true)
	m.Rebalanced("assigned")
	m.Passed(0, 100, 2000, 107, time.UnixMilli(1_700_000_000_250))
	m.Passed(0, 20, 500, 127, time.UnixMilli(1_700_000_001_500))
	m.Passed(1, 0, 61, 3, time.Time{}) // a control batch
	m.Test.Passed(4, 5, 50, 6, time.Unix(1_600_000_000, 0))
	m.Refused(0, record.Refusal{Offset: 9, Err: &record.Bad{Reason: record.Arity}})
	m.Refused(1, record.Refusal{Offset: 9, Err: &record.Bad{Reason: record.Arity}})
	m.Test.Refused(4, record.Refusal{Offset: 9, Err: &record.Bad{Reason: record.Decode}})
	m.Lost(1, 7)
	m.Lag(0, 12, 1500e-3, 3)
	m.Waiting(1)
	m.DrawnBack(1)
	m.ConsumerError("fetch")
	m.Committed()
	m.Throttled(250 * time.Millisecond)
	m.Throttled(-time.Second) // a broker can say anything
	expect(t, reg, `# TYPE learner_consumer_records_total counter
		learner_consumer_records_total{partition="0",topic="train"} 120
		learner_consumer_records_total{partition="1",topic="train"} 0
		learner_consumer_records_total{partition="4",topic="test"} 5
		# TYPE learner_consumer_bytes_total counter
		learner_consumer_bytes_total{topic="test"} 50
		learner_consumer_bytes_total{topic="train"} 2561
		# TYPE learner_consumer_offset gauge
		learner_consumer_offset{partition="0",topic="train"} 127
		learner_consumer_offset{partition="1",topic="train"} 3
		learner_consumer_offset{partition="4",topic="test"} 6
		# TYPE learner_consumer_last_record_timestamp_seconds gauge
		learner_consumer_last_record_timestamp_seconds{topic="test"} 1.6e+09
		learner_consumer_last_record_timestamp_seconds{topic="train"} 1.7000000015e+09
		# TYPE learner_consumer_lost_records_total counter
		learner_consumer_lost_records_total{partition="0",topic="train"} 0
		learner_consumer_lost_records_total{partition="1",topic="train"} 7
		learner_consumer_lost_records_total{partition="4",topic="test"} 0
		# TYPE learner_consumer_lag_records gauge
		learner_consumer_lag_records{partition="0",topic="train"} 12
		# TYPE learner_consumer_lag_seconds gauge
		learner_consumer_lag_seconds{partition="0",topic="train"} 1.5
		# TYPE learner_consumer_open_transaction_records gauge
		learner_consumer_open_transaction_records{partition="0",topic="train"} 3
		# TYPE learner_order_waiting_partitions gauge
		learner_order_waiting_partitions 1
		# TYPE learner_order_ends_drawn_back_total counter
		learner_order_ends_drawn_back_total{partition="0",topic="train"} 0
		learner_order_ends_drawn_back_total{partition="1",topic="train"} 1
		# TYPE learner_role gauge
		learner_role{role="holder"} 1
		learner_role{role="standby"} 0
		# TYPE learner_consumer_assigned_partitions gauge
		learner_consumer_assigned_partitions{topic="train"} 2
		# TYPE learner_consumer_commits_total counter
		learner_consumer_commits_total 1
		# TYPE learner_consumer_throttle_seconds_total counter
		learner_consumer_throttle_seconds_total 0.25
	`)
	for topic, reason := range map[string]string{"train": "arity", "test": "decode"} {
		want := map[string]float64{"train": 2, "test": 1}[topic]
		if got := value(t, reg, "learner_consumer_skipped_records_total", "topic", topic, "reason", reason); got != want {
			t.Errorf("skipped records of %s for %s: %v, want %v", topic, reason, got, want)
		}
	}
}

// value returns the value of the one series of a counter or gauge that has the given labels.
func value(t *testing.T, reg prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, series := range f.GetMetric() {
			var have []string
			for _, l := range series.GetLabel() {
				have = append(have, l.GetName(), l.GetValue())
			}
			missing := false
			for i := 0; i < len(labels); i += 2 {
				at := slices.Index(have, labels[i])
				missing = missing || at < 0 || have[at+1] != labels[i+1]
			}
			if !missing {
				return series.GetCounter().GetValue() + series.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no series %s %v", name, labels)
	return 0
}

func TestMemberThatLostItsPartitionsTellsNoLag(t *testing.T) {
	m, reg := newMetrics(t)
	m.Assigned(1)
	m.Passed(0, 1, 1, 1, time.Unix(1, 0))
	m.Lag(0, 5, 1, 0)
	m.Waiting(1)
	m.Test.Passed(0, 1, 1, 1, time.Unix(1, 0))
	m.Assigned(0)
	expect(t, reg, `# TYPE learner_consumer_offset gauge
		learner_consumer_offset{partition="0",topic="test"} 1
		# TYPE learner_order_waiting_partitions gauge
		learner_order_waiting_partitions 0
		# TYPE learner_consumer_records_total counter
		learner_consumer_records_total{partition="0",topic="test"} 1
		learner_consumer_records_total{partition="0",topic="train"} 1
	`)
	if n := count(t, reg, "learner_consumer_lag_seconds"); n != 0 {
		t.Errorf("%d series of lag after the partitions went", n)
	}
	m.Assigned(1)
	m.Lag(0, 4, 1, 0)
	if got := value(t, reg, "learner_consumer_lag_records", "topic", "train", "partition", "0"); got != 4 {
		t.Errorf("lag after the partitions came back: %v, want 4", got)
	}
}

func TestLearning(t *testing.T) {
	m, reg := newMetrics(t)
	m.Model("logistic", sgd.Stats{LearningRate: 0.5, NonFinite: 40}, 1000, math.NaN(), math.NaN()) // restored
	m.Learned("logistic", 256, 200, 100.5, 256*time.Microsecond)
	m.Learned("logistic", 44, 40, math.NaN(), 44*time.Microsecond)
	m.Learned("logistic", 0, 0, 0, 0)
	m.Model("logistic", sgd.Stats{LearningRate: 0.25, WeightNorm: 3, UpdateNorm: 0.125, NonFinite: 42}, 1300, 0.75, 0.5)
	m.Learned("late", 10, 1, 7, time.Microsecond)
	m.ModelInfo("logistic", "logistic", 0, 2, "csv")
	m.ModelInfo("logistic", "logistic", 18, 2, "csv")
	m.Champion("late")
	m.Champion("logistic")
	m.Restarted("start")
	expect(t, reg, `# TYPE learner_train_predictions_total counter
		learner_train_predictions_total{model="late",outcome="correct"} 1
		learner_train_predictions_total{model="late",outcome="incorrect"} 9
		learner_train_predictions_total{model="logistic",outcome="correct"} 240
		learner_train_predictions_total{model="logistic",outcome="incorrect"} 60
		# TYPE learner_train_loss_total counter
		learner_train_loss_total{model="late"} 7
		learner_train_loss_total{model="logistic"} 100.5
		# TYPE learner_train_nonfinite_total counter
		learner_train_nonfinite_total{model="late"} 0
		learner_train_nonfinite_total{model="logistic"} 2
		# TYPE learner_train_learning_rate gauge
		learner_train_learning_rate{model="late"} NaN
		learner_train_learning_rate{model="logistic"} 0.25
		# TYPE learner_train_weight_norm gauge
		learner_train_weight_norm{model="late"} NaN
		learner_train_weight_norm{model="logistic"} 3
		# TYPE learner_train_update_norm gauge
		learner_train_update_norm{model="late"} NaN
		learner_train_update_norm{model="logistic"} 0.125
		# TYPE learner_model_records gauge
		learner_model_records{model="late"} 0
		learner_model_records{model="logistic"} 1300
		# TYPE learner_model_progressive_accuracy_ratio gauge
		learner_model_progressive_accuracy_ratio{model="late"} NaN
		learner_model_progressive_accuracy_ratio{model="logistic"} 0.75
		# TYPE learner_model_progressive_loss gauge
		learner_model_progressive_loss{model="late"} NaN
		learner_model_progressive_loss{model="logistic"} 0.5
		# TYPE learner_model_info gauge
		learner_model_info{algorithm="logistic",classes="2",features="18",format="csv",model="logistic"} 1
		# TYPE learner_champion gauge
		learner_champion{model="late"} 0
		learner_champion{model="logistic"} 1
	`)
	if got := value(t, reg, "learner_train_restarts_total", "reason", "start"); got != 1 {
		t.Errorf("restarts: %v, want 1", got)
	}
}

func TestColumns(t *testing.T) {
	m, reg := newMetrics(t)
	const start = `# TYPE learner_columns gauge
		learner_columns{kind="category"} 0
		learner_columns{kind="number"} 0
		# TYPE learner_category_slots gauge
		learner_category_slots{state="free"} 0
		learner_category_slots{state="used"} 0
		# TYPE learner_category_collision_ratio gauge
		learner_category_collision_ratio NaN
		# TYPE learner_columns_added_total counter
		learner_columns_added_total 0
		# TYPE learner_missing_values_total counter
		learner_missing_values_total 0
		# TYPE learner_schemas_met_total counter
		learner_schemas_met_total 0
		# TYPE learner_schema_registry_requests_total counter
		learner_schema_registry_requests_total{result="error"} 0
		learner_schema_registry_requests_total{result="not_found"} 0
		learner_schema_registry_requests_total{result="ok"} 0
		# TYPE learner_schema_pending gauge
		learner_schema_pending 0
		`
	expect(t, reg, start)
	m.Columns(18, 2)
	m.Categories(256, 56, 0.125)
	m.ColumnsAdded(3)
	m.ColumnsAdded(0)
	m.MissingValues(40)
	m.MissingValues(2)
	m.SchemaMet()
	m.SchemaRequested("ok")
	m.SchemaRequested("not_found")
	m.SchemaRequested("not_found")
	m.SchemasPending(4)
	expect(t, reg, strings.NewReplacer(
		`kind="category"} 0`, `kind="category"} 2`, `kind="number"} 0`, `kind="number"} 18`,
		`state="free"} 0`, `state="free"} 200`, `state="used"} 0`, `state="used"} 56`, "ratio NaN", "ratio 0.125",
		"added_total 0", "added_total 3", "values_total 0", "values_total 42", "met_total 0", "met_total 1",
		`result="not_found"} 0`, `result="not_found"} 2`, `result="ok"} 0`, `result="ok"} 1`, "pending 0", "pending 4",
	).Replace(start))

	// A model whose rows have grown is told of anew; the series of fewer features is gone.
	m.ModelInfo("logistic", "logistic", 18, 2, "auto")
	m.ModelInfo("logistic", "logistic", 20, 2, "auto")
	expect(t, reg, `# TYPE learner_model_info gauge
		learner_model_info{algorithm="logistic",classes="2",features="20",format="auto",model="logistic"} 1
		`)
}

func TestComparing(t *testing.T) {
	m, reg := newMetrics(t)
	m.Champion("logistic")
	m.Recent("logistic", 9950, 0.75, 0.5)
	m.Recent("late", 0, math.NaN(), math.NaN())
	m.Difference("logistic", math.NaN(), math.NaN(), math.NaN(), math.NaN()) // the champion itself
	m.Difference("late", 2048, -0.25, -0.5, 0.125)
	m.ChampionChanged()
	m.Champion("late")
	m.ProgressiveBaseline("majority", 0.5, 0.625, 0.5625, 0.6875)
	m.ProgressiveBaseline("frozen_twin", math.NaN(), math.NaN(), math.NaN(), math.NaN())
	m.TwinAge(100_000)
	m.DriftScore("adwin", "excess", 0.75)
	m.Drifted("psi", "features")
	m.Drifted("psi", "features")
	m.Stability("energy", 0.125)
	m.Stability("3", math.NaN())
	expect(t, reg, `# TYPE learner_model_recent_records gauge
		learner_model_recent_records{model="late"} 0
		learner_model_recent_records{model="logistic"} 9950
		# TYPE learner_model_recent_accuracy_ratio gauge
		learner_model_recent_accuracy_ratio{model="late"} NaN
		learner_model_recent_accuracy_ratio{model="logistic"} 0.75
		# TYPE learner_model_recent_loss gauge
		learner_model_recent_loss{model="late"} NaN
		learner_model_recent_loss{model="logistic"} 0.5
		# TYPE learner_comparison_records gauge
		learner_comparison_records{model="late"} 2048
		learner_comparison_records{model="logistic"} NaN
		# TYPE learner_comparison_difference gauge
		learner_comparison_difference{model="late"} -0.25
		learner_comparison_difference{model="logistic"} NaN
		# TYPE learner_comparison_low gauge
		learner_comparison_low{model="late"} -0.5
		learner_comparison_low{model="logistic"} NaN
		# TYPE learner_comparison_high gauge
		learner_comparison_high{model="late"} 0.125
		learner_comparison_high{model="logistic"} NaN
		# TYPE learner_champion gauge
		learner_champion{model="late"} 1
		learner_champion{model="logistic"} 0
		# TYPE learner_champion_changes_total counter
		learner_champion_changes_total 1
		# TYPE learner_baseline_accuracy_ratio gauge
		learner_baseline_accuracy_ratio{baseline="frozen_twin"} NaN
		learner_baseline_accuracy_ratio{baseline="last_label"} NaN
		learner_baseline_accuracy_ratio{baseline="majority"} 0.5
		# TYPE learner_baseline_loss gauge
		learner_baseline_loss{baseline="frozen_twin"} NaN
		learner_baseline_loss{baseline="last_label"} NaN
		learner_baseline_loss{baseline="majority"} 0.625
		# TYPE learner_baseline_recent_accuracy_ratio gauge
		learner_baseline_recent_accuracy_ratio{baseline="frozen_twin"} NaN
		learner_baseline_recent_accuracy_ratio{baseline="last_label"} NaN
		learner_baseline_recent_accuracy_ratio{baseline="majority"} 0.5625
		# TYPE learner_baseline_recent_loss gauge
		learner_baseline_recent_loss{baseline="frozen_twin"} NaN
		learner_baseline_recent_loss{baseline="last_label"} NaN
		learner_baseline_recent_loss{baseline="majority"} 0.6875
		# TYPE learner_twin_age_records gauge
		learner_twin_age_records 100000
		# TYPE learner_feature_population_stability_index gauge
		learner_feature_population_stability_index{feature="3"} NaN
		learner_feature_population_stability_index{feature="energy"} 0.125
	`)
	for _, d := range []struct {
		detector, signal string
		score, reports   float64
	}{{"adwin", "excess", 0.75, 0}, {"psi", "features", math.NaN(), 2}} {
		score := value(t, reg, "learner_drift_score", "detector", d.detector, "signal", d.signal)
		reports := value(t, reg, "learner_drift_detected_total", "detector", d.detector, "signal", d.signal)
		if score != d.score && !math.IsNaN(d.score) || reports != d.reports {
			t.Errorf("%+v: score %v, %v reports", d, score, reports)
		}
	}
}

// A model that went back to an older state brings a lower count, which must neither shrink nor swell the counter.
func TestRefusedStepsCountGrowthOnly(t *testing.T) {
	m, reg := newMetrics(t)
	for _, total := range []uint64{0, 5, 3, 3, 4} {
		m.Model("logistic", sgd.Stats{NonFinite: total}, 0, 0, 0)
	}
	if got := value(t, reg, "learner_train_nonfinite_total", "model", "logistic"); got != 6 {
		t.Errorf("refused steps: %v, want 5 + 1", got)
	}
}

func TestStepDurationIsTheMeanOfABatch(t *testing.T) {
	m, reg := newMetrics(t)
	m.Learned("logistic", 1000, 0, 0, 300*time.Microsecond)
	m.Learned("logistic", 1, 0, 0, 2*time.Microsecond)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "learner_train_step_duration_seconds" })
	h := families[at].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 2 || math.Abs(h.GetSampleSum()-2.3e-6) > 1e-15 {
		t.Errorf("%d observations with sum %v, want 2 with 2.3e-06", h.GetSampleCount(), h.GetSampleSum())
	}
	if len(h.GetBucket()) == 0 || len(h.GetPositiveSpan()) == 0 {
		t.Errorf("%d classic buckets and %d native spans, want both", len(h.GetBucket()), len(h.GetPositiveSpan()))
	}
}

func testScores() evaluate.Scores {
	s := evaluate.Scores{
		Records: 10, Accuracy: 0.8, LogLoss: 0.4, AUC: 0.9, Brier: 0.15, CalibrationError: 0.05,
		Confusion: [2][2]int{{5, 1}, {1, 3}},
		Precision: [2]float64{0.5, 0.75}, Recall: [2]float64{0.25, 0.625},
	}
	for i := range s.Calibration {
		s.Calibration[i].Predicted, s.Calibration[i].Observed = math.NaN(), math.NaN()
	}
	s.Calibration[9].Records, s.Calibration[9].Predicted, s.Calibration[9].Observed = 4, 0.9375, 1
	return s
}

func TestScoring(t *testing.T) {
	m, reg := newMetrics(t)
	m.Tested("logistic", testScores())
	m.Baseline("majority", evaluate.Scores{Records: 10, Accuracy: 0.6, LogLoss: 0.67})
	m.Baseline("frozen_twin", evaluate.Scores{Records: 10, Accuracy: 0.7, LogLoss: 0.5})
	m.Baseline("last_label", evaluate.NewWindow(10).LastLabel()) // of no record
	expect(t, reg, `# TYPE learner_test_accuracy_ratio gauge
		learner_test_accuracy_ratio{model="logistic"} 0.8
		# TYPE learner_test_loss gauge
		learner_test_loss{model="logistic"} 0.4
		# TYPE learner_test_auc_ratio gauge
		learner_test_auc_ratio{model="logistic"} 0.9
		# TYPE learner_test_brier_score gauge
		learner_test_brier_score{model="logistic"} 0.15
		# TYPE learner_test_calibration_error_ratio gauge
		learner_test_calibration_error_ratio{model="logistic"} 0.05
		# TYPE learner_test_precision_ratio gauge
		learner_test_precision_ratio{class="0",model="logistic"} 0.5
		learner_test_precision_ratio{class="1",model="logistic"} 0.75
		# TYPE learner_test_recall_ratio gauge
		learner_test_recall_ratio{class="0",model="logistic"} 0.25
		learner_test_recall_ratio{class="1",model="logistic"} 0.625
		# TYPE learner_test_confusion_records gauge
		learner_test_confusion_records{actual="0",model="logistic",predicted="0"} 5
		learner_test_confusion_records{actual="0",model="logistic",predicted="1"} 1
		learner_test_confusion_records{actual="1",model="logistic",predicted="0"} 1
		learner_test_confusion_records{actual="1",model="logistic",predicted="1"} 3
		# TYPE learner_test_baseline_accuracy_ratio gauge
		learner_test_baseline_accuracy_ratio{baseline="frozen_twin"} 0.7
		learner_test_baseline_accuracy_ratio{baseline="last_label"} NaN
		learner_test_baseline_accuracy_ratio{baseline="majority"} 0.6
		# TYPE learner_test_baseline_loss gauge
		learner_test_baseline_loss{baseline="frozen_twin"} 0.5
		learner_test_baseline_loss{baseline="last_label"} NaN
		learner_test_baseline_loss{baseline="majority"} 0.67
	`)
	if n := count(t, reg, "learner_test_calibration_bin_records"); n != 10 {
		t.Errorf("%d calibration bins, want 10", n)
	}
	for name, want := range map[string]float64{"predicted_ratio": 0.9375, "observed_ratio": 1, "bin_records": 4} {
		if got := value(t, reg, "learner_test_calibration_"+name, "bin", "9"); got != want {
			t.Errorf("calibration %s of bin 9: %v, want %v", name, got, want)
		}
	}
	if got := value(t, reg, "learner_test_calibration_predicted_ratio", "bin", "0"); !math.IsNaN(got) {
		t.Errorf("predicted ratio of an empty bin: %v, want NaN", got)
	}
}

func TestTestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock starts at midnight, 2000-01-01
		m, reg := newMetrics(t)
		time.Sleep(90 * time.Second)
		m.TestRun(true, 20*time.Millisecond, 10000)
		time.Sleep(time.Hour)
		m.TestRun(false, 20*time.Millisecond, 9000)
		expect(t, reg, `# TYPE learner_test_runs_total counter
			learner_test_runs_total{result="failure"} 1
			learner_test_runs_total{result="success"} 1
			# TYPE learner_test_window_records gauge
			learner_test_window_records 9000
			# TYPE learner_test_last_success_timestamp_seconds gauge
			learner_test_last_success_timestamp_seconds 9.4668489e+08
		`)
	})
}

func TestRequested(t *testing.T) {
	m, reg := newMetrics(t)
	m.Requested("/metrics", "GET", 200, time.Millisecond)
	m.Requested("/metrics", "GET", 200, time.Millisecond)
	m.Requested("/metrics", "GET", 500, time.Millisecond)
	expect(t, reg, `# TYPE learner_http_requests_total counter
		learner_http_requests_total{code="200",handler="/metrics",method="GET"} 2
		learner_http_requests_total{code="500",handler="/metrics",method="GET"} 1
	`)
}

func TestPredicted(t *testing.T) {
	m, reg := newMetrics(t)
	m.Predicted("logistic", 3, 0)
	m.Predicted("logistic", 2, 7)
	m.Predicted("late", 0, 1)
	expect(t, reg, `# TYPE learner_predictions_total counter
		learner_predictions_total{class="0",model="late"} 0
		learner_predictions_total{class="0",model="logistic"} 5
		learner_predictions_total{class="1",model="late"} 1
		learner_predictions_total{class="1",model="logistic"} 7
	`)
}

func TestNamesAndHelp(t *testing.T) {
	m, reg := newMetrics(t)
	callAll(m)
	m.Lineage("0123abcd", 7)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	gathered, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]Family{}
	for _, f := range Families() {
		declared[f.Name] = f
		if !strings.HasPrefix(f.Name, "learner_") || strings.Contains(f.Name, "percent") {
			t.Errorf("%s: not a name of ours", f.Name)
		}
		if !strings.HasSuffix(f.Help, ".") || strings.Contains(f.Help, "\n") {
			t.Errorf("%s: help %q is no sentence", f.Name, f.Help)
		}
	}
	for _, f := range gathered {
		d, ok := declared[f.GetName()]
		if !ok {
			t.Errorf("%s is exported but not declared", f.GetName())
			continue
		}
		delete(declared, f.GetName())
		if kind := strings.ToLower(f.GetType().String()); d.Type != kind || d.Help != f.GetHelp() {
			t.Errorf("%s: declared %s %q, exported %s %q", d.Name, d.Type, d.Help, kind, f.GetHelp())
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if want := slices.Sorted(slices.Values(d.Labels)); !slices.Equal(labels, want) {
			t.Errorf("%s: declared labels %v, exported %v", d.Name, want, labels)
		}
	}
	for name := range declared {
		t.Errorf("%s is declared, and no method feeds it", name)
	}
}

// callAll calls every method that is called for a batch, a block, or more seldom.
func callAll(m *Metrics) {
	callOften(m)
	m.ModelInfo("logistic", "logistic", 18, 2, "csv")
	m.Lost(3, 1)
	m.DrawnBack(3)
	m.Rebalanced("assigned")
	m.Restarted("start")
	m.ConsumerError("dial")
	m.Champion("logistic")
	m.Ready(true)
	m.Role(true)
	m.Tested("logistic", testScores())
	m.Baseline("majority", testScores())
	m.TestRun(true, time.Second, 1)
	m.ChampionChanged()
	m.Drifted("adwin", "excess")
	m.Requested("/", "GET", 200, time.Second)
}

func callOften(m *Metrics) {
	m.Recent("logistic", 1000, 0.7, 0.5)
	m.Difference("logistic", 1000, 0.1, 0.05, 0.15)
	m.ProgressiveBaseline("majority", 0.7, 0.5, 0.7, 0.5)
	m.TwinAge(1000)
	m.DriftScore("adwin", "excess", 0.5)
	m.Stability("0", 0.1)
	m.Passed(300, 1000, 100000, 5, time.Unix(5, 0))
	m.Refused(300, record.Refusal{Offset: 5, Err: bad})
	m.Lag(300, 1, 1, 2)
	m.RangeEnd(300, 12)
	m.Waiting(1)
	m.Learned("logistic", 1000, 700, 500, time.Millisecond)
	m.Model("logistic", sgd.Stats{LearningRate: 1}, 1000, 0.7, 0.5)
	m.Throttled(time.Second)
	m.DeadLetter(record.Arity)
	m.DeadLettersQueued(1)
	m.Committed()
	m.Predicted("logistic", 1, 2)
}

var bad = &record.Bad{Reason: record.Number}

func TestBatchesAllocateNothing(t *testing.T) {
	m, _ := newMetrics(t)
	callOften(m)
	if n := testing.AllocsPerRun(1000, func() { callOften(m) }); n != 0 {
		t.Errorf("%v allocations for each batch", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	m, reg := newMetrics(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				m.Passed(int32(i), 1, 1, 1, time.Unix(1, 0))
				m.Learned(fmt.Sprint("model", i%7), 1, 1, 1, 1)
				m.Requested("/", "GET", 200+i%3, 1)
				if g == 0 && i%50 == 0 {
					m.Assigned(0)
					m.Champion("model3")
				}
			}
		})
	}
	wg.Wait()
	for _, partition := range []string{"0", "100", "199"} {
		if got := value(t, reg, "learner_consumer_records_total", "topic", "train", "partition", partition); got != 4 {
			t.Errorf("records of partition %s: %v, want 4", partition, got)
		}
	}
}

func TestHandler(t *testing.T) {
	reg := prometheus.NewRegistry()
	New(reg, Config{Version: "1.2.3"})
	server := httptest.NewServer(Handler(reg))
	defer server.Close()
	for accept, want := range map[string][]string{
		"text/plain": {`learner_build_info{`, `version="1.2.3"`, "\ngo_goroutines ", "\nprocess_start_time_seconds "},
		"application/openmetrics-text;version=1.0.0": {"# TYPE learner_consumer_commits counter\n", "\n# EOF\n"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, strings.Split(accept, ";")[0]) {
			t.Errorf("asked for %s, got %s", accept, got)
		}
		for _, text := range want {
			if !strings.Contains(string(page), text) {
				t.Errorf("%s: no %q in the page", accept, text)
			}
		}
	}
}
