package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
)

// errorOf returns an error body's sentence and details.
func errorOf(t *testing.T, rec *httptest.ResponseRecorder) (e struct {
	Error   string
	Details map[string]any
}) {
	t.Helper()
	if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	return e
}

// padded is a JSON object of exactly n bytes.
func padded(object string, n int) string {
	return object[:len(object)-1] + strings.Repeat(" ", n-len(object)) + "}"
}

func TestBodyLimits(t *testing.T) {
	w := newWorld(t)
	collection := "/v1/Account/" + w.vars["main"] + "/Endpoint/"
	single := `{"username":"%s","password":"` + secret + `-horse"}`
	bulk := `{"objects":[` + single + `]}`
	for _, c := range []struct {
		name, path, body string
		limit            int
	}{
		{"one", collection, fmt.Sprintf(single, "one"), 64 << 10},
		{"bulk", collection + "bulk", fmt.Sprintf(bulk, "two"), 2 << 20},
	} {
		over := w.do(w.request("main", "POST", c.path, padded(c.body, c.limit+1)))
		if want := fmt.Sprintf("the request body is larger than %d bytes", c.limit); over.Code != 413 || errorOf(t, over).Error != want {
			t.Errorf("%s: %d bytes: %d %s", c.name, c.limit+1, over.Code, over.Body)
		}
		chunked := w.request("main", "POST", c.path, padded(c.body, c.limit+1))
		chunked.ContentLength = -1
		if rec := w.do(chunked); rec.Code != 413 {
			t.Errorf("%s: %d bytes without a length: %d %s", c.name, c.limit+1, rec.Code, rec.Body)
		}
		if rec := w.do(w.request("main", "POST", c.path, padded(c.body, c.limit))); rec.Code != 201 {
			t.Errorf("%s: %d bytes: %d %s", c.name, c.limit, rec.Code, rec.Body)
		}
	}
}

func TestBulkSize(t *testing.T) {
	w := newWorld(t)
	path := "/v1/Account/" + w.vars["main"] + "/Endpoint/bulk"
	body := func(n int) string {
		rows := make([]string, n)
		for i := range rows {
			rows[i] = fmt.Sprintf(`{"username":"u%d","password":"%s-horse"}`, i, secret)
		}
		return `{"objects":[` + strings.Join(rows, ",") + `]}`
	}
	rec := w.do(w.request("main", "POST", path, body(account.MaxBulk+1)))
	if rec.Code != 400 || errorOf(t, rec).Details["objects"] != "Must hold 1 to 1000 endpoints" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = w.do(w.request("main", "POST", path, body(account.MaxBulk)))
	var made bulkCreatedJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil || rec.Code != 201 || len(made.Objects) != account.MaxBulk {
		t.Fatalf("%d, %d objects, %v", rec.Code, len(made.Objects), err)
	}
	for i, o := range made.Objects {
		if o.Username != fmt.Sprintf("u%d", i) {
			t.Fatalf("object %d is %s", i, o.Username)
		}
	}
}

