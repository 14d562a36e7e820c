package law

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root  = "../.."
	specs = "../../docs/specs.md"
)

var update = flag.Bool("update", false, "write docs/specs.md")

// rfc is what rfcs.txt says of one RFC.
type rfc struct {
	title    string
	sections map[string]bool
}

// known reads rfcs.txt. A section makes those above it known too, and
// "16.1-11" means 16.1 to 16.11.
func known(t *testing.T) map[int]rfc {
	t.Helper()
	text, err := os.ReadFile("rfcs.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[int]rfc{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		head, sections, ok := strings.Cut(line, "|")
		word, title, _ := strings.Cut(head, " ")
		number, err := strconv.Atoi(word)
		if err != nil || !ok {
			t.Fatalf("rfcs.txt: %q", line)
		}
		r, there := list[number]
		if !there {
			r = rfc{strings.TrimSpace(title), map[string]bool{}}
		}
		for _, s := range strings.Fields(sections) {
			addSections(t, r.sections, s)
		}
		list[number] = r
	}
	return list
}

func addSections(t *testing.T, sections map[string]bool, s string) {
	t.Helper()
	first, last, isRange := strings.Cut(s, "-")
	parent, begin := "", first
	if i := strings.LastIndexByte(first, '.'); i >= 0 {
		parent, begin = first[:i], first[i+1:]
	}
	from, err := strconv.Atoi(begin)
	if !isRange {
		last = begin
	}
	to, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || to < from {
		t.Fatalf("rfcs.txt: %q", s)
	}
	for n := from; n <= to; n++ {
		sections[strings.TrimPrefix(parent+"."+strconv.Itoa(n), ".")] = true
	}
	for parent != "" {
		sections[parent] = true
		parent = parent[:max(0, strings.LastIndexByte(parent, '.'))]
	}
}

// place is a section of an RFC; the whole RFC when the section is empty.
type place struct {
	rfc     int
	section string
}

// users are the files that name a place.
type users struct{ code, tests []string }

var (
	reference = regexp.MustCompile(`RFC (\d{3,5})(?: (\d+(?:\.\d+)*)\b)?`)
	// further sections of the same RFC: "RFC 3261 8.2.6 and 18.2.1"
	further = regexp.MustCompile(`^(?:, and | and |, | to )(\d+(?:\.\d+)+)\b`)
)

// references returns every place a comment names.
func references(comment string) (found []place) {
	comment = strings.Join(strings.Fields(comment), " ")
	for _, at := range reference.FindAllStringSubmatchIndex(comment, -1) {
		number, _ := strconv.Atoi(comment[at[2]:at[3]])
		if at[4] < 0 {
			found = append(found, place{rfc: number})
			continue
		}
		found = append(found, place{number, comment[at[4]:at[5]]})
		for rest := comment[at[1]:]; ; {
			m := further.FindStringSubmatch(rest)
			if m == nil {
				break
			}
			found = append(found, place{number, m[1]})
			rest = rest[len(m[0]):]
		}
	}
	return found
}

// collect reads the comments of every Go file.
func collect(t *testing.T) map[place]*users {
	t.Helper()
	all := map[place]*users{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && path != root && (name[0] == '.' || name == "testdata" || name == "node_modules" || name == "law") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		for _, group := range file.Comments {
			for _, p := range references(group.Text()) {
				if all[p] == nil {
					all[p] = &users{}
				}
				list := &all[p].code
				if strings.HasSuffix(name, "_test.go") {
					list = &all[p].tests
				}
				if !slices.Contains(*list, name) {
					*list = append(*list, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// bySection orders 9.2 before 10.1.
func bySection(a, b place) int {
	if c := cmp.Compare(a.rfc, b.rfc); c != 0 {
		return c
	}
	return slices.Compare(numbers(a.section), numbers(b.section))
}

func numbers(section string) (list []int) {
	for s := range strings.SplitSeq(section, ".") {
		n, _ := strconv.Atoi(s)
		list = append(list, n)
	}
	return list
}

func write(all map[place]*users, list map[int]rfc) []byte {
	var b bytes.Buffer
	b.WriteString("# Specifications, and where they are kept\n\n" +
		"Written by `go test ./internal/law -update` from the comments that name a section; do not edit.\n" +
		"Status: *tested* where code and a test name the section, *code* or *test* where one of them does.\n")
	last := 0
	for _, p := range slices.SortedFunc(maps.Keys(all), bySection) {
		if p.rfc != last {
			fmt.Fprintf(&b, "\n## RFC %d: %s\n\n| section | code | test | status |\n| --- | --- | --- | --- |\n", p.rfc, list[p.rfc].title)
			last = p.rfc
		}
		u := all[p]
		status := "tested"
		switch {
		case len(u.tests) == 0:
			status = "code"
		case len(u.code) == 0:
			status = "test"
		}
		slices.Sort(u.code)
		slices.Sort(u.tests)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cmp.Or(p.section, "(whole)"), strings.Join(u.code, "<br>"), strings.Join(u.tests, "<br>"), status)
	}
	return b.Bytes()
}

// Every RFC and section that a comment names exists, and docs/specs.md tells
// where.
func TestSpecs(t *testing.T) {
	all, list := collect(t), known(t)
	for _, p := range slices.SortedFunc(maps.Keys(all), bySection) {
		r, ok := list[p.rfc]
		if !ok {
			t.Errorf("RFC %d is not in rfcs.txt: %v %v", p.rfc, all[p].code, all[p].tests)
		} else if p.section != "" && !r.sections[p.section] {
			t.Errorf("RFC %d has no section %s: %v %v", p.rfc, p.section, all[p].code, all[p].tests)
		}
	}
	want := write(all, list)
	if *update {
		if err := os.WriteFile(specs, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(specs); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/specs.md is out of date (%v): run go test ./internal/law -update", err)
	}
}

func TestReferences(t *testing.T) {
	for comment, want := range map[string]string{
		"as RFC 3261 10.3 says":                             "3261:10.3",
		"RFC 3261 8.2.6 and 18.2.1, RFC 3581 4: responses":  "3261:8.2.6 3261:18.2.1 3581:4",
		"(RFC 3261\n10.3, 10.2.1.1, 200 of them; RFC 7118)": "3261:10.3 3261:10.2.1.1 7118:",
		"RFC 4475 3.1.1.6 to 3.1.1.13: the rest":            "4475:3.1.1.6 4475:3.1.1.13",
		"RFC 3261 16.7 steps 5, 10":                         "3261:16.7",
		"RFC 5389 15.2. And 3.2 of something":               "5389:15.2",
		"RFC 2543 ACK, RFCs":                                "2543:",
	} {
		var got []string
		for _, p := range references(comment) {
			got = append(got, fmt.Sprintf("%d:%s", p.rfc, p.section))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q: %s, want %s", comment, g, want)
		}
	}
}
