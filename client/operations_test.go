package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// operations is how the client makes each operation of the API's document, with
// as much as it can send.
var operations = map[string]func(context.Context, *Client) error{
	"listEndpoints": func(ctx context.Context, c *Client) error {
		return walk(c.Endpoints(ctx, EndpointQuery{Username: "a", UsernameContains: "a", UsernameStartsWith: "a", Alias: "a", AliasContains: "a",
			AliasStartsWith: "a", Application: "12345678901234500", HasApplication: new(true), Registered: new(true), SubAccount: "SA_ABCD1234"}))
	},
	"createEndpoint": func(ctx context.Context, c *Client) error {
		_, err := c.CreateEndpoint(Once(ctx, "key"), EndpointSpec{Username: "carol", Password: "password", Alias: "Carol", Application: "12345678901234500",
			Domain: "sip.example.com", SubAccount: "SA_ABCD1234", AllowVoice: new(true), MaxContacts: 2, ExpiresAt: new(time.Now())})
		return err
	},
	"createEndpoints": func(ctx context.Context, c *Client) error {
		_, err := c.CreateEndpoints(ctx, []EndpointSpec{{Username: "carol", HA1MD5: strings.Repeat("0", 32), HA1SHA256: strings.Repeat("0", 64)}}, true)
		return err
	},
	"putEndpoint": func(ctx context.Context, c *Client) error {
		_, _, err := c.PutEndpoint(ctx, "carol", EndpointState{Password: "password", PasswordOverlap: 1, Application: new(""), AllowApps: new(false)})
		return err
	},
	"retrieveEndpoint": func(ctx context.Context, c *Client) error { _, err := c.Endpoint(ctx, endpointID); return err },
	"updateEndpoint": func(ctx context.Context, c *Client) error {
		return c.UpdateEndpoint(ctx, endpointID, EndpointPatch{Password: new("password"), PasswordOverlap: new(60), Application: new("")})
	},
	"deleteEndpoint": func(ctx context.Context, c *Client) error { return c.DeleteEndpoint(ctx, endpointID) },
	"listBindings":   func(ctx context.Context, c *Client) error { _, err := c.Bindings(ctx, endpointID); return err },
	"endBindings":    func(ctx context.Context, c *Client) error { return c.EndBindings(ctx, endpointID) },
	"endBinding":     func(ctx context.Context, c *Client) error { return c.EndBinding(ctx, endpointID, "b") },
	"traceEndpoint":  func(ctx context.Context, c *Client) error { _, err := c.Trace(ctx, endpointID, "text"); return err },
	"canCall": func(ctx context.Context, c *Client) error {
		_, err := c.CanCall(ctx, endpointID, "bob", "audio")
		return err
	},
	"getEndpointLimits": func(ctx context.Context, c *Client) error { _, err := c.EndpointLimits(ctx, endpointID); return err },
	"setEndpointLimits": func(ctx context.Context, c *Client) error {
		return c.SetEndpointLimits(ctx, endpointID, Limits{ConcurrentCalls: new(2), NumberPrefixes: []string{"+49"}})
	},
	"getAccountLimits": func(ctx context.Context, c *Client) error { _, err := c.AccountLimits(ctx); return err },
	"setAccountLimits": func(ctx context.Context, c *Client) error { return c.SetAccountLimits(ctx, Limits{}) },

	"listApplications": func(ctx context.Context, c *Client) error {
		return walk(c.Applications(ctx, ApplicationQuery{Name: "a", NameContains: "a", SubAccount: "SA_ABCD1234"}))
	},
	"createApplication": func(ctx context.Context, c *Client) error {
		_, err := c.CreateApplication(ctx, ApplicationPatch{Name: new("a"), AnswerURL: new("https://example.com/"), DefaultNumber: new(true)})
		return err
	},
	"retrieveApplication": func(ctx context.Context, c *Client) error { _, err := c.Application(ctx, applicationID); return err },
	"updateApplication": func(ctx context.Context, c *Client) error {
		return c.UpdateApplication(ctx, applicationID, ApplicationPatch{HangupURL: new("https://example.com/")})
	},
	"deleteApplication": func(ctx context.Context, c *Client) error {
		return c.DeleteApplication(ctx, applicationID, Detach{Repoint: applicationID})
	},

	"listRecords": func(ctx context.Context, c *Client) error {
		return walk(c.Records(ctx, RecordQuery{From: "alice", To: "bob", Start: time.Now(), End: time.Now(), Endpoint: endpointID, Cause: "NORMAL_CLEARING"}))
	},
	"retrieveRecord": func(ctx context.Context, c *Client) error { _, err := c.Record(ctx, callID); return err },
	"listCalls":      func(ctx context.Context, c *Client) error { return walk(c.Calls(ctx)) },
	"retrieveCall":   func(ctx context.Context, c *Client) error { _, err := c.Call(ctx, callID); return err },
	"endCall":        func(ctx context.Context, c *Client) error { return c.EndCall(ctx, callID) },

	"listSubAccounts": func(ctx context.Context, c *Client) error { return walk(c.SubAccounts(ctx, true)) },
	"createSubAccount": func(ctx context.Context, c *Client) error {
		_, err := c.CreateSubAccount(ctx, SubAccountPatch{Name: new("a"), RateLimit: new(1), Permissions: []byte(`{"a":1}`)})
		return err
	},
	"retrieveSubAccount": func(ctx context.Context, c *Client) error { _, err := c.SubAccount(ctx, "SA_ABCD1234"); return err },
	"updateSubAccount": func(ctx context.Context, c *Client) error {
		_, err := c.UpdateSubAccount(ctx, "SA_ABCD1234", SubAccountPatch{Enabled: new(false)})
		return err
	},
	"deleteSubAccount": func(ctx context.Context, c *Client) error { return c.DeleteSubAccount(ctx, "SA_ABCD1234", true) },
	"retrieveAccount":  func(ctx context.Context, c *Client) error { _, err := c.Describe(ctx); return err },
	"me":               func(ctx context.Context, c *Client) error { _, err := c.Me(ctx); return err },
	"rotateToken":      func(ctx context.Context, c *Client) error { _, err := c.RotateToken(ctx); return err },

	"streamEvents": func(ctx context.Context, c *Client) error {
		return walk(c.Events(ctx, EventQuery{Types: []string{"endpoint.*", "call.ended"}, After: "01K8NWJ7C0A3T6VRZ0V2M1Q4XB"}))
	},
	"listWebhooks":    func(ctx context.Context, c *Client) error { _, err := c.Webhooks(ctx); return err },
	"retrieveWebhook": func(ctx context.Context, c *Client) error { _, err := c.Webhook(ctx, "WH_1"); return err },
	"createWebhook": func(ctx context.Context, c *Client) error {
		_, err := c.CreateWebhook(ctx, WebhookPatch{URL: new("https://example.com/"), Events: []string{"call.*"}, Enabled: new(true)})
		return err
	},
	"updateWebhook": func(ctx context.Context, c *Client) error {
		return c.UpdateWebhook(ctx, "WH_1", WebhookPatch{Enabled: new(false)})
	},
	"deleteWebhook": func(ctx context.Context, c *Client) error { return c.DeleteWebhook(ctx, "WH_1") },
	"redeliverWebhook": func(ctx context.Context, c *Client) error {
		return c.RedeliverAfter(ctx, "WH_1", "01K8NWJ7C0A3T6VRZ0V2M1Q4XB")
	},

	"listBans": func(ctx context.Context, c *Client) error { _, _, err := c.Bans(ctx); return err },
	"liftBan":  func(ctx context.Context, c *Client) error { return c.LiftBan(ctx, "b") },
	"liftBans": func(ctx context.Context, c *Client) error { return c.LiftBans(ctx) },

	"listTrunks":    func(ctx context.Context, c *Client) error { return walk(c.Trunks(ctx)) },
	"retrieveTrunk": func(ctx context.Context, c *Client) error { _, err := c.Trunk(ctx, "carrier"); return err },
	"createTrunk": func(ctx context.Context, c *Client) error {
		_, err := c.CreateTrunk(ctx, TrunkPatch{Name: new("carrier"), URI: new("sip:carrier.example"), Transport: new("tls"), Username: new("us"),
			Password: new("secret"), Register: new(true), RegisterExpires: new(600), Prefixes: &[]string{"+49"}, Strip: new(1), Prepend: new("00"),
			CallerID: new("+4930100"), CallerIDIn: new("from"), Priority: new(1), Weight: new(2), MaxCalls: new(30), Networks: &[]string{"192.0.2.7"},
			TLSName: new("*")})
		return err
	},
	"updateTrunk": func(ctx context.Context, c *Client) error {
		return c.UpdateTrunk(ctx, "carrier", TrunkPatch{MaxCalls: new(60), Prefixes: &[]string{}})
	},
	"deleteTrunk":    func(ctx context.Context, c *Client) error { return c.DeleteTrunk(ctx, "carrier") },
	"listNumbers":    func(ctx context.Context, c *Client) error { return walk(c.Numbers(ctx)) },
	"retrieveNumber": func(ctx context.Context, c *Client) error { _, err := c.Number(ctx, "+4930100"); return err },
	"createNumber": func(ctx context.Context, c *Client) error {
		_, err := c.CreateNumber(ctx, NumberSpec{Number: "+4930100", Endpoint: "desk"})
		return err
	},
	"updateNumber": func(ctx context.Context, c *Client) error {
		return c.UpdateNumber(ctx, "+4930100", NumberSpec{Application: "12345678901234500"})
	},
	"deleteNumber": func(ctx context.Context, c *Client) error { return c.DeleteNumber(ctx, "+4930100") },
}

