package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"onhook/client"
)

// remoteDev is a running onhook dev for the commands that use an API.
type remoteDev struct {
	t   *testing.T
	dir string
}

func startDev(t *testing.T) remoteDev {
	t.Helper()
	dir := t.TempDir()
	p := startUntil(t, ready, "dev", "--dir", dir, "--ephemeral-ports")
	t.Cleanup(func() { p.stop(t, syscall.SIGINT) })
	return remoteDev{t, dir}
}

// with runs a command with a standard input.
func (d remoteDev) with(stdin string, args ...string) (code int, stdout, stderr string) {
	d.t.Helper()
	var out, err strings.Builder
	m := Main{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err, Signals: make(chan os.Signal)}
	code = m.Run(append(args, "--dir", d.dir))
	return code, out.String(), err.String()
}

// ok runs a command that must succeed and returns what it prints.
func (d remoteDev) ok(args ...string) string {
	d.t.Helper()
	code, stdout, stderr := d.with("", args...)
	if code != exitOK {
		d.t.Fatalf("%v: exit code %d: %s%s", args, code, stdout, stderr)
	}
	return stdout
}

// json runs a command with --json and reads what it prints.
func (d remoteDev) json(out any, args ...string) {
	d.t.Helper()
	text := d.ok(append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		d.t.Fatalf("%v: %v: %s", args, err, text)
	}
}

// refused runs a command that must fail with this in its message.
func (d remoteDev) refused(want string, args ...string) {
	d.t.Helper()
	if code, stdout, stderr := d.with("", args...); code != exitFailed || !strings.Contains(stderr, want) {
		d.t.Errorf("%v: exit code %d, want %q: %s%s", args, code, want, stdout, stderr)
	}
}

type shownEndpoint struct {
	ID         string `json:"endpoint_id"`
	Username   string
	Alias      string
	Password   string
	AllowVideo bool   `json:"allow_video"`
	AllowVoice bool   `json:"allow_voice"`
	Registered string `json:"sip_registered"`
}

func TestEndpointCommands(t *testing.T) {
	d := startDev(t)
	var created, shown shownEndpoint
	d.json(&created, "endpoint", "create", "carol", "--alias", "Front desk", "--allow-video")
	if len(created.ID) != 15 || len(created.Password) < 20 {
		t.Errorf("created %+v", created)
	}
	code, text, stderr := d.with("correct horse\n", "endpoint", "create", "dave", "--password-stdin")
	if code != exitOK || strings.Contains(text, "correct horse") || strings.Contains(text, "password") {
		t.Errorf("exit code %d: %s%s", code, text, stderr)
	}
	d.refused("username already exists", "endpoint", "create", "CAROL")
	d.refused("username: ", "endpoint", "create", "no way")

	list := d.ok("endpoint", "list")
	for _, want := range []string{"ENDPOINT_ID", "alice", "bob", "carol", "dave", "Front desk"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %s:\n%s", want, list)
		}
	}
	var some []shownEndpoint
	d.json(&some, "endpoint", "list", "--starts-with", "CAR", "--unregistered")
	if len(some) != 1 || some[0].ID != created.ID || some[0].Registered != "false" {
		t.Errorf("filtered: %+v", some)
	}
	d.ok("endpoint", "update", "carol", "--alias", "Reception", "--no-allow-voice")
	d.json(&shown, "endpoint", "get", created.ID)
	if shown.Alias != "Reception" || shown.AllowVoice || !shown.AllowVideo {
		t.Errorf("updated: %+v", shown)
	}
	if text := d.ok("endpoint", "get", "carol"); !strings.Contains(text, "registrations 0 of 10") {
		t.Error(text)
	}
	d.refused("nothing to change", "endpoint", "update", "carol")
	if text := d.ok("endpoint", "trace", "carol"); text != "" {
		t.Error(text)
	}
	if pcap := d.ok("endpoint", "trace", "carol", "--pcap"); !strings.HasPrefix(pcap, "\xa1\xb2\xc3\xd4") {
		t.Errorf("%q", pcap)
	}
	d.ok("endpoint", "unregister", "carol")
	d.refused("Registration not found", "endpoint", "unregister", "carol", "abcdefghjkmn")
	d.ok("endpoint", "delete", "carol", "dave")
	d.refused("there is no endpoint carol", "endpoint", "get", "carol")
}

