package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"onhook/client"
)

// trunkCommand manages the ways to the telephone network.
type trunkCommand struct {
	List   trunkList   `cmd:"" help:"List trunks: their registrations, and the calls they carry."`
	Get    trunkGet    `cmd:"" help:"Show one trunk."`
	Create trunkCreate `cmd:"" help:"Create a trunk."`
	Update trunkUpdate `cmd:"" help:"Change a trunk."`
	Delete trunkDelete `cmd:"" help:"Delete a trunk; calls that it carries go on."`
}

type trunkList struct{ admin }

// Run is onhook trunk list.
func (c *trunkList) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		return list(m, c.JSON, api.Trunks(ctx), 0, "NAME REGISTRATION CALLS PREFIXES URI ERROR", func(t client.Trunk) []string {
			prefixes := cmp.Or(strings.Join(t.Prefixes, ","), "all")
			return []string{t.Name, t.Registration.State, callsOf(t), prefixes, t.URI, orDash(t.Registration.Error)}
		})
	})
}

// callsOf is how many calls a trunk carries, of how many.
func callsOf(t client.Trunk) string {
	if t.MaxCalls > 0 {
		return fmt.Sprintf("%d/%d", t.Calls, t.MaxCalls)
	}
	return strconv.Itoa(t.Calls)
}

type trunkGet struct {
	admin
	Name string `arg:"" help:"The trunk's name."`
}

// Run is onhook trunk get.
func (c *trunkGet) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		t, err := api.Trunk(ctx, c.Name)
		if err != nil {
			return err
		}
		if c.JSON {
			return m.writeJSON(t)
		}
		_, err = fmt.Fprintf(m.Stdout, "name          %s\nuri           %s\ntransport     %s\nusername      %s\nregistration  %s\ncalls         %s\nprefixes      %s\n"+
			"numbers       strip %d, prepend %q\ncaller_id     %s, in %s\npriority      %d, weight %d\nnetworks      %s\ntls_name      %s\nread_only     %t\n",
			t.Name, t.URI, orDash(t.Transport), orDash(t.Username), registrationOf(t.Registration), callsOf(t), strings.Join(t.Prefixes, " "),
			t.Strip, t.Prepend, orDash(t.CallerID), t.CallerIDIn, t.Priority, t.Weight, strings.Join(t.Networks, " "), orDash(t.TLSName), t.ReadOnly)
		return err
	})
}

// registrationOf tells how a registration stands, in words.
func registrationOf(r client.TrunkRegistration) string {
	switch r.State {
	case "registered":
		return fmt.Sprintf("registered at %s until %s", orDash(r.Address), when(r.Until))
	case "failed":
		return fmt.Sprintf("failed, again at %s: %s", when(r.Until), orDash(r.Error))
	}
	return r.State
}

// trunkFields are what both create and update take.
type trunkFields struct {
	Transport       *string   `enum:"udp,tcp,tls" help:"udp, tcp or tls; absent: as the URI and DNS say."`
	Username        *string   `help:"With which its challenges are answered; empty: not at all."`
	PasswordStdin   bool      `help:"Read the password from standard input."`
	Register        *bool     `negatable:"" help:"Log in there."`
	RegisterExpires *int      `placeholder:"SECONDS" help:"How long a registration is asked for."`
	Prefix          *[]string `placeholder:"+49,…" help:"Beginnings of the numbers it takes; empty: every number."`
	Strip           *int      `placeholder:"N" help:"Characters taken off the front of a number, the + included."`
	Prepend         *string   `help:"Put there instead."`
	CallerID        *string   `placeholder:"NUMBER" help:"Number of callers who have none of their own."`
	CallerIDIn      *string   `enum:"asserted,from" help:"asserted: P-Asserted-Identity alone, from: From too."`
	Priority        *int      `placeholder:"N" help:"The lowest first."`
	Weight          *int      `placeholder:"N" help:"Share among those of one priority."`
	MaxCalls        *int      `placeholder:"N" help:"At the same time, both ways together; 0: any number."`
	Network         *[]string `placeholder:"192.0.2.0/28,…" help:"Addresses whose calls are this trunk's."`
	TLSName         *string   `name:"tls-name" placeholder:"HOST" help:"In the certificate of what comes as this trunk's over TLS; * for any."`
}

func (f *trunkFields) patch(m *Main) (client.TrunkPatch, error) {
	p := client.TrunkPatch{Transport: f.Transport, Username: f.Username, Register: f.Register, RegisterExpires: f.RegisterExpires, Prefixes: f.Prefix,
		Strip: f.Strip, Prepend: f.Prepend, CallerID: f.CallerID, CallerIDIn: f.CallerIDIn, Priority: f.Priority, Weight: f.Weight,
		MaxCalls: f.MaxCalls, Networks: f.Network, TLSName: f.TLSName}
	if f.PasswordStdin {
		password, err := readSecret(m.Stdin)
		if err != nil {
			return p, err
		}
		p.Password = &password
	}
	return p, nil
}

type trunkCreate struct {
	admin
	Name string `arg:"" help:"1 to 64 letters, digits, dots, dashes and underscores."`
	URI  string `arg:"" help:"Where it is: sip:host or sips:host, with a port if need be."`
	trunkFields
}

// Run is onhook trunk create.
func (c *trunkCreate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		spec, err := c.patch(m)
		if err != nil {
			return err
		}
		spec.Name, spec.URI = &c.Name, &c.URI
		t, err := api.CreateTrunk(ctx, spec)
		switch {
		case err != nil:
			return err
		case c.JSON:
			return m.writeJSON(t)
		}
		return m.done(false, "created", t.Name)
	})
}

type trunkUpdate struct {
	admin
	Name string  `arg:"" help:"The trunk's name."`
	URI  *string `help:"Where it is: sip:host or sips:host, with a port if need be."`
	trunkFields
}

// Run is onhook trunk update.
func (c *trunkUpdate) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		patch, err := c.patch(m)
		if err != nil {
			return err
		}
		if patch.URI = c.URI; patch == (client.TrunkPatch{}) {
			return errors.New("nothing to change: name a field, as onhook trunk update --help lists them")
		}
		if err := api.UpdateTrunk(ctx, c.Name, patch); err != nil {
			return err
		}
		return m.done(c.JSON, "changed", c.Name)
	})
}

type trunkDelete struct {
	admin
	Name string `arg:"" help:"The trunk's name."`
}

// Run is onhook trunk delete.
func (c *trunkDelete) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		if err := api.DeleteTrunk(ctx, c.Name); err != nil {
			return err
		}
		return m.done(c.JSON, "deleted", c.Name)
	})
}
