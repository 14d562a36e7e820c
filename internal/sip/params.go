package sip

// Params is a parameter list as written, beginning with its first ';' (or
// empty): ";tag=1928301774;lr". Values may be tokens, hosts or quoted strings.
type Params string

// Next cuts the first parameter off p. A parameter without '=' has an empty
// value; ok is false when p is empty.
func (p Params) Next() (name, value string, rest Params, ok bool) {
	s := string(p)
	start := 0
	for start < len(s) && (s[start] == ';' || isSpace(s[start])) {
		start++
	}
	if start == len(s) {
		return "", "", "", false
	}
	end, eq := len(s), -1
scan:
	for i := start; i < len(s); i++ {
		switch s[i] {
		case '"':
			n := quoted(s[i:])
			if n == 0 {
				break scan
			}
			i += n - 1
		case '=':
			if eq < 0 {
				eq = i
			}
		case ';':
			end = i
			break scan
		}
	}
	if eq < 0 {
		return trim(s[start:end]), "", Params(s[end:]), true
	}
	return trim(s[start:eq]), trim(s[eq+1 : end]), Params(s[end:]), true
}

// Get returns the value of a parameter, as written (Unquote removes quotes);
// ok tells an empty value from an absent parameter. Names compare without case.
func (p Params) Get(name string) (value string, ok bool) {
	for {
		n, v, rest, more := p.Next()
		if !more {
			return "", false
		}
		if equalFold(n, name) {
			return v, true
		}
		p = rest
	}
}

// Has reports whether the parameter is there, with or without a value.
func (p Params) Has(name string) bool {
	_, ok := p.Get(name)
	return ok
}

// valid checks header parameters: names are tokens, quotes are closed, no
// parameter is empty, and no separator other than ';' stands between them.
func (p Params) valid() bool {
	for i := 0; i < len(p); {
		if _, _, i = p.strict(i); i < 0 {
			return false
		}
	}
	return true
}

// strict reads the parameter that begins at i, and returns where the next one
// begins; -1 for one that breaks the grammar.
func (p Params) strict(i int) (name, value string, next int) {
	s := string(p)
	if i = skipSpace(s, i); i == len(s) {
		return "", "", i
	}
	if s[i] != ';' {
		return "", "", -1
	}
	start := skipSpace(s, i+1)
	if i = span(s, start, classToken); i == start {
		return "", "", -1
	}
	name = s[start:i]
	if i = skipSpace(s, i); i == len(s) || s[i] != '=' {
		return name, "", i
	}
	start = skipSpace(s, i+1)
	if start < len(s) && s[start] == '"' {
		i = start + quoted(s[start:])
	} else {
		i = span(s, start, classValue)
	}
	if i == start {
		return "", "", -1
	}
	return name, s[start:i], skipSpace(s, i)
}
