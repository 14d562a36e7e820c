package main

import (
	"context"
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

	"onhook/test/postgres"
)

//go:embed kamailio.cfg
var kamailioConfig string

// kamailioDomain is as long as that of onhook dev, which is its address:
// Kamailio would take every phone on this machine for itself.
const kamailioDomain = "sip.bench"

// variant is one way to run Kamailio.
type variant struct {
	name      string // as the report shows it
	allocator string // qm is Debian's default and checks itself; fm is the fastest
	workers   int
	database  bool // auth_db and usrloc db_mode 1 in PostgreSQL, instead of memory only
}

// variants are the ways that are measured: at its best as it is installed and
// as fast as it goes, and as it is usually run.
var variants = []variant{
	{"Kamailio in memory", "qm", 2, false},
	{"Kamailio in memory, allocator fm", "fm", 2, false},
	{"Kamailio with PostgreSQL", "qm", 8, true},
}

// startKamailio starts Kamailio with all users. missing says why there is none.
func startKamailio(s settings, v variant, dir string) (srv *server, missing string, err error) {
	binary, err := findKamailio(s.install, v.database)
	if err != nil {
		return nil, err.Error(), nil
	}
	own := filepath.Join(dir, strings.ReplaceAll(v.name, " ", "-"))
	if err := os.Mkdir(own, 0o700); err != nil {
		return nil, "", err
	}
	address, err := freePort()
	if err != nil {
		return nil, "", err
	}
	var database *postgres.Server
	if v.database {
		database, err = kamailioDatabase(s.users, own)
		if errors.Is(err, postgres.ErrMissing) {
			return nil, err.Error(), nil
		}
		if err != nil {
			return nil, "", err
		}
		defer func() {
			if srv == nil {
				err = errors.Join(err, database.Close())
			}
		}()
	}
	if err := writeKamailio(own, v, address, s.users, database); err != nil {
		return nil, "", err
	}
	version, err := exec.Command(binary, "-v").Output()
	if err != nil {
		return nil, "", fmt.Errorf("%s -v: %w", binary, err)
	}
	// -DD: children, but no daemon; 512 MB of shared memory is more than is needed.
	var environment []string
	if database != nil {
		environment = []string{"PGHOST=" + database.Dir()}
	}
	srv, err = launch(dir, v.name, environment, binary, "-DD", "-E", "-x", v.allocator, "-X", v.allocator, "-m", "512", "-b", "8388608", "-Y", own, "-f", filepath.Join(own, "kamailio.cfg"))
	if err != nil {
		return nil, "", err
	}
	srv.domain, srv.udp, srv.database = kamailioDomain, address, database
	if fields := strings.Fields(string(version)); len(fields) > 2 {
		srv.version = fmt.Sprintf("%s: Kamailio %s, allocator %s, %d UDP workers", v.name, fields[2], v.allocator, v.workers)
	}
	return srv, "", srv.wait(func() bool { return answers(address) })
}

// kamailioDatabase starts a PostgreSQL with Kamailio's own tables and all users.
func kamailioDatabase(users int, dir string) (*postgres.Server, error) {
	ctx := context.Background()
	db, err := postgres.New(ctx, true)
	if err != nil {
		return nil, err
	}
	rows := filepath.Join(dir, "users.sql")
	var sql strings.Builder
	sql.WriteString("COPY subscriber (username, domain, ha1) FROM stdin;\n")
	for i := range users {
		fmt.Fprintf(&sql, "%s\t%s\t%s\n", userName(i), kamailioDomain, ha1(userName(i), kamailioDomain))
	}
	sql.WriteString("\\.\n")
	// PostgreSQL's user reads it, who has no business in the rest of the folder.
	err = errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.WriteFile(rows, []byte(sql.String()), 0o644))
	if err == nil {
		err = db.Run(ctx, "SET client_min_messages TO error", kamailioTables+"standard-create.sql", kamailioTables+"auth_db-create.sql", kamailioTables+"usrloc-create.sql", rows)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// kamailioTables is where a package of its own puts the tables of Kamailio's
// module for PostgreSQL.
const kamailioTables = "/usr/share/kamailio/postgres/"

// findKamailio looks for Kamailio, with its module for PostgreSQL where that is
// wanted, and installs it where that is possible.
func findKamailio(install, database bool) (string, error) {
	look := func() (string, error) {
		if _, err := os.Stat(kamailioTables); database && err != nil {
			return "", errors.New("kamailio-postgres-modules is not installed")
		}
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
		return "", fmt.Errorf("%w (and this is not root on a system with apt-get)", err)
	}
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "kamailio", "kamailio-postgres-modules", "postgresql"}} {
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
func writeKamailio(dir string, v variant, address *net.UDPAddr, users int, database *postgres.Server) error {
	modules, err := filepath.Glob("/usr/lib*/*/kamailio/modules")
	if err != nil {
		return err
	}
	url := ""
	if database != nil {
		url = "postgres://onhook:x@/postgres" // where, says PGHOST
	}
	var cfg strings.Builder
	err = template.Must(template.New("").Parse(kamailioConfig)).Execute(&cfg, map[string]any{
		"Address": address.String(), "Domain": kamailioDomain, "Dir": dir, "Modules": strings.Join(modules, ":"),
		"Workers": v.workers, "Database": url,
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
