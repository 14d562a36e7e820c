package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/account"
	"onhook/internal/event"
	"onhook/internal/location"
	"onhook/internal/sip"
)

// tell appends an event of an account's.
func (w *world) tell(ids *event.IDs, owner, main string, typ event.Type, data any) event.Event {
	w.t.Helper()
	e := event.Event{ID: ids.Next(w.now()), Type: typ, Account: w.vars[owner], Main: w.vars[main]}
	body, err := json.Marshal(map[string]any{"id": e.ID.String(), "type": typ, "created_at": timestamp(w.now()), "account": e.Account, "data": data})
	if err != nil {
		w.t.Fatal(err)
	}
	e.Body = body
	if err := w.events.Append([]event.Event{e}); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// listener reads one event stream.
type listener struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
}

func (w *world) listen(server *httptest.Server, path, after string) (*listener, *http.Response) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", server.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Auth-ID", w.vars["main"])
	r.Header.Set("X-Auth-Token", w.keys["main"])
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	resp, err := server.Client().Do(r)
	for err == nil && resp.StatusCode == http.StatusTooManyRequests { // it has not noticed yet that one is closed
		resp.Body.Close()
		resp, err = server.Client().Do(r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	return &listener{w.t, resp.Body, bufio.NewScanner(resp.Body)}, resp
}

// next reads one event and checks its three lines against each other and
// openapi.yaml.
func (l *listener) next() (id, typ string) {
	l.t.Helper()
	for l.lines.Scan() {
		first, ok := strings.CutPrefix(l.lines.Text(), "id: ")
		if !ok {
			continue // comments and what ends them
		}
		l.lines.Scan()
		typ = strings.TrimPrefix(l.lines.Text(), "event: ")
		l.lines.Scan()
		data := strings.TrimPrefix(l.lines.Text(), "data: ")
		var e map[string]any
		if err := json.Unmarshal([]byte(data), &e); err != nil || e["id"] != first || e["type"] != typ {
			l.t.Errorf("%s %s: %s %v", first, typ, data, err)
		}
		doc, err := document()
		if err != nil {
			l.t.Fatal(err)
		}
		if err := doc.Components.Schemas["Event"].Value.VisitJSON(e); err != nil {
			l.t.Errorf("%s is not what openapi.yaml says: %v", data, err)
		}
		if l.lines.Scan(); l.lines.Text() != "" {
			l.t.Errorf("%q after an event", l.lines.Text())
		}
		return first, typ
	}
	l.t.Fatal("the stream has ended:", l.lines.Err())
	return "", ""
}

// A stream that is cut at any place and resumed shows every event once.
func TestEventStreamResumes(t *testing.T) {
	w := newWorld(t)
	ids := event.NewIDs(event.ID{})
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	path := "/v1/Account/" + w.vars["main"] + "/events"
	l, resp := w.listen(server, path, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("X-Request-Id") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	var sent, got []string
	last := ""
	for i := range 50 {
		owner := []string{"main", "sub", "other"}[i%3]
		if e := w.tell(ids, owner, []string{"main", "main", "other"}[i%3], event.EndpointCreated, struct{}{}); owner != "other" {
			sent = append(sent, e.ID.String())
		}
		if i%7 == 6 { // the server keeps on writing into a connection that is gone
			l.body.Close()
			l, _ = w.listen(server, path, last)
		}
		for len(got) < len(sent) && (i%5 != 0 || i == 49) {
			last, _ = l.next()
			got = append(got, last)
		}
	}
	if fmt.Sprint(sent) != fmt.Sprint(got) {
		t.Errorf("got %v, want %v", got, sent)
	}
	// From the query, and filtered.
	filtered, _ := w.listen(server, path+"?types=call.ended,endpoint.deleted&last_event_id="+sent[0], "")
	ended := w.tell(ids, "main", "main", event.CallEnded, struct{}{})
	if id, typ := filtered.next(); id != ended.ID.String() || typ != "call.ended" {
		t.Errorf("%s %s", id, typ)
	}
	l.body.Close()
	filtered.body.Close()
}

func TestEventStreamsAreLimited(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	path := "/v1/Account/" + w.vars["main"] + "/events"
	var open []*listener
	for range 3 {
		l, resp := w.listen(server, path, "")
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		open = append(open, l)
	}
	rec := w.do(w.request("main", "GET", path, ""))
	if rec.Code != 429 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	// A sub-account's are its own, the end of all makes room.
	w.events.EndAll()
	for _, l := range open {
		for l.lines.Scan() {
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		if rec := w.do(w.request("main", "GET", path, "")); rec.Code == 200 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d after the streams have ended", rec.Code)
		}
	}
}

// recorder is a ResponseWriter that may be read while it is written to.
type recorder struct {
	mu     sync.Mutex
	header http.Header
	b      bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}
func (r *recorder) Flush()              {}
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// An idle stream beats, longer than ordinary requests may take, and ends when
// its key is worth nothing any more.
func TestEventStreamHeartbeat(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		rec, done := &recorder{header: http.Header{}}, make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r := w.request("main", "GET", "/v1/Account/"+w.vars["main"]+"/events", "").WithContext(ctx)
		go func() {
			defer close(done)
			w.handler.ServeHTTP(rec, r)
		}()
		time.Sleep(3*heartbeat + time.Second)
		if rec.text() != ": the stream begins\n\n"+strings.Repeat(": heartbeat\n\n", 3) {
			t.Errorf("%q", rec.text())
		}
		w.store.broken.Store(true) // revokes nothing
		time.Sleep(heartbeat)
		w.store.broken.Store(false)
		select {
		case <-done:
			t.Error("the stream has ended with the database")
		default:
		}
		w.store.revoked.Store(true)
		time.Sleep(heartbeat)
		synctest.Wait()
		select {
		case <-done:
		default:
			t.Error("the stream outlives its key")
		}
	})
}

