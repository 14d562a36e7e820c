package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"onhook/test/postgres"
)

// What the measurement of the API does with each store.
const (
	importers  = 2 // bulk requests under way
	bulkRows   = 1000
	fileRows   = 50_000 // imported by the command, into the full table
	creators   = 16
	createTime = 8 * time.Second
	lookers    = 4 // clients that retrieve
	lookTime   = 3 * time.Second
	listTime   = 1500 * time.Millisecond // for each filter, by one client
)

// apiFigures are one store's.
type apiFigures struct {
	store      string
	endpoints  int
	registered int
	imported   float64 // rows/s
	importEnd  float64 // rows/s of the last tenth
	byFile     float64 // rows/s of the command
	delay      delayResult
	started    time.Duration
	created    float64 // per second
	creation   []time.Duration
	retrieval  []time.Duration
	retrieved  float64
	lists      []listFigure
}

type listFigure struct {
	query string
	total int
	times []time.Duration // sorted
}

// apiTarget is an onhook whose API is measured.
type apiTarget struct {
	*server
	devInfo
	binary, config string
	client         *http.Client
}

// measureAPI measures onhook on each database in turn.
func measureAPI(s settings, dir string) (*apiReport, error) {
	binary := s.binary
	if binary == "" {
		built, err := buildOnhook(dir)
		if err != nil {
			return nil, err
		}
		binary = built
	}
	r := &apiReport{rig: readRig()}
	var err error
	if r.version, err = versionOf(binary); err != nil {
		return nil, err
	}
	for _, store := range []string{"SQLite", "PostgreSQL"} {
		if s.only != "" && s.only != store {
			continue
		}
		f, err := measureStore(s, filepath.Join(dir, store), binary, store)
		if errors.Is(err, postgres.ErrMissing) {
			r.missing = append(r.missing, err.Error())
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", store, err)
		}
		r.stores = append(r.stores, f)
	}
	if r.sync, err = syncTimes(dir); err != nil {
		return nil, err
	}
	return r, nil
}

