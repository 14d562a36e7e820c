package directory

import (
	"context"
	"sync"

	"onhook/internal/account"
)

// applications are those that there are.
type applications struct {
	mu     sync.RWMutex
	ids    map[string]bool // false for one that was deleted before they were loaded
	loaded bool
}

func (a *applications) load(ctx context.Context, s Source) error {
	ids, err := s.ApplicationIDs(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if _, newer := a.ids[id]; !newer {
			a.ids[id] = true
		}
	}
	for id, there := range a.ids {
		if !there {
			delete(a.ids, id)
		}
	}
	a.loaded = true
	return nil
}

// ApplyApplication takes in that an application was made or deleted.
func (d *Directory) ApplyApplication(c account.ApplicationChange) {
	a := &d.apps
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids[c.ID] = !c.Gone; c.Gone && a.loaded {
		delete(a.ids, c.ID)
	}
}

// Application reports whether there is an application.
func (d *Directory) Application(id string) bool {
	d.apps.mu.RLock()
	defer d.apps.mu.RUnlock()
	return d.apps.ids[id]
}
