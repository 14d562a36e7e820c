package main

import (
	"context"

	"onhook/client"
)

type endpointTrace struct {
	remote
	endpointArg
	PCAP bool `name:"pcap" help:"Write a capture for Wireshark and tshark instead of text."`
}

// Run is onhook endpoint trace.
func (c *endpointTrace) Run(m *Main) error {
	format := "text"
	switch {
	case c.PCAP:
		format = "pcap"
	case c.JSON:
		format = "json"
	}
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		id, err := c.find(ctx, api)
		if err != nil {
			return err
		}
		trace, err := api.Trace(ctx, id, format)
		if err == nil {
			_, err = m.Stdout.Write(trace)
		}
		return err
	})
}

type endpointUnregister struct {
	remote
	endpointArg
	BindingID string `arg:"" optional:"" help:"One registration, as onhook endpoint get shows it; all when absent."`
}

// Run is onhook endpoint unregister.
func (c *endpointUnregister) Run(m *Main) error {
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		id, err := c.find(ctx, api)
		switch {
		case err != nil:
			return err
		case c.BindingID == "":
			return api.EndBindings(ctx, id)
		}
		return api.EndBinding(ctx, id, c.BindingID)
	})
}
