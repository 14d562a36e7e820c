package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Environment variables that replace secrets of the file. Nothing else of the
// configuration comes from the environment.
const (
	EnvKey        = "ONHOOK_KEY"
	EnvAdminToken = "ONHOOK_ADMIN_TOKEN"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	Path    string // such as sip.listeners[1].address; "" for the file itself
	Line    int    // in the file, from 1; 0 when the key is not in it
	Column  int
	Message string
}

func (p Problem) String() string {
	s := p.Message
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, s)
	}
	return s
}

// Invalid is the error of a configuration that cannot be used: every problem
// at once, in the order of the file.
type Invalid struct {
	File     string
	Problems []Problem
}

func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		if lines[i] = p.String(); e.File == "" {
			continue
		}
		if p.Line > 0 {
			lines[i] = e.File + ":" + lines[i]
		} else {
			lines[i] = e.File + ": " + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// Load reads the file at path over the defaults, adds the secrets of the
// environment and checks the result. Relative paths are taken from the folder
// of the file. A file that is not right gives *Invalid.
func Load(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	c, problems := parse(text)
	problems = append(problems, c.environment()...)
	if len(problems) > 0 {
		return Config{}, &Invalid{File: path, Problems: problems}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	c.resolve(dir)
	return c, nil
}

// parse returns the configuration and everything wrong with it.
func parse(text []byte) (Config, []Problem) {
	c := Default()
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return c, []Problem{syntaxProblem(err)}
	}
	d := decoder{at: make(map[string]*token.Position)}
	d.file(file, &c)
	problems := d.problems
	if slices.ContainsFunc(problems, func(p Problem) bool { return p.Path == "" }) {
		return c, problems // not a file of ours at all: more would be noise
	}
	for _, p := range c.problems() {
		if d.failed(p.Path) {
			continue // said already, with the value that could not be read
		}
		p.Line, p.Column = d.position(p.Path)
		problems = append(problems, p)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return c, problems
}

func syntaxProblem(err error) Problem {
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		at := syntax.GetToken().Position
		return Problem{Line: at.Line, Column: at.Column, Message: syntax.GetMessage()}
	}
	return Problem{Message: err.Error()}
}

// environment takes the secrets; their values never reach a message.
func (c *Config) environment() (problems []Problem) {
	if text := os.Getenv(EnvKey); text != "" {
		key, err := parseKey(text)
		if err != nil {
			problems = append(problems, Problem{Path: EnvKey, Message: err.Error()})
		}
		c.Key = key
	}
	if text := os.Getenv(EnvAdminToken); text != "" {
		if len(text) < minAdminToken {
			problems = append(problems, Problem{Path: EnvAdminToken, Message: shortAdminToken})
		}
		c.API.AdminToken = text
	}
	return problems
}

// resolve makes relative paths absolute.
func (c *Config) resolve(dir string) {
	paths := []*string{
		&c.DataDir, &c.KeyFile, &c.TLS.CertFile, &c.TLS.KeyFile,
		&c.API.CertFile, &c.API.KeyFile,
	}
	if _, ok := c.PostgresURL(); !ok {
		paths = append(paths, &c.Database)
	}
	for i := range c.SIP.Listeners {
		paths = append(paths, &c.SIP.Listeners[i].CertFile, &c.SIP.Listeners[i].KeyFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