// without says why the client lacks an operation.
var without = map[string]string{
	"replaceEndpoint":          "updateEndpoint does the same",
	"patchEndpoint":            "updateEndpoint does the same",
	"replaceApplication":       "updateApplication does the same",
	"patchApplication":         "updateApplication does the same",
	"replaceWebhook":           "updateWebhook does the same",
	"patchWebhook":             "updateWebhook does the same",
	"replaceTrunk":             "updateTrunk does the same",
	"patchTrunk":               "updateTrunk does the same",
	"replaceNumber":            "updateNumber does the same",
	"patchNumber":              "updateNumber does the same",
	"listSubAccountsLegacy":    "listSubAccounts does the same, for clients of today",
	"createSubAccountLegacy":   "createSubAccount does",
	"retrieveSubAccountLegacy": "retrieveSubAccount does",
	"updateSubAccountLegacy":   "updateSubAccount does",
	"deleteSubAccountLegacy":   "deleteSubAccount does",
	"healthz":                  "it is for what watches the server",
	"readyz":                   "it is for what watches the server",
	"metrics":                  "it is for what watches the server",
	"openapi":                  "it is for tools",
	"docs":                     "it is for people",
}

const (
	endpointID    = "187654321000001"
	applicationID = "12345678901234500"
	callID        = "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"
)

