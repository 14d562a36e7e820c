package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// callList stands in for the proxy.
type callList struct {
	mu   sync.Mutex
	list []*callrecord.Record
}

func (l *callList) Live(authID string) (live []*callrecord.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.list {
		if r.Account == authID {
			live = append(live, r)
		}
	}
	return live
}

func (l *callList) LiveCall(id callrecord.ID) (live []*callrecord.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.list {
		if r.ID == id {
			live = append(live, r)
		}
	}
	return live
}

func (l *callList) End(id callrecord.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.list)
	l.list = slices.DeleteFunc(l.list, func(r *callrecord.Record) bool { return r.ID == id })
	return len(l.list) < n
}

// call makes a live call of the named account that began now and was answered
// 2.5 s later.
func (w *world) call(pairs map[string]string) *callrecord.Record {
	w.t.Helper()
	endpoint, ok := account.ParseEndpointID(pairs["endpoint"])
	owner, err := w.store.Account(context.Background(), w.vars[pairs["of"]])
	if !ok || err != nil {
		w.t.Fatal("a call of whom?", err)
	}
	start := w.now().Add(120 * time.Millisecond)
	return &callrecord.Record{ID: callrecord.NewID(start), Account: owner.AuthID, Main: owner.Main(), Endpoint: endpoint, Direction: callrecord.Outbound,
		From: pairs["from"], To: pairs["to"], CallerName: pairs["name"], Start: start, Answer: start.Add(2500 * time.Millisecond),
		Status: callrecord.InProgress, SIPCode: 200, Codec: "PCMA", UserAgent: pairs["agent"], Transport: "udp",
		Legs: []callrecord.Leg{{To: pairs["to"], Contact: "sip:bob@192.0.2.9:5060", Start: start, Answer: start.Add(2500 * time.Millisecond), SIPCode: 200}}}
}

// ended is the record of the call 65 s after its beginning.
func ended(live *callrecord.Record) *callrecord.Record {
	r := *live
	r.End = r.Start.Add(65 * time.Second)
	r.Status, r.Cause, r.Source = callrecord.Completed, callrecord.NormalHangup, callrecord.Callee
	r.Legs = slices.Clone(r.Legs)
	r.Legs[0].End = r.End
	return &r
}

// An export goes on past one piece, and a spreadsheet finds no formula in it.
func TestExport(t *testing.T) { onEveryStore(t, testExport) }

func testExport(t *testing.T, newWorld func(*testing.T) *world) {
	w := newWorld(t)
	endpoint := w.create("main", "alice")
	var records []*callrecord.Record
	for i := range csvPiece + 7 {
		w.clock.Add(1)
		records = append(records, ended(w.call(map[string]string{"of": "main", "endpoint": endpoint, "from": "sip:alice@sip.example.com", "to": "sip:bob@sip.example.com",
			"name": "=HYPERLINK(\"x\")", "agent": fmt.Sprintf("phone, no. %d", i)})))
	}
	if err := w.records.SaveRecords(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*http.Request{
		w.request("main", "GET", "/v1/Account/"+w.vars["main"]+"/cdr?format=csv", ""),
		func() *http.Request {
			r := w.request("main", "GET", "/v1/Account/"+w.vars["main"]+"/cdr", "")
			r.Header.Set("Accept", "text/csv, application/json;q=0.5")
			return r
		}(),
	} {
		rec := w.do(r)
		lines, err := csv.NewReader(rec.Body).ReadAll()
		if err != nil || rec.Code != 200 || len(lines) != csvPiece+8 {
			t.Fatalf("%d, %d lines, %v", rec.Code, len(lines), err)
		}
		if first := lines[1]; len(lines[0]) != len(first) || first[6] != `'=HYPERLINK("x")` || first[22] != fmt.Sprintf("phone, no. %d", csvPiece+6) || first[10] != "65" || first[11] != "62" {
			t.Errorf("%q", first)
		}
	}
}

// brokenRecords fails after the first piece.
type brokenRecords struct {
	callrecord.Store
	asked int
}

func (b *brokenRecords) RecordsBefore(ctx context.Context, authID string, q callrecord.Query, before callrecord.ID, limit int) ([]*callrecord.Record, error) {
	if b.asked++; b.asked > 1 {
		return nil, errors.New("gone")
	}
	return slices.Repeat([]*callrecord.Record{{}}, limit), nil
}

// Half an export does not look like a whole one.
func TestExportBreaksOff(t *testing.T) {
	w := newWorld(t)
	w.config.Records = &brokenRecords{}
	server := httptest.NewServer(New(w.config))
	defer server.Close()
	r := w.request("main", "GET", server.URL+"/v1/Account/"+w.vars["main"]+"/cdr?format=csv", "")
	r.RequestURI = ""
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := fmt.Fprint(&b, resp.Status); err != nil {
		t.Fatal(err)
	}
	if _, err := csv.NewReader(resp.Body).ReadAll(); err == nil {
		t.Errorf("%s, and no error", b.String())
	}
}

// A call's event is written without allocating, and is what openapi.yaml says
// whatever phones call themselves.
func TestCallEvent(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	live := callrecord.Record{ID: callrecord.NewID(at), Account: "SA_1", Main: "MA_1", Endpoint: 123456789012345, Direction: callrecord.Outbound,
		From: "sip:a@x", To: "sip:b@x", Start: at, Status: callrecord.Ringing, Transport: "udp",
		Legs: []callrecord.Leg{{To: "sip:b@x", Contact: "sip:b@192.0.2.1", Start: at}, {To: "sip:b@x", Contact: "sip:b@192.0.2.2", Start: at, End: at, SIPCode: 486}}}
	over := live
	over.Answer, over.End, over.Status, over.Cause, over.Source, over.SIPCode = at.Add(time.Second), at.Add(3500*time.Millisecond), callrecord.Completed, callrecord.NormalHangup, callrecord.Caller, 200
	odd := over
	odd.CallerName, odd.UserAgent, odd.Codec = "J\u00fcrgen <\"\\\x01\xff\u2028>", "T\u00e9l\u00e9phone \"1\"", "PCMU"
	for _, r := range []*callrecord.Record{&live, &over, &odd} {
		text := AppendCallEvent(nil, r, at.Add(2*time.Second))
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if err := doc.Components.Schemas["Call"].Value.VisitJSON(object); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		duration := object["duration"].(float64)
		if want := map[bool]float64{true: 2, false: 3}[r.Live()]; duration != want || object["start_time"] != "2026-01-02T03:04:05.678Z" || len(object["legs"].([]any)) != 2 {
			t.Errorf("%s", text)
		}
	}
	buf := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() { buf = AppendCallEvent(buf[:0], &over, at) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
