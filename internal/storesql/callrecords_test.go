package storesql

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"onhook/internal/callrecord"
)

// What is written by hand is what encoding/json reads, whatever a phone says.
func TestLegsAreJSON(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	legs := []callrecord.Leg{
		{To: "sip:bob@sip.test", Contact: "sip:bob@192.0.2.1:5060;ob", Start: at, Answer: at, End: at, SIPCode: 200},
		{To: `"Bob\" <sip:b@x>`, Contact: "a\x00\tb\xff\u2028ü", Start: at},
	}
	for n := range len(legs) + 1 {
		want := make([]jsonLeg, n)
		for i, l := range legs[:n] {
			want[i] = jsonLeg{plain(l.To), plain(l.Contact), milli(l.Start), milli(l.Answer), milli(l.End), l.SIPCode}
		}
		got := []jsonLeg{}
		text := appendLegs(nil, legs[:n])
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Every text that inserts rows is short enough to be prepared.
func TestInsertsArePrepared(t *testing.T) {
	for _, i := range []inserts{recordInserts, endpointInserts} {
		for k, text := range i.texts {
			if len(text) > maxStatement {
				t.Errorf("%d rows: %d bytes: %.40s", i.rows[k], len(text), text)
			}
		}
	}
}
