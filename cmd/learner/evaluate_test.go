package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"learner/pkg/sgd"
)

// fileOf writes a file and returns its path.
func fileOf(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// zipped packs text.
func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// evaluated runs learner evaluate -json on a file.
func evaluated(t *testing.T, content string, environ ...string) replayResult {
	t.Helper()
	got := runWith(t, environ, "evaluate", "-json", fileOf(t, content))
	if got.code != exitClean || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	var r replayResult
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// sameScores compares all but the times.
func sameScores(t *testing.T, what string, got, want replayResult) {
	t.Helper()
	for _, r := range []*replayResult{&got, &want} {
		for i := range r.Models {
			r.Models[i].Nanoseconds = 0
		}
	}
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
		t.Errorf("%s:\n%s, want\n%s", what, a, b)
	}
}

// direct scores a model that learns the rows one by one, its AUC by the pairs' plain count.
func direct(t *testing.T, model string, seed uint64, lines []string) (accuracy, loss, auc float64) {
	t.Helper()
	spec, err := sgd.Parse(model)
	if err != nil {
		t.Fatal(err)
	}
	prob, labels := make([]float64, len(lines)), make([]float64, len(lines))
	var m sgd.Model
	for i, line := range lines {
		var row []float64
		for field := range strings.SplitSeq(line, ",") {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, v)
		}
		if m == nil {
			m = spec.New(len(row)-1, seed)
		}
		labels[i] = row[0]
		m.Learn(&sgd.Rows{Width: len(row) - 1, X: row[1:], Y: row[:1]}, prob[i:])
		if (prob[i] >= .5) == (row[0] == 1) {
			accuracy++
		}
		loss += sgd.LogLoss(prob[i], row[0])
	}
	pairs := 0.0
	for i := range prob {
		for j := range prob {
			switch {
			case labels[i] != 1 || labels[j] != 0:
				continue
			case prob[i] > prob[j]:
				auc++
			case prob[i] == prob[j]:
				auc += .5
			}
			pairs++
		}
	}
	n := float64(len(lines))
	return accuracy / n, loss / n, auc / pairs
}

func TestEvaluateTable(t *testing.T) {
	t.Parallel()
	env := []string{"LEARNER_MODELS=first=newton;slow=logistic:rate=0.1,scaler=robust;mlp", "LEARNER_SEED=7"}
	lines := susyLines(t)[:2500] // two batches and a part of one
	name := fileOf(t, strings.Join(lines, "\n"))
	got := runWith(t, env, "evaluate", name)
	marked := runWith(t, env, "evaluate", "--markdown", name)
	if got.code != exitClean || got.stderr != "" || marked.code != exitClean || marked.stderr != "" {
		t.Fatalf("%+v\n%+v", got, marked)
	}
	var text, table strings.Builder
	text.WriteString(`model +kind +records +accuracy +log loss +auc +ns/record +steps refused\n`)
	table.WriteString(`\| Model \| Kind \| Records \| Accuracy \| Log loss \| AUC \| ns/record \| Steps refused \|\n\|---\|---\|(---:\|){6}\n`)
	result := evaluated(t, strings.Join(lines, "\n"), env...)
	for i, tt := range []struct{ model, name, kind string }{
		{"newton", "first", "newton"}, {"logistic:rate=0.1", "slow", "logistic:rate=0.1,scaler=robust"}, {"mlp", "mlp", "mlp"},
	} {
		accuracy, loss, auc := direct(t, tt.model, 7, lines)
		m := result.Models[i]
		if m.Model != tt.name || m.Kind != tt.kind || m.Records != 2500 || m.StepsRefused != 0 || m.Nanoseconds <= 0 ||
			float64(m.Accuracy) != accuracy || float64(m.LogLoss) != loss || math.Abs(float64(m.AUC)-auc) > 1e-12 {
			t.Errorf("%+v, want accuracy %v, log loss %v, AUC %v", m, accuracy, loss, auc)
		}
		fmt.Fprintf(&text, `%s +%s +2500 +%.4f +%.4f +%.4f +\d+ +0\n`, tt.name, tt.kind, accuracy, loss, auc)
		fmt.Fprintf(&table, `\| %s \| %s \| 2500 \| %.4f \| %.4f \| %.4f \| \d+ \| 0 \|\n`, tt.name, tt.kind, accuracy, loss, auc)
	}
	const notes = `\n2500 records of 18 features; none refused\n`
	text.WriteString(`majority class +baseline +2500 .*\nlast label +baseline +2500 .* – +–\n` + notes)
	table.WriteString(`\| majority class \| baseline \| 2500 \| .*\|\n\| last label \| baseline \| 2500 \| .* \| – \| – \|\n` + notes)
	if !regexp.MustCompile("^" + text.String() + "$").MatchString(got.stdout) {
		t.Errorf("got\n%s\nwant\n%s", got.stdout, text.String())
	}
	if !regexp.MustCompile("^" + table.String() + "$").MatchString(marked.stdout) {
		t.Errorf("got\n%s\nwant\n%s", marked.stdout, table.String())
	}
}

