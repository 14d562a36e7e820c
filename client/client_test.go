package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve runs f as the far end and returns a client of it.
func serve(t *testing.T, f http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return New(s.URL+"/", "MA_ABCD1234", "secret")
}

func TestErrorTellsEveryField(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(400)
		fmt.Fprint(w, `{"api_id":"1","error":"invalid request parameters","details":{"10":{"username":"too long"},"9":{"alias":"bad","username":"taken"}}}`)
	})
	_, err := c.CreateEndpoints(t.Context(), nil, false)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v", err)
	}
	const want = "invalid request parameters: 9.alias: bad; 9.username: taken; 10.username: too long"
	if e.Error() != want || e.Status != 400 || e.RetryAfter != 7*time.Second {
		t.Errorf("%d, %v, %s\nwant %s", e.Status, e.RetryAfter, e, want)
	}
}

func TestErrorOfSomebodyElse(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>no", http.StatusBadGateway) })
	if err := c.DeleteEndpoint(t.Context(), "1"); err == nil || err.Error() != "HTTP 502 Bad Gateway, which is not the API's own answer" {
		t.Errorf("%v", err)
	}
}

func TestPathsAreEscaped(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.URL.EscapedPath(), "/v1/Account/SA_X/Endpoint/a%2Fb/"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if r.Header.Get("X-Auth-ID") != "MA_ABCD1234" || r.Header.Get("X-Auth-Token") != "secret" {
			t.Errorf("credentials %v", r.Header)
		}
		w.WriteHeader(204)
	})
	c.Account = "SA_X"
	if err := c.DeleteEndpoint(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
}

func TestEndpointsWalksThroughPages(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		offset, next := r.URL.Query().Get("offset"), `"/next"`
		if offset == "200" {
			next = "null"
		}
		fmt.Fprintf(w, `{"meta":{"next":%s},"objects":[{"username":"at_%s","sip_registered":"true"}]}`, next, offset)
	})
	var names []string
	for e, err := range c.Endpoints(t.Context(), EndpointQuery{}) {
		if err != nil || !bool(e.Registered) {
			t.Fatal(err, e)
		}
		names = append(names, e.Username)
	}
	if got := strings.Join(names, " "); got != "at_0 at_100 at_200" {
		t.Error(got)
	}
}

// A stream that is cut is taken up after the last event; comments are no
// events; a refusal for good ends it.
func TestEventsResume(t *testing.T) {
	connections := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		connections++
		switch after := r.Header.Get("Last-Event-ID"); connections {
		case 1:
			if after != "" || r.URL.Query().Get("types") != "endpoint.*" {
				t.Errorf("first: %q %q", after, r.URL)
			}
			fmt.Fprint(w, ": heartbeat\n\nid: 01A\nevent: endpoint.created\ndata: {\"id\":\"01A\",\n"+
				"data: \"type\":\"endpoint.created\"}\n\nid: 01B\ndata: {\"id\":\"01B\"") // cut in the middle of an event
		case 2:
			if after != "01A" {
				t.Errorf("second: after %q", after)
			}
			fmt.Fprint(w, "id: 01B\ndata: {\"id\":\"01B\",\"type\":\"endpoint.deleted\"}\n\n")
		default:
			if after != "01B" {
				t.Errorf("third: after %q", after)
			}
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":"invalid credentials"}`)
		}
	})
	var got []string
	for e, err := range c.Events(t.Context(), EventQuery{Types: []string{"endpoint.*"}}) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, e.ID+" "+e.Type)
	}
	if all := strings.Join(got, ", "); all != "01A endpoint.created, 01B endpoint.deleted, invalid credentials" {
		t.Error(all)
	}
}

func TestEventsEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: {\"id\":\"01A\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	defer cancel()
	for e, err := range c.Events(ctx, EventQuery{}) {
		if err != nil || e.ID != "01A" {
			t.Fatal(e, err)
		}
		cancel()
	}
}
