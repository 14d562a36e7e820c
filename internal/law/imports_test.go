package law

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "onhook/"

// everything of ours, for those who put the whole together.
var everything = []string{"*"}

// ours says which of our packages each package may import. A package that is
// not here fails; so does an edge that is not.
var ours = map[string][]string{
	// wire packages: bytes in, values out
	"internal/sip": {},
	"internal/sdp": {},
	// the telephone network
	"internal/trunk":    {"internal/sip", "internal/account"},
	"internal/siptrunk": {"internal/sip", "internal/sipauth", "internal/sipresolve", "internal/siptransaction", "internal/trunk"},
	// nouns
	"internal/account":    {},
	"internal/location":   {"internal/sip", "internal/feed"},
	"internal/callrecord": {"internal/account", "internal/feed"},
	// what happened, made of the nouns
	"internal/event":    {"internal/account", "internal/location", "internal/callrecord"},
	"internal/eventlog": {"internal/event"},
	"internal/webhook":  {"internal/account", "internal/event"},
	// HTTP requests of ours to users' servers
	"internal/callback": {},
	// ground
	"internal/config":     {"internal/trunk"},
	"internal/metrics":    {},
	"internal/feed":       {},
	"internal/logging":    {},
	"internal/floodguard": {},
	"internal/authban":    {},
	"internal/callguard":  {},
	"internal/law":        {},
	// the request path's view of accounts
	"internal/directory": {"internal/account"},
	// the SIP engine: knows no accounts
	"internal/siptransport":   {"internal/sip", "internal/floodguard"},
	"internal/siptransaction": {"internal/sip"},
	"internal/sipauth":        {"internal/sip"},
	"internal/sipresolve":     {"internal/sip"},
	"internal/siptrace":       {"internal/sip"},
	// what the server does with a request
	"internal/sipprobe":  {"internal/sip", "internal/location"},
	"internal/sipevent":  {"internal/sip", "internal/siptransaction", "internal/location", "internal/feed", "internal/sipgruu"},
	"internal/sipgruu":   {"internal/sip", "internal/location"},
	"internal/registrar": {"internal/sip", "internal/sipauth", "internal/location", "internal/sipgruu"},
	"internal/routing":   {"internal/sip", "internal/account", "internal/location", "internal/sipgruu", "internal/trunk"},
	"internal/sipproxy": {"internal/sip", "internal/siptransaction", "internal/sipresolve", "internal/routing",
		"internal/location", "internal/account", "internal/callrecord", "internal/sipgruu", "internal/sipauth", "internal/trunk"},
	// adapters
	"internal/roster":               {"internal/account"},
	"internal/storesql":             {"internal/account", "internal/roster", "internal/callrecord", "internal/event", "internal/webhook", "internal/trunk"},
	"internal/storesqlite":          {"internal/account", "internal/storesql"},
	"internal/storepostgres":        {"internal/account", "internal/storesql"},
	"internal/storetest":            {"internal/account", "internal/callrecord", "internal/event", "internal/webhook", "internal/trunk"},
	"internal/locationlog":          {"internal/location"},
	"internal/location/journaltest": {"internal/location", "internal/sip"},
	"internal/apidoc":               {},
	// HTTP and SIP meet in the nouns
	"internal/api": {"internal/apidoc", "internal/account", "internal/location", "internal/event", "internal/webhook", "internal/callrecord", "internal/trunk"},
	// the whole
	"internal/server": everything,
	"internal/dev":    {"internal/account", "internal/config"},
	"cmd/onhook":      {"client", "internal/server", "internal/config", "internal/dev", "internal/logging", "internal/account", "internal/locationlog"},
	// for other programs: imports nothing of ours
	"client": {},
}

// pure packages import none of these, nor what is below them, but for net/netip.
var pure = []string{"internal/sip", "internal/sdp"}

var impure = []string{"net", "os", "time", "sync", "log"}

// doors says who may import a package of the standard library or a module that
// brings a whole technology with it. Whoever is missing here may not; a module
// that is missing may nobody.
var doors = map[string][]string{
	"database/sql": {"internal/storesql", "internal/storesqlite", "internal/storepostgres"},
	"os/exec":      {},
	"net/http": {"internal/api", "internal/callback", "internal/metrics", "internal/server", "internal/dev", "cmd/onhook", "client",
		"internal/siptransport"}, // the WebSocket handshake's header type

	"github.com/alecthomas/kong":          {"cmd/onhook"},
	"github.com/gobwas/ws":                {"internal/siptransport"},
	"github.com/goccy/go-yaml":            {"internal/config", "internal/apidoc"},
	"github.com/google/uuid":              {"internal/account", "internal/api", "internal/location"},
	"github.com/jackc/pgx":                {"internal/storepostgres"},
	"github.com/miekg/dns":                {"internal/sipresolve"},
	"github.com/nyaruka/phonenumbers":     {"internal/trunk"},
	"github.com/pressly/goose":            {"internal/storesql", "internal/storesqlite", "internal/storepostgres"},
	"github.com/prometheus/client_golang": {"internal/metrics"},
	"golang.org/x/net":                    {"internal/siptransport"},
	"golang.org/x/sync":                   {"internal/server", "cmd/onhook"},
	"golang.org/x/sys":                    {"internal/siptransport", "internal/dev", "internal/server"},
	"modernc.org/sqlite":                  {"internal/storesqlite"},
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// The packages import what the tables above allow, and nothing else. Tests are
// free.
func TestImportLaw(t *testing.T) {
	for name, imports := range packages(t) {
		allowed, known := ours[name]
		if !known {
			t.Errorf("%s is not in the table: say what it may import", name)
		}
		for _, path := range imports {
			if other, mine := strings.CutPrefix(path, module); mine {
				if !slices.Contains(allowed, other) && !slices.Contains(allowed, "*") {
					t.Errorf("%s may not import %s", name, other)
				}
				continue
			}
			checkDoor(t, name, path)
			if slices.Contains(pure, name) && path != "net/netip" &&
				slices.ContainsFunc(impure, func(root string) bool { return within(path, root) }) {
				t.Errorf("%s is a wire package and may not import %s", name, path)
			}
		}
	}
}

func checkDoor(t *testing.T, name, path string) {
	t.Helper()
	for root, who := range doors {
		if within(path, root) {
			if !slices.Contains(who, name) {
				t.Errorf("%s may not import %s: its doors are %v", name, path, who)
			}
			return
		}
	}
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
		t.Errorf("%s imports %s, which has no door", name, path)
	}
}

// packages returns what each package of the program imports.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./internal/...", "./cmd/...", "./client/...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	found := map[string][]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if name, mine := strings.CutPrefix(p.ImportPath, module); mine {
			found[name] = p.Imports
		}
	}
	if len(found) == 0 {
		t.Fatal("go list found no packages")
	}
	return found
}
