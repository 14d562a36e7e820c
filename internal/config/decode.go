package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A decoder fills a Config from the YAML tree. Unlike the library's own strict
// mode it does not stop at the first problem, and it remembers where each key
// stands, so that later checks can name line and column too.
type decoder struct {
	at       map[string]*token.Position // key path → where its value (or key) is
	problems []Problem
}

func (d *decoder) fail(path string, n ast.Node, format string, args ...any) {
	pos := n.GetToken().Position
	d.problems = append(d.problems, Problem{Path: path, Line: pos.Line, Column: pos.Column, Message: fmt.Sprintf(format, args...)})
}

// failed reports whether path, something above or something below it could not
// be read.
func (d *decoder) failed(path string) bool {
	for _, p := range d.problems {
		if p.Path == path || below(path, p.Path) || below(p.Path, path) {
			return true
		}
	}
	return false
}

func below(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && parent != "" && rest != "" && (rest[0] == '.' || rest[0] == '[')
}

// position finds the place of path, or of what it lies in; 0, 0 when none of
// it is in the file.
func (d *decoder) position(path string) (line, column int) {
	for path != "" {
		if pos := d.at[path]; pos != nil {
			return pos.Line, pos.Column
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0, 0
}

func (d *decoder) file(f *ast.File, c *Config) {
	for i, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			d.fail("", doc.Body, "the file must hold one YAML document")
			return
		}
		d.value("", doc.Body, reflect.ValueOf(c).Elem())
	}
}

// value reads n into v. A key without a value keeps its default.
func (d *decoder) value(path string, n ast.Node, v reflect.Value) {
	switch n := n.(type) {
	case *ast.NullNode:
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.fail(path, n, "anchors, aliases and tags are not used here")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[netip.Prefix]() {
			d.scalar(path, n, v)
		} else {
			d.mapping(path, n, v)
		}
	case reflect.Slice:
		d.sequence(path, n, v)
	default:
		d.scalar(path, n, v)
	}
}

func (d *decoder) mapping(path string, n ast.Node, v reflect.Value) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.fail(path, n, "must hold keys (%s)", strings.Join(keys(v.Type()), ", "))
		return
	}
	fields := fieldIndex(v.Type())
	for _, kv := range values {
		name := kv.Key.GetToken().Value
		key := join(path, name)
		i, ok := fields[name]
		if !ok {
			d.fail(key, kv.Key, "unknown key%s", suggestion(name, v.Type()))
			continue
		}
		d.at[key] = kv.Key.GetToken().Position
		d.value(key, kv.Value, v.Field(i))
	}
}

func (d *decoder) sequence(path string, n ast.Node, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(path, n, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		key := fmt.Sprintf("%s[%d]", path, i)
		d.at[key] = item.GetToken().Position
		d.value(key, item, v.Index(i))
	}
}

// scalar reads one value. A refused value is quoted only where it cannot be a
// secret: strings are taken as they are and judged later.
func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		d.fail(path, n, "must be %s", kindName(v.Type()))
		return
	}
	d.at[path] = n.GetToken().Position
	text := n.GetToken().Value
	if literal, ok := n.(*ast.LiteralNode); ok {
		text = strings.TrimSpace(literal.Value.Value)
	}
	if err := set(v, n, text); err != "" {
		d.fail(path, n, "%q is not %s", text, err)
	}
}

// set assigns text to v, or returns what was expected.
func set(v reflect.Value, n ast.Node, text string) (expected string) {
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
		return ""
	case bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return ""
		}
	case int:
		if i, ok := n.(*ast.IntegerNode); ok {
			if u, ok := i.Value.(uint64); ok && u <= 1<<62 {
				v.SetInt(int64(u))
				return ""
			}
			if s, ok := i.Value.(int64); ok {
				v.SetInt(s)
				return ""
			}
		}
	case time.Duration:
		if t, err := time.ParseDuration(text); err == nil {
			v.SetInt(int64(t))
			return ""
		}
	case netip.Prefix:
		if p, ok := parseNetwork(text); ok {
			v.Set(reflect.ValueOf(p))
			return ""
		}
	}
	return kindName(v.Type())
}

// parseNetwork reads a CIDR or a single address.
func parseNetwork(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

func kindName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 90s or 5m"
	case reflect.TypeFor[netip.Prefix]():
		return "a network such as 10.0.0.0/8 or an address"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	}
	return "a text"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// keyOf returns the key of a field in the file, "" for a field that is not in
// it.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func keys(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := keyOf(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func fieldIndex(t reflect.Type) map[string]int {
	index := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := keyOf(t.Field(i)); name != "" {
			index[name] = i
		}
	}
	return index
}

// suggestion names the key somebody probably meant.
func suggestion(name string, t reflect.Type) string {
	fold := strings.NewReplacer("-", "", "_", "")
	for _, k := range keys(t) {
		a, b := strings.ToLower(fold.Replace(name)), fold.Replace(k)
		if a == b || a+"s" == b || a == b+"s" {
			return "; did you mean " + k + "?"
		}
	}
	return "; known here: " + strings.Join(keys(t), ", ")
}
