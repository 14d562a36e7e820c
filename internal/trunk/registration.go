package trunk

import (
	"net/netip"
	"time"
)

// Registration is how this server's own registration with a trunk stands.
type Registration struct {
	State   string
	Until   time.Time      // when it ends; of a Failed one, when the next attempt is; zero otherwise
	Address netip.AddrPort // with which we are registered
	Error   string         // of the last attempt, "" after a success
}

// DefaultExpires is how long a registration is asked for unless the trunk says so.
const DefaultExpires = 10 * time.Minute

// The states of a registration.
const (
	Off        = "off"        // the trunk wants none
	Trying     = "trying"     // not registered yet
	Registered = "registered" // until Registration.Until
	Failed     = "failed"     // the last attempt was in vain
)
