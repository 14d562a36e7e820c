package main

import (
	"bytes"
	"fmt"
	"strconv"
)

func (g *generator) callMany(n int, rate float64) error {
	return g.each(func(l *lane) error { return l.drive((n+lanes-1-l.index)/lanes, rate/lanes, l.call) })
}

// call is a call from outside the server's domains to a phone on the same
// socket, which rings and answers at once; the caller then hangs up.
func (l *lane) call(number, attempt int, msg []byte) (done bool, err error) {
	switch {
	case msg == nil:
		return false, l.invite(number, attempt)
	case bytes.HasPrefix(msg, []byte("INVITE ")):
		if err := l.answer(msg, "180 Ringing", ""); err != nil {
			return false, err
		}
		return false, l.answer(msg, "200 OK", offer)
	case bytes.HasPrefix(msg, []byte("BYE ")):
		return false, l.answer(msg, "200 OK", "")
	case bytes.HasPrefix(msg, []byte("ACK ")), bytes.HasPrefix(msg, []byte("SIP/2.0 1")):
		return false, nil
	case bytes.HasPrefix(msg, []byte("SIP/2.0 200")):
		if cseq, _ := header(msg, "CSeq: "); bytes.HasSuffix(cseq, []byte("BYE")) {
			return true, nil
		}
		if err := l.inDialog("ACK", 1, number, attempt, msg); err != nil {
			return false, err
		}
		return false, l.inDialog("BYE", 2, number, attempt, msg)
	}
	return false, fmt.Errorf("call %d:\n%s", number, msg)
}

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"

func (l *lane) invite(number, attempt int) error {
	b, err := l.buffer()
	if err != nil {
		return err
	}
	address := "<sip:" + l.phones[number%len(l.phones)].name + "@" + l.gen.domain + ">"
	b = append(b, "INVITE "+address[1:len(address)-1]+" SIP/2.0\r\n"...)
	b = l.appendVia(b, "i", 1, number, attempt)
	b = append(b, "Max-Forwards: 70\r\nFrom: <sip:caller@elsewhere.example>;tag=c"...)
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, "\r\nTo: "+address+"\r\n"...)
	b = l.appendCallID(b, number, attempt)
	b = append(b, "CSeq: 1 INVITE\r\nContact: <sip:caller@127.0.0.1:"+l.port+">\r\n"...)
	l.queue(appendBody(b, offer))
	return nil
}

func appendBody(b []byte, body string) []byte {
	if body != "" {
		b = append(b, "Content-Type: application/sdp\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// answer is the called phone's response.
func (l *lane) answer(req []byte, status, body string) error {
	b, err := l.buffer()
	if err != nil {
		return err
	}
	b = appendResponse(b, req, status)
	b = append(b, "Contact: <sip:phone@127.0.0.1:"+l.port+">\r\n"...)
	l.queue(appendBody(b, body))
	return nil
}

// appendResponse copies what RFC 3261 8.2.6.2 says.
func appendResponse(b, req []byte, status string) []byte {
	b = append(b, "SIP/2.0 "+status+"\r\n"...)
	for line := range lines(req) {
		switch {
		case bytes.HasPrefix(line, []byte("Via:")), bytes.HasPrefix(line, []byte("Record-Route:")), bytes.HasPrefix(line, []byte("From:")),
			bytes.HasPrefix(line, []byte("Call-ID:")), bytes.HasPrefix(line, []byte("CSeq:")):
			b = append(b, line...)
		case bytes.HasPrefix(line, []byte("To:")):
			b = append(b, bytes.TrimSuffix(line, []byte("\r\n"))...)
			if !bytes.Contains(line, []byte(";tag=")) {
				b = append(b, ";tag=callee"...)
			}
			b = append(b, "\r\n"...)
		}
	}
	return b
}

// lines are the header lines of a message with their ends.
func lines(msg []byte) func(yield func([]byte) bool) {
	head, _, _ := bytes.Cut(msg, []byte("\r\n\r\n"))
	head = msg[:min(len(msg), len(head)+2)]
	return func(yield func([]byte) bool) {
		for len(head) > 0 {
			end := bytes.IndexByte(head, '\n') + 1
			if end == 0 || !yield(head[:end]) {
				return
			}
			head = head[end:]
		}
	}
}

// inDialog is the caller's request within the dialog that a 200 made.
func (l *lane) inDialog(method string, cseq, number, attempt int, ok []byte) error {
	b, err := l.buffer()
	if err != nil {
		return err
	}
	b = append(b, method+" sip:phone@127.0.0.1:"+l.port+" SIP/2.0\r\n"...)
	b = l.appendVia(b, method, cseq, number, attempt)
	b = append(b, "Max-Forwards: 70\r\n"...)
	for line := range lines(ok) {
		switch {
		case bytes.HasPrefix(line, []byte("Record-Route:")): // there is one: caller and callee use the same transport
			b = append(append(b, "Route:"...), line[len("Record-Route:"):]...)
		case bytes.HasPrefix(line, []byte("From:")), bytes.HasPrefix(line, []byte("To:")), bytes.HasPrefix(line, []byte("Call-ID:")):
			b = append(b, line...)
		}
	}
	b = append(b, "CSeq: "...)
	b = strconv.AppendInt(b, int64(cseq), 10)
	b = append(b, " "+method+"\r\n"...)
	l.queue(appendBody(b, ""))
	return nil
}
