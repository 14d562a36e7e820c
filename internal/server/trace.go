package server

import (
	"net/netip"
	"time"

	"onhook/internal/account"
	"onhook/internal/api"
	"onhook/internal/sip"
	"onhook/internal/siptrace"
	"onhook/internal/siptransport"
)

// tap is the transport as those who send see it: what they send is traced.
type tap struct {
	*siptransport.Transport
	traces *siptrace.Recorder
}

func (t tap) Send(flow sip.Flow, msg []byte) error {
	t.traces.Out(msg, flow)
	return t.Transport.Send(flow, msg)
}

func (p *path) tap() tap { return tap{p.transport, p.traces} }

// owners are the endpoints that an attempt concerns: who registers, calls or is
// called, by name; the attempt may well be somebody else's. A name that nobody
// has is Nobody's.
func (p *path) owners(m *sip.Message, dst []uint64) []uint64 {
	named := func(u *sip.URI) {
		domain, ours := p.names.Domain(u.Host, u.Port)
		if !ours || !u.HasUser {
			return
		}
		owner := siptrace.Nobody
		if r := p.directory.Find(domain, sip.Unescape(u.User)); r != nil {
			owner = uint64(r.ID())
		}
		if len(dst) == 0 || dst[0] != owner {
			dst = append(dst, owner)
		}
	}
	if m.Method == sip.REGISTER {
		named(&m.ToURI)
		return dst
	}
	named(&m.FromURI)
	named(&m.Target)
	return dst
}

func (p *path) localAddr(flow sip.Flow) netip.AddrPort { return p.transport.Addr(int(flow.Listener)) }

// traces shows the recorded attempts to the API (api.Traces).
type traces struct{ *siptrace.Recorder }

func (t traces) Attempts(id account.EndpointID) []api.Attempt {
	list := []api.Attempt{}
	for _, a := range t.Recorder.Attempts(uint64(id)) {
		out := api.Attempt{ID: a.ID, Kind: string(a.Kind), StartedAt: a.Started, Outcome: string(a.Outcome), Reason: a.Reason, Sentence: a.Sentence, Omitted: a.Omitted}
		for _, m := range a.Messages {
			out.Messages = append(out.Messages, api.AttemptMessage{At: m.At.UTC().Format(time.RFC3339Nano), From: m.From.String(), To: m.To.String(),
				Transport: m.Transport.Param(), Text: string(m.Text)})
		}
		list = append(list, out)
	}
	return list
}

func (t traces) Text(id account.EndpointID) []byte {
	return siptrace.AppendText(nil, t.Recorder.Attempts(uint64(id)))
}

func (t traces) PCAP(id account.EndpointID) []byte {
	return siptrace.AppendPCAP(nil, t.Recorder.Attempts(uint64(id)))
}
