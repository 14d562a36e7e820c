package account_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/internal/account"
)

func TestCreateDefaults(t *testing.T) {
	w := newWorld(t)
	e := w.create(t, w.main, spec("John_Doe"))
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	want := account.Endpoint{ID: e.ID, Owner: w.main.AuthID, Main: w.main.AuthID, Username: "John_Doe", Domain: "sip.test", Alias: "John_Doe",
		Allow:       account.Permissions{Voice: true, Message: true, SameDomain: true, Phones: true, Apps: true},
		MaxContacts: 10, Secret: e.Secret, CreatedAt: now, UpdatedAt: now}
	if e != want {
		t.Errorf("endpoint is\n%+v, want\n%+v", e, want)
	}
	if again, ok := account.ParseEndpointID(e.ID.String()); !ok || again != e.ID {
		t.Errorf("endpoint_id is %s", e.ID)
	}
	if stored, err := w.Endpoint(t.Context(), w.main, e.ID); err != nil || stored != e {
		t.Errorf("stored is %+v, %v", stored, err)
	}
	// RFC 7616 3.4.2: HA1 covers username, realm and password; the realm is the domain.
	a1 := []byte("John_Doe:sip.test:correct horse")
	if e.Secret != (account.Secret{MD5: md5.Sum(a1), SHA256: sha256.Sum256(a1), HasSHA256: true}) {
		t.Errorf("secret is %v", e.Secret)
	}
}

func TestCreateTakesEveryField(t *testing.T) {
	w := newWorld(t)
	w.application(t, "12345678901234500", w.main)
	e := w.create(t, w.main, account.EndpointSpec{
		Username: account.Some("full"), Password: account.Some("12345678"), Alias: account.Some("Jane's Mobile-1_a"),
		Application: account.Some("/v1/Account/" + w.main.AuthID + "/Application/12345678901234500/"), Domain: account.Some("Second.TEST"),
		SubAccount: account.Some(w.sub.AuthID), AllowVoice: account.Some(false), AllowMessage: account.Some(false), AllowVideo: account.Some(true),
		AllowSameDomain: account.Some(false), AllowOtherDomains: account.Some(true), AllowPhones: account.Some(false), AllowApps: account.Some(false),
		MaxContacts: account.Some(20)})
	want := account.Endpoint{ID: e.ID, Owner: w.sub.AuthID, Main: w.main.AuthID, Username: "full", Domain: "second.test", Alias: "Jane's Mobile-1_a",
		Application: "12345678901234500", Allow: account.Permissions{Video: true, OtherDomains: true}, MaxContacts: 20,
		Secret: e.Secret, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt}
	if e != want {
		t.Errorf("endpoint is\n%+v, want\n%+v", e, want)
	}
	none := spec("none")
	none.Application, none.SubAccount = account.Null[string](), account.Null[string]()
	if e := w.create(t, w.main, none); e.Application != "" || e.Owner != w.main.AuthID {
		t.Errorf("endpoint is %+v", e)
	}
}

