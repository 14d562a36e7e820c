package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// devInfo is what onhook dev says of itself in dev.json.
type devInfo struct {
	APIURL    string            `json:"api_url"`
	AuthID    string            `json:"auth_id"`
	AuthToken string            `json:"auth_token"`
	Domain    string            `json:"domain"`
	SIP       map[string]string `json:"sip"`
	CAFile    string            `json:"ca_file"`
}

// startOnhook starts onhook as it comes, with all users as endpoints. An empty
// binary is built from this checkout.
func startOnhook(binary string, users int, dir, name string) (*server, devInfo, error) {
	if binary == "" {
		built, err := buildOnhook(dir)
		if err != nil {
			return nil, devInfo{}, err
		}
		binary = built
	}
	version, err := versionOf(binary)
	if err != nil {
		return nil, devInfo{}, err
	}
	data := filepath.Join(dir, name+"-data")
	srv, err := launch(dir, name, nil, binary, "dev", "--dir", data, "--ephemeral-ports")
	if err != nil {
		return nil, devInfo{}, err
	}
	srv.version = version
	var text []byte
	err = srv.wait(func() bool {
		text, err = os.ReadFile(filepath.Join(data, "dev.json"))
		return err == nil
	})
	if err != nil {
		return nil, devInfo{}, err
	}
	var info devInfo
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, devInfo{}, err
	}
	srv.domain, srv.metrics = info.Domain, info.APIURL+"/metrics"
	if srv.udp, err = net.ResolveUDPAddr("udp4", info.SIP["udp"]); err != nil {
		return nil, devInfo{}, err
	}
	return srv, info, info.createEndpoints(users)
}

// buildOnhook builds onhook from this checkout into dir.
func buildOnhook(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "onhook")
	build := exec.Command("go", "build", "-o", binary, "onhook/cmd/onhook")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return binary, nil
}

// versionOf is the first line that a binary says of itself.
func versionOf(binary string) (string, error) {
	text, err := exec.Command(binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", binary, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line, nil
}

// createEndpoints makes the users through the bulk resource, a few requests at a
// time.
func (d devInfo) createEndpoints(users int) error {
	const chunk, together = 1000, 4
	var group errgroup.Group
	group.SetLimit(together)
	for at := 0; at < users; at += chunk {
		group.Go(func() error {
			var objects []map[string]string
			for i := at; i < min(at+chunk, users); i++ {
				objects = append(objects, map[string]string{"username": userName(i), "password": password})
			}
			body, err := json.Marshal(map[string]any{"objects": objects})
			if err != nil {
				return err
			}
			return d.post("Endpoint/bulk", body)
		})
	}
	return group.Wait()
}

func (d devInfo) post(resource string, body []byte) error {
	req, err := http.NewRequest("POST", d.APIURL+"/v1/Account/"+d.AuthID+"/"+resource, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(d.AuthID, d.AuthToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST %s: %s: %.300s", resource, resp.Status, text)
	}
	return nil
}
