package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"onhook/client"
)

// place is where the API of a running server is.
type place struct {
	URL    string `env:"ONHOOK_URL" placeholder:"URL" group:"Server and account:" help:"The server's API, such as https://sip.example.com:5080."`
	CAFile string `env:"ONHOOK_CA_FILE" placeholder:"FILE" group:"Server and account:" help:"Certificates (PEM) that the API's may be signed with, beside the system's."`
	Dir    string `placeholder:"DIR" group:"Server and account:" help:"The folder of a running onhook dev, instead of URL and keys. Default without a URL: ./.onhook."`
	JSON   bool   `name:"json" help:"Print JSON as the API gives it."`
}

// remote is what the commands need that act for an account.
type remote struct {
	place
	AuthID    string `env:"ONHOOK_AUTH_ID" placeholder:"ID" group:"Server and account:" help:"The account: MA_… or SA_…."`
	AuthToken string `env:"ONHOOK_AUTH_TOKEN" placeholder:"TOKEN" group:"Server and account:" help:"Its token; better given in the environment, where other users do not see it."`
	Account   string `placeholder:"SA_ID" group:"Server and account:" help:"Act on this sub-account of the account."`
}

// admin is what the commands of server administration need.
type admin struct {
	place
	AdminToken string `env:"ONHOOK_ADMIN_TOKEN" placeholder:"TOKEN" group:"Server and account:" help:"The server's api.admin_token; better given in the environment, where other users do not see it."`
}

// devDir is where onhook dev keeps its state unless told otherwise.
const devDir = ".onhook"

// use calls f with a client, until it is done or a signal comes.
func (r *remote) use(m *Main, f func(context.Context, *client.Client) error) error {
	c, err := r.find("ONHOOK_URL, ONHOOK_AUTH_ID and ONHOOK_AUTH_TOKEN")
	if err != nil {
		return err
	}
	if c.AuthID == "" {
		c.AuthID, c.AuthToken = r.AuthID, r.AuthToken
	}
	if c.AuthID == "" || c.AuthToken == "" {
		return errors.New("which account? Set ONHOOK_AUTH_ID and ONHOOK_AUTH_TOKEN")
	}
	c.Account = r.Account
	return m.interruptible(func(ctx context.Context) error { return r.explained(f(ctx, c), c) })
}

// explained says in the terms of the command line why an account is refused.
func (r *remote) explained(err error, c *client.Client) error {
	var refusal *client.Error
	switch {
	case !errors.As(err, &refusal):
	case refusal.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w: %s does not know %s with this token, or has it disabled", err, c.URL, c.AuthID)
	case refusal.Message == "not found" && r.Account != "":
		return fmt.Errorf("%w: is %s a sub-account of %s?", err, r.Account, c.AuthID)
	}
	return err
}

func (a *admin) use(m *Main, f func(context.Context, *client.Client) error) error {
	c, err := a.find("ONHOOK_URL and ONHOOK_ADMIN_TOKEN")
	if err != nil {
		return err
	}
	if c.AdminToken == "" {
		c.AdminToken = a.AdminToken
	}
	if c.AdminToken == "" {
		return errors.New("which administration? Set ONHOOK_ADMIN_TOKEN to the server's api.admin_token")
	}
	return m.interruptible(func(ctx context.Context) error { return f(ctx, c) })
}

// interruptible calls f until it is done or a signal comes. Being interrupted is
// no failure.
func (m *Main) interruptible(f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := m.Signals
	if signals == nil {
		all := make(chan os.Signal, 1)
		signal.Notify(all, syscall.SIGTERM, syscall.SIGINT)
		defer signal.Stop(all)
		signals = all
	}
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return unreachable(err)
	}
	return nil
}

// find returns a client for the server, which has the keys that a dev folder
// tells. variables are those to set instead.
func (p *place) find(variables string) (*client.Client, error) {
	c := client.New(p.URL, "", "")
	switch {
	case p.Dir != "" || p.URL == "":
		info, err := readDev(cmp.Or(p.Dir, devDir))
		if errors.Is(err, os.ErrNotExist) && p.Dir == "" {
			return nil, fmt.Errorf("which server? Set %s, or name the folder of a running onhook dev with --dir", variables)
		}
		if err != nil {
			return nil, err
		}
		c = client.New(info.APIURL, info.AuthID, info.AuthToken)
		c.AdminToken = info.AdminToken
	case !strings.HasPrefix(p.URL, "http://") && !strings.HasPrefix(p.URL, "https://"):
		return nil, fmt.Errorf("%s is no URL of a server: it begins with http:// or https://", p.URL)
	}
	c.Agent = "onhook/" + version
	if p.CAFile != "" {
		transport, err := trusting(p.CAFile)
		if err != nil {
			return nil, err
		}
		c.HTTP = &http.Client{Transport: transport}
	}
	return c, nil
}

// unreachable says in plain words why a server could not be asked.
func unreachable(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	server, _ := url.Parse(failed.URL) // it has been asked
	where := server.Scheme + "://" + server.Host
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is the server running there?", where)
	case errors.As(err, &unknown):
		return fmt.Errorf("%s shows a certificate of an authority that is not known here: name the authority's file with --ca-file", where)
	case strings.Contains(failed.Err.Error(), "HTTP response to HTTPS"):
		return fmt.Errorf("%s does not speak TLS: write http://%s", where, server.Host)
	}
	return fmt.Errorf("%s: %w", where, failed.Err)
}

func trusting(file string) (http.RoundTripper, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return transport, nil
}

type devFile struct {
	APIURL    string `json:"api_url"`
	AuthID    string `json:"auth_id"`
	AuthToken string `json:"auth_token"`

	AdminToken string `json:"admin_token"`
}

// readDev reads the dev.json that a running onhook dev keeps in its folder.
func readDev(dir string) (info devFile, err error) {
	path := filepath.Join(dir, "dev.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return info, fmt.Errorf("%w (is onhook dev running there?)", err)
	}
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	if err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

// writeJSON prints one value, indented.
func (m *Main) writeJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.Stdout, "%s\n", text)
	return err
}

// list prints what a list yields, up to limit of it, 0 for all: as JSON or as the
// rows of a table.
func list[T any](m *Main, asJSON bool, from iter.Seq2[T, error], limit int, head string, row func(T) []string) error {
	all, rows := []T{}, [][]string{}
	for one, err := range from {
		if err != nil {
			return err
		}
		all, rows = append(all, one), append(rows, row(one))
		if len(all) == limit {
			break
		}
	}
	if asJSON {
		return m.writeJSON(all)
	}
	return m.table(head, rows)
}

// table prints rows in columns.
func (m *Main) table(head string, rows [][]string) error {
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " ", "\t"))
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// secret reads a password from standard input's first line, so that it stands
// in no list of processes and no history.
func readSecret(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

func orDash(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return *s
}

func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