func TestCreateRules(t *testing.T) {
	w := newWorld(t)
	w.application(t, "12345678901234500", w.main)
	w.application(t, "99999999999999900", w.other)
	disabled, _, err := w.CreateSubAccount(t.Context(), w.main, named("disabled"))
	if err != nil {
		t.Fatal(err)
	}
	w.enable(t, disabled, false)
	text := account.Some[string]
	type fields = []string
	for _, c := range []struct {
		what   string
		change func(*account.EndpointSpec)
		want   fields // nil: is accepted
	}{
		{"nothing wrong", func(*account.EndpointSpec) {}, nil},
		{"nothing at all", func(s *account.EndpointSpec) { *s = account.EndpointSpec{} }, fields{"username", "password"}},
		{"username empty", func(s *account.EndpointSpec) { s.Username = text("") }, fields{"username"}},
		{"username null", func(s *account.EndpointSpec) { s.Username = account.Null[string]() }, fields{"username"}},
		{"username of 64", func(s *account.EndpointSpec) { s.Username = text(strings.Repeat("a", 64)) }, nil},
		{"username of 65", func(s *account.EndpointSpec) { s.Username = text(strings.Repeat("a", 65)) }, fields{"username"}},
		{"username with a dot", func(s *account.EndpointSpec) { s.Username = text("a.b") }, fields{"username"}},
		{"username with a newline", func(s *account.EndpointSpec) { s.Username = text("ab\n") }, fields{"username"}},
		{"username with a letter beyond ASCII", func(s *account.EndpointSpec) { s.Username = text("jürgen") }, fields{"username"}},
		{"password of 7", func(s *account.EndpointSpec) { s.Password = text("1234567") }, fields{"password"}},
		{"password of 128", func(s *account.EndpointSpec) { s.Password = text(strings.Repeat(" ~", 64)) }, nil},
		{"password of 129", func(s *account.EndpointSpec) { s.Password = text(strings.Repeat("a", 129)) }, fields{"password"}},
		{"password beyond ASCII", func(s *account.EndpointSpec) { s.Password = text("pässword1") }, fields{"password"}},
		{"password with a control", func(s *account.EndpointSpec) { s.Password = text("password\x7f") }, fields{"password"}},
		{"password null", func(s *account.EndpointSpec) { s.Password = account.Null[string]() }, fields{"password"}},
		{"alias empty", func(s *account.EndpointSpec) { s.Alias = text("") }, fields{"alias"}},
		{"alias null", func(s *account.EndpointSpec) { s.Alias = account.Null[string]() }, fields{"alias"}},
		{"alias of 65", func(s *account.EndpointSpec) { s.Alias = text(strings.Repeat("a", 65)) }, fields{"alias"}},
		{"alias with a slash", func(s *account.EndpointSpec) { s.Alias = text("a/b") }, fields{"alias"}},
		{"domain of another", func(s *account.EndpointSpec) { s.Domain = text("elsewhere.test") }, fields{"domain"}},
		{"domain null", func(s *account.EndpointSpec) { s.Domain = account.Null[string]() }, fields{"domain"}},
		{"application empty", func(s *account.EndpointSpec) { s.Application = text("") }, nil},
		{"application unknown", func(s *account.EndpointSpec) { s.Application = text("1") }, fields{"application"}},
		{"application of a stranger", func(s *account.EndpointSpec) { s.Application = text("99999999999999900") }, fields{"application"}},
		{"application malformed", func(s *account.EndpointSpec) { s.Application = text("/Application/x/") }, fields{"application"}},
		{"sub-account unknown", func(s *account.EndpointSpec) { s.SubAccount = text("SA_00000000") }, fields{"sub_account"}},
		{"sub-account disabled", func(s *account.EndpointSpec) { s.SubAccount = text(disabled.AuthID) }, fields{"sub_account"}},
		{"sub-account is a main account", func(s *account.EndpointSpec) { s.SubAccount = text(w.other.AuthID) }, fields{"sub_account"}},
		{"flag null", func(s *account.EndpointSpec) { s.AllowApps = account.Null[bool]() }, fields{"allow_apps"}},
		{"no contacts", func(s *account.EndpointSpec) { s.MaxContacts = account.Some(0) }, fields{"max_contacts"}},
		{"21 contacts", func(s *account.EndpointSpec) { s.MaxContacts = account.Some(21) }, fields{"max_contacts"}},
		{"HA1 outside bulk", func(s *account.EndpointSpec) {
			s.HA1MD5, s.Password = text(strings.Repeat("0", 32)), account.Optional[string]{}
		}, fields{"ha1_md5", "password"}},
		{"malformed is reported", func(s *account.EndpointSpec) {
			s.Malformed = map[string]string{"color": "unknown", "username": "must be a string"}
			s.Username = account.Optional[string]{}
		}, fields{"color", "username"}},
		{"every bad field at once", func(s *account.EndpointSpec) {
			*s = account.EndpointSpec{Username: text("a b"), Password: text("x"), Alias: text("!"), Domain: text("x"), Application: text("x"),
				SubAccount: text("x"), MaxContacts: account.Some(99), AllowVoice: account.Null[bool](), Malformed: map[string]string{"allow_video": "must be a boolean"}}
		}, fields{"username", "password", "alias", "domain", "application", "sub_account", "max_contacts", "allow_voice", "allow_video"}},
	} {
		s := spec("user")
		c.change(&s)
		e, err := w.CreateEndpoint(t.Context(), w.main, s)
		if c.want != nil {
			complains(t, c.what, err, c.want...)
		} else if err != nil {
			t.Errorf("%s: %v", c.what, err)
		} else if err := w.DeleteEndpoint(t.Context(), w.main, e.ID); err != nil {
			t.Error(err)
		}
	}
	_, err = w.CreateEndpoint(t.Context(), w.main, spec("a-b"))
	var invalid *account.Invalid
	if !errors.As(err, &invalid) || invalid.Fields["username"] != "Only alphanumeric characters and underscores are allowed" {
		t.Errorf("sentence about a username: %v", err)
	}
	_, err = w.CreateEndpoint(t.Context(), disabled, spec("user"))
	complains(t, "owner is disabled", err, "sub_account")
	s := spec("user")
	s.SubAccount = text(w.main.AuthID)
	_, err = w.CreateEndpoint(t.Context(), w.sub, s)
	complains(t, "a sub-account gives to its main account", err, "sub_account")
	if _, total, err := w.Endpoints(t.Context(), w.main, account.EndpointQuery{Limit: 1}); err != nil || total != 0 {
		t.Errorf("refused creations left %d, %v", total, err)
	}
}

