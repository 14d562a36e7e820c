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
	missing    []string // what is not compared, and why
	pairs      []*pair
	sync       waits   // of one write to the disk
	alone      float64 // refreshes per second of the generator alone
	drops      int
}

// received is how many messages an operation sends to the server.
var received = map[operation]float64{registration: 2, refresh: 1, call: 6, digestCall: 8, bySIPp: 2}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Performance\n\nWritten by `make bench`: repeat it on your machine. [The API](performance-api.md), [limits](limits.md) and [the engines of the\njournal](journals.md), which were measured against each other, have pages of their own.\n\n")
	if r.settings.rate == 0 {
		r.costs(&b)
	}
	if len(r.pairs) > 0 {
		r.times(&b)
	}
	b.WriteString("## Rig\n\n")
	r.rigList(&b)
	return b.String()
}

// times is how long servers take to answer.
func (r *report) times(b *strings.Builder) {
	b.WriteString("## Time to answer\n\n")
	r.latencyTable(b)
	r.dialTable(b)
	fmt.Fprintf(b, "\nFrom the first request to the last answer, both at half the rate that the slower of the two reached above, in turns of %s: medians of the turns.\n"+
		"One write of 4 KiB with fdatasync, %s after the one before and over a file that has its size, took %s (p50), %s (p99) between the turns.\n\n",
		paceTime, syncPause, milli(r.sync.p50()), milli(r.sync.p99()))
}

// costs is what an operation takes of the processors and of the heap.
func (r *report) costs(b *strings.Builder) {
	b.WriteString("## CPU\n\n")
	r.cpuTable(b)
	b.WriteString("\n| onhook's heap allocations | per operation | per message it receives |\n| --- | --- | --- |\n")
	for _, op := range r.operations {
		heap := median(column(r.servers[0].figures[op], heapOf))
		fmt.Fprintf(b, "| %s | %.1f | %.1f |\n", op, heap, heap/received[op])
	}
	b.WriteString("\nThe journal and the Go runtime are counted with it. Parsing, authenticating and answering a refresh allocate nothing: those are limits in the tests.\n")
	b.WriteString("\nCPU is user and system time of all processes of a server, its database included; the medians of the rounds, with the lowest and the highest.\n" +
		"onhook runs as it comes: each binding is on disk before its 200, replayed nonces are refused, floods are counted, calls are recorded.\n" +
		"Kamailio in memory is Kamailio at its cheapest: hashes and bindings in memory only, nothing on disk, no checks against replays or floods, with the memory\n" +
		"allocator it comes with and with its fastest. With PostgreSQL it is as durable as onhook ([its configuration](../bench/kamailio.cfg)).\n" +
		"The rows by SIPp check our own generator: one SIPp process at " + fmt.Sprint(sippRate) + " registrations/s, far from a server's peak, where each wakes up for every message.\n\n")
}

// cpuTable has a row for each operation and server, with the ratio of onhook's
// figures to the server's.
func (r *report) cpuTable(b *strings.Builder) {
	b.WriteString("| over UDP, MD5 digest | | µs CPU | operations/s | onhook's CPU to it | onhook's rate to it |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, op := range r.operations {
		for i, m := range r.servers {
			if !m.does(op) {
				continue
			}
			cpu := column(m.figures[op], cpuOf)
			fmt.Fprintf(b, "| %s | %s | **%.1f** (%.1f–%.1f) | %.0f |", op, m.name, median(cpu), cpu[0], cpu[len(cpu)-1], m.peak(op))
			if i == 0 {
				b.WriteString(" | |\n")
			} else {
				fmt.Fprintf(b, " **%.2f** | %.2f |\n", r.ratio(op, m, cpuOf), r.ratio(op, m, rateOf))
			}
		}
	}
}

// ratio is that of onhook's median to another server's.
func (r *report) ratio(op operation, other *measured, of func(figure) float64) float64 {
	return median(column(r.servers[0].figures[op], of)) / median(column(other.figures[op], of))
}

func (r *report) latencyTable(b *strings.Builder) {
	b.WriteString("| | per second | onhook p50 | p99 | beside it | p50 | p99 | p99 ratio | onhook's p99 in fdatasync p99 |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, p := range r.pairs {
		ours, theirs := p.ours.p99(), p.theirs.p99()
		fmt.Fprintf(b, "| %s | %.0f | %s | %s | %s | %s | %s | **%.2f** | %.1f |\n", p.op, p.rate, milli(p.ours.p50()), milli(ours),
			p.other.name, milli(p.theirs.p50()), milli(theirs), over(ours, theirs), over(ours, r.sync.p99()))
	}
}

func (r *report) dialTable(b *strings.Builder) {
	ours := r.servers[0].dialled
	if len(ours) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| post-dial delay (INVITE to 180) at %d calls/s | | p50 | p99 | onhook's p99 to it |\n| --- | --- | --- | --- | --- |\n", dialRate)
	for _, op := range r.operations {
		for _, m := range r.servers {
			w := m.dialled[op]
			if w == nil {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |", op, m.name, milli(w.p50()), milli(w.p99()))
			if w == ours[op] {
				b.WriteString(" |\n")
			} else {
				fmt.Fprintf(b, " **%.2f** |\n", over(ours[op].p99(), w.p99()))
			}
		}
	}
}

func over(a, b time.Duration) float64 { return float64(a) / float64(b) }

func milli(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

func (r *report) rigList(b *strings.Builder) {
	fmt.Fprintf(b, "- %s, Linux %s, %s; servers and generator share the machine, over loopback; load average before: %s\n", r.rig.system, r.rig.kernel, r.rig.cpu, r.rig.load)
	for _, m := range r.servers {
		fmt.Fprintf(b, "- %s; the generator sent %d requests again\n", m.version, m.gen.resent())
	}
	for _, missing := range r.missing {
		fmt.Fprintf(b, "- %s\n", missing)
	}
	s := r.settings
	fmt.Fprintf(b, "- %d endpoints, %d calls a round, from outside the served domain and with digest, %d requests under way at a time, %d rounds in turns; between the rounds all are unregistered\n", s.users, s.calls, s.window, s.rounds)
	fmt.Fprintf(b, "- the generator alone reaches %.0f refreshes/s, against a process that answers and checks nothing\n", r.alone)
	fmt.Fprintf(b, "- datagrams that the kernel dropped meanwhile: %d\n", r.drops)
}
