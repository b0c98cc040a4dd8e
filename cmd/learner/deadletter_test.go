package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
	"learner/pkg/deadletter"
	"learner/pkg/producer"
	"learner/pkg/record"
)

// written is a record that a test writes, or finds in a topic.
type written struct {
	partition  int32
	key, value []byte
	headers    []kafka.Header
}

// header returns the value of the last header of that name.
func (w written) header(key string) string {
	for _, h := range slices.Backward(w.headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// place returns where a dead letter was read.
func (w written) place() string {
	return w.header(deadletter.HeaderPartition) + "/" + w.header(deadletter.HeaderOffset)
}

// send writes records to the train topic.
func (c *testCluster) send(t *testing.T, records []written) {
	t.Helper()
	p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: c.train})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		at := time.Now().Add(time.Duration(i) * time.Microsecond)
		if err := p.SendWithHeaders(t.Context(), r.partition, at, r.key, r.value, r.headers); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// letters returns what a topic with three partitions holds.
func (c *testCluster) letters(t *testing.T, topic string) (all []written) {
	t.Helper()
	c.each(t, topic, 3, func(p int, rec *kafka.Record, key, value []byte) {
		all = append(all, written{int32(p), key, value, rec.Headers})
	})
	return all
}

// goodRows returns rows of partitions 0 to 2 in turn.
func goodRows(n int) (all []written) {
	for i := range n {
		all = append(all, written{partition: int32(i % 3), value: fmt.Appendf(nil, "%d,1.5,%d", i%2, i)})
	}
	return all
}

// badRecords are refused for various reasons.
func badRecords() []written {
	trace := []kafka.Header{{Key: "trace", Value: []byte("a\x00b")}, {Key: "trace", Value: []byte{}}, {Key: "none"}}
	return []written{
		{0, []byte("k0"), nil, trace},
		{1, nil, []byte(""), nil},
		{2, []byte{}, []byte("1,x,2"), trace},
		{0, []byte("k1"), []byte("2,1,2"), nil},
		{1, []byte("k2"), []byte("1,1"), trace},
		{2, []byte("k3"), []byte("1,\xff,2"), nil},
		{0, nil, []byte("1,1e999,2"), trace},
	}
}

// TestDeadLetters holds that every refused record is written to the dead-letter topic as it was, once, with where it came
// from and why.
func TestDeadLetters(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.create(t, 3, nil)
		rows, bad := goodRows(300), badRecords()
		records := slices.Concat(rows[:3], bad[:4], rows[3:150], bad, rows[150:], bad[2:])
		c.send(t, records)
		dead := c.train + "-dead"
		c.env = c.with("LEARNER_DEAD_LETTER_TOPIC="+dead, "LEARNER_CHECKPOINT_TOPIC="+c.train+"-checkpoints")
		s := startService(t, c)
		s.learns(300)
		s.stops()

		reasons := map[string]record.Reason{
			"": record.Empty, "1,x,2": record.Number, "2,1,2": record.Label, "1,1": record.Arity, "1,\xff,2": record.UTF8, "1,1e999,2": record.NonFinite,
		}
		want := make(map[string]written)
		offsets := map[int32]int{}
		for _, r := range records {
			if slices.ContainsFunc(rows, func(row written) bool { return string(row.value) == string(r.value) }) {
				offsets[r.partition]++
				continue
			}
			want[fmt.Sprintf("%d/%d", r.partition, offsets[r.partition])] = r
			offsets[r.partition]++
		}
		check := func() {
			t.Helper()
			letters := c.letters(t, dead)
			if len(letters) != len(want) {
				t.Errorf("%d letters, want %d", len(letters), len(want))
			}
			for _, got := range letters {
				w, found := want[got.place()]
				if !found {
					t.Fatalf("a letter says that it comes from %s", got.place())
				}
				own := len(got.headers) - 6
				sameHeader := func(a, b kafka.Header) bool { return a.Key == b.Key && sameBytes(a.Value, b.Value) }
				if got.partition != w.partition || !sameBytes(got.key, w.key) || !sameBytes(got.value, w.value) ||
					own != len(w.headers) || !slices.EqualFunc(got.headers[:own], w.headers, sameHeader) {
					t.Errorf("%s: the letter is %q, want %q", got.place(), got, w)
				}
				reason := reasons[string(w.value)]
				if w.value == nil {
					reason = record.Tombstone
				}
				if got.header(deadletter.HeaderReason) != reason.String() || got.header(deadletter.HeaderError) == "" ||
					got.header(deadletter.HeaderTopic) != c.train || got.header(deadletter.HeaderGroup) != c.group {
					t.Errorf("%s: headers %q, want reason %v", got.place(), got.headers, reason)
				}
			}
		}
		check()
		s = startService(t, c)
		s.learns(300)
		m := s.metrics()
		s.stops()
		check() // a clean stop repeats nothing
		if got := sum(m, "learner_dead_letters_total"); got != 0 {
			t.Errorf("%v letters after the restart", got)
		}
	})
}

