// Package metrics serves figures in the Prometheus text format. It keeps none:
// whoever owns a figure is asked for it at each scrape.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Sample is one figure at the time of a scrape.
type Sample struct {
	Name    string // without the prefix onhook_; a counter's ends in _total
	Help    string
	Counter bool     // only ever rises; else a gauge
	Labels  []string // names and values in turn
	Value   float64
}

// Handler serves what collect emits, and the figures of the Go runtime and the
// process. Samples of one name must have the same help and label names.
func Handler(collect func(emit func(Sample))) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector(collect), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

type collector func(emit func(Sample))

// Describe says nothing: the samples are not known before they are collected.
func (collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	c(func(s Sample) {
		var names, values []string
		for i := 0; i+1 < len(s.Labels); i += 2 {
			names, values = append(names, s.Labels[i]), append(values, s.Labels[i+1])
		}
		kind := prometheus.GaugeValue
		if s.Counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("onhook_"+s.Name, s.Help, names, nil), kind, s.Value, values...)
	})
}
