package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const small = `
domains: [sip.example.org]
sip:
  listeners:
    - {transport: udp, address: "127.0.0.1:5060"}
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onhook.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadKeepsDefaults(t *testing.T) {
	c, err := Load(write(t, small+"registrar:\n  min_expires: 30s\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Domains = []string{"sip.example.org"}
	want.SIP.Listeners = []Listener{{Transport: "udp", Address: "127.0.0.1:5060"}}
	want.Registrar.MinExpires = 30 * time.Second
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestLoadReadsEveryKind(t *testing.T) {
	c, err := Load(write(t, small+`
data_dir: data
database: /srv/onhook.db
external_calls: false
trusted_networks: [10.1.2.3/8, "2001:db8::1"]
tls: {cert_file: cert.pem, key_file: key.pem}
auth:
  md5_only_user_agents:
    - Old Phone
    - "Older: Phone"
limits:
  packets_per_second: 0
log:
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.ExternalCalls || c.Limits.PacketsPerSecond != 0 || c.Log.Level != "info" {
		t.Errorf("got %+v", c)
	}
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}
	if !slices.Equal(c.TrustedNetworks, networks) {
		t.Errorf("trusted networks %v", c.TrustedNetworks)
	}
	if !slices.Equal(c.Auth.MD5OnlyUserAgents, []string{"Old Phone", "Older: Phone"}) {
		t.Errorf("user agents %q", c.Auth.MD5OnlyUserAgents)
	}
	if !filepath.IsAbs(c.DataDir) || !strings.HasSuffix(c.DataDir, "/data") || c.DatabasePath() != "/srv/onhook.db" ||
		c.KeyPath() != filepath.Join(c.DataDir, "key") || !strings.HasSuffix(c.TLS.CertFile, "/cert.pem") {
		t.Errorf("paths: %q %q %q %q", c.DataDir, c.DatabasePath(), c.KeyPath(), c.TLS.CertFile)
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // line:column: path: and a piece of the message
	}{
		{"empty", "", []string{"domains: name at least one", "sip.listeners: name at least one"}},
		{"not a mapping", "hello", []string{"1:1: must hold keys (domains,"}},
		{"syntax", "domains: [a\nsip: {", []string{"2:1: ',' or ']' must be specified"}},
		{"unknown key", small + "data-dir: /x\n", []string{"6:1: data-dir: unknown key; did you mean data_dir?"}},
		{"unknown nested key", small + "log:\n  colour: red\n", []string{"7:3: log.colour: unknown key; known here: level, format"}},
		{"unknown key in a list", "domains: [a.b]\nsip:\n  listeners:\n    - transport: udp\n      addres: 1\n      address: 127.0.0.1:1\n",
			[]string{"5:7: sip.listeners[0].addres: unknown key"}},
		{"twice", small + "domains: [b.c]\n", []string{`6:1: mapping key "domains" already defined`}},
		{"wrong kinds", small + "external_calls: maybe\nshutdown_timeout: 10\nlimits: {connections: many}\ntrusted_networks: [10.0.0.0/40]\n", []string{
			`6:17: external_calls: "maybe" is not true or false`,
			`7:19: shutdown_timeout: "10" is not a duration`,
			`8:23: limits.connections: "many" is not a whole number`,
			`9:20: trusted_networks[0]: "10.0.0.0/40" is not a network`,
		}},
		{"list for text", small + "data_dir: [a]\n", []string{"6:11: data_dir: must be a text"}},
		{"text for list", "domains: a.b\nsip: {listeners: [{transport: udp, address: '127.0.0.1:1'}]}\n", []string{"1:10: domains: must be a list"}},
		{"all at once, in order", "domains: [a b, a.b, A.B]\nsip:\n  listeners:\n    - {transport: sctp, address: '0.0.0.0:5060'}\n    - {transport: tls, address: 'localhost:5061'}\nlog: {level: loud}\n", []string{
			`1:11: domains[0]: "a b" is not a host name`,
			`1:21: domains[2]: "A.B" is there twice`,
			`4:7: sip.listeners[0].advertise: needed, because 0.0.0.0:5060`,
			`4:19: sip.listeners[0].transport: "sctp" is not udp`,
			`5:19: sip.listeners[1].transport: tls needs a certificate`,
			`5:33: sip.listeners[1].address: "localhost:5061" is not IP:port`,
			`6:14: log.level: "loud" is not debug`,
		}},
		{"expiries", small + "registrar:\n  default_expires: 2h\n", []string{"7:20: registrar.default_expires: 2h0m0s is not between min_expires"}},
		{"half a pair", small + "api:\n  cert_file: x\n", []string{"6:1: api: cert_file and key_file go together"}},
		{"same socket", "domains: [a.b]\nsip: {listeners: [{transport: tcp, address: '127.0.0.1:5060'}, {transport: ws, address: '127.0.0.1:5060'}]}\n",
			[]string{"sip.listeners[1].address: 127.0.0.1:5060 is taken by sip.listeners[0]"}},
		{"short token", small + "api: {admin_token: geheim}\n", []string{"api.admin_token: must have at least 16"}},
		{"anchors", "domains: &d [a.b]\nsip: {listeners: [{transport: udp, address: '127.0.0.1:1'}]}\n", []string{"domains: anchors, aliases and tags"}},
		{"two documents", small + "---\n" + small, []string{"the file must hold one YAML document"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			_, err := Load(path)
			var invalid *Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("got\n%v\nwant\n%s", err, strings.Join(tt.want, "\n"))
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], path+":") || !strings.Contains(lines[i], want) {
					t.Errorf("got  %s\nwant %s", lines[i], want)
				}
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestEnvironmentHoldsSecrets(t *testing.T) {
	path := write(t, small)
	t.Setenv(EnvKey, strings.Repeat("0a", KeySize))
	t.Setenv(EnvAdminToken, "sixteen characters")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := c.MasterKey(); err != nil || len(key) != KeySize || key[0] != 0x0a {
		t.Errorf("key %x, %v", key, err)
	}
	if c.API.AdminToken != "sixteen characters" {
		t.Errorf("token %q", c.API.AdminToken)
	}
	t.Setenv(EnvKey, "geheim")
	t.Setenv(EnvAdminToken, "geheim")
	_, err = Load(path)
	if err == nil || strings.Contains(err.Error(), "geheim") ||
		!strings.Contains(err.Error(), EnvKey+": must hold 64 hex digits") || !strings.Contains(err.Error(), EnvAdminToken+": must have") {
		t.Errorf("got %v", err)
	}
}

func TestMasterKeyIsMadeOnce(t *testing.T) {
	c := Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	first, err := c.MasterKey()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.MasterKey(); err != nil || !slices.Equal(first, again) {
		t.Errorf("second reading: %v", err)
	}
	info, err := os.Stat(c.KeyPath())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(c.DataDir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestMasterKeyRefusals(t *testing.T) {
	c := Default()
	c.DataDir = t.TempDir()
	if err := os.WriteFile(c.DatabasePath(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MasterKey(); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("key lost: %v", err)
	}
	if err := os.WriteFile(c.KeyPath(), []byte("geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MasterKey(); err == nil || !strings.Contains(err.Error(), "64 hex digits") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("broken key: %v", err)
	}
	if err := os.Chmod(c.KeyPath(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MasterKey(); err == nil || !strings.Contains(err.Error(), "read by everybody") {
		t.Errorf("open key: %v", err)
	}
}

func TestExampleIsValidAndComplete(t *testing.T) {
	c, problems := parse([]byte(Example()))
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, Example())
	}
	c.Domains, c.SIP.Listeners, c.TLS = nil, nil, TLS{}
	want := Default()
	want.TrustedNetworks, c.TrustedNetworks = nil, nil
	c.Trunks, c.Numbers = nil, nil
	want.DNS.Servers, c.DNS.Servers = nil, nil
	want.Callbacks.AllowNetworks, c.Callbacks.AllowNetworks = nil, nil
	want.Auth.MD5OnlyUserAgents, c.Auth.MD5OnlyUserAgents = nil, nil
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the example differs from the defaults:\n%+v\n%+v", c, want)
	}
}

// The example in the documentation is `onhook config example`.
func TestExampleFileIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../../docs/config.example.yaml")
	if err != nil || string(text) != Example() {
		t.Errorf("docs/config.example.yaml is not what the code generates (%v): run make docs", err)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := keyOf(f)
			if name == "" {
				continue
			}
			if f.Tag.Get("doc") == "" {
				t.Errorf("%s has no doc tag", join(path, name))
			}
			if f.Type.Kind() == reflect.Struct {
				walk(join(path, name), f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
}