func TestApplicationCommands(t *testing.T) {
	d := startDev(t)
	var made struct{ ID string }
	d.json(&made, "application", "create", "Front desk", "https://example.com/answer", "--default-endpoint")
	d.ok("endpoint", "create", "erin")
	var shown struct {
		AppName   string `json:"app_name"`
		AnswerURL string `json:"answer_url"`
		Enabled   bool
	}
	d.ok("application", "update", made.ID, "--answer-url", "https://example.com/new", "--no-enabled")
	d.json(&shown, "application", "get", made.ID)
	if shown.AppName != "Front desk" || shown.AnswerURL != "https://example.com/new" || shown.Enabled {
		t.Errorf("%+v", shown)
	}
	if list := d.ok("application", "list", "--contains", "desk"); !strings.Contains(list, made.ID) {
		t.Error(list)
	}
	d.ok("application", "delete", made.ID, "--cascade")
	d.refused("there is no endpoint erin", "endpoint", "get", "erin")
	d.refused("Application not found", "application", "get", made.ID)
}

func TestSubAccountCommands(t *testing.T) {
	d := startDev(t)
	var sub struct {
		AuthID    string `json:"auth_id"`
		AuthToken string `json:"auth_token"`
		Enabled   bool
	}
	d.json(&sub, "sub-account", "create", "Berlin", "--email", "berlin@example.com")
	if len(sub.AuthToken) != 40 {
		t.Fatalf("%+v", sub)
	}
	d.ok("endpoint", "create", "frank", "--account", sub.AuthID)
	if list := d.ok("endpoint", "list", "--account", sub.AuthID); !strings.Contains(list, "frank") || strings.Contains(list, "alice") {
		t.Error(list)
	}
	d.ok("sub-account", "update", sub.AuthID, "--no-enabled")
	d.json(&sub, "sub-account", "get", sub.AuthID)
	if sub.Enabled || sub.AuthToken != "<redacted>" {
		t.Errorf("%+v", sub)
	}
	if list := d.ok("sub-account", "list", "--enabled"); strings.Contains(list, "Berlin") {
		t.Error(list)
	}
	d.refused("still owns endpoints", "sub-account", "delete", sub.AuthID)
	d.ok("sub-account", "delete", sub.AuthID, "--cascade")
}

func csvFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "phones.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImport(t *testing.T) {
	d := startDev(t)
	var text strings.Builder
	text.WriteString("\ufeffalias,username,password\r\n")
	const rows = 2500
	for i := range rows {
		fmt.Fprintf(&text, "Phone %d,user_%d,correct horse %d\r\n", i, i, i)
	}
	if out := d.ok("endpoint", "import", csvFile(t, text.String())); !strings.Contains(out, "created 2500 endpoints") {
		t.Error(out)
	}
	var all []shownEndpoint
	if d.json(&all, "endpoint", "list", "--starts-with", "user_"); len(all) != rows {
		t.Errorf("%d endpoints", len(all))
	}
	d.ok("endpoint", "import", csvFile(t, "username,ha1_md5\nmoved,939e7578ed9e3c518a452acee763bce9\n"))
}