func measureStore(s settings, dir, binary, store string) (f *apiFigures, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	database := filepath.Join(dir, "onhook.db")
	var db *postgres.Server
	if store == "PostgreSQL" {
		if db, err = postgres.New(context.Background(), true); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		database = db.URL()
	}
	t, err := startAPI(dir, binary, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	f = &apiFigures{store: store, endpoints: s.endpoints}
	for _, measure := range []func(*apiFigures, settings) error{
		t.importAll, t.restart, t.registrations, t.reads, t.importFile, t.creations,
	} {
		if err := measure(f, s); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// registrations registers some of the endpoints, while a client follows.
func (t *apiTarget) registrations(f *apiFigures, s settings) (err error) {
	if f.registered = min(s.users, s.endpoints); f.registered == 0 {
		return nil
	}
	if f.delay, err = measureDelay(t.server, t.devInfo, min(delayUsers, f.registered), s.window); err != nil {
		return err
	}
	gen, err := newGenerator(t.server, f.registered, s.window)
	if err != nil {
		return err
	}
	defer gen.close()
	return gen.register(gen.users, 0)
}

// startAPI starts onhook serve on a database.
func startAPI(dir, binary, database string) (*apiTarget, error) {
	udp, err := freePort()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	t := &apiTarget{binary: binary, config: filepath.Join(dir, "onhook.yaml"),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * creators}}}
	t.APIURL = "http://" + address
	text := fmt.Sprintf("domains: [bench.test]\ndata_dir: %s\ndatabase: %q\napi: {address: %q}\nlog: {level: warn}\ntrusted_networks: [127.0.0.0/8]\nsip:\n  listeners:\n    - {transport: udp, address: %q}\n",
		filepath.Join(dir, "data"), database, address, udp)
	if err := os.WriteFile(t.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	out, err := exec.Command(binary, "account", "create", "--config", t.config).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("account create: %w\n%s", err, out)
	}
	t.AuthID = regexp.MustCompile(`\bMA_[A-Z0-9]{8}\b`).FindString(string(out))
	t.AuthToken = regexp.MustCompile(`\b[A-Za-z0-9]{40}\b`).FindString(string(out))
	if t.AuthID == "" || t.AuthToken == "" {
		return nil, errors.New("account create printed no account")
	}
	if err := t.serve(udp); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *apiTarget) serve(udp *net.UDPAddr) error {
	srv, err := launch(filepath.Dir(t.config), "serve", nil, t.binary, "serve", "--config", t.config)
	if err != nil {
		return err
	}
	srv.udp, srv.domain = udp, "bench.test"
	t.server = srv
	return srv.wait(func() bool {
		resp, err := t.client.Get(t.APIURL + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// restart measures how long the server takes to know everything again.
func (t *apiTarget) restart(f *apiFigures, _ settings) error {
	if err := t.stop(); err != nil {
		return err
	}
	start := time.Now()
	if err := t.serve(t.udp); err != nil {
		return err
	}
	f.started = time.Since(start)
	return nil
}

// errTooMany is a request over the rate of its account.
var errTooMany = errors.New("too many requests for one account")

const tooManyPause = 50 * time.Millisecond

// do makes a request and decodes the answer; the status must be the wanted one.
func (t *apiTarget) do(method, path string, body []byte, status int, answer any) error {
	req, err := http.NewRequest(method, t.APIURL+"/v1/Account/"+t.AuthID+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(t.AuthID, t.AuthToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		return errTooMany
	}
	if resp.StatusCode != status {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// together runs f at the same time, and returns the first error.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = f(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// during runs f again and again at the same time and returns how long each run
// took, sorted, and how many there were per second.
func during(length time.Duration, n int, f func(run int) error) (times []time.Duration, rate float64, err error) {
	all := make([][]time.Duration, n)
	var run atomic.Int64
	begin := time.Now()
	err = together(n, func(i int) error {
		for {
			start := time.Now()
			if start.Sub(begin) > length {
				return nil
			}
			err := f(int(run.Add(1)))
			if errors.Is(err, errTooMany) { // of one account; does not count
				time.Sleep(tooManyPause)
				continue
			}
			if err != nil {
				return err
			}
			all[i] = append(all[i], time.Since(start))
		}
	})
	took := time.Since(begin)
	times = slices.Concat(all...)
	slices.Sort(times)
	return times, float64(len(times)) / took.Seconds(), err
}

// creations measures endpoints that are made one by one.
func (t *apiTarget) creations(f *apiFigures, _ settings) (err error) {
	f.creation, f.created, err = during(createTime, creators, func(run int) error {
		body := fmt.Sprintf(`{"username":"new%d","password":%q}`, run, password)
		return t.do("POST", "Endpoint/", []byte(body), http.StatusCreated, nil)
	})
	return err
}

// reads measures retrievals of endpoints all over the table, and lists.
func (t *apiTarget) reads(f *apiFigures, _ settings) (err error) {
	var page struct {
		Objects []struct {
			ID string `json:"endpoint_id"`
		}
	}
	var ids []string
	for range 20 {
		query := "Endpoint/?limit=100&offset=" + strconv.Itoa(rand.IntN(max(1, f.endpoints-100)))
		if err := t.do("GET", query, nil, http.StatusOK, &page); err != nil {
			return err
		}
		for _, e := range page.Objects {
			ids = append(ids, e.ID)
		}
	}
	f.retrieval, f.retrieved, err = during(lookTime, lookers, func(run int) error {
		return t.do("GET", "Endpoint/"+ids[run*7919%len(ids)]+"/", nil, http.StatusOK, nil)
	})
	if err != nil {
		return err
	}
	for _, query := range []func() string{
		func() string { return "" },
		func() string { return "offset=" + strconv.Itoa(rand.IntN(f.endpoints)) },
		func() string { return "username__exact=" + userName(rand.IntN(f.endpoints)) },
		func() string { return "username__startswith=" + userName(f.endpoints/1000+rand.IntN(f.endpoints/100)) },
		func() string { return "username__startswith=u" },
		func() string { return "username__startswith=u1" },
		func() string { return "username__contains=" + strconv.Itoa(1000+rand.IntN(9000)) },
		func() string { return "alias__contains=" + url.QueryEscape("one "+strconv.Itoa(1000+rand.IntN(9000))) },
		func() string { return "application_id__isnull=true" },
		func() string { return "sip_registered=true" },
		func() string { return "sip_registered=false" },
		func() string { return "sip_registered=true&username__startswith=u1" },
	} {
		l := listFigure{query: query()}
		l.times, _, err = during(listTime, 1, func(int) error {
			var answer struct {
				Meta struct {
					Total int `json:"total_count"`
				}
			}
			err := t.do("GET", "Endpoint/?"+query(), nil, http.StatusOK, &answer)
			l.total = answer.Meta.Total
			return err
		})
		if err != nil {
			return err
		}
		f.lists = append(f.lists, l)
	}
	return nil
}
