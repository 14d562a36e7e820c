package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// TestTranscripts plays testdata/*.txt, each file against a server of its own.
//
//	== a title
//	! a directive: clock 1h | disk full|ok | store broken|ok | ready|not ready: reasons |
//	  call live|over as=… of=… endpoint={id} from=… to=… (began now) | register {id} contact=… via=… from=… | application of=… id=… name=… | ban id=… source=… user=…
//	METHOD path
//	As: main (the default), sub, off, other, nobody or auth_id:token
//	Header: value
//
//	body
//	---
//	status
//	Header: value
//
//	body, compared with its key order; "<uuid>", "<id>", "<token>", "<n>" and
//	"<any>" match such values; "<name>" matches an endpoint_id, "<app_name>" an
//	app_id, "<sa_name>" a sub-account's auth_id, "<wh_name>" a webhook_id and "<token_name>" an auth
//	token, for which {name} stands afterwards.
//
// {x*20} stands for twenty x.
func TestTranscripts(t *testing.T) { onEveryStore(t, testTranscripts) }

func testTranscripts(t *testing.T, newWorld func(*testing.T) *world) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			for i, c := range strings.Split("\n"+string(text), "\n== ")[1:] {
				title, rest, _ := strings.Cut(c, "\n")
				if !t.Run(fmt.Sprintf("%02d %s", i+1, title), func(t *testing.T) {
					w.t = t
					w.play(rest)
				}) {
					break // what follows builds on it
				}
			}
			w.t = t
		})
	}
}

var (
	uuidPattern          = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	idPattern            = regexp.MustCompile(`^[1-9][0-9]{14}$`)
	appIDPattern         = regexp.MustCompile(`^[1-9][0-9]{14}00$`)
	subAuthIDPattern     = regexp.MustCompile(`^SA_[A-Z0-9]{8}$`)
	webhookPattern       = regexp.MustCompile(`^WH_[A-Z2-7]{20}$`)
	tokenPattern         = regexp.MustCompile(`^[A-Za-z0-9]{40}$`)
	webhookSecretPattern = regexp.MustCompile(`^whsec_[A-Z2-7]{32}$`)
	namePattern          = regexp.MustCompile(`^<([a-z_0-9]+)>$`)
	varPattern           = regexp.MustCompile(`\{([a-z_0-9]+)\}`)
	repeatPattern        = regexp.MustCompile(`\{(.)\*(\d+)\}`)
	pairPattern          = regexp.MustCompile(`([a-z-]+)=("[^"]*"|\S+)`)
)

func (w *world) expand(text string) string {
	text = repeatPattern.ReplaceAllStringFunc(text, func(m string) string {
		parts := repeatPattern.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[2])
		return strings.Repeat(parts[1], n)
	})
	return varPattern.ReplaceAllStringFunc(text, func(m string) string {
		if v, ok := w.vars[m[1:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

func (w *world) play(text string) {
	w.t.Helper()
	request, answer, found := strings.Cut(w.stripped(text), "\n---\n")
	if !found {
		w.t.Fatal("a case without ---")
	}
	for strings.HasPrefix(request, "! ") {
		var line string
		line, request, _ = strings.Cut(request, "\n")
		w.direct(strings.TrimPrefix(line, "! "))
	}
	r := w.parseRequest(w.expand(request))
	if w.keyed && r.Method == "POST" && r.Header.Get(idempotencyKey) == "" {
		r.Header.Set(idempotencyKey, rand.Text())
	}
	rec := w.do(r)
	w.compare(rec, answer)
}

// stripped takes comment lines out.
func (w *world) stripped(text string) string {
	var keep []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "# ") {
			keep = append(keep, line)
		}
	}
	return strings.TrimSpace(strings.Join(keep, "\n"))
}

func (w *world) direct(line string) {
	w.t.Helper()
	line = w.expand(line)
	pairs := map[string]string{}
	for _, m := range pairPattern.FindAllStringSubmatch(line, -1) {
		pairs[m[1]] = strings.Trim(m[2], `"`)
	}
	words := strings.Fields(line)
	switch words[0] {
	case "clock":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.clock.Add(int64(d / time.Second))
	case "disk":
		w.store.full.Store(words[1] == "full")
		w.bindings.full = words[1] == "full"
	case "store":
		w.store.broken.Store(words[1] == "broken")
	case "ready":
		w.ready = nil
	case "not":
		w.ready = fmt.Errorf("%s", strings.TrimPrefix(line, "not ready: "))
	case "register":
		b, err := bindingFrom(pairs, w.now())
		if err != nil {
			w.t.Fatal(err)
		}
		w.bindings.register(words[1], b)
	case "ban":
		b, err := banFrom(pairs, w.now())
		if err != nil {
			w.t.Fatal(err)
		}
		w.bans.list = append(w.bans.list, b)
	case "call":
		call := w.call(pairs)
		if w.vars[pairs["as"]] = call.ID.String(); words[1] == "live" {
			w.calls.list = append(w.calls.list, call)
		} else if err := w.records.SaveRecords(context.Background(), []*callrecord.Record{ended(call)}); err != nil {
			w.t.Fatal(err)
		}
	case "application":
		app := account.Application{ID: pairs["id"], Owner: w.vars[pairs["of"]], Name: pairs["name"],
			AnswerURL: pairs["answer"], AnswerMethod: "POST", Enabled: true, CreatedAt: w.now(), UpdatedAt: w.now()}
		w.update(func(ctx context.Context, tx account.Tx) error { return tx.InsertApplication(ctx, app) })
	default:
		w.t.Fatalf("unknown directive %q", line)
	}
}

func (w *world) parseRequest(text string) (r *http.Request) {
	w.t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	first, headers, _ := strings.Cut(head, "\n")
	method, path, _ := strings.Cut(first, " ")
	r = httptest.NewRequest(method, path, strings.NewReader(body))
	as := "main"
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		r.Header.Set("Content-Type", "application/json")
	}
	for line := range strings.SplitSeq(headers, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "":
		case name == "As":
			as = value
		case name == "Basic":
			as = "nobody"
			id, token, _ := strings.Cut(value, ":")
			r.SetBasicAuth(id, token)
		case name == "Content-Type":
			r.Header.Del("Content-Type")
			if value != "none" {
				r.Header.Set("Content-Type", value)
			}
		default:
			r.Header.Add(name, value)
		}
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		header := r.Header
		r = httptest.NewRequest(method, path, strings.NewReader(strings.ReplaceAll(body, "\n", "\r\n")))
		r.Header = header
		r.Header.Set("Content-Type", "multipart/form-data; boundary=BOUNDARY")
	}
	if id, token, given := strings.Cut(as, ":"); given {
		r.Header.Add("X-Auth-ID", id)
		r.Header.Add("X-Auth-Token", token)
	} else if as != "nobody" {
		r.Header.Add("X-Auth-ID", w.vars[as])
		r.Header.Add("X-Auth-Token", w.keys[as])
	}
	return r
}

