package dev

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"text/template"
)

// info is dev.json: what a program needs to use the environment.
type info struct {
	APIURL     string  `json:"api_url"`
	AuthID     string  `json:"auth_id"`
	AuthToken  string  `json:"auth_token"`
	AdminToken string  `json:"admin_token"` // for X-Admin-Token
	Domain     string  `json:"domain"`
	SIP        sipInfo `json:"sip"`
	CAFile     string  `json:"ca_file"`
}

type sipInfo struct {
	UDP string `json:"udp"` // host:port
	TCP string `json:"tcp"`
	TLS string `json:"tls"`
	WS  string `json:"ws"` // URL
	WSS string `json:"wss"`
}

func (e *Env) info() info {
	p := e.state.Ports
	return info{
		APIURL: "http://" + hostPort(loopback, p.API), AuthID: e.state.AuthID, AuthToken: e.state.AuthToken,
		AdminToken: e.state.AdminToken, Domain: Domain,
		SIP: sipInfo{
			UDP: hostPort(loopback, p.UDP), TCP: hostPort(loopback, p.TCP), TLS: hostPort(loopback, p.TLS),
			WS: "ws://" + hostPort(loopback, p.WS), WSS: "wss://" + hostPort(loopback, p.WSS),
		},
		CAFile: e.path(caCert),
	}
}

// Publish writes dev.json; the server must be listening. It is output only:
// nothing here reads it.
func (e *Env) Publish() error {
	text, err := json.MarshalIndent(e.info(), "", "  ")
	if err != nil {
		return fmt.Errorf("dev.json: %w", err)
	}
	return writeWhole(e.infoPath(), append(text, '\n'))
}

// Hints prints what to paste next.
func (e *Env) Hints(w io.Writer) error {
	addrs := e.addrs()
	host := addrs[len(addrs)-1] // the one that phones elsewhere can reach
	port := func(p uint16) string { return net.JoinHostPort(host.String(), strconv.Itoa(int(p))) }
	p := e.state.Ports
	err := hints.Execute(w, map[string]any{
		"Info": e.info(), "Dir": e.dir, "Alice": e.Password("alice"), "Bob": e.Password("bob"),
		"UDP": port(p.UDP), "TCP": port(p.TCP), "TLS": port(p.TLS), "WS": port(p.WS), "WSS": port(p.WSS),
	})
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

var hints = template.Must(template.New("hints").Parse(`
onhook dev is ready. Its state is in {{.Dir}}; stop it and delete that folder to start anew.

  API        {{.Info.APIURL}}   (reference: {{.Info.APIURL}}/docs)
  SIP        udp {{.UDP}}   tcp {{.TCP}}   tls {{.TLS}}
  WebSocket  ws://{{.WS}}   wss://{{.WSS}}
  CA file    {{.Info.CAFile}}   (trust it for tls and wss)
  alice      {{.Alice}}
  bob        {{.Bob}}   (first passwords; a changed one is known to you alone)

Who is registered?

  curl -u '{{.Info.AuthID}}:{{.Info.AuthToken}}' {{.Info.APIURL}}/v1/Account/{{.Info.AuthID}}/Endpoint/

One more endpoint:

  curl -u '{{.Info.AuthID}}:{{.Info.AuthToken}}' {{.Info.APIURL}}/v1/Account/{{.Info.AuthID}}/Endpoint/ \
    -H 'Content-Type: application/json' -d '{"username": "carol", "password": "choose 8 or more"}'

Two phones with baresip, each in a terminal of its own:

  mkdir -p {{.Dir}}/alice && echo '<sip:alice@{{.UDP}};transport=udp>;auth_pass={{.Alice}};regint=300' > {{.Dir}}/alice/accounts && baresip -f {{.Dir}}/alice
  mkdir -p {{.Dir}}/bob && echo '<sip:bob@{{.UDP}};transport=udp>;auth_pass={{.Bob}};regint=300' > {{.Dir}}/bob/accounts && baresip -f {{.Dir}}/bob

In alice's type /dial sip:bob@{{.UDP}}, in bob's /accept.

Linphone, "Use a SIP account":

  Username alice   Password {{.Alice}}   Domain {{.UDP}}   Transport UDP

A browser, with JsSIP:

  const ua = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface('ws://{{.WS}}')],
    uri: 'sip:alice@{{.Info.Domain}}', password: '{{.Alice}}'})
  ua.start()

`))
