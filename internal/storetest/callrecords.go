package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"onhook/internal/callrecord"
)

// finished makes a record of a call that began n seconds after birth.
func finished(n int, authID, main string) *callrecord.Record {
	start := birth.Add(time.Duration(n)*time.Second + 123*time.Millisecond)
	return &callrecord.Record{ID: callrecord.NewID(start), Account: authID, Main: main, Endpoint: 100_000_000_000_001, Direction: callrecord.Outbound,
		From: "sip:alice@sip.test", To: "sip:bob@sip.test", Start: start, End: start.Add(5 * time.Second),
		Status: callrecord.Busy, Cause: callrecord.BusyLine, Source: callrecord.Callee, SIPCode: 486, Transport: "udp", Legs: []callrecord.Leg{}}
}

func (s *suite) records(t *testing.T) callrecord.Store {
	t.Helper()
	records, ok := s.Store.(callrecord.Store)
	if !ok {
		t.Fatal("the store keeps no call records")
	}
	return records
}

func recordRoundTrip(t *testing.T, s *suite) {
	store := s.records(t)
	full := finished(0, "SA_BBBBBBBB", "MA_AAAAAAAA")
	full.Peer, full.Direction, full.CallerName, full.Answer = 100_000_000_000_002, callrecord.Internal, "Älice \"A\"", full.Start.Add(time.Second)
	full.Reason, full.Codec, full.Trunk, full.Application, full.UserAgent = "limit.duration", "opus", "carrier", "12345678901234500", "phone/1"
	full.Legs = []callrecord.Leg{
		{To: "sip:bob@sip.test", Contact: "sip:b@192.0.2.1", Start: full.Start, Answer: full.Answer, End: full.End, SIPCode: 200},
		{To: "sip:bob@sip.test", Contact: "sip:b@192.0.2.2", Start: full.Start, End: full.End, SIPCode: 487},
	}
	plain := finished(1, "MA_AAAAAAAA", "MA_AAAAAAAA")
	if err := store.SaveRecords(t.Context(), []*callrecord.Record{full, plain}); err != nil {
		t.Fatal(err)
	}
	again := *full
	again.Reason = "another"
	if err := store.SaveRecords(t.Context(), []*callrecord.Record{&again}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		authID string
		id     callrecord.ID
		want   *callrecord.Record
	}{
		{"SA_BBBBBBBB", full.ID, full}, {"MA_AAAAAAAA", full.ID, full}, {"MA_AAAAAAAA", plain.ID, plain},
		{"SA_BBBBBBBB", plain.ID, nil}, {"MA_CCCCCCCC", full.ID, nil}, {"MA_AAAAAAAA", callrecord.NewID(birth), nil},
	} {
		got, err := store.Record(t.Context(), c.authID, c.id)
		if !reflect.DeepEqual(got, c.want) || (c.want == nil) != errors.Is(err, callrecord.ErrNotFound) {
			t.Errorf("%s has\n%+v, %v, wants\n%+v", c.authID, got, err, c.want)
		}
	}
	odd := finished(2, "MA_AAAAAAAA", "MA_AAAAAAAA")
	odd.UserAgent, odd.CallerName = "bad \xff byte", "NUL \x00 inside"
	if err := store.SaveRecords(t.Context(), []*callrecord.Record{odd}); err != nil {
		t.Error(err)
	}
}

func recordsOfTwoAccounts(t *testing.T, s *suite) {
	store := s.records(t)
	out := finished(0, "MA_AAAAAAAA", "MA_AAAAAAAA")
	in := *out
	in.Account, in.Main, in.Endpoint, in.Direction = "MA_BBBBBBBB", "MA_BBBBBBBB", 100_000_000_000_009, callrecord.Inbound
	if err := store.SaveRecords(t.Context(), []*callrecord.Record{out, &in}); err != nil {
		t.Fatal(err)
	}
	for authID, want := range map[string]*callrecord.Record{"MA_AAAAAAAA": out, "MA_BBBBBBBB": &in} {
		page, total, err := store.Records(t.Context(), authID, callrecord.Query{Limit: 10})
		if err != nil || total != 1 || !reflect.DeepEqual(page[0], want) {
			t.Errorf("%s has %+v, %d, %v", authID, page, total, err)
		}
	}
}

