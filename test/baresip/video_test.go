package baresip

import (
	"fmt"
	"testing"

	"onhook/test/devserver"
)

// videoPackets is a second or two of the camera that does not exist.
const videoPackets = 20

// Two phones with cameras call each other: where one endpoint may not use video
// they talk without it.
func TestVideo(t *testing.T) {
	t.Parallel()
	s := devserver.Shared(t)
	for name, c := range map[string]struct{ caller, callee bool }{
		"both may": {true, true}, "the callee may not": {true, false}, "the caller may not": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.CreateEndpoint(t, "ba_video_a", map[string]any{"allow_video": c.caller})
			o := s.CreateEndpoint(t, "ba_video_b", map[string]any{"allow_video": c.callee})
			alice := StartWithVideo(t, s, a, "udp", "")
			bob := StartWithVideo(t, s, o, "tcp", ";answermode=auto")
			alice.WaitLog(t, `200 OK \(.*\[1 binding\]`, registerLimit)
			bob.WaitLog(t, `200 OK \(.*\[1 binding\]`, registerLimit)
			alice.Command(t, "dial", "sip:"+o.Username+"@"+s.SIP.UDP)
			alice.WaitEvent(t, "CALL_ESTABLISHED", callLimit)
			for _, p := range []*Phone{alice, bob} {
				watch(t, p, c.caller && c.callee)
			}
			alice.Command(t, "hangup", "")
			bob.WaitEvent(t, "CALL_CLOSED", callLimit)
		})
	}
}

// watch waits until enough audio has gone both ways, and as much video as may.
func watch(t *testing.T, p *Phone, video bool) {
	t.Helper()
	err := devserver.Until(callLimit, func() error {
		sent, received := p.Packets(t)
		videoSent, videoReceived := p.VideoPackets(t)
		if sent < audioPackets || received < audioPackets || video && (videoSent < videoPackets || videoReceived < videoPackets) {
			return fmt.Errorf("%s has sent %d RTP packets and received %d, of video %d and %d", p.name, sent, received, videoSent, videoReceived)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sent, received := p.VideoPackets(t); !video && sent+received > 0 {
		t.Errorf("%s has sent %d packets of video and received %d", p.name, sent, received)
	}
}
