package flows

import (
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