func TestUsernamesAreUniqueInTheirDomain(t *testing.T) {
	w := newWorld(t)
	w.create(t, w.main, spec("Alice"))
	for _, owner := range []account.Account{w.main, w.sub, w.other} {
		_, err := w.CreateEndpoint(t.Context(), owner, spec("aLICE"))
		var conflict *account.Conflict
		if !errors.As(err, &conflict) || conflict.Username != "aLICE" || conflict.Items != nil {
			t.Errorf("%s: %v", owner.Name, err)
		}
	}
	elsewhere := spec("alice")
	elsewhere.Domain = account.Some("second.test")
	w.create(t, w.other, elsewhere)
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.application(t, "12345678901234500", w.main)
	before := w.create(t, w.main, spec("alice"))
	var told []account.Change
	w.Subscribe(func(c account.Change) { told = append(told, c) })
	update := func(p account.EndpointPatch) account.Endpoint {
		t.Helper()
		w.now = w.now.Add(time.Minute)
		e, err := w.UpdateEndpoint(t.Context(), w.main, before.ID, p)
		if err != nil {
			t.Fatalf("update: %v", err)
		}
		if stored, err := w.Endpoint(t.Context(), w.main, before.ID); err != nil || stored != e {
			t.Errorf("stored is %+v, %v, want %+v", stored, err, e)
		}
		return e
	}
	after := update(account.EndpointPatch{Alias: account.Some("Desk"), Application: account.Some("12345678901234500"), AllowVoice: account.Some(false),
		AllowMessage: account.Some(false), AllowVideo: account.Some(true), MaxContacts: account.Some(2)})
	want := before
	want.Alias, want.Application, want.MaxContacts, want.UpdatedAt = "Desk", "12345678901234500", 2, before.UpdatedAt.Add(time.Minute)
	want.Allow.Voice, want.Allow.Message, want.Allow.Video = false, false, true
	if after != want {
		t.Errorf("endpoint is\n%+v, want\n%+v", after, want)
	}
	if len(told) != 1 || told[0] != (account.Change{Kind: account.Updated, Before: before, After: after}) {
		t.Errorf("told %+v", told)
	}
	if e := update(account.EndpointPatch{}); e != after || len(told) != 1 {
		t.Errorf("an empty patch changes %+v", e)
	}
	if e := update(account.EndpointPatch{Password: account.Some("correct horse")}); e != after || len(told) != 1 {
		t.Errorf("the present password changes %+v", e)
	}
	if e := update(account.EndpointPatch{Application: account.Null[string]()}); e.Application != "" {
		t.Errorf("null leaves application %s", e.Application)
	}
	update(account.EndpointPatch{Application: account.Some("12345678901234500")})
	if e := update(account.EndpointPatch{Application: account.Some("")}); e.Application != "" {
		t.Errorf("the empty string leaves application %s", e.Application)
	}
	told = nil
	e := update(account.EndpointPatch{Password: account.Some("another one")})
	a1 := []byte("alice:sip.test:another one")
	if e.Secret != (account.Secret{MD5: md5.Sum(a1), SHA256: sha256.Sum256(a1), HasSHA256: true}) {
		t.Errorf("secret is %v", e.Secret)
	}
	if len(told) != 1 || !told[0].SecretChanged {
		t.Errorf("told %+v", told)
	}
	if err := w.DeleteEndpoint(t.Context(), w.main, before.ID); err != nil || len(told) != 2 || told[1].Kind != account.Deleted || !told[1].SecretChanged {
		t.Errorf("delete: %v, told %+v", err, told)
	}
	if err := w.DeleteEndpoint(t.Context(), w.main, before.ID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("delete again: %v", err)
	}
	if _, err := w.UpdateEndpoint(t.Context(), w.main, before.ID, account.EndpointPatch{}); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("update what is gone: %v", err)
	}
}

