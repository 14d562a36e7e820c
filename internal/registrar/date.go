package registrar

import (
	"sync/atomic"
	"time"
)

// date is the Date field of the present second: making it takes as long as
// parsing the top half of a REGISTER.
type date struct{ latest atomic.Pointer[dated] }

type dated struct {
	second int64
	field  string
}

func (d *date) field(now time.Time) string {
	second := now.Unix()
	if latest := d.latest.Load(); latest != nil && latest.second == second {
		return latest.field
	}
	fresh := &dated{second, "Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") + "\r\n"}
	d.latest.Store(fresh)
	return fresh.field
}
