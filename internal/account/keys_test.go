package account

import (
	"bytes"
	"errors"
	"testing"
)

func TestKeys(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewKeys(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is taken", n)
		}
	}
	a, err := NewKeys(bytes.Repeat([]byte{1}, KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewKeys(bytes.Repeat([]byte{2}, KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Secret{newSecret("u", "r", "p"), {MD5: [16]byte{1}}} {
		sealed := a.SealSecret(1, s)
		if got, err := a.OpenSecret(1, sealed); err != nil || got != s {
			t.Errorf("opened %v, %v", got, err)
		}
		if again := a.SealSecret(1, s); bytes.Equal(again, sealed) {
			t.Error("the same secret is sealed to the same bytes")
		}
		if bytes.Contains(sealed, s.MD5[:]) {
			t.Error("the secret shows")
		}
		for what, open := range map[string]func() (Secret, error){
			"of another endpoint": func() (Secret, error) { return a.OpenSecret(2, sealed) },
			"with another key":    func() (Secret, error) { return b.OpenSecret(1, sealed) },
			"changed":             func() (Secret, error) { return a.OpenSecret(1, append([]byte{sealed[0] ^ 1}, sealed[1:]...)) },
		} {
			if _, err := open(); !errors.Is(err, ErrWrongKey) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for n := range sealed {
			if _, err := a.OpenSecret(1, sealed[:n]); err == nil {
				t.Errorf("%d bytes of it open", n)
			}
		}
	}
	token := a.SealToken("MA_X", "token")
	if got, err := a.OpenToken("MA_X", token); err != nil || got != "token" {
		t.Errorf("opened %q, %v", got, err)
	}
	if _, err := a.OpenToken("MA_Y", token); err == nil {
		t.Error("another account's token opens")
	}
	again, err := NewKeys(bytes.Repeat([]byte{1}, KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	if hash := a.HashToken("x"); hash == b.HashToken("x") || hash == a.HashToken("y") || hash != again.HashToken("x") {
		t.Error("hashes of tokens do not depend on token and key alone")
	}
	if a.VerifyCheck(a.Check()) != nil || !errors.Is(b.VerifyCheck(a.Check()), ErrWrongKey) {
		t.Error("check values do not tell the keys apart")
	}
}

func TestIdentifiers(t *testing.T) {
	seen := map[EndpointID]bool{}
	for range 10_000 {
		id := newEndpointID()
		if again, ok := ParseEndpointID(id.String()); !ok || again != id || seen[id] {
			t.Fatalf("endpoint id %s", id)
		}
		seen[id] = true
	}
	count := map[rune]int{}
	for range 1000 {
		for _, c := range newToken() {
			count[c]++
		}
	}
	// 40,000 draws from 62: about 645 of each.
	for _, c := range alnum {
		if n := count[c]; n < 480 || n > 810 {
			t.Errorf("%c comes %d times", c, n)
		}
	}
	for _, s := range []string{"", "1", "012345678901234", "12345678901234", "1234567890123456", "+23456789012345", "12345678901234x"} {
		if id, ok := ParseEndpointID(s); ok {
			t.Errorf("%q is %v", s, id)
		}
	}
}
