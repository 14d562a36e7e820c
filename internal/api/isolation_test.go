package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// belongings is what one account has, by the names that routes use.
type belongings map[string]string

// furnish gives an account one of everything.
func (w *world) furnish(name string) belongings {
	w.t.Helper()
	var app, sub, below struct {
		AppID  string `json:"app_id"`
		AuthID string `json:"auth_id"`
	}
	path := "/v1/Account/" + w.vars[name] + "/"
	for _, c := range []struct {
		path, body string
		into       any
	}{
		{path + "Application/", `{"app_name":"` + name + `","answer_url":"https://example.com/` + name + `"}`, &app},
		{path + "Subaccount/", `{"name":"below ` + name + `"}`, &sub},
		{path + "Subaccount/", `{"name":"empty ` + name + `"}`, &below},
	} {
		rec := w.do(w.request(name, "POST", c.path, c.body))
		if err := json.Unmarshal(rec.Body.Bytes(), c.into); err != nil || rec.Code != 201 {
			w.t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	var hook struct {
		ID string `json:"webhook_id"`
	}
	rec := w.do(w.request(name, "POST", path+"Webhook/", `{"url":"https://example.com/`+name+`"}`))
	if err := json.Unmarshal(rec.Body.Bytes(), &hook); err != nil || rec.Code != 201 {
		w.t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	endpoint := w.create(name, "of_"+name)
	pairs := map[string]string{"id": "b-" + name, "contact": "sip:x@192.0.2.1:5060", "via": "udp", "from": "192.0.2.1:5060"}
	b, err := bindingFrom(pairs, w.now())
	if err != nil {
		w.t.Fatal(err)
	}
	w.bindings.register(endpoint, b)
	owner, _ := account.ParseEndpointID(endpoint)
	call := w.call(map[string]string{"of": name, "endpoint": endpoint, "from": "sip:of_" + name + "@sip.example.com", "to": "sip:nobody@sip.example.com"})
	if err := w.records.SaveRecords(context.Background(), []*callrecord.Record{ended(call)}); err != nil || call.Endpoint != owner {
		w.t.Fatal(err)
	}
	w.calls.list = append(w.calls.list, call)
	return belongings{"call_uuid": call.ID.String(), "auth_id": w.vars[name], "endpoint_id": endpoint, "app_id": app.AppID, "sub_auth_id": sub.AuthID, "binding_id": "b-" + name, "webhook_id": hook.ID, "username": "of_" + name}
}

// snapshot is everything that is stored, and every token's worth.
func (w *world) snapshot() string {
	w.t.Helper()
	var out strings.Builder
	accounts, err := w.service.Accounts(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range accounts {
		token, err := w.store.Token(context.Background(), a.AuthID)
		apps, _, err2 := w.store.ApplicationPage(context.Background(), a.AuthID, account.ApplicationQuery{Limit: 100})
		if err != nil || err2 != nil {
			w.t.Fatal(err, err2)
		}
		hooks, err := w.webhooks.Webhooks(context.Background(), a)
		if err != nil {
			w.t.Fatal(err)
		}
		records, _, err := w.records.Records(context.Background(), a.AuthID, callrecord.Query{Limit: 100})
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintln(&out, a, token, apps, len(records), len(w.calls.Live(a.AuthID)), hooks, w.webhooks.again)
	}
	err = w.store.EachEndpoint(context.Background(), func(e account.Endpoint) error {
		fmt.Fprintln(&out, e, w.bindings.Bindings(e.ID))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.String()
}

// withoutID is an answer but for what differs in every one and for the ids
// that the caller itself wrote into the path.
func withoutID(rec *httptest.ResponseRecorder, written belongings) string {
	body := regexp.MustCompile(`"api_id":"[^"]*"`).ReplaceAllString(rec.Body.String(), "")
	for name, id := range written {
		body = strings.ReplaceAll(body, id, "{"+name+"}")
	}
	return fmt.Sprint(rec.Code, " ", body)
}

// TestIsolation tries every method of every route with an account's key on
// another's path and with another's things on its own path. Nothing of the
// other's changes or shows, and the answer is the one about things that do not
// exist at all.
func TestIsolation(t *testing.T) { onEveryStore(t, testIsolation) }

func testIsolation(t *testing.T, newWorld func(*testing.T) *world) {
	w := newWorld(t)
	mine, theirs := w.furnish("main"), w.furnish("other")
	nobodys := belongings{"auth_id": "MA_00000000", "endpoint_id": "100000000000000", "app_id": "10000000000000000",
		"sub_auth_id": "SA_00000000", "binding_id": "b-none", "username": "of_nobody", "webhook_id": "WH_AAAAAAAAAAAAAAAAAAAA", "call_uuid": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"}
	before := w.snapshot()
	bodies := []string{"", `{}`, `{"name":"taken over","app_name":"stolen","alias":"stolen","enabled":false}`,
		`{"event_id":"01K8NWJ7C0A3T6VRZ0V2M1Q4XB"}`, `{"url":"https://example.org/stolen"}`}
	tried := 0
	for _, route := range routes {
		if route.public || route.admin || !strings.Contains(route.template, "{") {
			continue
		}
		for method := range route.methods {
			for _, body := range bodies {
				if method == http.MethodGet && body != "" {
					continue
				}
				// On the other's path: all of it is not found.
				for _, key := range []string{"main", "sub"} {
					foreign := w.do(w.request(key, method, fill(route.template, theirs), body))
					if unknown := w.do(w.request(key, method, fill(route.template, nobodys), body)); withoutID(foreign, theirs) != withoutID(unknown, nobodys) || foreign.Code != 404 {
						t.Errorf("%s on %s %s: %d %s, of nobody %d %s", key, method, route.template, foreign.Code, foreign.Body, unknown.Code, unknown.Body)
					}
					tried++
				}
				// The other's things, one by one, on the own path.
				for _, part := range []string{"endpoint_id", "app_id", "sub_auth_id", "binding_id", "call_uuid", "webhook_id"} {
					if !strings.Contains(route.template, "{"+part+"}") {
						continue
					}
					mixed, absent := with(mine, part, theirs[part]), with(mine, part, nobodys[part])
					got := w.do(w.request("main", method, fill(route.template, mixed), body))
					want := w.do(w.request("main", method, fill(route.template, absent), body))
					if withoutID(got, mixed) != withoutID(want, absent) || got.Code < 400 {
						t.Errorf("%s %s with another's %s: %d %s, want %d %s", method, route.template, part, got.Code, got.Body, want.Code, want.Body)
					}
					tried++
				}
			}
		}
	}
	if after := w.snapshot(); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
	if tried < 100 {
		t.Errorf("only %d tries", tried)
	}
}

// TestIsolationOfReferences: another's things cannot be named in bodies and
// queries either, and lists hold and count nothing of the other's.
func TestIsolationOfReferences(t *testing.T) { onEveryStore(t, testIsolationOfReferences) }

func testIsolationOfReferences(t *testing.T, newWorld func(*testing.T) *world) {
	w := newWorld(t)
	mine, theirs := w.furnish("main"), w.furnish("other")
	before := w.snapshot()
	path := "/v1/Account/" + mine["auth_id"] + "/"
	for _, c := range []struct{ method, path, body string }{
		{"POST", path + "Endpoint/", `{"username":"x","password":"` + secret + `-horse","application":"` + theirs["app_id"] + `"}`},
		{"POST", path + "Endpoint/", `{"username":"x","password":"` + secret + `-horse","sub_account":"` + theirs["sub_auth_id"] + `"}`},
		{"POST", path + "Endpoint/" + mine["endpoint_id"] + "/", `{"application":"` + theirs["app_id"] + `"}`},
		{"POST", path + "Application/", `{"app_name":"x","answer_url":"https://example.com","sub_account":"` + theirs["sub_auth_id"] + `"}`},
		{"DELETE", path + "Application/" + mine["app_id"] + "/?new_endpoint_application=" + theirs["app_id"], ""},
	} {
		if rec := w.do(w.request("main", c.method, c.path, c.body)); rec.Code != 400 {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, rec.Code, rec.Body)
		}
	}
	for _, list := range []string{"Endpoint/", "Endpoint/?sub_account=" + theirs["sub_auth_id"], "Endpoint/?application_id__exact=" + theirs["app_id"],
		"Endpoint/?sip_registered=true", "Application/", "Application/?sub_account=" + theirs["auth_id"], "Subaccount/", "Call/", "cdr",
		"cdr?format=csv", "cdr?endpoint_id=" + theirs["endpoint_id"], "cdr?from=of_other"} {
		rec := w.do(w.request("main", "GET", path+list, ""))
		for name, id := range theirs {
			if rec.Code != 200 || strings.Contains(rec.Body.String(), `"`+id) {
				t.Errorf("%s: %d, shows the other's %s: %s", list, rec.Code, name, rec.Body)
			}
		}
	}
	rec := w.do(w.request("main", "GET", path+"Endpoint/?sip_registered=true", ""))
	var list listJSON
	if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil || list.Meta.TotalCount != 1 {
		t.Errorf("the other's are counted: %s", rec.Body)
	}
	if after := w.snapshot(); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
}

func with(b belongings, name, id string) belongings {
	out := belongings{name: id}
	for k, v := range b {
		if k != name {
			out[k] = v
		}
	}
	return out
}

func fill(template string, b belongings) string {
	for name, id := range b {
		template = strings.ReplaceAll(template, "{"+name+"}", id)
	}
	return template
}
