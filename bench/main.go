// Command bench measures what onhook costs: CPU per digest registration, per
// refresh and per proxied call over UDP. It starts the server as a child
// process, loads it from this process with a generator that shares no code with
// it, and reads the CPU time of the server alone from /proc. It prints a
// Markdown table with its rig.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	users := flag.Int("users", 20_000, "endpoints to create and register")
	calls := flag.Int("calls", 20_000, "calls to place")
	rounds := flag.Int("rounds", 3, "how often each figure is measured; the median is printed")
	window := flag.Int("window", 64, "requests under way at the same time")
	binary := flag.String("onhook", "", "the onhook binary; empty: built from this checkout")
	out := flag.String("out", "", "write the report there too")
	flag.Parse()
	report, err := run(*binary, *users, *calls, *rounds, *window)
	if err == nil && *out != "" {
		err = os.WriteFile(*out, []byte(report), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Print(report)
}

func run(binary string, users, calls, rounds, window int) (string, error) {
	srv, err := startServer(binary)
	if err != nil {
		return "", err
	}
	defer srv.stop()
	if err := srv.createEndpoints(users); err != nil {
		return "", err
	}
	gen, err := newGenerator(srv, users, window)
	if err != nil {
		return "", err
	}
	defer gen.close()
	figures := map[string][]figure{}
	for range rounds {
		for _, m := range []struct {
			name string
			n    int
			run  func() error
		}{
			{"new registration (401 and 200)", users, gen.registerAll},
			{"refresh (200 with a known nonce)", users, gen.refreshAll},
			{"call (INVITE, 180, 200, ACK, BYE, 200)", calls, func() error { return gen.callMany(calls) }},
		} {
			f, err := srv.measure(m.n, m.run)
			if err != nil {
				return "", fmt.Errorf("%s: %w", m.name, err)
			}
			figures[m.name] = append(figures[m.name], f)
		}
	}
	return render(srv, gen, figures, users, rounds, window), nil
}

// figure is one measurement.
type figure struct {
	cpu  float64 // µs of server CPU per operation
	rate float64 // operations per second of wall clock
}

func (s *server) measure(n int, f func() error) (figure, error) {
	before, err := s.cpu()
	if err != nil {
		return figure{}, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return figure{}, err
	}
	wall := time.Since(start)
	after, err := s.cpu()
	if err != nil {
		return figure{}, err
	}
	return figure{cpu: float64((after - before).Microseconds()) / float64(n), rate: float64(n) / wall.Seconds()}, nil
}

func render(s *server, g *generator, figures map[string][]figure, users, rounds, window int) string {
	var b strings.Builder
	b.WriteString("# Performance\n\nWritten by `make bench`; run it to repeat the figures on your machine.\n\n")
	b.WriteString("| operation over UDP | server CPU, µs (median) | lowest – highest | operations/s with generator beside it |\n| --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		fs := figures[name]
		cpu, rate := column(fs, func(f figure) float64 { return f.cpu }), column(fs, func(f figure) float64 { return f.rate })
		fmt.Fprintf(&b, "| %s | %.1f | %.1f – %.1f | %.0f |\n", name, median(cpu), cpu[0], cpu[len(cpu)-1], median(rate))
	}
	fmt.Fprintf(&b, "\nRig: %s, %d CPUs (%s), %s, generator and server on the same machine over loopback; %d endpoints with MD5 digest, %d requests under way, %d rounds; ",
		osRelease(), runtime.NumCPU(), cpuModel(), s.version, users, window, rounds)
	fmt.Fprintf(&b, "every registration durable before its 200; callers from outside the server's domains; the generator sent %d datagrams again; the kernel dropped %d. ", g.resent.Load(), s.kernelDrops())
	b.WriteString("CPU is user and system time of the server process, from /proc.\n")
	b.WriteString("\nAllocations per message are limits in the tests (`go test ./internal/... -run Alloc`): parsing, authenticating and answering a request allocate nothing.\n")
	return b.String()
}

func column(fs []figure, of func(figure) float64) []float64 {
	var v []float64
	for _, f := range fs {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return v
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }
