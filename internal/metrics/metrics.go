// Package metrics is the door to Prometheus: it names, registers and serves the
// server's figures. It counts nothing by itself; most parts keep plain atomic
// counters, which are read when somebody asks.
package metrics

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// prefix begins the name of every figure of ours.
const prefix = "onhook_"

// Registry holds the figures of one server.
type Registry struct{ registry *prometheus.Registry }

// New returns a Registry with the figures of the Go runtime, of the process and
// onhook_build_info, which carries the version.
func New(version string) *Registry {
	r := &Registry{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	r.Gauge("build_info", "Always 1; the version is a label.", func() float64 { return 1 }, "version", version)
	return r
}

// Handler serves GET /metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{Registry: r.registry})
}

// Counter registers onhook_<name>, which must end in _total. f is called at
// each reading and must not block; it may only grow. labels are name, value,
// name, value …; the same name may be registered again with other values.
//
// Like all methods here it panics on a name or label that breaks the rules:
// the names are constants of the program.
func (r *Registry) Counter(name, help string, f func() uint64, labels ...string) {
	if !strings.HasSuffix(name, "_total") {
		panic("metrics: the name of counter " + name + " must end in _total")
	}
	r.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: fullName(name), Help: help, ConstLabels: pairs(labels),
	}, func() float64 { return float64(f()) }))
}

// Gauge registers onhook_<name>, a figure that goes up and down.
func (r *Registry) Gauge(name, help string, f func() float64, labels ...string) {
	r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: fullName(name), Help: help, ConstLabels: pairs(labels),
	}, f))
}

// Durations registers onhook_<name>, a histogram which must end in _seconds,
// from 100 µs to about 13 s.
func (r *Registry) Durations(name, help string, labels ...string) *Durations {
	if !strings.HasSuffix(name, "_seconds") {
		panic("metrics: the name of histogram " + name + " must end in _seconds")
	}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: fullName(name), Help: help, ConstLabels: pairs(labels),
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
	})
	r.registry.MustRegister(h)
	return &Durations{h}
}

// Durations is a histogram of durations. It is safe for concurrent use.
type Durations struct{ histogram prometheus.Histogram }

// Observe adds one duration; it allocates nothing.
func (d *Durations) Observe(t time.Duration) { d.histogram.Observe(t.Seconds()) }

var validName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func fullName(name string) string {
	if !validName.MatchString(name) || strings.HasPrefix(name, prefix) {
		panic("metrics: bad name " + name)
	}
	return prefix + name
}

func pairs(labels []string) prometheus.Labels {
	if len(labels)%2 != 0 {
		panic("metrics: a label without a value")
	}
	m := make(prometheus.Labels, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return m
}
