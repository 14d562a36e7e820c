package account

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// ApplicationSpec asks for an application or for a change of one. Absent
// fields get their defaults or stay.
type ApplicationSpec struct {
	Name           Optional[string]
	AnswerURL      Optional[string]
	AnswerMethod   Optional[string]
	FallbackURL    Optional[string] // null or "" is none, as for the URLs that follow
	FallbackMethod Optional[string]
	HangupURL      Optional[string] // null or "" is the answer URL
	HangupMethod   Optional[string]
	MessageURL     Optional[string]
	MessageMethod  Optional[string]
	TransferURL    Optional[string]
	TransferMethod Optional[string]

	LogMessages     Optional[bool]
	PublicURI       Optional[bool]
	Enabled         Optional[bool]
	DefaultEndpoint Optional[bool]
	DefaultNumber   Optional[bool]

	// locked after creation
	SubAccount Optional[string] // null is none
	ID         Optional[string] // on update only

	Malformed map[string]string // as in EndpointSpec
}

// ApplicationQuery selects one page of applications, newest first.
type ApplicationQuery struct {
	Limit      int // 1 to MaxLimit
	Offset     int
	Name       Match            // Exact and Contains, as written
	SubAccount Optional[string] // selects that sub-account's applications instead of the scope's own

	Malformed map[string]string // query parameters the caller could not read
}

// Detach says what becomes of the endpoints of an application that is deleted;
// when nothing is set they are left without one.
type Detach struct {
	Cascade     bool   // they are deleted
	Replacement string // they get this application; app_id or resource path
}

const (
	maxAppName = 64
	maxURL     = 2048
	get, post  = "GET", "POST"
)

const (
	msgAppName = "Only letters, digits, hyphens, underscores, spaces and parentheses are allowed, 1 to 64 in all"
	msgURL     = "Must be an absolute http or https URL of at most 2048 characters"
	msgMethod  = "Must be GET or POST"
	msgDetach  = "Give either cascade or new_endpoint_application"
	msgSelf    = "Must be another application"
)

// CreateApplication makes an application of the owner or, when the spec says
// so, of one of its sub-accounts. Errors are *Invalid, ErrNameTaken,
// ErrUnavailable.
func (s *Service) CreateApplication(ctx context.Context, owner Account, spec ApplicationSpec) (Application, error) {
	for name, o := range map[string]*Optional[string]{"app_name": &spec.Name, "answer_url": &spec.AnswerURL} {
		if !o.Set && spec.Malformed[name] == "" {
			*o = Some("")
		}
	}
	a := Application{Owner: owner.AuthID, AnswerMethod: post, FallbackMethod: post, HangupMethod: post, MessageMethod: post,
		TransferMethod: post, Enabled: true, CreatedAt: s.time(), UpdatedAt: s.time()}
	a, f := spec.apply(a)
	if err := s.ownApplication(ctx, f, owner, spec, &a); err != nil {
		return Application{}, fmt.Errorf("create application: %w", err)
	}
	if err := f.err(); err != nil {
		return Application{}, err
	}
	err := s.drawing(func() error {
		a.ID = newApplicationID()
		return s.store.Update(ctx, func(ctx context.Context, tx Tx) error { return tx.InsertApplication(ctx, a) })
	})
	if err != nil {
		return Application{}, fmt.Errorf("create application: %w", err)
	}
	return a, nil
}

