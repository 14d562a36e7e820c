package siptransaction

import "onhook/internal/sip"

// receiveAgain answers a retransmitted request; false when it is a new one.
func (l *Layer) receiveAgain(k key, m *sip.Message, flow sip.Flow) bool {
	s := l.shard(k)
	s.mu.Lock()
	if tx := s.servers[k]; tx != nil {
		// Accepted absorbs it (RFC 6026 7.1): the 2xx is retransmitted end to end.
		last := tx.last
		if last == nil {
			s.stats.absorbed++
		} else {
			s.stats.retransmitted++
		}
		s.mu.Unlock()
		if last != nil {
			l.send(ResponseFlow(m, flow), last)
		}
		return true
	}
	response := s.finished.get(k)
	if response == nil {
		s.mu.Unlock()
		return false
	}
	s.stats.retransmitted++
	buf := l.scratch.Get().(*[]byte)
	*buf = append((*buf)[:0], response...) // the place it lies in may be reused once unlocked
	s.mu.Unlock()
	l.send(ResponseFlow(m, flow), *buf)
	l.scratch.Put(buf)
	return true
}

// receiveACK takes the ACK of a failed INVITE. The ACK of a 2xx goes up, also
// where its sender gave it the INVITE's branch (RFC 6026 7.1 Accepted).
func (l *Layer) receiveACK(m *sip.Message, flow sip.Flow) bool {
	k := l.hash.server(m, flow, sip.INVITE)
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := s.servers[k]
	if tx == nil || tx.state == accepted {
		return false
	}
	if tx.state != completed {
		s.stats.absorbed++
		return true
	}
	s.wheel.stop(&tx.retry)
	tx.state, tx.user, tx.last = confirmed, nil, nil
	if tx.flow.Transport.Reliable() { // Timer I is zero
		tx.remove()
	} else {
		s.wheel.set(&tx.end, l.deadline(l.config.T4))
	}
	return true
}

// receiveCancel answers a CANCEL in a transaction of its own (RFC 3261 9.2) and
// passes it on where its INVITE still waits for an answer. A CANCEL of another
// method has no effect by the RFC, and gets 481 here.
func (l *Layer) receiveCancel(m *sip.Message, flow sip.Flow) {
	k := l.hash.server(m, flow, sip.CANCEL)
	if l.receiveAgain(k, m, flow) {
		return
	}
	invite := l.hash.server(m, flow, sip.INVITE)
	s := l.shard(invite)
	s.mu.Lock()
	tx := s.servers[invite]
	pending := false
	var last []byte
	if tx == nil {
		s.stats.cancelMiss++
	} else {
		pending = tx.state == proceeding && !tx.cancelled
		tx.cancelled = true
		last = tx.last
	}
	s.mu.Unlock()

	status := 200
	if tx == nil {
		status = 481
	}
	buf := l.scratch.Get().(*[]byte)
	response := sip.AppendReply((*buf)[:0], m, flow.Remote, status, "", l.cancelTag(invite, last))
	response = sip.AppendBody(response, nil)
	own := l.shard(k)
	own.mu.Lock()
	l.keep(own, k, flow, response)
	own.mu.Unlock()
	l.send(ResponseFlow(m, flow), response)
	*buf = response
	l.scratch.Put(buf)
	if pending && l.config.Handler != nil {
		l.config.Handler.Cancel(tx, m)
	}
}

// cancelTag is the To tag of the answer to a CANCEL: that of the INVITE's last
// response where there is one (RFC 3261 9.2).
func (l *Layer) cancelTag(invite key, last []byte) string {
	tag := ""
	if last != nil {
		m := l.messages.Get().(*sip.Message)
		if m.Parse(last) == nil {
			tag = m.To.Tag() // a view of last, which is never changed
		}
		m.Reset()
		l.messages.Put(m)
	}
	if tag == "" {
		tag = l.hash.toTag(invite)
	}
	return tag
}
