package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func scrape(t *testing.T, r *Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestFigures(t *testing.T) {
	r := New("v1.2.3")
	drops := uint64(7)
	r.Counter("transport_drops_total", "What was dropped.", func() uint64 { return drops }, "reason", "rate")
	r.Counter("transport_drops_total", "What was dropped.", func() uint64 { return 1 }, "reason", "junk")
	r.Gauge("bindings", "Live bindings.", func() float64 { return 3 })
	r.Durations("api_request_seconds", "Requests.", "route", "list").Observe(3 * time.Millisecond)
	drops++
	text := scrape(t, r)
	for _, want := range []string{
		`onhook_transport_drops_total{reason="rate"} 8`,
		`onhook_transport_drops_total{reason="junk"} 1`,
		"# TYPE onhook_transport_drops_total counter",
		"onhook_bindings 3",
		`onhook_api_request_seconds_bucket{route="list",le="0.0032"} 1`,
		`onhook_api_request_seconds_count{route="list"} 1`,
		`onhook_build_info{version="v1.2.3"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q", want)
		}
	}
}

func TestTwoRegistriesDoNotMeet(t *testing.T) {
	a, b := New("a"), New("b")
	a.Gauge("bindings", "Live bindings.", func() float64 { return 1 })
	b.Gauge("bindings", "Live bindings.", func() float64 { return 2 })
	if !strings.Contains(scrape(t, a), "onhook_bindings 1") || !strings.Contains(scrape(t, b), "onhook_bindings 2") {
		t.Error("the registries share a figure")
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	d := New("").Durations("call_seconds", "Calls.")
	if n := testing.AllocsPerRun(100, func() { d.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBadNamesPanic(t *testing.T) {
	r := New("")
	r.Gauge("bindings", "Live bindings.", func() float64 { return 1 })
	lonely := []string{"label"}
	for name, f := range map[string]func(){
		"prefixed":        func() { r.Gauge("onhook_x", "", nil) },
		"upper case":      func() { r.Gauge("Bindings", "", nil) },
		"counter's end":   func() { r.Counter("drops", "", nil) },
		"histogram's end": func() { r.Durations("call_ms", "") },
		"lonely label":    func() { r.Gauge("x", "", nil, lonely...) },
		"registered":      func() { r.Gauge("bindings", "Live bindings.", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			f()
		}()
	}
}
