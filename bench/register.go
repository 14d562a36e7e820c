package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

const password = "benchmark-password"

// phone is one user's device.
type phone struct {
	name  string
	ha1   []byte // in hex
	cseq  int
	nonce []byte
	nc    int
	sent  time.Time // the last REGISTER
}

func userName(i int) string { return "u" + strconv.Itoa(i) }

func ha1(user, realm string) []byte {
	sum := md5.Sum([]byte(user + ":" + realm + ":" + password))
	return hex.AppendEncode(nil, sum[:])
}

func newPhone(user int, domain string) phone {
	name := userName(user)
	return phone{name: name, ha1: ha1(name, domain)}
}

// register registers n phones, the first of each lane, as ones that have just
// been switched on.
func (g *generator) register(n int, rate float64) error {
	return g.each(func(l *lane) error {
		for i := range l.phones {
			l.phones[i].nonce = l.phones[i].nonce[:0]
		}
		return l.drive(l.share(n), rate/lanes, l.registering(l.share(n), 3600))
	})
}

// refresh registers phones again n times, one after the other, each with the
// nonce it has.
func (g *generator) refresh(n int, rate float64) error {
	return g.each(func(l *lane) error { return l.drive(l.share(n), rate/lanes, l.registering(l.share(n), 3600)) })
}

func (g *generator) unregisterAll() error {
	return g.each(func(l *lane) error { return l.drive(len(l.phones), 0, l.registering(len(l.phones), 0)) })
}

// registering is a registration, n of which are to come: the request, and another
// after a 401.
func (l *lane) registering(n, expires int) step {
	challenged := make([]bool, n)
	return func(number, attempt int, answer []byte) (bool, error) {
		p := &l.phones[number%len(l.phones)]
		switch {
		case answer == nil:
		case bytes.HasPrefix(answer, []byte("SIP/2.0 200")):
			return true, nil
		case bytes.HasPrefix(answer, []byte("SIP/2.0 401")):
			nonce, ok := challenge(answer, "WWW-Authenticate: ")
			if !ok || challenged[number] && attempt == 0 {
				return false, fmt.Errorf("%s was challenged twice, or not with qop:\n%s", p.name, answer)
			}
			p.nonce, p.nc, challenged[number] = append(p.nonce[:0], nonce...), 0, true
		default:
			return false, fmt.Errorf("REGISTER of %s:\n%s", p.name, answer)
		}
		p.cseq++
		p.sent = time.Now()
		b, err := l.buffer()
		if err != nil {
			return false, err
		}
		l.queue(l.appendRegister(b, p, number, attempt, expires))
		return false, nil
	}
}

func challenge(msg []byte, field string) (nonce []byte, ok bool) {
	value, _ := header(msg, field)
	_, nonce, _ = bytes.Cut(value, []byte(`nonce="`))
	nonce, _, ok = bytes.Cut(nonce, []byte(`"`))
	return nonce, ok && bytes.Contains(value, []byte(`qop="auth"`))
}

func (l *lane) appendRegister(b []byte, p *phone, number, attempt, expires int) []byte {
	domain := l.gen.domain
	b = append(b, "REGISTER sip:"+domain+" SIP/2.0\r\n"...)
	b = l.appendVia(b, "r", p.cseq, number, attempt)
	b = append(b, "Max-Forwards: 70\r\nFrom: <sip:"...)
	b = append(b, p.name...)
	b = append(b, "@"+domain+">;tag=f"...)
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, "\r\nTo: <sip:"...)
	b = append(b, p.name...)
	b = append(b, "@"+domain+">\r\n"...)
	b = l.appendCallID(b, number, attempt)
	b = append(b, "CSeq: "...)
	b = strconv.AppendInt(b, int64(p.cseq), 10)
	b = append(b, " REGISTER\r\nContact: <sip:"...)
	b = append(b, p.name...)
	b = append(b, "@127.0.0.1:"+l.port+">\r\nExpires: "...)
	b = strconv.AppendInt(b, int64(expires), 10)
	b = append(b, "\r\nUser-Agent: bench\r\n"...)
	if len(p.nonce) > 0 {
		p.nc++
		b = p.appendAuthorization(b, domain)
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

func (l *lane) appendVia(b []byte, kind string, cseq, number, attempt int) []byte {
	b = append(b, "Via: SIP/2.0/UDP 127.0.0.1:"+l.port+";rport;branch=z9hG4bK"+kind...)
	for _, n := range [...]int{l.gen.runs, cseq, number, attempt} {
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, "\r\n"...)
}

func (l *lane) appendCallID(b []byte, number, attempt int) []byte {
	b = append(b, "Call-ID: "...)
	b = strconv.AppendInt(b, int64(l.gen.runs), 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(number), 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(attempt), 10)
	return append(b, "@bench"+l.port+"\r\n"...)
}

// appendAuthorization answers the challenge that the phone has.
func (p *phone) appendAuthorization(b []byte, domain string) []byte {
	return p.appendCredentials(b, "Authorization", "REGISTER", "sip:"+domain, domain, p.nonce, p.nc)
}

// appendCredentials answers a challenge (RFC 7616 3.4.1, with MD5).
func (p *phone) appendCredentials(b []byte, field, method, uri, realm string, nonce []byte, nc int) []byte {
	ha2 := md5.Sum([]byte(method + ":" + uri))
	count := fmt.Appendf(nil, "%08x", nc)
	in := make([]byte, 0, 256)
	in = append(append(in, p.ha1...), ':')
	in = append(append(in, nonce...), ':')
	in = append(append(in, count...), ":bench:auth:"...)
	in = hex.AppendEncode(in, ha2[:])
	response := md5.Sum(in)
	b = append(b, field+`: Digest username="`+p.name+`", realm="`+realm+`", nonce="`...)
	b = append(b, nonce...)
	b = append(b, `", uri="`+uri+`", response="`...)
	b = hex.AppendEncode(b, response[:])
	b = append(b, `", algorithm=MD5, cnonce="bench", qop=auth, nc=`...)
	b = append(b, count...)
	return append(b, "\r\n"...)
}
