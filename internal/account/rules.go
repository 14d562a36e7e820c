package account

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"time"
)

// Sentences shown to API users.
const (
	msgRequired    = "This field is required"
	msgNull        = "Must not be null"
	msgLocked      = "cannot be changed after creation"
	msgUsername    = "Only alphanumeric characters and underscores are allowed"
	msgUsernameLen = "Must be 1 to 64 characters long"
	msgPassword    = "Must be 8 to 128 printable ASCII characters"
	msgAlias       = "Only letters, digits, hyphens, underscores, spaces and apostrophes are allowed, 1 to 64 in all"
	msgContacts    = "Must be a number from 1 to 20"
	msgDomain      = "Not a SIP domain of this server"
	msgApplication = "No such application"
	msgSubAccount  = "Not an enabled sub-account of this account"
	msgDisabled    = "The account is disabled"
	msgBulkOnly    = "Only bulk creation accepts this field"
	msgHA1Both     = "Give either password or ha1_md5"
	msgHA1MD5      = "Must be 32 hexadecimal digits"
	msgHA1SHA256   = "Must be 64 hexadecimal digits"
	msgExpired     = "Must be a time in the future"
	msgOverlap     = "Must be a number from 0 to 604800"
	msgOverlapOf   = "Needs password beside it"
	msgHA1Alone    = "Needs ha1_md5 beside it"
)

// Defaults and bounds of an endpoint.
const (
	maxUsername        = 64
	maxAlias           = 64
	minPassword        = 8
	maxPassword        = 128
	defaultMaxContacts = 10
	maxMaxContacts     = 20
	maxOverlap         = 7 * 24 * 60 * 60 // seconds
)

// faults collects bad fields; the first sentence about a field stays.
type faults map[string]string

func newFaults(malformed map[string]string) faults {
	f := faults(maps.Clone(malformed))
	if f == nil {
		f = faults{}
	}
	return f
}

func (f faults) add(field, sentence string) {
	if _, ok := f[field]; !ok && sentence != "" {
		f[field] = sentence
	}
}

func (f faults) has(field string) bool { _, ok := f[field]; return ok }

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &Invalid{Fields: f}
}

// value reads an optional field that may be absent but not null.
func value[T any](f faults, name string, o Optional[T], def T) T {
	if o.Null {
		f.add(name, msgNull)
	}
	if !o.Set || o.Null {
		return def
	}
	return o.Value
}

func checkUsername(s string) string {
	switch {
	case s == "":
		return msgRequired
	case !only(s, "_"):
		return msgUsername
	case len(s) > maxUsername:
		return msgUsernameLen
	}
	return ""
}

func checkPassword(s string) string {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return msgPassword
		}
	}
	if len(s) < minPassword || len(s) > maxPassword {
		return msgPassword
	}
	return ""
}

func checkAlias(s string) string {
	if s == "" || len(s) > maxAlias || !only(s, "-_ '") {
		return msgAlias
	}
	return ""
}

func checkMaxContacts(n int) string {
	if n < 1 || n > maxMaxContacts {
		return msgContacts
	}
	return ""
}

// expiry reads a time from which on the endpoint is gone; null is never.
func (s *Service) expiry(f faults, o Optional[time.Time], present time.Time) time.Time {
	if !o.Set {
		return present
	}
	at := o.Value.UTC().Truncate(time.Second)
	if o.Null {
		at = time.Time{}
	} else if !at.Equal(present) && !at.After(s.time()) {
		f.add("expires_at", msgExpired)
	}
	return at
}

// only reports whether s is ASCII letters, digits and the others alone.
func only(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}

// parseApplication reads an app_id or an Application resource path such as
// /v1/Account/MA_X/Application/123/ and returns the app_id.
func parseApplication(s string) (appID string, ok bool) {
	if _, rest, found := strings.Cut(s, "/Application/"); found {
		s = strings.TrimSuffix(rest, "/")
	}
	if len(s) == 0 || len(s) > 20 {
		return "", false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return "", false
		}
	}
	return s, true
}

// newSecret is what is kept of a password.
// RFC 7616 3.4.2: A1 is username, realm and password joined by colons.
func newSecret(username, realm, password string) Secret {
	a1 := []byte(username + ":" + realm + ":" + password)
	return Secret{MD5: md5.Sum(a1), SHA256: sha256.Sum256(a1), HasSHA256: true}
}

// importSecret reads HA1 values computed elsewhere; an empty SHA-256 is
// allowed.
func importSecret(f faults, md5Hex, sha256Hex Optional[string]) (s Secret) {
	if !unhex(s.MD5[:], value(f, "ha1_md5", md5Hex, "")) {
		f.add("ha1_md5", msgHA1MD5)
	}
	if sha256Hex.Set {
		if !unhex(s.SHA256[:], value(f, "ha1_sha256", sha256Hex, "")) {
			f.add("ha1_sha256", msgHA1SHA256)
		}
		s.HasSHA256 = true
	}
	return s
}

func unhex(dst []byte, s string) bool {
	if len(s) != hex.EncodedLen(len(dst)) {
		return false
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}
