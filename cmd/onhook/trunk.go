package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"onhook/client"
)

// trunkCommand shows the ways to the telephone network.
type trunkCommand struct {
	List trunkList `cmd:"" help:"List trunks: their registrations, and the calls they carry."`
}

type trunkList struct {
	URL        string `env:"ONHOOK_URL" required:"" placeholder:"URL" help:"The server's API, such as https://sip.example.com:5080."`
	AdminToken string `env:"ONHOOK_ADMIN_TOKEN" placeholder:"TOKEN" help:"The server's api.admin_token; better given in the environment, where other users do not see it."`
	JSON       bool   `name:"json" help:"Print JSON as the API gives it."`
}

// Run is onhook trunk list.
func (c *trunkList) Run(m *Main) error {
	if c.AdminToken == "" {
		return errors.New("which administration? Set ONHOOK_ADMIN_TOKEN to the server's api.admin_token")
	}
	api := client.New(c.URL, "", "")
	api.AdminToken, api.Agent = c.AdminToken, "onhook/"+version
	trunks, _, err := api.Trunks(context.Background())
	if err != nil {
		return err
	}
	if c.JSON {
		return m.writeJSON(trunks)
	}
	rows := make([][]string, len(trunks))
	for i, t := range trunks {
		calls := strconv.Itoa(t.Calls)
		if t.MaxCalls > 0 {
			calls = fmt.Sprintf("%d/%d", t.Calls, t.MaxCalls)
		}
		why := ""
		if t.Registration.Error != nil {
			why = *t.Registration.Error
		}
		prefixes := strings.Join(t.Prefixes, ",")
		if prefixes == "" {
			prefixes = "all"
		}
		rows[i] = []string{t.Name, t.Registration.State, calls, prefixes, t.URI, why}
	}
	return m.table("NAME REGISTRATION CALLS PREFIXES URI ERROR", rows)
}
