package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// draft is an endpoint to be created together with what the store has to
// confirm.
type draft struct {
	Endpoint
	subAccount string // asked for; "" when none
	byDefault  bool   // no application is asked for: the owner's default one
	faults     faults
}

// CreateEndpoint makes an endpoint of the owner or, when the spec says so, of
// one of its sub-accounts. Errors are *Invalid, *Conflict, ErrUnavailable.
func (s *Service) CreateEndpoint(ctx context.Context, owner Account, spec EndpointSpec) (Endpoint, error) {
	d := s.draft(owner, spec, false)
	if err := s.confirm(ctx, s.store, owner, &d); err != nil {
		return Endpoint{}, fmt.Errorf("create endpoint: %w", err)
	}
	if err := d.faults.err(); err != nil {
		return Endpoint{}, err
	}
	var made Endpoint
	err := s.drawing(func() error {
		d.ID = newEndpointID()
		return s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
			e := d // f may run again
			if err := s.confirm(ctx, tx, owner, &e); err != nil {
				return err
			}
			if err := e.faults.err(); err != nil {
				return err
			}
			made = e.Endpoint
			return tx.InsertEndpoint(ctx, made)
		})
	})
	if err != nil {
		return Endpoint{}, fmt.Errorf("create endpoint: %w", err)
	}
	return made, nil
}

// CreateEndpoints makes all of the endpoints or none. Here HA1 values may
// stand instead of passwords. A dry run checks everything and changes nothing;
// the endpoints it returns have no ID.
func (s *Service) CreateEndpoints(ctx context.Context, owner Account, specs []EndpointSpec, dryRun bool) ([]Endpoint, error) {
	if len(specs) < 1 || len(specs) > MaxBulk {
		return nil, &Invalid{Fields: map[string]string{"objects": fmt.Sprintf("Must hold 1 to %d endpoints", MaxBulk)}}
	}
	drafts := make([]draft, len(specs))
	for i, spec := range specs {
		drafts[i] = s.draft(owner, spec, true)
	}
	if err := s.confirmAll(ctx, s.store, owner, drafts); err != nil {
		return nil, fmt.Errorf("create endpoints: %w", err)
	}
	if !dryRun {
		var err error
		if drafts, err = s.insertAll(ctx, owner, drafts); err != nil {
			return nil, fmt.Errorf("create endpoints: %w", err)
		}
	}
	made := make([]Endpoint, len(drafts))
	for i := range drafts {
		made[i] = drafts[i].Endpoint
	}
	return made, nil
}

func (s *Service) insertAll(ctx context.Context, owner Account, drafts []draft) (made []draft, err error) {
	err = s.drawing(func() error {
		for i := range drafts {
			drafts[i].ID = newEndpointID()
		}
		return s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
			made = slices.Clone(drafts) // f may run again
			if err := s.confirmAll(ctx, tx, owner, made); err != nil {
				return err
			}
			endpoints := make([]Endpoint, len(made))
			for i := range made {
				endpoints[i] = made[i].Endpoint
			}
			return tx.InsertEndpoints(ctx, endpoints)
		})
	})
	return made, err
}

