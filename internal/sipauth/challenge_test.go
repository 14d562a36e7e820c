package sipauth

import (
	"regexp"
	"strings"
	"testing"

	"onhook/internal/sip"
)

// TestChallenge: MD5 first, then SHA-256, in two fields (RFC 8760 2.3), and who
// gets one of them alone.
func TestChallenge(t *testing.T) {
	both := []string{"MD5", "SHA-256"}
	for _, c := range []struct {
		name   string
		agent  string
		config Config
		md5    bool // the realm has users without SHA-256
		want   []string
	}{
		{"anybody", "Linphone/5.2", Config{}, false, both},
		{"no User-Agent", "", Config{}, false, both},
		{"baresip 1", "baresip v1.0.0 (x86_64/linux)", Config{}, false, both[:1]},
		{"baresip 0", "Baresip v0.6.5 (x86_64/linux)", Config{}, false, both[:1]},
		{"baresip 3", "baresip v3.10.1 (x86_64/Linux)", Config{}, false, both},
		{"JsSIP, which reads the last challenge and knows MD5 alone", "JsSIP 3.13.8", Config{}, false, both[:1]},
		{"not at the beginning", "like baresip v1", Config{}, false, both},
		{"configured", "OldPhone 2.1", Config{MD5OnlyUserAgents: []string{"", "oldphone"}}, false, both[:1]},
		{"others than the configured", "NewPhone 2.1", Config{MD5OnlyUserAgents: []string{"", "oldphone"}}, false, both},
		{"realm without SHA-256", "Linphone/5.2", Config{}, true, both[:1]},
		{"MD5 disabled", "Linphone/5.2", Config{DisableMD5: true}, false, both[1:]},
		{"MD5 disabled, baresip", "baresip v1.0.0", Config{DisableMD5: true}, true, both[1:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.config)
			b.users.md5Only = c.md5
			m := request(t)
			if c.agent != "" {
				m = request(t, "User-Agent: "+c.agent)
			}
			var got []string
			for _, line := range strings.SplitAfter(b.challenge(m, false), "\r\n") {
				match := regexp.MustCompile(`^WWW-Authenticate: Digest realm="example\.com", nonce="[A-Za-z0-9_-]{46}", algorithm=([A-Z0-9-]+), qop="auth"\r\n$`).FindStringSubmatch(line)
				if match != nil {
					got = append(got, match[1])
				} else if line != "" {
					t.Errorf("line %q", line)
				}
			}
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestChallengeStaleAndProxy(t *testing.T) {
	b := newBench(t, Config{})
	got := string(b.a.AppendChallenge([]byte("before\r\n"), request(t), sip.ProxyAuthenticate, `a "b" \c`, home, true, b.users))
	if !strings.HasPrefix(got, "before\r\nProxy-Authenticate: Digest realm=\"a \\\"b\\\" \\\\c\", nonce=\"") ||
		strings.Count(got, ", stale=true,") != 2 || strings.Count(got, "Proxy-Authenticate") != 2 {
		t.Errorf("%q", got)
	}
	if strings.Contains(b.challenge(request(t), false), "stale") {
		t.Error("stale without a reason")
	}
}

func TestNoncesAreUnique(t *testing.T) {
	b := newBench(t, Config{})
	seen := map[string]bool{}
	for range 1000 {
		n := b.nonce()
		if seen[n] {
			t.Fatal("the same nonce twice")
		}
		seen[n] = true
	}
}

// The offer is the same whoever asks, and does not ask for the user.
func TestChallengeTellsNothingOfUsers(t *testing.T) {
	b := newBench(t, Config{})
	b.users.noSHA256 = map[string]bool{"alice": true}
	d := b.alice()
	d.password = "wrong"
	known := request(t, d.field())
	d.user = "nobody"
	unknown := request(t, d.field())
	strip := func(s string) string { return nonceIn.ReplaceAllString(s, "") }
	if strip(b.challenge(known, false)) != strip(b.challenge(unknown, false)) || b.users.asked != 0 {
		t.Error("the challenge depends on the user")
	}
}