func (w *world) compare(rec *httptest.ResponseRecorder, text string) {
	w.t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	status, headers, _ := strings.Cut(head, "\n")
	if strconv.Itoa(rec.Code) != strings.TrimSpace(status) {
		w.t.Errorf("status %d, want %s", rec.Code, status)
	}
	for line := range strings.SplitSeq(headers, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok && rec.Header().Get(name) != value {
			w.t.Errorf("%s is %q, want %q", name, rec.Header().Get(name), value)
		}
	}
	got := strings.TrimSpace(rec.Body.String())
	switch {
	case strings.TrimSpace(body) == "<any>":
	case body == "" || got == "":
		if strings.TrimSpace(body) != got {
			w.t.Errorf("body %q, want %q", got, body)
		}
	default:
		want, err := parseTree(body)
		if err != nil {
			w.t.Fatalf("expected body: %v\n%s", err, body)
		}
		have, err := parseTree(got)
		if err != nil {
			w.t.Fatalf("body is not JSON: %v\n%s", err, got)
		}
		if err := w.matchTree(want, have, ""); err != nil {
			w.t.Errorf("%v\n got %s\nwant %s", err, got, w.expand(body))
		}
	}
}

// tree is JSON with its key order and its numbers as written.
type tree struct {
	token any // json.Delim, string, json.Number, bool, nil
	keys  []string
	items []tree
}

func parseTree(text string) (tree, error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	out, err := parseNode(dec)
	if err == nil && dec.More() {
		err = fmt.Errorf("more than one value")
	}
	return out, err
}

func parseNode(dec *json.Decoder) (n tree, err error) {
	if n.token, err = dec.Token(); err != nil {
		return n, err
	}
	open, ok := n.token.(json.Delim)
	if !ok {
		return n, nil
	}
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return n, err
			}
			n.keys = append(n.keys, key.(string))
		}
		item, err := parseNode(dec)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
	}
	_, err = dec.Token()
	return n, err
}

func (w *world) matchTree(want, have tree, at string) error {
	if pattern, ok := want.token.(string); ok {
		if m := namePattern.FindStringSubmatch(pattern); m != nil {
			return w.matchNamed(m[1], have, at)
		}
		want.token = w.expand(pattern)
	}
	if want.token != have.token || len(want.items) != len(have.items) {
		return fmt.Errorf("%s: got %v, want %v", at, have, want)
	}
	if strings.Join(want.keys, " ") != strings.Join(have.keys, " ") {
		return fmt.Errorf("%s: keys are\n %q, want\n %q", at, have.keys, want.keys)
	}
	for i := range want.items {
		name := strconv.Itoa(i)
		if want.keys != nil {
			name = want.keys[i]
		}
		if err := w.matchTree(want.items[i], have.items[i], at+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) matchNamed(name string, have tree, at string) error {
	switch _, number := have.token.(json.Number); {
	case name == "any", name == "n" && number, name == "redacted" && have.token == redacted:
		return nil
	}
	got, ok := have.token.(string)
	switch {
	case !ok:
		return fmt.Errorf("%s: got %v, want a string", at, have)
	case name == "uuid":
		ok = uuidPattern.MatchString(got)
	case name == "id":
		ok = idPattern.MatchString(got)
	case strings.HasPrefix(name, "app_"):
		ok = appIDPattern.MatchString(got)
		w.vars[name] = got
	case strings.HasPrefix(name, "sa_"):
		ok = subAuthIDPattern.MatchString(got)
		w.vars[name] = got
	case strings.HasPrefix(name, "wh_"):
		ok = webhookPattern.MatchString(got)
		w.vars[name] = got
	case name == "whsec":
		ok = webhookSecretPattern.MatchString(got)
	case strings.HasPrefix(name, "token"):
		ok = tokenPattern.MatchString(got)
		w.vars[name] = got
	default:
		ok = idPattern.MatchString(got)
		w.vars[name] = got
	}
	if !ok {
		return fmt.Errorf("%s: got %q, want <%s>", at, got, name)
	}
	return nil
}
