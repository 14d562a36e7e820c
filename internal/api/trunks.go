package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"onhook/internal/account"
	"onhook/internal/trunk"
)

// Trunks is what server administration asks of the trunks and numbers;
// *trunk.Service is one.
type Trunks interface {
	Lines() []*trunk.Line
	Line(name string) *trunk.Line // nil: there is none
	Create(ctx context.Context, spec trunk.Spec) error
	Update(ctx context.Context, name string, spec trunk.Spec) error
	Delete(ctx context.Context, name string) error

	Numbers() []trunk.Number
	Number(number string) (trunk.Number, bool)
	CreateNumber(ctx context.Context, spec trunk.NumberSpec) error
	UpdateNumber(ctx context.Context, number string, spec trunk.NumberSpec) error
	DeleteNumber(ctx context.Context, number string) error
}

type trunkJSON struct {
	APIID           string                `json:"api_id,omitempty"` // a list's envelope has its own
	Name            string                `json:"name"`
	URI             string                `json:"uri"`
	Transport       *string               `json:"transport"`
	Username        *string               `json:"username"`
	Register        bool                  `json:"register"`
	RegisterExpires int                   `json:"register_expires"`
	Prefixes        []string              `json:"prefixes"`
	Strip           int                   `json:"strip"`
	Prepend         string                `json:"prepend"`
	CallerID        *string               `json:"caller_id"`
	CallerIDIn      string                `json:"caller_id_in"`
	Priority        int                   `json:"priority"`
	Weight          int                   `json:"weight"`
	MaxCalls        int                   `json:"max_calls"`
	Networks        []string              `json:"networks"`
	TLSName         *string               `json:"tls_name"`
	ReadOnly        bool                  `json:"read_only"`
	Calls           int                   `json:"calls"`
	Registration    trunkRegistrationJSON `json:"registration"`
}

type trunkRegistrationJSON struct {
	State   string  `json:"state"`
	Until   *string `json:"until"`
	Address *string `json:"address"`
	Error   *string `json:"error"`
}

type numberJSON struct {
	APIID       string  `json:"api_id,omitempty"`
	Number      string  `json:"number"`
	Endpoint    *string `json:"endpoint"`
	Application *string `json:"application"`
	ReadOnly    bool    `json:"read_only"`
}

// newTrunkJSON shows a trunk. Its password is not shown.
func newTrunkJSON(l *trunk.Line) trunkJSON {
	out := trunkJSON{Name: l.Name, URI: l.URI, Transport: orNull(l.Transport), Username: orNull(l.Username),
		Register: l.Register, RegisterExpires: int(cmp.Or(l.RegisterExpires, trunk.DefaultExpires) / time.Second),
		Prefixes: orEmpty(l.Prefixes), Strip: l.Strip, Prepend: l.Prepend, CallerID: orNull(l.CallerID), CallerIDIn: cmp.Or(l.CallerIDIn, trunk.AssertedIdentity),
		Priority: l.Priority, Weight: l.Weight, MaxCalls: l.MaxCalls, Networks: make([]string, len(l.Networks)), TLSName: orNull(l.TLSName),
		ReadOnly: l.Fixed, Calls: l.Calls()}
	for i, n := range l.Networks {
		out.Networks[i] = n.String()
	}
	r := l.Registration()
	out.Registration = trunkRegistrationJSON{State: r.State, Error: orNull(r.Error)}
	if !r.Until.IsZero() {
		out.Registration.Until = orNull(timestamp(r.Until))
	}
	if r.Address != (netip.AddrPort{}) {
		out.Registration.Address = orNull(r.Address.String())
	}
	return out
}