func TestEvaluateReads(t *testing.T) {
	t.Parallel()
	lines := susyLines(t)[:300]
	text := strings.Join(lines, "\n") + "\n"
	want := evaluated(t, text)
	sameScores(t, "gzip", evaluated(t, zipped(t, text)), want)
	sameScores(t, "header, byte order mark, and empty lines", evaluated(t, "\ufefflabel,a\r\n\r\n"+strings.ReplaceAll(text, "\n", "\r\n \n")), want)
	sameScores(t, "label as the key", evaluated(t, text, "LEARNER_LABEL=key"), want)

	var last, narrow, named strings.Builder // label in the last column; columns 5 and 2 alone; all of it with names
	for _, line := range lines {
		label, others, _ := strings.Cut(line, ",")
		columns := strings.Split(line, ",")
		fmt.Fprintf(&last, "%s,%s\n", others, label)
		fmt.Fprintf(&narrow, "%s,%s,%s\n", label, columns[5], columns[2])
		fmt.Fprintf(&named, "%s,%s,text,%s\n", columns[2], columns[5], label)
	}
	sameScores(t, "label in another column", evaluated(t, last.String(), "LEARNER_LABEL=18"), want)
	two := evaluated(t, narrow.String())
	sameScores(t, "columns by number", evaluated(t, text, "LEARNER_FEATURES=5,2"), two)
	sameScores(t, "columns by name",
		evaluated(t, "a,b,c,d\n"+named.String(), "LEARNER_COLUMNS=a,b,c,d", "LEARNER_LABEL=d", "LEARNER_FEATURES=b,a"), two)

	var stdout, stderr bytes.Buffer
	code := run(t.Context(), &process{
		args: []string{"evaluate", "-json", "-"}, stdin: strings.NewReader(text), stdout: &stdout, stderr: &stderr, dir: t.TempDir(),
	})
	var piped replayResult
	if err := json.Unmarshal(stdout.Bytes(), &piped); err != nil || code != exitClean || stderr.Len() > 0 {
		t.Fatalf("exit code %d, error %v, stderr %q", code, err, &stderr)
	}
	sameScores(t, "standard input", piped, want)
}

func TestEvaluateBaselines(t *testing.T) {
	t.Parallel()
	r := evaluated(t, "1,0\n0,0\n0,0\n1,0\n1,0\n")
	for i, want := range []struct {
		name           string
		accuracy, loss float64
	}{
		// Answers 1/2, 2/3, 1/2, 2/5, 1/2, and 1/2, 1/2, 2/3, 1/2, 2/5.
		{"majority class", .4, -(math.Log(.5) + math.Log(1./3) + math.Log(.5) + math.Log(.4) + math.Log(.5)) / 5},
		{"last label", .6, -(math.Log(.5) + math.Log(.5) + math.Log(1./3) + math.Log(.5) + math.Log(.4)) / 5},
	} {
		b := r.Baselines[i]
		if b.Model != want.name || float64(b.Accuracy) != want.accuracy || math.Abs(float64(b.LogLoss)-want.loss) > 1e-12 {
			t.Errorf("%+v, want %+v", b, want)
		}
	}
}

