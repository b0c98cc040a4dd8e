package consumer

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/protocol/joingroup"
)

func TestProgressIsUnderstoodByOtherReleases(t *testing.T) {
	for _, p := range []progress{{}, {sequence: 7, generation: 3}, {sequence: math.MaxInt64, generation: math.MaxInt32}, {sequence: -1, generation: -1}} {
		b := p.encode()
		if got := decodeProgress(b); got != p {
			t.Errorf("%+v came back as %+v", p, got)
		}
		later := append(slices.Clone(b), "whatever a later release adds"...)
		later[0] = 9
		if got := decodeProgress(later); got != p {
			t.Errorf("%+v of a later release came back as %+v", p, got)
		}
	}
	want := []byte{1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5}
	if got := (progress{sequence: 258, generation: 5}).encode(); !slices.Equal(got, want) {
		t.Errorf("encoded as %v, want %v", got, want)
	}
	for _, b := range [][]byte{nil, {1}, make([]byte, 13), binary.BigEndian.AppendUint64([]byte{1}, 5)} {
		if got := decodeProgress(b); got != (progress{}) {
			t.Errorf("%v was read as %+v", b, got)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name string
		give []candidate
		want string
	}{
		{"alone", []candidate{{"a", progress{}}}, "a"},
		{"highest sequence", []candidate{{"a", progress{3, 9}}, {"b", progress{4, 1}}, {"c", progress{}}}, "b"},
		{"later generation", []candidate{{"a", progress{4, 1}}, {"b", progress{4, 2}}}, "b"},
		{"the holder over newcomers", []candidate{{"a", progress{}}, {"z", progress{0, 1}}}, "z"},
		{"first by id", []candidate{{"c", progress{}}, {"a", progress{}}, {"b", progress{}}}, "a"},
	} {
		for range len(test.give) {
			test.give = append(test.give[1:], test.give[0])
			if got := choose(test.give); got != test.want {
				t.Errorf("%s: %s of %v, want %s", test.name, got, test.give, test.want)
			}
		}
	}
}

func TestAssignGivesAllToOne(t *testing.T) {
	encoded := func(p progress) []byte {
		b, err := subscription("train", p)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	members := []joingroup.ResponseMember{
		{MemberID: "a", Metadata: []byte("rubbish")}, {MemberID: "b", Metadata: encoded(progress{sequence: 5})}, {MemberID: "c", Metadata: encoded(progress{})},
	}
	for _, partitions := range [][]int32{{0, 1, 2}, nil} {
		assignments, err := assign(members, "train", partitions)
		if err != nil || len(assignments) != 3 {
			t.Fatal(assignments, err)
		}
		for _, a := range assignments {
			got, err := assigned(a.Assignment, "train")
			var want []int32
			if a.MemberID == "b" {
				want = partitions
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s got %v, %v; want %v", a.MemberID, got, err, want)
			}
		}
	}
	if got, err := assigned(nil, "train"); got != nil || err != nil {
		t.Errorf("no assignment: %v, %v", got, err)
	}
	if _, err := assigned([]byte{0}, "train"); err == nil {
		t.Error("a cut assignment was read")
	}
}
