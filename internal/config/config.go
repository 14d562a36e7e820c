// Package config reads, checks and documents onhook's configuration: one
// static YAML file, plus the secrets that may come from the environment. It
// opens no socket and no database; everything that changes while the server
// runs lives behind the API instead.
package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"onhook/internal/trunk"
)

// Config is everything a server needs to know before it starts. The yaml tag
// is the key in the file, the doc tag its comment in `onhook config example`.
type Config struct {
	Domains         []string       `yaml:"domains" doc:"The SIP domains served here. The first is the default for new endpoints, and the server's own addresses are aliases of it. A domain is also the digest realm: renaming one invalidates the passwords of its endpoints. Required."`
	DataDir         string         `yaml:"data_dir" doc:"Where the database, the bindings and the key live. Created when missing. Relative paths in this file start at the folder of this file."`
	Database        string         `yaml:"database" doc:"The SQLite file with accounts and endpoints; empty: onhook.db in data_dir. Or the URL of a PostgreSQL database, which several servers may share: postgres://user@host/database?sslmode=verify-full. What the URL leaves out is taken from PGPASSWORD, PGPASSFILE and the like."`
	KeyFile         string         `yaml:"key_file" doc:"The key that encrypts stored secrets: 64 hex digits, readable by the owner only. Written at first start when missing. Empty: key in data_dir. The environment variable ONHOOK_KEY (64 hex digits) replaces the file."`
	SIP             SIP            `yaml:"sip" doc:"Where phones and browsers connect."`
	TLS             TLS            `yaml:"tls" doc:"Certificate and key (PEM) of the tls and wss listeners; read again when the files change. A listener may name its own."`
	DNS             DNS            `yaml:"dns" doc:"How calls to other domains find their way (RFC 3263: NAPTR, SRV and address records)."`
	Trunks          []trunk.Trunk  `yaml:"trunks" doc:"Ways to the telephone network. Each: name; uri (sip:host[:port] or sips:host, found by DNS); transport (udp, tcp or tls); username and password for its challenges; register: true to log in there, with register_expires; prefixes (beginnings of the numbers it takes, such as +49; none: all), of which the longest decides, then priority (lowest first), then weight; strip (characters taken off the front of the number, + included) and prepend; caller_id (number of callers who have none in numbers) and caller_id_in (asserted: P-Asserted-Identity, from: From too); max_calls (both ways together); networks (addresses whose calls are this trunk's; those we are registered at count too); tls_name (the name in the certificate of what comes as this trunk's; without it, of a trunk that the uri or transport says is reached over TLS, the host of the uri; *: none). 408, 5xx and silence lead to the next trunk. Others are created while the server runs, with onhook trunk create; these here cannot be changed so."`
	Numbers         []trunk.Number `yaml:"numbers" doc:"Numbers of ours and whom they ring. Each: number in E.164 (+4930123456), and endpoint (username or username@domain) or application (app_id). An endpoint's first number is what it shows as a caller. Others are created while the server runs, with onhook number create."`
	DefaultRegion   string         `yaml:"default_region" doc:"The country (two letters, such as DE) of numbers dialled without one. Empty: such numbers go to the trunks as dialled."`
	API             API            `yaml:"api" doc:"The REST API, with /healthz, /readyz and /metrics."`
	Registrar       Registrar      `yaml:"registrar" doc:"How long registrations live."`
	Calls           Calls          `yaml:"calls" doc:"Calls and their records."`
	Trace           Trace          `yaml:"trace" doc:"The SIP messages of each endpoint's last attempts, for GET …/Endpoint/{id}/Trace/. Credentials and media keys are masked."`
	Auth            Auth           `yaml:"auth" doc:"Digest authentication of endpoints."`
	Events          Events         `yaml:"events" doc:"What happened, for event streams and webhooks."`
	Callbacks       Callbacks      `yaml:"callbacks" doc:"HTTP requests to the servers of users: webhooks."`
	Limits          Limits         `yaml:"limits" doc:"What one source may use, and what the server holds at most. A source is an IPv4 address or an IPv6 /64. What exceeds a limit is counted in /metrics."`
	TrustedNetworks []netip.Prefix `yaml:"trusted_networks" doc:"Networks (CIDR) or addresses without packet rate limits, such as your own gateways. Wrong passwords and connections are limited for them too."`
	ExternalCalls   bool           `yaml:"external_calls" doc:"Whether callers who are no endpoints of this server may call its endpoints. They are never relayed to anybody else."`
	Log             Log            `yaml:"log" doc:"The log goes to standard error."`
	ShutdownTimeout time.Duration  `yaml:"shutdown_timeout" doc:"How long a stopping server (SIGTERM) waits for requests and transactions in progress."`

	// Key is the 32 byte key from ONHOOK_KEY; nil when key_file holds it.
	Key []byte `yaml:"-"`
}

