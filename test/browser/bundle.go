// Package browser runs JsSIP phones in headless Chromium.
package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var requireCall = regexp.MustCompile(`require\(\s*['"]([^'"]+)['"]\s*\)`)

// bundle makes one browser script of a CommonJS package and all it requires: a
// global of that name. It knows what JsSIP needs and no more.
func bundle(modules, name, global string) (string, error) {
	b := bundler{modules: modules, done: map[string]bool{}}
	entry, err := b.resolve(modules, name)
	if err != nil {
		return "", err
	}
	if err := b.add(entry); err != nil {
		return "", err
	}
	return "(() => { const defined = {}, loaded = {};\n" +
		"function load(id) { if (!loaded[id]) { loaded[id] = {exports: {}}; defined[id](loaded[id], loaded[id].exports, load); } return loaded[id].exports; }\n" +
		b.out.String() + fmt.Sprintf("window.%s = load(%q); })();\n", global, entry), nil
}

type bundler struct {
	modules string
	done    map[string]bool
	out     strings.Builder
}

// add appends a file and, before it, what it requires.
func (b *bundler) add(file string) error {
	if b.done[file] {
		return nil
	}
	b.done[file] = true
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	source := string(raw)
	if strings.HasSuffix(file, ".json") {
		source = "module.exports = " + source + ";"
	}
	source = requireCall.ReplaceAllStringFunc(source, func(call string) string {
		target, resolveErr := b.resolve(filepath.Dir(file), requireCall.FindStringSubmatch(call)[1])
		if resolveErr == nil {
			resolveErr = b.add(target)
		}
		if resolveErr != nil && err == nil {
			err = fmt.Errorf("%s: %w", file, resolveErr)
		}
		return fmt.Sprintf("require(%q)", target)
	})
	fmt.Fprintf(&b.out, "defined[%q] = function (module, exports, require) {\n%s\n};\n", file, source)
	return err
}

// resolve finds the file that a require names, as Node does for the cases JsSIP has.
func (b *bundler) resolve(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	if !strings.HasPrefix(name, ".") {
		path = filepath.Join(b.modules, name)
		raw, err := os.ReadFile(filepath.Join(path, "package.json"))
		if err != nil {
			return "", err
		}
		var pkg struct {
			Main    string `json:"main"`
			Browser any    `json:"browser"` // a file, or a table that we do not need
		}
		if err := json.Unmarshal(raw, &pkg); err != nil {
			return "", err
		}
		main := pkg.Main
		if browser, ok := pkg.Browser.(string); ok {
			main = browser
		}
		path = filepath.Join(path, main)
	}
	for _, candidate := range []string{path, path + ".js", path + ".json", filepath.Join(path, "index.js")} {
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%q is not to be found from %s", name, dir)
}