// draft applies the rules that need no store.
func (s *Service) draft(owner Account, spec EndpointSpec, bulk bool) draft {
	f := newFaults(spec.Malformed)
	e := Endpoint{Owner: owner.AuthID, Main: owner.Main()}
	e.Username = value(f, "username", spec.Username, "")
	f.add("username", checkUsername(e.Username))
	e.Alias = value(f, "alias", spec.Alias, e.Username)
	if spec.Alias.Set {
		f.add("alias", checkAlias(e.Alias))
	}
	e.Domain = s.domain(f, spec.Domain)
	e.Allow = Permissions{
		Voice:        value(f, "allow_voice", spec.AllowVoice, true),
		Message:      value(f, "allow_message", spec.AllowMessage, true),
		Video:        value(f, "allow_video", spec.AllowVideo, false),
		SameDomain:   value(f, "allow_same_domain", spec.AllowSameDomain, true),
		OtherDomains: value(f, "allow_other_domains", spec.AllowOtherDomains, false),
		Phones:       value(f, "allow_phones", spec.AllowPhones, true),
		Apps:         value(f, "allow_apps", spec.AllowApps, true),
	}
	e.MaxContacts = value(f, "max_contacts", spec.MaxContacts, defaultMaxContacts)
	f.add("max_contacts", checkMaxContacts(e.MaxContacts))
	e.ExpiresAt = s.expiry(f, spec.ExpiresAt, time.Time{})
	e.Application = wantedApplication(f, spec.Application)
	e.Secret = draftSecret(f, spec, e, bulk)
	e.CreatedAt = s.time()
	e.UpdatedAt = e.CreatedAt
	return draft{Endpoint: e, subAccount: spec.SubAccount.Value, byDefault: !spec.Application.Set && !f.has("application"), faults: f}
}

// domain returns the SIP domain asked for, in its stored lower case.
func (s *Service) domain(f faults, o Optional[string]) string {
	d := strings.ToLower(value(f, "domain", o, s.domains[0]))
	if !slices.Contains(s.domains, d) {
		f.add("domain", msgDomain)
	}
	return d
}

// wantedApplication returns the app_id asked for, "" for none.
func wantedApplication(f faults, o Optional[string]) string {
	if o.Value == "" {
		return ""
	}
	id, ok := parseApplication(o.Value)
	if !ok {
		f.add("application", msgApplication)
	}
	return id
}

func draftSecret(f faults, spec EndpointSpec, e Endpoint, bulk bool) Secret {
	imported := spec.HA1MD5.Set || spec.HA1SHA256.Set
	if imported && !bulk {
		if spec.HA1MD5.Set {
			f.add("ha1_md5", msgBulkOnly)
		}
		if spec.HA1SHA256.Set {
			f.add("ha1_sha256", msgBulkOnly)
		}
	}
	switch {
	case bulk && imported && spec.Password.Set:
		f.add("password", msgHA1Both)
	case bulk && imported && !spec.HA1MD5.Set:
		f.add("ha1_sha256", msgHA1Alone)
	case bulk && imported:
		return importSecret(f, spec.HA1MD5, spec.HA1SHA256)
	case !spec.Password.Set:
		if !bulk || !f.has("ha1_md5") && !f.has("ha1_sha256") {
			f.add("password", msgRequired)
		}
	default:
		p := value(f, "password", spec.Password, "")
		f.add("password", checkPassword(p))
		if len(f) == 0 {
			return newSecret(e.Username, e.Domain, p)
		}
	}
	return Secret{}
}

// confirm applies the rules that need the store: the owner, its sub-account
// and the application as they are now.
func (s *Service) confirm(ctx context.Context, r Reader, owner Account, d *draft) error {
	acting, err := r.Account(ctx, owner.AuthID)
	if err != nil {
		return err
	}
	f := faults(nil)
	if !acting.Enabled {
		f = d.addFault(f, "sub_account", msgDisabled)
	}
	if d.subAccount != "" && d.subAccount != owner.AuthID {
		sub, err := r.Account(ctx, d.subAccount)
		switch {
		case errors.Is(err, ErrNotFound):
			f = d.addFault(f, "sub_account", msgSubAccount)
		case err != nil:
			return err
		case owner.Parent != "" || sub.Parent != owner.AuthID || !sub.Enabled:
			f = d.addFault(f, "sub_account", msgSubAccount)
		default:
			d.Owner = sub.AuthID
		}
	}
	if d.byDefault {
		app, err := r.DefaultApplication(ctx, d.Owner)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		d.Application = app.ID
	}
	bad, err := applicationFault(ctx, r, d.Endpoint)
	if err != nil {
		return err
	}
	if bad != "" {
		f = d.addFault(f, "application", bad)
	}
	if f != nil {
		d.faults = f
	}
	return nil
}

