package sdp

import (
	"bytes"
	"testing"
)

func seed(f *testing.F) {
	for _, file := range []string{"refuse.txt", "streams.txt"} {
		for _, c := range cases(f, file) {
			f.Add(c.body.Type, c.body.Bytes)
			f.Add(c.body.Type, bytes.ReplaceAll(c.body.Bytes, []byte("\n"), []byte("\r\n")))
		}
	}
	f.Add("", []byte("m=video 1\rm=audio 2\n\rm=x"))
}

// Parsed and written, a description is the same bytes; and once its video is
// refused it has as many streams, no video that flows, the other streams as
// before, and nothing left to refuse.
func FuzzRefuse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, _ string, b []byte) {
		d := Parse(b)
		if got := d.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%q becomes %q", b, got)
		}
		before, found := d.Streams(), Scan(b)
		active := 0
		for _, s := range before {
			if s.Active && equalFold([]byte(s.Kind), Video) {
				active++
			}
		}
		if found.Video != (active > 0) || found.Described != (len(before) > 0) {
			t.Fatalf("Scan finds %+v, Streams %+v", found, before)
		}
		if n := d.Refuse(Video); n > active {
			t.Fatalf("%d refused of %d", n, active)
		}
		again := Parse(d.Append(nil))
		after := again.Streams()
		if len(after) != len(before) {
			t.Fatalf("%d streams become %d", len(before), len(after))
		}
		for i, s := range after {
			video := equalFold([]byte(s.Kind), Video)
			want := before[i].Active && !video || s.Active && video && s.Bundle > 0 && s.Direction == "inactive"
			if s.Kind != before[i].Kind || s.MID != before[i].MID || s.Active != want {
				t.Fatalf("stream %d of %q\nwas %+v\nis  %+v", i, b, before[i], s)
			}
		}
		if again.Refuse(Video) != 0 {
			t.Fatal("there was more to refuse")
		}
	})
}

// A multipart body keeps what is no session description, and has no video left
// that could be refused.
func FuzzBody(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, kind string, b []byte) {
		body := Body{Type: kind, Bytes: b}
		before := body.Media()
		edited := Body{Type: kind, Bytes: body.Refuse(Video)}
		after := edited.Media()
		if !before.Video && !bytes.Equal(edited.Bytes, b) {
			t.Fatalf("%q was changed to %q", b, edited.Bytes)
		}
		before.Video, after.Video = false, false
		if again := edited.Refuse(Video); after != before || !bytes.Equal(again, edited.Bytes) {
			t.Fatalf("%q: %+v becomes %q: %+v, and then %q", b, before, edited.Bytes, after, again)
		}
	})
}
