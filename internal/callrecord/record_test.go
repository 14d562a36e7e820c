package callrecord

import (
	"bytes"
	"testing"
	"time"
)

func TestID(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	id := NewID(now)
	if !id.Time().Equal(now) {
		t.Errorf("%s began at %v", id, id.Time())
	}
	if a, b := FirstID(now), FirstID(now.Add(time.Millisecond)); bytes.Compare(a[:], id[:]) >= 0 || bytes.Compare(b[:], id[:]) <= 0 {
		t.Errorf("%s is not between %s and %s", id, a, b)
	}
	text := id.String()
	if got, ok := ParseID(text); !ok || got != id {
		t.Errorf("ParseID(%q) = %v, %v", text, got, ok)
	}
	if text[14] != '7' {
		t.Errorf("%s is not of version 7", text)
	}
	for _, bad := range []string{"", text[1:], text + "0", "g" + text[1:], text[:8] + "0" + text[9:]} {
		if _, ok := ParseID(bad); ok {
			t.Errorf("ParseID(%q) is taken", bad)
		}
	}
}

func TestDurations(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := Record{Start: start}
	if d := r.Duration(start.Add(time.Second)); d != time.Second || r.Billed(start.Add(time.Second)) != 0 {
		t.Errorf("ringing for %v, billed %v", d, r.Billed(start.Add(time.Second)))
	}
	r.Answer = start.Add(1500 * time.Millisecond)
	if b := r.Billed(start.Add(2 * time.Second)); b != 500*time.Millisecond {
		t.Errorf("billed %v while it lasts", b)
	}
	r.End = start.Add(4 * time.Second)
	if d, b := r.Duration(time.Time{}), r.Billed(time.Time{}); d != 4*time.Second || b != 2500*time.Millisecond {
		t.Errorf("took %v, billed %v", d, b)
	}
}

func TestOutcomes(t *testing.T) {
	for reason, want := range map[string]Outcome{
		"endpoint.unregistered":   {Failed, NotRegistered, Platform},
		"endpoint.unreachable":    {Failed, EndpointGone, Platform},
		"permission.allow_phones": {Failed, NotPermitted, Platform},
		"phones.no_route":         {Failed, NoRoute, Platform},
		"call.no_answer":          {NoAnswer, RingTimeout, Platform},
	} {
		if got, ok := OfReason(reason); !ok || got != want {
			t.Errorf("%s: %+v, %v", reason, got, ok)
		}
	}
	if o, ok := OfReason("nonsense"); ok {
		t.Errorf("nonsense: %+v", o)
	}
	for status, want := range map[int]Outcome{
		302: {Failed, Redirected, Callee}, 486: {Busy, BusyLine, Callee}, 480: {NoAnswer, TemporarilyGone, Callee}, 487: {Cancelled, ByCaller, Caller},
		499: {Failed, InvalidRequest, Callee}, 503: {Failed, RemoteFailure, Callee}, 603: {Failed, Rejected, Callee},
	} {
		if got := OfStatus(status); got != want {
			t.Errorf("%d: %+v", status, got)
		}
	}
	if len(causes) != 29 {
		t.Errorf("%d causes: a code is used twice", len(causes))
	}
	for code, c := range causes {
		if CauseOf(code) != c {
			t.Errorf("%d is another cause", code)
		}
	}
	if CauseOf(1) != UnknownCause {
		t.Error("a code that does not exist has a cause")
	}
}
