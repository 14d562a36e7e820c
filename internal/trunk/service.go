package trunk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"onhook/internal/account"
)

// ServiceConfig is what a Service is made of.
type ServiceConfig struct {
	Table   *Table
	Store   Store
	Trunks  []Trunk  // of the server's configuration
	Numbers []Number // likewise
	Changed func()   // told after the Table has changed; nil: nobody
	Logger  *slog.Logger
}

// Service is the trunks and numbers of a server: those of its configuration,
// which nobody changes while it runs, and those of its Store, which come and go.
// What it has changed acts when it returns; what other servers on the same
// database change acts as soon as the Store tells. It is safe for concurrent use.
type Service struct {
	config ServiceConfig
	wake   chan struct{}
	wanted atomic.Uint64 // changes that the Store has told

	mu     sync.Mutex
	loaded uint64 // those that the Table has
	left   int    // stored ones that merge left out
}

// NewService makes a Service. Load comes first, then Run.
func NewService(c ServiceConfig) *Service {
	c.Trunks, c.Numbers = slices.Clone(c.Trunks), slices.Clone(c.Numbers)
	for i := range c.Trunks {
		c.Trunks[i].Fixed = true
	}
	for i := range c.Numbers {
		c.Numbers[i].Fixed = true
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	s := &Service{config: c, wake: make(chan struct{}, 1)}
	s.wanted.Store(1) // the first Load
	c.Store.SubscribeTrunks(func() {
		s.wanted.Add(1)
		s.wakeUp()
	})
	return s
}

func (s *Service) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look
	}
}

// retryLoad is how often a Store that cannot be read is asked again.
const retryLoad = time.Second

// Run takes in what other servers change, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	failing := false
	for {
		retry := (<-chan time.Time)(nil)
		if failing {
			retry = time.After(retryLoad)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-retry:
		}
		err := s.Load(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.config.Logger.Error("trunks cannot be read: changed ones act when the database is back", "error", err)
		}
		failing = err != nil
	}
}