func recordFilters(t *testing.T, s *suite) {
	store := s.records(t)
	var all []*callrecord.Record
	for i := range 120 { // more than one statement takes
		r := finished(i, "MA_AAAAAAAA", "MA_AAAAAAAA")
		switch i % 4 {
		case 1:
			r.From, r.Endpoint = "sip:carol@sip.test:5070", 100_000_000_000_003
		case 2:
			r.To, r.Cause, r.Status = "sip:+14155550100@sip.test", callrecord.NormalHangup, callrecord.Completed
		case 3:
			r.Peer = 100_000_000_000_003
		}
		all = append(all, r)
	}
	all = append(all, finished(5, "MA_BBBBBBBB", "MA_BBBBBBBB"))
	if err := store.SaveRecords(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		q     callrecord.Query
		total int
	}{
		{"all", callrecord.Query{}, 120},
		{"from a URI", callrecord.Query{From: "sip:carol@sip.test:5070"}, 30},
		{"from an address", callrecord.Query{From: "carol@sip.test:5070"}, 30},
		{"from a user", callrecord.Query{From: "carol"}, 30},
		{"from nobody", callrecord.Query{From: "caro"}, 0},
		{"to a number", callrecord.Query{To: "+14155550100"}, 30},
		{"of an endpoint", callrecord.Query{Endpoint: 100_000_000_000_003}, 60},
		{"by cause", callrecord.Query{Causes: callrecord.CausesOf("NORMAL_CLEARING")}, 30},
		{"by no cause", callrecord.Query{Causes: []int{}}, 0},
		{"since", callrecord.Query{Start: birth.Add(100 * time.Second)}, 20},
		{"until", callrecord.Query{End: birth.Add(100 * time.Second)}, 100},
		{"between", callrecord.Query{Start: birth.Add(10 * time.Second), End: birth.Add(20 * time.Second), From: "alice"}, 8},
	} {
		c.q.Limit = 10
		page, total, err := store.Records(t.Context(), "MA_AAAAAAAA", c.q)
		if err != nil || total != c.total || len(page) != min(total, 10) {
			t.Errorf("%s: %d of %d, %v, wants %d", c.name, len(page), total, err, c.total)
		}
	}
	page, _, err := store.Records(t.Context(), "MA_AAAAAAAA", callrecord.Query{Limit: 2, Offset: 1})
	if err != nil || len(page) != 2 || page[0].ID != all[118].ID || page[1].ID != all[117].ID {
		t.Errorf("not newest first: %v, %v", page, err)
	}
	var listed []string
	for before := callrecord.LastID; ; {
		piece, err := store.RecordsBefore(t.Context(), "MA_AAAAAAAA", callrecord.Query{}, before, 50)
		if err != nil {
			t.Fatal(err)
		}
		if len(piece) == 0 {
			break
		}
		for _, r := range piece {
			listed = append(listed, r.ID.String())
		}
		before = piece[len(piece)-1].ID
	}
	if len(listed) != 120 || listed[0] != all[119].ID.String() || listed[119] != all[0].ID.String() {
		t.Errorf("%d in pieces", len(listed))
	}
}

func recordsAreDeleted(t *testing.T, s *suite) {
	store := s.records(t)
	for i := range 5 {
		if err := store.SaveRecords(t.Context(), []*callrecord.Record{finished(i, fmt.Sprintf("MA_AAAAAAA%d", i%2), "MA_AAAAAAA0")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 1, 0} {
		if n, err := store.DeleteRecords(t.Context(), birth.Add(3*time.Second), 2); err != nil || n != want {
			t.Errorf("%d deleted, %v, wants %d", n, err, want)
		}
	}
	for authID, want := range map[string]int{"MA_AAAAAAA0": 1, "MA_AAAAAAA1": 1} {
		if _, total, err := store.Records(t.Context(), authID, callrecord.Query{Limit: 1}); err != nil || total != want {
			t.Errorf("%s has %d, %v, wants %d", authID, total, err, want)
		}
	}
}