// A file with an error imports nothing, and the error names line and field.
func TestImportRefuses(t *testing.T) {
	d := startDev(t)
	var long strings.Builder
	long.WriteString("username,password\n")
	for i := range 1500 {
		fmt.Fprintf(&long, "new_%d,correct horse\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"", "is empty"},
		"header alone":    {"username,password\n", "holds no endpoints"},
		"unknown column":  {"username,password,colour\nx,y,z\n", `unknown column "colour"`},
		"column missing":  {"username,alias\nx,y\n", "either password or ha1_md5"},
		"column twice":    {"username,password,username\nx,y,z\n", "twice"},
		"too few fields":  {"username,password\nnew,correct horse\nother\n", "record on line 3"},
		"name twice":      {"username,password\nnew,correct horse\nother,correct horse\nNEW,correct horse\n", ":4: username: NEW stands on line 2 already"},
		"short password":  {"username,password\nnew,correct horse\nother,short\n", ":3: password: "},
		"both and all":    {"username,password\n\"new\nline\",correct horse\nother,short\n", ":2: username: "},
		"taken":           {"username,password\nnew,correct horse\nalice,correct horse\n", ":3: username: username already exists"},
		"in second chunk": {long.String() + "bob,correct horse\n", ":1502: username: username already exists"},
	} {
		file := csvFile(t, c.text)
		code, stdout, stderr := d.with("", "endpoint", "import", file)
		if code != exitFailed || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, file) {
			t.Errorf("%s: exit code %d: %s%s", name, code, stdout, stderr)
		}
	}
	if all := d.ok("endpoint", "list"); strings.Contains(all, "new") || strings.Contains(all, "other") {
		t.Errorf("something was imported:\n%s", all)
	}
}

// A conflict that appears only after the dry runs takes back what was created,
// also by a chunk that was under way then.
func TestImportTakesBack(t *testing.T) {
	var created, deleted []string
	conflict := make(chan struct{})
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var in struct{ Objects []struct{ Username string } }
		switch {
		case r.Method == "DELETE":
			deleted = append(deleted, r.URL.Path)
			w.WriteHeader(204)
			return
		case json.Unmarshal(body, &in) != nil:
			t.Errorf("%s %s: %s", r.Method, r.URL, body)
		case r.URL.Query().Get("dry_run") == "true":
			fmt.Fprint(w, `{"objects":[]}`)
			return
		case in.Objects[0].Username != "user_0": // somebody took a name meanwhile
			w.WriteHeader(409)
			fmt.Fprint(w, `{"error":"username already exists","details":{"7":{"username":"username already exists"}}}`)
			close(conflict)
			return
		}
		<-conflict
		var out struct {
			Objects []map[string]string `json:"objects"`
		}
		for i, o := range in.Objects {
			id := fmt.Sprint(100000000000000 + i)
			created = append(created, "/v1/Account/MA_FAR00001/Endpoint/"+id+"/")
			out.Objects = append(out.Objects, map[string]string{"username": o.Username, "endpoint_id": id})
		}
		w.WriteHeader(201)
		_ = json.NewEncoder(w).Encode(out)
	}))
	defer far.Close()
	var text strings.Builder
	text.WriteString("username,password\n")
	for i := range 2200 {
		fmt.Fprintf(&text, "user_%d,correct horse\n", i)
	}
	file := csvFile(t, text.String())
	t.Setenv("ONHOOK_URL", far.URL)
	t.Setenv("ONHOOK_AUTH_ID", "MA_FAR00001")
	t.Setenv("ONHOOK_AUTH_TOKEN", "x")
	code, _, stderr := run("endpoint", "import", file)
	if want := file + ":1009: username: username already exists"; code != exitFailed || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d, want %s: %s", code, want, stderr)
	}
	if len(created) != 1000 || fmt.Sprint(created) != fmt.Sprint(deleted) {
		t.Errorf("%d created, %d deleted", len(created), len(deleted))
	}
}

func TestWhichServer(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct{ want, args string }{
		{"which server?", "endpoint list"},
		{"is onhook dev running there?", "endpoint list --dir nowhere"},
		{"which account?", "endpoint list --url http://127.0.0.1:1"},
		{"nothing listens at http://127.0.0.1:1", "endpoint list --url http://127.0.0.1:1 --auth-id MA_X --auth-token x"},
		{"begins with http:// or https://", "endpoint list --url 127.0.0.1:5080 --auth-id MA_X --auth-token x"},
		{"which server?", "ban list"},
		{"which administration?", "trunk list --url http://127.0.0.1:1"},
	} {
		if code, _, stderr := run(strings.Fields(c.args)...); code != exitFailed || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d: %s", c.args, code, stderr)
		}
	}
}