// addFault adds to a copy of the draft's faults, which earlier runs share.
func (d *draft) addFault(f faults, field, sentence string) faults {
	if f == nil {
		f = newFaults(d.faults)
	}
	f.add(field, sentence)
	return f
}

// applicationFault says what is wrong with the endpoint's application, which
// must be the owner's or its main account's.
func applicationFault(ctx context.Context, r Reader, e Endpoint) (string, error) {
	if e.Application == "" {
		return "", nil
	}
	app, err := r.Application(ctx, e.Application)
	switch {
	case errors.Is(err, ErrNotFound):
		return msgApplication, nil
	case err != nil:
		return "", err
	case app.Owner != e.Owner && app.Owner != e.Main:
		return msgApplication, nil
	}
	return "", nil
}

// confirmAll is confirm for a whole bulk request, usernames included.
func (s *Service) confirmAll(ctx context.Context, r Reader, owner Account, drafts []draft) error {
	items := map[int]map[string]string{}
	byDomain := map[string][]string{}
	cached := &cachedReader{Reader: r}
	for i := range drafts {
		if err := s.confirm(ctx, cached, owner, &drafts[i]); err != nil {
			return err
		}
		if len(drafts[i].faults) > 0 {
			items[i] = drafts[i].faults
		}
		byDomain[drafts[i].Domain] = append(byDomain[drafts[i].Domain], strings.ToLower(drafts[i].Username))
	}
	if len(items) > 0 {
		return &Invalid{Items: items}
	}
	return conflicts(ctx, r, drafts, byDomain)
}

// conflicts finds usernames that the store holds already or that come twice.
func conflicts(ctx context.Context, r Reader, drafts []draft, byDomain map[string][]string) error {
	taken := make(map[string]map[string]bool, len(byDomain))
	for domain, names := range byDomain {
		t, err := r.TakenUsernames(ctx, domain, names)
		if err != nil {
			return err
		}
		if t == nil {
			t = map[string]bool{}
		}
		taken[domain] = t
	}
	c := &Conflict{Items: map[int]string{}}
	for i := range drafts {
		name := strings.ToLower(drafts[i].Username)
		if t := taken[drafts[i].Domain]; !t[name] {
			t[name] = true
			continue
		}
		if len(c.Items) == 0 {
			c.Username, c.Index = drafts[i].Username, i
		}
		c.Items[i] = drafts[i].Username
	}
	if len(c.Items) > 0 {
		return c
	}
	return nil
}

// cachedReader asks for each account and application of a bulk request once.
type cachedReader struct {
	Reader
	accounts map[string]cachedAccount
	apps     map[string]cachedApplication // by app_id
	defaults map[string]cachedApplication // by owner
}

type cachedAccount struct {
	a   Account
	err error
}

type cachedApplication struct {
	a   Application
	err error
}

func (c *cachedReader) Account(ctx context.Context, authID string) (Account, error) {
	got, ok := c.accounts[authID]
	if !ok {
		got.a, got.err = c.Reader.Account(ctx, authID)
		if c.accounts == nil {
			c.accounts = map[string]cachedAccount{}
		}
		c.accounts[authID] = got
	}
	return got.a, got.err
}

func (c *cachedReader) Application(ctx context.Context, appID string) (Application, error) {
	return cached(ctx, &c.apps, appID, c.Reader.Application)
}

func (c *cachedReader) DefaultApplication(ctx context.Context, owner string) (Application, error) {
	return cached(ctx, &c.defaults, owner, c.Reader.DefaultApplication)
}

func cached(ctx context.Context, known *map[string]cachedApplication, key string, read func(context.Context, string) (Application, error)) (Application, error) {
	got, ok := (*known)[key]
	if !ok {
		got.a, got.err = read(ctx, key)
		if *known == nil {
			*known = map[string]cachedApplication{}
		}
		(*known)[key] = got
	}
	return got.a, got.err
}