func walk[T any](all iter.Seq2[T, error]) error {
	for _, err := range all {
		if err != nil {
			return err
		}
		return nil
	}
	return nil
}

// The client makes every operation of the API's document, in requests that the
// document allows, and reads the answers that it gives as examples.
func TestEveryOperation(t *testing.T) {
	doc := document(t)
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			name := operation.OperationID
			do, made := operations[name]
			if why := without[name]; made == (why != "") {
				t.Errorf("%s: made %v, and left out because %q", name, made, why)
			}
			if !made {
				continue
			}
			t.Run(name, func(t *testing.T) {
				requests := 0
				c := serve(t, func(w http.ResponseWriter, r *http.Request) {
					requests++
					answer(t, w, r, &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: operation})
				})
				c.AdminToken = "admin"
				if err := do(t.Context(), c); err != nil || requests != 1 {
					t.Errorf("%v after %d requests", err, requests)
				}
			})
		}
	}
	for name := range operations {
		if !strings.Contains(ids(doc), " "+name+" ") {
			t.Errorf("the document has no %s", name)
		}
	}
}

func ids(doc *openapi3.T) string {
	all := " "
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			all += operation.OperationID + " "
		}
	}
	return all
}

// answer checks that a request is one of the operation, and gives the example of
// its success.
func answer(t *testing.T, w http.ResponseWriter, r *http.Request, route *routers.Route) {
	t.Helper()
	params, fits := parameters(route.Path, r.URL.Path)
	if !fits || r.Method != route.Method {
		t.Errorf("%s %s is not %s %s", r.Method, r.URL.Path, route.Method, route.Path)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, ExcludeRequestBody: len(body) == 0, MultiError: true}})
	if err != nil {
		t.Errorf("%s %s %s: %v", r.Method, r.URL, body, err)
	}
	if key := r.Header.Get("Idempotency-Key"); (key != "") != (route.Operation.OperationID == "createEndpoint") {
		t.Errorf("Idempotency-Key %q", key)
	}
	if route.Operation.OperationID == "streamEvents" {
		_, _ = io.WriteString(w, "data: {}\n\n")
		return
	}
	for _, status := range []int{200, 201, 202, 204} {
		response := route.Operation.Responses.Status(status)
		if response == nil {
			continue
		}
		w.WriteHeader(status)
		if content := response.Value.Content.Get("application/json"); content != nil {
			if err := json.NewEncoder(w).Encode(example(content)); err != nil {
				t.Error(err)
			}
		}
		return
	}
	t.Error("the document knows no success")
}

func example(content *openapi3.MediaType) any {
	if content.Example != nil {
		return content.Example
	}
	for name, one := range content.Examples {
		if name != "slim" { // the client does not ask for that
			return one.Value.Value
		}
	}
	return struct{}{}
}

// parameters takes those of a path template out of a path.
func parameters(template, path string) (params map[string]string, fits bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params = map[string]string{}
	for i := range want {
		if strings.HasPrefix(want[i], "{") {
			params[strings.Trim(want[i], "{}")] = got[i]
		} else if want[i] != got[i] {
			return nil, false
		}
	}
	return params, true
}
