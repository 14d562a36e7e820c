package location

import (
	"net/netip"
	"testing"
	"time"

	"onhook/internal/sip"
)

func peer(n int) sip.Flow {
	return sip.Flow{Transport: sip.UDP, Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), uint16(5060+n))}
}

// What was heard of a peer is its own, is later than what is known already, and
// costs no memory.
func TestHeard(t *testing.T) {
	var h heardTable
	h.init()
	at := time.UnixMilli(1_790_000_000_000)
	for n := range 64 {
		h.note(peer(n), at.Add(time.Duration(n)*time.Second))
	}
	kept := 0
	for n := range 64 {
		switch got := h.since(peer(n), at.Add(-time.Hour)); {
		case got.Equal(at.Add(time.Duration(n) * time.Second)):
			kept++
		case !got.IsZero():
			t.Errorf("peer %d was heard at %v", n, got)
		}
	}
	if kept < 55 { // 64 peers in 4096 places: hardly one pushes another out
		t.Errorf("%d of 64 are remembered", kept)
	}
	if got := h.since(peer(0), at); !got.IsZero() {
		t.Errorf("not later, and told as %v", got)
	}
	if got := h.since(peer(1000), at.Add(-time.Hour)); !got.IsZero() {
		t.Errorf("a stranger was heard at %v", got)
	}
	if n := testing.AllocsPerRun(100, func() { h.note(peer(7), at); h.since(peer(7), at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	h.fit(1 << 30)
	if n := len(*h.slots.Load()); n != heardMax {
		t.Errorf("%d places", n)
	}
}
