package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var (
	older = ID{"a", 1, "b"}
	newer = ID{"a", 2, "b"}
)

// twoInLog returns a log with an older checkpoint and a newer one of five chunks, and where the newer one begins in it.
func twoInLog(t *testing.T) (log *memoryLog, begin int) {
	t.Helper()
	log = newLog()
	log.max = 165 // a manifest needs more than a chunk
	s := NewTopic(log, "g")
	put(t, NewTopic(log, "other"), newer, 1, data(0, 300))
	put(t, s, older, 1, data(1, 300))
	begin = len(log.records)
	put(t, s, newer, 1, data(2, 600))
	if got := len(log.records) - begin; got != 6 {
		t.Fatalf("the newer checkpoint has %d records", got)
	}
	return log, begin
}

// broken reports whether err says that a checkpoint is broken, and not that it could not be read.
func broken(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnfinished) || errors.Is(err, ErrCorrupt)
}

func TestTopicKeys(t *testing.T) {
	log, begin := twoInLog(t)
	var got []string
	for _, r := range log.records[begin:] {
		got = append(got, r.key)
	}
	want := "g/a/2/b/0000 g/a/2/b/0001 g/a/2/b/0002 g/a/2/b/0003 g/a/2/b/0004 g/a/2/b/manifest"
	if strings.Join(got, " ") != want {
		t.Errorf("keys %v, want %s", got, want)
	}
}

func TestTopicHalfWritten(t *testing.T) {
	whole, begin := twoInLog(t)
	for n := range 6 {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d records, restarted %v", n, restarted), func(t *testing.T) {
				log := whole.clone()
				log.records, log.end = log.records[:begin], int64(begin)
				log.room = n
				s := NewTopic(log, "g")
				if err := s.Put(t.Context(), newer, 1, data(2, 600)); !errors.Is(err, errLog) {
					t.Fatalf("put: error %v", err)
				}
				log.room = -1
				if restarted {
					s = NewTopic(log, "g")
				}
				want := ErrUnfinished
				if n == 0 && restarted {
					want = ErrNotFound
				}
				if _, err := s.Get(t.Context(), newer); !errors.Is(err, want) {
					t.Errorf("newer: error %v, want %v", err, want)
				}
				wantData(t, s, older, data(1, 300))
				if all := entries(t, s); n > 0 && (all[0].ID != newer || !errors.Is(all[0].Err, ErrUnfinished)) {
					t.Errorf("listed %v", all)
				}
				// What is left can be deleted, to the last record, and written again.
				if err := s.Delete(t.Context(), []ID{newer}); err != nil {
					t.Fatal(err)
				}
				wantIDs(t, s, "a/1/b of 1")
				if log.compact(true); len(log.records) != begin {
					t.Errorf("%d records are left, want %d", len(log.records), begin)
				}
				put(t, s, newer, 2, data(2, 600))
				wantData(t, NewTopic(log, "g"), newer, data(2, 600))
			})
		}
	}
}

func TestTopicDamagedRecords(t *testing.T) {
	whole, begin := twoInLog(t)
	damaged := func(name string, change func(log *memoryLog)) {
		t.Helper()
		log := whole.clone()
		change(log)
		s := NewTopic(log, "g")
		got, err := s.Get(t.Context(), newer)
		switch {
		case err == nil && slices.Equal(got, data(2, 600)):
		case err == nil:
			t.Errorf("%s: other data", name)
		case !broken(err):
			t.Errorf("%s: error %v", name, err)
		}
		if err == nil {
			t.Errorf("%s: not noticed", name)
		}
		wantData(t, s, older, data(1, 300))
		all := entries(t, s)
		if !slices.ContainsFunc(all, func(e Entry) bool { return e.ID == older && e.Err == nil }) {
			t.Errorf("%s: listed %v", name, all)
		}
	}
	for i := begin; i < len(whole.records); i++ {
		damaged(fmt.Sprintf("record %d removed", i), func(log *memoryLog) { log.records = slices.Delete(log.records, i, i+1) })
		damaged(fmt.Sprintf("record %d a tombstone", i), func(log *memoryLog) { log.records[i].value = nil })
		for at := range whole.records[i].value {
			damaged(fmt.Sprintf("record %d cut at %d", i, at), func(log *memoryLog) { log.records[i].value = log.records[i].value[:at] })
			for bit := range 8 {
				damaged(fmt.Sprintf("record %d flipped at %d", i, at), func(log *memoryLog) { log.records[i].value[at] ^= 1 << bit })
			}
		}
		for at := range whole.records[i].key {
			damaged(fmt.Sprintf("record %d key flipped at %d", i, at), func(log *memoryLog) {
				key := []byte(log.records[i].key)
				key[at] ^= 2
				log.records[i].key = string(key)
			})
		}
	}
}

func TestTopicManifestOfAnotherVersion(t *testing.T) {
	log, _ := twoInLog(t)
	m := manifest{Version: 2}
	value, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	log.records[len(log.records)-1].value = value
	s := NewTopic(log, "g")
	wantError(t, s, newer, ErrVersion)
	if e := entries(t, s)[0]; !errors.Is(e.Err, ErrVersion) || !strings.Contains(e.Err.Error(), "version 2, this build reads 1") {
		t.Errorf("listed %v", e)
	}
}

// A manifest that fits its own CRC and nothing else.
func TestTopicManifestThatLies(t *testing.T) {
	whole, _ := twoInLog(t)
	good, err := decodeManifest(whole.records[len(whole.records)-1].value)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*manifest){
		"giant size":      func(m *manifest) { m.Size = 1 << 62 },
		"negative size":   func(m *manifest) { m.Size = -1 },
		"giant count":     func(m *manifest) { m.Chunks = 1 << 62 },
		"negative count":  func(m *manifest) { m.Chunks, m.Size = -1, 0 },
		"a chunk less":    func(m *manifest) { m.Chunks-- },
		"no chunk":        func(m *manifest) { m.Chunks, m.Size = 0, 0 },
		"no sum":          func(m *manifest) { m.SHA256 = "" },
		"sum of another":  func(m *manifest) { m.SHA256 = hexSum(data(1, 600)) },
		"upper-case sum":  func(m *manifest) { m.SHA256 = strings.ToUpper(m.SHA256) },
		"size of a chunk": func(m *manifest) { m.Chunks, m.Size = 1, 149 },
	} {
		t.Run(name, func(t *testing.T) {
			log := whole.clone()
			m := good
			change(&m)
			value, err := m.encode()
			if err != nil {
				t.Fatal(err)
			}
			log.records[len(log.records)-1].value = value
			wantError(t, NewTopic(log, "g"), newer, ErrCorrupt)
		})
	}
}

func TestTopicReadsOnlyWhatItNeeds(t *testing.T) {
	log, begin := twoInLog(t)
	s := NewTopic(log, "g")
	entries(t, s)
	log.read = 0
	wantData(t, s, newer, data(2, 600))
	if chunks := len(log.records) - begin - 1; log.read != chunks {
		t.Errorf("getting a checkpoint of %d chunks read %d records", chunks, log.read)
	}
	log.read = 0
	put(t, s, ID{"a", 3, "b"}, 1, data(3, 300))
	if err := s.Delete(t.Context(), []ID{older, {"a", 3, "b"}}); err != nil {
		t.Fatal(err)
	}
	if log.read != 0 {
		t.Errorf("deleting what is known read %d records", log.read)
	}
	put(t, NewTopic(log, "g"), ID{"a", 4, "b"}, 1, data(4, 10))
	before := len(log.records)
	log.read = 0
	wantData(t, s, ID{"a", 4, "b"}, data(4, 10))
	if news := before - begin - 6 + 1; log.read != news {
		t.Errorf("getting what is new read %d records, %d are new", log.read, news-1)
	}
	wantIDs(t, s, "a/4/b of 1", "a/2/b of 1")
}

func TestTopicGoesOnAfterCompaction(t *testing.T) {
	log, _ := twoInLog(t)
	s := NewTopic(log, "g")
	entries(t, s)
	if err := NewTopic(log, "g").Delete(t.Context(), []ID{older}); err != nil {
		t.Fatal(err)
	}
	log.compact(true)
	wantData(t, s, newer, data(2, 600))
	if _, err := s.Get(t.Context(), older); !broken(err) {
		t.Errorf("a checkpoint whose tombstones are gone too: error %v", err)
	}
}

func TestTopicCreatedAgain(t *testing.T) {
	log, _ := twoInLog(t)
	s := NewTopic(log, "g")
	entries(t, s)
	log.records, log.end = nil, 0
	put(t, NewTopic(log, "g"), older, 5, data(5, 10))
	wantError(t, s, newer, ErrNotFound)
	wantData(t, s, older, data(5, 10))
	wantIDs(t, s, "a/1/b of 5")
}

func TestTopicThatCannotBeRead(t *testing.T) {
	log, _ := twoInLog(t)
	log.fault = errLog
	s := NewTopic(log, "g")
	if _, err := s.List(t.Context()); !errors.Is(err, errLog) {
		t.Errorf("list: error %v", err)
	}
	if _, err := s.Get(t.Context(), newer); !errors.Is(err, errLog) || broken(err) {
		t.Errorf("get: error %v", err)
	}
	if err := s.Delete(t.Context(), []ID{newer}); !errors.Is(err, errLog) {
		t.Errorf("delete: error %v", err)
	}
	log.fault = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, ID{"a", 3, "b"}, 1, data(3, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("put: error %v", err)
	}
	if err := NewTopic(log, strings.Repeat("g", 165)).Put(t.Context(), older, 1, data(1, 1)); err == nil {
		t.Error("a key that fills the record was accepted")
	}
	wantData(t, s, newer, data(2, 600))
}

// Interrupted after any record, a deletion leaves nothing that counts as whole and can be repeated.
func TestTopicHalfDeleted(t *testing.T) {
	whole, _ := twoInLog(t)
	for n := range 6 {
		log := whole.clone()
		log.room = n
		if err := NewTopic(log, "g").Delete(t.Context(), []ID{newer}); !errors.Is(err, errLog) {
			t.Fatalf("after %d records: error %v", n, err)
		}
		log.room = -1
		s := NewTopic(log, "g")
		if e := entries(t, s)[0]; e.ID != newer || n > 0 && !errors.Is(e.Err, ErrUnfinished) {
			t.Errorf("after %d records: listed %v", n, e)
		}
		if err := s.Delete(t.Context(), []ID{newer}); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, NewTopic(log, "g"), "a/1/b of 1")
	}
}
