package account_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
)

func appSpec(name string) account.ApplicationSpec {
	return account.ApplicationSpec{Name: account.Some(name), AnswerURL: account.Some("https://example.org/" + name)}
}

func (w *world) app(t *testing.T, owner account.Account, s account.ApplicationSpec) account.Application {
	t.Helper()
	a, err := w.CreateApplication(t.Context(), owner, s)
	if err != nil {
		t.Fatalf("create %s: %v", s.Name.Value, err)
	}
	return a
}

func TestApplicationRules(t *testing.T) {
	w := newWorld(t)
	text := account.Some[string]
	a := w.app(t, w.main, appSpec("main"))
	want := account.Application{ID: a.ID, Owner: w.main.AuthID, Name: "main", AnswerURL: "https://example.org/main", AnswerMethod: "POST",
		FallbackMethod: "POST", HangupMethod: "POST", MessageMethod: "POST", TransferMethod: "POST", Enabled: true, CreatedAt: a.CreatedAt, UpdatedAt: a.CreatedAt}
	if a != want || !regexp.MustCompile(`^[1-9][0-9]{14}00$`).MatchString(a.ID) {
		t.Errorf("application is\n%+v, want\n%+v", a, want)
	}
	for what, c := range map[string]struct {
		change func(*account.ApplicationSpec)
		want   []string
	}{
		"nothing":             {func(s *account.ApplicationSpec) { *s = account.ApplicationSpec{} }, []string{"app_name", "answer_url"}},
		"null":                {func(s *account.ApplicationSpec) { s.Name, s.AnswerURL = account.Null[string](), account.Null[string]() }, []string{"app_name", "answer_url"}},
		"name of 65":          {func(s *account.ApplicationSpec) { s.Name = text(strings.Repeat("a", 65)) }, []string{"app_name"}},
		"name with a dot":     {func(s *account.ApplicationSpec) { s.Name = text("a.b") }, []string{"app_name"}},
		"URL too long":        {func(s *account.ApplicationSpec) { s.AnswerURL = text("https://e/" + strings.Repeat("a", 2039)) }, []string{"answer_url"}},
		"URL with a newline":  {func(s *account.ApplicationSpec) { s.HangupURL = text("https://e/\nX") }, []string{"hangup_url"}},
		"URL without a host":  {func(s *account.ApplicationSpec) { s.MessageURL = text("https:///x") }, []string{"message_url"}},
		"another scheme":      {func(s *account.ApplicationSpec) { s.TransferURL = text("javascript:x") }, []string{"sip_transfer_url"}},
		"another method":      {func(s *account.ApplicationSpec) { s.FallbackMethod = text("DELETE") }, []string{"fallback_method"}},
		"a sub-account's sub": {func(s *account.ApplicationSpec) { s.SubAccount = text(w.other.AuthID) }, []string{"sub_account"}},
	} {
		s := appSpec("x")
		c.change(&s)
		_, err := w.CreateApplication(t.Context(), w.main, s)
		complains(t, what, err, c.want...)
	}
	longest := appSpec(strings.Repeat("a", 64))
	longest.AnswerURL = text("https://e/" + strings.Repeat("a", 2038))
	w.app(t, w.main, longest)
	if _, err := w.CreateApplication(t.Context(), w.main, appSpec("main")); !errors.Is(err, account.ErrNameTaken) {
		t.Errorf("a taken name: %v", err)
	}
	w.app(t, w.sub, appSpec("main")) // each account has its own names
	if after, err := w.UpdateApplication(t.Context(), w.main, a.ID, account.ApplicationSpec{}); err != nil || after != a {
		t.Errorf("an empty update: %+v, %v", after, err)
	}
}

func TestApplicationsAreTheirOwners(t *testing.T) {
	w := newWorld(t)
	mains, subs := w.app(t, w.main, appSpec("mains")), w.app(t, w.sub, appSpec("subs"))
	for _, c := range []struct {
		scope account.Account
		a     account.Application
		ok    bool
	}{
		{w.main, mains, true}, {w.main, subs, true}, {w.sub, subs, true},
		{w.sub, mains, false}, {w.other, mains, false}, {w.other, subs, false},
	} {
		_, get := w.Application(t.Context(), c.scope, c.a.ID)
		_, set := w.UpdateApplication(t.Context(), c.scope, c.a.ID, account.ApplicationSpec{LogMessages: account.Some(true)})
		var drop error
		if !c.ok {
			drop = w.DeleteApplication(t.Context(), c.scope, c.a.ID, account.Detach{Cascade: true})
		}
		for _, err := range []error{get, set, drop} {
			if c.ok && err != nil || !c.ok && !errors.Is(err, account.ErrNotFound) {
				t.Errorf("%s on %s: %v", c.scope.Name, c.a.Name, err)
			}
		}
	}
}

