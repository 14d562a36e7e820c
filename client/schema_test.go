package client

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../internal/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// The types have the very fields of the API's document: one that the document
// gains or loses fails here.
func TestTypesFollowTheDocument(t *testing.T) {
	doc := document(t)
	for _, c := range []struct {
		schema string
		value  any
		// names of the document that the type leaves out on purpose
		without string
	}{
		{"Endpoint", Endpoint{}, "api_id"},
		{"ListedEndpoint", Endpoint{}, "+sip_registration"},
		{"SIPRegistration", Registration{}, ""},
		{"EndpointApplication", EndpointApplication{}, ""},
		{"EndpointCreate", EndpointSpec{}, "app_id +ha1_md5 +ha1_sha256"},
		{"BulkEndpointCreate", EndpointSpec{}, "app_id"},
		{"EndpointUpdate", EndpointPatch{}, lockedOrIgnored(doc, "EndpointUpdate") + " app_id"},
		{"Created", EndpointCreated{}, "api_id message"},
		{"EndpointPut", EndpointState{}, "username app_id"},
		{"Bindings", Bindings{}, "api_id"},
		{"Binding", Binding{}, ""},
		{"FullApplication", Application{}, "api_id"},
		{"ApplicationCreate", ApplicationPatch{}, lockedOrIgnored(doc, "ApplicationCreate") + " subaccount log_incoming_messages"},
		{"ApplicationDelete", Detach{}, ""},
		{"Call", Call{}, ""},
		{"RetrievedCall", Call{}, "api_id"},
		{"Leg", Leg{}, ""},
		{"CallDecision", Decision{}, "api_id"},
		{"CallTarget", Target{}, ""},
		{"Attempt", Attempt{}, ""},
		{"Limits", Limits{}, "api_id"},
		{"LimitsUpdate", Limits{}, ""},
		{"Event", Event{}, ""},
		{"EndpointEvent", EndpointEvent{}, "application resource_uri"},
		{"Webhook", Webhook{}, "api_id"},
		{"ListedWebhook", Webhook{}, ""},
		{"WebhookCreate", WebhookPatch{}, ""},
		{"WebhookUpdate", WebhookPatch{}, lockedOrIgnored(doc, "WebhookUpdate")},
		{"Me", Me{}, "api_id"},
		{"Account", Account{}, "api_id"},
		{"Ban", Ban{}, ""},
		{"SubAccount", SubAccount{}, "api_id"},
		{"SubAccountCreate", SubAccountPatch{}, lockedOrIgnored(doc, "SubAccountCreate") + " is_active"},
		{"Trunk", Trunk{}, "api_id"},
		{"TrunkCreate", TrunkPatch{}, ""},
		{"TrunkUpdate", TrunkPatch{}, lockedOrIgnored(doc, "TrunkUpdate") + " +name"},
		{"Number", Number{}, "api_id"},
		{"NumberCreate", NumberSpec{}, ""},
		{"NumberUpdate", NumberSpec{}, lockedOrIgnored(doc, "NumberUpdate") + " +number"},
		{"SubAccountUpdate", SubAccountPatch{}, lockedOrIgnored(doc, "SubAccountUpdate") + " is_active"},
	} {
		schema := doc.Components.Schemas[c.schema]
		if schema == nil {
			t.Errorf("the document has no %s", c.schema)
			continue
		}
		want := map[string]bool{}
		for name := range schema.Value.Properties {
			want[name] = true
		}
		for _, name := range strings.Fields(c.without) {
			if extra, ok := strings.CutPrefix(name, "+"); ok {
				want[extra] = true
			} else {
				delete(want, name)
			}
		}
		got := fields(reflect.TypeOf(c.value))
		for name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%T lacks %s of the document's %s", c.value, name, c.schema)
			}
		}
		for _, name := range got {
			if !want[name] {
				t.Errorf("%T has %s, which the document's %s has not", c.value, name, c.schema)
			}
		}
	}
}

func fields(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// lockedOrIgnored lists what a body may hold and cannot change.
func lockedOrIgnored(doc *openapi3.T, schema string) string {
	var names []string
	for name, property := range doc.Components.Schemas[schema].Value.Properties {
		d := property.Value.Description
		if strings.HasPrefix(d, "Passed over") || d == "Locked." {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
