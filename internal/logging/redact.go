package logging

import (
	"regexp"
	"strings"
)

// What a credential looks like inside a text. The first group is kept.
var credentials = []*regexp.Regexp{
	// header lines of SIP and HTTP, folded ones included
	regexp.MustCompile(`(?i)\b((?:proxy-)?authorization[ \t]*:[ \t]*)[^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*`),
	regexp.MustCompile(`(?i)\b(x-(?:auth|admin)-token[ \t]*:[ \t]*)[^\r\n]*`),
	// digest answers and bearer or basic tokens quoted without their header name
	regexp.MustCompile(`(?i)\b(c?nonce[ \t]*=[ \t]*"?|response[ \t]*=[ \t]*"?)[0-9a-f+/=_-]{8,}`),
	regexp.MustCompile(`(?i)\b((?:basic|bearer)[ \t]+)[A-Za-z0-9+/=._~-]{8,}`),
	// JSON, forms and account lines
	regexp.MustCompile(`(?i)("[a-z0-9_]*(?:password|token|secret|ha1_md5|ha1_sha256)"[ \t]*:[ \t]*")(?:[^"\\]|\\.)*`),
	regexp.MustCompile(`(?i)\b((?:[a-z0-9_]*(?:password|token|secret)|auth_pass|ha1_md5|ha1_sha256)=)[^&;\s]+`),
	// userinfo of a URL; SIP URIs are left alone up to their password
	regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*:(?://)?[^\s:@/<>"]+:)[^\s@/<>"]+(?:@)`),
}

// Redact masks the credentials in a text: a SIP or HTTP message, a request
// body, a URL.
func Redact(s string) string {
	if !strings.ContainsAny(s, ":=") && !strings.Contains(s, " ") {
		return s
	}
	for i, re := range credentials {
		with := "${1}" + Redacted
		if i == len(credentials)-1 {
			with += "@"
		}
		s = re.ReplaceAllString(s, with)
	}
	return s
}