// SIP is where phones and browsers connect.
type SIP struct {
	Listeners []Listener `yaml:"listeners" doc:"At least one. transport is udp, tcp, tls, ws or wss; address is IP:port (port 0: any free one); advertise is the host or host:port by which phones reach it, put into Via and Record-Route; it may be left out unless the IP is 0.0.0.0 or ::. tls and wss may have their own cert_file and key_file."`
}

// Listener is one SIP listening address.
type Listener struct {
	Transport string `yaml:"transport"`           // udp, tcp, tls, ws or wss
	Address   string `yaml:"address"`             // IP:port
	Advertise string `yaml:"advertise,omitempty"` // host or host:port; "": the address
	CertFile  string `yaml:"cert_file,omitempty"` // "": tls.cert_file
	KeyFile   string `yaml:"key_file,omitempty"`  // "": tls.key_file
}

// TLS names the default certificate of secure listeners.
type TLS struct {
	CertFile string `yaml:"cert_file" doc:"The certificate, followed by its intermediates."`
	KeyFile  string `yaml:"key_file" doc:"Its private key."`
	// RootsFile says whom outgoing TLS trusts.
	RootsFile string `yaml:"roots_file" doc:"The authorities (PEM) that may sign the certificates of other domains' servers. Empty: those of this system. The certificate must be for the very domain that was called (RFC 5922: a sip URI or a DNS name, no wildcards)."`
}

// DNS is where names are looked up.
type DNS struct {
	Servers []string      `yaml:"servers" doc:"Name servers, IP or IP:port, asked in this order. Empty: those of /etc/resolv.conf."`
	Timeout time.Duration `yaml:"timeout" doc:"How long one name server may take before the next is asked."`
	Avoid   time.Duration `yaml:"avoid_failed" doc:"How long a SIP server that did not answer, could not be reached or said 503 is tried after the others of its domain."`
	NextHop time.Duration `yaml:"next_server_after" doc:"How long one of several SIP servers of a domain may keep silent before the next is tried."`
}

// Addresses are the configured servers; Validate has looked at them.
func (d DNS) Addresses() (servers []netip.AddrPort) {
	for _, s := range d.Servers {
		if server, ok := nameServer(s); ok {
			servers = append(servers, server)
		}
	}
	return servers
}

func nameServer(s string) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(addr, 53), true
	}
	server, err := netip.ParseAddrPort(s)
	return server, err == nil && server.Port() != 0
}

// API is the HTTP side.
type API struct {
	Address    string `yaml:"address" doc:"IP:port. Without a certificate keep it on loopback or behind a proxy: requests carry tokens."`
	CertFile   string `yaml:"cert_file" doc:"With both files set the API speaks HTTPS; read again when the files change."`
	KeyFile    string `yaml:"key_file" doc:"The private key of cert_file."`
	AdminToken string `yaml:"admin_token" doc:"The token of server administration, sent as X-Admin-Token; at least 16 characters. Empty: no administration. ONHOOK_ADMIN_TOKEN in the environment replaces it."`
}

// Registrar bounds the life of bindings (RFC 3261 10.3).
type Registrar struct {
	MinExpires     time.Duration `yaml:"min_expires" doc:"Shorter wishes are refused with 423 (Interval Too Brief)."`
	MaxExpires     time.Duration `yaml:"max_expires" doc:"Longer wishes are shortened to this."`
	DefaultExpires time.Duration `yaml:"default_expires" doc:"For a REGISTER that names no time."`
	WebSocketGrace time.Duration `yaml:"websocket_grace" doc:"How long the binding of a lost WebSocket waits for the same browser, which may only be reloading its page."`
	RestartGrace   time.Duration `yaml:"restart_grace" doc:"How long, after a restart, the bindings of lost connections wait for their devices to return."`
	FlowTimer      time.Duration `yaml:"flow_timer" doc:"What devices with outbound (RFC 5626) are told in Flow-Timer: how often their keepalive is due, over UDP every 30s at most. A connection that is silent for half as long again is closed. 0: nothing is told."`
	Probe          string        `yaml:"probe" doc:"Which devices that registered over UDP are asked, by OPTIONS, whether they are there: nat (those whose Contact is not the address they are seen at), all or off. Two probes missed in a row make a registration suspect: it is tried last until the device is heard of again."`
	ProbeInterval  time.Duration `yaml:"probe_interval" doc:"How often each of them is asked."`
	ProbeRate      int           `yaml:"probe_rate" doc:"Probes a second in all at most; with more devices than that each is asked less often."`
	ServiceRoute   bool          `yaml:"service_route" doc:"Whether devices are told, in Service-Route (RFC 3608), to send their requests over the listener they registered at."`
}

