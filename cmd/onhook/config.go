package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"onhook/internal/config"
)

type configCommand struct {
	Check   configCheck   `cmd:"" help:"Check a file; every problem is printed with its line and column."`
	Example configExample `cmd:"" help:"Print a complete file with all keys, their defaults and what they mean."`
}

type configCheck struct {
	File string `arg:"" help:"Configuration file."`
}

// Run is onhook config check.
func (c *configCheck) Run(m *Main) error {
	if _, err := config.Load(c.File); err != nil {
		return err
	}
	_, err := fmt.Fprintf(m.Stdout, "%s is right\n", c.File)
	return err
}

type configExample struct{}

// Run is onhook config example.
func (c *configExample) Run(m *Main) error {
	_, err := fmt.Fprint(m.Stdout, config.Example())
	return err
}

type versionCommand struct{}

// version is set by the linker in builds from the Makefile.
var version string

// Run is onhook version.
func (c *versionCommand) Run(m *Main) error {
	v := version
	if v == "" {
		v = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			v = info.Main.Version // a tag or a pseudo-version of the commit
		}
	}
	_, err := fmt.Fprintf(m.Stdout, "onhook %s %s %s/%s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
