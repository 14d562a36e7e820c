package roster

// applications numbers the app_ids that endpoints have attached: a column of
// numbers is read quickly. Number 0 is none.
type applications struct {
	numbers map[string]uint32
	names   []string
	uses    []int
	free    []uint32
}

func (a *applications) init() {
	*a = applications{numbers: map[string]uint32{"": 0}, names: []string{""}, uses: []int{1}}
}

func (a *applications) number(name string) (n uint32, known bool) {
	n, known = a.numbers[name]
	return n, known
}

// take counts one more endpoint of the application.
func (a *applications) take(name string) uint32 {
	n, known := a.numbers[name]
	if !known {
		if last := len(a.free) - 1; last >= 0 {
			n, a.free = a.free[last], a.free[:last]
		} else {
			n = uint32(len(a.names))
			a.names, a.uses = append(a.names, ""), append(a.uses, 0)
		}
		a.names[n], a.numbers[name] = name, n
	}
	a.uses[n]++
	return n
}

// release counts one less. A number that nobody uses is given to another.
func (a *applications) release(n uint32) {
	if a.uses[n]--; a.uses[n] > 0 || n == 0 {
		return
	}
	delete(a.numbers, a.names[n])
	a.names[n], a.free = "", append(a.free, n)
}
