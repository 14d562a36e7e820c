package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// callMany makes calls from outside the server's domains, or from phones that
// have to authenticate.
func (g *generator) callMany(n int, rate float64, digest bool) error {
	return g.each(func(l *lane) error {
		return l.drive(l.share(n), rate/lanes, func(number, attempt int, msg []byte) (bool, error) {
			return l.call(number, attempt, msg, digest)
		})
	})
}

// call is a call to a phone on the same socket, which rings and answers at
// once; the caller then hangs up.
func (l *lane) call(number, attempt int, msg []byte, digest bool) (done bool, err error) {
	switch {
	case msg == nil:
		return false, l.invite(number, attempt, digest, nil)
	case bytes.HasPrefix(msg, []byte("SIP/2.0 407")):
		nonce, ok := challenge(msg, "Proxy-Authenticate: ")
		if cseq, _ := header(msg, "CSeq: "); !ok || !digest || !bytes.HasPrefix(cseq, []byte("1 ")) {
			return false, fmt.Errorf("call %d was challenged:\n%s", number, msg)
		}
		if err := l.refused(number, attempt, msg); err != nil {
			return false, err
		}
		return false, l.invite(number, attempt, digest, nonce)
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
		invite := inviteCSeq(digest)
		if err := l.inDialog("ACK", invite, number, attempt, msg); err != nil {
			return false, err
		}
		return false, l.inDialog("BYE", invite+1, number, attempt, msg)
	}
	return false, fmt.Errorf("call %d:\n%s", number, msg)
}

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"

// inviteCSeq is the number of the INVITE that is answered with 200.
func inviteCSeq(digest bool) int {
	if digest {
		return 2
	}
	return 1
}

func (l *lane) callee(number int) string {
	return "sip:" + l.phones[number%len(l.phones)].name + "@" + l.gen.domain
}

// invite sends the INVITE, the second time with the answer to a challenge.
func (l *lane) invite(number, attempt int, digest bool, nonce []byte) error {
	b, err := l.buffer()
	if err != nil {
		return err
	}
	cseq, uri := 1, l.callee(number)
	if nonce != nil {
		cseq = inviteCSeq(digest)
	}
	b = append(b, "INVITE "+uri+" SIP/2.0\r\n"...)
	b = l.appendVia(b, "i", cseq, number, attempt)
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = l.appendFrom(b, number, digest)
	b = append(b, "To: <"+uri+">\r\n"...)
	b = l.appendCallID(b, number, attempt)
	b = append(b, "CSeq: "...)
	b = strconv.AppendInt(b, int64(cseq), 10)
	b = append(b, " INVITE\r\nContact: <sip:caller@127.0.0.1:"+l.port+">\r\n"...)
	if nonce != nil {
		b = l.caller(number).appendCredentials(b, "Proxy-Authorization", "INVITE", uri, l.gen.domain, nonce, 1)
	}
	l.queue(appendBody(b, offer))
	return nil
}

// caller is the phone that calls where it has to authenticate.
func (l *lane) caller(number int) *phone { return &l.phones[(number+1)%len(l.phones)] }

func (l *lane) appendFrom(b []byte, number int, digest bool) []byte {
	from := "caller@elsewhere.example"
	if digest {
		from = l.caller(number).name + "@" + l.gen.domain
	}
	b = append(b, "From: <sip:"+from+">;tag=c"...)
	b = strconv.AppendInt(b, int64(number), 10)
	return append(b, "\r\n"...)
}

// refused is the ACK of a refusal (RFC 3261 17.1.1.3).
func (l *lane) refused(number, attempt int, msg []byte) error {
	b, err := l.buffer()
	if err != nil {
		return err
	}
	b = append(b, "ACK "+l.callee(number)+" SIP/2.0\r\n"...)
	b = l.appendVia(b, "i", 1, number, attempt)
	b = append(b, "Max-Forwards: 70\r\n"...)
	for line := range lines(msg) {
		if bytes.HasPrefix(line, []byte("From:")) || bytes.HasPrefix(line, []byte("To:")) || bytes.HasPrefix(line, []byte("Call-ID:")) {
			b = append(b, line...)
		}
	}
	l.queue(appendBody(append(b, "CSeq: 1 ACK\r\n"...), ""))
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
