package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"onhook/test/devserver"
)

// Receiver is a webhook's target, which believes nothing that is not signed.
type Receiver struct {
	URL   string
	token string

	mu      sync.Mutex
	secret  string // of the webhook, once known
	refuse  int    // status to answer with; 0: takes everything
	tries   int
	events  []Event // taken, repetitions left out
	seen    map[string]bool
	faults  []string
	changed chan struct{}
}

// NewReceiver starts a target for deliveries that are signed with a token.
func NewReceiver(t testing.TB, token string) *Receiver {
	r := &Receiver{token: token, seen: map[string]bool{}, changed: make(chan struct{}, 1)}
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, f := range r.faults {
			t.Error(f)
		}
	})
	return r
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	if err == nil {
		err = r.verify(req, body)
	}
	var e Event
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err == nil && req.Header.Get("Onhook-Event-Id") != e.ID {
		err = fmt.Errorf("Onhook-Event-Id is %s, the event's id %s", req.Header.Get("Onhook-Event-Id"), e.ID)
	}
	if err != nil {
		r.faults = append(r.faults, fmt.Sprintf("a delivery that is not to be believed: %v: %v %s", err, req.Header, body))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.refuse != 0 {
		w.WriteHeader(r.refuse)
		return
	}
	if !r.seen[e.ID] {
		r.seen[e.ID] = true
		r.events = append(r.events, e)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func mac(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return h.Sum(nil)
}

// verify checks V2, V3 and the signature that covers the body, as a receiver
// with the published description would.
func (r *Receiver) verify(req *http.Request, body []byte) error {
	url := r.URL + req.URL.Path
	for version, join := range map[string]string{"V2": "", "V3": "."} {
		nonce := req.Header.Get("X-Vobiz-Signature-" + version + "-Nonce")
		want := base64.StdEncoding.EncodeToString(mac(r.token, url+join+nonce))
		if got := req.Header.Get("X-Vobiz-Signature-" + version); len(nonce) != 20 || got != want {
			return fmt.Errorf("%s is %s, want %s", version, got, want)
		}
	}
	check := func(header, key string) error {
		at, signature, ok := strings.Cut(req.Header.Get(header), ",v1=")
		seconds, err := strconv.ParseInt(strings.TrimPrefix(at, "t="), 10, 64)
		want := hex.EncodeToString(mac(key, strings.TrimPrefix(at, "t=")+"."+string(body)))
		if !ok || err != nil || signature != want || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
			return fmt.Errorf("%s is %s, want %s", header, req.Header.Get(header), want)
		}
		return nil
	}
	if err := check("Onhook-Signature", r.token); err != nil {
		return err
	}
	if r.secret == "" {
		return nil
	}
	return check("Onhook-Webhook-Signature", r.secret)
}

// Refuse has it answer with a status; 0: it takes everything again.
func (r *Receiver) Refuse(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = status
}

// Tries is how many deliveries were attempted.
func (r *Receiver) Tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

// Got names what it took of each endpoint, in order.
func (r *Receiver) Got() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := map[string][]string{}
	for _, e := range r.events {
		got[e.Data.Username] = append(got[e.Data.Username], strings.TrimPrefix(e.Type, "endpoint."))
	}
	return got
}

// deliveryLimit is how long a test waits for deliveries: some come again after
// pauses that grow.
const deliveryLimit = 60 * time.Second

// Expect waits until it took what is wanted of an endpoint.
func (r *Receiver) Expect(t testing.TB, username string, want ...string) {
	t.Helper()
	end := time.After(deliveryLimit)
	for {
		got := r.Got()[username]
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-r.changed:
		case <-end:
			t.Fatalf("of %s came %v, want %v", username, got, want)
		}
	}
}

// Webhook is the object of the API as far as the tests look at it.
type Webhook struct {
	ID        string  `json:"webhook_id"`
	Enabled   bool    `json:"enabled"`
	Secret    string  `json:"secret"`
	LastError *string `json:"last_error"`
	Success   *string `json:"last_success_at"`
}

// Hook makes a webhook of the account.
func (r *Receiver) Hook(t testing.TB, s *devserver.Server, events ...string) (w Webhook) {
	t.Helper()
	if status, err := s.API("POST", "Webhook/", map[string]any{"url": r.URL + "/hook?x=1", "events": events}, &w); err != nil || status != 201 {
		t.Fatal(status, err)
	}
	r.mu.Lock()
	r.secret = w.Secret
	r.mu.Unlock()
	return w
}
