package event

import (
	"slices"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	ids := NewIDs(ID{})
	last := ids.Next(at)
	if !last.Time().Equal(at) {
		t.Errorf("%s is of %v", last, last.Time())
	}
	for i := range 1000 {
		when := at.Add(time.Duration(i%7-3) * time.Millisecond) // a clock that goes back and forth
		next := ids.Next(when)
		if next.Compare(last) <= 0 || next.String() <= last.String() {
			t.Fatalf("%s does not follow %s", next, last)
		}
		parsed, err := ParseID(next.String())
		if err != nil || parsed != next {
			t.Fatalf("%s reads as %s, %v", next, parsed, err)
		}
		last = next
	}
	if again := NewIDs(last).Next(at.Add(-time.Hour)); again.Compare(last) <= 0 {
		t.Errorf("after a restart %s follows %s", again, last)
	}
	full := ID{0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
	if full.After() != (ID{5: 2}) || (ID{5: 2}).Before() != full {
		t.Error("no carry")
	}
	if s := (ID{0: 255}).String(); s[0] != '7' {
		t.Error(s)
	}
	for _, bad := range []string{"", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVX", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAU",
		"01arz3ndektsv4rrffq69g5fav"} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		matches  []Type
	}{
		{nil, []Type{EndpointCreated, CallEnded, StreamGap}},
		{[]string{"*"}, []Type{EndpointCreated, CallEnded, StreamGap}},
		{[]string{"endpoint.*"}, []Type{EndpointCreated, StreamGap}},
		{[]string{"call.*"}, []Type{CallEnded, StreamGap}},
		{[]string{"endpoint.created", "call.ended"}, []Type{EndpointCreated, CallEnded, StreamGap}},
		{[]string{"endpoint.deleted"}, []Type{StreamGap}},
	} {
		f, err := ParseFilter(c.patterns)
		if err != nil {
			t.Fatal(err)
		}
		for _, typ := range []Type{EndpointCreated, CallEnded, StreamGap} {
			if f.Match(typ) != slices.Contains(c.matches, typ) {
				t.Errorf("%q on %s: %v", c.patterns, typ, f.Match(typ))
			}
		}
	}
	for _, bad := range []string{"", "endpoint", "endpoint*", "end*", "endpoint.exploded", "**", "stream.gap", "*.created"} {
		if _, err := ParseFilter([]string{bad}); err == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}