// What is in the way is named in plain words.
func TestUnreachable(t *testing.T) {
	plain, secure := httptest.NewServer(http.NotFoundHandler()), httptest.NewTLSServer(http.NotFoundHandler())
	defer plain.Close()
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	for url, want := range map[string]string{
		strings.Replace(plain.URL, "http:", "https:", 1): "does not speak TLS: write " + plain.URL,
		secure.URL: "name the authority's file with --ca-file",
		plain.URL:  "HTTP 404 Not Found, which is not the API's own answer",
	} {
		code, _, stderr := run("endpoint", "list", "--url", url, "--auth-id", "MA_X", "--auth-token", "x")
		if code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s", url, code, stderr)
		}
	}
}

func TestBanCommands(t *testing.T) {
	d := startDev(t)
	if list := d.ok("ban", "list"); list != "BAN_ID  USERNAME  DOMAIN  SOURCE  REASON  ENDS\n" {
		t.Error(list)
	}
	d.refused("Ban not found", "ban", "lift", "k7d2m4qhx5ab3c6e")
	d.refused("or --all", "ban", "lift")
	d.refused("or --all", "ban", "lift", "k7d2m4qhx5ab3c6e", "--all")
	d.ok("ban", "lift", "--all")
	d.ok("trunk", "list")
}

// following starts a command that goes on until it is interrupted; stop does
// that.
func (d remoteDev) following(args ...string) (p *program, stop func()) {
	p = start(append(args, "--dir", d.dir)...)
	return p, func() { p.stop(d.t, syscall.SIGINT) }
}

func TestEventsAndWatch(t *testing.T) {
	d := startDev(t)
	events, stopEvents := d.following("events", "--types", "endpoint.*")
	lines, stopLines := d.following("endpoint", "watch")
	defer stopEvents()
	defer stopLines()
	// A stream tells what happens once it stands: somebody is made until both have seen one.
	for i := 0; ; i++ {
		name := fmt.Sprintf("grace_%d", i)
		d.ok("endpoint", "create", name)
		if strings.Contains(events.stdout.String(), "grace") && strings.Contains(lines.stdout.String(), "grace") {
			break
		}
		d.ok("endpoint", "delete", name)
	}
	d.ok("endpoint", "create", "heidi")
	d.ok("endpoint", "update", "heidi", "--alias", "Heidi")
	d.ok("endpoint", "delete", "heidi")
	for _, want := range []string{"endpoint.created", "endpoint.updated", "endpoint.deleted", "heidi  alias"} {
		if !events.stdout.waitFor(want) {
			t.Errorf("no %s in:\n%s", want, events.both)
		}
	}
	for _, want := range []string{"endpoint.updated              heidi  alias", "endpoint.deleted              heidi"} {
		if !lines.stdout.waitFor(want) {
			t.Errorf("no %s in:\n%s", want, lines.both)
		}
	}
}

// Whoever follows events is told that there are none, and that they go on.
func TestEventsAreCut(t *testing.T) {
	var connections atomic.Int32
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch connections.Add(1) {
		case 1:
			w.WriteHeader(503)
			fmt.Fprint(w, `{"error":"try again later"}`)
		case 2:
			fmt.Fprint(w, "data: {\"id\":\"01A\",\"type\":\"call.ended\",\"created_at\":\"2030-01-01T00:00:00Z\",\"data\":"+
				"{\"from\":\"sip:a@x\",\"to\":\"sip:b@x\",\"call_status\":\"busy\",\"end_time\":\"2030-01-01T00:00:00Z\",\"hangup_cause\":\"USER_BUSY\"}}\n\n")
		default:
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":"invalid credentials"}`)
		}
	}))
	defer far.Close()
	code, stdout, stderr := run("events", "--url", far.URL, "--auth-id", "MA_X", "--auth-token", "x")
	if want := "2030-01-01T00:00:00Z  01A  call.ended                    sip:a@x -> sip:b@x  busy  USER_BUSY\n"; stdout != want || code != exitFailed {
		t.Errorf("exit code %d: %q, want %q", code, stdout, want)
	}
	want := "onhook: the events are cut, trying again: try again later\nonhook: the events go on\nonhook: the events are cut, trying again: EOF\n" +
		"onhook: invalid credentials: " + far.URL + " does not know MA_X with this token, or has it disabled\n"
	if stderr != want {
		t.Errorf("%s\nwant\n%s", stderr, want)
	}
}

