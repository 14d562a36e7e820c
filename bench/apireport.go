package main

import (
	"fmt"
	"strings"
	"time"
)

// apiReport is what was measured of the API.
type apiReport struct {
	rig     rig
	version string
	stores  []*apiFigures
	missing []string
	sync    []time.Duration // sorted
}

func (r *apiReport) markdown() string {
	var b strings.Builder
	b.WriteString("# Performance of the API\n\nWritten by `make bench-api`: repeat it on your machine. What a registration and a call cost is in [performance.md](performance.md).\n\n")
	row := func(what string, of func(*apiFigures) string) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, f := range r.stores {
			fmt.Fprintf(&b, " %s |", of(f))
		}
		b.WriteString("\n")
	}
	row("", func(f *apiFigures) string { return f.store })
	row("---", func(*apiFigures) string { return "---" })
	row("endpoints, all of one account", func(f *apiFigures) string { return fmt.Sprint(f.endpoints) })
	row("of which registered", func(f *apiFigures) string { return fmt.Sprint(f.registered) })
	row(fmt.Sprintf("import through `Endpoint/bulk`, %d at a time, %d clients", bulkRows, importers),
		func(f *apiFigures) string {
			return fmt.Sprintf("**%.0f/s**, of the last tenth %.0f/s", f.imported, f.importEnd)
		})
	row(fmt.Sprintf("`onhook endpoint import` of %d more, checked first", fileRows), func(f *apiFigures) string { return fmt.Sprintf("**%.0f/s**", f.byFile) })
	row("start with all of them", func(f *apiFigures) string { return fmt.Sprintf("%.1f s", f.started.Seconds()) })
	row(fmt.Sprintf("creations one by one, %d clients", creators), func(f *apiFigures) string {
		return fmt.Sprintf("**%.0f/s**, p50 %s, p99 %s", f.created, milli(quantile(f.creation, 0.5)), milli(quantile(f.creation, 0.99)))
	})
	row(fmt.Sprintf("retrievals, %d clients", lookers), func(f *apiFigures) string {
		return fmt.Sprintf("%.0f/s, p50 %s, **p99 %s**", f.retrieved, milli(quantile(f.retrieval, 0.5)), milli(quantile(f.retrieval, 0.99)))
	})
	row(fmt.Sprintf("from a REGISTER to its event in a stream, at %d/s", delayRate), func(f *apiFigures) string {
		if len(f.delay.delays) == 0 {
			return "not measured"
		}
		return fmt.Sprintf("p50 %s, **p99 %s**", milli(quantile(f.delay.delays, 0.5)), milli(quantile(f.delay.delays, 0.99)))
	})
	b.WriteString("\nLists of 20, one after the other: p50, **p99** of the whole request, with how many match.\n\n")
	row("filter", func(f *apiFigures) string { return f.store })
	row("---", func(*apiFigures) string { return "---" })
	if len(r.stores) > 0 {
		for i, l := range r.stores[0].lists {
			name := "`" + l.query + "`"
			if l.query == "" {
				name = "none"
			}
			row(name, func(f *apiFigures) string {
				l := f.lists[i]
				return fmt.Sprintf("%s, **%s** (%d)", milli(quantile(l.times, 0.5)), milli(quantile(l.times, 0.99)), l.total)
			})
		}
	}
	fmt.Fprintf(&b, "\nWhere a filter names one of many, it names another each time. One fdatasync of 4 KiB took %s (p50), %s (p99): what a commit costs at least.\n\n## Rig\n\n",
		milli(quantile(r.sync, 0.5)), milli(quantile(r.sync, 0.99)))
	fmt.Fprintf(&b, "- %s, Linux %s, %s; server, database and clients share the machine, over loopback and a Unix socket; load average before: %s\n",
		r.rig.system, r.rig.kernel, r.rig.cpu, r.rig.load)
	fmt.Fprintf(&b, "- %s; both databases confirm every commit on the disk\n", r.version)
	for _, missing := range r.missing {
		fmt.Fprintf(&b, "- %s\n", missing)
	}
	return b.String()
}
