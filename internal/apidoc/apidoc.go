// Package apidoc makes a page for people of an OpenAPI document: operations by
// tag, with their parameters, bodies, answers and examples. The page is one
// HTML file without scripts and without anything to fetch. It validates nothing
// and serves nothing.
package apidoc

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"prose": prose}).Parse(pageText))

// page is what the template shows.
type page struct {
	Title, Version, Description string
	Groups                      []group
	Schemas                     []schema
}

type group struct {
	ID, Name, Description string
	Operations            []operation
}

type operation struct {
	ID, Method, Path, Summary, Description string
	Public                                 bool
	Parameters                             []field
	Body                                   *body
	Answers                                []answer
}

// body is a request's content; its media types share one schema.
type body struct {
	MediaTypes []string
	Type       template.HTML
	Fields     []field
	Example    string
}

type answer struct {
	Status, Description string
	Type                template.HTML
	Example             string
	Refusal             bool // 4xx or 5xx
}

type schema struct {
	Name, Description string
	Type              template.HTML // of one that is no object
	Fields            []field
}

// field is a parameter or a property.
type field struct {
	Name, In, Description string
	Type                  template.HTML
	Required              bool
}

var methods = []string{"get", "post", "put", "patch", "delete"}

// Render makes the page of an OpenAPI 3 document in YAML.
func Render(document []byte) ([]byte, error) {
	doc, err := parse(document)
	if err != nil {
		return nil, fmt.Errorf("apidoc: %w", err)
	}
	info := doc.at("info")
	p := page{Title: info.at("title").text(), Version: info.at("version").text(), Description: info.at("description").text()}
	for _, tag := range doc.at("tags").items() {
		name := tag.at("name").text()
		p.Groups = append(p.Groups, group{ID: anchor(name), Name: name, Description: tag.at("description").text()})
	}
	for path, item := range doc.at("paths").each() {
		for _, method := range methods {
			op := item.at(method)
			if !op.there() {
				continue
			}
			tag := op.at("tags").items()
			i := slices.IndexFunc(p.Groups, func(g group) bool { return len(tag) > 0 && g.Name == tag[0].text() })
			if i < 0 {
				return nil, fmt.Errorf("apidoc: %s %s has no tag of the document's", method, path)
			}
			p.Groups[i].Operations = append(p.Groups[i].Operations, describe(method, path, item, op))
		}
	}
	for name, s := range doc.at("components").at("schemas").each() {
		p.Schemas = append(p.Schemas, schema{Name: name, Description: s.at("description").text(), Type: typeOf(s), Fields: properties(s)})
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("apidoc: %w", err)
	}
	return out.Bytes(), nil
}

func describe(method, path string, item, op node) operation {
	o := operation{ID: op.at("operationId").text(), Method: strings.ToUpper(method), Path: path,
		Summary: op.at("summary").text(), Description: op.at("description").text()}
	if security := op.at("security"); security.there() && len(security.items()) == 0 {
		o.Public = true
	}
	for _, p := range append(item.at("parameters").items(), op.at("parameters").items()...) {
		o.Parameters = append(o.Parameters, field{Name: p.at("name").text(), In: p.at("in").text(), Description: p.at("description").text(),
			Type: typeOf(p.at("schema")), Required: p.at("required").text() == "true"})
	}
	if content := op.at("requestBody").at("content"); content.there() {
		b := &body{}
		for mediaType, c := range content.each() {
			b.MediaTypes = append(b.MediaTypes, mediaType)
			if b.Type == "" {
				b.Type, b.Fields = typeOf(c.at("schema")), properties(c.at("schema").target())
			}
			if b.Example == "" {
				b.Example = example(c)
			}
		}
		o.Body = b
	}
	for status, r := range op.at("responses").each() {
		a := answer{Status: status, Description: r.at("description").text(), Refusal: status >= "4"}
		for mediaType, c := range r.at("content").each() {
			a.Type, a.Example = typeOf(c.at("schema")), example(c)
			if mediaType != "application/json" && a.Type == "" {
				a.Type = template.HTML(template.HTMLEscapeString(mediaType))
			}
		}
		o.Answers = append(o.Answers, a)
	}
	return o
}