// ownApplication gives the application to the sub-account asked for.
func (s *Service) ownApplication(ctx context.Context, f faults, owner Account, spec ApplicationSpec, a *Application) error {
	if !owner.Enabled {
		f.add("sub_account", msgDisabled)
	}
	id := spec.SubAccount.Value
	if id == "" || id == owner.AuthID && owner.Parent != "" {
		return nil
	}
	sub, err := s.store.Account(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil || owner.Parent != "" || sub.Parent != owner.AuthID || !sub.Enabled {
		f.add("sub_account", msgSubAccount)
	}
	a.Owner = sub.AuthID
	return nil
}

// apply returns the application as the spec wants it, and what is wrong with
// the spec.
func (p ApplicationSpec) apply(a Application) (Application, faults) {
	f := newFaults(p.Malformed)
	a.Name = value(f, "app_name", p.Name, a.Name)
	if p.Name.Set && !p.Name.Null {
		f.add("app_name", checkAppName(a.Name))
	}
	a.AnswerURL = value(f, "answer_url", p.AnswerURL, a.AnswerURL)
	if p.AnswerURL.Set && !p.AnswerURL.Null && a.AnswerURL == "" {
		f.add("answer_url", msgRequired)
	}
	for _, u := range []struct {
		name string
		from Optional[string]
		to   *string
	}{
		{"answer_url", p.AnswerURL, &a.AnswerURL}, {"fallback_answer_url", p.FallbackURL, &a.FallbackURL}, {"hangup_url", p.HangupURL, &a.HangupURL},
		{"message_url", p.MessageURL, &a.MessageURL}, {"sip_transfer_url", p.TransferURL, &a.TransferURL},
	} {
		if u.from.Set {
			*u.to = u.from.Value
			f.add(u.name, checkURL(*u.to))
		}
	}
	for _, m := range []struct {
		name string
		from Optional[string]
		to   *string
	}{
		{"answer_method", p.AnswerMethod, &a.AnswerMethod}, {"fallback_method", p.FallbackMethod, &a.FallbackMethod}, {"hangup_method", p.HangupMethod, &a.HangupMethod},
		{"message_method", p.MessageMethod, &a.MessageMethod}, {"sip_transfer_method", p.TransferMethod, &a.TransferMethod},
	} {
		*m.to = strings.ToUpper(value(f, m.name, m.from, *m.to))
		if *m.to != get && *m.to != post {
			f.add(m.name, msgMethod)
		}
	}
	a.LogMessages = value(f, "log_incoming_message", p.LogMessages, a.LogMessages)
	a.PublicURI = value(f, "public_uri", p.PublicURI, a.PublicURI)
	a.Enabled = value(f, "enabled", p.Enabled, a.Enabled)
	a.DefaultEndpoint = value(f, "default_endpoint_app", p.DefaultEndpoint, a.DefaultEndpoint)
	a.DefaultNumber = value(f, "default_number_app", p.DefaultNumber, a.DefaultNumber)
	return a, f
}

func checkAppName(s string) string {
	switch {
	case s == "":
		return msgRequired
	case len(s) > maxAppName || !only(s, "-_ ()"):
		return msgAppName
	}
	return ""
}

func checkURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || utf8.RuneCountInString(s) > maxURL || checkText(s) != "" {
		return msgURL
	}
	return ""
}

// Application returns an application of the scope: the account's own or, for
// a main account, its sub-accounts' too. Foreign ones are ErrNotFound.
func (s *Service) Application(ctx context.Context, scope Account, appID string) (Application, error) {
	return visibleApplication(ctx, s.store, scope, appID)
}

func visibleApplication(ctx context.Context, r Reader, scope Account, appID string) (Application, error) {
	a, err := r.Application(ctx, appID)
	if err != nil || a.Owner == scope.AuthID {
		return a, err
	}
	owner, err := r.Account(ctx, a.Owner)
	if err != nil {
		return Application{}, err
	}
	if scope.Parent != "" || owner.Parent != scope.AuthID {
		return Application{}, ErrNotFound
	}
	return a, nil
}

// ApplicationPage returns one page of the scope's own applications, or of the
// sub-account that the query selects, and the number of all that match.
func (s *Service) ApplicationPage(ctx context.Context, scope Account, q ApplicationQuery) ([]Application, int, error) {
	if err := checkPage(q.Malformed, q.Limit, q.Offset); err != nil {
		return nil, 0, err
	}
	owner, err := s.selected(ctx, scope, q.SubAccount)
	if err != nil || owner == "" {
		return nil, 0, err
	}
	page, total, err := s.store.ApplicationPage(ctx, owner, q)
	if err != nil {
		return nil, 0, fmt.Errorf("list applications: %w", err)
	}
	return page, total, nil
}

