// Command onhook is SIP accounts as an API: a registrar, a call router and a
// REST API in one program. This package reads the command line and wires;
// what the program does is in internal/.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"onhook/internal/config"
	"onhook/internal/server"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command could not do its work
	exitUsage  = 2 // the command line or the configuration is wrong
)

func main() {
	m := Main{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Slacken: server.Slacken}
	os.Exit(m.Run(os.Args[1:]))
}

// Main is the program with its surroundings, so that tests can start it.
type Main struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // nil: those of the process
	Slacken        func() error     // called before a server starts; nil: the process is not ours alone
}

// commands is the command line.
type commands struct {
	Dev      devCommand      `cmd:"" help:"Run everything on loopback, with a demo account and endpoints."`
	Serve    serveCommand    `cmd:"" help:"Run the server from a configuration file."`
	Account  accountCommand  `cmd:"" help:"Create and list accounts, replace their tokens: on the server's own machine."`
	Config   configCommand   `cmd:"" help:"Check a configuration file, or print a complete one."`
	Bindings bindingsCommand `cmd:"" help:"Repair the journal of bindings."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	Endpoint    endpointCommand    `cmd:"" help:"List, create, change, delete, import and watch endpoints of a running server."`
	Application applicationCommand `cmd:"" help:"List, create, change and delete applications."`
	SubAccount  subAccountCommand  `cmd:"" help:"List, create, change and delete sub-accounts."`
	Trunk       trunkCommand       `cmd:"" help:"List, create, change and delete trunks, with the server's admin token."`
	Number      numberCommand      `cmd:"" help:"List, create, change and delete the numbers that trunks bring calls for."`
	Ban         banCommand         `cmd:"" help:"Show and lift the bans for wrong passwords, with the server's admin token."`
	Call        callCommand        `cmd:"" help:"List and end calls in progress."`
	CDR         recordCommand      `cmd:"" name:"cdr" help:"Show what became of calls."`
	Webhook     webhookCommand     `cmd:"" help:"Have events delivered to servers of yours."`
	Events      eventsCommand      `cmd:"" help:"Follow an account's events."`
}

// Run executes one command line and returns the exit code.
func (m *Main) Run(args []string) int {
	helped := false // --help has printed; kong goes on parsing when Exit returns
	parser, err := kong.New(&commands{},
		kong.Name("onhook"),
		kong.Description("SIP accounts as an API."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(m.Stdout, m.Stderr),
		kong.Exit(func(int) { helped = true }),
	)
	if err != nil {
		fmt.Fprintln(m.Stderr, "onhook:", err)
		return exitFailed
	}
	switch { // what people try first
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		args = []string{"version"}
	}
	ctx, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(m.Stderr, "onhook: %v\nonhook --help lists the commands.\n", err)
		return exitUsage
	}
	if err := ctx.Run(m); err != nil {
		fmt.Fprintln(m.Stderr, "onhook:", strings.TrimPrefix(err.Error(), "onhook: ")) // as package client begins
		var invalid *config.Invalid
		if errors.As(err, &invalid) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
