package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"onhook/client"
)

type endpointImport struct {
	remote
	File string `arg:"" name:"file.csv" help:"With a header row: username, and password or ha1_md5; optional: ha1_sha256, alias."`
}

// Run is onhook endpoint import. Every chunk is first sent as a dry run, so
// that a file with an error imports nothing. What fails only afterwards stops
// the import and takes back what it created.
func (c *endpointImport) Run(m *Main) error {
	rows, err := readRows(c.File)
	if err != nil {
		return err
	}
	return c.use(m, func(ctx context.Context, api *client.Client) error {
		began := time.Now()
		chunks := slices.Collect(slices.Chunk(rows, client.MaxBulk))
		if err := checkChunks(ctx, api, c.File, chunks); err != nil {
			return err
		}
		created, err := createChunks(ctx, api, c.File, chunks)
		if err != nil {
			return takeBack(api, created, err)
		}
		if c.JSON {
			return m.writeJSON(created)
		}
		took := time.Since(began)
		_, err = fmt.Fprintf(m.Stdout, "created %d endpoints in %s (%.0f a second)\n", len(created), took.Round(time.Millisecond), float64(len(created))/took.Seconds())
		return err
	})
}

// row is one line of the file.
type row struct {
	line int
	spec client.EndpointSpec
}

func specs(rows []row) []client.EndpointSpec {
	all := make([]client.EndpointSpec, len(rows))
	for i := range rows {
		all[i] = rows[i].spec
	}
	return all
}

// readRows reads the file and finds what only the whole of it can show: a
// username that stands in it twice.
func readRows(file string) ([]row, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := parseRows(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	seen := make(map[string]int, len(rows))
	for _, r := range rows {
		name := strings.ToLower(r.spec.Username)
		if first, ok := seen[name]; ok {
			return nil, fmt.Errorf("%s:%d: username: %s stands on line %d already", file, r.line, r.spec.Username, first)
		}
		seen[name] = r.line
	}
	return rows, nil
}

func parseRows(r io.Reader) ([]row, error) {
	records := csv.NewReader(r)
	records.ReuseRecord = true
	head, err := records.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("is empty; its first line names the columns")
	}
	if err != nil {
		return nil, err // names the line
	}
	set, err := columns(head)
	if err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	var rows []row
	for {
		record, err := records.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := records.FieldPos(0)
		next := row{line: line}
		for i, value := range record {
			set[i](&next.spec, value)
		}
		rows = append(rows, next)
	}
	if len(rows) == 0 {
		return nil, errors.New("holds no endpoints below its header")
	}
	return rows, nil
}

var columnFields = map[string]func(*client.EndpointSpec, string){
	"username":   func(e *client.EndpointSpec, v string) { e.Username = v },
	"password":   func(e *client.EndpointSpec, v string) { e.Password = v },
	"ha1_md5":    func(e *client.EndpointSpec, v string) { e.HA1MD5 = v },
	"ha1_sha256": func(e *client.EndpointSpec, v string) { e.HA1SHA256 = v },
	"alias":      func(e *client.EndpointSpec, v string) { e.Alias = v },
}

func columns(head []string) (set []func(*client.EndpointSpec, string), err error) {
	for i, name := range head {
		if i == 0 {
			name = strings.TrimPrefix(name, "\ufeff") // as spreadsheets write
		}
		name = strings.TrimSpace(name)
		if columnFields[name] == nil {
			return nil, fmt.Errorf("unknown column %q: username, password, ha1_md5, ha1_sha256 and alias are known", name)
		}
		if slices.Contains(head[:i], name) {
			return nil, fmt.Errorf("column %s stands there twice", name)
		}
		head[i] = name
		set = append(set, columnFields[name])
	}
	if !slices.Contains(head, "username") || !slices.Contains(head, "password") && !slices.Contains(head, "ha1_md5") {
		return nil, errors.New("the columns username and either password or ha1_md5 are needed")
	}
	return set, nil
}

// atOnce is how many chunks are under way at the same time: the server reads one
// while it writes another.
const atOnce = 2

// checkChunks sends every chunk as a dry run.
func checkChunks(ctx context.Context, api *client.Client, file string, chunks [][]row) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, chunk := range chunks {
		group.Go(func() error {
			_, err := api.CreateEndpoints(ctx, specs(chunk), true)
			return located(file, chunk, err)
		})
	}
	return group.Wait()
}

// createChunks returns, in the file's order, what was created, also when an error
// stopped it: chunks that are under way then are not given up, since the server
// may create them all the same.
func createChunks(ctx context.Context, api *client.Client, file string, chunks [][]row) ([]client.EndpointCreated, error) {
	created := make([][]client.EndpointCreated, len(chunks))
	var failed atomic.Bool
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, chunk := range chunks {
		group.Go(func() (err error) {
			if failed.Load() {
				return nil
			}
			if created[i], err = api.CreateEndpoints(ctx, specs(chunk), false); err != nil {
				failed.Store(true)
			}
			return located(file, chunk, err)
		})
	}
	err := group.Wait()
	return slices.Concat(created...), err
}

// located says in which lines of the file the server found something wrong.
func located(file string, chunk []row, err error) error {
	var refusal *client.Error
	if !errors.As(err, &refusal) {
		return err
	}
	var lines []string
	for _, complaint := range refusal.Fields() {
		index, rest, _ := strings.Cut(complaint, ".")
		i, notANumber := strconv.Atoi(index)
		if notANumber != nil || i < 0 || i >= len(chunk) {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s:%d: %s", file, chunk[i].line, rest))
	}
	if len(lines) == 0 {
		return err
	}
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("… and %d more", len(lines)-most))
	}
	return fmt.Errorf("%s; nothing was imported\n%s", refusal.Message, strings.Join(lines, "\n"))
}

// takeBack deletes what this import created. It does so also when the import
// was interrupted.
func takeBack(api *client.Client, created []client.EndpointCreated, cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for i, e := range created {
		if err := api.DeleteEndpoint(ctx, e.ID); err != nil && !client.IsNotFound(err) {
			return fmt.Errorf("%w\n%d of %d endpoints already created could not be taken back, from %s on: %w", cause, len(created)-i, len(created), e.Username, err)
		}
	}
	return cause
}