func TestEvaluateBadRows(t *testing.T) {
	t.Parallel()
	repeat := strings.Repeat
	for _, tt := range []struct {
		name, give string
		records    int
		notes      string
	}{
		{
			"each reason", "1,2,3\n2,2,3\n1,x,3\n0,4\n\n1,inf,3\n1,\"2,3\n0,\xff,3\n0,1,2\n", 2,
			"\n2 records of 2 features; 6 refused: 1 × utf8, 1 × arity, 1 × number, 1 × non_finite, 1 × label, 1 × decode; left out: 1 × empty line\n" +
				"- line 2: label: column 0: \"2\" is neither true, 1, 1.0, yes nor false, 0, 0.0, no\n- line 3: number: column 1: \"x\" is not a number; a # behind its column's name or number would make it a category\n" +
				"- line 4: arity: 1 features where most records have 2\n- line 6: non_finite: column 1: \"inf\" is not finite\n" +
				"- line 7: decode: column 1: \"\\\"2,3\" has no closing quote\n",
		},
		{
			"width by most of the first 100, whatever comes later",
			"h,h\n" + repeat("1,2\n", 49) + "x\n" + repeat("0,2,3\n", 51) + repeat("1,2\n", 3000) + "0,2,3\n", 52,
			"\n52 records of 2 features; 3050 refused: 3049 × arity, 1 × label; left out: 1 × header line\n- line 2: arity: 1 features where most records have 2\n",
		},
		{"width met first among equals", repeat("1,2\n0,2,3\n", 50), 50, "\n50 records of 1 feature; 50 refused: 50 × arity\n- line 2: "},
		{"good row behind many bad ones", repeat("2,2\n", 3000) + "1,2\n", 1, "\n1 record of 1 feature; 3000 refused: 3000 × label\n- line 1: "},
		{"long line", "1,2\n1," + repeat("7", maxLine) + "\n0,3\n", 2, "\n2 records of 1 feature; none refused; left out: 1 × line above 1 MiB\n"},
	} {
		got := runWith(t, nil, "evaluate", fileOf(t, tt.give))
		if got.code != exitClean || got.stderr != "" || !strings.Contains(got.stdout, tt.notes) ||
			!strings.Contains(fields(got.stdout), fmt.Sprintf("last label baseline %d ", tt.records)) || strings.Count(got.stdout, "\n- ") > 5 {
			t.Errorf("%s: %+v, want %q", tt.name, got, tt.notes)
		}
	}
}

func TestEvaluateFails(t *testing.T) {
	t.Parallel()
	good := fileOf(t, "1,2\n")
	for _, tt := range []struct {
		name   string
		args   string
		env    string
		code   int
		stderr string // all of it, or its beginning where it ends in …
	}{
		{"no file", "", "", exitUsage, "learner: evaluate takes one file, or - for standard input, found []\n"},
		{"two files", "a b", "", exitUsage, "learner: evaluate takes one file, or - for standard input, found [\"a\" \"b\"]\n"},
		{"two forms", "-json -markdown a", "", exitUsage, "learner: evaluate: -markdown and -json exclude each other\n"},
		{"unknown model", good, "LEARNER_MODELS=logistic;logstic", exitUsage, `learner: LEARNER_MODELS: model 2: unknown kind "logstic"…`},
		{"unknown label", good, "LEARNER_LABEL=y", exitUsage, ": LEARNER_LABEL: …"},
		{"missing file", "nowhere.csv", "", exitFailure, "learner: open the file to evaluate: open nowhere.csv: …"},
		{"folder", filepath.Dir(good), "", exitFailure, "learner: evaluate " + filepath.Dir(good) + ": read the file after 0 lines: …"},
		{"empty file", fileOf(t, ""), "", exitFailure, ": no record can be learned: none refused\n"},
		{"header alone", fileOf(t, "a,b\n"), "", exitFailure, ": no record can be learned: none refused; left out: 1 × header line\n"},
		{"bad rows alone", fileOf(t, "1,x\n1\n"), "", exitFailure, ": no record can be learned: 2 refused: 1 × arity, 1 × number\n" +
			"learner: line 1: number: column 1: \"x\" is not a number; a # behind its column's name or number would make it a category\nlearner: line 2: arity: the label is the only column\n"},
	} {
		var env []string
		if tt.env != "" {
			env = []string{tt.env}
		}
		got := runWith(t, env, append([]string{"evaluate"}, strings.Fields(tt.args)...)...)
		want, open := strings.CutSuffix(tt.stderr, "…")
		if strings.HasPrefix(want, ":") {
			want = "learner: evaluate " + tt.args + want
		}
		if got.code != tt.code || got.stdout != "" || !strings.HasPrefix(got.stderr, want) || !open && got.stderr != want {
			t.Errorf("%s: %+v, want %q", tt.name, got, tt.stderr)
		}
	}

	// What came before a damage is shown.
	packed := zipped(t, strings.Repeat("1,2\n0,3\n", 2000))
	got := runWith(t, nil, "evaluate", fileOf(t, packed[:len(packed)-9]))
	if got.code != exitFailure || !strings.Contains(got.stdout, "\nlast label ") || !strings.HasSuffix(got.stderr, "unexpected EOF\n") {
		t.Errorf("a file that is cut off: %+v", got)
	}
}

func TestEvaluateInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, &process{
		args: []string{"evaluate", "-"}, stdin: strings.NewReader("1,2\n"), stdout: &stdout, stderr: &stderr, dir: t.TempDir(),
	})
	if code != exitFailure || stdout.Len() > 0 || stderr.String() != "learner: evaluate -: interrupted\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
}

// TestREADMEFigures measures the models of the README's table of figures on the four streams: each figure is within .003.
func TestREADMEFigures(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "<!-- figures -->\n")
	table, _, _ := strings.Cut(rest, "<!-- /figures -->\n")
	lines := strings.Split(table, "\n")
	streams := strings.Split(strings.Trim(lines[0], "| "), " | ")
	if len(streams) != 6 {
		t.Fatalf("the table has the columns %q", streams)
	}
	var models []string
	var figures [][]string // of each model, by stream
	for _, line := range lines {
		if cells := strings.Split(strings.Trim(line, "| "), " | "); strings.HasPrefix(cells[0], "`") {
			models = append(models, fmt.Sprintf("m%d=%s", len(models), strings.Trim(cells[0], "`")))
			figures = append(figures, cells)
		}
	}
	environ := []string{"LEARNER_MODELS=" + strings.Join(models, ";")}
	for column := 1; column <= 4; column++ {
		t.Run(streams[column], func(t *testing.T) {
			t.Parallel()
			got := runWith(t, environ, "evaluate", "-json", "../../internal/testdata/"+streams[column]+".csv.gz")
			var result replayResult
			if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.code != exitClean || len(result.Models) != len(models) {
				t.Fatalf("error %v: %+v", err, got)
			}
			for i, m := range result.Models {
				var accuracy, loss float64
				if _, err := fmt.Sscanf(figures[i][column], "%f / %f", &accuracy, &loss); err != nil {
					t.Errorf("%s: %q: %v", models[i], figures[i][column], err)
				}
				if math.Abs(accuracy-float64(m.Accuracy)) > .003 || math.Abs(loss-float64(m.LogLoss)) > .003 {
					t.Errorf("%s: the README says %s, measured %.4f / %.4f: run make figures", models[i], figures[i][column], m.Accuracy, m.LogLoss)
				}
			}
		})
	}
}

// On the electricity stream, the day of the week as a category, and as missing what its first third has only constants for, teach
// at least as well as the plain columns.
func TestCategoriesAndMissingValuesTeach(t *testing.T) {
	var rich strings.Builder
	lines := linesOf(t, "../../internal/testdata/elec2.csv.gz")
	const perDay, absent = 48, ",0.003467,0.422915,0.414912" // of Victoria, before its market opened
	for i, line := range lines {
		if rest, ok := strings.CutSuffix(line, absent); ok {
			line = rest + ",,,"
		}
		day := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}[i/perDay%7]
		rich.WriteString(line + "," + day + "\n")
	}
	evaluated := func(file string, env ...string) (accuracy, loss float64) {
		got := runWith(t, append(env, "LEARNER_MODELS=mix"), "evaluate", "-json", file)
		var report struct {
			Records int            `json:"records"`
			Refused map[string]int `json:"refused"`
			Models  []struct {
				Accuracy float64 `json:"accuracy"`
				Loss     float64 `json:"log_loss"`
			} `json:"models"`
		}
		if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || report.Records != len(lines) || len(report.Models) != 1 {
			t.Fatalf("%v in %+v", err, got)
		}
		return report.Models[0].Accuracy, report.Models[0].Loss
	}
	accuracy, loss := evaluated("../../internal/testdata/elec2.csv.gz")
	richAccuracy, richLoss := evaluated(fileOf(t, rich.String()), "LEARNER_COLUMNS=label,period,nswprice,nswdemand,vicprice,vicdemand,transfer,day#")
	t.Logf("accuracy and log loss: plain %.4f %.4f, with days and missing values %.4f %.4f", accuracy, loss, richAccuracy, richLoss)
	if richAccuracy < accuracy || richLoss > loss {
		t.Errorf("with days and missing values %.4f and %.4f, without %.4f and %.4f", richAccuracy, richLoss, accuracy, loss)
	}
}
