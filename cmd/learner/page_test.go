package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/metrics"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// none of these lines is a fault of the page: the browser itself writes them when a server is away, or has no place.
var awayLines = []string{"net::ERR_", "status of 503"}

// TestPage opens the page in a browser while a service comes, learns, and goes, and reads from it what an operator would.
func TestPage(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	n := newNetwork(t)
	c, kafka := embedded(t, broker.Options{Fake: []kfake.Opt{kfake.ListenFn(n.listenBehind)}})
	c = c.kept(t, "topic")
	c.create(t, 3, nil)
	lines := susyLines(t)

	s := startService(t, c)
	b.look(1280, "light")
	b.open(s.url + "/")
	b.waitFor(`document.querySelector("#ready").textContent === "ready"`)
	b.shows("no records", map[string]string{
		"#role": "holder", "#tile-accuracy .value": "–", "#tile-rate": "0 learned", "#tile-lag": "0 records",
		"#charts .chart:first-child .empty": "Nothing measured yet", "#calibration-note": "Nothing measured yet.",
		"#drift": "ADWIN", "#events": "no change of champion, no drift, no new schema", "#reasons": "Caught up",
	})

	c.produce(t, c.train, lines[:1])
	b.waitFor(`document.querySelector("#tile-rate").textContent.includes("1 learned")`)
	c.produce(t, c.test, lines[:1])
	b.waitFor(`document.querySelector("#tile-accuracy").textContent.includes("logistic, 1 record")`)
	if faults := b.reported(); len(faults) > 0 {
		t.Fatalf("with one record the page reports %q", faults)
	}

	c.write(t, append([]string{"1,2,3"}, lines[1:7000]...))
	c.produce(t, c.test, lines[7000:])
	b.waitFor(`document.querySelector("#tile-rate").textContent.includes("7,000 learned")`)
	s.ready()
	st := s.status()
	accuracy := fmt.Sprintf("%.4f", float64(st.Models[0].Test.Accuracy))
	if accuracy < "0.7" {
		t.Errorf("test accuracy %s", accuracy)
	}
	b.waitFor(fmt.Sprintf(`document.querySelector("#tile-accuracy .value").firstChild.textContent === %q`, accuracy))
	b.waitFor(`document.querySelectorAll("#effects li").length === 18`)
	effects := s.status().Models[0].Effects
	b.shows("7,000 records", map[string]string{
		"#tile-loss .value":           fmt.Sprintf("%.4f", float64(st.Models[0].Test.Loss)),
		"#tile-accuracy .sub":         fmt.Sprintf("majority class %.4f", float64(st.Test.Baselines["majority"].Accuracy)),
		"#models tr.champion":         fmt.Sprintf("%.4f", float64(st.Models[0].Test.AUC)),
		"#effects li .name":           effects[0].Feature,
		"#skipped tbody":              "arity10", // one of the train topic, none of the test topic
		"#service":                    st.Lineage,
		"#calibration":                "observed share",
		"#confusion tbody td":         fmt.Sprint(st.Models[0].Test.Confusion[0][0] / 1000),
		"#partitions tr:nth-child(3)": "2",
	})
	if aria := eval[string](b, `document.querySelector(".plot").getAttribute("aria-label")`); !strings.Contains(aria, "logistic from ") {
		t.Errorf("the first chart is described as %q", aria)
	}
	if drawn := eval[int](b, `[...document.querySelectorAll("canvas")].filter((c) =>
		c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)).length`); drawn != 6 {
		t.Errorf("%d charts are drawn, want 6", drawn)
	}

	for i := range 3 {
		href := eval[string](b, fmt.Sprintf(`document.querySelectorAll("#take a")[%d].getAttribute("href")`, i))
		if code, body := s.get("/" + href); code != http.StatusOK {
			t.Errorf("%s: %d %s", href, code, body)
		}
	}

	// A phone, and both colour schemes.
	background := map[string]string{}
	for _, scheme := range []string{"dark", "light"} {
		b.look(390, scheme)
		background[scheme] = eval[string](b, `getComputedStyle(document.body).backgroundColor`)
		if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
			t.Errorf("%s: the page is %d wide on a phone of 390", scheme, wide)
		}
	}
	if background["dark"] == background["light"] {
		t.Errorf("both schemes have the background %s", background["dark"])
	}
	b.look(1280, "light")

	// The keyboard: the first key leads to the link that skips the head.
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.do("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}, nil)
	}
	if first := eval[string](b, `document.activeElement.className`); first != "skip" {
		t.Errorf("the first key leads to %q", first)
	}
	if faults := b.reported(); len(faults) > 0 {
		t.Errorf("the page reports %q", faults)
	}

	// The brokers go away and come back.
	n.sever()
	b.waitFor(`document.querySelector("#reasons").textContent.startsWith("Not ready: ")`)
	t.Logf("brokers away: %s", b.text("#reasons"))
	n.mend()
	b.waitFor(`document.querySelector("#ready").textContent === "ready"`)

	// Another member of the group stands by.
	standby := startService(t, c)
	standby.standsBy()
	b.open(standby.url + "/")
	b.waitFor(`document.querySelector("#role").textContent === "standby"`)
	b.waitFor(`document.querySelector("#tile-rate").textContent.includes("7,000 learned")`)
	b.shows("standby", map[string]string{"#tile-rate": "the holder learns", "#tile-lag": "known to the holder", "#tile-replay": "Follows"})
	standby.stops()

	// The service goes away; the page says so, and goes on by itself when there is one again.
	b.waitFor(`document.querySelector("#banner").textContent.startsWith("No connection since ") && !document.querySelector("#banner").hidden`)
	s.stops()
	hurry := slowly(kafka, c.train, 40*time.Millisecond)
	again := startService(t, c.as("again", "LEARNER_HTTP_ADDR="+strings.TrimPrefix(standby.url, "http://")))
	b.waitFor(`document.querySelector("#banner").hidden && document.querySelector("#role").textContent === "holder"`)
	b.waitFor(`/ %.* to go, ETA \d/.test(document.querySelector("#tile-replay").textContent)`)
	hurry()
	b.waitFor(`document.querySelector("#tile-replay").textContent.includes("Learned")`)
	if got := b.text("#connection"); got != "live" {
		t.Errorf("after the service came back the page is %q", got)
	}

	// Where all streams are taken, it asks again and again.
	b.open("about:blank")
	occupy(t, again)
	b.open(again.url + "/?polling")
	b.waitFor(`document.querySelector("#connection").textContent === "polling"`)
	b.waitFor(`document.querySelector("#tile-rate").textContent.includes("7,000 learned")`)
	records := again.records()
	c.as("again").produce(t, c.train, lines[7000:7100])
	b.waitFor(fmt.Sprintf(`document.querySelector("#tile-rate").textContent.includes("%d,100 learned")`, records/1000))
	if faults := b.reported(awayLines...); len(faults) > 0 {
		t.Errorf("the page reports %q", faults)
	}
}

