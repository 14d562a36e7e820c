package location

import (
	"context"
)

// ending is the Editor behind EndAll and End.
type ending struct {
	id    string // "" for all
	why   Reason
	ended []Binding
	done  chan error
}

func (e *ending) Edit(s *Set) error {
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		if e.id == "" || s.Bindings[i].ID == e.id {
			e.ended = append(e.ended, s.Bindings[i].clone())
			s.Remove(i, e.why)
		}
	}
	return nil
}

func (e *ending) Committed(err error) { e.done <- err }

// EndAll ends all bindings of an address-of-record and returns them, newest
// first, once that is durable. When ctx ends first, the change goes on.
func (x *Index) EndAll(ctx context.Context, key Key, why Reason) ([]Binding, error) {
	return x.end(ctx, key, "", why)
}

// End ends one binding; false when there is none of that id.
func (x *Index) End(ctx context.Context, key Key, bindingID string, why Reason) (Binding, bool, error) {
	if bindingID == "" {
		return Binding{}, false, nil
	}
	ended, err := x.end(ctx, key, bindingID, why)
	if err != nil || len(ended) == 0 {
		return Binding{}, false, err
	}
	return ended[0], true, nil
}

func (x *Index) end(ctx context.Context, key Key, id string, why Reason) ([]Binding, error) {
	e := &ending{id: id, why: why, done: make(chan error, 1)}
	if err := x.Update(key, e); err != nil {
		return nil, err
	}
	select {
	case err := <-e.done:
		if err != nil {
			return nil, err
		}
		return e.ended, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// aging is the Editor behind Age and EndPrevious.
type aging struct {
	end   bool // those of the password before
	ended []Binding
	done  chan error
}

func (a *aging) Edit(s *Set) error {
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		switch b := &s.Bindings[i]; {
		case a.end && b.Previous:
			a.ended = append(a.ended, b.clone())
			s.Remove(i, CredentialsChanged)
		case !a.end && !b.Previous:
			b.Previous = true
			s.changed = true
		}
	}
	return nil
}

func (a *aging) Committed(err error) { a.done <- err }

// Age marks all bindings of an address-of-record as registered with the
// password before: there is a new one.
func (x *Index) Age(ctx context.Context, key Key) error {
	_, err := x.age(ctx, key, false)
	return err
}

// EndPrevious ends the bindings that were registered with the password before
// the present one, and returns them once that is durable.
func (x *Index) EndPrevious(ctx context.Context, key Key) ([]Binding, error) {
	return x.age(ctx, key, true)
}

func (x *Index) age(ctx context.Context, key Key, end bool) ([]Binding, error) {
	a := &aging{end: end, done: make(chan error, 1)}
	if err := x.Update(key, a); err != nil {
		return nil, err
	}
	select {
	case err := <-a.done:
		return a.ended, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
