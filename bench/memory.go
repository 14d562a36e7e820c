package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// memoryResult is what a million of each costs.
type memoryResult struct {
	bindings                                  int
	imported                                  float64 // rows per second
	perEndpoint, perBinding, perBindingLoaded float64 // bytes
	startEmpty, startFull                     time.Duration
}

func memory(s settings, dir string) (r memoryResult, err error) {
	r.bindings = s.bindings
	bare, info, err := startOnhook(s.binary, 0, dir, "onhook")
	if err != nil {
		return r, err
	}
	base, err := bare.resident()
	if err != nil {
		return r, errors.Join(err, bare.stop())
	}
	began := time.Now()
	if err := errors.Join(info.createEndpoints(r.bindings), bare.stop()); err != nil {
		return r, err
	}
	r.imported = float64(r.bindings) / time.Since(began).Seconds()
	srv, took, err := bare.restart(dir, "onhook")
	if err != nil {
		return r, err
	}
	r.startEmpty = took
	empty, err := settled(srv)
	if err != nil {
		return r, errors.Join(err, srv.stop())
	}
	r.perEndpoint = each(empty-base, r.bindings)
	gen, err := newGenerator(srv, r.bindings, s.window)
	if err != nil {
		return r, errors.Join(err, srv.stop())
	}
	err = gen.register(gen.users, 0)
	gen.close()
	full, memoryErr := settled(srv)
	if err := errors.Join(err, memoryErr, srv.stop()); err != nil {
		return r, err
	}
	r.perBinding = each(full-empty, r.bindings)
	again, took, err := bare.restart(dir, "onhook")
	if err != nil {
		return r, err
	}
	r.startFull = took
	loaded, err := settled(again)
	r.perBindingLoaded = each(loaded-empty, r.bindings)
	return r, errors.Join(err, again.stop())
}

// idleResult is what a browser costs that only waits for calls.
type idleResult struct {
	clients   int
	perClient float64 // bytes
}

// perAddress is how many clients share one source address: a server lets so
// many connect from one.
const perAddress = 500

func idleClients(s settings, dir string) (r idleResult, err error) {
	r.clients = s.clients
	srv, info, err := startOnhook(s.binary, r.clients, dir, "onhook")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	pem, err := os.ReadFile(info.CAFile)
	if err != nil {
		return r, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	before, err := settled(srv)
	if err != nil {
		return r, err
	}
	var mu sync.Mutex
	var conns []net.Conn
	var errs []error
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	var wg sync.WaitGroup
	for worker := range lanes {
		wg.Go(func() {
			for user := worker; user < r.clients; user += lanes {
				c, err := browser(info, roots, user)
				mu.Lock()
				if err != nil {
					errs = append(errs, fmt.Errorf("client %d: %w", user, err))
				} else {
					conns = append(conns, c)
				}
				stop := len(errs) > 0
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return r, err
	}
	after, err := settled(srv)
	r.perClient = each(after-before, r.clients)
	return r, err
}

// browser connects over WSS and registers one user.
func browser(info devInfo, roots *x509.CertPool, user int) (net.Conn, error) {
	from := net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(1+user/perAddress))}
	dialer := ws.Dialer{
		Protocols: []string{"sip"},
		TLSConfig: &tls.Config{RootCAs: roots},
		NetDial:   (&net.Dialer{LocalAddr: &from}).DialContext,
		Header:    ws.HandshakeHeaderHTTP(http.Header{"Origin": {"https://bench.invalid"}}),
		Timeout:   20 * time.Second,
	}
	c, _, _, err := dialer.Dial(context.Background(), info.SIP["wss"])
	if err != nil {
		return nil, err
	}
	p := newPhone(user, info.Domain)
	for range 2 {
		p.cseq++
		if err := wsutil.WriteClientText(c, webRegister(&p, info.Domain)); err != nil {
			return nil, err
		}
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return nil, err
		}
		answer, err := wsutil.ReadServerText(c)
		if err != nil {
			return nil, err
		}
		if nonce, ok := challenge(answer, "WWW-Authenticate: "); ok {
			p.nonce = append(p.nonce[:0], nonce...)
			continue
		}
		if string(answer[:11]) == "SIP/2.0 200" {
			return c, nil
		}
		return nil, fmt.Errorf("REGISTER:\n%s", answer)
	}
	return nil, errors.New("challenged twice")
}

// webRegister is the REGISTER of a browser, as JsSIP writes it.
func webRegister(p *phone, domain string) []byte {
	b := fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/WSS %[2]s.invalid;branch=z9hG4bK%[2]s.%[3]d\r\nMax-Forwards: 69\r\n"+
		"To: <sip:%[2]s@%[1]s>\r\nFrom: <sip:%[2]s@%[1]s>;tag=%[2]s\r\nCall-ID: %[2]s-web\r\nCSeq: %[3]d REGISTER\r\n"+
		"Contact: <sip:%[2]s@%[2]s.invalid;transport=ws>;+sip.ice;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012[4]s>\";expires=3600\r\n"+
		"Expires: 3600\r\nAllow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\nSupported: path,gruu,outbound\r\n"+
		"User-Agent: JsSIP bench\r\n", domain, p.name, p.cseq, p.name[1:])
	if len(p.nonce) > 0 {
		p.nc++
		b = p.appendAuthorization(b, domain)
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}
