// Package logging makes the server's slog logger and keeps credentials out of
// it. It decides nothing about what is worth a line.
package logging

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Redacted stands where a credential stood.
const Redacted = "[redacted]"

// New returns a logger that writes to w. level is debug, info, warn or error,
// format is text or json. Attributes with a credential's name lose their value,
// texts and errors go through Redact, and values of other types than plain ones
// are named by type only: a struct may hold anything.
func New(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q is not debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: l, ReplaceAttr: clean}
	switch format {
	case "text":
		return slog.New(messages{slog.NewTextHandler(w, options)}), nil
	case "json":
		return slog.New(messages{slog.NewJSONHandler(w, options)}), nil
	}
	return nil, fmt.Errorf("log format %q is not text or json", format)
}

// messages redacts what ReplaceAttr does not see the same way: the message.
type messages struct{ slog.Handler }

func (h messages) Handle(ctx context.Context, r slog.Record) error {
	r.Message = Redact(r.Message)
	return h.Handler.Handle(ctx, r)
}

func (h messages) WithAttrs(attrs []slog.Attr) slog.Handler {
	return messages{h.Handler.WithAttrs(attrs)}
}

func (h messages) WithGroup(name string) slog.Handler {
	return messages{h.Handler.WithGroup(name)}
}

// clean is slog.HandlerOptions.ReplaceAttr.
func clean(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return a
	}
	if secretName(a.Key) {
		return slog.String(a.Key, Redacted)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(a.Value.String()))
	case slog.KindAny:
		a.Value = slog.StringValue(anyText(a.Value.Any()))
	}
	return a
}

func anyText(v any) string {
	switch v := v.(type) {
	case nil:
		return "<nil>"
	case error:
		return Redact(v.Error())
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return fmt.Sprintf("(%T)", v)
		}
		return Redact(string(text))
	case fmt.Stringer:
		return Redact(v.String())
	case []string:
		return Redact(strings.Join(v, ", "))
	}
	return fmt.Sprintf("(%T)", v)
}

var separators = strings.NewReplacer("_", "", "-", "", ".", "")

// secretName reports whether an attribute of that name holds a credential.
func secretName(name string) bool {
	name = strings.ToLower(separators.Replace(name))
	switch name {
	case "authorization", "proxyauthorization", "cookie", "key", "ha1", "ha1md5", "ha1sha256", "authpass", "credentials":
		return true
	}
	return strings.HasSuffix(name, "password") || strings.HasSuffix(name, "token") || strings.HasSuffix(name, "secret")
}
