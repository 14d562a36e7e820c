package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// document is openapi.yaml, loaded and validated once, examples included.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(openapiDocument)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background(), openapi3.EnableExamplesValidation())
})

// pathOf finds the document's path of a request, and its parameters.
func pathOf(doc *openapi3.T, path string) (template string, params map[string]string) {
	path = strings.Trim(strings.TrimPrefix(path, "/api"), "/")
	got := strings.Split(path, "/")
	for _, template := range doc.Paths.InMatchingOrder() {
		want := strings.Split(strings.Trim(template, "/"), "/")
		params := map[string]string{}
		if len(want) != len(got) {
			continue
		}
		fits := true
		for i := range want {
			if strings.HasPrefix(want[i], "{") {
				params[strings.Trim(want[i], "{}")] = got[i]
			} else {
				fits = fits && want[i] == got[i]
			}
		}
		if fits {
			return template, params
		}
	}
	return "", nil
}

// conforms checks an answer against openapi.yaml, and where it is a success
// the request too: the document must not be narrower than the server.
func conforms(r *http.Request, sent string, rec *httptest.ResponseRecorder) error {
	doc, err := document()
	if err != nil {
		return err
	}
	template, params := pathOf(doc, r.URL.EscapedPath())
	if template == "" {
		return outside(doc, rec, http.StatusNotFound)
	}
	item := doc.Paths.Value(template)
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	operation := item.GetOperation(method)
	if operation == nil {
		return outside(doc, rec, http.StatusMethodNotAllowed)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		ExcludeWriteOnlyValidations: true}
	copied := r.Clone(context.Background())
	copied.Body = io.NopCloser(strings.NewReader(sent))
	in := &openapi3filter.RequestValidationInput{Request: copied, PathParams: params, Options: options,
		Route: &routers.Route{Spec: doc, Path: template, PathItem: item, Method: method, Operation: operation}}
	isJSON := sent == "" || strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	if isJSON && rec.Code < 300 {
		options.ExcludeRequestBody = sent == ""
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return fmt.Errorf("the request was served: %w", err)
		}
	}
	if r.Method == http.MethodHead {
		return nil
	}
	if rec.Code == http.StatusNoContent {
		if rec.Body.Len() > 0 {
			return errors.New("a 204 with a body")
		}
	}
	options.ExcludeResponseBody = !strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json")
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Options: options,
		Body: io.NopCloser(bytes.NewReader(rec.Body.Bytes()))})
}

// outside checks an answer that belongs to no operation of the document.
func outside(doc *openapi3.T, rec *httptest.ResponseRecorder, status int) error {
	if rec.Code != status {
		return fmt.Errorf("not in the document, but answered with %d", rec.Code)
	}
	var body any
	if rec.Body.Len() == 0 {
		return nil // HEAD
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		return err
	}
	return doc.Components.Schemas["Error"].Value.VisitJSON(body)
}

func TestDocumentIsValid(t *testing.T) {
	if _, err := document(); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentIsOpenAPI31: nullable is a word of 3.0, which 3.1 passes over.
func TestDocumentIsOpenAPI31(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("the document is OpenAPI %s", doc.OpenAPI)
	}
	if bytes.Contains(openapiDocument, []byte("nullable:")) {
		t.Error(`the document says nullable: write type: [string, "null"]`)
	}
}

// TestDocumentAndRoutesAgree: every route is in the document and vice versa.
func TestDocumentAndRoutesAgree(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	served, written := map[string]bool{}, map[string]bool{}
	for _, r := range routes {
		for method := range r.methods {
			served[method+" "+r.template] = true
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			written[method+" "+path] = true
			if operation.Summary == "" || operation.OperationID == "" {
				t.Errorf("%s %s lacks a summary or an operationId", method, path)
			}
		}
	}
	if !maps.Equal(served, written) {
		t.Errorf("served  %q\nwritten %q", slices.Sorted(maps.Keys(served)), slices.Sorted(maps.Keys(written)))
	}
}

// What linters find and validation does not: components that nothing refers to,
// arrays of nobody knows what, tags that are not introduced, and parameters
// without a word.
func TestDocumentIsTidy(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	c := doc.Components
	for kind, names := range map[string]iter.Seq[string]{
		"schemas": maps.Keys(c.Schemas), "responses": maps.Keys(c.Responses), "parameters": maps.Keys(c.Parameters), "headers": maps.Keys(c.Headers),
	} {
		for name := range names {
			if !bytes.Contains(openapiDocument, []byte(`"#/components/`+kind+"/"+name+`"`)) {
				t.Errorf("nothing refers to the %s %s", kind, name)
			}
		}
	}
	for name, schema := range c.Schemas {
		arraysHaveItems(t, name, schema)
	}
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		tags[tag.Name] = true
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			if len(operation.Tags) != 1 || !tags[operation.Tags[0]] {
				t.Errorf("%s %s has the tags %q", method, path, operation.Tags)
			}
			for _, p := range slices.Concat(item.Parameters, operation.Parameters) {
				if p.Value.Description == "" && p.Value.In == "query" {
					t.Errorf("%s %s: nothing is said of %s", method, path, p.Value.Name)
				}
			}
		}
	}
}

func arraysHaveItems(t *testing.T, at string, schema *openapi3.SchemaRef) {
	t.Helper()
	if schema == nil || schema.Ref != "" && strings.Contains(at, "/") {
		return
	}
	if schema.Value.Type.Includes("array") && schema.Value.Items == nil {
		t.Errorf("%s: an array of what?", at)
	}
	arraysHaveItems(t, at+"/items", schema.Value.Items)
	for name, property := range schema.Value.Properties {
		arraysHaveItems(t, at+"/"+name, property)
	}
}

// TestCheckerNotices: the check that every other test relies on does fail on
// an answer that the document does not know.
func TestCheckerNotices(t *testing.T) {
	get := httptest.NewRequest("GET", "/healthz", nil)
	for name, c := range map[string]struct {
		r    *http.Request
		code int
		body string
	}{
		"unknown path":   {httptest.NewRequest("GET", "/nowhere", nil), 200, `{}`},
		"unknown status": {get, 418, `{"api_id":"550e8400-e29b-41d4-a716-446655440000","error":"teapot"}`},
		"unknown key":    {get, 200, `{"api_id":"550e8400-e29b-41d4-a716-446655440000","status":"ok","more":1}`},
		"missing key":    {get, 200, `{"status":"ok"}`},
		"wrong type":     {get, 200, `{"api_id":"550e8400-e29b-41d4-a716-446655440000","status":1}`},
	} {
		rec := httptest.NewRecorder()
		rec.Header().Set("Content-Type", "application/json")
		rec.Header().Set("X-Request-Id", "550e8400-e29b-41d4-a716-446655440000")
		rec.WriteHeader(c.code)
		_, _ = rec.WriteString(c.body)
		if conforms(c.r, "", rec) == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}
