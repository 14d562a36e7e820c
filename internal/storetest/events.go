package storetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/event"
	"onhook/internal/webhook"
)

// keeper is what a store does for events.
type keeper interface {
	event.Outbox
	KeepChanges(origin string)
}

// outbox: from KeepChanges on, every change waits there, in order and without
// its secret, until it is dropped, over restarts too; nothing of a change that
// was not made does.
func outbox(t *testing.T, s *suite) {
	keep := func() keeper {
		k, ok := s.Store.(keeper)
		if !ok {
			t.Fatal("the store keeps no changes")
		}
		return k
	}
	main := s.account(t, "MA_AAAAAAAA", "")
	s.insert(t, endpoint(main, 1, "before"))
	keep().KeepChanges("here")
	var told []account.Change
	s.Subscribe(func(c account.Change) { told = append(told, c) })
	alice, bob := endpoint(main, 2, "alice"), endpoint(main, 3, "bob")
	s.do(t, func(ctx context.Context, tx account.Tx) error {
		return errors.Join(tx.InsertEndpoint(ctx, alice), tx.InsertEndpoint(ctx, bob))
	})
	changed := alice
	changed.Alias = "changed"
	changed.Secret.MD5[0]++
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.UpdateEndpoint(ctx, alice, changed) })
	s.fails(t, errOnPurpose, func(ctx context.Context, tx account.Tx) error {
		return errors.Join(tx.DeleteEndpoint(ctx, bob), errOnPurpose)
	})
	s.account(t, "MA_BBBBBBBB", "") // nothing for the outbox
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteEndpoint(ctx, bob) })

	pending := func(after int64, limit int) []account.Change {
		t.Helper()
		list, err := keep().PendingChanges(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	all := pending(0, 100)
	if len(all) != 4 || len(told) != 4 {
		t.Fatalf("%d in the outbox, %d told", len(all), len(told))
	}
	for i, c := range all {
		want := told[i]
		want.Before.Secret, want.After.Secret, want.At = account.Secret{}, account.Secret{}, c.At
		if !reflect.DeepEqual(c, want) || c.Seq == 0 || time.Since(c.At) > time.Minute {
			t.Errorf("%d is %+v, told %+v", i, c, want)
		}
	}
	if all[0].Seq != all[1].Seq || all[0].Last || !all[1].Last || all[1].Seq >= all[2].Seq || all[2].Seq >= all[3].Seq || !all[2].SecretChanged {
		t.Errorf("%+v", all)
	}
	if first := pending(0, 1); len(first) != 2 { // a commit is not torn
		t.Errorf("%+v", first)
	}
	if rest := pending(all[1].Seq, 100); len(rest) != 2 || rest[0].Kind != account.Updated {
		t.Errorf("%+v", rest)
	}
	s.again(t)
	keep().KeepChanges("elsewhere")
	if other := pending(0, 100); len(other) != 0 {
		t.Errorf("another server's: %+v", other)
	}
	keep().KeepChanges("here")
	if err := keep().DropChanges(t.Context(), all[2].Seq); err != nil {
		t.Fatal(err)
	}
	if rest := pending(0, 100); len(rest) != 1 || rest[0].Kind != account.Deleted {
		t.Errorf("%+v", rest)
	}
	if err := keep().DropChanges(t.Context(), all[3].Seq); err != nil {
		t.Fatal(err)
	}
	s.insert(t, bob)
	if next := pending(0, 100); len(next) != 1 || next[0].Seq <= all[3].Seq {
		t.Errorf("numbers go on: %+v", next)
	}
}

// again closes the store and opens it anew.
func (s *suite) again(t *testing.T) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Store = s.mustOpen(t)
}

// webhookChanges: every one is told, whatever made it, and none that failed.
func webhookChanges(t *testing.T, s *suite) {
	ctx := t.Context()
	store := s.Store.(webhook.Store)
	told := 0
	store.SubscribeWebhooks(func() { told++ })
	main, sub := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "SA_BBBBBBBB", "MA_AAAAAAAA")
	of := func(id string, owner account.Account) webhook.Webhook {
		return webhook.Webhook{ID: id, Owner: owner.AuthID, URL: "https://example.com/", Events: []string{"*"}, StartedAfter: event.ID{1}, CreatedAt: birth}
	}
	update := func(id string) func() error {
		return func() error {
			_, err := store.UpdateWebhook(ctx, id, func(*webhook.Webhook) error { return nil })
			return err
		}
	}
	for _, c := range []struct {
		name  string
		do    func() error
		err   error
		tells int
	}{
		{"insert", func() error { return store.InsertWebhook(ctx, of("WH_1", main), 1) }, nil, 1},
		{"one too many", func() error { return store.InsertWebhook(ctx, of("WH_2", main), 1) }, webhook.ErrTooMany, 0},
		{"another account's", func() error { return store.InsertWebhook(ctx, of("WH_3", sub), 1) }, nil, 1},
		{"update", update("WH_1"), nil, 1},
		{"update of none", update("WH_9"), account.ErrNotFound, 0},
		{"progress is no change", func() error { return store.SaveWebhookProgress(ctx, "here", []webhook.Progress{{ID: "WH_1"}}) }, nil, 0},
		{"deletion", func() error { return store.DeleteWebhook(ctx, "WH_1") }, nil, 1},
		{"deletion of none", func() error { return store.DeleteWebhook(ctx, "WH_1") }, account.ErrNotFound, 0},
		{"deletion with its account", func() error {
			return s.Update(ctx, func(ctx context.Context, tx account.Tx) error { return tx.DeleteAccount(ctx, sub) })
		}, nil, 1},
	} {
		told = 0
		if err := c.do(); !errors.Is(err, c.err) || told != c.tells {
			t.Errorf("%s: %v, told %d times, want %d", c.name, err, told, c.tells)
		}
	}
}

