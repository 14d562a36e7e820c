package apidoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"github.com/goccy/go-yaml"
)

// node is one value of the document; its keys keep their order. A $ref is
// followed wherever something is looked for below it.
type node struct {
	root  any
	value any
}

func parse(document []byte) (node, error) {
	var root any
	if err := yaml.NewDecoder(bytes.NewReader(document), yaml.UseOrderedMap()).Decode(&root); err != nil {
		return node{}, err
	}
	if _, ok := root.(yaml.MapSlice); !ok {
		return node{}, fmt.Errorf("no document: %T", root)
	}
	return node{root, root}, nil
}

func (n node) there() bool { return n.value != nil }

// own returns what stands under a key of the node itself.
func (n node) own(key string) node {
	m, _ := n.value.(yaml.MapSlice)
	for _, item := range m {
		if fmt.Sprint(item.Key) == key {
			return node{n.root, item.Value}
		}
	}
	return node{root: n.root}
}

// ref is the name that the node refers to, "" when it is no reference.
func (n node) ref() string {
	path, _ := n.own("$ref").value.(string)
	return path[strings.LastIndexByte(path, '/')+1:]
}

// target is the node itself or what it refers to.
func (n node) target() node {
	path, ok := n.own("$ref").value.(string)
	if !ok {
		return n
	}
	t := node{n.root, n.root}
	for key := range strings.SplitSeq(strings.TrimPrefix(path, "#/"), "/") {
		t = t.own(key)
	}
	return t
}

func (n node) at(key string) node { return n.target().own(key) }

// each walks through a mapping.
func (n node) each() iter.Seq2[string, node] {
	m, _ := n.target().value.(yaml.MapSlice)
	return func(yield func(string, node) bool) {
		for _, item := range m {
			if !yield(fmt.Sprint(item.Key), node{n.root, item.Value}) {
				return
			}
		}
	}
}

func (n node) items() (all []node) {
	list, _ := n.value.([]any)
	for _, v := range list {
		all = append(all, node{n.root, v})
	}
	return all
}

// text writes a scalar; "" for anything else.
func (n node) text() string {
	switch v := n.value.(type) {
	case nil, yaml.MapSlice, []any:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// writeJSON writes the node as JSON, keys in their order.
func (n node) writeJSON(out *bytes.Buffer) {
	switch v := n.value.(type) {
	case yaml.MapSlice:
		out.WriteByte('{')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			writeScalar(out, fmt.Sprint(item.Key))
			out.WriteByte(':')
			node{n.root, item.Value}.writeJSON(out)
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				out.WriteByte(',')
			}
			node{n.root, item}.writeJSON(out)
		}
		out.WriteByte(']')
	default:
		writeScalar(out, v)
	}
}

func writeScalar(out *bytes.Buffer, v any) {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)  // the template does that
	if e.Encode(v) != nil { // of a YAML scalar only for NaN and infinity
		out.WriteString("null")
	}
}
