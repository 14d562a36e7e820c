package routing

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"onhook/internal/account"
	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
	"onhook/internal/trunk"
)

// fixture is the world of testdata/decisions.txt.
type fixture struct{}

var defaults = account.Permissions{Voice: true, Message: true, SameDomain: true, Phones: true, Apps: true}

func (fixture) Endpoint(domain, user string) (Endpoint, bool) {
	id, ok := map[string]account.EndpointID{"alice": 1, "bob": 2, "carol": 3, "mute": 4, "1001": 5, "vera": 6, "shy": 7}[strings.ToLower(user)]
	e := Endpoint{ID: id, Username: user, Domain: domain, Allow: defaults}
	switch id {
	case 4:
		e.Allow = account.Permissions{SameDomain: true}
	case 6:
		e.Allow.Video = true
	case 7:
		e.NoExternalCalls = true
	}
	return e, ok
}

func (fixture) ByID(id account.EndpointID) (Endpoint, bool) {
	return map[account.EndpointID]Endpoint{2: {ID: 2, Username: "bob", Domain: "example.com", Allow: defaults}}[id], id == 2
}

func (fixture) Domain(host string, _ uint16) (string, bool) {
	return "example.com", strings.EqualFold(host, "example.com") || host == "192.0.2.1"
}

func (fixture) Application(id string) bool { return id == "123" }

func (fixture) AppDomain(host string) bool { return strings.EqualFold(host, "app.example.com") }

func (fixture) Lookup(key location.Key, dst []location.Binding) []location.Binding {
	switch key {
	case 2:
		dst = append(dst, location.Binding{Q: 1000, Flow: sip.Flow{Transport: sip.UDP}, InstanceID: "urn:uuid:1", GRUUs: 1},
			location.Binding{Q: 1000, Flow: sip.Flow{Transport: sip.WSS}, InstanceID: "urn:uuid:2", GRUUs: 2})
	case 4, 5, 6, 7:
		dst = append(dst, location.Binding{Q: 1000, Flow: sip.Flow{Transport: sip.UDP}})
	}
	return dst
}

// Candidates has two trunks for numbers of Germany and none for others.
func (fixture) Candidates(number string) []trunk.Candidate {
	if strings.HasPrefix(number, "+49") {
		return make([]trunk.Candidate, 2)
	}
	return nil
}

func (fixture) Callee(number string) (c trunk.Callee, ok bool) {
	c, ok = map[string]trunk.Callee{"+4930100": {User: "bob"}, "+4930101": {User: "carol"}, "+4930102": {User: "gone"}, "+4930103": {Application: "1"}}[number]
	c.Domain = "example.com"
	return c, ok
}

func TestDecisions(t *testing.T) {
	text, err := os.ReadFile("testdata/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	router := Router{Names: fixture{}, Bindings: fixture{}, Phones: fixture{}, GRUUs: gruus(t), ExternalCalls: true}
	cases := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		cases++
		question, want, ok := strings.Cut(line, " = ")
		if !ok {
			t.Fatalf("no outcome in %q", line)
		}
		if got := decide(t, router, strings.Fields(question)); got != strings.TrimSpace(want) {
			t.Errorf("%s: got %s", line, got)
		}
	}
	if cases < 30 {
		t.Errorf("only %d cases were read", cases)
	}
}

