package sdp

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// textCase is one case of testdata.
type textCase struct {
	name string
	body Body
	want string
}

func cases(tb testing.TB, file string) (list []textCase) {
	tb.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	for _, part := range strings.Split("\n"+string(raw), "\n== ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		input, want, ok := strings.Cut(rest, "\n---\n")
		if !ok {
			tb.Fatalf("%s: no ---", name)
		}
		c := textCase{name: name, want: strings.TrimRight(want, "\n")}
		for {
			line, more, _ := strings.Cut(input, "\n")
			if value, ok := strings.CutPrefix(line, "type: "); ok {
				c.body.Type, input = value, more
			} else if value, ok := strings.CutPrefix(line, "encoding: "); ok {
				c.body.Encoding, input = value, more
			} else {
				break
			}
		}
		c.body.Bytes = []byte(input + "\n")
		list = append(list, c)
	}
	return list
}

// each runs f on every case, with both kinds of line breaks.
func each(t *testing.T, file string, f func(t *testing.T, c textCase)) {
	for _, c := range cases(t, file) {
		t.Run(c.name, func(t *testing.T) { f(t, c) })
		t.Run(c.name+" CRLF", func(t *testing.T) {
			c.body.Bytes = bytes.ReplaceAll(c.body.Bytes, []byte("\n"), []byte("\r\n"))
			f(t, c)
		})
	}
}

var partLength = regexp.MustCompile(`(?s)Content-Length: (\d+).*?\n\r?\n(.*?)\r?\n--`)

// RFC 3264 6 and 8.2, RFC 5888 9.2, RFC 9143 7: a refused stream has port zero
// and no tag in a group, and everything else is as it was.
func TestRefuse(t *testing.T) {
	each(t, "refuse.txt", func(t *testing.T, c textCase) {
		before := bytes.Clone(c.body.Bytes)
		got := c.body.Refuse(Video)
		if !bytes.Equal(c.body.Bytes, before) {
			t.Error("the body itself was written to")
		}
		if c.want == "unchanged" {
			if &got[0] != &c.body.Bytes[0] || len(got) != len(before) {
				t.Errorf("changed to\n%s", got)
			}
			return
		}
		if found := partLength.FindSubmatch(got); found != nil {
			if n, err := strconv.Atoi(string(found[1])); err != nil || n != len(found[2]) {
				t.Errorf("Content-Length %s of a part of %d bytes", found[1], len(found[2]))
			}
			got = bytes.Replace(got, found[1], []byte("LENGTH"), 1)
		}
		if crlf, lf := bytes.Count(got, []byte("\r\n")), bytes.Count(got, []byte("\n")); crlf != 0 && crlf != lf {
			t.Errorf("mixed line breaks: %q", got)
		}
		if lf := strings.ReplaceAll(string(got), "\r\n", "\n"); lf != c.want+"\n" {
			t.Errorf("got\n%s\nwants\n%s", lf, c.want)
		}
	})
}

func TestStreams(t *testing.T) {
	each(t, "streams.txt", func(t *testing.T, c textCase) {
		var got []string
		if c.body.Type == "" {
			for _, s := range Parse(c.body.Bytes).Streams() {
				got = append(got, show(s))
			}
		}
		m, line := c.body.Media(), "media:"
		for name, is := range map[string]bool{"described": m.Described} {
			if is {
				line += " " + name
			}
		}
		for _, f := range []struct {
			name string
			is   bool
		}{{"audio", m.Audio}, {"video", m.Video}, {"other", m.Other}, {"opaque", m.Opaque}} {
			if f.is {
				line += " " + f.name
			}
		}
		got = append(got, line)
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("got\n%s\nwants\n%s", text, c.want)
		}
	})
}

func show(s Stream) string {
	text := fmt.Sprintf("%s %d %s", s.Kind, s.Port, s.Direction)
	if s.MID != "" {
		text += " mid " + s.MID
	}
	if s.Bundle > 0 {
		text += fmt.Sprintf(" bundle %d", s.Bundle)
	}
	if s.BundleOnly {
		text += " bundle-only"
	}
	if !s.Active {
		text += " refused"
	}
	return text
}

// The last line may lack its break: what is put behind it has to begin a line.
func TestNoLastBreak(t *testing.T) {
	body := "a=group:BUNDLE v a\r\nm=audio 0 RTP/AVP 0\r\na=bundle-only\r\na=mid:a\r\nm=video 5 RTP/AVP 96\r\na=mid:v"
	want := body + "\r\na=inactive\r\n"
	if got := (Body{Bytes: []byte("m=video 5 RTP/AVP 96")}).Refuse(Video); string(got) != "m=video 0 RTP/AVP 96" {
		t.Errorf("got %q", got)
	}
	if got := (Body{Bytes: []byte(body)}).Refuse(Video); string(got) != want {
		t.Errorf("got %q, wants %q", got, want)
	}
}

// What has no video costs a look at its m= lines.
func TestScanAllocatesNothing(t *testing.T) {
	b := Body{Type: "application/sdp", Bytes: cases(t, "refuse.txt")[0].body.Bytes}
	if n := testing.AllocsPerRun(100, func() { Scan(b.Bytes) }); n != 0 {
		t.Errorf("Scan makes %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { b.Media() }); n != 0 {
		t.Errorf("Media makes %v allocations", n)
	}
}

func BenchmarkMedia(b *testing.B) {
	body := cases(b, "refuse.txt")[0].body
	b.ReportAllocs()
	for b.Loop() {
		body.Media()
	}
}