// sameBytes compares contents and whether they are null.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

// TestDeadLettersBehindTheLastCommit holds that letters that were written behind the last commit are written again, and that
// their headers tell.
func TestDeadLettersBehindTheLastCommit(t *testing.T) {
	c, b := embedded(t, broker.Options{})
	c.create(t, 3, nil)
	c.env = c.with("LEARNER_DEAD_LETTER_TOPIC=dead")
	c.send(t, goodRows(300))
	s := startService(t, c)
	s.learns(300)
	fault := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
	c.send(t, badRecords())
	s.eventually("writes the letters", func() bool { return sum(s.metrics(), "learner_dead_letters_total") == 7 })
	s.stops()
	if !strings.Contains(s.log.String(), "the last checkpoint was not kept") {
		t.Error("the log does not say that the last checkpoint was not kept")
	}
	fault.Remove()
	s = startService(t, c)
	s.eventually("writes the letters again", func() bool { return sum(s.metrics(), "learner_dead_letters_total") == 7 })
	s.stops()
	times := map[string]int{}
	for _, w := range c.letters(t, "dead") {
		times[w.place()]++
	}
	for i, r := range badRecords() {
		place := fmt.Sprintf("%d/%d", r.partition, 100+i/3)
		if times[place] != 2 {
			t.Errorf("%s stands there %d times, want 2: %v", place, times[place], times)
		}
	}
}

// TestDeadLetterTopicAway holds that nothing behind a refused record is committed before it is written, that the service says
// so, stops in time, and goes on by itself.
func TestDeadLetterTopicAway(t *testing.T) {
	c, b := embedded(t, broker.Options{})
	c.create(t, 3, nil)
	c.env = c.with("LEARNER_DEAD_LETTER_TOPIC=dead")
	c.send(t, goodRows(300))
	s := startService(t, c)
	s.learns(300)
	fault := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dead", Err: kerr.NotLeaderForPartition, Count: -1})
	c.send(t, slices.Concat(badRecords(), goodRows(30)))
	away := func(s *running) {
		t.Helper()
		s.eventually("is not ready, and says why", func() bool {
			_, body := s.get("/readyz")
			return strings.Contains(string(body), "7 refused records wait for dead-letter topic dead")
		})
		s.eventually("learns on", func() bool { return s.records() == 330 })
		for p, commit := range c.commits(t) {
			if commit.Offset > 100 {
				t.Errorf("partition %d is committed up to %d, where the refused records begin at 100", p, commit.Offset)
			}
		}
	}
	away(s)
	began := time.Now()
	s.stops()
	if took := time.Since(began); took > 5*lastCut {
		t.Errorf("the stop took %s", took)
	}
	if !strings.Contains(s.log.String(), "the last checkpoint was not kept") {
		t.Error("the log does not say that the last checkpoint was not kept")
	}

	s = startService(t, c)
	away(s)
	if got := sum(s.metrics(), "learner_dead_letter_queue_records"); got != 7 {
		t.Errorf("%v letters wait, want 7", got)
	}
	fault.Remove()
	s.learns(330)
	s.eventually("commits", func() bool {
		for _, commit := range c.commits(t) {
			if commit.Offset <= 110 {
				return false
			}
		}
		return true
	})
	if got := len(c.letters(t, "dead")); got != 7 || sum(s.metrics(), "learner_dead_letters_total") != 7 {
		t.Errorf("%d letters, want 7", got)
	}
	s.stops()
}

