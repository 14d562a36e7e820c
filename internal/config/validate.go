package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"onhook/internal/trunk"
)

var headerWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)

const (
	minAdminToken   = 16
	shortAdminToken = "must have at least 16 characters"
)

// Validate returns *Invalid with every problem of c, or nil.
func (c Config) Validate() error {
	if problems := c.problems(); len(problems) > 0 {
		return &Invalid{Problems: problems}
	}
	return nil
}

// checker collects problems.
type checker []Problem

func (k *checker) add(path, format string, args ...any) {
	*k = append(*k, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c Config) problems() []Problem {
	var k checker
	k.domains(c.Domains)
	if c.DataDir == "" {
		k.add("data_dir", "must not be empty")
	}
	k.listeners(c)
	k.pair("tls", c.TLS.CertFile, c.TLS.KeyFile)
	k.dns(c.DNS)
	k.phones(c)
	k.api(c.API)
	k.registrar(c.Registrar)
	if c.Calls.RecordRetention != 0 {
		k.between("calls.record_retention", c.Calls.RecordRetention, time.Hour, 100*365*24*time.Hour)
	}
	k.trace(c.Trace)
	k.auth(c.Auth)
	k.events(c.Events)
	if !headerWord.MatchString(c.Callbacks.SignaturePrefix) {
		k.add("callbacks.signature_prefix", "%q is not the beginning of a header's name", c.Callbacks.SignaturePrefix)
	}
	k.limits(c.Limits)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		k.add("log.level", "%q is not debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		k.add("log.format", "%q is not text or json", c.Log.Format)
	}
	k.between("shutdown_timeout", c.ShutdownTimeout, 0, 10*time.Minute)
	return k
}

func (k *checker) domains(domains []string) {
	if len(domains) == 0 {
		k.add("domains", "name at least one SIP domain")
	}
	for i, d := range domains {
		path := fmt.Sprintf("domains[%d]", i)
		if !validHost(d) {
			k.add(path, "%q is not a host name or IP address (without port)", d)
		}
		if slices.ContainsFunc(domains[:i], func(o string) bool { return strings.EqualFold(o, d) }) {
			k.add(path, "%q is there twice", d)
		}
	}
}

func (k *checker) trace(t Trace) {
	for _, n := range []struct {
		key              string
		value, low, high int
	}{
		{"max_megabytes", t.Megabytes, 0, 16_384},
		{"attempts_per_endpoint", t.AttemptsPerEndpoint, 1, 1000},
		{"attempts_per_second", t.AttemptsPerSecond, 1, 100_000},
	} {
		if n.value < n.low || n.value > n.high {
			k.add("trace."+n.key, "%d is not between %d and %d", n.value, n.low, n.high)
		}
	}
}

func (k *checker) listeners(c Config) {
	if len(c.SIP.Listeners) == 0 {
		k.add("sip.listeners", "name at least one listener")
	}
	taken := make(map[string]int)
	for i, l := range c.SIP.Listeners {
		path := fmt.Sprintf("sip.listeners[%d]", i)
		if !slices.Contains([]string{"udp", "tcp", "tls", "ws", "wss"}, l.Transport) {
			k.add(path+".transport", "%q is not udp, tcp, tls, ws or wss", l.Transport)
		}
		k.listenAddress(path, l)
		k.pair(path, l.CertFile, l.KeyFile)
		if cert, key := c.CertFiles(l); (l.Transport == "tls" || l.Transport == "wss") && cert == "" && key == "" {
			k.add(path+".transport", "%s needs a certificate: set tls.cert_file and tls.key_file, or both here", l.Transport)
		}
		socket := "tcp " + l.Address
		if l.Transport == "udp" {
			socket = "udp " + l.Address
		}
		if j, ok := taken[socket]; ok && !strings.HasSuffix(l.Address, ":0") {
			k.add(path+".address", "%s is taken by sip.listeners[%d]", l.Address, j)
		}
		taken[socket] = i
	}
}

func (k *checker) listenAddress(path string, l Listener) {
	address, err := netip.ParseAddrPort(l.Address)
	if err != nil {
		k.add(path+".address", "%q is not IP:port, such as 0.0.0.0:5060 or [::]:5060", l.Address)
	} else if address.Addr().IsUnspecified() && l.Advertise == "" {
		k.add(path+".advertise", "needed, because %s does not say how phones reach this server", l.Address)
	}
	if l.Advertise != "" && !validHostPort(l.Advertise) {
		k.add(path+".advertise", "%q is not a host or host:port", l.Advertise)
	}
}

func (k *checker) phones(c Config) {
	if !trunk.ValidRegion(c.DefaultRegion) {
		k.add("default_region", "%q is not a country of two letters, such as DE", c.DefaultRegion)
	}
	for i, t := range c.Trunks {
		path := fmt.Sprintf("trunks[%d]", i)
		for _, p := range t.Validate() {
			k.add(path+"."+p.Field, "%s", p.Message)
		}
		if slices.ContainsFunc(c.Trunks[:i], func(o trunk.Trunk) bool { return o.Name == t.Name }) {
			k.add(path+".name", "%q is there twice", t.Name)
		}
	}
	for i, n := range c.Numbers {
		path := fmt.Sprintf("numbers[%d]", i)
		for _, p := range n.Validate() {
			k.add(path+"."+p.Field, "%s", p.Message)
		}
		if slices.ContainsFunc(c.Numbers[:i], func(o trunk.Number) bool { return o.Number == n.Number }) {
			k.add(path+".number", "%q is there twice", n.Number)
		}
	}
}

func (k *checker) dns(d DNS) {
	for i, s := range d.Servers {
		if _, ok := nameServer(s); !ok {
			k.add(fmt.Sprintf("dns.servers[%d]", i), "%q is not an IP or IP:port", s)
		}
	}
	k.between("dns.timeout", d.Timeout, 100*time.Millisecond, 10*time.Second)
	k.between("dns.avoid_failed", d.Avoid, 0, time.Hour)
	k.between("dns.next_server_after", d.NextHop, 500*time.Millisecond, 32*time.Second)
}

func (k *checker) api(a API) {
	if _, err := netip.ParseAddrPort(a.Address); err != nil {
		k.add("api.address", "%q is not IP:port, such as 127.0.0.1:5080", a.Address)
	}
	k.pair("api", a.CertFile, a.KeyFile)
	if a.AdminToken != "" && len(a.AdminToken) < minAdminToken {
		k.add("api.admin_token", shortAdminToken)
	}
}

func (k *checker) auth(a Auth) {
	k.between("auth.nonce_ttl", a.NonceTTL, 10*time.Second, 24*time.Hour)
	for i, ua := range a.MD5OnlyUserAgents {
		if strings.TrimSpace(ua) == "" {
			k.add(fmt.Sprintf("auth.md5_only_user_agents[%d]", i), "must not be empty: it would fit every client")
		}
	}
	if a.DisableMD5 && len(a.MD5OnlyUserAgents) > 0 {
		k.add("auth.md5_only_user_agents", "contradicts disable_md5")
	}
	if !slices.Contains([]string{BansOff, BansDryRun, BansOn}, a.Bans) {
		k.add("auth.bans", "%q is not off, dry_run or on", a.Bans)
	}
	k.atLeast("auth.ban_wrong_digests", a.BanWrong, 1)
	k.atMost("auth.ban_wrong_digests", a.BanWrong, 100)
	k.between("auth.ban_window", a.BanWindow, time.Second, 24*time.Hour)
	k.between("auth.ban_duration", a.BanDuration, time.Second, 24*time.Hour)
	k.between("auth.ban_max_duration", a.BanMaxDuration, time.Second, 24*time.Hour)
	if a.BanDuration > a.BanMaxDuration {
		k.add("auth.ban_duration", "%s is more than ban_max_duration (%s)", a.BanDuration, a.BanMaxDuration)
	}
	k.atLeast("auth.ban_pairs", a.BanPairs, 64)
	k.atMost("auth.ban_pairs", a.BanPairs, 1<<20)
}

func (k *checker) registrar(r Registrar) {
	k.between("registrar.min_expires", r.MinExpires, time.Second, 24*time.Hour)
	k.between("registrar.max_expires", r.MaxExpires, time.Second, 7*24*time.Hour)
	if r.MinExpires > r.MaxExpires {
		k.add("registrar.min_expires", "%s is more than max_expires (%s)", r.MinExpires, r.MaxExpires)
	} else if r.DefaultExpires < r.MinExpires || r.DefaultExpires > r.MaxExpires {
		k.add("registrar.default_expires", "%s is not between min_expires (%s) and max_expires (%s)", r.DefaultExpires, r.MinExpires, r.MaxExpires)
	}
	k.between("registrar.websocket_grace", r.WebSocketGrace, 0, 10*time.Minute)
	k.between("registrar.restart_grace", r.RestartGrace, 0, time.Hour)
	if !slices.Contains([]string{ProbeNAT, ProbeAll, ProbeOff}, r.Probe) {
		k.add("registrar.probe", "%q is not nat, all or off", r.Probe)
	}
	k.between("registrar.probe_interval", r.ProbeInterval, time.Second, time.Hour)
	k.atLeast("registrar.probe_rate", r.ProbeRate, 1)
	k.atMost("registrar.probe_rate", r.ProbeRate, 10_000)
	if r.FlowTimer != 0 {
		k.between("registrar.flow_timer", r.FlowTimer, 10*time.Second, time.Hour)
	}
}

func (k *checker) events(e Events) {
	k.between("events.keep", e.Keep, time.Minute, 30*24*time.Hour)
	k.atLeast("events.max_megabytes", e.MaxMegabytes, 4)
	k.atMost("events.max_megabytes", e.MaxMegabytes, 1<<20)
	k.atLeast("events.streams_per_account", e.StreamsPerAccount, 1)
	k.atMost("events.streams_per_account", e.StreamsPerAccount, 10_000)
}

func (k *checker) limits(l Limits) {
	k.atLeast("limits.connections", l.Connections, 1)
	k.atLeast("limits.connections_per_source", l.ConnectionsPerSource, 1)
	k.atLeast("limits.unbound_connections_per_source", l.UnboundConnectionsPerSource, 1)
	if l.UnboundConnectionsPerSource > l.ConnectionsPerSource {
		k.add("limits.unbound_connections_per_source", "%d is more than connections_per_source (%d)", l.UnboundConnectionsPerSource, l.ConnectionsPerSource)
	}
	k.between("limits.handshake_timeout", l.HandshakeTimeout, 100*time.Millisecond, time.Minute)
	k.between("limits.first_message_timeout", l.FirstMessageTimeout, 100*time.Millisecond, 10*time.Minute)
	k.between("limits.idle_timeout", l.IdleTimeout, time.Second, 24*time.Hour)
	k.atLeast("limits.write_queue", l.WriteQueue, 64<<10)
	k.atLeast("limits.packets_per_second", l.PacketsPerSecond, 0)
	if l.PacketsPerSecond > 0 {
		k.atLeast("limits.packets_burst", l.PacketsBurst, 1)
	}
	k.atLeast("limits.transactions", l.Transactions, 100)
	k.atLeast("limits.subscriptions", l.Subscriptions, 1)
	k.atLeast("limits.subscriptions_per_endpoint", l.SubscriptionsPerEndpoint, 1)
	k.atLeast("limits.account_calls", l.AccountCalls, 0)
	k.atLeast("limits.account_calls_per_second", l.AccountCallsPerSecond, 0)
}

func (k *checker) atLeast(path string, n, least int) {
	if n < least {
		k.add(path, "%d is less than %d", n, least)
	}
}

func (k *checker) atMost(path string, n, most int) {
	if n > most {
		k.add(path, "%d is more than %d", n, most)
	}
}

func (k *checker) between(path string, t, least, most time.Duration) {
	if t < least || t > most {
		k.add(path, "%s is not between %s and %s", t, least, most)
	}
}

// pair demands both files or none.
func (k *checker) pair(path, cert, key string) {
	if (cert == "") != (key == "") {
		k.add(path, "cert_file and key_file go together")
	}
}

// validHost accepts a host name (RFC 1123 2.1) or an IP address; IPv6 with or
// without brackets.
func validHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && a.Zone() == ""
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return false
			}
		}
	}
	return true
}

func validHostPort(s string) bool {
	if validHost(s) {
		return true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || !validHost(host) {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
