package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"onhook/client"
)

// trunkCommand shows the ways to the telephone network.
type trunkCommand struct {
	List trunkList `cmd:"" help:"List trunks: their registrations, and the calls they carry."`
}

type trunkList struct{ admin }

// Run is onhook trunk list.
func (c *trunkList) Run(m *Main) error {
	var trunks []client.Trunk
	err := c.use(m, func(ctx context.Context, api *client.Client) (err error) {
		trunks, _, err = api.Trunks(ctx)
		return err
	})
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
