package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// delayResult is how long it takes until a registration is told to a client of
// the event stream.
type delayResult struct {
	rate   float64         // registrations a second
	delays []time.Duration // from the REGISTER to the event, sorted
}

const (
	delayUsers = 10_000
	delayRate  = 1000
	delayLimit = 10 * time.Second // for the last event
)

func eventDelay(s settings, dir string) (r delayResult, err error) {
	srv, info, err := startOnhook(s.binary, delayUsers, dir, "onhook")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	return measureDelay(srv, info, delayUsers, s.window)
}

// measureDelay registers endpoints that are not registered yet, one after the
// other, while a client follows the events.
func measureDelay(srv *server, info devInfo, users, window int) (r delayResult, err error) {
	gen, err := newGenerator(srv, users, window)
	if err != nil {
		return r, err
	}
	defer gen.close()
	req, err := http.NewRequest("GET", info.APIURL+"/v1/Account/"+info.AuthID+"/events?types=endpoint.registered", nil)
	if err != nil {
		return r, err
	}
	req.SetBasicAuth(info.AuthID, info.AuthToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return r, errors.New("events: " + resp.Status)
	}
	arrived := make(chan map[string]time.Time, 1)
	go func() { arrived <- arrivals(resp, users) }()
	if err := gen.register(gen.users, delayRate); err != nil {
		return r, err
	}
	r.rate = delayRate
	var at map[string]time.Time
	select {
	case at = <-arrived:
	case <-time.After(delayLimit):
		return r, fmt.Errorf("not all events came within %s", delayLimit)
	}
	for _, l := range gen.lanes {
		for i := range l.phones {
			told, ok := at[l.phones[i].name]
			if !ok {
				return r, fmt.Errorf("no event of %s", l.phones[i].name)
			}
			r.delays = append(r.delays, told.Sub(l.phones[i].sent))
		}
	}
	slices.Sort(r.delays)
	return r, nil
}

// arrivals notes when the event of each of n users came.
func arrivals(resp *http.Response, n int) map[string]time.Time {
	at := make(map[string]time.Time, n)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for len(at) < n && lines.Scan() {
		_, rest, ok := bytes.Cut(lines.Bytes(), []byte(`"username":"`))
		if name, _, end := bytes.Cut(rest, []byte(`"`)); ok && end {
			at[string(name)] = time.Now()
		}
	}
	return at
}