func newNumberJSON(n trunk.Number) numberJSON {
	return numberJSON{Number: n.Number, Endpoint: orNull(n.Endpoint), Application: orNull(n.Application), ReadOnly: n.Fixed}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// trunkSpec reads the fields of a creation or an update, and passes over those
// that tell how a trunk is doing: clients send back what they read.
func trunkSpec(f *fields) trunk.Spec {
	f.pass("api_id", "read_only", "calls", "registration")
	s := trunk.Spec{Name: f.text("name"), URI: f.text("uri"), Transport: f.textOrNull("transport"), Username: f.textOrNull("username"),
		Password: f.textOrNull("password"), Register: f.boolean("register"), RegisterExpires: f.integer("register_expires"),
		Prefixes: f.texts("prefixes"), Strip: f.integer("strip"), Prepend: f.textOrNull("prepend"), CallerID: f.textOrNull("caller_id"),
		CallerIDIn: f.textOrNull("caller_id_in"), Priority: f.integer("priority"), Weight: f.integer("weight"), MaxCalls: f.integer("max_calls"),
		Networks: f.texts("networks"), TLSName: f.textOrNull("tls_name")}
	s.Malformed = f.rest()
	return s
}

func numberSpec(f *fields) trunk.NumberSpec {
	f.pass("api_id", "read_only")
	s := trunk.NumberSpec{Number: f.text("number"), Endpoint: f.textOrNull("endpoint")}
	if _, there := f.values["application"]; there {
		s.Application, _ = f.application()
	}
	s.Malformed = f.rest()
	return s
}

// ofTrunk gives the errors of trunks and numbers their answers; what is "trunk
// NAME" or "number NUMBER".
func ofTrunk(what string, body errorJSON, err error) error {
	status := http.StatusConflict
	switch {
	case errors.Is(err, trunk.ErrNotFound):
		status = http.StatusNotFound
		body.Error = "there is no " + what
	case errors.Is(err, trunk.ErrTaken):
		body.Error = "there is a " + what + " already"
	case errors.Is(err, trunk.ErrFixed):
		body.Error = what + " " + trunk.ErrFixed.Error()
	case errors.Is(err, trunk.ErrFull):
		body.Error = trunk.ErrFull.Error()
	default:
		return err
	}
	return &refusal{status: status, body: body}
}

func trunkError(name string, err error) error {
	return ofTrunk("trunk "+name, errorJSON{Trunk: name}, err)
}

func numberError(number string, err error) error {
	return ofTrunk("number "+number, errorJSON{Number: number}, err)
}

// adminPage answers with one page of a list of server administration.
func adminPage[T, J any](r *request, path string, all []T, show func(T) J) (reply, error) {
	q := newQuery(r)
	limit, offset := q.page()
	if wrong := q.rest(); wrong != nil {
		return reply{}, &account.Invalid{Fields: wrong}
	}
	page := onPage(all, limit, offset)
	out := listJSON{APIID: r.id, Meta: r.metaOf(path, limit, offset, len(all)), Objects: make([]any, len(page))}
	for i, one := range page {
		out.Objects[i] = show(one)
	}
	return reply{status: http.StatusOK, body: out}, nil
}

// listTrunks answers GET on /v1/admin/trunks/.
func (h *handler) listTrunks(r *request) (reply, error) {
	return adminPage(r, trunksTemplate, h.Trunks.Lines(), newTrunkJSON)
}

// createTrunk answers POST on /v1/admin/trunks/.
func (h *handler) createTrunk(r *request) (reply, error) {
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	spec := trunkSpec(f)
	if err := h.Trunks.Create(r.Context(), spec); err != nil {
		return reply{}, trunkError(spec.Name.Value, err)
	}
	return h.showTrunk(r, http.StatusCreated, spec.Name.Value)
}

func (h *handler) showTrunk(r *request, status int, name string) (reply, error) {
	l := h.Trunks.Line(name)
	if l == nil {
		return reply{}, trunkError(name, trunk.ErrNotFound)
	}
	out := newTrunkJSON(l)
	out.APIID = r.id
	return reply{status: status, body: out}, nil
}

// retrieveTrunk answers GET on an item.
func (h *handler) retrieveTrunk(r *request) (reply, error) {
	return h.showTrunk(r, http.StatusOK, r.params["name"])
}

// updateTrunk answers POST, PUT and PATCH on an item.
func (h *handler) updateTrunk(r *request) (reply, error) {
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	if err := h.Trunks.Update(r.Context(), r.params["name"], trunkSpec(f)); err != nil {
		return reply{}, trunkError(r.params["name"], err)
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "changed"}}, nil
}

// deleteTrunk answers DELETE on an item.
func (h *handler) deleteTrunk(r *request) (reply, error) {
	if err := h.Trunks.Delete(r.Context(), r.params["name"]); err != nil {
		return reply{}, trunkError(r.params["name"], err)
	}
	return reply{status: http.StatusNoContent}, nil
}

// listNumbers answers GET on /v1/admin/numbers/.
func (h *handler) listNumbers(r *request) (reply, error) {
	return adminPage(r, numbersTemplate, h.Trunks.Numbers(), newNumberJSON)
}

// createNumber answers POST on /v1/admin/numbers/.
func (h *handler) createNumber(r *request) (reply, error) {
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	spec := numberSpec(f)
	if err := h.Trunks.CreateNumber(r.Context(), spec); err != nil {
		return reply{}, numberError(spec.Number.Value, err)
	}
	return h.showNumber(r, http.StatusCreated, spec.Number.Value)
}

func (h *handler) showNumber(r *request, status int, number string) (reply, error) {
	n, ok := h.Trunks.Number(number)
	if !ok {
		return reply{}, numberError(number, trunk.ErrNotFound)
	}
	out := newNumberJSON(n)
	out.APIID = r.id
	return reply{status: status, body: out}, nil
}

// retrieveNumber answers GET on an item.
func (h *handler) retrieveNumber(r *request) (reply, error) {
	return h.showNumber(r, http.StatusOK, r.params["number"])
}

// updateNumber answers POST, PUT and PATCH on an item.
func (h *handler) updateNumber(r *request) (reply, error) {
	f, err := h.readFields(r)
	if err != nil {
		return reply{}, err
	}
	if err := h.Trunks.UpdateNumber(r.Context(), r.params["number"], numberSpec(f)); err != nil {
		return reply{}, numberError(r.params["number"], err)
	}
	return reply{status: http.StatusAccepted, body: messageJSON{APIID: r.id, Message: "changed"}}, nil
}

// deleteNumber answers DELETE on an item.
func (h *handler) deleteNumber(r *request) (reply, error) {
	if err := h.Trunks.DeleteNumber(r.Context(), r.params["number"]); err != nil {
		return reply{}, numberError(r.params["number"], err)
	}
	return reply{status: http.StatusNoContent}, nil
}
