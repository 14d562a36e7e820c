package devserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Password is what every endpoint of the tests gets unless it asks for another.
const Password = "correct-horse-1"

// Endpoint is the API's object as far as the tests look at it.
type Endpoint struct {
	ID           string        `json:"endpoint_id"`
	Username     string        `json:"username"`
	URI          string        `json:"sip_uri"`
	Registered   string        `json:"sip_registered"`
	Contact      *string       `json:"sip_contact"`
	Expires      *string       `json:"sip_expires"`
	UserAgent    *string       `json:"sip_user_agent"`
	Registration *Registration `json:"sip_registration"`
	Password     string        `json:"-"`
}

// Registration is sip_registration of a registered endpoint.
type Registration struct {
	Contact   string  `json:"contact"`
	Expires   string  `json:"expires"`
	UserAgent string  `json:"user_agent"`
	Received  string  `json:"received"`
	Path      *string `json:"path"`
}

// Binding is one object of the Registration resource.
type Binding struct {
	ID        string `json:"binding_id"`
	Contact   string `json:"contact"`
	Received  string `json:"received"`
	Transport string `json:"transport"`
	UserAgent string `json:"user_agent"`
	State     string `json:"state"`
}

var names atomic.Int64

// Name returns a username no other test of this server has.
func Name(prefix string) string {
	return fmt.Sprintf("%s_%d", prefix, names.Add(1))
}

// CreateEndpoint makes an endpoint with a unique username that starts with
// prefix; fields are added to the request.
func (s *Server) CreateEndpoint(t testing.TB, prefix string, fields map[string]any) Endpoint {
	t.Helper()
	body := map[string]any{"username": Name(prefix), "password": Password}
	for k, v := range fields {
		body[k] = v
	}
	var e Endpoint
	if status, err := s.API("POST", "Endpoint/", body, &e); err != nil || status != http.StatusCreated {
		t.Fatalf("creating endpoint %v: status %d, %v", body["username"], status, err)
	}
	e.Password, _ = body["password"].(string)
	return e
}

// UpdateEndpoint changes fields of an endpoint.
func (s *Server) UpdateEndpoint(t testing.TB, id string, fields map[string]any) {
	t.Helper()
	if status, err := s.API("POST", "Endpoint/"+id+"/", fields, nil); err != nil || status != http.StatusAccepted {
		t.Fatalf("updating endpoint %s: status %d, %v", id, status, err)
	}
}

// DeleteEndpoint deletes an endpoint.
func (s *Server) DeleteEndpoint(t testing.TB, id string) {
	t.Helper()
	if status, err := s.API("DELETE", "Endpoint/"+id+"/", nil, nil); err != nil || status != http.StatusNoContent {
		t.Fatalf("deleting endpoint %s: status %d, %v", id, status, err)
	}
}

// Endpoint retrieves an endpoint.
func (s *Server) Endpoint(t testing.TB, id string) Endpoint {
	t.Helper()
	var e Endpoint
	if status, err := s.API("GET", "Endpoint/"+id+"/", nil, &e); err != nil || status != http.StatusOK {
		t.Fatalf("retrieving endpoint %s: status %d, %v", id, status, err)
	}
	return e
}

// Bindings retrieves the Registration resource's objects.
func (s *Server) Bindings(t testing.TB, id string) []Binding {
	t.Helper()
	var list struct{ Objects []Binding }
	if status, err := s.API("GET", "Endpoint/"+id+"/Registration/", nil, &list); err != nil || status != http.StatusOK {
		t.Fatalf("bindings of %s: status %d, %v", id, status, err)
	}
	return list.Objects
}

// apiLag is how soon the API must show what SIP did: at once. The rest is room
// for a machine that is busy with something else.
const apiLag = 30 * time.Second

// WaitRegistered waits until the API shows the endpoint registered, or not.
func (s *Server) WaitRegistered(t testing.TB, id string, want bool) Endpoint {
	t.Helper()
	return s.WaitRegisteredWithin(t, id, want, apiLag)
}

// WaitRegisteredWithin is WaitRegistered with its own limit.
func (s *Server) WaitRegisteredWithin(t testing.TB, id string, want bool, limit time.Duration) Endpoint {
	t.Helper()
	var e Endpoint
	err := Until(limit, func() error {
		e = s.Endpoint(t, id)
		if e.Registered != fmt.Sprint(want) {
			return fmt.Errorf("sip_registered of %s is %q, want %q", e.Username, e.Registered, fmt.Sprint(want))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// API makes one request below the account's path, with a JSON body unless it is
// nil, and decodes a JSON answer into result unless that is nil.
func (s *Server) API(method, path string, body, result any) (int, error) {
	status, raw, err := s.APIBytes(method, path, body)
	if err != nil || result == nil {
		return status, err
	}
	return status, json.Unmarshal(raw, result)
}

// APIBytes is API that returns the answer as it is.
func (s *Server) APIBytes(method, path string, body any) (status int, answer []byte, err error) {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, strings.TrimSuffix(s.APIURL, "/")+"/v1/Account/"+s.AuthID+"/"+path, payload)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Auth-ID", s.AuthID)
	req.Header.Set("X-Auth-Token", s.AuthToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s", method, path, answer)
	}
	return resp.StatusCode, answer, err
}
