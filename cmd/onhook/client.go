package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"onhook/client"
)

// remote is how the commands that use the API of a running server find it.
type remote struct {
	URL       string `env:"ONHOOK_URL" placeholder:"URL" help:"The server's API, such as https://sip.example.com:5080."`
	AuthID    string `env:"ONHOOK_AUTH_ID" placeholder:"ID" help:"The account: MA_… or SA_…."`
	AuthToken string `env:"ONHOOK_AUTH_TOKEN" placeholder:"TOKEN" help:"Its token; better given in the environment, where other users do not see it."`
	CAFile    string `env:"ONHOOK_CA_FILE" placeholder:"FILE" help:"Certificates (PEM) that the API's may be signed with, beside the system's."`
	Dir       string `placeholder:"DIR" help:"The folder of a running onhook dev, instead of all that. Default without a URL: ./.onhook."`
	Account   string `placeholder:"SA_ID" help:"Act on this sub-account of the account."`
	JSON      bool   `name:"json" help:"Print JSON as the API gives it."`
}

// devDir is where onhook dev keeps its state unless told otherwise.
const devDir = ".onhook"

// use calls f with a client, until it is done or a signal comes. Being
// interrupted is no failure.
func (r *remote) use(m *Main, f func(context.Context, *client.Client) error) error {
	c, err := r.client()
	if err != nil {
		return err
	}
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
	if err := f(ctx, c); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (r *remote) client() (*client.Client, error) {
	dir := r.Dir
	if dir == "" && r.URL == "" {
		dir = devDir
	}
	c := client.New(r.URL, r.AuthID, r.AuthToken)
	if dir != "" {
		info, err := readDev(dir)
		if errors.Is(err, os.ErrNotExist) && r.Dir == "" {
			return nil, errors.New("which server? Set ONHOOK_URL, ONHOOK_AUTH_ID and ONHOOK_AUTH_TOKEN, or name the folder of a running onhook dev with --dir")
		}
		if err != nil {
			return nil, err
		}
		c = client.New(info.APIURL, info.AuthID, info.AuthToken)
	}
	if c.AuthID == "" || c.AuthToken == "" {
		return nil, errors.New("which account? Set ONHOOK_AUTH_ID and ONHOOK_AUTH_TOKEN")
	}
	c.Account, c.Agent = r.Account, "onhook/"+version
	if r.CAFile != "" {
		transport, err := trusting(r.CAFile)
		if err != nil {
			return nil, err
		}
		c.HTTP = &http.Client{Transport: transport}
	}
	return c, nil
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
