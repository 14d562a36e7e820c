package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"onhook/client"
)

// endpointCommand manages SIP accounts through the API of a running server.
type endpointCommand struct {
	List       endpointList       `cmd:"" help:"List endpoints and where they are registered."`
	Get        endpointGet        `cmd:"" help:"Show one endpoint and its registrations."`
	Create     endpointCreate     `cmd:"" help:"Create an endpoint."`
	Update     endpointUpdate     `cmd:"" help:"Change an endpoint."`
	Delete     endpointDelete     `cmd:"" help:"Delete endpoints."`
	Import     endpointImport     `cmd:"" help:"Create the endpoints of a CSV file, all or none."`
	Watch      endpointWatch      `cmd:"" help:"Show registrations as they come and go."`
	CanCall    endpointCanCall    `cmd:"" help:"Tell what would become of a call at this moment."`
	Trace      endpointTrace      `cmd:"" help:"Print the SIP messages of its last attempts to register and to call."`
	Unregister endpointUnregister `cmd:"" help:"End its registrations and close their connections; it may register again."`
}

type endpointList struct {
	remote
	Contains     string `placeholder:"TEXT" help:"Usernames that contain this."`
	StartsWith   string `placeholder:"TEXT" help:"Usernames that start so."`
	Application  string `placeholder:"APP_ID" help:"With this application."`
	Registered   bool   `help:"Registered ones only." xor:"state"`
	Unregistered bool   `help:"Unregistered ones only." xor:"state"`
}

// query is what the flags select.
func (c *endpointList) query() client.EndpointQuery {
	q := client.EndpointQuery{UsernameContains: c.Contains, UsernameStartsWith: c.StartsWith, Application: c.Application}
	if c.Registered || c.Unregistered {
		q.Registered = new(c.Registered)
	}
	return q
}

// Run is onhook endpoint list.
func (c *endpointList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		return list(m, c.JSON, api.Endpoints(ctx, c.query()), 0, endpointHead, endpointRow)
	})
}

const endpointHead = "ENDPOINT_ID USERNAME REGISTERED CONTACT EXPIRES USER_AGENT ALIAS"

func endpointRow(e client.Endpoint) []string {
	registered := "no"
	if e.Registered {
		registered = "yes"
	}
	return []string{e.ID, e.Username, registered, orDash(e.Contact), when(e.Expires), orDash(e.UserAgent), e.Alias}
}

// endpointArg names one endpoint.
type endpointArg struct {
	Endpoint string `arg:"" help:"An endpoint_id or a username."`
}

// find returns the endpoint's id. A name of 15 digits is tried as an id first.
func (a endpointArg) find(ctx context.Context, api *client.Client) (string, error) {
	return findEndpoint(ctx, api, a.Endpoint)
}

func findEndpoint(ctx context.Context, api *client.Client, name string) (string, error) {
	if len(name) == 15 && name[0] >= '1' && name[0] <= '9' {
		e, err := api.Endpoint(ctx, name)
		if err == nil || !client.IsNotFound(err) {
			return e.ID, err
		}
	}
	for e, err := range api.Endpoints(ctx, client.EndpointQuery{Username: name}) {
		return e.ID, err // a username is one endpoint's, but for several SIP domains: then the newest
	}
	return "", fmt.Errorf("there is no endpoint %s", name)
}

type endpointGet struct {
	remote
	endpointArg
}

// Run is onhook endpoint get.
func (c *endpointGet) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		id, err := c.find(ctx, api)
		if err != nil {
			return err
		}
		e, err := api.Endpoint(ctx, id)
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(e)
		}
		bindings, err := api.Bindings(ctx, id)
		if err != nil {
			return err
		}
		return m.showEndpoint(e, bindings)
	})
}

func (m *Main) showEndpoint(e client.Endpoint, b client.Bindings) error {
	application := "-"
	if e.Application != nil {
		application = e.Application.ID + "  " + e.Application.Name
	}
	_, err := fmt.Fprintf(m.Stdout, "endpoint_id   %s\nusername      %s\nalias         %s\nsip_uri       %s\napplication   %s\nsub_account   %s\n"+
		"calls         voice %t, video %t, messages %t\nmay reach     same domain %t, other domains %t, phones %t, applications %t\n"+
		"created       %s\nupdated       %s\nexpires       %s\nregistrations %d of %d\n",
		e.ID, e.Username, e.Alias, e.SIPURI, application, orDash(e.SubAccount), e.AllowVoice, e.AllowVideo, e.AllowMessage,
		e.AllowSameDomain, e.AllowOtherDomains, e.AllowPhones, e.AllowApps, when(&e.CreatedAt), when(&e.UpdatedAt), when(b.ExpiresAt),
		len(b.Objects), b.MaxContacts)
	if err != nil || len(b.Objects) == 0 {
		return err
	}
	rows := make([][]string, len(b.Objects))
	for i, binding := range b.Objects {
		rows[i] = []string{"  " + binding.ID, binding.Transport, binding.Contact, binding.Received, binding.State, when(&binding.Expires), orDash(binding.UserAgent)}
	}
	return m.table("  BINDING_ID TRANSPORT CONTACT RECEIVED STATE EXPIRES USER_AGENT", rows)
}

