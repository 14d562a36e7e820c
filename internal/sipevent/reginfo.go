package sipevent

import (
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	"onhook/internal/location"
	"onhook/internal/sip"
	"onhook/internal/sipgruu"
)

// ContentType is that of the documents (RFC 3680 4.5).
const ContentType = "application/reginfo+xml"

// reginfo is the document of RFC 3680 5.
type reginfo struct {
	XMLName      xml.Name     `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
	GRUU         string       `xml:"xmlns:gr,attr"`
	Version      uint32       `xml:"version,attr"`
	State        string       `xml:"state,attr"` // full or partial
	Registration registration `xml:"registration"`
}

type registration struct {
	AOR      string    `xml:"aor,attr"`
	ID       string    `xml:"id,attr"`
	State    string    `xml:"state,attr"` // init, active or terminated
	Contacts []contact `xml:"contact"`
}

type contact struct {
	ID         string    `xml:"id,attr"`
	State      string    `xml:"state,attr"` // active or terminated
	Event      string    `xml:"event,attr"`
	Registered int64     `xml:"duration-registered,attr"` // seconds
	Expires    *int64    `xml:"expires,attr"`             // seconds, of an active one
	Q          string    `xml:"q,attr,omitempty"`
	CallID     string    `xml:"callid,attr,omitempty"`
	CSeq       uint32    `xml:"cseq,attr"`
	URI        string    `xml:"uri"`
	Params     []unknown `xml:"unknown-param"`
	GRUU       *gruu     `xml:"gr:pub-gruu"`
}

// unknown is a parameter of the Contact, such as a feature tag (RFC 3840).
type unknown struct {
	Name  string `xml:"name,attr"`
	Value string `xml:",chardata"`
}

// gruu is the extension of RFC 5628. Temporary GRUUs are not shown: they are
// between a device and those it gives them to.
type gruu struct {
	URI string `xml:"uri,attr"`
}

// contactEvents says why a contact is as it is (RFC 3680 4.7.1). Replaced is
// unregistered, since its device, or another of the endpoint's, has taken its
// place; a device told "deactivated" would come back at once and replace the
// other in turn. One that lost its flow, or that the API ended, may return.
var contactEvents = map[location.EventType]string{
	location.Registered:         "registered",
	location.Refreshed:          "refreshed",
	location.Unregistered:       "unregistered",
	location.Deactivated:        "deactivated",
	location.Expired:            "expired",
	location.Replaced:           "unregistered",
	location.FlowLost:           "deactivated",
	location.CredentialsChanged: "rejected",
}

// document writes the state of an address-of-record: all of it, or what has
// changed.
func document(aor AOR, version uint32, full bool, bindings []location.Binding, changes []change, now time.Time) ([]byte, error) {
	doc := reginfo{
		GRUU: "urn:ietf:params:xml:ns:gruuinfo", Version: version, State: "partial",
		Registration: registration{AOR: aor.URI, ID: "r" + strconv.FormatUint(uint64(aor.Key), 36), State: "active"},
	}
	r := &doc.Registration
	if full {
		doc.State = "full"
		for i := range bindings {
			r.Contacts = append(r.Contacts, newContact(aor, &bindings[i], "registered", now))
		}
	} else {
		for i := range changes {
			r.Contacts = append(r.Contacts, newContact(aor, &changes[i].binding, contactEvents[changes[i].kind], now))
		}
	}
	switch {
	case len(bindings) > 0:
	case full:
		r.State = "init"
	default:
		r.State = "terminated"
	}
	out, err := xml.Marshal(doc)
	return append([]byte(xml.Header), out...), err
}

func newContact(aor AOR, b *location.Binding, event string, now time.Time) contact {
	c := contact{
		ID: b.ID, State: "active", Event: event,
		Registered: max(0, int64(now.Sub(b.RegisteredAt)/time.Second)),
		CallID:     b.CallID, CSeq: b.CSeq, URI: b.Contact,
	}
	if event == "registered" || event == "refreshed" {
		left := max(0, int64((b.Expires.Sub(now)+time.Second-1)/time.Second))
		c.Expires = &left
	} else {
		c.State = "terminated"
	}
	if b.Q != 1000 {
		c.Q = strconv.FormatFloat(float64(b.Q)/1000, 'f', -1, 64)
	}
	for p := sip.Params(b.Params); ; {
		name, value, rest, ok := p.Next()
		if !ok {
			break
		}
		p = rest
		c.Params = append(c.Params, unknown{name, strings.Trim(value, `"`)})
	}
	if b.InstanceID != "" {
		c.GRUU = &gruu{string(sipgruu.AppendPublic(nil, aor.Username, aor.Domain, b.InstanceID))}
	}
	return c
}
