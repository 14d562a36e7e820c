package config

import (
	"errors"
	"testing"
	"time"
)

func TestBans(t *testing.T) {
	c, problems := parse([]byte(Example()))
	if len(problems) > 0 || c.Auth.Bans != BansOn {
		t.Fatalf("%q %v", c.Auth.Bans, problems)
	}
	for _, mode := range []string{BansOn, BansOff, BansDryRun} {
		c.Auth.Bans = mode
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	for path, edit := range map[string]func(*Auth){
		"auth.bans":              func(a *Auth) { a.Bans = "maybe" },
		"auth.ban_wrong_digests": func(a *Auth) { a.BanWrong = 0 },
		"auth.ban_window":        func(a *Auth) { a.BanWindow = 0 },
		"auth.ban_duration":      func(a *Auth) { a.BanDuration, a.BanMaxDuration = time.Hour, time.Minute },
		"auth.ban_max_duration":  func(a *Auth) { a.BanMaxDuration = 48 * time.Hour },
		"auth.ban_pairs":         func(a *Auth) { a.BanPairs = 1 << 30 },
	} {
		broken := c
		edit(&broken.Auth)
		var invalid *Invalid
		if err := broken.Validate(); !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}
