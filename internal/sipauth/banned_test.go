package sipauth

import (
	"testing"

	"onhook/internal/sip"
)

// Who is banned is refused without a look at nonce and digest; whoever sends no
// credentials that could be checked is not asked about.
func TestBannedIsRefusedUnseen(t *testing.T) {
	banned := map[string]bool{"alice": true, "nobody": true}
	asked := 0
	b := newBench(t, Config{Banned: func(r, username string, flow sip.Flow) bool {
		if asked++; r != realm || flow != home {
			t.Errorf("asked about %s %+v", r, flow)
		}
		return banned[username]
	}})
	right := b.alice()
	stale := right
	stale.nonce = "another"
	unknown := right
	unknown.user = "nobody"
	withRealm := right
	withRealm.user = "alice@" + realm
	for _, d := range []device{right, stale, unknown, withRealm} {
		if r := b.try(d, Banned); r.Username == withRealm.user {
			t.Errorf("%+v", r)
		}
	}
	if b.users.asked != 0 {
		t.Errorf("%d digests were looked at", b.users.asked)
	}
	other := b.alice()
	other.user, other.password = "bob", "guess"
	b.try(other, Wrong)
	asked = 0
	if r := b.verify(request(t)); r.Verdict != Missing || asked != 0 {
		t.Errorf("without credentials: %v, asked %d times", r.Verdict, asked)
	}
	broken := b.alice()
	broken.nc = "x"
	b.try(broken, Malformed)
	clear(banned)
	b.try(right, OK)
}