// UpdateApplication changes an application of the scope: all of the spec or
// nothing.
func (s *Service) UpdateApplication(ctx context.Context, scope Account, appID string, spec ApplicationSpec) (Application, error) {
	// A spec that cannot succeed is refused without waiting for the writer.
	before, after, err := respecified(ctx, s.store, scope, appID, spec)
	if err != nil || after == before {
		return after, err
	}
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if before, after, err = respecified(ctx, tx, scope, appID, spec); err != nil || after == before {
			return err
		}
		after.UpdatedAt = s.time()
		return tx.UpdateApplication(ctx, after)
	})
	if err != nil {
		return Application{}, fmt.Errorf("update application: %w", err)
	}
	return after, nil
}

// respecified returns an application as it is and as the spec wants it, or
// *Invalid.
func respecified(ctx context.Context, r Reader, scope Account, appID string, spec ApplicationSpec) (before, after Application, err error) {
	if before, err = visibleApplication(ctx, r, scope, appID); err != nil {
		return before, after, err
	}
	after, f := spec.apply(before)
	sub := ""
	if strings.HasPrefix(before.Owner, "SA_") {
		sub = before.Owner
	}
	if spec.SubAccount.Set && spec.SubAccount.Value != sub {
		f.add("sub_account", msgLocked)
	}
	if spec.ID.Set && spec.ID.Value != before.ID {
		f.add("app_id", msgLocked)
	}
	return before, after, f.err()
}

// DeleteApplication deletes an application of the scope. No endpoint keeps it:
// they go, get the replacement, or have none, as how says.
func (s *Service) DeleteApplication(ctx context.Context, scope Account, appID string, how Detach) error {
	if how.Cascade && how.Replacement != "" {
		return &Invalid{Fields: map[string]string{"new_endpoint_application": msgDetach}}
	}
	replacement, ok := parseApplication(how.Replacement)
	if how.Replacement != "" && !ok {
		return &Invalid{Fields: map[string]string{"new_endpoint_application": msgApplication}}
	}
	if _, err := visibleApplication(ctx, s.store, scope, appID); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		a, err := visibleApplication(ctx, tx, scope, appID)
		if err != nil {
			return err
		}
		if replacement != "" {
			if bad, err := replacementFault(ctx, tx, scope, a, replacement); err != nil || bad != "" {
				return errors.Join(err, faultOf("new_endpoint_application", bad))
			}
		}
		if err := s.detach(ctx, tx, a.ID, how.Cascade, replacement); err != nil {
			return err
		}
		return tx.DeleteApplication(ctx, a.ID)
	})
	if err != nil {
		return fmt.Errorf("delete application: %w", err)
	}
	return nil
}

func faultOf(field, sentence string) error {
	f := newFaults(nil)
	f.add(field, sentence)
	return f.err()
}

func replacementFault(ctx context.Context, r Reader, scope Account, a Application, replacement string) (string, error) {
	if replacement == a.ID {
		return msgSelf, nil
	}
	_, err := visibleApplication(ctx, r, scope, replacement)
	if errors.Is(err, ErrNotFound) {
		return msgApplication, nil
	}
	return "", err
}

// detach takes the application from every endpoint.
func (s *Service) detach(ctx context.Context, tx Tx, appID string, cascade bool, replacement string) error {
	for {
		endpoints, err := tx.EndpointsWith(ctx, appID, sweep)
		if err != nil || len(endpoints) == 0 {
			return err
		}
		if cascade {
			if err := deleteAll(ctx, tx, endpoints); err != nil {
				return err
			}
			continue
		}
		for _, before := range endpoints {
			after := before
			after.Application, after.UpdatedAt = replacement, s.time()
			bad, err := applicationFault(ctx, tx, after)
			if err == nil && bad != "" {
				err = faultOf("new_endpoint_application", bad)
			}
			if err == nil {
				err = tx.UpdateEndpoint(ctx, before, after)
			}
			if err != nil {
				return err
			}
		}
	}
}