func webhooks(t *testing.T, s *suite) {
	ctx := t.Context()
	store := func() webhook.Store {
		w, ok := s.Store.(webhook.Store)
		if !ok {
			t.Fatal("the store keeps no webhooks")
		}
		return w
	}
	main, sub := s.account(t, "MA_AAAAAAAA", ""), s.account(t, "SA_BBBBBBBB", "MA_AAAAAAAA")
	now := time.Unix(1_700_000_000, 0).UTC()
	make := func(id string, owner account.Account, n byte) webhook.Webhook {
		return webhook.Webhook{ID: id, Owner: owner.AuthID, URL: "https://example.com/" + id, Events: []string{"endpoint.*", "call.ended"}, Secret: "secret of " + id,
			Enabled: true, StartedAfter: event.ID{15: n}, CreatedAt: now}
	}
	one, two, three := make("WH_1", main, 1), make("WH_2", main, 2), make("WH_3", sub, 3)
	for _, w := range []webhook.Webhook{two, one, three} {
		if err := store().InsertWebhook(ctx, w, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := store().InsertWebhook(ctx, make("WH_4", main, 4), 2); !errors.Is(err, webhook.ErrTooMany) {
		t.Error(err)
	}
	if err := store().InsertWebhook(ctx, make("WH_5", account.Account{AuthID: "MA_ZZZZZZZZ"}, 5), 2); !errors.Is(err, account.ErrNotFound) {
		t.Error(err)
	}
	s.again(t)
	same := func(got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v, %v", got, want, err)
		}
	}
	got, err := store().Webhook(ctx, "WH_1")
	same(got, one, err)
	list, err := store().WebhooksOf(ctx, main.AuthID)
	same(list, []webhook.Webhook{one, two}, err)
	list, err = store().Webhooks(ctx)
	same(list, []webhook.Webhook{one, two, three}, err)

	// How deliveries go, by server.
	one.Result = webhook.Result{LastSuccessAt: now.Add(time.Hour), FailingSince: now.Add(2 * time.Hour), LastError: "answered with status 500"}
	for _, done := range []byte{7, 9} {
		err := store().SaveWebhookProgress(ctx, "here", []webhook.Progress{{ID: "WH_1", Done: event.ID{1: done}, Result: one.Result},
			{ID: "WH_2"}, {ID: "WH_none", Done: event.ID{1}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	progress, err := store().WebhookProgress(ctx, "here")
	same(progress, map[string]event.ID{"WH_1": {1: 9}}, err)
	progress, err = store().WebhookProgress(ctx, "elsewhere")
	same(progress, map[string]event.ID{}, err)
	got, err = store().Webhook(ctx, "WH_1")
	same(got, one, err)

	one.URL, one.Events, one.Enabled, one.DisabledReason, one.FailingSince = "http://example.org", []string{"*"}, false, "why", time.Time{}
	got, err = store().UpdateWebhook(ctx, "WH_1", func(w *webhook.Webhook) error {
		w.URL, w.Events, w.Enabled, w.DisabledReason, w.FailingSince = one.URL, one.Events, one.Enabled, one.DisabledReason, one.FailingSince
		return nil
	})
	same(got, one, err)
	if _, err := store().UpdateWebhook(ctx, "WH_1", func(w *webhook.Webhook) error { w.URL = "x"; return errOnPurpose }); !errors.Is(err, errOnPurpose) {
		t.Error(err)
	}
	got, err = store().Webhook(ctx, "WH_1")
	same(got, one, err)

	// They go with their account, or by themselves.
	s.do(t, func(ctx context.Context, tx account.Tx) error { return tx.DeleteAccount(ctx, sub) })
	if err := store().DeleteWebhook(ctx, "WH_1"); err != nil {
		t.Fatal(err)
	}
	list, err = store().Webhooks(ctx)
	same(list, []webhook.Webhook{two}, err)
	progress, err = store().WebhookProgress(ctx, "here")
	same(progress, map[string]event.ID{}, err)
	for _, err := range []error{store().DeleteWebhook(ctx, "WH_1"), func() error { _, err := store().Webhook(ctx, "WH_1"); return err }(),
		func() error {
			_, err := store().UpdateWebhook(ctx, "WH_1", func(*webhook.Webhook) error { return nil })
			return err
		}()} {
		if !errors.Is(err, account.ErrNotFound) {
			t.Error(err)
		}
	}
}
