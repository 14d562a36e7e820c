package storetest

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"onhook/internal/trunk"
)

func (s *suite) trunkStore(t *testing.T) trunk.Store {
	t.Helper()
	store, ok := s.Store.(trunk.Store)
	if !ok {
		t.Fatal("the store keeps no trunks")
	}
	return store
}

func trunkRoundTrip(t *testing.T, s *suite) {
	store := s.trunkStore(t)
	full := trunk.Trunk{Name: "carrier", URI: "sip:carrier.example", Transport: "tls", Username: "4930100", Password: "sécret", Register: true,
		RegisterExpires: time.Hour, Prefixes: []string{"+49"}, Strip: 1, Prepend: "00", CallerID: "+4930100", CallerIDIn: trunk.FromHeader,
		Priority: 1, Weight: 2, MaxCalls: 3, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}, TLSName: "sbc.carrier.example"}
	plain := trunk.Trunk{Name: "a.spare", URI: "sip:spare.example"}
	numbers := []trunk.Number{{Number: "+4930101", Endpoint: "desk"}, {Number: "+4930100", Endpoint: "desk@sip.test"}, {Number: "+4930102", Application: "app"}}
	for _, err := range []error{store.InsertTrunk(t.Context(), full), store.InsertTrunk(t.Context(), plain),
		store.InsertNumber(t.Context(), numbers[0]), store.InsertNumber(t.Context(), numbers[1]), store.InsertNumber(t.Context(), numbers[2])} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...trunk.Trunk) {
		t.Helper()
		got, all, err := store.Trunks(t.Context())
		if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(all, numbers) {
			t.Errorf("%+v, %v, %v; want\n%+v", got, all, err, want)
		}
	}
	check(full, plain)
	err := store.ChangeTrunk(t.Context(), "carrier", func(before trunk.Trunk) (trunk.Trunk, error) {
		if !reflect.DeepEqual(before, full) {
			t.Errorf("to be changed: %+v", before)
		}
		before.Username, before.Password, before.Register = "", "", false
		full = before
		return before, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	check(full, plain)
	err = store.ChangeNumber(t.Context(), "+4930101", func(before trunk.Number) (trunk.Number, error) {
		if before != numbers[0] {
			t.Errorf("to be changed: %+v", before)
		}
		numbers[0].Endpoint, numbers[0].Application = "", "app"
		return numbers[0], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	check(full, plain)
	if err := store.DeleteTrunk(t.Context(), "carrier"); err != nil {
		t.Fatal(err)
	}
	check(plain)
}

func trunkChanges(t *testing.T, s *suite) {
	store := s.trunkStore(t)
	told := 0
	store.SubscribeTrunks(func() { told++ })
	one := trunk.Trunk{Name: "carrier", URI: "sip:carrier.example"}
	number := trunk.Number{Number: "+4930100", Endpoint: "desk"}
	refused := errors.New("refused")
	sameNumber := func(before trunk.Number) (trunk.Number, error) { return before, nil }
	same := func(before trunk.Trunk) (trunk.Trunk, error) { return before, nil }
	for i, c := range []struct {
		err, want error
	}{
		{store.InsertTrunk(t.Context(), one), nil},
		{store.InsertTrunk(t.Context(), one), trunk.ErrTaken},
		{store.InsertNumber(t.Context(), number), nil},
		{store.InsertNumber(t.Context(), number), trunk.ErrTaken},
		{store.ChangeTrunk(t.Context(), "carrier", same), nil},
		{store.ChangeTrunk(t.Context(), "carrier", func(trunk.Trunk) (trunk.Trunk, error) { return one, refused }), refused},
		{store.ChangeTrunk(t.Context(), "other", same), trunk.ErrNotFound},
		{store.DeleteTrunk(t.Context(), "other"), trunk.ErrNotFound},
		{store.ChangeNumber(t.Context(), number.Number, sameNumber), nil},
		{store.ChangeNumber(t.Context(), number.Number, func(trunk.Number) (trunk.Number, error) { return number, refused }), refused},
		{store.ChangeNumber(t.Context(), "+4930199", sameNumber), trunk.ErrNotFound},
		{store.DeleteNumber(t.Context(), "+4930199"), trunk.ErrNotFound},
		{store.DeleteNumber(t.Context(), number.Number), nil},
		{store.DeleteTrunk(t.Context(), "carrier"), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%d: %v, want %v", i, c.err, c.want)
		}
	}
	if told != 6 {
		t.Errorf("%d changes were told, want 6", told)
	}
}
