package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"
	"unicode/utf8"

	"onhook/internal/account"
)

// Limits of request bodies.
const (
	maxBody     = 64 << 10
	maxBulkBody = 2 << 20
)

// value is one field of a request body: JSON as it was written, or the text
// of a form field.
type value struct {
	raw  json.RawMessage // nil for a form field
	text string          // of a form field
}

// fields is a request body. Each field is taken out when it is understood;
// what remains is unknown.
type fields struct {
	values    map[string]value
	malformed map[string]string // field → sentence
}

// badBody refuses a body that no single field can be blamed for.
func badBody(sentence string) error {
	return &account.Invalid{Fields: map[string]string{"body": sentence}}
}

// readFields reads a body of any of the three media types.
func (h *handler) readFields(r *request) (*fields, error) {
	body, err := h.readBody(r, maxBody)
	if err != nil {
		return nil, err
	}
	mediaType, params, err := mediaType(r.Request)
	if err != nil {
		return nil, err
	}
	switch mediaType {
	case "application/x-www-form-urlencoded":
		return formFields(body)
	case "multipart/form-data":
		return multipartFields(body, params["boundary"])
	case "application/json":
		return jsonBody(body)
	}
	return nil, unsupportedMediaType()
}

// mediaType reads Content-Type; a body without one is taken for JSON.
func mediaType(r *http.Request) (string, map[string]string, error) {
	if r.Header.Get("Content-Encoding") != "" {
		return "", nil, unsupportedMediaType()
	}
	header := r.Header.Get("Content-Type")
	if header == "" {
		return "application/json", nil, nil
	}
	mediaType, params, err := mime.ParseMediaType(header)
	if err != nil {
		return "", nil, unsupportedMediaType()
	}
	return mediaType, params, nil
}

func unsupportedMediaType() error {
	return &refusal{status: http.StatusUnsupportedMediaType, body: errorJSON{
		Error: "send application/json, application/x-www-form-urlencoded or multipart/form-data, not compressed"}}
}

// readBody reads the body up to its limit and within the request's time.
func (h *handler) readBody(r *request, limit int64) ([]byte, error) {
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, body: errorJSON{
		Error: fmt.Sprintf("the request body is larger than %d bytes", limit)}}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	// Writers that cannot set a deadline are those of tests, whose bodies never wait.
	_ = http.NewResponseController(r.w).SetReadDeadline(time.Now().Add(h.Timeout))
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &over):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{status: http.StatusRequestTimeout, body: errorJSON{Error: "the request body did not arrive in time"}}
	}
	return nil, badBody("Ended before it was complete")
}

func newFields() *fields {
	return &fields{values: make(map[string]value), malformed: make(map[string]string)}
}

func (f *fields) add(name string, v value) {
	if _, there := f.values[name]; there {
		f.malformed[name] = "Given more than once"
	}
	f.values[name] = v
}

func formFields(body []byte) (*fields, error) {
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		return nil, badBody("Looks like JSON but is sent as a form: add the header Content-Type: application/json")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badBody("Is not a valid form")
	}
	f := newFields()
	for name, texts := range form {
		for _, text := range texts {
			f.add(name, value{text: text})
		}
	}
	return f, nil
}

func multipartFields(body []byte, boundary string) (*fields, error) {
	if boundary == "" {
		return nil, badBody("Content-Type lacks the boundary of multipart/form-data")
	}
	f := newFields()
	if len(body) == 0 { // as npm's request writes a form without fields
		return f, nil
	}
	for parts := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := parts.NextPart()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return nil, badBody("Is not valid multipart/form-data")
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, badBody("Is not valid multipart/form-data")
		}
		f.add(part.FormName(), value{text: string(text)})
		if part.FileName() != "" {
			f.malformed[part.FormName()] = "Must be a text field, not a file"
		}
	}
}

// jsonBody reads a body that is one JSON object; an empty body is an empty one.
func jsonBody(body []byte) (*fields, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return newFields(), nil
	}
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	return jsonFields(body)
}

// checkJSON refuses what is not one JSON text, naming the position.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return badBody("Is not valid UTF-8")
	}
	if json.Valid(body) {
		return nil
	}
	var whole json.RawMessage
	err := json.Unmarshal(body, &whole) // tells where
	at := len(body)                     // where it ends too early
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Error() != "unexpected end of JSON input" {
		at = max(int(syntax.Offset)-1, 0)
	}
	line := 1 + bytes.Count(body[:at], []byte("\n"))
	column := 1 + utf8.RuneCount(body[bytes.LastIndexByte(body[:at], '\n')+1:at])
	return badBody(fmt.Sprintf("Is broken JSON at line %d, column %d", line, column))
}

// jsonFields takes a valid JSON object apart. Numbers stay as they were
// written, so that none loses a digit; a name given twice is refused, because
// which one counts differs from reader to reader (RFC 8259 4).
func jsonFields(object []byte) (*fields, error) {
	f := newFields()
	if !objectMembers(object, func(name string, raw json.RawMessage) { f.add(name, value{raw: raw}) }) {
		return nil, badBody("Must be a JSON object")
	}
	return f, nil
}

var wordPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// rest returns every complaint, after naming what nobody took. Names that are
// no words are not repeated: a body sent as the wrong type may hold a
// password in what looks like a name.
func (f *fields) rest() map[string]string {
	for name := range f.values {
		if !wordPattern.MatchString(name) {
			f.malformed["body"] = "Has a field that is unknown here and whose name is no plain word"
			delete(f.malformed, name)
		} else if f.malformed[name] == "" {
			f.malformed[name] = "Unknown field"
		}
	}
	if len(f.malformed) == 0 {
		return nil
	}
	return f.malformed
}