// Load reads the Store, if it has changed since, and has the Table hold it.
func (s *Service) Load(ctx context.Context) error {
	wanted := s.wanted.Load()
	s.mu.Lock()
	done := s.loaded >= wanted
	s.mu.Unlock()
	if done {
		return nil
	}
	trunks, numbers, err := s.config.Store.Trunks(ctx)
	if err != nil {
		return fmt.Errorf("load trunks: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded > wanted { // a later read was faster
		return nil
	}
	if err := s.config.Table.Set(s.merge(trunks, numbers)); err != nil {
		return fmt.Errorf("load trunks: %w", err)
	}
	s.loaded = wanted
	s.config.Changed()
	return nil
}

// merge puts the stored trunks and numbers behind those of the configuration, and
// leaves out those that have the name of one of these. The lock is held.
func (s *Service) merge(trunks []Trunk, numbers []Number) ([]Trunk, []Number) {
	allTrunks, allNumbers := slices.Clone(s.config.Trunks), slices.Clone(s.config.Numbers)
	var left []string
	ids, taken := map[ID]bool{}, map[string]bool{}
	for _, t := range s.config.Trunks {
		ids[idOf(t.Name)] = true
	}
	for _, n := range s.config.Numbers {
		taken[n.Number] = true
	}
	for _, t := range trunks {
		if ids[idOf(t.Name)] || len(t.Validate()) > 0 { // an earlier version may have taken what this one does not
			left = append(left, t.Name)
			continue
		}
		ids[idOf(t.Name)] = true
		allTrunks = append(allTrunks, t)
	}
	for _, n := range numbers {
		if taken[n.Number] || len(n.Validate()) > 0 {
			left = append(left, n.Number)
			continue
		}
		allNumbers = append(allNumbers, n)
	}
	if len(left) != s.left && len(left) > 0 {
		s.config.Logger.Warn("stored trunks or numbers are left out: the configuration has the same name, or they are not valid",
			"count", len(left), "names", strings.Join(left[:min(len(left), 10)], " "))
	}
	s.left = len(left)
	return allTrunks, allNumbers
}

// stored is called after a change. One that cannot be read back acts when the
// database answers again.
func (s *Service) stored(ctx context.Context) {
	if s.Load(ctx) != nil {
		s.wakeUp()
	}
}

// ErrFixed refuses the change of what the configuration holds.
var ErrFixed = errors.New("stands in the server's configuration: change it there")

// Lines are all trunks in their order: those of the configuration come first.
func (s *Service) Lines() []*Line { return s.config.Table.Lines() }

// Line finds a trunk; nil when there is none of that name.
func (s *Service) Line(name string) *Line { return s.config.Table.Named(name) }

// Numbers are all numbers in their order.
func (s *Service) Numbers() []Number { return s.config.Table.Numbers() }

// Number finds a number.
func (s *Service) Number(number string) (Number, bool) { return s.config.Table.Number(number) }

// Create makes a trunk. Errors are *account.Invalid, ErrTaken and ErrFull.
func (s *Service) Create(ctx context.Context, spec Spec) error {
	t, bad := spec.apply(Trunk{})
	if other := s.config.Table.Line(idOf(t.Name)); other != nil && other.Name != t.Name && bad["name"] == "" {
		bad["name"] = "Is too much like " + other.Name + ": choose another"
	}
	if len(bad) > 0 {
		return &account.Invalid{Fields: bad}
	}
	if s.fixedTrunk(t.Name) {
		return ErrTaken
	}
	if err := s.config.Store.InsertTrunk(ctx, t); err != nil {
		return fmt.Errorf("create trunk: %w", err)
	}
	s.stored(ctx)
	return nil
}

// Update changes the fields of a trunk that the spec has. Errors are
// *account.Invalid, ErrNotFound and ErrFixed.
func (s *Service) Update(ctx context.Context, name string, spec Spec) error {
	if s.fixedTrunk(name) {
		return ErrFixed
	}
	err := s.config.Store.ChangeTrunk(ctx, name, func(before Trunk) (Trunk, error) {
		after, bad := spec.apply(before)
		if after.Name != name && bad["name"] == "" {
			bad["name"] = "Cannot be changed"
		}
		if len(bad) > 0 {
			return before, &account.Invalid{Fields: bad}
		}
		return after, nil
	})
	if err != nil {
		return fmt.Errorf("update trunk: %w", err)
	}
	s.stored(ctx)
	return nil
}

// Delete removes a trunk; calls that it carries go on. Errors are ErrNotFound and
// ErrFixed.
func (s *Service) Delete(ctx context.Context, name string) error {
	if s.fixedTrunk(name) {
		return ErrFixed
	}
	if err := s.config.Store.DeleteTrunk(ctx, name); err != nil {
		return fmt.Errorf("delete trunk: %w", err)
	}
	s.stored(ctx)
	return nil
}

// CreateNumber makes a number. Errors are as of Create.
func (s *Service) CreateNumber(ctx context.Context, spec NumberSpec) error {
	n, bad := spec.apply(Number{})
	if len(bad) > 0 {
		return &account.Invalid{Fields: bad}
	}
	if s.fixedNumber(n.Number) {
		return ErrTaken
	}
	if err := s.config.Store.InsertNumber(ctx, n); err != nil {
		return fmt.Errorf("create number: %w", err)
	}
	s.stored(ctx)
	return nil
}

// UpdateNumber changes whom a number rings. Errors are as of Update.
func (s *Service) UpdateNumber(ctx context.Context, number string, spec NumberSpec) error {
	if s.fixedNumber(number) {
		return ErrFixed
	}
	err := s.config.Store.ChangeNumber(ctx, number, func(before Number) (Number, error) {
		after, bad := spec.apply(before)
		if after.Number != number && bad["number"] == "" {
			bad["number"] = "Cannot be changed"
		}
		if len(bad) > 0 {
			return before, &account.Invalid{Fields: bad}
		}
		return after, nil
	})
	if err != nil {
		return fmt.Errorf("update number: %w", err)
	}
	s.stored(ctx)
	return nil
}

// DeleteNumber removes a number. Errors are as of Delete.
func (s *Service) DeleteNumber(ctx context.Context, number string) error {
	if s.fixedNumber(number) {
		return ErrFixed
	}
	if err := s.config.Store.DeleteNumber(ctx, number); err != nil {
		return fmt.Errorf("delete number: %w", err)
	}
	s.stored(ctx)
	return nil
}

func (s *Service) fixedTrunk(name string) bool {
	return slices.ContainsFunc(s.config.Trunks, func(t Trunk) bool { return t.Name == name })
}

func (s *Service) fixedNumber(number string) bool {
	return slices.ContainsFunc(s.config.Numbers, func(n Number) bool { return n.Number == number })
}
