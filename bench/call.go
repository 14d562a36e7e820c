package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// invite is one step of a call: this lane is the caller, from outside the
// server's domains, and the phone that is called, on the same socket.
func (l *lane) invite(job int, msg []byte) bool {
	run := l.gen.run
	switch {
	case msg == nil:
		user := "u" + strconv.Itoa((job%(l.gen.users/lanes))*lanes+l.index())
		l.send(fmt.Appendf(nil, "INVITE sip:%[1]s@%[2]s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%[3]d;rport;branch=z9hG4bKi%[4]d.%[5]d.%[3]d\r\nMax-Forwards: 70\r\n"+
			"From: <sip:caller@elsewhere.example>;tag=c%[5]d\r\nTo: <sip:%[1]s@%[2]s>\r\nCall-ID: %[4]d-%[5]d@bench\r\nCSeq: 1 INVITE\r\n"+
			"Contact: <sip:caller@127.0.0.1:%[3]d>\r\nContent-Type: application/sdp\r\nContent-Length: %[6]d\r\n\r\n%[7]s",
			user, l.gen.srv.dev.Domain, l.port, run, job, len(offer), offer))
	case bytes.HasPrefix(msg, []byte("INVITE ")):
		l.send(l.answer(msg, "180 Ringing", ""))
		l.send(l.answer(msg, "200 OK", offer))
	case bytes.HasPrefix(msg, []byte("BYE ")):
		l.send(l.answer(msg, "200 OK", ""))
	case bytes.HasPrefix(msg, []byte("SIP/2.0 200")):
		cseq, _ := header(msg, "CSeq: ")
		if bytes.HasSuffix(cseq, []byte("BYE")) {
			return true
		}
		l.send(l.inDialog("ACK", 1, job, msg))
		l.send(l.inDialog("BYE", 2, job, msg))
	}
	return false
}

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"

// answer is the called phone's response: it copies what RFC 3261 8.2.6.2 says.
func (l *lane) answer(req []byte, status, body string) []byte {
	b := fmt.Appendf(nil, "SIP/2.0 %s\r\n", status)
	for line := range bytes.SplitSeq(req, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(": "))
		if !ok {
			continue
		}
		switch string(name) {
		case "Via", "Record-Route", "From", "Call-ID", "CSeq":
			b = fmt.Appendf(b, "%s\r\n", line)
		case "To":
			b = append(b, line...)
			if !bytes.Contains(value, []byte(";tag=")) {
				b = append(b, ";tag=callee"...)
			}
			b = append(b, "\r\n"...)
		}
	}
	return fmt.Appendf(b, "Contact: <sip:phone@127.0.0.1:%d>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", l.port, len(body), body)
}

// inDialog is the caller's request within the dialog that a 200 made.
func (l *lane) inDialog(method string, cseq, job int, ok []byte) []byte {
	b := fmt.Appendf(nil, "%s sip:phone@127.0.0.1:%d SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=z9hG4bK%s%d.%d.%d\r\nMax-Forwards: 70\r\n",
		method, l.port, l.port, method, l.gen.run, job, l.port)
	for line := range bytes.SplitSeq(ok, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Record-Route": // there is one: caller and callee use the same transport
			b = fmt.Appendf(b, "Route: %s\r\n", value)
		case "From", "To", "Call-ID":
			b = fmt.Appendf(b, "%s\r\n", line)
		}
	}
	return fmt.Appendf(b, "CSeq: %d %s\r\nContent-Length: 0\r\n\r\n", cseq, method)
}