// properties lists an object's fields.
func properties(s node) (fields []field) {
	var required []string
	for _, name := range s.at("required").items() {
		required = append(required, name.text())
	}
	for name, p := range s.at("properties").each() {
		fields = append(fields, field{Name: name, Type: typeOf(p), Description: note(p), Required: slices.Contains(required, name)})
	}
	return fields
}

// note is a property's own description, or that of the schema it refers to.
func note(p node) string {
	if text := p.at("description").text(); text != "" {
		return text
	}
	return p.target().at("description").text()
}

// example writes the example of a media type as JSON; of several the first.
func example(content node) string {
	value := content.at("example")
	if !value.there() {
		for _, e := range content.at("examples").each() {
			value = e.at("value")
			break
		}
	}
	if !value.there() {
		return ""
	}
	var out bytes.Buffer
	value.writeJSON(&out)
	var indented bytes.Buffer
	if json.Indent(&indented, out.Bytes(), "", "  ") != nil {
		return value.text() // no JSON, as an example of a CSV
	}
	return indented.String()
}

// typeOf says in a few words what a schema takes, with links to those that
// have a name.
func typeOf(s node) template.HTML {
	if name := s.ref(); name != "" {
		text := template.HTMLEscapeString(name)
		return template.HTML(`<a href="#schema-` + text + `">` + text + `</a>`)
	}
	for _, key := range []string{"oneOf", "anyOf", "allOf"} {
		if all := s.at(key).items(); len(all) > 0 {
			var parts []string
			for _, one := range all {
				parts = append(parts, string(typeOf(one)))
			}
			return template.HTML(strings.Join(parts, " or "))
		}
	}
	kind := s.at("type").text()
	if all := s.at("type").items(); len(all) > 0 { // OpenAPI 3.1
		var parts []string
		for _, one := range all {
			parts = append(parts, one.text())
		}
		kind = strings.Join(parts, " or ")
	}
	if kind == "array" {
		return "array of " + typeOf(s.at("items"))
	}
	return template.HTML(template.HTMLEscapeString(strings.TrimPrefix(kind+limits(s), ", ")))
}

// limits says what a value must keep to.
func limits(s node) (text string) {
	if s.at("nullable").text() == "true" {
		text += " or null"
	}
	if all := s.at("enum").items(); len(all) > 0 {
		var values []string
		for _, v := range all {
			values = append(values, v.text())
		}
		text += ": " + strings.Join(values, ", ")
	}
	for _, limit := range []struct{ key, say string }{
		{"minimum", "at least "}, {"maximum", "at most "}, {"minLength", "length at least "}, {"maxLength", "length at most "},
		{"minItems", "items at least "}, {"maxItems", "items at most "}, {"pattern", "matches "}, {"default", "default "},
	} {
		if v := s.at(limit.key); v.there() {
			text += ", " + limit.say + v.text()
		}
	}
	return text
}

func anchor(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "-")) }

// prose writes the little Markdown that descriptions use: paragraphs, **bold**
// and `code`.
func prose(text string) template.HTML {
	var out strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if paragraph == "" {
			continue
		}
		out.WriteString("<p>" + paired(paired(template.HTMLEscapeString(paragraph), "**", "strong"), "`", "code") + "</p>")
	}
	return template.HTML(out.String())
}

// paired puts what stands between two marks into an element.
func paired(text, mark, element string) string {
	parts := strings.Split(text, mark)
	var out strings.Builder
	for i, part := range parts {
		switch {
		case i%2 == 0:
			out.WriteString(part)
		case i == len(parts)-1: // a mark that nothing closes
			out.WriteString(mark + part)
		default:
			out.WriteString("<" + element + ">" + part + "</" + element + ">")
		}
	}
	return out.String()
}
