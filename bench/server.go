package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is the child process under test.
type server struct {
	cmd     *exec.Cmd
	dir     string
	version string
	drops0  int
	dev     struct {
		APIURL    string            `json:"api_url"`
		AuthID    string            `json:"auth_id"`
		AuthToken string            `json:"auth_token"`
		Domain    string            `json:"domain"`
		SIP       map[string]string `json:"sip"`
	}
}

const password = "benchmark-password"

func startServer(binary string) (*server, error) {
	dir, err := os.MkdirTemp("", "onhook-bench-")
	if err != nil {
		return nil, err
	}
	if binary == "" {
		binary = filepath.Join(dir, "onhook")
		build := exec.Command("go", "build", "-o", binary, "onhook/cmd/onhook")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w: %s", err, out)
		}
	}
	s := &server{dir: dir}
	version, err := exec.Command(binary, "version").Output()
	if err != nil {
		return nil, err
	}
	s.version = strings.TrimSpace(string(version))
	s.cmd = exec.Command(binary, "dev", "--dir", filepath.Join(dir, "data"), "--ephemeral-ports")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(filepath.Join(dir, "data", "dev.json"))
		if err == nil {
			s.drops0 = s.dropCounter()
			return s, json.Unmarshal(text, &s.dev)
		}
		select {
		case <-ctx.Done():
			s.stop()
			return nil, errors.New("the server did not start; see " + log.Name())
		case <-tick.C:
		}
	}
}

func (s *server) stop() {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err == nil {
		_ = s.cmd.Wait() // the exit code of an interrupted server says nothing
	}
	os.RemoveAll(s.dir)
}

// createEndpoints makes u0, u1, … through the bulk resource.
func (s *server) createEndpoints(n int) error {
	for at := 0; at < n; at += 1000 {
		var objects []map[string]string
		for i := at; i < min(at+1000, n); i++ {
			objects = append(objects, map[string]string{"username": "u" + strconv.Itoa(i), "password": password})
		}
		body, err := json.Marshal(map[string]any{"objects": objects})
		if err != nil {
			return err
		}
		req, err := http.NewRequest("POST", s.dev.APIURL+"/v1/Account/"+s.dev.AuthID+"/Endpoint/bulk", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(s.dev.AuthID, s.dev.AuthToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 201 {
			return fmt.Errorf("bulk create: %s: %.200s %w", resp.Status, text, err)
		}
	}
	return nil
}

// cpu is the user and system time the server has used.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	utime, err1 := strconv.Atoi(fields[11])
	stime, err2 := strconv.Atoi(fields[12])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	return time.Duration(utime+stime) * tick, errors.Join(err1, err2)
}

// kernelDrops counts datagrams the kernel dropped for a full socket buffer
// since the server started, of any process.
func (s *server) kernelDrops() int { return s.dropCounter() - s.drops0 }

func (s *server) dropCounter() int {
	text, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return 0
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if name == "RcvbufErrors" && i < len(f) {
				n, _ := strconv.Atoi(f[i])
				return n
			}
		}
	}
	return 0
}

func (s *server) udp() (*net.UDPAddr, error) { return net.ResolveUDPAddr("udp", s.dev.SIP["udp"]) }

func osRelease() string {
	text, _ := os.ReadFile("/etc/os-release")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return "Linux"
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
