package server

import (
	"onhook/internal/api"
	"onhook/internal/authban"
	"onhook/internal/config"
	"onhook/internal/floodguard"
	"onhook/internal/sip"
)

// newGuard returns the limits of sources as configured.
func newGuard(cfg config.Config) *floodguard.Guard {
	l := cfg.Limits
	rate := l.PacketsPerSecond
	if rate == 0 {
		rate = -1 // off
	}
	return floodguard.New(floodguard.Config{
		PacketsPerSecond: rate, Burst: l.PacketsBurst,
		Connections: l.ConnectionsPerSource, UnboundConnections: l.UnboundConnectionsPerSource,
		Trusted: cfg.TrustedNetworks,
	})
}

// newBans returns the bans as configured, nil when they are off.
func newBans(c config.Auth) *authban.Bans {
	if c.Bans == config.BansOff {
		return nil
	}
	return authban.New(authban.Config{
		Wrong: c.BanWrong, Window: c.BanWindow, Duration: c.BanDuration, MaxDuration: c.BanMaxDuration, Pairs: c.BanPairs,
		DryRun: c.Bans == config.BansDryRun,
	})
}

// pair is what wrong passwords are weighed by.
func pair(realm, username string, flow sip.Flow) authban.Pair {
	return authban.Pair{Source: flow.Remote.Addr(), Realm: realm, Username: username}
}

// banned is asked before a digest is looked at (sipauth.Config.Banned).
func (p *path) banned(realm, username string, flow sip.Flow) bool {
	return p.bans.Refused(pair(realm, username, flow))
}

// bans gives the bans the shape that api asks for.
type bans struct {
	bans *authban.Bans
	mode string
}

func (b bans) Mode() string { return b.mode }

func (b bans) Bans() []api.Ban {
	list := b.bans.List()
	out := make([]api.Ban, len(list))
	for i, x := range list {
		out[i] = api.Ban{ID: x.ID, Source: x.Source, Domain: x.Realm, Username: x.Username, Reason: x.Reason,
			Began: x.Began, Ends: x.Ends, DryRun: x.DryRun}
	}
	return out
}

func (b bans) Lift(id string) bool { return b.bans.Lift(id) }
func (b bans) LiftAll()            { b.bans.LiftAll() }
