package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"onhook/internal/account"
	"onhook/internal/api"
	"onhook/internal/callback"
	"onhook/internal/callguard"
	"onhook/internal/callrecord"
	"onhook/internal/config"
	"onhook/internal/directory"
	"onhook/internal/event"
	"onhook/internal/eventlog"
	"onhook/internal/floodguard"
	"onhook/internal/location"
	"onhook/internal/locationlog"
	"onhook/internal/metrics"
	"onhook/internal/registrar"
	"onhook/internal/routing"
	"onhook/internal/sip"
	"onhook/internal/sipauth"
	"onhook/internal/sipgruu"
	"onhook/internal/sipproxy"
	"onhook/internal/siptrace"
	"onhook/internal/siptransaction"
	"onhook/internal/siptransport"
	"onhook/internal/siptrunk"
	"onhook/internal/storesql"
	"onhook/internal/trunk"
	"onhook/internal/webhook"
)

// Options is what a Server is given beside its configuration.
type Options struct {
	Logger *slog.Logger // nil: slog.Default()
}

// ErrStopNow is the cause to cancel Run's context with when nothing shall be
// waited for.
var ErrStopNow = errors.New("stop now")

// Server is a whole onhook.
type Server struct {
	cfg          config.Config
	logger       *slog.Logger
	store        *storesql.Store
	accounts     *account.Service
	journal      location.Journal
	journalStats func() locationlog.Stats
	path         *path
	guard        *floodguard.Guard
	trust        sync.Mutex // of those who tell it whom to trust
	trunks       *trunk.Service
	upstream     *siptrunk.Registrations
	calls        callrecord.Feeds
	events       *eventlog.Log
	hub          *event.Hub
	outgoing     *callback.Client
	webhooks     *webhook.Service
	delivery     *webhook.Deliverer
	records      *callrecord.Outbox
	callLog      location.Journal // of calls in progress
	api          *http.Server
	apiStats     api.Stats
	apiAddr      netip.AddrPort
	apiConn      net.Listener

	started chan struct{}
	ready   atomic.Bool
}

// New builds a Server and opens its stores; it listens nowhere yet. Without an
// error, Run must follow: it closes what New opened.
func New(ctx context.Context, cfg config.Config, opts Options) (*Server, error) {
	s := &Server{cfg: cfg, logger: opts.Logger, started: make(chan struct{})}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.closeStores())
	}
	return s, nil
}

// open opens the stores and builds the parts on them.
func (s *Server) open(ctx context.Context) error {
	cfg := s.cfg
	db, err := openAccounts(ctx, cfg, s.logger)
	if err != nil {
		return err
	}
	s.store, s.accounts = db.store, db.service
	dir := directory.New()
	s.records = callrecord.NewOutbox(callrecord.OutboxConfig{Store: db.store, Retention: cfg.Calls.RecordRetention, Logger: s.logger.With("package", "callrecord"),
		Saved: func(ids []callrecord.ID) { s.path.proxy.Stored(ids) }})
	if err := dir.Load(ctx, s.store); err != nil {
		return fmt.Errorf("load endpoints: %w", err)
	}
	journal, err := locationlog.Open(locationlog.Config{Dir: cfg.LocationPath(), Logger: s.logger.With("package", "locationlog")})
	if err != nil {
		return fmt.Errorf("bindings %s: %w", cfg.LocationPath(), err)
	}
	s.journal, s.journalStats = journal, journal.Stats
	callLog, err := locationlog.Open(locationlog.Config{Dir: cfg.CallsPath(), Logger: s.logger.With("package", "locationlog")})
	if err != nil {
		return fmt.Errorf("calls %s: %w", cfg.CallsPath(), err)
	}
	s.callLog = callLog
	return s.build(ctx, dir, db.master)
}

