package api

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"onhook/internal/storesql"
	"onhook/internal/trunk"
)

// newTrunks are those of a configuration with two trunks, of which one carries
// calls and is not registered, and a number; and those of the store.
func newTrunks(t *testing.T, store *storesql.Store) *trunk.Service {
	t.Helper()
	table, err := trunk.NewTable("DE", "sip.example.com")
	if err != nil {
		t.Fatal(err)
	}
	s := trunk.NewService(trunk.ServiceConfig{Table: table, Store: store, Logger: slog.New(slog.DiscardHandler),
		Trunks: []trunk.Trunk{{Name: "carrier", URI: "sip:sip.carrier.example", Transport: "tls", Username: "4930100", Password: secret, Register: true,
			Prefixes: []string{"+49"}, Strip: 1, Prepend: "00", CallerID: "+4930100", CallerIDIn: "from", Priority: 1, Weight: 2, MaxCalls: 30,
			Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}}, {Name: "spare", URI: "sips:spare.example"}},
		Numbers: []trunk.Number{{Number: "+4930100", Endpoint: "desk"}}})
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	line := s.Line("carrier")
	line.SetRegistration(&trunk.Registration{State: trunk.Failed, Until: time.Unix(1_800_000_000, 0), Error: "the trunk answers 403 Forbidden"})
	for range 3 {
		line.Take(false)
	}
	return s
}
