package api

import (
	"net/http"
	"time"
)

// Trunk is one way to the telephone network, and how it is doing.
type Trunk struct {
	Name, URI, Transport, Username string
	Prefixes                       []string
	Strip                          int
	Prepend, CallerID, CallerIDIn  string
	Priority, Weight               int
	Calls, MaxCalls                int
	Networks                       []string
	Registration                   TrunkRegistration
}

// TrunkRegistration is how this server's own registration with a trunk stands.
type TrunkRegistration struct {
	State   string    // off, trying, registered or failed
	Until   time.Time // when it ends, or when the next attempt is; zero for neither
	Address string    // with which it is
	Error   string    // of the last attempt
}

// Number is a number of ours and the endpoint it rings.
type Number struct{ Number, Endpoint string }

// Trunks is what server administration asks of the trunks.
type Trunks interface {
	Trunks() []Trunk
	Numbers() []Number
}

type trunkJSON struct {
	Name         string                `json:"name"`
	URI          string                `json:"uri"`
	Transport    *string               `json:"transport"`
	Username     *string               `json:"username"`
	Prefixes     []string              `json:"prefixes"`
	Strip        int                   `json:"strip"`
	Prepend      string                `json:"prepend"`
	CallerID     *string               `json:"caller_id"`
	CallerIDIn   string                `json:"caller_id_in"`
	Priority     int                   `json:"priority"`
	Weight       int                   `json:"weight"`
	Calls        int                   `json:"calls"`
	MaxCalls     int                   `json:"max_calls"`
	Networks     []string              `json:"networks"`
	Registration trunkRegistrationJSON `json:"registration"`
}

type trunkRegistrationJSON struct {
	State   string  `json:"state"`
	Until   *string `json:"until"`
	Address *string `json:"address"`
	Error   *string `json:"error"`
}

type numberJSON struct {
	Number   string `json:"number"`
	Endpoint string `json:"endpoint"`
}

type trunksJSON struct {
	APIID   string       `json:"api_id"`
	Objects []trunkJSON  `json:"objects"`
	Numbers []numberJSON `json:"numbers"`
}

// listTrunks answers GET on /v1/admin/trunks/. Passwords are not shown.
func (h *handler) listTrunks(r *request) (reply, error) {
	out := trunksJSON{APIID: r.id, Objects: []trunkJSON{}, Numbers: []numberJSON{}}
	for _, t := range h.Trunks.Trunks() {
		j := trunkJSON{Name: t.Name, URI: t.URI, Transport: orNull(t.Transport), Username: orNull(t.Username), Prefixes: orEmpty(t.Prefixes),
			Strip: t.Strip, Prepend: t.Prepend, CallerID: orNull(t.CallerID), CallerIDIn: t.CallerIDIn, Priority: t.Priority, Weight: t.Weight,
			Calls: t.Calls, MaxCalls: t.MaxCalls, Networks: orEmpty(t.Networks),
			Registration: trunkRegistrationJSON{State: t.Registration.State, Address: orNull(t.Registration.Address), Error: orNull(t.Registration.Error)}}
		if !t.Registration.Until.IsZero() {
			j.Registration.Until = orNull(timestamp(t.Registration.Until))
		}
		out.Objects = append(out.Objects, j)
	}
	for _, n := range h.Trunks.Numbers() {
		out.Numbers = append(out.Numbers, numberJSON(n))
	}
	return reply{status: http.StatusOK, body: out}, nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