// build connects the parts of the request path.
func (s *Server) build(ctx context.Context, dir *directory.Directory, master []byte) error {
	cfg := s.cfg
	nonceKey, err := hkdf.Key(sha256.New, master, nil, "onhook nonce v1", 32)
	if err != nil {
		return err
	}
	cookieKey, err := hkdf.Key(sha256.New, master, nil, "onhook cookie v1", 32)
	if err != nil {
		return err
	}
	gruuKey, err := hkdf.Key(sha256.New, master, nil, "onhook gruu v1", 32)
	if err != nil {
		return err
	}
	p := newPath(newNames(cfg.Domains, dir), dir, s.logger.With("package", "server"))
	s.path, s.guard = p, newGuard(cfg)
	listeners, err := s.listeners()
	if err != nil {
		return err
	}
	dialTLS, err := s.dialTLS()
	if err != nil {
		return err
	}
	if p.resolver, err = s.newResolver(); err != nil {
		return err
	}
	p.transport = siptransport.New(siptransport.Config{
		Listeners:      listeners,
		DialTLS:        dialTLS,
		Guard:          s.guard,
		AskCertificate: func(source netip.Addr) bool { return p.trunks.Identifies(source) },
		Logger:         s.logger.With("package", "siptransport"),
		MaxConnections: cfg.Limits.Connections,
		QueueBytes:     cfg.Limits.WriteQueue,
		Keepalive:      func(f sip.Flow) { p.index.Heard(f) },
		Deadlines: siptransport.Deadlines{
			Handshake: cfg.Limits.HandshakeTimeout, FirstMessage: cfg.Limits.FirstMessageTimeout, Idle: cfg.Limits.IdleTimeout,
		},
	}, p)
	if cfg.Trace.Megabytes > 0 {
		p.traces = siptrace.New(siptrace.Config{MaxBytes: cfg.Trace.Megabytes << 20, PerEndpoint: cfg.Trace.AttemptsPerEndpoint,
			Rate: float64(cfg.Trace.AttemptsPerSecond), Owners: p.owners, Local: p.localAddr})
	}
	p.transactions = siptransaction.New(siptransaction.Config{Sender: p.tap(), Handler: p, MaxTransactions: cfg.Limits.Transactions})
	if err := s.buildTrunks(ctx); err != nil {
		return err
	}
	p.bans = newBans(cfg.Auth)
	p.auth = sipauth.New(sipauth.Config{Banned: p.banned, Key: nonceKey, NonceTTL: cfg.Auth.NonceTTL, MD5OnlyUserAgents: cfg.Auth.MD5OnlyUserAgents, DisableMD5: cfg.Auth.DisableMD5})
	p.index = location.New(location.Config{
		Journal: s.journal, Logger: s.logger.With("package", "location"),
		WebSocketGrace: cfg.Registrar.WebSocketGrace, RestartGrace: cfg.Registrar.RestartGrace,
		RefreshEvents: cfg.Events.Refreshes,
		Registered:    func(key location.Key, is bool) { s.store.SetRegistered(account.EndpointID(key), is) },
		Bound:         func(f sip.Flow) { p.transport.SetBound(f, true) },
		Idle:          func(f sip.Flow) { p.transport.SetBound(f, false) },
		Alive:         p.transport.Alive,
		Probe:         map[string]location.ProbeMode{config.ProbeAll: location.ProbeAll, config.ProbeOff: location.ProbeNone}[cfg.Registrar.Probe],

		Together:       p.transport.Together,
		CommitInterval: time.Millisecond, // under load one fsync serves more changes
	})
	if err := p.index.Load(); err != nil {
		return fmt.Errorf("bindings %s: %w", cfg.LocationPath(), err)
	}
	if p.gruus, err = sipgruu.New(gruuKey); err != nil {
		return err
	}
	if err := s.buildEvents(); err != nil {
		return err
	}
	p.registrar = registrar.New(s.registrarConfig())
	s.buildWatchers()
	p.limiter = &limiter{directory: dir, guard: callguard.New(), accounts: accountLimits(cfg)}
	p.router = routing.Router{Names: p.names, Bindings: p.index, Phones: p.trunks, GRUUs: p.gruus, ExternalCalls: cfg.ExternalCalls}
	p.proxy, err = sipproxy.New(sipproxy.Config{
		Transport: p.tap(), Transactions: p.transactions, Bindings: p.index, GRUUs: p.gruus, Ours: p.names.Ours, Key: cookieKey,
		Resolver: p.resolver, HopTimeout: cfg.DNS.NextHop, Trunks: phones{p.trunks, dir},
		Journal: s.callLog, Feeds: &s.calls, Records: s.records, Policy: permissions{dir},
		Limiter: p.limiter, Owners: p.owner, Untold: p.traces.Untold, Redirects: p,
		Domain: p.names.first(), Logger: s.logger.With("package", "sipproxy"),
	})
	if err != nil {
		return err
	}
	if err := p.proxy.Load(); err != nil {
		return fmt.Errorf("calls %s: %w", cfg.CallsPath(), err)
	}
	s.accounts.Subscribe(func(c account.Change) { s.changed(context.WithoutCancel(ctx), c) })
	s.accounts.SubscribeApplications(dir.ApplyApplication)
	s.accounts.SubscribeAccounts(func(c account.AccountChange) { s.accountChanged(context.WithoutCancel(ctx), c) })
	return nil
}

