package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"onhook/internal/trunk"
)

const exampleHead = `# Configuration of onhook serve. All keys with their defaults, printed by
# "onhook config example"; "onhook config check FILE" checks a file. Unknown keys
# are errors. Durations are written 90s, 5m, 1h.
`

// Example returns a complete, valid and commented file: the defaults, with
// sample values where there are none.
func Example() string {
	c := Default()
	c.Domains = []string{"sip.example.org"}
	c.SIP.Listeners = []Listener{
		{Transport: "udp", Address: "0.0.0.0:5060", Advertise: "sip.example.org"},
		{Transport: "tcp", Address: "0.0.0.0:5060", Advertise: "sip.example.org"},
		{Transport: "tls", Address: "0.0.0.0:5061", Advertise: "sip.example.org"},
		{Transport: "wss", Address: "0.0.0.0:5063", Advertise: "sip.example.org:5063"},
	}
	c.TLS = TLS{CertFile: "/etc/onhook/tls/fullchain.pem", KeyFile: "/etc/onhook/tls/privkey.pem"}
	var b strings.Builder
	b.WriteString(exampleHead)
	writeStruct(&b, reflect.ValueOf(c), "")
	return b.String()
}

func writeStruct(b *strings.Builder, v reflect.Value, indent string) {
	t := v.Type()
	for i := range t.NumField() {
		name := keyOf(t.Field(i))
		if name == "" {
			continue
		}
		if indent == "" {
			b.WriteByte('\n')
		}
		writeComment(b, t.Field(i).Tag.Get("doc"), indent)
		fmt.Fprintf(b, "%s%s:", indent, name)
		writeValue(b, v.Field(i), indent)
	}
}

func writeValue(b *strings.Builder, v reflect.Value, indent string) {
	switch x := v.Interface().(type) {
	case []Listener:
		b.WriteByte('\n')
		for _, l := range x {
			fmt.Fprintf(b, "%s  - {transport: %s, address: %s, advertise: %s}\n", indent, l.Transport, quote(l.Address), quote(l.Advertise))
		}
	case []trunk.Trunk, []trunk.Number:
		b.WriteString(" []\n")
	case []netip.Prefix:
		list := make([]string, len(x))
		for i, p := range x {
			list[i] = p.String()
		}
		fmt.Fprintf(b, " [%s]\n", strings.Join(list, ", "))
	case []string:
		fmt.Fprintf(b, " [%s]\n", strings.Join(x, ", "))
	case time.Duration:
		fmt.Fprintf(b, " %s\n", duration(x))
	case string:
		fmt.Fprintf(b, " %s\n", quote(x))
	case int, bool:
		fmt.Fprintf(b, " %v\n", x)
	default:
		b.WriteByte('\n')
		writeStruct(b, v, indent+"  ")
	}
}

// quote quotes what YAML would not take for one plain text.
func quote(s string) string {
	if s == "" || strings.ContainsAny(s, ":#{}[],&*!|>'\"%@` ") {
		return strconv.Quote(s)
	}
	return s
}

// duration drops the zero parts of 1h0m0s.
func duration(t time.Duration) string {
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// writeComment wraps text at 78 columns.
func writeComment(b *strings.Builder, text, indent string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 78 {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