func TestUpdateRules(t *testing.T) {
	w := newWorld(t)
	s := spec("alice")
	s.SubAccount = account.Some(w.sub.AuthID)
	e := w.create(t, w.main, s)
	text, flag := account.Some[string], account.Some[bool]
	_, err := w.UpdateEndpoint(t.Context(), w.main, e.ID, account.EndpointPatch{
		Alias: text("good"), Password: text("short"), Application: text("1"), AllowVoice: account.Null[bool](), MaxContacts: account.Some(0),
		Username: text("Alice"), EndpointID: text("1"), Domain: text("second.test"), SubAccount: account.Null[string](),
		AllowSameDomain: flag(false), AllowOtherDomains: flag(true), AllowPhones: flag(false), AllowApps: account.Null[bool](),
		Malformed: map[string]string{"color": "unknown"}})
	complains(t, "every bad field", err, "password", "application", "allow_voice", "max_contacts", "username", "endpoint_id", "domain",
		"sub_account", "allow_same_domain", "allow_other_domains", "allow_phones", "allow_apps", "color")
	var invalid *account.Invalid
	if errors.As(err, &invalid) && invalid.Fields["allow_phones"] != "cannot be changed after creation" {
		t.Errorf("sentence about a locked field: %v", err)
	}
	for what, p := range map[string]account.EndpointPatch{
		"alias": {Alias: text("")}, "password": {Password: account.Null[string]()}, "domain": {Domain: account.Null[string]()},
	} {
		_, err := w.UpdateEndpoint(t.Context(), w.main, e.ID, p)
		complains(t, what, err, what)
	}
	if stored, err := w.Endpoint(t.Context(), w.main, e.ID); err != nil || stored != e {
		t.Errorf("refused updates left %+v, %v", stored, err)
	}
	// Tools send back what they read.
	after, err := w.UpdateEndpoint(t.Context(), w.main, e.ID, account.EndpointPatch{Alias: text("new"),
		Username: text("alice"), EndpointID: text(e.ID.String()), Domain: text("SIP.test"), SubAccount: text(w.sub.AuthID),
		AllowSameDomain: flag(true), AllowOtherDomains: flag(false), AllowPhones: flag(true), AllowApps: flag(true)})
	if err != nil || after.Alias != "new" {
		t.Errorf("present values: %+v, %v", after, err)
	}
}

func TestConcurrentUpdatesDoNotMix(t *testing.T) {
	w := newWorld(t)
	e := w.create(t, w.main, spec("alice"))
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			var p account.EndpointPatch
			if i%2 == 0 {
				p = account.EndpointPatch{Alias: account.Some(fmt.Sprint("n", i)), MaxContacts: account.Some(i + 1)}
			} else {
				p = account.EndpointPatch{AllowVideo: account.Some(true)}
			}
			if _, err := w.UpdateEndpoint(t.Context(), w.main, e.ID, p); err != nil {
				t.Errorf("update: %v", err)
			}
		})
	}
	group.Wait()
	got, err := w.Endpoint(t.Context(), w.main, e.ID)
	if err != nil || got.Alias != fmt.Sprint("n", got.MaxContacts-1) || !got.Allow.Video {
		t.Errorf("endpoint is %+v, %v", got, err)
	}
}

