// Package flows plays call flows that are written as plain text against the
// running program. A flow is a file *.flow; README.md describes the language.
// It reads SIP with test/sippeer alone and imports nothing of the program.
package flows

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is one line of a flow with the indented lines below it.
type Step struct {
	Line    int
	Text    string
	Peer    string // "alice"
	Dialog  string // "second" in alice@second, "" for the peer's first dialog
	Verb    string // ">" sends, "<" expects next, "<*" expects among others, else a word
	Args    []string
	Details []Detail
}

// Detail is an indented line.
type Detail struct {
	Line int
	Text string
}

var verbs = map[string]bool{
	">": true, "<": true, "<*": true,
	"resends": true, "closes": true, "loses": true, "registers": true, "unregisters": true, "ignores": true,
	"quiet": true, "is": true, "changes": true, "asks": true, "limits": true,
	"recorded": true, "traced": true, "ends": true,
}

// ParseScript reads a flow; an error names the line.
func ParseScript(text string) ([]Step, error) {
	var steps []Step
	for i, line := range strings.Split(text, "\n") {
		number := i + 1
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(steps) == 0 {
				return nil, fmt.Errorf("line %d: an indented line needs a step above it", number)
			}
			last := &steps[len(steps)-1]
			last.Details = append(last.Details, Detail{number, trimmed})
			continue
		}
		step, err := parseStep(trimmed)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		step.Line = number
		steps = append(steps, step)
	}
	return steps, nil
}

func parseStep(text string) (Step, error) {
	words := strings.Fields(text)
	step := Step{Text: text}
	switch words[0] {
	case "application":
		if len(words) != 2 {
			return step, fmt.Errorf("want «application name»")
		}
		step.Verb, step.Args = words[0], words[1:]
		return step, nil
	case "phone", "stranger", "far", "set":
		if len(words) < 3 {
			return step, fmt.Errorf("%q needs a name and more", words[0])
		}
		step.Verb, step.Args = words[0], words[1:]
		if words[0] == "set" {
			step.Args = strings.SplitN(strings.TrimSpace(strings.TrimPrefix(text, "set")), " ", 3)
		}
		return step, nil
	}
	if len(words) < 2 || !verbs[words[1]] {
		return step, fmt.Errorf("%q: want «peer verb …», «phone …», «stranger …», «far …», «application …» or «set …»", text)
	}
	step.Peer, step.Dialog, _ = strings.Cut(words[0], "@")
	step.Verb, step.Args = words[1], words[2:]
	if (step.Verb == ">" || step.Verb == "<" || step.Verb == "<*") && len(step.Args) == 0 {
		return step, fmt.Errorf("%q: what is sent or expected?", text)
	}
	return step, nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z0-9_.]+)\}`)

// expand replaces ${name} by its value; an unknown name is an error.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var missing string
	out := variable.ReplaceAllStringFunc(text, func(found string) string {
		value, ok := lookup(found[2 : len(found)-1])
		if !ok {
			missing = found
		}
		return value
	})
	if missing != "" {
		return "", fmt.Errorf("%s has no value here", missing)
	}
	return out, nil
}

// matches compares a value with a pattern: /regexp/, or text in which * stands
// for anything.
func matches(pattern, value string) (bool, error) {
	if len(pattern) > 1 && pattern[0] == '/' && strings.HasSuffix(pattern, "/") {
		re, err := regexp.Compile(pattern[1 : len(pattern)-1])
		if err != nil {
			return false, err
		}
		return re.MatchString(value), nil
	}
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(value), nil
}
