package api

import (
	"time"

	"onhook/internal/account"
)

// recorded is what the transcripts of Trace expect of any endpoint.
type recorded struct{}

func (recorded) Attempts(account.EndpointID) []Attempt {
	return []Attempt{{ID: "7", Kind: "register", StartedAt: time.Date(2025, 10, 26, 14, 20, 0, 5e8, time.UTC), Outcome: "failed", Reason: "bad_digest",
		Sentence: "The password or the username is wrong", Messages: []AttemptMessage{{At: "2025-10-26T14:20:00.5Z", From: "203.0.113.9:5060",
			To: "192.0.2.9:5060", Transport: "udp", Text: "REGISTER sip:sip.example.com SIP/2.0\r\n\r\n"}}}}
}

func (recorded) Text(account.EndpointID) []byte { return []byte("=== register 7\n") }

func (recorded) PCAP(account.EndpointID) []byte { return []byte{0xa1, 0xb2, 0xc3, 0xd4} }