func TestBulk(t *testing.T) {
	w := newWorld(t)
	w.create(t, w.main, spec("taken"))
	a1 := []byte("imported:sip.test:secret of old")
	m, s := md5.Sum(a1), sha256.Sum256(a1)
	md5Only := account.EndpointSpec{Username: account.Some("md5_only"), HA1MD5: account.Some(strings.ToUpper(hex.EncodeToString(m[:])))}
	both := account.EndpointSpec{Username: account.Some("imported"), HA1MD5: account.Some(hex.EncodeToString(m[:])), HA1SHA256: account.Some(hex.EncodeToString(s[:]))}
	good := []account.EndpointSpec{spec("plain"), md5Only, both}
	total := func(want int) {
		t.Helper()
		if _, n, err := w.Endpoints(t.Context(), w.main, account.EndpointQuery{Limit: 1}); err != nil || n != want {
			t.Errorf("%d endpoints, %v, want %d", n, err, want)
		}
	}
	if made, err := w.CreateEndpoints(t.Context(), w.main, good, true); err != nil || len(made) != 3 {
		t.Fatalf("dry run: %+v, %v", made, err)
	}
	total(1)

	for i, c := range []struct {
		specs []account.EndpointSpec
		want  map[int]string
	}{
		{[]account.EndpointSpec{spec("fine"), spec("TAKEN"), spec("twice"), spec("Twice")}, map[int]string{1: "TAKEN", 3: "Twice"}},
		{[]account.EndpointSpec{spec("taken")}, map[int]string{0: "taken"}},
	} {
		for _, dryRun := range []bool{true, false} {
			_, err := w.CreateEndpoints(t.Context(), w.main, c.specs, dryRun)
			var conflict *account.Conflict
			if !errors.As(err, &conflict) || !maps.Equal(conflict.Items, c.want) || conflict.Username != c.want[conflict.Index] {
				t.Errorf("conflicts %d: %v, %+v", i, err, conflict)
			}
			total(1)
		}
	}
	bad := spec("bad one")
	bad.Password = account.Some("x")
	for _, dryRun := range []bool{true, false} {
		_, err := w.CreateEndpoints(t.Context(), w.main, []account.EndpointSpec{spec("fine"), bad, {}, spec("taken")}, dryRun)
		var invalid *account.Invalid
		if !errors.As(err, &invalid) || invalid.Fields != nil || !slices.Equal(slices.Sorted(maps.Keys(invalid.Items)), []int{1, 2}) ||
			len(invalid.Items[1]) != 2 || len(invalid.Items[2]) != 2 {
			t.Errorf("invalid: %v", err)
		}
		total(1)
	}
	for what, c := range map[string]struct {
		change func(*account.EndpointSpec)
		field  string
	}{
		"both kinds":        {func(s *account.EndpointSpec) { s.Password = account.Some("correct horse") }, "password"},
		"no MD5":            {func(s *account.EndpointSpec) { s.HA1MD5 = account.Optional[string]{} }, "ha1_sha256"},
		"short MD5":         {func(s *account.EndpointSpec) { s.HA1MD5 = account.Some("00") }, "ha1_md5"},
		"MD5 is not hex":    {func(s *account.EndpointSpec) { s.HA1MD5 = account.Some(strings.Repeat("g", 32)) }, "ha1_md5"},
		"SHA-256 is empty":  {func(s *account.EndpointSpec) { s.HA1SHA256 = account.Some("") }, "ha1_sha256"},
		"SHA-256 is an MD5": {func(s *account.EndpointSpec) { s.HA1SHA256 = s.HA1MD5 }, "ha1_sha256"},
		"MD5 could not be read": {func(s *account.EndpointSpec) {
			s.HA1MD5, s.HA1SHA256 = account.Optional[string]{}, account.Optional[string]{}
			s.Malformed = map[string]string{"ha1_md5": "must be a string"}
		}, "ha1_md5"},
	} {
		s := both
		c.change(&s)
		_, err := w.CreateEndpoints(t.Context(), w.main, []account.EndpointSpec{s}, true)
		var invalid *account.Invalid
		if !errors.As(err, &invalid) || len(invalid.Items) != 1 || len(invalid.Items[0]) != 1 || invalid.Items[0][c.field] == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, n := range []int{0, account.MaxBulk + 1} {
		_, err := w.CreateEndpoints(t.Context(), w.main, make([]account.EndpointSpec, n), true)
		complains(t, "size", err, "objects")
	}

	made, err := w.CreateEndpoints(t.Context(), w.main, good, false)
	if err != nil || len(made) != 3 {
		t.Fatalf("bulk: %v", err)
	}
	total(4)
	for i, want := range []account.Secret{{}, {MD5: m}, {MD5: m, SHA256: s, HasSHA256: true}} {
		stored, err := w.Endpoint(t.Context(), w.main, made[i].ID)
		if err != nil || stored != made[i] || i > 0 && stored.Secret != want {
			t.Errorf("%d is %+v, %v", i, stored, err)
		}
	}
	// A password set later brings the other algorithm along.
	e, err := w.UpdateEndpoint(t.Context(), w.main, made[1].ID, account.EndpointPatch{Password: account.Some("correct horse")})
	if err != nil || !e.Secret.HasSHA256 {
		t.Errorf("update of an imported one: %+v, %v", e, err)
	}
}

func TestBulkOfTheLargestSize(t *testing.T) {
	w := newWorld(t)
	specs := make([]account.EndpointSpec, account.MaxBulk)
	for i := range specs {
		specs[i] = spec(fmt.Sprintf("user%04d", i))
	}
	told := 0
	w.Subscribe(func(account.Change) { told++ })
	made, err := w.CreateEndpoints(t.Context(), w.main, specs, false)
	if err != nil || told != len(specs) {
		t.Fatalf("bulk: %v, told %d", err, told)
	}
	ids := map[account.EndpointID]bool{}
	for i, e := range made {
		if e.Username != specs[i].Username.Value || len(e.ID.String()) != 15 {
			t.Errorf("%d is %+v", i, e)
		}
		ids[e.ID] = true
	}
	if len(ids) != len(specs) {
		t.Errorf("%d different ids", len(ids))
	}
}

// One of several that create the same name at the same time wins.
func TestRaceForAName(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 12 {
		group.Go(func() {
			var err error
			if i%3 == 0 {
				_, err = w.CreateEndpoints(t.Context(), w.other, []account.EndpointSpec{spec(fmt.Sprint("own", i)), spec("ALICE")}, false)
			} else {
				_, err = w.CreateEndpoint(t.Context(), w.main, spec("alice"))
			}
			mu.Lock()
			defer mu.Unlock()
			var conflict *account.Conflict
			if err == nil {
				won++
			} else if !errors.As(err, &conflict) {
				t.Errorf("create: %v", err)
			}
		})
	}
	group.Wait()
	if won != 1 {
		t.Errorf("%d won", won)
	}
}

// failing is a store that never takes changes.
type failing struct{ account.Store }

func (failing) Update(context.Context, func(context.Context, account.Tx) error) error {
	return fmt.Errorf("%w: disk full", account.ErrUnavailable)
}

func TestUnavailable(t *testing.T) {
	w := newWorld(t)
	e := w.create(t, w.main, spec("alice"))
	keys, err := account.NewKeys(slices.Repeat([]byte{1}, account.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	s := account.NewService(failing{w.store}, []string{"sip.test"}, keys, nil)
	_, create := s.CreateEndpoint(t.Context(), w.main, spec("bob"))
	_, bulk := s.CreateEndpoints(t.Context(), w.main, []account.EndpointSpec{spec("bob")}, false)
	_, update := s.UpdateEndpoint(t.Context(), w.main, e.ID, account.EndpointPatch{Alias: account.Some("x")})
	_, rotate := s.RotateToken(t.Context(), w.main.AuthID)
	for what, err := range map[string]error{"create": create, "bulk": bulk, "update": update, "rotate": rotate, "delete": s.DeleteEndpoint(t.Context(), w.main, e.ID)} {
		if !errors.Is(err, account.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What is wrong with a request is told all the same.
	_, err = s.CreateEndpoint(t.Context(), w.main, account.EndpointSpec{})
	complains(t, "create", err, "username", "password")
}

// An old password works beside the new one until its time is over; one that is
// the present one changes nothing, and a further one takes the place.
func TestPasswordOverlap(t *testing.T) {
	w := newWorld(t)
	e := w.create(t, w.main, spec("rotating"))
	change := func(password string, overlap account.Optional[int]) account.Endpoint {
		t.Helper()
		after, err := w.UpdateEndpoint(t.Context(), w.main, e.ID, account.EndpointPatch{Password: account.Some(password), Overlap: overlap})
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	first := e.Secret
	second := change("second horse", account.Some(60))
	if second.Previous != first || second.Secret == first || !second.PreviousUntil.Equal(second.UpdatedAt.Add(time.Minute)) {
		t.Errorf("%+v", second)
	}
	if same := change("second horse", account.Some(600)); same != second {
		t.Errorf("the same password changes %+v", same)
	}
	if n, err := w.EndOverlaps(t.Context()); n != 0 || err != nil {
		t.Errorf("%d ended early, %v", n, err)
	}
	third := change("third horse", account.Some(0))
	if third.Previous != (account.Secret{}) || !third.PreviousUntil.IsZero() {
		t.Errorf("without an overlap: %+v", third)
	}
	for _, bad := range []account.EndpointPatch{{Overlap: account.Some(60)}, {Password: account.Some("fourth horse"), Overlap: account.Some(-1)},
		{Password: account.Some("fourth horse"), Overlap: account.Some(604_801)}} {
		var invalid *account.Invalid
		if _, err := w.UpdateEndpoint(t.Context(), w.main, e.ID, bad); !errors.As(err, &invalid) || invalid.Fields["password_overlap"] == "" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
