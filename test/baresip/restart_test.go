package baresip

import (
	"fmt"
	"testing"

	"onhook/test/devserver"
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