// The default is looked up when the endpoint is made, for its owner, in bulk
// as one by one.
func TestDefaultApplication(t *testing.T) {
	w := newWorld(t)
	byDefault := appSpec("default")
	byDefault.DefaultEndpoint = account.Some(true)
	app := w.app(t, w.main, byDefault)
	none := spec("none")
	none.Application = account.Null[string]()
	ofSub := spec("of_sub")
	ofSub.SubAccount = account.Some(w.sub.AuthID)
	made, err := w.CreateEndpoints(t.Context(), w.main, []account.EndpointSpec{spec("bulk"), none, ofSub}, false)
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, w.create(t, w.main, spec("single")))
	for i, want := range []string{app.ID, "", "", app.ID} {
		stored, err := w.Endpoint(t.Context(), w.main, made[i].ID)
		if err != nil || made[i] != stored || stored.Application != want {
			t.Errorf("%s has application %q, stored %q, want %q (%v)", made[i].Username, made[i].Application, stored.Application, want, err)
		}
	}
	w.app(t, w.main, func() account.ApplicationSpec { s := byDefault; s.Name = account.Some("new default"); return s }())
	if e := w.create(t, w.main, spec("later")); e.Application == app.ID || e.Application == "" {
		t.Errorf("application is %q", e.Application)
	}
}

// Of many applications that become the default at the same time one is it.
func TestRaceForTheDefault(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			s := appSpec(fmt.Sprint("app", i))
			s.DefaultEndpoint, s.DefaultNumber = account.Some(true), account.Some(true)
			if _, err := w.CreateApplication(t.Context(), w.main, s); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	page, total, err := w.ApplicationPage(t.Context(), w.main, account.ApplicationQuery{Limit: 100})
	endpoint, number := 0, 0
	for _, a := range page {
		if a.DefaultEndpoint {
			endpoint++
		}
		if a.DefaultNumber {
			number++
		}
	}
	if err != nil || total != 8 || endpoint != 1 || number != 1 {
		t.Errorf("%d applications, %d and %d defaults, %v", total, endpoint, number, err)
	}
}

// More endpoints than one round takes.
func TestDeleteApplication(t *testing.T) {
	const many = 450
	for what, c := range map[string]struct {
		cascade, replace bool
		left             int
	}{"detached": {left: many}, "deleted": {cascade: true}, "given another": {replace: true, left: many}} {
		w := newWorld(t)
		a, b := w.app(t, w.main, appSpec("a")), w.app(t, w.main, appSpec("b"))
		specs := make([]account.EndpointSpec, many)
		for i := range specs {
			specs[i] = spec(fmt.Sprint("u", i))
			specs[i].Application = account.Some(a.ID)
		}
		if _, err := w.CreateEndpoints(t.Context(), w.main, specs, false); err != nil {
			t.Fatal(err)
		}
		told := map[account.ChangeKind]int{}
		w.Subscribe(func(c account.Change) { told[c.Kind]++ })
		how, want := account.Detach{Cascade: c.cascade}, ""
		if c.replace {
			how.Replacement, want = "/v1/Account/x/Application/"+b.ID+"/", b.ID
		}
		if err := w.DeleteApplication(t.Context(), w.main, a.ID, how); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		q := account.EndpointQuery{Limit: 1, ApplicationIsNull: account.Some(true)}
		if want != "" {
			q = account.EndpointQuery{Limit: 1, Application: account.Some(want)}
		}
		if _, total, err := w.Endpoints(t.Context(), w.main, q); err != nil || total != c.left || told[account.Updated] != c.left || told[account.Deleted] != many-c.left {
			t.Errorf("%s: %d are left, told %v, %v", what, total, told, err)
		}
	}
}

func TestDeleteExpired(t *testing.T) {
	w := newWorld(t)
	born := w.now.Truncate(time.Second)
	var told []string
	w.Subscribe(func(c account.Change) {
		if c.Kind == account.Deleted {
			told = append(told, c.Before.Username)
		}
	})
	specs := make([]account.EndpointSpec, 301)
	for i := range specs {
		specs[i] = spec(fmt.Sprint("u", i))
		specs[i].ExpiresAt = account.Some(born.Add(time.Minute))
	}
	specs[300].ExpiresAt = account.Some(born.Add(time.Hour))
	w.create(t, w.main, spec("forever"))
	made, err := w.CreateEndpoints(t.Context(), w.main, specs, false)
	if err != nil {
		t.Fatal(err)
	}
	sweep := func(want int) {
		t.Helper()
		if n, err := w.DeleteExpired(t.Context()); err != nil || n != want {
			t.Errorf("swept %d, %v, want %d", n, err, want)
		}
	}
	sweep(0)
	prolonged := account.EndpointPatch{ExpiresAt: account.Some(born.Add(time.Hour))}
	if _, err := w.UpdateEndpoint(t.Context(), w.main, made[0].ID, prolonged); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(59 * time.Second)
	sweep(0)
	w.now = w.now.Add(time.Second)
	// The present value may be sent back even now; another time must be to come.
	present := account.EndpointPatch{ExpiresAt: account.Some(born.Add(time.Minute)), Alias: account.Some("x")}
	if _, err := w.UpdateEndpoint(t.Context(), w.main, made[1].ID, present); err != nil {
		t.Error(err)
	}
	_, err = w.UpdateEndpoint(t.Context(), w.main, made[0].ID, present)
	complains(t, "now is not the future", err, "expires_at")
	sweep(299)
	sweep(0)
	if len(told) != 299 {
		t.Errorf("told of %d", len(told))
	}
	if e, err := w.UpdateEndpoint(t.Context(), w.main, made[0].ID, account.EndpointPatch{ExpiresAt: account.Null[time.Time]()}); err != nil || !e.ExpiresAt.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
	w.now = w.now.Add(time.Hour)
	sweep(1)
	if _, total, err := w.Endpoints(t.Context(), w.main, account.EndpointQuery{Limit: 1}); err != nil || total != 2 {
		t.Errorf("%d are left, %v", total, err)
	}
}
