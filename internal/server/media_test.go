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
		"v=0\r\nm=image 4000 udptl t38\r\n":  {Other: true},
		"v=0\nm=audio 1 RTP/AVP 0\nm=video 2 x 9": {Audio: true, Video: true},
	} {
		if got := media(&sip.Message{Body: []byte(body)}); got != want {
			t.Errorf("%q: %+v, wants %+v", body, got, want)
		}
	}
}

// What nobody can read may be anything (RFC 3261 23, 20.12).
func TestMediaThatCannotBeRead(t *testing.T) {
	for _, fields := range []string{
		"Content-Type: application/pkcs7-mime\r\n",
		"Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n",
		"Content-Type: multipart/encrypted; boundary=x\r\n",
	} {
		m := &sip.Message{}
		text := "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:b@h>\r\n" +
			"Call-ID: c\r\nCSeq: 1 INVITE\r\n" + fields + "Content-Length: 1\r\n\r\nx"
		if err := m.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, want := media(m), (routing.Media{Audio: true, Opaque: true}); got != want {
			t.Errorf("%s: %+v, wants %+v", fields, got, want)
		}
	}
}
