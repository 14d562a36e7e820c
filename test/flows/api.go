package flows

import (
	"errors"
	"fmt"

	"onhook/test/devserver"
)

// ServerAPI is the API of a running server.
type ServerAPI struct{ *devserver.Server }

// CreateEndpoint makes an endpoint with a username of its own.
func (a ServerAPI) CreateEndpoint(prefix string, fields map[string]any) (devserver.Endpoint, error) {
	body := map[string]any{"username": devserver.Name(prefix), "password": devserver.Password}
	for k, v := range fields {
		body[k] = v
	}
	var e devserver.Endpoint
	status, err := a.API("POST", "Endpoint/", body, &e)
	if err == nil && status != 201 {
		err = fmt.Errorf("status %d", status)
	}
	e.Password = devserver.Password
	return e, err
}

// ChangeEndpoint changes fields of an endpoint.
func (a ServerAPI) ChangeEndpoint(id string, fields map[string]any) error {
	status, err := a.API("POST", "Endpoint/"+id+"/", fields, nil)
	if err == nil && status != 202 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// SetLimits changes the limits of what an endpoint may place.
func (a ServerAPI) SetLimits(id string, limits map[string]any) error {
	status, err := a.API("POST", "Endpoint/"+id+"/Limits/", limits, nil)
	if err == nil && status != 202 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// CanCall asks what a call would come to.
func (a ServerAPI) CanCall(id, to string, media []string) (map[string]any, error) {
	answer := map[string]any{}
	status, err := a.API("POST", "Endpoint/"+id+"/CanCall/", map[string]any{"to": to, "media": media}, &answer)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	return answer, err
}

// EndRegistrations ends all registrations of an endpoint.
func (a ServerAPI) EndRegistrations(id string) error {
	status, err := a.API("DELETE", "Endpoint/"+id+"/Registration/", nil, nil)
	if err == nil && status != 204 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// Registered returns an endpoint's sip_registered.
func (a ServerAPI) Registered(id string) (string, error) {
	var e devserver.Endpoint
	_, err := a.API("GET", "Endpoint/"+id+"/", nil, &e)
	return e.Registered, err
}

// CreateApplication makes an application with a name of its own.
func (a ServerAPI) CreateApplication(name string) (id string, err error) {
	var made struct {
		ID string `json:"app_id"`
	}
	body := map[string]any{"app_name": devserver.Name(name), "answer_url": "https://example.com/answer"}
	_, err = a.API("POST", "Application/", body, &made)
	return made.ID, err
}

// LastRecord returns the newest record of a call that an endpoint took part in.
func (a ServerAPI) LastRecord(id string) (map[string]any, error) {
	var page struct{ Data []map[string]any }
	_, err := a.API("GET", "cdr?endpoint_id="+id, nil, &page)
	if err == nil && len(page.Data) == 0 {
		err = errors.New("there is no record")
	}
	if err != nil {
		return nil, err
	}
	return page.Data[0], nil
}

// LastAttempt returns the newest attempt in an endpoint's trace.
func (a ServerAPI) LastAttempt(id string) (map[string]any, error) {
	var trace struct{ Attempts []map[string]any }
	_, err := a.API("GET", "Endpoint/"+id+"/Trace/", nil, &trace)
	if err == nil && len(trace.Attempts) == 0 {
		err = errors.New("there is no attempt")
	}
	if err != nil {
		return nil, err
	}
	return trace.Attempts[0], nil
}

// EndCalls ends the calls that an endpoint has at present.
func (a ServerAPI) EndCalls(id string) error {
	var live struct{ Calls []string }
	if _, err := a.API("GET", "Call/?status=live", nil, &live); err != nil {
		return err
	}
	ended := 0
	for _, call := range live.Calls {
		var c struct {
			Endpoint string `json:"endpoint_id"`
		}
		// Calls of other flows come and go meanwhile.
		if status, err := a.API("GET", "Call/"+call+"/?status=live", nil, &c); status == 404 || c.Endpoint != id {
			continue
		} else if err != nil {
			return err
		}
		if _, err := a.API("DELETE", "Call/"+call+"/", nil, nil); err != nil {
			return err
		}
		ended++
	}
	if ended == 0 {
		return errors.New("it has no call")
	}
	return nil
}
