package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed kamailio.cfg
var kamailioConfig string

// kamailioDomain is as long as that of onhook dev, which is its address:
// Kamailio would take every phone on this machine for itself.
const kamailioDomain = "sip.bench"

// startKamailio starts Kamailio with all users. missing says why there is none.
func startKamailio(s settings, dir string) (srv *server, missing string, err error) {
	if !s.kamailio {
		return nil, "left out (-kamailio=false)", nil
	}
	binary, err := findKamailio(s.install)
	if err != nil {
		return nil, err.Error(), nil
	}
	own := filepath.Join(dir, "kamailio")
	if err := os.Mkdir(own, 0o700); err != nil {
		return nil, "", err
	}
	address, err := freePort()
	if err != nil {
		return nil, "", err
	}
	if err := writeKamailio(own, address, s.users); err != nil {
		return nil, "", err
	}
	version, err := exec.Command(binary, "-v").Output()
	if err != nil {
		return nil, "", fmt.Errorf("%s -v: %w", binary, err)
	}
	// -DD: children, but no daemon; 512 MB of shared memory is more than is needed.
	srv, err = launch(dir, "kamailio", binary, "-DD", "-E", "-x", s.allocator, "-X", s.allocator, "-m", "512", "-b", "8388608", "-Y", own, "-f", filepath.Join(own, "kamailio.cfg"))
	if err != nil {
		return nil, "", err
	}
	srv.domain, srv.udp = kamailioDomain, address
	if fields := strings.Fields(string(version)); len(fields) > 2 {
		srv.version = "Kamailio " + fields[2] + ", allocator " + s.allocator
	}
	return srv, "", srv.wait(func() bool { return answers(address) })
}

// findKamailio looks for Kamailio, and installs it where that is possible.
func findKamailio(install bool) (string, error) {
	look := func() (string, error) {
		if path, err := exec.LookPath("kamailio"); err == nil {
			return path, nil
		}
		return exec.LookPath("/usr/sbin/kamailio")
	}
	path, err := look()
	if err == nil || !install {
		return path, err
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		return "", errors.New("kamailio is not installed (and this is not root on a system with apt-get)")
	}
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "kamailio"}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1") // the latter: not started as a service
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("apt-get %s: %w: %.300s", strings.Join(args, " "), err, out)
		}
	}
	return look()
}

// writeKamailio writes the configuration and the users' hashes, as the tables
// that module db_text reads.
func writeKamailio(dir string, address *net.UDPAddr, users int) error {
	modules, err := filepath.Glob("/usr/lib*/*/kamailio/modules")
	if err != nil {
		return err
	}
	var cfg strings.Builder
	err = template.Must(template.New("").Parse(kamailioConfig)).Execute(&cfg, map[string]string{
		"Address": address.String(), "Domain": kamailioDomain, "Dir": dir, "Modules": strings.Join(modules, ":"),
	})
	if err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString("id(int,auto) key_name(str) key_type(int) value_type(int) key_value(str) expires(int)\n")
	for i := range users {
		fmt.Fprintf(&table, "%d:%s:0:0:%s:0\n", i+1, userName(i), ha1(userName(i), kamailioDomain))
	}
	for name, text := range map[string]string{
		"kamailio.cfg": cfg.String(),
		"version":      "table_name(str) table_version(int)\nhtable:2\n",
		"htable":       table.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// answers reports whether a server answers a REGISTER without credentials.
func answers(address *net.UDPAddr) bool {
	c, err := net.DialUDP("udp4", nil, address)
	if err != nil {
		return false
	}
	defer c.Close()
	local := c.LocalAddr()
	_, err = fmt.Fprintf(c, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bKready\r\nMax-Forwards: 70\r\nFrom: <sip:x@%[1]s>;tag=a\r\nTo: <sip:x@%[1]s>\r\n"+
		"Call-ID: ready\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n", kamailioDomain, local)
	if err != nil {
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return false
	}
	_, err = c.Read(make([]byte, 2048))
	return err == nil
}
