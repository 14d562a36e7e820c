// Command bench measures what onhook costs beside Kamailio: CPU per digest
// registration, per refresh and per proxied call over UDP, and the time to
// answer. It starts both servers as child processes on free loopback ports,
// loads them in turns from this process with a generator that shares no code
// with onhook, and writes a Markdown report with its rig. It changes neither
// server and tests nothing: a wrong answer ends it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// settings are the flags.
type settings struct {
	binary   string
	other    string
	out      string
	users    int
	calls    int
	rounds   int
	window   int
	rate     float64
	only     string
	kamailio bool
	install  bool
	limits   bool
	storm    int
	bindings int
	clients  int

	api       bool
	endpoints int
}

func main() {
	var s settings
	flag.StringVar(&s.binary, "onhook", "", "the onhook binary; empty: built from this checkout")
	flag.StringVar(&s.other, "other", "", "another onhook binary to measure in the place of Kamailio")
	flag.StringVar(&s.out, "out", "", "write the report there too")
	flag.IntVar(&s.users, "users", 20_000, "endpoints to create and register")
	flag.IntVar(&s.calls, "calls", 5_000, "calls of one round")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each figure is measured; the median is printed")
	flag.IntVar(&s.window, "window", 128, "requests under way at the same time")
	flag.Float64Var(&s.rate, "rate", 0, "measure the time to answer alone, at so many requests a second")
	flag.StringVar(&s.only, "only", "", "measure registration, refresh or call alone, as when profiling")
	flag.BoolVar(&s.kamailio, "kamailio", true, "measure Kamailio, too")
	flag.BoolVar(&s.install, "install", true, "install a missing Kamailio with apt-get, as root")
	flag.BoolVar(&s.limits, "limits", false, "measure what onhook does at its limits, instead: overload, delay, storm, idle and memory (-only: one of them)")
	flag.IntVar(&s.storm, "storm", 100_000, "with -limits: endpoints that all come back after a restart")
	flag.IntVar(&s.bindings, "bindings", 1_000_000, "with -limits: bindings to measure memory with")
	flag.IntVar(&s.clients, "clients", 10_000, "with -limits: idle WSS clients")
	flag.BoolVar(&s.api, "api", false, "measure the API on SQLite and on PostgreSQL, instead (-only: one of them; -users are registered)")
	flag.IntVar(&s.endpoints, "endpoints", 1_000_000, "with -api: endpoints to import")
	responder := flag.Bool("responder", false, "be the server that checks nothing, for what the generator alone can do")
	flag.Parse()
	if *responder {
		exit(respond())
	}
	exit(bench(s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func bench(s settings) (err error) {
	dir, err := os.MkdirTemp("", "onhook-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w (the servers' logs are in %s)", err, dir)
		}
	}()
	text, err := reported(s, dir)
	if err != nil {
		return err
	}
	if s.out != "" {
		if err := os.WriteFile(s.out, []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Print(text)
	return err
}

// reported measures what was asked for and returns the report.
func reported(s settings, dir string) (string, error) {
	if s.api {
		r, err := measureAPI(s, dir)
		if err != nil {
			return "", err
		}
		return r.markdown(), nil
	}
	if s.limits {
		r, err := measureLimits(s, dir)
		if err != nil {
			return "", err
		}
		return r.markdown(), nil
	}
	r, err := measureAll(s, dir)
	if err != nil {
		return "", err
	}
	return r.markdown(), nil
}

// measureAll starts the servers and measures them in turns.
func measureAll(s settings, dir string) (r *report, err error) {
	onhook, _, err := startOnhook(s.binary, s.users, dir, "onhook")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, onhook.stop()) }()
	r = &report{settings: s, operations: chosen(s.only), rig: readRig(), servers: []*measured{newMeasured(onhook)}}
	others, err := r.startOthers(dir)
	defer func() {
		for _, o := range others {
			err = errors.Join(err, o.stop())
		}
	}()
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		r.servers = append(r.servers, newMeasured(o))
	}
	for _, m := range r.servers {
		if m.gen, err = newGenerator(m.server, s.users, s.window); err != nil {
			return nil, err
		}
		defer m.gen.close()
	}
	for _, m := range r.servers { // everybody is known once before anything counts
		if err := m.gen.register(s.users, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	drops := kernelDrops()
	if s.rate == 0 {
		err = r.rounds()
	}
	if err != nil {
		return nil, err
	}
	if err := r.latencies(dir); err != nil {
		return nil, err
	}
	if r.alone, err = generatorAlone(s, dir, onhook.domain); err != nil {
		return nil, err
	}
	r.drops = kernelDrops() - drops
	return r, nil
}

func newMeasured(srv *server) *measured {
	return &measured{server: srv, figures: map[operation][]figure{}, dialled: map[operation]*waits{}}
}

// startOthers starts what onhook is compared with, and notes why something is
// missing. The servers are to be stopped also with an error.
func (r *report) startOthers(dir string) (others []*server, err error) {
	s := r.settings
	if s.other != "" {
		srv, _, err := startOnhook(s.other, s.users, dir, "other")
		if srv != nil {
			others = append(others, srv)
		}
		return others, err
	}
	if !s.kamailio {
		r.missing = append(r.missing, "Kamailio: left out (-kamailio=false)")
		return nil, nil
	}
	for _, v := range variants {
		srv, missing, err := startKamailio(s, v, dir)
		if srv != nil {
			others = append(others, srv)
		}
		if err != nil {
			return others, err
		}
		if missing != "" {
			r.missing = append(r.missing, v.name+": "+missing)
		}
	}
	return others, nil
}