// TestLargeDeadLetters holds that a record that is too large for the dead-letter topic is not lost: what fits is written, and
// says what is missing.
func TestLargeDeadLetters(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.create(t, 3, nil)
		dead := c.train + "-dead"
		c.env = c.with("LEARNER_DEAD_LETTER_TOPIC="+dead, "LEARNER_CHECKPOINT_TOPIC="+c.train+"-checkpoints")
		if _, err := producer.EnsureTopic(t.Context(), c.client(t), dead, 3, -1, map[string]string{"max.message.bytes": "2000"}); err != nil {
			t.Fatal(err)
		}
		large := make([]byte, 3000)
		_, _ = rand.NewChaCha8([32]byte{}).Read(large) // it does not compress; Read never fails
		headers := []kafka.Header{{Key: "a", Value: []byte("1")}}
		c.send(t, slices.Concat(goodRows(300), badRecords()[2:3], []written{
			{0, []byte("key"), large, headers}, {1, large, []byte("bad"), headers}, {2, []byte("key"), large[:1000], headers},
		}))
		s := startService(t, c)
		s.learns(300)
		s.stops()
		var got []string
		for _, w := range c.letters(t, dead) {
			got = append(got, fmt.Sprintf("%s key %d value %d %s", w.place(), len(w.key), len(w.value), w.header(deadletter.HeaderTruncated)))
		}
		slices.Sort(got)
		got = slices.Compact(got) // what was under way when a large one was refused is sent again
		want := []string{"0/100 key 3 value 0 value", "1/100 key 0 value 0 key,value,headers", "2/100 key 0 value 5 ", "2/101 key 3 value 1000 "}
		if !slices.Equal(got, want) {
			t.Errorf("letters %q, want %q", got, want)
		}
	})
}

// TestDeadLettersFillTheQueue holds that reading stalls where too many records are refused to be held, until they are
// written.
func TestDeadLettersFillTheQueue(t *testing.T) {
	c, b := embedded(t, broker.Options{})
	c.create(t, 3, nil)
	c.env = c.with("LEARNER_DEAD_LETTER_TOPIC=dead")
	var records []written
	for i := range 3 * deadLetterRecords {
		records = append(records, written{partition: int32(i % 3), value: []byte("bad " + strconv.Itoa(i))})
	}
	c.send(t, slices.Concat(goodRows(300), records, goodRows(3)))
	fault := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dead", Err: kerr.NotLeaderForPartition, Count: -1})
	s := startService(t, c)
	s.eventually("fills the queue", func() bool {
		return sum(s.metrics(), "learner_dead_letter_queue_records") == deadLetterRecords
	})
	if got := sum(s.metrics(), "learner_consumer_skipped_records_total", c.train); got > deadLetterRecords+1 {
		t.Errorf("%v records refused, with room for %d", got, deadLetterRecords)
	}
	fault.Remove()
	s.learns(303)
	s.stops()
	places := map[string]bool{}
	for _, w := range c.letters(t, "dead") {
		places[w.place()] = true
	}
	if len(places) != len(records) {
		t.Errorf("letters of %d records, want %d", len(places), len(records))
	}
}

// TestDeadLetterTopicForbidden holds that a missing permission ends the start.
func TestDeadLetterTopicForbidden(t *testing.T) {
	t.Parallel()
	c, b := embedded(t, broker.Options{})
	c.create(t, 3, nil)
	b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "dead", Err: kerr.TopicAuthorizationFailed, Count: -1})
	got := runWith(t, c.with("LEARNER_DEAD_LETTER_TOPIC=dead"))
	if got.code != exitFailure || !strings.Contains(got.stderr, "learner: dead-letter topic: create topic dead: ") ||
		!strings.Contains(got.stderr, "--topic dead --partitions 3") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
}

// TestBadRecordLimit holds that the service ends where too much is refused, and keeps nothing behind.
func TestBadRecordLimit(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.create(t, 3, nil)
		c.env = c.with("LEARNER_BAD_RECORD_LIMIT=0.1/100", "LEARNER_CHECKPOINT_TOPIC="+c.train+"-checkpoints")
		c.send(t, slices.Concat(goodRows(300), badRecords(), goodRows(300)))
		s := startService(t, c)
		s.learns(600)
		s.eventually("commits", func() bool {
			total := int64(0)
			for _, commit := range c.commits(t) {
				total += commit.Offset
			}
			return total == 607
		})
		run := slices.Repeat([]written{{partition: 0, value: []byte("bad")}}, 30) // at most half of it in another window
		c.send(t, run)
		s.eventually("ends", func() bool { return strings.Contains(s.log.String(), "LEARNER_BAD_RECORD_LIMIT says") })
		if code := s.stop(); code != exitFailure {
			t.Errorf("exit code %d", code)
		}
		want := "learning from " + c.train + " ends, as LEARNER_BAD_RECORD_LIMIT says: 11 of "
		if !strings.Contains(s.log.String(), want) || !strings.Contains(s.log.String(), "share of 0.1 in a window of 100; the newest is partition ") {
			t.Error("the error does not say why")
		}
		for p, commit := range c.commits(t) {
			if commit.Offset > 203+10 {
				t.Errorf("partition %d is committed up to %d, behind the records that ended it", p, commit.Offset)
			}
		}
		c.send(t, goodRows(300))
		c.env = c.with("LEARNER_BAD_RECORD_LIMIT=")
		s = startService(t, c)
		s.learns(900)
		s.stops()
	})
}