// A client that does not finish its body is answered in time.
func TestSlowBody(t *testing.T) {
	w := newWorld(t)
	w.config.Timeout = 50 * time.Millisecond
	server := httptest.NewServer(New(w.config))
	defer server.Close()
	body, stall := io.Pipe()
	defer stall.Close()
	go func() { _, _ = stall.Write([]byte(`{"username":`)) }()
	r, err := http.NewRequest("POST", server.URL+"/v1/Account/"+w.vars["main"]+"/Endpoint", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-ID", w.vars["main"])
	r.Header.Set("X-Auth-Token", w.keys["main"])
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// stubService is a Service with one method replaced.
type stubService struct {
	Service
	endpoints func(context.Context) error
}

func (s stubService) Endpoints(ctx context.Context, _ account.Account, _ account.EndpointQuery) ([]account.Endpoint, int, error) {
	return nil, 0, s.endpoints(ctx)
}

func TestRequestTimeout(t *testing.T) {
	w := newWorld(t)
	w.config.Timeout = time.Millisecond
	w.config.Service = stubService{w.service, func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("list: %w", ctx.Err())
	}}
	w.handler = New(w.config)
	rec := w.do(w.request("main", "GET", "/v1/Account/"+w.vars["main"]+"/Endpoint/", ""))
	if rec.Code != 503 || rec.Header().Get("Retry-After") != "2" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A client that went away is no fault to log.
func TestClientGone(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	w.config.Service = stubService{w.service, func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}
	w.handler = New(w.config)
	w.do(w.request("main", "GET", "/v1/Account/"+w.vars["main"]+"/Endpoint/", "").WithContext(ctx))
	if strings.Contains(w.log.String(), "ERROR") {
		t.Error(w.log.String())
	}
}

func TestPanicIsAnswered(t *testing.T) {
	w := newWorld(t)
	w.config.Service = stubService{w.service, func(context.Context) error { panic("on purpose") }}
	log := &logBuffer{} // not the world's, in which a panic fails the test
	w.config.Logger = slog.New(slog.NewJSONHandler(log, nil))
	rec := httptest.NewRecorder()
	New(w.config).ServeHTTP(rec, w.request("main", "GET", "/v1/Account/"+w.vars["main"]+"/Endpoint/", ""))
	id := rec.Header().Get("X-Request-Id")
	if rec.Code != 500 || strings.TrimSpace(rec.Body.String()) != `{"api_id":"`+id+`","error":"internal error"}` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	text := log.String()
	for _, want := range []string{`"panic":"on purpose"`, "api_test.go", `"api_id":"` + id + `"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s:\n%s", want, text)
		}
	}
}

func TestReadinessReasons(t *testing.T) {
	w := newWorld(t)
	w.ready = errors.Join(errors.New("the database is locked"), errors.New("the journal is loading"))
	rec := w.do(httptest.NewRequest("GET", "/readyz", nil))
	var got healthJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 503 ||
		!slices.Equal(got.Reasons, []string{"the database is locked", "the journal is loading"}) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestWithoutOptionalParts(t *testing.T) {
	w := newWorld(t)
	h := New(Config{Service: w.service, Registrations: w.bindings})
	for path, want := range map[string]int{"/metrics": 404, "/readyz": 200, "/healthz": 200} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

// The access log names the request and leaves the query out: a client that
// puts a password there must not find it in a log.
func TestAccessLog(t *testing.T) {
	w := newWorld(t)
	path := "/v1/Account/" + w.vars["main"] + "/Endpoint/"
	rec := w.do(w.request("main", "POST", path+"?password="+secret, ""))
	if rec.Code != 400 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for _, want := range []string{`"msg":"request"`, `"method":"POST"`, `"path":"` + path + `"`, `"status":400`, `"account":"` + w.vars["main"] + `"`} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, w.log)
		}
	}
}

// Two updates at the same time never mix halves.
func TestConcurrentUpdates(t *testing.T) {
	w := newWorld(t)
	path := "/v1/Account/" + w.vars["main"] + "/Endpoint/" + w.create("main", "jane") + "/"
	var all sync.WaitGroup
	for i := range 8 {
		on := i%2 == 0
		body := fmt.Sprintf(`{"alias":"%t","allow_voice":%t,"allow_message":%t,"allow_video":%t}`, on, on, on, on)
		all.Go(func() {
			for range 10 {
				rec := httptest.NewRecorder()
				w.handler.ServeHTTP(rec, w.request("main", "POST", path, body))
				if rec.Code != 202 {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
			}
		})
		all.Go(func() {
			for range 10 {
				rec := httptest.NewRecorder()
				w.handler.ServeHTTP(rec, w.request("main", "GET", path, ""))
				var e endpointJSON
				if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil {
					t.Error(err)
				}
				whole := e.Alias == "jane" || e.Alias == fmt.Sprint(e.AllowVoice) && e.AllowVoice == e.AllowMessage && e.AllowVoice == e.AllowVideo
				if !whole {
					t.Errorf("halves mixed: %s", rec.Body)
				}
			}
		})
	}
	all.Wait()
}

// Of several creations of one username at the same time exactly one succeeds.
func TestConcurrentCreations(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		all.Go(func() {
			rec := httptest.NewRecorder()
			w.handler.ServeHTTP(rec, w.request("main", "POST", "/v1/Account/"+w.vars["main"]+"/Endpoint/",
				`{"username":"jane","password":"`+secret+`-horse"}`))
			codes[i] = rec.Code
		})
	}
	all.Wait()
	slices.Sort(codes)
	if want := []int{201, 409, 409, 409, 409, 409, 409, 409}; !slices.Equal(codes, want) {
		t.Errorf("got %v", codes)
	}
}

// The checks of passwords in answers and logs would notice one.
func TestNoPasswordEverShown(t *testing.T) {
	w := newWorld(t)
	id := w.create("main", "jane")
	path := "/v1/Account/" + w.vars["main"] + "/Endpoint/"
	for _, body := range []string{
		`{"password":"` + secret + `-2"`,                                  // broken
		`{"password":"` + secret + `"}`,                                   // too short
		`{"password":{"x":"` + secret + `"}}`,                             // wrong type
		`{"username":"JANE","password":"` + secret + `-horse"}`,           // taken
		`{"` + secret + ` horse":1}`,                                      // as a name
		`{"password":"` + secret + `-horse","password":"` + secret + `"}`, // twice
		`"` + secret + `"`,                                                // no object
		secret + "-horse",                                                 // no JSON
	} {
		for _, to := range []string{path, path + id, path + "bulk"} {
			if rec := w.do(w.request("main", "POST", to, body)); rec.Code < 400 {
				t.Errorf("%s: %d", body, rec.Code)
			}
		}
	}
	for _, format := range []string{path, path + id} {
		w.do(w.request("main", "GET", format, ""))
	}
}
