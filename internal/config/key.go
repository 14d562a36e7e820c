package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeySize is the length of the key that encrypts stored secrets.
const KeySize = 32

// MasterKey returns the key that encrypts stored secrets: Key, or what key_file
// holds. A missing file is written with a fresh key, unless the database exists
// already: a new key would make its secrets unreadable.
func (c Config) MasterKey() ([]byte, error) {
	if c.Key != nil {
		return c.Key, nil
	}
	path := c.KeyPath()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(c.DatabasePath()); err == nil { // of a PostgreSQL database, its check value tells
			return nil, fmt.Errorf("key file %s is missing, but %s is encrypted with it: restore it or set ONHOOK_KEY", path, c.DatabasePath())
		}
		return createKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if err := private(path); err != nil {
		return nil, err
	}
	key, err := parseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

func parseKey(text string) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != KeySize {
		return nil, errors.New("must hold 64 hex digits") // never quotes the text: it is a secret
	}
	return key, nil
}

// private refuses a secret that everybody on the machine can read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("key file %s can be read by everybody (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	return nil
}

// createKey writes a fresh key durably and whole: once secrets are encrypted
// with it, it must not be lost with the power.
func createKey(path string) ([]byte, error) {
	key := make([]byte, KeySize)
	rand.Read(key)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // fails when another process was faster
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return key, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