// Calls is what is kept of calls.
type Calls struct {
	RecordRetention time.Duration `yaml:"record_retention" doc:"How long the records of finished calls are kept, such as 2160h for 90 days; 0: for ever."`
}

// The values of Registrar.Probe.
const (
	ProbeNAT = "nat"
	ProbeAll = "all"
	ProbeOff = "off"
)

// Trace is what is kept of endpoints' attempts to register and to call.
type Trace struct {
	Megabytes           int `yaml:"max_megabytes" doc:"Memory for all of it; the oldest attempts go first. 0: nothing is recorded."`
	AttemptsPerEndpoint int `yaml:"attempts_per_endpoint" doc:"How many attempts of one endpoint are kept."`
	AttemptsPerSecond   int `yaml:"attempts_per_second" doc:"How many attempts are recorded a second; of more, only so many."`
}

// Auth is digest authentication (RFC 7616, RFC 8760).
type Auth struct {
	NonceTTL          time.Duration `yaml:"nonce_ttl" doc:"How long a nonce may be used. Afterwards the client gets a fresh one without asking its user."`
	DisableMD5        bool          `yaml:"disable_md5" doc:"Offer SHA-256 alone. Many phones cannot log in then."`
	MD5OnlyUserAgents []string      `yaml:"md5_only_user_agents" doc:"Beginnings of User-Agent values that get MD5 alone because they fail on seeing SHA-256. baresip v0 and v1 and JsSIP are built in."`
	Bans              string        `yaml:"bans" doc:"Whether a user is refused at a source (403, the digest not looked at) after too many wrong digests: off, dry_run (counted and listed, nothing refused) or on. Others at that source go on. GET and DELETE /v1/admin/bans/ list and lift bans."`
	BanWrong          int           `yaml:"ban_wrong_digests" doc:"How many wrong digests of one source and user bring a ban. First requests without a digest, and stale nonces, never count; a right password forgives."`
	BanWindow         time.Duration `yaml:"ban_window" doc:"Within how long."`
	BanDuration       time.Duration `yaml:"ban_duration" doc:"How long the first ban lasts; each further one lasts twice as long."`
	BanMaxDuration    time.Duration `yaml:"ban_max_duration" doc:"How long a ban lasts at most. After so long without a wrong digest the next ban is a first one again."`
	BanPairs          int           `yaml:"ban_pairs" doc:"Pairs of source and user remembered at most; beyond, those with the fewest wrong digests are forgotten."`
}

// The values of Auth.Bans.
const (
	BansOff    = "off"
	BansDryRun = "dry_run"
	BansOn     = "on"
)

// Events is the log of what happened.
type Events struct {
	Keep              time.Duration `yaml:"keep" doc:"How long events are kept, for clients that resume a stream and for webhooks that were down."`
	MaxMegabytes      int           `yaml:"max_megabytes" doc:"How much of data_dir they take at most; beyond it the oldest go early, which streams and webhooks are told by stream.gap."`
	Refreshes         bool          `yaml:"refreshes" doc:"Whether each refresh of a registration is an event, too (endpoint.refreshed). There are as many as REGISTERs."`
	StreamsPerAccount int           `yaml:"streams_per_account" doc:"Event streams that one account may have open; further ones get 429."`
}

// Callbacks are HTTP requests to users' servers.
type Callbacks struct {
	AllowNetworks   []netip.Prefix `yaml:"allow_networks" doc:"Private networks (CIDR) that may be called all the same. Without them, this machine, private and other special networks are refused, whatever name leads there."`
	SignaturePrefix string         `yaml:"signature_prefix" doc:"What the names of the signature headers begin with: X-Vobiz makes X-Vobiz-Signature-V3."`
}

// Limits bounds what strangers can use.
type Limits struct {
	Connections                 int           `yaml:"connections" doc:"TCP, TLS, WS and WSS connections in all."`
	ConnectionsPerSource        int           `yaml:"connections_per_source" doc:"Connections of one source."`
	UnboundConnectionsPerSource int           `yaml:"unbound_connections_per_source" doc:"Of these, connections on which nobody is registered."`
	HandshakeTimeout            time.Duration `yaml:"handshake_timeout" doc:"For TLS and WebSocket handshakes."`
	FirstMessageTimeout         time.Duration `yaml:"first_message_timeout" doc:"From the handshake to the first whole SIP message."`
	IdleTimeout                 time.Duration `yaml:"idle_timeout" doc:"For silent connections on which nobody is registered."`
	WriteQueue                  int           `yaml:"write_queue" doc:"Bytes waiting for one slow reader before its connection is closed."`
	PacketsPerSecond            int           `yaml:"packets_per_second" doc:"Datagrams and messages of one source; 0 turns this limit off. A whole office may be one source."`
	PacketsBurst                int           `yaml:"packets_burst" doc:"How many a source may send at once after a pause."`
	Transactions                int           `yaml:"transactions" doc:"SIP transactions in all; beyond it requests get 503 with Retry-After."`
	Subscriptions               int           `yaml:"subscriptions" doc:"Subscriptions to registrations (event package reg) in all; beyond it SUBSCRIBE gets 503 with Retry-After."`
	SubscriptionsPerEndpoint    int           `yaml:"subscriptions_per_endpoint" doc:"Of these, to the registration of one endpoint."`
	AccountCalls                int           `yaml:"account_calls" doc:"Calls that the endpoints of one account may have placed and not ended; 0: any number. An account or endpoint may be given less."`
	AccountCallsPerSecond       int           `yaml:"account_calls_per_second" doc:"Calls that they may place in a second; 0: any number."`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `yaml:"level" doc:"debug (with lines about each call), info, warn or error."`
	Format string `yaml:"format" doc:"text or json."`
}

