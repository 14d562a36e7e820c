package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const secret = "geheim1234567890"

// Whatever way a credential takes into the log, it does not come out.
func TestCredentialsStayOut(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := New(&out, "debug", format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("by name", "password", secret, "auth_token", secret, "X-Auth-Token", secret, "Authorization", secret,
			"ha1_md5", secret, "admin_token", secret, "key", []byte(secret), "client_secret", secret)
		log.With("password", secret).WithGroup("request").Info("in a group", slog.Group("body", "new_password", secret))
		log.Info("in a struct", "spec", struct{ Password string }{secret}, "pointer", &struct{ P string }{secret}, "map", map[string]string{"p": secret})
		log.Info("header\r\nAuthorization: Digest username=\"a\",\r\n response=\"" + secret + "\"\r\n")
		log.Info("texts", "message", "REGISTER sip:a SIP/2.0\nProxy-Authorization : Digest response=\""+secret+"\"\nTo: x",
			"basic", "sent Basic "+secret, "form", "username=alice&password="+secret+"&alias=x",
			"json", `{"username":"alice","password":"`+secret+`\"more"}`, "url", "https://user:"+secret+"@example.org/x",
			"sip", "sip:alice:"+secret+"@example.org", "account", "<sip:alice@x>;auth_pass="+secret+";regint=60")
		log.Info("error", "error", fmt.Errorf("call: %w", errors.New("token="+secret)))
		if strings.Contains(out.String(), secret) || strings.Contains(out.String(), "more") {
			t.Errorf("%s: a credential got out:\n%s", format, out.String())
		}
		if !strings.Contains(out.String(), Redacted) {
			t.Errorf("%s: nothing says that something was taken out", format)
		}
	}
}

func TestOrdinaryValuesStay(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not this")
	log.With("package", "server").Info("listening: all", "address", netip.MustParseAddrPort("127.0.0.1:5060"), "took", time.Second,
		"error", errors.New("port 5060: taken"), "count", 3, "call_id", "a84b4c76e66710@pc33.example.org",
		"uri", "sip:alice@example.org:5060", "list", []string{"a", "b"}, "nothing", nil)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	want := map[string]any{"package": "server", "msg": "listening: all", "address": "127.0.0.1:5060", "error": "port 5060: taken", "count": 3.0,
		"call_id": "a84b4c76e66710@pc33.example.org", "uri": "sip:alice@example.org:5060", "list": "a, b", "nothing": "<nil>", "level": "INFO"}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s: got %v, want %v", k, line[k], v)
		}
	}
}

func TestBadSettings(t *testing.T) {
	if _, err := New(nil, "loud", "text"); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("level: %v", err)
	}
	if _, err := New(nil, "info", "xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("format: %v", err)
	}
}
