package siptransaction

// shardStats are the counts that a shard's lock guards.
type shardStats struct {
	serversBegun, clientsBegun     uint64
	retransmitted, absorbed        uint64
	timeouts, ackTimeouts          uint64
	abandoned, dropped, cancelMiss uint64
}

// Stats is a snapshot: counts since the start, and what there is at present.
type Stats struct {
	ServersBegun  uint64
	ClientsBegun  uint64
	Retransmitted uint64 // messages sent again, by a timer or for a retransmission
	Absorbed      uint64 // retransmissions that needed no answer
	Timeouts      uint64 // client transactions without a final response
	ACKTimeouts   uint64 // failed INVITEs whose ACK never came
	Abandoned     uint64 // server transactions that were never answered
	DroppedEarly  uint64 // finished transactions forgotten at the byte bound
	CancelMisses  uint64 // CANCELs without an INVITE, answered 481
	Stray         uint64 // responses without a request
	SendFailures  uint64

	Servers       int // not finished
	Clients       int
	Finished      int // answered, kept for retransmissions
	FinishedBytes int
	Timers        int // armed
	Connections   int // that client transactions wait on
}

// Stats returns a snapshot.
func (l *Layer) Stats() Stats {
	st := Stats{Stray: l.stray.Load(), SendFailures: l.sendFails.Load(), Connections: l.conns.count()}
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		st.ServersBegun += s.stats.serversBegun
		st.ClientsBegun += s.stats.clientsBegun
		st.Retransmitted += s.stats.retransmitted
		st.Absorbed += s.stats.absorbed
		st.Timeouts += s.stats.timeouts
		st.ACKTimeouts += s.stats.ackTimeouts
		st.Abandoned += s.stats.abandoned
		st.DroppedEarly += s.stats.dropped
		st.CancelMisses += s.stats.cancelMiss
		st.Servers += len(s.servers)
		st.Clients += len(s.clients)
		st.Finished += s.finished.count
		st.FinishedBytes += s.finished.bytes
		st.Timers += s.wheel.armed
		s.mu.Unlock()
	}
	return st
}
