package browser

import (
	"strings"
	"testing"

	"onhook/test/devserver"
)

// videoPackets is a second or two of the fake camera.
const videoPackets = 30

// Two pages call each other with audio and video in one BUNDLE group. Where both
// endpoints may use video it flows; where one may not, its stream is refused and
// the audio connects all the same, also when the video comes first and carries
// the transport of both.
func TestVideo(t *testing.T) {
	s := devserver.Shared(t)
	b := Start(t)
	for _, c := range []struct {
		name           string
		caller, callee bool // allow_video
		call           map[string]any
	}{
		{"both may", true, true, map[string]any{"video": true}},
		{"both may, video first, max-bundle", true, true, map[string]any{"video": true, "bundlePolicy": "max-bundle", "videoFirst": true}},
		{"the callee may not", true, false, map[string]any{"video": true}},
		{"the caller may not", false, true, map[string]any{"video": true}},
		{"the callee may not, max-bundle", true, false, map[string]any{"video": true, "bundlePolicy": "max-bundle"}},
		{"the callee may not, video first, max-bundle", true, false, map[string]any{"video": true, "bundlePolicy": "max-bundle", "videoFirst": true}},
		{"the caller may not, video first, max-bundle", false, true, map[string]any{"video": true, "bundlePolicy": "max-bundle", "videoFirst": true}},
		{"the callee may not, video first", true, false, map[string]any{"video": true, "videoFirst": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			alice, bob := b.Open(t), b.Open(t)
			a := s.CreateEndpoint(t, "js_alice", map[string]any{"allow_video": c.caller})
			o := s.CreateEndpoint(t, "js_bob", map[string]any{"allow_video": c.callee})
			registerToAnswer(t, s, alice, s.SIP.WSS, a, nil)
			registerToAnswer(t, s, bob, s.SIP.WSS, o, map[string]any{"video": true})
			if got := alice.Do(t, "call", o.URI, c.call); strings.HasPrefix(got, "failed") {
				t.Fatalf("the call: %s\nalice:\n%s\nbob:\n%s", got, alice.log(), bob.log())
			}
			flows(t, alice, bob, "audio", audioPackets)
			if c.caller && c.callee {
				flows(t, alice, bob, "video", videoPackets)
			}
			for name, page := range map[string]*Page{"alice": alice, "bob": bob} {
				n, err := page.packets("video")
				if err != nil {
					t.Fatal(err)
				}
				if !(c.caller && c.callee) && n != (Packets{}) {
					t.Errorf("%s exchanged video: %+v", name, n)
				}
				t.Logf("%s: video %+v, %s", name, n, page.Do(t, "streams"))
			}
			for _, page := range []*Page{alice, bob} { // later offers, from either side
				if got := page.Do(t, "hold") + page.Do(t, "unhold"); got != "heldon" {
					t.Fatalf("hold: %s\nalice:\n%s\nbob:\n%s", got, alice.log(), bob.log())
				}
				goesOn(t, alice, bob)
			}
			alice.Do(t, "hangup")
			bob.Do(t, "until", "ended")
		})
	}
}