// TestPageWhileConnecting opens the page of a service whose broker takes connections and says nothing.
func TestPageWhileConnecting(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	c, _ := embedded(t, broker.Options{})
	s := startService(t, c.as("connecting", "CCLOUD_BOOTSTRAP_ENDPOINT="+silent.Addr().String()))
	b.open(s.url + "/")
	b.waitFor(`document.querySelector("#reasons").textContent === "Not ready: connecting"`)
	b.shows("connecting", map[string]string{"#role": "joining", "#ready": "not ready", "#tile-accuracy .value": "–", "#partitions": "No partition is held yet."})
	if faults := b.reported(); len(faults) > 0 {
		t.Errorf("the page reports %q", faults)
	}
	_ = silent.Close()
	s.stop()
}

// TestPageOfColumns opens the page of a service whose records have columns of categories, that are missing here and there, and
// change with a schema.
func TestPageOfColumns(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	event := eventStatus{Event: train.Event{Record: 250, Kind: train.SchemaMet, Schema: "Avro schema 7", Added: "city", Lacks: "age"}}
	var learned atomic.Int64
	short := func() any {
		return status{
			Started: time.Unix(0, 0), Role: "holder", Ready: true, CaughtUp: true, Features: 3, Reasons: []string{}, Partitions: []partition{},
			Models:    []modelStatus{{Name: "logistic", Kind: "logistic", Champion: true, Records: 1000, Effects: []effect{{"age missing", 0.5}}}},
			Baselines: []baselineStatus{}, Drift: []driftStatus{}, Stability: []featureStatus{}, Events: []eventStatus{event},
			Skipped:    skippedStatus{Train: map[string]int64{}, Test: map[string]int64{}},
			Categories: &categoryStatus{Slots: 4096, Used: 12, Categories: 12, Collisions: 0.01},
		}
	}
	server := serve.New(serve.Config{
		Addr: "127.0.0.1:0", Alive: func() error { return nil }, Unready: func() []string { return nil }, Models: &service{specs: []sgd.Spec{{Name: "logistic"}}},
		Status: func() any {
			st := short().(status)
			st.Columns = []columnStatus{{"age", "number", 250}, {"<b>score", "number", 0}, {"city", "category", 5}}
			return st
		},
		Live: serve.Live{Status: short, Baselines: []string{}, Sample: func() serve.Sample {
			return serve.Sample{Records: uint64(learned.Add(100)), Models: []serve.Point{{}}}
		}},
		Metrics: http.NotFoundHandler(), Observer: metrics.New(prometheus.NewRegistry(), metrics.Config{}), Log: zap.NewNop(),
	})
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	b.look(1280, "light")
	b.open("http://" + server.Addr().String() + "/")
	const said = "Avro schema 7: new columns city, without age"
	b.waitFor(`document.querySelector(".plot").getAttribute("aria-label").includes("` + said + `")`)
	b.waitFor(`document.querySelectorAll("#columns tbody tr").length === 3`)
	if faults := b.reported(); len(faults) > 0 {
		t.Fatalf("the page reports %q", faults)
	}
	b.shows("columns", map[string]string{
		"#events":                        "record 250: " + said,
		"#columns-note":                  "Columns: 3, 1 of them of categories; 12 of 4,096 slots are used",
		"#columns tbody tr":              "agenumbers25.0 %",
		"#columns tbody tr:nth-child(2)": "<b>scorenumbers0.0 %",
		"#columns tbody tr:nth-child(3)": "citycategories0.5 %",
		"#effects li .name":              "age missing",
	})
	if hidden := eval[bool](b, `document.querySelector("#columns-box").hidden || !document.querySelector("#columns-box").open`); hidden {
		t.Error("the columns are hidden")
	}
}

// shows checks that the first elements of selectors have certain texts in them.
func (b *browser) shows(when string, texts map[string]string) {
	b.t.Helper()
	for selector, want := range texts {
		if got := b.text(selector); !strings.Contains(got, want) {
			b.t.Errorf("%s: %s shows %q, want %q in it", when, selector, got, want)
		}
	}
}

// occupy opens streams of events until there is no place for one more, and holds them until the test ends.
func occupy(t *testing.T, r *running) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	for refused := 0; refused < 3; {
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cancel(); _ = resp.Body.Close() })
		if resp.StatusCode == http.StatusServiceUnavailable {
			refused++ // the stream of a page that was just left may still be there
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}
