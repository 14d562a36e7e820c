package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// page is everything measured.
type page struct {
	sync    time.Duration
	commits [3][3][]commits // by engine, group and round
	loads   [3]load
	records int
}

// best is the better of the rounds: what disturbs a measurement only makes it worse.
func best(rounds []commits) commits {
	b := rounds[0]
	for _, c := range rounds[1:] {
		b.perSecond, b.cpu, b.p99 = max(b.perSecond, c.perSecond), min(b.cpu, c.cpu), min(b.p99, c.p99)
	}
	return b
}

// String writes the page.
func (p page) String() string {
	var b strings.Builder
	b.WriteString("# Engines of the binding journal\n\nWritten by `make bench-journals`; [a decision](decisions/0010-own-journal.md) says what follows from it.\n\n")
	fmt.Fprintf(&b, "Records of %d bytes, %d keys written again and again, each commit on the disk when it returns. Two rounds, alternating;\n"+
		"the better figure of each. CPU is that of the whole process, compaction included.\n\n", valueSize, keys)
	row(&b, "", func(i int) string { return engines[i].name })
	row(&b, "---", func(int) string { return "---:" })
	for k, group := range groups {
		row(&b, fmt.Sprintf("records/s, groups of %d", group), func(i int) string { return fmt.Sprintf("%.0f", best(p.commits[i][k]).perSecond) })
	}
	for k, group := range groups {
		row(&b, fmt.Sprintf("CPU µs per record, groups of %d", group), func(i int) string { return fmt.Sprintf("%.2f", best(p.commits[i][k]).cpu) })
	}
	for k, group := range groups {
		row(&b, fmt.Sprintf("p99 of a commit, ms, groups of %d", group), func(i int) string { return ms(best(p.commits[i][k]).p99) })
	}
	row(&b, fmt.Sprintf("loading %d records, s", p.records), func(i int) string { return fmt.Sprintf("%.2f", p.loads[i].took.Seconds()) })
	row(&b, "MB on the disk, half of them written twice", func(i int) string { return fmt.Sprintf("%.0f", float64(p.loads[i].bytes)/1e6) })
	row(&b, "bytes of Go heap for each of them, opened", func(i int) string {
		return fmt.Sprintf("%.0f", float64(p.loads[i].heap)/float64(p.records))
	})
	fmt.Fprintf(&b, "\nThe p99 of one fdatasync of a page, nothing else: %s ms.\n\n", ms(p.sync))
	b.WriteString(rig())
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1e3) }

func row(b *strings.Builder, name string, value func(i int) string) {
	fmt.Fprintf(b, "| %s |", name)
	for i := range engines {
		fmt.Fprintf(b, " %s |", value(i))
	}
	b.WriteString("\n")
}

// rig says what it was measured with.
func rig() string {
	versions := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			versions[m.Path] = m.Version
		}
	}
	parts := []string{fmt.Sprintf("%s %s/%s, %d CPUs", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				parts = append(parts, strings.TrimSpace(value))
				break
			}
		}
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(raw)))
	}
	for _, e := range engines {
		if e.module != "" {
			parts = append(parts, e.name+" "+versions[e.module])
		}
	}
	return "Rig: " + strings.Join(parts, ", ") + ".\n"
}
