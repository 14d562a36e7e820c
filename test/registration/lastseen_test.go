package registration

import (
	"fmt"
	"testing"
	"time"

	"onhook/test/devserver"
)

// A keepalive on its connection shows that a device is there.
func TestKeepaliveIsSeen(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "tls", "ws", "wss"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := devserver.Shared(t)
			e := s.CreateEndpoint(t, "seen_"+transport, nil)
			p := phone(t, s, transport, e)
			register(t, p, 300, 200)
			err := devserver.Until(30*time.Second, func() error {
				if err := p.SendRaw([]byte("\r\n\r\n")); err != nil {
					return devserver.Final(err)
				}
				var list struct {
					Objects []struct {
						RegisteredAt string `json:"registered_at"`
						LastSeen     string `json:"last_seen"`
					}
				}
				if _, err := s.API("GET", "Endpoint/"+e.ID+"/Registration/", nil, &list); err != nil || len(list.Objects) != 1 {
					return devserver.Final(fmt.Errorf("%+v, %w", list, err))
				}
				if b := list.Objects[0]; b.LastSeen <= b.RegisteredAt { // both in whole seconds
					return fmt.Errorf("last seen %s, registered %s", b.LastSeen, b.RegisteredAt)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
