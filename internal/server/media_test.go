package server

import (
	"testing"

	"onhook/internal/routing"
	"onhook/internal/sip"
)

// What is not SDP counts as no SDP: the streams come later in the call.
func TestMedia(t *testing.T) {
	for body, want := range map[string]routing.Media{
		"":                                   {Audio: true},
		"not SDP":                            {Audio: true},
		"v=0\r\nm=audio 4000 RTP/AVP 0\r\n":  {Audio: true},
		"v=0\r\nm=video 4000 RTP/AVP 96\r\n": {Video: true},
		"v=0\r\nm=image 4000 udptl t38\r\n":  {},
		"v=0\nm=audio 1 RTP/AVP 0\nm=video 2 x 9": {Audio: true, Video: true},
	} {
		if got := media(&sip.Message{Body: []byte(body)}); got != want {
			t.Errorf("%q: %+v, wants %+v", body, got, want)
		}
	}
}
