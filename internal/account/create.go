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
	if len(d.faults) > 0 { // every complaint at once, and nobody waits for the writer
		if err := s.confirm(ctx, s.store, owner, &d); err != nil {
			return Endpoint{}, fmt.Errorf("create endpoint: %w", err)
		}
		return Endpoint{}, d.faults.err()
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
	faulty := false
	for i, spec := range specs {
		drafts[i] = s.draft(owner, spec, true)
		faulty = faulty || len(drafts[i].faults) > 0
	}
	var made []Endpoint
	var err error
	if dryRun || faulty {
		made, err = s.confirmAll(ctx, s.store.Lookups(), owner, drafts)
	} else {
		made, err = s.insertAll(ctx, owner, drafts)
	}
	if err != nil {
		return nil, fmt.Errorf("create endpoints: %w", err)
	}
	return made, nil
}

func (s *Service) insertAll(ctx context.Context, owner Account, drafts []draft) (made []Endpoint, err error) {
	err = s.drawing(func() error {
		for i := range drafts {
			drafts[i].ID = newEndpointID()
		}
		return s.store.Update(ctx, func(ctx context.Context, tx Tx) (err error) {
			if made, err = s.confirmAll(ctx, tx, owner, drafts); err != nil {
				return err
			}
			return tx.InsertEndpoints(ctx, made)
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

// confirmAll is confirm for a whole bulk request, usernames included. It
// returns what is to be made and leaves the drafts as they are.
func (s *Service) confirmAll(ctx context.Context, r Reader, owner Account, drafts []draft) ([]Endpoint, error) {
	made := make([]Endpoint, len(drafts))
	items := map[int]map[string]string{}
	for i, d := range drafts {
		if err := s.confirm(ctx, r, owner, &d); err != nil {
			return nil, err
		}
		if len(d.faults) > 0 {
			items[i] = d.faults
		}
		made[i] = d.Endpoint
	}
	if len(items) > 0 {
		return nil, &Invalid{Items: items}
	}
	return made, conflicts(ctx, r, made)
}

// conflicts finds usernames that the store holds already or that come twice.
func conflicts(ctx context.Context, r Reader, made []Endpoint) error {
	names, byDomain := make([]string, len(made)), map[string][]string{}
	for i := range made {
		names[i] = strings.ToLower(made[i].Username)
		byDomain[made[i].Domain] = append(byDomain[made[i].Domain], names[i])
	}
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
	for i := range made {
		if t := taken[made[i].Domain]; !t[names[i]] {
			t[names[i]] = true
			continue
		}
		if len(c.Items) == 0 {
			c.Username, c.Index = made[i].Username, i
		}
		c.Items[i] = made[i].Username
	}
	if len(c.Items) > 0 {
		return c
	}
	return nil
}
