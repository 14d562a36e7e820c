// Package callback makes the HTTP requests that the server sends to its users:
// signed, to allowed networks only, and within a time. It decides nothing about
// what is sent or when.
package callback

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultPrefix begins the names of the signature headers.
const DefaultPrefix = "X-Vobiz"

// Keys are what a request is signed with: auth tokens and a secret, "" for none.
type Keys struct {
	Account string // of the account that is called back
	Parent  string // of its main account, when it is a sub-account
	Webhook string // a webhook's own secret
}

// NonceLen is how many digits a nonce has.
const NonceLen = 20

// NewNonce draws a nonce.
func NewNonce() string {
	var b [NonceLen]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	for i := range b {
		b[i] = '0' + b[i]%10 // the bias of 6 in 256 matters to nobody: a nonce only differs
	}
	return string(b[:])
}

// Sign adds the signatures of a URL and a nonce to a request's headers: V2 and
// V3 with the account's key, MA-V2 and MA-V3 with the parent's.
func Sign(h http.Header, prefix string, keys Keys, url, nonce string) {
	base, _, _ := strings.Cut(url, "#")
	base, _, _ = strings.Cut(base, "?")
	sign := func(version, key, text string) {
		h.Set(prefix+"-Signature-"+version, base64.StdEncoding.EncodeToString(sum(key, text)))
		h.Set(prefix+"-Signature-"+version+"-Nonce", nonce)
	}
	sign("V2", keys.Account, base+nonce)
	sign("V3", keys.Account, base+"."+nonce)
	if keys.Parent != "" {
		sign("MA-V2", keys.Parent, base+nonce)
		sign("MA-V3", keys.Parent, base+"."+nonce)
	}
}

// SignBody adds what covers the body, too: Onhook-Signature with the account's
// key, and Onhook-Webhook-Signature with the webhook's secret, for receivers
// that shall not know the account's.
func SignBody(h http.Header, keys Keys, body []byte, at time.Time) {
	h.Set("Onhook-Signature", bodySignature(keys.Account, body, at))
	if keys.Webhook != "" {
		h.Set("Onhook-Webhook-Signature", bodySignature(keys.Webhook, body, at))
	}
}

func bodySignature(key string, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(sum(key, t+"."+string(body)))
}

func sum(key, text string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
