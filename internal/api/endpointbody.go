package api

import (
	"errors"

	"onhook/internal/account"
)

// written remembers under which name the client wrote the application, so that
// a complaint names the field that was sent.
type written string

// rename gives a complaint about the application the client's name for it.
func (used written) rename(err error) error {
	var invalid *account.Invalid
	if used != "application" && errors.As(err, &invalid) {
		if sentence, ok := invalid.Fields["application"]; ok {
			delete(invalid.Fields, "application")
			invalid.Fields[string(used)] = sentence
		}
	}
	return err
}

// endpointSpec reads the fields of a creation. Only bulk creation takes HA1
// values.
func endpointSpec(f *fields, bulk bool) (account.EndpointSpec, written) {
	s := account.EndpointSpec{
		Username:   f.text("username"),
		Password:   f.text("password"),
		Alias:      f.text("alias"),
		Domain:     f.text("domain"),
		SubAccount: f.textOrNull("sub_account"),

		AllowVoice:        f.boolean("allow_voice"),
		AllowMessage:      f.boolean("allow_message"),
		AllowVideo:        f.boolean("allow_video"),
		AllowSameDomain:   f.boolean("allow_same_domain"),
		AllowOtherDomains: f.boolean("allow_other_domains"),
		AllowPhones:       f.boolean("allow_phones"),
		AllowApps:         f.boolean("allow_apps"),

		MaxContacts: f.integer("max_contacts"),
		ExpiresAt:   f.timeOrNull("expires_at"),
	}
	if bulk {
		s.HA1MD5, s.HA1SHA256 = f.text("ha1_md5"), f.text("ha1_sha256")
	}
	var used string
	s.Application, used = f.application()
	s.Malformed = f.rest()
	return s, written(used)
}

// endpointPatch reads the fields of an update.
func endpointPatch(f *fields) (account.EndpointPatch, written) {
	p := account.EndpointPatch{
		Password:     f.text("password"),
		Overlap:      f.integer("password_overlap"),
		Alias:        f.text("alias"),
		AllowVoice:   f.boolean("allow_voice"),
		AllowMessage: f.boolean("allow_message"),
		AllowVideo:   f.boolean("allow_video"),
		MaxContacts:  f.integer("max_contacts"),
		ExpiresAt:    f.timeOrNull("expires_at"),

		Username:          f.text("username"),
		EndpointID:        f.identifier("endpoint_id"),
		Domain:            f.text("domain"),
		SubAccount:        f.textOrNull("sub_account"),
		AllowSameDomain:   f.boolean("allow_same_domain"),
		AllowOtherDomains: f.boolean("allow_other_domains"),
		AllowPhones:       f.boolean("allow_phones"),
		AllowApps:         f.boolean("allow_apps"),
	}
	var used string
	p.Application, used = f.application()
	p.Malformed = f.rest()
	return p, written(used)
}
