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
)

// devInfo is what onhook dev says of itself in dev.json.
type devInfo struct {
	APIURL    string            `json:"api_url"`
	AuthID    string            `json:"auth_id"`
	AuthToken string            `json:"auth_token"`
	Domain    string            `json:"domain"`
	SIP       map[string]string `json:"sip"`
}

// startOnhook starts onhook as it comes, with all users as endpoints. An empty
// binary is built from this checkout.
func startOnhook(binary string, users int, dir, name string) (*server, error) {
	if binary == "" {
		binary = filepath.Join(dir, "onhook")
		build := exec.Command("go", "build", "-o", binary, "onhook/cmd/onhook")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	version, err := exec.Command(binary, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s version: %w", binary, err)
	}
	data := filepath.Join(dir, name+"-data")
	srv, err := launch(dir, name, binary, "dev", "--dir", data, "--ephemeral-ports")
	if err != nil {
		return nil, err
	}
	srv.version, _, _ = strings.Cut(strings.TrimSpace(string(version)), "\n")
	var text []byte
	err = srv.wait(func() bool {
		text, err = os.ReadFile(filepath.Join(data, "dev.json"))
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	var info devInfo
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, err
	}
	srv.domain, srv.metrics = info.Domain, info.APIURL+"/metrics"
	if srv.udp, err = net.ResolveUDPAddr("udp4", info.SIP["udp"]); err != nil {
		return nil, err
	}
	return srv, info.createEndpoints(users)
}

// createEndpoints makes the users through the bulk resource.
func (d devInfo) createEndpoints(users int) error {
	const chunk = 1000
	for at := 0; at < users; at += chunk {
		var objects []map[string]string
		for i := at; i < min(at+chunk, users); i++ {
			objects = append(objects, map[string]string{"username": userName(i), "password": password})
		}
		body, err := json.Marshal(map[string]any{"objects": objects})
		if err != nil {
			return err
		}
		if err := d.post("Endpoint/bulk", body); err != nil {
			return err
		}
	}
	return nil
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
