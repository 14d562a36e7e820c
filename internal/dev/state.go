package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// state is what the folder remembers between starts. It holds the account's
// token, so that only its owner may read it.
type state struct {
	Ports      ports  `json:"ports"`
	Ephemeral  bool   `json:"ephemeral_ports"`
	AuthID     string `json:"auth_id,omitempty"`
	AuthToken  string `json:"auth_token,omitempty"`
	AdminToken string `json:"admin_token,omitempty"`
	Endpoints  bool   `json:"endpoints_created"`
}

func readState(path string) (s state, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("dev state: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("dev state %s is damaged: %w", path, err)
	}
	return s, nil
}

func (s state) write(path string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("dev state: %w", err)
	}
	return writeWhole(path, append(text, '\n'))
}

// writeWhole replaces a file so that readers see the old one or the new one,
// also after a power cut. Only the owner may read it.
func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
