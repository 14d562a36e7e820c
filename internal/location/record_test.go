package location

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"onhook/internal/sip"
)

func sampleBindings() []Binding {
	at := time.UnixMilli(1_790_000_000_123)
	return []Binding{
		{ID: "abc123", Contact: "sip:alice@192.0.2.1:5060", Q: 1000, CallID: "c@h", CSeq: 7,
			Flow:      sip.Flow{Transport: sip.UDP, Listener: 3, Remote: netip.MustParseAddrPort("192.0.2.1:5060")},
			BehindNAT: true, misses: 2,
			UserAgent: "baresip v1.0.0", GRUUs: 0x01020304, RegisteredAt: at, LastSeen: at.Add(time.Minute), Expires: at.Add(time.Hour)},
		{ID: "x", Contact: "sip:q@abc.invalid;transport=ws", Params: `;+sip.instance="<urn:uuid:1>";reg-id=2`, Q: 500,
			InstanceID: "urn:uuid:1", RegID: 2, CallID: "d", CSeq: 1<<31 - 1, FlowBound: true, State: Suspect,
			Flow: sip.Flow{Transport: sip.WSS, Conn: 1 << 60, Remote: netip.MustParseAddrPort("[2001:db8::1]:443")},
			Path: "<sip:p.example.com;lr>", RegisteredAt: at, LastSeen: at, Expires: at.Add(time.Second), graceUntil: at.UnixMilli() + 5},
		{ID: "y", Contact: "tel:+49301234", Q: 0, InstanceID: "not in the parameters", CallID: "e",
			Flow:         sip.Flow{Transport: sip.TCP, Remote: netip.MustParseAddrPort("[fe80::1%eth0]:5060")},
			RegisteredAt: at, LastSeen: at.Add(-time.Second), Expires: at.Add(-time.Minute)},
	}
}

func TestRecordKeepsEverything(t *testing.T) {
	want := sampleBindings()
	rec := appendRecord(nil, 0x0123456789abcdef, want)
	got, epoch, err := decodeRecord(string(rec), nil)
	if err != nil || epoch != 0x0123456789abcdef {
		t.Fatalf("epoch %x, %v", epoch, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Records of the first version, which have one byte of flags, are read.
func TestRecordOfVersion1(t *testing.T) {
	const v1 = "\x01\x01\x23\x45\x67\x89\xab\xcd\xef\x02" +
		"\x00\x01a\x0fsip:a@192.0.2.1\x00\x00\x01c\x07\x01\x03\x00\xc0\x00\x02\x01\x13\xc4\x00\x02ua\xfb\xd8\xc1\xa2\x8c\x34\xc0\xa9\x07\x80\xba\xb7\x03" +
		"\x03\x01b\x07sip:b@h\x00\x00\x01d\x08\x02\x00\x07\xc0\x00\x02\x02\x9c\x40\x00\x00\xfb\xd8\xc1\xa2\x8c\x34\x00\xd0\x0f"
	at := time.UnixMilli(1_790_000_000_123)
	want := []Binding{
		{ID: "a", Contact: "sip:a@192.0.2.1", Q: 1000, CallID: "c", CSeq: 7, UserAgent: "ua",
			Flow:         sip.Flow{Transport: sip.UDP, Listener: 3, Remote: netip.MustParseAddrPort("192.0.2.1:5060")},
			RegisteredAt: at, LastSeen: at.Add(time.Minute), Expires: at.Add(time.Minute + time.Hour)},
		{ID: "b", Contact: "sip:b@h", Q: 1000, CallID: "d", CSeq: 8, FlowBound: true, State: Suspect,
			Flow:         sip.Flow{Transport: sip.TCP, Conn: 7, Remote: netip.MustParseAddrPort("192.0.2.2:40000")},
			RegisteredAt: at, LastSeen: at, Expires: at.Add(time.Second)},
	}
	got, epoch, err := decodeRecord(v1, nil)
	if err != nil || epoch != 0x0123456789abcdef || !reflect.DeepEqual(got, want) {
		t.Errorf("epoch %x, %v\ngot  %+v\nwant %+v", epoch, err, got, want)
	}
}

func TestRecordRefusesWhatItDoesNotKnow(t *testing.T) {
	good := string(appendRecord(nil, 1, sampleBindings()))
	cases := map[string]string{
		"empty":           "",
		"newer version":   "\x04" + good[1:],
		"older version":   "\x00" + good[1:],
		"trailing byte":   good + "x",
		"too many":        good[:recordHeader] + "\xff\xff\x7f",
		"no count":        good[:recordHeader],
		"long varint":     good[:recordHeader] + strings.Repeat("\xff", 20),
		"string too long": good[:recordHeader] + "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	}
	for i := range len(good) {
		cases["cut at "+good[:i]] = good[:i]
	}
	for name, rec := range cases {
		if _, _, err := decodeRecord(rec, nil); !errors.Is(err, ErrRecord) {
			t.Errorf("%.30q: %v", name, err)
		}
	}
	if _, _, err := decodeRecord("\x04"+good[1:], nil); !strings.Contains(err.Error(), "version 4") {
		t.Errorf("the error does not name the version: %v", err)
	}
}

// What decodes encodes to something that decodes the same: written, read,
// written again.
func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, 5, sampleBindings()))
	f.Add(appendRecord(nil, 5, sampleBindings()[:1]))
	f.Fuzz(func(t *testing.T, rec []byte) {
		bindings, epoch, err := decodeRecord(string(rec), nil)
		if err != nil {
			return
		}
		again, epoch2, err := decodeRecord(string(appendRecord(nil, epoch, bindings)), nil)
		if err != nil || epoch != epoch2 || !reflect.DeepEqual(normal(bindings), normal(again)) {
			t.Fatalf("%v\n%+v\n%+v", err, bindings, again)
		}
	})
}

// normal removes what has two forms of the same meaning.
func normal(bindings []Binding) []Binding {
	for i := range bindings {
		b := &bindings[i]
		b.RegisteredAt, b.LastSeen, b.Expires = b.RegisteredAt.UTC(), b.LastSeen.UTC(), b.Expires.UTC()
	}
	return bindings
}
