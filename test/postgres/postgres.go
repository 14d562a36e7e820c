// Package postgres runs a PostgreSQL server for tests and measurements: a child
// process on a Unix socket in a folder of its own, which leaves nothing behind.
package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrMissing is returned where no PostgreSQL server is installed.
var ErrMissing = errors.New("no PostgreSQL server is installed (apt-get install postgresql)")

// Server is a PostgreSQL server, running or stopped.
type Server struct {
	dir  string
	bin  string
	user *syscall.Credential // nil: ours
	args []string

	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan error
}

// New makes the files of a server and starts it. A durable one has the disk
// confirm what it commits. Close must follow.
func New(ctx context.Context, durable bool) (s *Server, err error) {
	s = &Server{}
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "onhook-postgres-"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // which PostgreSQL refuses to run as
		if s.user, err = unprivileged(); err == nil {
			err = os.Chown(s.dir, int(s.user.Uid), int(s.user.Gid))
		}
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(s.dir))
		}
	}
	initdb := s.command(ctx, "initdb", "-D", s.data(), "-U", "onhook", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(s.dir))
	}
	s.args = []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200"}
	if !durable {
		s.args = append(s.args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = childAttributes(s.user)
	return cmd
}

// URL names the server's database. Parameters are those of libpq, in pairs.
func (s *Server) URL(parameters ...string) string {
	v := url.Values{"host": {s.dir}}
	for pair := range slices.Chunk(parameters, 2) {
		v.Set(pair[0], pair[1])
	}
	return "postgres://onhook@/postgres?" + v.Encode()
}

// Dir is the folder with the server's socket.
func (s *Server) Dir() string { return s.dir }

// PID is the process id of the running server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Run executes SQL, or the SQL of files, and returns what psql printed as its
// error where it fails.
func (s *Server) Run(ctx context.Context, sql string, files ...string) error {
	args := []string{"-q", "-v", "ON_ERROR_STOP=1", "-c", sql}
	for _, f := range files {
		args = append(args, "-f", f)
	}
	if out, err := s.command(ctx, "psql", append(args, s.URL())...).CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %.500s", err, out)
	}
	return nil
}

// Start starts the server and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	s.log.Reset()
	s.cmd = s.command(context.WithoutCancel(ctx), "postgres", s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(s.cmd, s.done)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if s.command(ctx, "pg_isready", "-q", "-h", s.dir).Run() == nil {
			return nil
		}
		select {
		case err := <-s.done:
			s.cmd = nil
			return fmt.Errorf("postgres: %w\n%s", err, s.log.String())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.Stop())
		case <-poll.C:
		}
	}
}

// Stop ends the server with its sessions and waits for it.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Kill ends it as a crash does.
func (s *Server) Kill() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(signal syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Signal(signal)
	<-s.done
	s.cmd = nil
	return err
}

// Close ends the server and removes its files.
func (s *Server) Close() error {
	return errors.Join(s.Kill(), os.RemoveAll(s.dir))
}

// binaries finds the newest installed server; Debian keeps them out of the path.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", ErrMissing
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })), nil
}

// unprivileged is whom the server runs as when we are root.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}
