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
	out      string
	users    int
	calls    int
	rounds   int
	window   int
	kamailio bool
	install  bool
}

func main() {
	var s settings
	flag.StringVar(&s.binary, "onhook", "", "the onhook binary; empty: built from this checkout")
	flag.StringVar(&s.out, "out", "", "write the report there too")
	flag.IntVar(&s.users, "users", 20_000, "endpoints to create and register")
	flag.IntVar(&s.calls, "calls", 10_000, "calls of one round")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each figure is measured; the median is printed")
	flag.IntVar(&s.window, "window", 128, "requests under way at the same time")
	flag.BoolVar(&s.kamailio, "kamailio", true, "measure Kamailio, too")
	flag.BoolVar(&s.install, "install", true, "install a missing Kamailio with apt-get, as root")
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
	r, err := measureAll(s, dir)
	if err != nil {
		return err
	}
	text := r.markdown()
	if s.out != "" {
		if err := os.WriteFile(s.out, []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Print(text)
	return err
}

// measureAll starts the servers and measures them in turns.
func measureAll(s settings, dir string) (r *report, err error) {
	onhook, err := startOnhook(s, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, onhook.stop()) }()
	r = &report{settings: s, rig: readRig(), servers: []*measured{{server: onhook, figures: map[operation][]figure{}}}}
	switch kamailio, missing, err := startKamailio(s, dir, onhook.domain); {
	case err != nil:
		return nil, err
	case missing != "":
		r.missing = missing
	default:
		defer func() { err = errors.Join(err, kamailio.stop()) }()
		r.servers = append(r.servers, &measured{server: kamailio, figures: map[operation][]figure{}})
	}
	for _, m := range r.servers {
		if m.gen, err = newGenerator(m.server, s.users, s.window); err != nil {
			return nil, err
		}
		defer m.gen.close()
	}
	drops := kernelDrops()
	if err := r.rounds(); err != nil {
		return nil, err
	}
	if err := r.latencies(); err != nil {
		return nil, err
	}
	if r.sync, err = syncTimes(dir); err != nil {
		return nil, err
	}
	if r.alone, err = generatorAlone(s, dir, onhook.domain); err != nil {
		return nil, err
	}
	r.drops = kernelDrops() - drops
	return r, nil
}
