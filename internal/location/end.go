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
