package api

import "time"

// oneTrunk stands in for the trunks.
type oneTrunk struct{}

func (oneTrunk) Trunks() []Trunk {
	return []Trunk{{Name: "carrier", URI: "sip:sip.carrier.example", Transport: "tls", Username: "4930100", Prefixes: []string{"+49"}, Strip: 1, Prepend: "00",
		CallerID: "+4930100", CallerIDIn: "from", Priority: 1, Weight: 2, Calls: 3, MaxCalls: 30, Networks: []string{"192.0.2.0/28"},
		Registration: TrunkRegistration{State: "failed", Until: time.Unix(1_800_000_000, 0), Error: "the trunk answers 403 Forbidden"}},
		{Name: "spare", URI: "sips:spare.example", CallerIDIn: "asserted", Registration: TrunkRegistration{State: "off"}}}
}

func (oneTrunk) Numbers() []Number { return []Number{{"+4930100", "desk@example.com"}} }