// Default returns the values of all keys a file leaves out. It is not complete:
// domains and listeners have no default.
func Default() Config {
	return Config{
		DataDir: "/var/lib/onhook",
		DNS:     DNS{Timeout: 1500 * time.Millisecond, Avoid: 30 * time.Second, NextHop: 5 * time.Second},
		API:     API{Address: "127.0.0.1:5080"},
		Registrar: Registrar{
			MinExpires:     60 * time.Second,
			MaxExpires:     time.Hour,
			DefaultExpires: 600 * time.Second,
			WebSocketGrace: 15 * time.Second,
			RestartGrace:   60 * time.Second,
			FlowTimer:      120 * time.Second,
			Probe:          ProbeNAT,
			ProbeInterval:  60 * time.Second,
			ProbeRate:      500,
			ServiceRoute:   true,
		},
		Calls: Calls{RecordRetention: 90 * 24 * time.Hour},
		Trace: Trace{Megabytes: 64, AttemptsPerEndpoint: 20, AttemptsPerSecond: 200},
		Auth: Auth{
			NonceTTL:       time.Hour,
			Bans:           BansOn,
			BanWrong:       10,
			BanWindow:      10 * time.Minute,
			BanDuration:    60 * time.Second,
			BanMaxDuration: time.Hour,
			BanPairs:       16_384,
		},
		Callbacks: Callbacks{SignaturePrefix: "X-Vobiz"},
		Events:    Events{Keep: 24 * time.Hour, MaxMegabytes: 1024, StreamsPerAccount: 20},
		Limits: Limits{
			Connections:                 100_000,
			ConnectionsPerSource:        1000,
			UnboundConnectionsPerSource: 200,
			HandshakeTimeout:            5 * time.Second,
			FirstMessageTimeout:         10 * time.Second,
			IdleTimeout:                 60 * time.Second,
			WriteQueue:                  256 << 10,
			PacketsPerSecond:            500,
			PacketsBurst:                2000,
			Transactions:                200_000,
			Subscriptions:               20_000,
			SubscriptionsPerEndpoint:    10,
			AccountCalls:                100_000,
			AccountCallsPerSecond:       10_000,
		},
		ExternalCalls:   true,
		Log:             Log{Level: "info", Format: "text"},
		ShutdownTimeout: 10 * time.Second,
	}
}

// PostgresURL returns the URL of the database where it is PostgreSQL.
func (c Config) PostgresURL() (url string, ok bool) {
	ok = strings.HasPrefix(c.Database, "postgres://") || strings.HasPrefix(c.Database, "postgresql://")
	return c.Database, ok
}

// DatabasePath is the SQLite file, where the database is one.
func (c Config) DatabasePath() string { return c.inData(c.Database, "onhook.db") }

// KeyPath is the file that keeps the key when Key is nil.
func (c Config) KeyPath() string { return c.inData(c.KeyFile, "key") }

// LocationPath is the folder of the binding journal.
func (c Config) LocationPath() string { return filepath.Join(c.DataDir, "bindings") }

// EventsPath is the folder of the events.
func (c Config) EventsPath() string { return filepath.Join(c.DataDir, "events") }

// CallsPath is the folder of the journal of calls in progress.
func (c Config) CallsPath() string { return filepath.Join(c.DataDir, "calls") }

// CertFiles returns the certificate and key of a listener: its own or the
// default ones.
func (c Config) CertFiles(l Listener) (cert, key string) {
	if l.CertFile != "" || l.KeyFile != "" {
		return l.CertFile, l.KeyFile
	}
	return c.TLS.CertFile, c.TLS.KeyFile
}

func (c Config) inData(path, name string) string {
	if path == "" {
		return filepath.Join(c.DataDir, name)
	}
	return path
}
