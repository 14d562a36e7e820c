package flows

import (
	"fmt"
	"strconv"
	"strings"

	"onhook/test/devserver"
)

// ask handles «alice asks bob [audio,video]»: the dry run of a call. The
// indented lines are «key: pattern» and «key #2» of its answer.
func (r *run) ask(p *peer, s Step) error {
	if len(s.Args) == 0 {
		return fmt.Errorf("who is to be called?")
	}
	to, media := s.Args[0], []string{"audio"}
	if other := r.peers[to]; other != nil {
		to = other.uri()
	}
	to, err := expand(to, r.lookup)
	if err != nil {
		return err
	}
	if len(s.Args) > 1 {
		media = strings.Split(s.Args[1], ",")
	}
	answer, err := r.api.CanCall(p.endpoint.ID, to, media)
	if err != nil {
		return err
	}
	return r.checkObject(s, answer)
}

// checkObject compares an object of the API with the indented lines: «key: pattern»,
// «key #2», and «legs.0.to: pattern» for what is inside.
func (r *run) checkObject(s Step, object map[string]any) error {
	for _, detail := range s.Details {
		key, want, isPattern := strings.Cut(detail.Text, ": ")
		if !isPattern {
			key, want, _ = strings.Cut(detail.Text, " #")
		}
		value, there := within(object, key)
		got := fmt.Sprint(value)
		if list, ok := value.([]any); ok && !isPattern {
			got = fmt.Sprint(len(list))
		}
		want, err := expand(want, r.lookup)
		if err != nil {
			return err
		}
		if ok, err := matches(want, got); err != nil || !ok || !there {
			return fmt.Errorf("line %d: %s is %q, want %q in %v", detail.Line, key, got, want, object)
		}
	}
	return nil
}

// within finds a value by a path of keys and indices, parted by dots.
func within(value any, path string) (found any, ok bool) {
	for key := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value, ok = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if ok = err == nil && i >= 0 && i < len(v); ok {
				value = v[i]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return value, true
}

// becomes handles «alice recorded» and «alice traced»: the last call record or
// attempt of her endpoint is, or soon comes to be, as the indented lines say.
func (r *run) becomes(p *peer, s Step, get func(id string) (map[string]any, error)) error {
	return devserver.Until(waitLimit, func() error {
		object, err := get(p.endpoint.ID)
		if err == nil {
			err = r.checkObject(s, object)
		}
		return err
	})
}

// change handles «bob changes FIELD=VALUE…» and «bob limits LIMIT=VALUE…».
func (r *run) change(p *peer, s Step) error {
	fields := map[string]any{}
	for _, arg := range s.Args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q: want field=value", arg)
		}
		if fields[key] = value; s.Verb == "limits" {
			fields[key] = limit(value)
		}
	}
	if s.Verb == "limits" {
		return r.api.SetLimits(p.endpoint.ID, fields)
	}
	return r.api.ChangeEndpoint(p.endpoint.ID, fields)
}

// limit reads a limit: a number, true or false, null, or a list parted by commas.
func limit(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	switch text {
	case "null":
		return nil
	case "true", "false":
		return text == "true"
	}
	return strings.Split(text, ",")
}

func (r *run) is(p *peer, what string) error {
	want := map[string]string{"registered": "true", "not registered": "false"}[what]
	if want == "" {
		return fmt.Errorf("want «is registered» or «is not registered»")
	}
	return devserver.Until(waitLimit, func() error {
		got, err := r.api.Registered(p.endpoint.ID)
		if err == nil && got != want {
			err = fmt.Errorf("sip_registered is %q", got)
		}
		return err
	})
}
