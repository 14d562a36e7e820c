package registrar_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/location"
	"onhook/internal/location/journaltest"
	"onhook/internal/registrar"
	"onhook/internal/sip"
)

// replier keeps the one answer it gets.
type replier struct{ got chan string }

func newReplier() *replier { return &replier{make(chan string, 2)} }

func (r *replier) Respond(_ int, msg []byte) { r.got <- string(msg) }

func parse(tb testing.TB, text string) *sip.Message {
	tb.Helper()
	m := new(sip.Message)
	if err := m.Parse([]byte(text)); err != nil {
		tb.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// world is one registrar's life.
type world struct {
	t         *testing.T
	index     *location.Index
	registrar *registrar.Registrar
	feed      *location.Feed
	cseq, max int
	bound     map[string]bool
	line      int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, bound: map[string]bool{}}
	w.index = location.New(location.Config{
		Journal: journaltest.NewMemory(),
		Bound:   func(f sip.Flow) { w.bound[flowName(f)] = true },
		Idle:    func(f sip.Flow) { delete(w.bound, flowName(f)) },
	})
	w.registrar = registrar.New(registrar.Config{Index: w.index, FlowTimer: 2 * time.Minute})
	w.feed = w.index.Subscribe(100)
	go func() { _ = w.index.Run(context.Background()) }()
	return w
}

func flowName(f sip.Flow) string {
	return strings.ToLower(f.Transport.String()) + "#" + strconv.FormatUint(f.Conn, 10)
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("line %d: %s", w.line, fmt.Sprintf(format, args...))
}

// flow reads "tcp#3 192.0.2.1:5060".
func (w *world) flow(s string) (f sip.Flow) {
	w.t.Helper()
	name, remote, _ := strings.Cut(s, " ")
	transport, conn, _ := strings.Cut(name, "#")
	var ok bool
	if f.Transport, ok = sip.ParseTransport(transport); !ok {
		w.fatalf("no transport: %q", s)
	}
	if conn != "" {
		f.Conn, _ = strconv.ParseUint(conn, 10, 64)
	}
	if remote != "" {
		f.Remote = netip.MustParseAddrPort(remote)
	}
	return f
}

// request completes the header fields that a case does not care about.
func (w *world) request(fields []string) string {
	has := func(name string) bool {
		return slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, name+":") })
	}
	w.cseq++
	var b strings.Builder
	b.WriteString("REGISTER sip:example.com SIP/2.0\r\n")
	for name, value := range map[string]string{"Via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport",
		"From": "<sip:alice@example.com>;tag=f", "To": "<sip:alice@example.com>", "Call-ID": "call", "CSeq": fmt.Sprint(w.cseq, " REGISTER")} {
		if !has(name) {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	return b.String() + "Content-Length: 0\r\n\r\n"
}

// register sends a request and returns the answer, reduced to its status and
// the fields that say something.
func (w *world) register(source string, fields []string) []string {
	w.t.Helper()
	m := new(sip.Message)
	if err := m.Parse([]byte(w.request(fields))); err != nil {
		return []string{"400"} // the transport's answer
	}
	r := newReplier()
	w.registrar.Register(m, w.flow(source), registrar.AOR{Key: 7, MaxContacts: w.max, Domain: "example.com"}, r)
	text := <-r.got
	parse(w.t, text)
	lines := strings.Split(strings.TrimSuffix(text, "\r\n\r\n"), "\r\n")
	said := []string{strings.Fields(lines[0])[1]}
	for _, l := range lines[1:] {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Contact", "Path", "Require", "Flow-Timer", "Unsupported", "Min-Expires", "Retry-After":
			said = append(said, l)
		}
	}
	return said
}

func (w *world) events() []string {
	synctest.Wait()
	var list []string
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := w.feed.Next(ctx)
		if err != nil {
			return list
		}
		list = append(list, e.Type.String())
	}
}

func (w *world) equal(what string, got, want []string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.fatalf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// play goes through the file line by line.
func (w *world) play(file string) {
	f, err := os.Open(file)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var source string
	var fields, got, want []string
	asked := false
	answered := func() {
		if asked {
			w.equal("answer", got, want)
		}
		asked, fields, want = false, nil, nil
	}
	for in := bufio.NewScanner(f); in.Scan(); {
		line := strings.TrimSpace(in.Text())
		command, rest, _ := strings.Cut(line, " ")
		if asked && (command == "" || !strings.HasSuffix(command, ":")) {
			answered()
		}
		w.line++
		switch {
		case line == "" || command == "#":
		case command == ">":
			source = rest
		case command == "<":
			got, want, asked = w.register(source, fields), []string{rest}, true
		case strings.HasSuffix(command, ":"):
			if asked {
				want = append(want, line)
			} else {
				fields = append(fields, line)
			}
		case command == "wait":
			d, err := time.ParseDuration(rest)
			if err != nil {
				w.fatalf("%v", err)
			}
			time.Sleep(d)
			synctest.Wait()
		case command == "closed":
			delete(w.bound, rest)
			w.index.FlowClosed(w.flow(rest))
			synctest.Wait()
		case command == "events":
			w.equal("events", w.events(), strings.Fields(rest))
		case command == "bound":
			var names []string
			for name := range w.bound {
				names = append(names, name)
			}
			slices.Sort(names)
			w.equal("bound", names, strings.Fields(rest))
		case command == "max":
			w.max, _ = strconv.Atoi(rest)
		default:
			w.fatalf("not understood: %s", line)
		}
	}
	answered()
}

// RFC 3261 10.3: the cases of testdata.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.index.Close()
				w.play(file)
			})
		})
	}
}
