package server

import (
	"fmt"

	"onhook/internal/metrics"
	"onhook/internal/sip"
	"onhook/internal/trunk"
)

// samples are the figures of /metrics.
func (s *Server) samples(emit func(metrics.Sample)) {
	p := s.path
	counter := func(name, help string, n uint64, labels ...string) {
		emit(metrics.Sample{Name: name, Help: help, Counter: true, Labels: labels, Value: float64(n)})
	}
	gauge := func(name, help string, n int, labels ...string) {
		emit(metrics.Sample{Name: name, Help: help, Labels: labels, Value: float64(n)})
	}

	gauge("endpoints", "Endpoints there are.", p.directory.Len())
	bindings := p.index.Stats()
	gauge("registered_endpoints", "Endpoints with a live binding.", bindings.Keys)
	gauge("bindings", "Live bindings.", bindings.Bindings)
	journal := s.journalStats()
	gauge("journal_bytes", "Size of the binding journal.", int(journal.Bytes))
	gauge("journal_records", "Records of the binding journal that count.", journal.Records)
	gauge("journal_segments", "Files of the binding journal.", journal.Segments)
	counter("journal_compactions_total", "Files of the binding journal that were compacted away.", journal.Compacted)
	compacted := 0
	if !journal.Compaction.IsZero() {
		compacted = int(journal.Compaction.Unix())
	}
	gauge("journal_compaction_timestamp_seconds", "When the last one was, in seconds since 1970; 0: none since the start.", compacted)
	gauge("journal_pending", "Binding changes waiting for the disk.", bindings.Pending)
	counter("journal_failures_total", "Binding commits that failed.", bindings.JournalFailures)
	counter("journal_refused_total", "Binding changes refused because too many were waiting.", bindings.Refused)

	gauge("bindings_probed", "Live bindings over UDP that are probed.", p.index.Probed())
	probes := p.probes.Stats()
	counter("probes_total", "OPTIONS sent to ask whether a device is there.", probes.Sent, "result", "sent")
	counter("probes_total", "OPTIONS sent to ask whether a device is there.", probes.Answered, "result", "answered")
	counter("probes_total", "OPTIONS sent to ask whether a device is there.", probes.Missed, "result", "missed")

	transport := p.transport.Stats()
	for t := sip.UDP; t <= sip.WSS; t++ {
		counter("sip_messages_received_total", "SIP messages received, well formed.", transport.Received[t], "transport", t.Param())
		counter("sip_messages_sent_total", "SIP messages sent.", transport.Sent[t], "transport", t.Param())
	}
	gauge("connections", "Open connections.", int(transport.Open))
	gauge("connections_bound", "Open connections that carry a binding.", int(transport.Bound))
	for _, d := range []struct {
		reason string
		n      uint64
	}{
		{"junk", transport.Junk}, {"malformed", transport.Malformed}, {"rate_limited", transport.RateLimited},
		{"unread", transport.Unread}, {"overdue", transport.Overdue}, {"overloaded", transport.Overloaded},
	} {
		counter("sip_dropped_total", "Messages not taken, by reason.", d.n, "reason", d.reason)
	}
	for _, d := range []struct {
		reason string
		n      uint64
	}{
		{"refused", transport.Refused}, {"handshake", transport.HandshakeError}, {"silent", transport.Silent}, {"idle", transport.Idle},
		{"slow_reader", transport.QueueFull}, {"vanished", transport.Vanished},
	} {
		counter("connections_ended_total", "Connections the server refused or closed, by reason.", d.n, "reason", d.reason)
	}
	counter("keepalives_total", "Keepalives answered.", transport.Pings)

	traces := p.traces.Stats()
	gauge("trace_bytes", "Memory of the recorded attempts to register and to call.", traces.Bytes)
	gauge("trace_endpoints", "Endpoints with recorded attempts.", traces.Endpoints)

	tx := p.transactions.Stats()
	counter("transactions_total", "Transactions begun.", tx.ServersBegun, "side", "server")
	counter("transactions_total", "Transactions begun.", tx.ClientsBegun, "side", "client")
	gauge("transactions", "Transactions under way.", tx.Servers, "side", "server")
	gauge("transactions", "Transactions under way.", tx.Clients, "side", "client")
	gauge("answers_kept", "Final responses kept for requests that are sent again.", tx.Finished)
	gauge("answers_kept_bytes", "Their size.", tx.FinishedBytes)
	counter("answers_dropped_early_total", "Such responses forgotten before their time because there were too many.", tx.DroppedEarly)
	counter("retransmissions_total", "Messages sent again.", tx.Retransmitted)
	counter("transaction_timeouts_total", "Requests that nobody answered.", tx.Timeouts)

	for _, l := range p.trunks.Lines() {
		gauge("trunk_calls", "Calls under way on a trunk.", l.Calls(), "trunk", l.Name)
		counter("trunk_calls_refused_total", "Calls that a trunk's max_calls left no room for, either way.", l.Refused(), "trunk", l.Name)
		if l.Register {
			up := 0
			if l.Registration().State == trunk.Registered {
				up = 1
			}
			gauge("trunk_registered", "Whether we are registered with a trunk.", up, "trunk", l.Name)
		}
	}
	dns := p.resolver.Stats()
	counter("dns_queries_total", "Questions asked of DNS.", dns.Queries)
	counter("dns_failures_total", "Questions that DNS did not answer.", dns.Failures)
	counter("dns_known_total", "Other domains found without asking.", dns.Cached)
	counter("dns_refused_total", "Requests refused because too many lookups were under way.", dns.Busy)
	gauge("dns_answers", "DNS answers kept.", dns.Answers)
	gauge("dns_lookups", "Lookups under way.", dns.Lookups)
	gauge("avoided_servers", "Servers of other domains that failed and are tried last.", dns.Avoided)

	hub, events := s.hub.Stats(), s.events.Stats()
	counter("events_total", "Events made.", hub.Made)
	counter("events_lost_total", "Events that could not be made because too many waited; streams are told by stream.gap.", hub.Lost)
	counter("events_failures_total", "Times that events could not be written.", hub.Failures)
	gauge("events_queued", "Changes and calls that wait to become events.", hub.Queued)
	gauge("events_bytes", "Size of the kept events.", int(events.Bytes))
	gauge("event_subscribers", "Event streams and webhooks that are served.", events.Subscribers)
	counter("event_subscribers_slow_total", "Times that one was too slow for its memory and went on from the files.", events.Slow)
	counter("events_damaged_total", "Times that kept events could not be read.", events.Damaged)

	hooks := s.delivery.Stats()
	gauge("webhooks", "Enabled webhooks.", hooks.Webhooks)
	gauge("webhooks_failing", "Webhooks whose last attempt failed.", hooks.Failing)
	gauge("webhook_events_waiting", "Events on their way to webhooks.", hooks.Waiting)
	counter("webhook_deliveries_total", "Attempts to deliver an event.", hooks.Delivered, "result", "delivered")
	counter("webhook_deliveries_total", "Attempts to deliver an event.", hooks.Failed, "result", "failed")
	counter("webhooks_disabled_total", "Webhooks given up after a day of failing.", hooks.Disabled)

	counter("auth_challenges_total", "401 and 407 sent.", p.stats.challenged.Load())
	bans := p.bans.Stats()
	mode := s.cfg.Auth.Bans
	counter("auth_wrong_digests_total", "Wrong digests with a good nonce, as bans count them.", bans.Wrong)
	counter("auth_bans_total", "Bans made for wrong digests.", bans.Made, "mode", mode)
	gauge("auth_bans", "Bans under way.", bans.Active, "mode", mode)
	counter("auth_ban_refused_total", "Requests refused for a ban; in the mode dry_run those that would have been.", bans.Refused, "mode", mode)
	counter("auth_bans_lifted_total", "Bans ended through the API.", bans.Lifted)
	gauge("auth_ban_pairs", "Pairs of source and user with wrong digests remembered.", bans.Pairs)
	counter("auth_ban_evicted_total", "Such pairs forgotten early because the table was full.", bans.Evicted)
	counter("panics_total", "Messages lost to a mistake in the program; see the log.", p.stats.panics.Load())
	counter("calls_over_limit_total", "Calls refused for a limit of an endpoint or account.", p.limiter.refused.Load())
	counter("refused_total", "Requests refused.", p.stats.refused.Load())
	counter("refused_stopping_total", "Requests refused because the server was stopping.", p.stats.drained.Load())

	watched := p.notifier.Stats()
	gauge("registration_subscriptions", "Subscriptions to registrations under way.", watched.Subscriptions)
	counter("registration_notifies_total", "NOTIFYs of registrations sent.", watched.Notified)
	counter("registration_subscriptions_lost_total", "Subscriptions ended because a NOTIFY was refused or not answered.", watched.Failed)
	counter("registration_subscriptions_refused_total", "Subscriptions refused because there were too many.", watched.Refused)

	for class := 2; class < len(s.apiStats.Answered); class++ {
		counter("api_requests_total", "API requests, by the kind of their status.", s.apiStats.Answered[class].Load(), "status", fmt.Sprintf("%dxx", class))
	}
	counter("api_rate_limited_total", "API requests refused with 429 because the account made too many.", s.apiStats.RateLimited.Load())
	counter("api_replayed_total", "API requests answered as before, for their Idempotency-Key.", s.apiStats.Replayed.Load())
	counter("api_key_conflicts_total", "API requests refused with 409: another one had their Idempotency-Key.", s.apiStats.KeyConflicts.Load())

	proxy := p.proxy.Stats()
	gauge("calls", "Calls and subscriptions under way.", proxy.Calls)
	counter("calls_unkept_total", "Changes of calls in progress that the journal did not take: a restart may not know them.", proxy.Unkept)
	counter("call_attempts_unrecorded_total", "Refused calls without a record, because the endpoint had too many of them.", p.attempts.sampled.Load())
	records := s.records.Stats()
	counter("call_records_total", "Call records stored.", records.Saved)
	counter("call_records_dropped_total", "Call records lost because the database took none for too long.", records.Dropped)
	gauge("call_records_waiting", "Call records waiting for the database.", records.Waiting)
	counter("forwarded_total", "Requests forwarded, branches counted one by one.", proxy.Forwarded)
	counter("dialog_refused_total", "Requests within calls refused for their cookie.", proxy.Refused)
}
