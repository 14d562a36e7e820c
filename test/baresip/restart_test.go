package baresip

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onhook/test/devserver"
	"onhook/test/flows"
)

// The server is killed in the middle of a call and started again: the phones
// talk on, one of them hangs up, the other hears it, and the call's record is
// whole.
func TestCallOutlivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := devserver.StartIn(t, dir)
	alice, _ := register(t, s, "ba_kill_a", "udp", "")
	bob, _ := register(t, s, "ba_kill_b", "udp", ";answermode=auto")
	dial(t, alice, bob)
	if err := devserver.Until(callLimit, func() error { // it is in the journal a moment after the answer
		if sent, received := alice.Packets(t); sent < audioPackets || received < audioPackets {
			return fmt.Errorf("%d RTP packets sent, %d received", sent, received)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s = devserver.StartIn(t, dir)

	var live struct{ Calls []string }
	if _, err := s.API("GET", "Call/?status=live", nil, &live); err != nil || len(live.Calls) != 1 {
		t.Fatalf("live calls after the restart: %v, %v", live.Calls, err)
	}
	alice.Command(t, "hangup", "")
	bob.WaitEvent(t, "CALL_CLOSED", callLimit)
	var record struct {
		Status string `json:"call_status"`
		Source string `json:"hangup_source"`
		Codec  string `json:"codec"`
	}
	err := devserver.Until(callLimit, func() error {
		status, err := s.API("GET", "cdr/"+live.Calls[0], nil, &record)
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	if err != nil || record.Status != "completed" || record.Source != "Caller" || record.Codec == "" {
		t.Errorf("record: %+v, %v", record, err)
	}
}

// The server is killed while a phone rings, and started again: the caller hears
// that the call is over, the other phone stops ringing, at once or, where its
// connection was lost, when it answers; and there is a record.
func TestRingingCallIsKilled(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := devserver.StartIn(t, dir)
			alice, a := register(t, s, "ba_ring_a", "udp", "")
			bob, b := register(t, s, "ba_ring_b", transport, "")
			call(t, alice, bob)
			alice.WaitEvent(t, "CALL_RINGING", callLimit)
			bob.WaitEvent(t, "CALL_INCOMING", callLimit)
			if err := devserver.Until(callLimit, func() error { return holds(dir, "server.restarted") }); err != nil { // what would be said
				t.Fatal(err)
			}
			s.Kill()
			s = devserver.StartIn(t, dir)
			if closed := alice.WaitEvent(t, "CALL_CLOSED", callLimit); !strings.Contains(closed.Param, "480") {
				t.Errorf("the call ended with %q, want 480", closed.Param)
			}
			if transport == "tcp" {
				s.WaitRegisteredWithin(t, b.ID, true, callLimit)
				bob.Command(t, "accept", "")
			}
			bob.WaitEvent(t, "CALL_CLOSED", callLimit)
			recorded(t, s, a.ID)
		})
	}
}

// recorded waits for the record of a call that rang at a restart.
func recorded(t *testing.T, s *devserver.Server, id string) {
	t.Helper()
	var record map[string]any
	err := devserver.Until(callLimit, func() (err error) {
		record, err = flows.ServerAPI{Server: s}.LastRecord(id)
		return err
	})
	if err != nil || record["call_status"] != "failed" || record["reason"] != "server.restarted" {
		t.Errorf("record: %v, %v", record, err)
	}
}

// holds looks for a text in the files of a folder.
func holds(dir, text string) error {
	found := fmt.Errorf("no file in %s holds %q", dir, text)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) {
			found = nil
		}
		return err
	})
	return errors.Join(found, err)
}