// endpointFields are what both create and update take.
type endpointFields struct {
	Alias         *string    `help:"A name for people."`
	Application   *string    `placeholder:"APP_ID" help:"The application to attach; empty detaches."`
	AllowVoice    *bool      `negatable:"" help:"Voice calls."`
	AllowVideo    *bool      `negatable:"" help:"Video calls."`
	AllowMessage  *bool      `negatable:"" help:"Messages."`
	MaxContacts   *int       `placeholder:"N" help:"How many devices at once, 1 to 20."`
	ExpiresAt     *time.Time `placeholder:"TIME" help:"When the endpoint deletes itself, as 2030-01-31T12:00:00Z."`
	PasswordStdin bool       `help:"Read the password from standard input."`
}

type endpointCreate struct {
	remote
	Username string `arg:"" help:"1 to 64 letters, digits and underscores."`
	endpointFields
	Domain            string `help:"One of the server's SIP domains; the first when absent."`
	AllowSameDomain   *bool  `negatable:"" help:"Calls to endpoints of the same domain."`
	AllowOtherDomains *bool  `negatable:"" help:"Calls to other domains."`
	AllowPhones       *bool  `negatable:"" help:"Calls to phone numbers."`
	AllowApps         *bool  `negatable:"" help:"Calls to applications."`
}

// Run is onhook endpoint create. Without a password it makes one and prints it.
func (c *endpointCreate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		password := rand.Text()
		if c.PasswordStdin {
			var err error
			if password, err = readSecret(m.Stdin); err != nil {
				return err
			}
		}
		spec := client.EndpointSpec{Username: c.Username, Password: password, Domain: c.Domain,
			AllowVoice: c.AllowVoice, AllowVideo: c.AllowVideo, AllowMessage: c.AllowMessage, AllowSameDomain: c.AllowSameDomain,
			AllowOtherDomains: c.AllowOtherDomains, AllowPhones: c.AllowPhones, AllowApps: c.AllowApps, ExpiresAt: c.ExpiresAt}
		if c.Alias != nil {
			spec.Alias = *c.Alias
		}
		if c.Application != nil {
			spec.Application = *c.Application
		}
		if c.MaxContacts != nil {
			spec.MaxContacts = *c.MaxContacts
		}
		e, err := api.CreateEndpoint(ctx, spec)
		if err != nil {
			return err
		}
		return m.printCreated(e, password, c)
	})
}

func (m *Main) printCreated(e client.EndpointCreated, password string, c *endpointCreate) error {
	if c.JSON {
		out := struct {
			client.EndpointCreated
			Password string `json:"password,omitempty"` // only one that was made here
		}{EndpointCreated: e}
		if !c.PasswordStdin {
			out.Password = password
		}
		return m.writeJSON(out)
	}
	_, err := fmt.Fprintf(m.Stdout, "endpoint_id  %s\nusername     %s\nsip_uri      %s\n", e.ID, e.Username, e.SIPURI)
	if err == nil && !c.PasswordStdin {
		_, err = fmt.Fprintf(m.Stdout, "password     %s\nThis password is shown once: keep it.\n", password)
	}
	return err
}

type endpointUpdate struct {
	remote
	endpointArg
	endpointFields
	PasswordOverlap *int `placeholder:"SECONDS" help:"How long the old password still works beside the new one."`
}

// Run is onhook endpoint update.
func (c *endpointUpdate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		patch := client.EndpointPatch{Alias: c.Alias, Application: c.Application, AllowVoice: c.AllowVoice, AllowVideo: c.AllowVideo,
			AllowMessage: c.AllowMessage, MaxContacts: c.MaxContacts, ExpiresAt: c.ExpiresAt, PasswordOverlap: c.PasswordOverlap}
		if c.PasswordStdin {
			password, err := readSecret(m.Stdin)
			if err != nil {
				return err
			}
			patch.Password = &password
		}
		if patch == (client.EndpointPatch{}) {
			return errors.New("nothing to change: name a field, as onhook endpoint update --help lists them")
		}
		id, err := c.find(ctx, api)
		if err != nil {
			return err
		}
		if err := api.UpdateEndpoint(ctx, id, patch); err != nil {
			return err
		}
		return m.done(c.JSON, "changed", id)
	})
}

// done says that a thing is done to something.
func (m *Main) done(asJSON bool, what, id string) error {
	if asJSON {
		return m.writeJSON(map[string]string{"message": what, "id": id})
	}
	_, err := io.WriteString(m.Stdout, what+" "+id+"\n")
	return err
}

type endpointDelete struct {
	remote
	Endpoints []string `arg:"" help:"endpoint_ids or usernames."`
}

// Run is onhook endpoint delete. It stops at the first that cannot be deleted.
func (c *endpointDelete) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		for _, name := range c.Endpoints {
			id, err := findEndpoint(ctx, api, name)
			if err != nil {
				return err
			}
			if err := api.DeleteEndpoint(ctx, id); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := m.done(c.JSON, "deleted", id); err != nil {
				return err
			}
		}
		return nil
	})
}
