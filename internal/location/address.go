package location

import (
	"net/netip"
	"strconv"
	"strings"

	"onhook/internal/sip"
)

// Received is the host:port the REGISTER really came from.
func (b *Binding) Received() string {
	remote := b.Flow.Remote
	return netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()).String()
}

// ContactAddress is the host:port that the Contact names. A Contact without a
// port means its transport's default one. A browser cannot know its address and
// names a host under .invalid (RFC 7118 5): then, and when the Contact is no SIP
// URI at all, it is the address it came from.
func (b *Binding) ContactAddress() string {
	u, err := sip.ParseURI(b.Contact)
	host := strings.ToLower(strings.TrimSuffix(u.Host, "."))
	if err != nil || !u.IsSIP() || host == "invalid" || strings.HasSuffix(host, ".invalid") {
		return b.Received()
	}
	port := u.Port
	if port == 0 {
		transport := u.Transport()
		if transport == 0 {
			transport = b.Flow.Transport
		}
		port = transport.DefaultPort()
	}
	return u.Host + ":" + strconv.Itoa(int(port))
}
