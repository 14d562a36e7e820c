package sipp

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"onhook/test/devserver"
)

func TestMain(m *testing.M) { os.Exit(devserver.Main(m)) }

// row is a line of register.xml's and uac.xml's -inf file.
func row(s *devserver.Server, e devserver.Endpoint, last any) string {
	return fmt.Sprintf("%s;[authentication username=%s password=%s];%s;%v", e.Username, e.Username, devserver.Password, s.Domain, last)
}

// endpoints creates n endpoints at once.
func endpoints(t *testing.T, s *devserver.Server, prefix string, n int) []devserver.Endpoint {
	t.Helper()
	var objects []map[string]any
	for range n {
		objects = append(objects, map[string]any{"username": devserver.Name(prefix), "password": devserver.Password})
	}
	var created struct{ Objects []devserver.Endpoint }
	status, err := s.API("POST", "Endpoint/bulk", map[string]any{"objects": objects}, &created)
	if err != nil || status != 201 || len(created.Objects) != n {
		t.Fatalf("creating %d endpoints: status %d, %d created, %v", n, status, len(created.Objects), err)
	}
	return created.Objects
}

// SIPp registers many endpoints, each after a challenge; the API counts them.
func TestRegister(t *testing.T) {
	t.Parallel()
	const many = 200
	for _, transport := range []string{"u1", "t1"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			prefix := devserver.Name("sipp_"+transport) + "_of"
			port := devserver.FreePort(t)
			var rows []string
			for _, e := range endpoints(t, s, prefix, many) {
				rows = append(rows, row(s, e, port))
			}
			server := s.SIP.UDP
			if transport == "t1" {
				server = s.SIP.TCP
			}
			Scenario{File: "register.xml", Transport: transport, Server: server, Rows: rows, Calls: many, Rate: 100}.Run(t)
			var list struct {
				Meta struct {
					Total int `json:"total_count"`
				} `json:"meta"`
			}
			if _, err := s.API("GET", "Endpoint/?sip_registered=true&limit=1&username__startswith="+prefix, nil, &list); err != nil {
				t.Fatal(err)
			}
			if list.Meta.Total != many {
				t.Errorf("the API counts %d registered endpoints, want %d", list.Meta.Total, many)
			}
		})
	}
}

// Ten thousand calls through the proxy, each after a 407, from SIPp to SIPp: none
// fails, and each has its record. Where SIPp is starved they come more slowly.
func TestCalls(t *testing.T) {
	t.Parallel()
	const calls = 5000 // over either transport
	for _, transport := range []string{"u1", "t1"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			for rate := 200; ; rate /= 2 {
				err := call(t, transport, calls, rate)
				if err == nil {
					return
				}
				if !errors.Is(err, errStarved) || rate <= 50 {
					t.Fatal(err)
				}
				t.Logf("at %d calls a second: %v", rate, err)
			}
		})
	}
}

// call makes calls from a new endpoint to a new endpoint.
func call(t *testing.T, transport string, calls, rate int) error {
	t.Helper()
	s := devserver.Shared(t)
	pair := endpoints(t, s, "sipp_call", 2)
	caller, callee := pair[0], pair[1]
	port := devserver.FreePort(t)
	Scenario{
		File: "register.xml", Transport: "u1", Server: s.SIP.UDP, Port: port,
		Rows: []string{row(s, callee, port)}, Calls: 1, Rate: 1,
	}.Run(t)
	stop := Scenario{File: "uas.xml", Transport: "u1", Server: s.SIP.UDP, Port: port}.Background(t)
	server := s.SIP.UDP
	if transport == "t1" {
		server = s.SIP.TCP
	}
	err := Scenario{
		File: "uac.xml", Transport: transport, Server: server,
		Rows: []string{row(s, caller, callee.Username)}, Calls: calls, Rate: rate,
	}.Try(t)
	complaints := stop()
	if err != nil {
		return err
	}
	if complaints != "" {
		err := fmt.Errorf("the callee complains:\n%.4000s", complaints)
		if watchdog.MatchString(complaints) {
			err = fmt.Errorf("%w: %w", errStarved, err)
		}
		return err
	}
	return devserver.Until(30*time.Second, func() error {
		var page struct{ Pagination struct{ Total int } }
		_, err := s.API("GET", "cdr?per_page=1&hangup_cause=NORMAL_CLEARING&endpoint_id="+callee.ID, nil, &page)
		if err == nil && page.Pagination.Total != calls {
			err = fmt.Errorf("%d calls have a record, want %d", page.Pagination.Total, calls)
		}
		return err
	})
}
