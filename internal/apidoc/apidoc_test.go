package apidoc

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const small = `
info: {title: small, version: "3", description: "First **bold** & x.\n\nThen ` + "`code`" + `."}
tags: [{name: Some Things, description: "About <things>."}]
paths:
  /things/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}
    put:
      operationId: putThing
      tags: [Some Things]
      summary: Put a thing
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}, example: {b: 1, a: "<"}}}}
      responses: {"200": {description: Done., content: {application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Thing"}}}}}, "404": {description: None.}}
components:
  schemas:
    Thing: {type: object, required: [b], properties: {b: {type: string, nullable: true, enum: [x, "y"], description: Which.}, a: {oneOf: [{type: string}, {$ref: "#/components/schemas/Thing"}]}}}
`

func TestRender(t *testing.T) {
	html, err := Render([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<p>First <strong>bold</strong> &amp; x.</p><p>Then <code>code</code>.</p>",
		"<p>About &lt;things&gt;.</p>",
		`<article id="putThing">`,
		"integer, at least 1 <em>in path</em>",
		`<a href="#schema-Thing">Thing</a>, as application/json`,
		"string or null: x, y",
		`string or <a href="#schema-Thing">Thing</a>`,
		`array of <a href="#schema-Thing">Thing</a>`,
		"&#34;b&#34;: 1,\n  &#34;a&#34;: &#34;&lt;&#34;", // keys in their order
	} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %s:\n%s", want, html)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no YAML":     "a: [",
		"no mapping":  "- a",
		"no such tag": "paths: {/x: {get: {tags: [Nowhere]}}}",
	} {
		if _, err := Render([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The API's own page: every link leads somewhere on it, nothing is fetched from
// elsewhere, and no operation is without its words.
func TestOwnDocument(t *testing.T) {
	text, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	html, err := Render(text)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(string(html), -1) {
		if ids[m[1]] {
			t.Errorf("two elements have the id %s", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?:href|src)="([^"]+)"`).FindAllStringSubmatch(string(html), -1) {
		if at, ok := strings.CutPrefix(m[1], "#"); ok && !ids[at] || !ok && m[1] != "/openapi.yaml" {
			t.Errorf("a link to %s", m[1])
		}
	}
	if n := strings.Count(string(html), "<article"); n < 60 {
		t.Errorf("%d operations and schemas", n)
	}
	if strings.Contains(string(html), "<h3></h3>") || strings.Contains(string(html), "<script") {
		t.Error("an operation without a summary, or a script")
	}
}
