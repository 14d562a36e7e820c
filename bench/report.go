package main

import (
	"fmt"
	"strings"
	"time"
)

// report is everything that was measured. The first server is onhook.
type report struct {
	settings   settings
	operations []operation
	rig        rig
	servers    []*measured
	missing    string // why there is no Kamailio
	halfPeak   map[operation]float64
	sync       []time.Duration // sorted
	alone      float64         // refreshes per second of the generator alone
	drops      int
}

// received is how many messages an operation sends to the server.
var received = map[operation]float64{registration: 2, refresh: 1, call: 6}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Performance\n\nWritten by `make bench`: repeat it on your machine.\n\n## CPU\n\n")
	r.cpuTable(&b)
	b.WriteString("\n| onhook's heap allocations | per operation | per message it receives |\n| --- | --- | --- |\n")
	for _, op := range r.operations {
		heap := median(column(r.servers[0].figures[op], heapOf))
		fmt.Fprintf(&b, "| %s | %.1f | %.1f |\n", op, heap, heap/received[op])
	}
	b.WriteString("\nThe journal and the Go runtime are counted with it. Parsing, authenticating and answering a refresh allocate nothing: those are limits in the tests.\n")
	b.WriteString("\nCPU is user and system time of all processes of a server; the medians of the rounds, with the lowest and the highest.\n" +
		"onhook runs as it comes: each binding is on disk before its 200, replayed nonces are refused, floods are counted.\n" +
		"Kamailio runs at its cheapest: hashes and bindings in memory only, nothing on disk, its fastest memory allocator, no checks against replays or floods\n" +
		"([its configuration](../bench/kamailio.cfg)).\n\n## Time to answer\n\n")
	r.latencyTable(&b)
	fmt.Fprintf(&b, "\nFrom the first request to the last answer, at half the rate that the slower server reached above. One fdatasync of 4 KiB took %s (p50), %s (p99).\n\n## Rig\n\n",
		milli(quantile(r.sync, 0.5)), milli(quantile(r.sync, 0.99)))
	r.rigList(&b)
	return b.String()
}

// cpuTable has a row for each operation, and a server's figures beside the
// other's.
func (r *report) cpuTable(b *strings.Builder) {
	b.WriteString("| over UDP, MD5 digest |")
	for _, m := range r.servers {
		fmt.Fprintf(b, " %s, µs CPU | operations/s |", m.name)
	}
	if len(r.servers) > 1 {
		b.WriteString(" CPU ratio | rate ratio |")
	} else {
		b.WriteString(" kamailio |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", 2*len(r.servers)+len(r.servers)/2*2+1-len(r.servers)/2) + "\n")
	for _, op := range r.operations {
		fmt.Fprintf(b, "| %s |", op)
		for _, m := range r.servers {
			cpu := column(m.figures[op], cpuOf)
			fmt.Fprintf(b, " **%.1f** (%.1f–%.1f) | %.0f |", median(cpu), cpu[0], cpu[len(cpu)-1], median(column(m.figures[op], rateOf)))
		}
		if len(r.servers) > 1 {
			fmt.Fprintf(b, " **%.2f** | %.2f |", r.ratio(op, cpuOf), r.ratio(op, rateOf))
		} else {
			fmt.Fprintf(b, " %s |", r.missing)
		}
		b.WriteString("\n")
	}
}

// ratio is the median of the rounds' ratios of the first server to the second.
func (r *report) ratio(op operation, of func(figure) float64) float64 {
	return median(column(r.servers[0].figures[op], of)) / median(column(r.servers[1].figures[op], of))
}

func (r *report) latencyTable(b *strings.Builder) {
	b.WriteString("| | per second |")
	for _, m := range r.servers {
		fmt.Fprintf(b, " %s p50 | p99 |", m.name)
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --- | --- |", len(r.servers)) + "\n")
	for _, op := range r.operations {
		fmt.Fprintf(b, "| %s | %.0f |", op, r.halfPeak[op])
		for _, m := range r.servers {
			fmt.Fprintf(b, " %s | %s |", milli(quantile(m.latency[op], 0.5)), milli(quantile(m.latency[op], 0.99)))
		}
		b.WriteString("\n")
	}
}

func milli(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

func (r *report) rigList(b *strings.Builder) {
	fmt.Fprintf(b, "- %s, Linux %s, %s; servers and generator share the machine, over loopback; load average before: %s\n", r.rig.system, r.rig.kernel, r.rig.cpu, r.rig.load)
	for _, m := range r.servers {
		fmt.Fprintf(b, "- %s; the generator sent %d requests again\n", m.version, m.gen.resent())
	}
	if r.missing != "" {
		fmt.Fprintf(b, "- Kamailio: %s\n", r.missing)
	}
	s := r.settings
	fmt.Fprintf(b, "- %d endpoints, %d calls from outside the served domain, %d requests under way at a time, %d rounds in turns; between the rounds all are unregistered\n", s.users, s.calls, s.window, s.rounds)
	fmt.Fprintf(b, "- the generator alone reaches %.0f refreshes/s, against a process that answers and checks nothing\n", r.alone)
	fmt.Fprintf(b, "- datagrams that the kernel dropped meanwhile: %d\n", r.drops)
}