func (s *Server) registrarConfig() registrar.Config {
	c, p := s.cfg.Registrar, s.path
	config := registrar.Config{
		Index: p.index, MinExpires: c.MinExpires, MaxExpires: c.MaxExpires, DefaultExpires: c.DefaultExpires,
		Admit:     p.admitted,
		GRUUs:     p.gruus,
		FlowTimer: c.FlowTimer,
		Watch:     func(f sip.Flow) { p.transport.Watch(f, c.FlowTimer*3/2) },
	}
	if c.ServiceRoute {
		config.ServiceRoute = p.appendServiceRoute
	}
	return config
}

// listeners reads the configured listeners and their certificates.
func (s *Server) listeners() ([]siptransport.Listener, error) {
	var all []siptransport.Listener
	for _, l := range s.cfg.SIP.Listeners {
		t, ok := sip.ParseTransport(l.Transport)
		if !ok {
			return nil, fmt.Errorf("listener %s: unknown transport %q", l.Address, l.Transport)
		}
		listener := siptransport.Listener{Transport: t, Address: l.Address, Advertise: l.Advertise}
		if t.Secure() {
			certFile, keyFile := s.cfg.CertFiles(l)
			cert, err := loadCertificate(certFile, keyFile, s.logger)
			if err != nil {
				return nil, fmt.Errorf("listener %s %s: %w", l.Transport, l.Address, err)
			}
			listener.TLS = cert.config()
		}
		all = append(all, listener)
	}
	return all, nil
}

// Started is closed once the server listens everywhere.
func (s *Server) Started() <-chan struct{} { return s.started }

// Addr is the address that SIP listener i is bound to.
func (s *Server) Addr(i int) netip.AddrPort { return s.path.transport.Addr(i) }

// Calls tells of the calls that begin, are answered and end.
func (s *Server) Calls() *callrecord.Feeds { return &s.calls }

// APIAddr is the address that the API is bound to.
func (s *Server) APIAddr() netip.AddrPort { return s.apiAddr }

// Accounts are the server's accounts, for whoever starts it.
func (s *Server) Accounts() *account.Service { return s.accounts }

