package account

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// How uses of keys are noted.
const (
	usesExact = time.Minute // one use counts for so long
	maxUses   = 100_000     // noted and not saved; more are not noted
)

// uses notes when accounts' keys were used, until that is saved.
type uses struct {
	mu sync.Mutex
	at map[string]time.Time // by auth_id
}

func (u *uses) note(a Account, now time.Time) {
	if now.Sub(a.LastUsed) < usesExact {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	noted, there := u.at[a.AuthID]
	if there && now.Sub(noted) < usesExact || !there && len(u.at) >= maxUses {
		return
	}
	if u.at == nil {
		u.at = map[string]time.Time{}
	}
	u.at[a.AuthID] = now
}

// with returns accounts with what is not saved yet.
func (u *uses) with(all ...Account) []Account {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range all {
		if at := u.at[all[i].AuthID]; at.After(all[i].LastUsed) {
			all[i].LastUsed = at
		}
	}
	return all
}

// SaveUses stores when keys were used since the last time.
func (s *Service) SaveUses(ctx context.Context) error {
	s.uses.mu.Lock()
	noted := maps.Clone(s.uses.at)
	s.uses.mu.Unlock()
	if len(noted) == 0 {
		return nil
	}
	if err := s.store.SaveUses(ctx, noted); err != nil {
		return fmt.Errorf("save uses of keys: %w", err)
	}
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	maps.DeleteFunc(s.uses.at, func(id string, at time.Time) bool { return noted[id].Equal(at) })
	return nil
}
