package sipproxy

import (
	"slices"
	"strconv"
	"strings"

	"onhook/internal/sip"
)

// maxEarly bounds the early dialogs that are kept of one branch.
const maxEarly = 4

// noteEarly keeps the early dialog that a provisional response is of, where the
// caller wants to hear of its end before the call's. The fork is locked.
func (b *branch) noteEarly(resp *sip.Message) {
	tag := resp.To.Tag()
	if tag == "" || b.fork.inDialog != nil || !b.fork.req.HasOption(sip.Supported, "199") {
		return
	}
	at := slices.Index(b.early, tag)
	switch {
	case resp.Status == 199 && at >= 0: // the device has told it itself
		b.early = slices.Delete(b.early, at, at+1)
	case resp.Status != 199 && at < 0 && len(b.early) < maxEarly:
		b.early = append(b.early, strings.Clone(tag))
	}
}

// endEarly tells the caller that a branch's early dialogs are over while the call
// goes on elsewhere. The fork is locked.
//
// RFC 6228 6: a proxy sends 199 for each, but not where it would have to be
// acknowledged, which takes a dialog.
func (b *branch) endEarly(a answer) {
	f := b.fork
	if len(b.early) == 0 || f.req.HasOption(sip.Require, "100rel") {
		return
	}
	for _, tag := range b.early {
		msg := sip.AppendReply(nil, f.req, f.source.Remote, 199, "", tag)
		msg = sip.AppendHeader(msg, sip.Reason, "SIP;cause="+strconv.Itoa(a.status))
		f.tx.Respond(199, sip.AppendBody(msg, nil))
	}
	b.early = nil
}

// more reports whether there are targets left to try. The fork is locked.
func (f *fork) more() bool {
	r := f.redirects
	return len(f.targets) > 0 || r != nil && (len(r.queue) > 0 || len(r.left) > 0)
}