// The table on a terminal outlives its server: it says so, and goes on.
func TestWatchScreenIsCut(t *testing.T) {
	var connections atomic.Int32
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/events"):
			fmt.Fprint(w, `{"meta":{"total_count":60},"objects":[{"endpoint_id":"1","username":"alice","sip_registered":"true"}]}`)
		case connections.Add(1) == 1:
			w.WriteHeader(503)
			fmt.Fprint(w, `{"error":"try again later"}`)
		case connections.Load() == 2:
			fmt.Fprint(w, ": the stream begins\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer far.Close()
	screen := newOutput()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		c := &endpointWatch{}
		done <- c.screen(ctx, &Main{Stdout: screen}, client.New(far.URL, "MA_X", "x"))
	}()
	for _, want := range []string{"\r\x1b[Ktry again later", "alice     yes", "and 59 more"} {
		if !screen.waitFor(want) {
			t.Errorf("no %q in %q", want, screen)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.HasSuffix(screen.String(), "Ctrl-C ends\n") {
		t.Errorf("%v, %q", err, screen)
	}
}

func TestWebhookCommands(t *testing.T) {
	d := startDev(t)
	var made struct {
		ID     string `json:"webhook_id"`
		Secret string
	}
	d.json(&made, "webhook", "create", "http://127.0.0.1:1/hook", "--events", "endpoint.*,call.ended")
	if !strings.HasPrefix(made.Secret, "whsec_") {
		t.Errorf("%+v", made)
	}
	d.refused("url: Must be", "webhook", "create", "nowhere")
	d.refused("nothing to change", "webhook", "update", made.ID)
	d.ok("webhook", "update", made.ID, "--no-enabled", "--events", "call.*")
	for _, want := range []string{made.ID, "false", "call.*", "http://127.0.0.1:1/hook"} {
		if list := d.ok("webhook", "list"); !strings.Contains(list, want) || strings.Contains(list, made.Secret) {
			t.Errorf("no %s in:\n%s", want, list)
		}
	}
	d.refused("which events?", "webhook", "redeliver", made.ID)
	d.refused("Event not found", "webhook", "redeliver", made.ID, "--event", "01K8NWJ7C0A3T6VRZ0V2M1Q4XB")
	d.refused("is disabled", "webhook", "redeliver", made.ID, "--after", "01K8NWJ7C0A3T6VRZ0V2M1Q4XB")
	d.ok("webhook", "delete", made.ID)
	d.refused("Webhook not found", "webhook", "delete", made.ID)
}

func TestCallCommands(t *testing.T) {
	d := startDev(t)
	if text := d.ok("endpoint", "can-call", "alice", "bob"); !strings.HasPrefix(text, "no: 480 ") {
		t.Error(text)
	}
	d.refused("there is no endpoint nobody", "endpoint", "can-call", "nobody", "bob")
	d.refused("media: ", "endpoint", "can-call", "alice", "bob", "--media", "smell")
	for _, command := range []string{"call", "cdr"} {
		if text := d.ok(command, "list"); !strings.HasPrefix(text, "UUID  STARTED") || strings.Count(text, "\n") != 1 {
			t.Error(text)
		}
		if text := d.ok(command, "list", "--json"); text != "[]\n" {
			t.Error(text)
		}
	}
	const none = "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"
	d.refused("Call not found", "call", "end", none)
	d.refused("Call not found", "cdr", "get", none)
	d.refused("there is no endpoint nobody", "cdr", "list", "--endpoint", "nobody")
}

// What a terminal is shown.
func TestWatchScreen(t *testing.T) {
	d := startDev(t)
	api, err := (&place{Dir: d.dir}).find("")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	c := &endpointWatch{endpointList{StartsWith: "al"}}
	if err := c.draw(t.Context(), &Main{Stdout: &out}, api); err != nil {
		t.Fatal(err)
	}
	if screen := out.String(); !strings.HasPrefix(screen, "\x1b[H\x1b[2JENDPOINT_ID") || !strings.Contains(screen, "alice") || strings.Contains(screen, "bob") {
		t.Errorf("%q", screen)
	}
}

func TestTrunkCommands(t *testing.T) {
	d := startDev(t)
	if out := d.ok("trunk", "list"); !strings.HasPrefix(out, "NAME ") || strings.Count(out, "\n") != 1 {
		t.Errorf("no trunks: %s", out)
	}
	code, out, stderr := d.with("S3cret\n", "trunk", "create", "carrier", "sip:127.0.0.1:9", "--username", "us", "--password-stdin", "--register",
		"--prefix", "+49,+43", "--max-calls", "30", "--network", "192.0.2.7")
	if code != exitOK || out != "created carrier\n" {
		t.Fatalf("%d %s%s", code, out, stderr)
	}
	var shown struct {
		Username   string
		Register   bool
		Prefixes   []string
		Networks   []string
		MaxCalls   int    `json:"max_calls"`
		CallerIDIn string `json:"caller_id_in"`
		ReadOnly   bool   `json:"read_only"`
	}
	d.json(&shown, "trunk", "get", "carrier")
	if shown.Username != "us" || !shown.Register || strings.Join(shown.Prefixes, " ") != "+49 +43" || strings.Join(shown.Networks, " ") != "192.0.2.7/32" ||
		shown.MaxCalls != 30 || shown.ReadOnly {
		t.Errorf("%+v", shown)
	}
	d.ok("trunk", "update", "carrier", "--caller-id-in", "from", "--no-register", "--prefix", "")
	d.json(&shown, "trunk", "get", "carrier")
	if shown.CallerIDIn != "from" || shown.Register || len(shown.Prefixes) != 0 || shown.MaxCalls != 30 {
		t.Errorf("%+v", shown)
	}
	if out := d.ok("trunk", "get", "carrier"); !strings.Contains(out, "registration  off\n") || !strings.Contains(out, "calls         0/30\n") || strings.Contains(out, "S3cret") {
		t.Errorf("%s", out)
	}
	d.refused("nothing to change", "trunk", "update", "carrier")
	d.refused("there is a trunk carrier already", "trunk", "create", "carrier", "sip:127.0.0.1:9")
	d.refused(`"sip:" is not sip:host`, "trunk", "create", "other", "sip:")
	d.refused("there is no trunk other", "trunk", "delete", "other")

	d.ok("number", "create", "+4930100", "--endpoint", "alice")
	d.ok("number", "create", "+4930101", "--application", "12345678901234500")
	d.ok("number", "update", "+4930101", "--endpoint", "bob")
	d.refused("is not a number in E.164", "number", "create", "030", "--endpoint", "alice")
	var numbers []struct{ Number, Endpoint string }
	if d.json(&numbers, "number", "list"); len(numbers) != 2 || !strings.HasPrefix(numbers[1].Endpoint, "bob@") {
		t.Errorf("%+v", numbers)
	}
	d.ok("number", "delete", "+4930100")
	if out := d.ok("number", "list"); strings.Contains(out, "+4930100 ") || !strings.Contains(out, "+4930101 ") {
		t.Errorf("%s", out)
	}
	d.ok("trunk", "delete", "carrier")
	d.refused("there is no trunk carrier", "trunk", "get", "carrier")
}