func gruus(t *testing.T) *sipgruu.GRUUs {
	t.Helper()
	g, err := sipgruu.New([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// RFC 5627 6.1: a temporary GRUU reaches its device until this begins another
// registration; then it is void.
func TestTemporaryGRUU(t *testing.T) {
	g := gruus(t)
	router := Router{Names: fixture{}, Bindings: fixture{}, GRUUs: g, ExternalCalls: true}
	for _, c := range []struct {
		key          location.Key
		instance     string
		gruus        uint32
		caller, want string
	}{
		{2, "urn:uuid:1", 1, "alice", "endpoint 1"},
		{2, "urn:uuid:2", 2, "external", "endpoint 1"},
		{2, "urn:uuid:1", 2, "alice", "404 gruu.expired"},
		{2, "urn:uuid:3", 1, "alice", "404 gruu.expired"},
		{2, "urn:uuid:3", 1, "external", "480 -"},
		{99, "urn:uuid:1", 1, "alice", "404 endpoint.unknown"},
	} {
		uri := string(g.AppendTemporary(nil, "example.com", c.key, &location.Binding{InstanceID: c.instance, GRUUs: c.gruus}))
		if got := decide(t, router, []string{c.caller, "INVITE", uri, "audio"}); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func decide(t *testing.T, router Router, words []string) string {
	t.Helper()
	req := Request{}
	switch words[0] {
	case "external":
	case "trunk":
		req.Caller.Kind = Trunk
	default:
		e, ok := fixture{}.Endpoint("example.com", words[0])
		if !ok {
			t.Fatalf("no caller %q", words[0])
		}
		req.Caller = Caller{Kind: Known, Endpoint: e}
	}
	for words = words[1:]; words[0][0] == '+' || words[0][0] == '-' || strings.HasPrefix(words[0], "numbers="); words = words[1:] {
		if numbers, ok := strings.CutPrefix(words[0], "numbers="); ok {
			req.Caller.Limits = append(req.Caller.Limits, account.Limits{NumberPrefixes: numbers})
			continue
		}
		allow := &req.Caller.Endpoint.Allow
		flag, ok := map[string]*bool{"voice": &allow.Voice, "message": &allow.Message, "video": &allow.Video, "same": &allow.SameDomain,
			"other": &allow.OtherDomains, "phones": &allow.Phones, "apps": &allow.Apps}[words[0][1:]]
		if !ok {
			t.Fatalf("no flag %q", words[0])
		}
		*flag = words[0][0] == '+'
	}
	u, err := sip.ParseURI(words[1])
	if err != nil {
		t.Fatalf("%s: %v", words[1], err)
	}
	req.Method, req.Target = words[0], u
	for word := range strings.SplitSeq(strings.TrimPrefix(words[2], "-"), "+") {
		is, ok := map[string]*bool{"audio": &req.Media.Audio, "video": &req.Media.Video, "other": &req.Media.Other, "opaque": &req.Media.Opaque, "": new(bool)}[word]
		if !ok {
			t.Fatalf("no media %q", word)
		}
		*is = true
	}
	d := router.Decide(req)
	if d.Allowed && d.WithoutVideo {
		return fmt.Sprintf("%s %d without video", d.Via, len(d.Targets)+len(d.Lines))
	}
	if d.Allowed {
		return fmt.Sprintf("%s %d", d.Via, len(d.Targets)+len(d.Lines))
	}
	if d.Reason == "" {
		d.Reason = "-"
	}
	return fmt.Sprintf("%d %s", d.Status, d.Reason)
}

// Callers from outside can be kept out altogether.
func TestNoExternalCalls(t *testing.T) {
	router := Router{Names: fixture{}, Bindings: fixture{}}
	if got := decide(t, router, []string{"external", "INVITE", "sip:bob@example.com", "audio"}); got != "403 relay.denied" {
		t.Errorf("got %s", got)
	}
}

// Those known to be reachable ring before suspects, and a higher q before a
// lower one; equals ring together (RFC 3261 16.6).
func TestGroups(t *testing.T) {
	targets := []location.Binding{
		{ID: "suspect", Q: 1000, State: location.Suspect}, {ID: "half", Q: 500}, {ID: "new", Q: 1000}, {ID: "old", Q: 1000},
	}
	Order(targets)
	var got []string
	for len(targets) > 0 {
		var group []location.Binding
		group, targets = NextGroup(targets)
		var ids []string
		for _, b := range group {
			ids = append(ids, b.ID)
		}
		got = append(got, strings.Join(ids, "+"))
	}
	if want := "new+old half suspect"; strings.Join(got, " ") != want {
		t.Errorf("order %q, wants %q", got, want)
	}
}
