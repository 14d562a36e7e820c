package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// limitsReport is what onhook does at its limits, with nobody beside it.
type limitsReport struct {
	rig      rig
	version  string
	overload []overloadResult
	storm    stormResult
	memory   memoryResult
	idle     idleResult
	delay    delayResult
}

// measureLimits runs the trials one after the other, each on a server of its
// own.
func measureLimits(s settings, dir string) (r *limitsReport, err error) {
	if s.binary == "" {
		if s.binary, err = buildOnhook(dir); err != nil {
			return nil, err
		}
	}
	r = &limitsReport{rig: readRig()}
	if r.version, err = versionOf(s.binary); err != nil {
		return nil, err
	}
	for _, trial := range []struct {
		name string
		run  func(s settings, dir string) error
	}{
		{"overload", func(s settings, dir string) (err error) { r.overload, err = overload(s, dir); return err }},
		{"delay", func(s settings, dir string) (err error) { r.delay, err = eventDelay(s, dir); return err }},
		{"storm", func(s settings, dir string) (err error) { r.storm, err = storm(s, dir); return err }},
		{"idle", func(s settings, dir string) (err error) { r.idle, err = idleClients(s, dir); return err }},
		{"memory", func(s settings, dir string) (err error) { r.memory, err = memory(s, dir); return err }},
	} {
		if s.only != "" && s.only != trial.name {
			continue
		}
		own := filepath.Join(dir, trial.name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return nil, err
		}
		fmt.Fprintln(os.Stderr, "bench:", trial.name)
		if err := trial.run(s, own); err != nil {
			return nil, fmt.Errorf("%s: %w", trial.name, err)
		}
	}
	return r, nil
}

func (r *limitsReport) markdown() string {
	var b strings.Builder
	b.WriteString("# Limits\n\nWritten by `make bench-limits`: repeat it on your machine.\n")
	if len(r.overload) > 0 {
		fmt.Fprintf(&b, "\n## More than it can do\n\nThe server has one core, the generator the other. The rate of refreshes is raised until the answers do not keep up. Then, in turns of %s, "+
			"come as many\nas were answered at most, which gives the peak, and a multiple of them, whatever is answered; none is sent again. A flood is\ncompared with the mean of the peaks before and after it; the rows are the medians of %d floods.\n"+
			"What is neither answered nor refused was dropped unread: by the kernel, or when it had waited too long. "+
			"The memory that grows holds answers of\nthe last 32 s, for requests that are sent again: 256 MiB at most. "+
			"A flood during which other processes took more than a quarter of a core is repeated,\nthree times at most.\n\n"+
			"| | peak/s | offered/s | answered 2xx/s | of the peak | 503 | 401 | memory before → after | other processes |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
			floodTime, floods)
		for _, o := range r.overload {
			fmt.Fprintf(&b, "| %s, %.1f times the peak | %.0f | %.0f | %.0f | **%.0f %%** | %d | %d | %s → %s | %.0f %% of a core |\n", o.op, o.factor, o.peak, o.offered,
				o.answered, 100*o.share(), o.refused, o.challenged, megabytes(o.before), megabytes(o.after), 100*o.others)
		}
	}
	if r.storm.users > 0 {
		fmt.Fprintf(&b, "\n## Everybody comes back\n\n%d endpoints are registered, the server is killed (SIGKILL) and started again, and all register anew within %s.\n"+
			"The server was up after **%s**; the last phone had its 200 **%s** after the first had asked; %d requests were sent again.\n",
			r.storm.users, r.storm.within, seconds(r.storm.started), seconds(r.storm.took), r.storm.resent)
	}
	if m := r.memory; m.bindings > 0 {
		fmt.Fprintf(&b, "\n## Memory and start\n\n| with %d endpoints | |\n| --- | --- |\n"+
			"| import through the API, rows a second | **%.0f** |\n| memory (RSS) of an endpoint | %.0f bytes |\n"+
			"| memory (RSS) of a binding, after a restart | **%.0f bytes** |\n| the same just after registering, with the answers kept for 32 s and garbage | %.0f bytes |\n"+
			"| start without bindings | %s |\n| start with %d bindings | %s |\n| of that, loading the bindings | **%s** |\n",
			m.bindings, m.imported, m.perEndpoint, m.perBindingLoaded, m.perBinding, seconds(m.startEmpty), m.bindings, seconds(m.startFull), seconds(m.startFull-m.startEmpty))
	}
	if r.idle.clients > 0 {
		fmt.Fprintf(&b, "\n## Browsers that wait\n\n%d registered WSS clients, idle, over loopback: **%.1f KB** of memory (RSS) each.\n", r.idle.clients, r.idle.perClient/1000)
	}
	if d := r.delay; len(d.delays) > 0 {
		fmt.Fprintf(&b, "\n## Events\n\n%d phones register, %.0f a second. From the REGISTER with the credentials to its event at a client of the stream: "+
			"%s (p50), **%s** (p99).\n", len(d.delays), d.rate, milli(quantile(d.delays, 0.5)), milli(quantile(d.delays, 0.99)))
	}
	fmt.Fprintf(&b, "\n## Rig\n\n- %s, Linux %s, %s; load average before: %s\n- %s\n", r.rig.system, r.rig.kernel, r.rig.cpu, r.rig.load, r.version)
	return b.String()
}

func megabytes(bytes int) string     { return strconv.Itoa(bytes/1e6) + " MB" }
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
func each(total, count int) float64  { return float64(total) / float64(count) }
func settled(s *server) (int, error) { // memory once the garbage of the start is gone
	time.Sleep(5 * time.Second)
	return s.resident()
}

// resident is the memory of the server's process, in bytes.
func (s *server) resident() (int, error) {
	path := "/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/status"
	kilobytes, err := strconv.Atoi(strings.TrimSuffix(valueOf(path, ":", "VmRSS", ""), " kB"))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return kilobytes << 10, nil
}

// restart starts onhook again on the state of one that has ended.
func (s *server) restart(dir, name string) (*server, time.Duration, error) {
	data := filepath.Join(dir, name+"-data")
	info := filepath.Join(data, "dev.json")
	if err := os.Remove(info); err != nil && !os.IsNotExist(err) {
		return nil, 0, err
	}
	began := time.Now()
	again, err := launch(dir, name+"-again", nil, s.cmd.Path, "dev", "--dir", data, "--ephemeral-ports")
	if err != nil {
		return nil, 0, err
	}
	again.version, again.domain, again.udp, again.metrics = s.version, s.domain, s.udp, s.metrics
	err = again.wait(func() bool {
		_, err := os.Stat(info)
		return err == nil
	})
	return again, time.Since(began), err
}

// kill ends the server as a power cut would.
func (s *server) kill() error {
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = s.cmd.Wait() // it was killed: that is the error
	return nil
}