// endpointEvent is what an event shows of an endpoint.
type endpointEvent struct {
	slimEndpointJSON
	Binding *bindingJSON `json:"binding,omitempty"`
	Changed []string     `json:"changed,omitempty"`
}

// An event's data is byte for byte what encoding/json makes of the shapes that
// the API shows elsewhere, and what openapi.yaml says.
func TestEndpointEvent(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	b, err := bindingFrom(map[string]string{"id": "b1", "contact": "sip:x@192.0.2.1:5060", "via": "udp", "from": "192.0.2.1:5060"}, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	e := account.Endpoint{ID: 123456789012345, Owner: "SA_ABCD1234", Main: "MA_ABCD1234", Username: "john", Domain: "sip.example.com", Alias: "John's", Application: "12345678901234500"}
	app := account.Application{ID: e.Application, Owner: "MA_ABCD1234"}
	odd, main := e, e
	odd.Alias, odd.Username = "J\u00fcrgen <\"\\\x01\x7f\xff\u2028>", "a_b"
	main.Owner, main.Application = main.Main, ""
	b2 := b
	b2.Path, b2.UserAgent, b2.InstanceID, b2.RegID = "<sip:edge;lr>", "T\u00e9l\u00e9phone \"1\"", "urn:uuid:1", 7
	b2.Previous, b2.State, b2.Flow.Remote = true, location.Suspect, netip.MustParseAddrPort("[::ffff:192.0.2.9]:99")
	b3 := b
	b3.Flow.Remote = netip.AddrPort{}
	for _, c := range []struct {
		e       account.Endpoint
		app     *account.Application
		is      bool
		b       *location.Binding
		changed []string
	}{{e, &app, true, nil, []string{"alias"}}, {e, nil, false, &b, nil}, {odd, &app, true, &b2, nil}, {main, nil, true, nil, []string{"alias", "app_id"}},
		{main, nil, false, &b3, nil}} {
		apps := map[string]account.Application{}
		if c.app != nil {
			apps[c.app.ID] = *c.app
		}
		shape := endpointEvent{slimEndpointJSON: slimEndpoint(c.e, apps, c.is), Changed: c.changed}
		if c.b != nil {
			shown := newBindingJSON(*c.b)
			shape.Binding = &shown
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(shape); err != nil {
			t.Fatal(err)
		}
		text := AppendEndpointEvent([]byte("x"), &c.e, c.app, c.is, c.b, c.changed)[1:]
		if string(text) != strings.TrimSuffix(want.String(), "\n") {
			t.Errorf("%s\nwant %s", text, &want)
		}
		if c.b == &b3 {
			continue // no device has it
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		if err := doc.Components.Schemas["EndpointEvent"].Value.VisitJSON(object); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// An ordinary endpoint's event is written without allocating.
func TestEndpointEventAllocs(t *testing.T) {
	e := account.Endpoint{ID: 123456789012345, Owner: "SA_1", Main: "MA_1", Username: "john", Domain: "sip.example.com", Alias: "john"}
	b := location.Binding{ID: "b1", Contact: "sip:x@192.0.2.1:5060", UserAgent: "phone", RegisteredAt: time.Unix(1e9, 0),
		Flow: sip.Flow{Transport: sip.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}}
	buf := make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() { buf = AppendEndpointEvent(buf[:0], &e, nil, true, &b, nil) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
