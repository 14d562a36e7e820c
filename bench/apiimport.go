package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// importAll makes the endpoints through the bulk resource.
func (t *apiTarget) importAll(f *apiFigures, s settings) error {
	whole := time.Now()
	late := s.endpoints - s.endpoints/10
	if err := t.importRange(0, late); err != nil {
		return err
	}
	end := time.Now()
	if err := t.importRange(late, s.endpoints); err != nil {
		return err
	}
	f.imported, f.importEnd = float64(s.endpoints)/time.Since(whole).Seconds(), float64(s.endpoints-late)/time.Since(end).Seconds()
	return nil
}

func (t *apiTarget) importRange(from, to int) error {
	var next atomic.Int64
	next.Store(int64(from))
	return together(importers, func(int) error {
		for {
			at := int(next.Add(bulkRows)) - bulkRows
			if at >= to {
				return nil
			}
			objects := make([]map[string]string, 0, bulkRows)
			for i := at; i < min(at+bulkRows, to); i++ {
				objects = append(objects, map[string]string{"username": userName(i), "password": password, "alias": "Phone " + strconv.Itoa(i)})
			}
			body, err := json.Marshal(map[string]any{"objects": objects})
			if err != nil {
				return err
			}
			if err := t.do("POST", "Endpoint/bulk", body, http.StatusCreated, nil); err != nil {
				return err
			}
		}
	})
}

// importFile measures onhook endpoint import, from its start to its end.
func (t *apiTarget) importFile(f *apiFigures, s settings) error {
	rows := min(fileRows, s.endpoints)
	var text strings.Builder
	text.WriteString("username,password,alias\n")
	for i := range rows {
		fmt.Fprintf(&text, "file%d,%s,Phone %d\n", i, password, i)
	}
	path := filepath.Join(filepath.Dir(t.config), "import.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return err
	}
	command := exec.Command(t.binary, "endpoint", "import", path)
	command.Env = append(os.Environ(), "ONHOOK_URL="+t.APIURL, "ONHOOK_AUTH_ID="+t.AuthID, "ONHOOK_AUTH_TOKEN="+t.AuthToken)
	start := time.Now()
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("endpoint import: %w\n%s", err, out)
	}
	f.byFile = float64(rows) / time.Since(start).Seconds()
	return nil
}
