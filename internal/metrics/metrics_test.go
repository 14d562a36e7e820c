package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	n := 0.0
	h := Handler(func(emit func(Sample)) {
		n++
		emit(Sample{Name: "scrapes_total", Help: "Scrapes.", Counter: true, Value: n})
		emit(Sample{Name: "open", Help: "Open ones.", Labels: []string{"transport", "udp"}, Value: 3})
		emit(Sample{Name: "open", Help: "Open ones.", Labels: []string{"transport", "tcp"}, Value: 4})
	})
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		text, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"# TYPE onhook_scrapes_total counter\nonhook_scrapes_total " + string('0'+byte(n)) + "\n",
			`onhook_open{transport="udp"} 3`, `onhook_open{transport="tcp"} 4`, "go_goroutines", "process_cpu_seconds_total",
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %q in\n%.2000s", want, text)
			}
		}
	}
}