// listen binds every socket. An error names the address.
func (s *Server) listen(ctx context.Context) error {
	if err := s.path.transport.Listen(); err != nil {
		return err
	}
	for i, l := range s.cfg.SIP.Listeners {
		s.path.names.listen(s.path.transport.Addr(i), l.Advertise)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.API.Address)
	if err != nil {
		return fmt.Errorf("api address %s: %w", s.cfg.API.Address, err)
	}
	s.apiAddr = listener.Addr().(*net.TCPAddr).AddrPort()
	if s.cfg.API.CertFile != "" {
		cert, err := loadCertificate(s.cfg.API.CertFile, s.cfg.API.KeyFile, s.logger)
		if err != nil {
			return errors.Join(fmt.Errorf("api: %w", err), listener.Close())
		}
		listener = tls.NewListener(listener, cert.config())
	}
	s.apiConn = listener
	stopping := make(chan struct{})
	s.api = &http.Server{
		Handler: api.New(api.Config{
			Service: s.accounts, Registrations: registrations{s.path}, DryRun: dryRun{s.path}, AccountLimits: accountLimits(s.cfg), Traces: traces{s.path.traces}, Ready: s.isReady,
			Calls: liveCalls{s.path.proxy}, Records: s.store,
			Webhooks: webhooks{s.webhooks, s.delivery}, Stopping: stopping, Answers: s.store, Stats: &s.apiStats,
			Events: eventStreams{s.events}, StreamsPerAccount: s.cfg.Events.StreamsPerAccount,
			Bans: bans{s.path.bans, s.cfg.Auth.Bans}, Trunks: s.trunks, AdminToken: s.cfg.API.AdminToken,
			Metrics: metrics.Handler(s.samples), Logger: s.logger,
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // one line per hostile handshake is too many
	}
	s.api.RegisterOnShutdown(sync.OnceFunc(func() { close(stopping) }))
	return nil
}

// isReady says why the server takes no work, nil when it does.
func (s *Server) isReady() error {
	if !s.ready.Load() {
		return errors.New("the server is starting or stopping")
	}
	return nil
}

// Run serves until ctx ends, and then stops in order: it refuses what is new,
// lets what is under way come to its end within the shutdown timeout, and
// closes. With ErrStopNow as the context's cause it waits for nothing.
func (s *Server) Run(ctx context.Context) error {
	if err := shortTurns(); err != nil { // in a container that forbids it, say: all works, only less promptly
		s.logger.Debug("threads keep the kernel's own turns", "error", err)
	}
	if err := s.listen(ctx); err != nil {
		return errors.Join(err, s.path.resolver.Close(), s.path.transport.Close(), s.closeStores())
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, inner := errgroup.WithContext(inner)
	group.Go(func() error { return s.path.index.Run(inner) })
	group.Go(func() error { return s.path.transactions.Run(inner) })
	group.Go(func() error { return s.path.notifier.Run(inner) })
	if s.cfg.Registrar.Probe != config.ProbeOff {
		group.Go(func() error { return s.path.probes.Run(inner) })
	}
	group.Go(func() error { return s.store.Run(inner) })
	group.Go(func() error { return s.trunks.Run(inner) })
	group.Go(func() error { return s.sweepExpired(inner) })
	group.Go(func() error { return s.hub.Run(inner) })
	group.Go(func() error { return s.sweepEvents(inner) })
	group.Go(func() error { return s.records.Run(inner) })
	group.Go(func() error { return s.path.proxy.Run(inner) })
	group.Go(func() error { return tendMemory(inner) })
	group.Go(func() error { return s.delivery.Run(inner) })
	group.Go(func() error { return s.path.transport.Run(inner) })
	registered, leave := context.WithCancel(inner)
	left := make(chan struct{})
	group.Go(func() error { defer close(left); return s.upstream.Run(registered) })
	group.Go(func() error {
		if err := s.api.Serve(s.apiConn); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("api: %w", err)
		}
		return nil
	})
	s.ready.Store(true)
	close(s.started)
	select {
	case <-ctx.Done():
	case <-inner.Done(): // a part of the server failed: its error comes from Wait
	}
	leave() // while there is a transport to say goodbye with
	if !errors.Is(context.Cause(ctx), ErrStopNow) {
		<-left
	}
	err := s.stop(ctx)
	cancel()
	err = errors.Join(err, group.Wait())
	s.flushRecords(ctx)
	return errors.Join(err, s.path.proxy.Flush(), s.closeStores())
}

// flushTime is how long a stopping server tries to store the last call records.
const flushTime = 5 * time.Second

// flushRecords stores the call records that still wait. What cannot be stored is
// said.
func (s *Server) flushRecords(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	if s.records.Flush(ctx); s.records.Stats().Waiting > 0 {
		s.logger.Error("call records could not be stored before the stop", "records", s.records.Stats().Waiting)
	}
}

// drainPoll is how often a stopping server looks whether it is done.
const drainPoll = 20 * time.Millisecond

// stop refuses new work and waits for the present one.
func (s *Server) stop(ctx context.Context) error {
	s.ready.Store(false)
	s.path.draining.Store(true)
	s.path.notifier.Stop()
	wait := s.cfg.ShutdownTimeout
	if errors.Is(context.Cause(ctx), ErrStopNow) {
		wait = 0
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	var err error
	if s.api.Shutdown(deadline) != nil { // time is over: those that are left are cut
		s.logger.Warn("API requests are cut off", "after", wait)
		err = s.api.Close()
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for wait > 0 && deadline.Err() == nil && s.path.transactions.Stats().Servers > 0 {
		select {
		case <-tick.C:
		case <-deadline.Done():
		}
	}
	err = errors.Join(err, s.path.resolver.Close(), s.path.transport.Close(), s.path.transactions.Close())
	s.path.index.Close()
	s.calls.Close()
	return err
}

func (s *Server) closeStores() error {
	var err error
	if s.journal != nil {
		err = s.journal.Close()
	}
	if s.callLog != nil {
		err = errors.Join(err, s.callLog.Close())
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}
