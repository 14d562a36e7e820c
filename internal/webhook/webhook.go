// Package webhook is the events that accounts have delivered to servers of
// theirs: what a webhook is, the rules it obeys, and the Deliverer, which keeps
// at it until an event has arrived. It knows no SQL and no HTTP.
package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/event"
)

// Webhook is one target of events.
type Webhook struct {
	ID     string
	Owner  string // auth_id
	URL    string
	Events []string // event.ParseFilter's patterns
	Secret string   // signs deliveries beside the account's token

	Enabled        bool
	DisabledReason string // why the Deliverer disabled it, "" when it did not

	StartedAfter event.ID // the last event before it was made
	CreatedAt    time.Time

	Result
}

// Result is how deliveries go.
type Result struct {
	LastSuccessAt time.Time // zero: never
	FailingSince  time.Time // when the delivery that is under way failed first; zero: it has not
	LastError     string    // "" when the last one went well
}

// Progress is how far one server has come with a webhook.
type Progress struct {
	ID     string
	Done   event.ID // this event and all before it have arrived
	Result Result
}

// MaxPerAccount is how many webhooks an account may have.
const MaxPerAccount = 10

// maxEvents is how many patterns a webhook may have.
const maxEvents = 32

// ErrTooMany: the account has MaxPerAccount webhooks already.
var ErrTooMany = errors.New("the account has as many webhooks as it may have")

// Store keeps webhooks. Unknown ones are account.ErrNotFound.
type Store interface {
	// InsertWebhook returns ErrTooMany when the owner has limit of them, and
	// account.ErrNotFound when there is no such owner.
	InsertWebhook(ctx context.Context, w Webhook, limit int) error
	Webhook(ctx context.Context, id string) (Webhook, error)
	// WebhooksOf lists the owner's, oldest first; Webhooks lists all.
	WebhooksOf(ctx context.Context, owner string) ([]Webhook, error)
	Webhooks(ctx context.Context) ([]Webhook, error)
	// UpdateWebhook puts the URL, Events, Enabled, DisabledReason and
	// FailingSince that change makes into the webhook.
	UpdateWebhook(ctx context.Context, id string, change func(*Webhook) error) (Webhook, error)
	DeleteWebhook(ctx context.Context, id string) error
	// SubscribeWebhooks has f called after every change of these three, and
	// after those of other servers. f must not wait.
	SubscribeWebhooks(f func())

	// WebhookProgress returns how far the server with this log has come, by id.
	WebhookProgress(ctx context.Context, origin string) (map[string]event.ID, error)
	// SaveWebhookProgress keeps it, for those that still exist. A zero Done
	// leaves what is kept.
	SaveWebhookProgress(ctx context.Context, origin string, list []Progress) error
}

// Spec asks for a webhook or for a change of one. Absent fields get their
// defaults or stay.
type Spec struct {
	URL     account.Optional[string]
	Events  account.Optional[[]string] // default: all
	Enabled account.Optional[bool]     // default: true

	Malformed map[string]string // as in account.EndpointSpec
}

// Service applies the rules. It is safe for concurrent use.
type Service struct {
	store Store
	check func(url string) string // what is wrong with a target; "" when nothing is
	last  func() event.ID
	now   func() time.Time
}

// NewService makes a Service. check looks at targets, last returns the youngest
// event. A nil now means time.Now.
func NewService(store Store, check func(url string) string, last func() event.ID, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{store: store, check: check, last: last, now: now}
}

// Create makes a webhook of the owner. Errors are *account.Invalid and
// ErrTooMany.
func (s *Service) Create(ctx context.Context, owner account.Account, spec Spec) (Webhook, error) {
	w := Webhook{ID: "WH_" + rand.Text()[:20], Owner: owner.AuthID, Events: []string{"*"}, Enabled: true,
		Secret: "whsec_" + rand.Text() + rand.Text()[:6], StartedAfter: s.last(), CreatedAt: s.now().UTC().Truncate(time.Second)}
	if !spec.URL.Set && spec.Malformed["url"] == "" {
		spec.URL = account.Some("")
	}
	if err := s.apply(spec, &w); err != nil {
		return Webhook{}, err
	}
	if err := s.store.InsertWebhook(ctx, w, MaxPerAccount); err != nil {
		return Webhook{}, fmt.Errorf("create webhook: %w", err)
	}
	return w, nil
}

// apply puts a spec into a webhook, or returns *account.Invalid.
func (s *Service) apply(spec Spec, w *Webhook) error {
	bad := map[string]string{}
	for name, sentence := range spec.Malformed {
		bad[name] = sentence
	}
	fault := func(name, sentence string) {
		if _, there := bad[name]; !there && sentence != "" {
			bad[name] = sentence
		}
	}
	if spec.URL.Set {
		w.URL = spec.URL.Value
		fault("url", s.check(w.URL))
	}
	if spec.Events.Set {
		w.Events = spec.Events.Value
		fault("events", checkEvents(w.Events))
	}
	if spec.Enabled.Set {
		if w.Enabled = spec.Enabled.Value; w.Enabled {
			w.DisabledReason, w.FailingSince = "", time.Time{}
		}
	}
	if len(bad) > 0 {
		return &account.Invalid{Fields: bad}
	}
	return nil
}

func checkEvents(patterns []string) string {
	if len(patterns) == 0 || len(patterns) > maxEvents {
		return fmt.Sprintf("Must be 1 to %d event types or patterns such as endpoint.*", maxEvents)
	}
	if _, err := event.ParseFilter(patterns); err != nil {
		return "Must be event types or patterns such as endpoint.*: " + err.Error()
	}
	return ""
}

// Webhook returns one of the owner's. What is somebody else's is
// account.ErrNotFound.
func (s *Service) Webhook(ctx context.Context, owner account.Account, id string) (Webhook, error) {
	w, err := s.store.Webhook(ctx, id)
	if err == nil && w.Owner != owner.AuthID {
		return Webhook{}, account.ErrNotFound
	}
	return w, err
}

// Webhooks lists the owner's, oldest first.
func (s *Service) Webhooks(ctx context.Context, owner account.Account) ([]Webhook, error) {
	return s.store.WebhooksOf(ctx, owner.AuthID)
}

// Update changes one of the owner's: all of the spec or nothing. One that was
// disabled goes on where it stopped.
func (s *Service) Update(ctx context.Context, owner account.Account, id string, spec Spec) (Webhook, error) {
	return s.store.UpdateWebhook(ctx, id, func(w *Webhook) error {
		if w.Owner != owner.AuthID {
			return account.ErrNotFound
		}
		return s.apply(spec, w)
	})
}

// Delete deletes one of the owner's.
func (s *Service) Delete(ctx context.Context, owner account.Account, id string) error {
	if _, err := s.Webhook(ctx, owner, id); err != nil {
		return err
	}
	return s.store.DeleteWebhook(ctx, id)
}

// FormatEvents writes patterns as one text, ParseEvents reads it.
func FormatEvents(patterns []string) string { return strings.Join(patterns, ",") }

// ParseEvents is the reverse of FormatEvents.
func ParseEvents(text string) []string { return strings.Split(text, ",") }
