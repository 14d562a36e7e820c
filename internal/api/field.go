package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"onhook/internal/account"
)

// take removes a field from the body and returns it.
func (f *fields) take(name string) (v value, there bool) {
	v, there = f.values[name]
	delete(f.values, name)
	return v, there && f.malformed[name] == ""
}

func (f *fields) wrong(name, sentence string) { f.malformed[name] = sentence }

func (v value) isForm() bool { return v.raw == nil }

func (v value) isNull() bool { return !v.isForm() && v.raw[0] == 'n' }

// string reads a JSON string or a form field.
func (v value) string() (string, bool) {
	if v.isForm() {
		return v.text, true
	}
	return unquote(v.raw)
}

// text takes a field that must be a string.
func (f *fields) text(name string) (o account.Optional[string]) {
	v, ok := f.take(name)
	if !ok {
		return o
	}
	s, ok := v.string()
	if !ok {
		f.wrong(name, "Must be a string")
		return o
	}
	return account.Some(s)
}

// textOrNull takes a field that is a string or null; a form, which has no
// null, says it with an empty field.
func (f *fields) textOrNull(name string) account.Optional[string] {
	if v, there := f.values[name]; there && (v.isNull() || v.isForm() && v.text == "") {
		f.take(name)
		return account.Null[string]()
	}
	o := f.text(name)
	if f.malformed[name] == "Must be a string" {
		f.wrong(name, "Must be a string or null")
	}
	return o
}

// timeOrNull takes a field that is an ISO 8601 time or null, which a form says
// with an empty field.
func (f *fields) timeOrNull(name string) (o account.Optional[time.Time]) {
	text := f.textOrNull(name)
	if !text.Set || text.Null {
		return account.Optional[time.Time]{Set: text.Set, Null: text.Null}
	}
	at, err := time.Parse(time.RFC3339, text.Value)
	if err != nil {
		f.wrong(name, "Must be a time such as 2030-01-31T12:00:00Z, or null")
		return o
	}
	return account.Some(at)
}

// structure takes a field that is a JSON object, an array or null, in a form
// as text.
func (f *fields) structure(name string) (o account.Optional[string]) {
	v, ok := f.take(name)
	if !ok {
		return o
	}
	raw := []byte(v.raw)
	if v.isForm() {
		raw = []byte(strings.TrimSpace(v.text))
	}
	var short bytes.Buffer
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return account.Null[string]()
	case raw[0] != '{' && raw[0] != '[' || json.Compact(&short, raw) != nil:
		f.wrong(name, "Must be an object, an array or null")
		return o
	}
	return account.Some(short.String())
}

// pass takes fields that are passed over.
func (f *fields) pass(names ...string) {
	for _, name := range names {
		f.take(name)
	}
}

// either takes a field that has two names.
func (f *fields) either(name, other string) (used string) {
	if _, there := f.values[name]; there {
		if _, both := f.values[other]; both {
			f.take(other)
			f.wrong(other, "Is another name of "+name+": send one of them")
		}
		return name
	}
	if _, there := f.values[other]; there {
		return other
	}
	return name
}

// boolean takes a field that is true or false, or says so as a string.
func (f *fields) boolean(name string) (o account.Optional[bool]) {
	v, ok := f.take(name)
	if !ok {
		return o
	}
	s, isString := v.string()
	if !isString {
		s = string(v.raw)
	}
	switch s {
	case "true":
		return account.Some(true)
	case "false":
		return account.Some(false)
	}
	f.wrong(name, "Must be true or false")
	return o
}

// integer takes a field that is a whole number; what range it must be in is
// the Service's to say.
func (f *fields) integer(name string) (o account.Optional[int]) {
	v, ok := f.take(name)
	if !ok {
		return o
	}
	s := v.text
	if !v.isForm() {
		s = string(v.raw)
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		f.wrong(name, "Must be a whole number")
		return o
	}
	return account.Some(n)
}

// identifier reads an id written as a string or as a number. A number's
// digits are taken as written: 17 of them do not fit a double.
func (v value) identifier() (string, bool) {
	if s, ok := v.string(); ok {
		return s, true
	}
	for _, c := range v.raw {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return string(v.raw), true
}

// application takes "application" or its other name "app_id": an app_id as
// number or string, an Application's path, or, as clients send back what they
// read, the object that retrieve shows; null or "" is none. used is the name
// the client wrote.
func (f *fields) application() (o account.Optional[string], used string) {
	used = "application"
	_, both := f.values["app_id"]
	if _, there := f.values["application"]; !there && both {
		used = "app_id"
	} else if both {
		f.take("app_id")
		f.wrong("app_id", "Is another name of application: send one of them")
	}
	v, ok := f.take(used)
	if !ok {
		return o, used
	}
	if v.isNull() {
		return account.Null[string](), used
	}
	if !v.isForm() && v.raw[0] == '{' {
		inner, err := jsonFields(v.raw)
		if err != nil || inner.malformed["app_id"] != "" || inner.values["app_id"].isForm() {
			f.wrong(used, "Must have an app_id when it is an object")
			return o, used
		}
		v = inner.values["app_id"]
	}
	id, ok := v.identifier()
	if !ok {
		f.wrong(used, "Must be an app_id or the path of an Application")
		return o, used
	}
	return account.Some(id), used
}

// array takes a field that is a JSON array and splits it.
func (f *fields) array(name string) (elements []json.RawMessage, ok bool) {
	v, ok := f.take(name)
	if ok && !v.isForm() {
		if elements, ok = arrayElements(v.raw); ok {
			return elements, true
		}
	}
	f.wrong(name, "Must be an array of objects")
	return nil, false
}

// identifier takes a field that is an id.
func (f *fields) identifier(name string) (o account.Optional[string]) {
	v, ok := f.take(name)
	if !ok {
		return o
	}
	id, ok := v.identifier()
	if !ok {
		f.wrong(name, "Must be a string of digits")
		return o
	}
	return account.Some(id)
}
