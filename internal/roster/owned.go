package roster

import (
	"math/bits"
	"slices"
	"strings"
	"sync"

	"onhook/internal/account"
)

// bitmap is a set of places.
type bitmap []uint64

func (b bitmap) has(place int) bool { return b[place/64]>>(place%64)&1 != 0 }
func (b bitmap) add(place int)      { b[place/64] |= 1 << (place % 64) }
func (b bitmap) drop(place int)     { b[place/64] &^= 1 << (place % 64) }

func (b bitmap) set(place int, is bool) {
	if is {
		b.add(place)
	} else {
		b.drop(place)
	}
}

func (b bitmap) count() (n int) {
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// owned is the endpoints of one owner, column by column. An endpoint's place
// is its rank by age, counting those that are gone.
type owned struct {
	live      bitmap
	count     int
	ids       []account.EndpointID
	slots     []uint32 // in Roster.registered
	runs      []uint32 // the first slot of each 64 places whose slots follow each other, else noRun
	usernames texts    // lower case
	aliases   texts
	apps      []uint32 // in Roster.apps; 0: none
	attached  bitmap   // those that have one

	byUsername, byAlias sorted
}

// append adds an endpoint as the newest, without sorting it in.
func (o *owned) append(r *Roster, e account.Endpoint) {
	place := len(o.ids)
	o.ids = append(o.ids, e.ID)
	o.addSlot(r.registered.add(e.ID))
	o.usernames.append(strings.ToLower(e.Username))
	o.aliases.append(e.Alias)
	o.apps = append(o.apps, r.apps.take(e.Application))
	if place/64 == len(o.live) {
		o.live, o.attached = append(o.live, 0), append(o.attached, 0)
	}
	o.live.add(place)
	o.attached.set(place, e.Application != "")
	o.count++
}

const noRun = ^uint32(0)

// addSlot gives the next place its slot. Those of 64 endpoints that were made one
// after the other are read at once.
func (o *owned) addSlot(slot uint32) {
	at, run := len(o.slots)%64, len(o.slots)/64
	o.slots = append(o.slots, slot)
	if at == 0 {
		o.runs = append(o.runs, slot)
	} else if slot != o.runs[run]+uint32(at) {
		o.runs[run] = noRun
	}
}

// sort sorts in all that was appended.
func (o *owned) sort() {
	o.byUsername.build(&o.usernames)
	o.byAlias.build(&o.aliases)
}

// put adds an endpoint, or changes what may change of a known one.
func (o *owned) put(r *Roster, e account.Endpoint) {
	place, ok := o.place(e)
	if !ok {
		o.append(r, e)
		o.byUsername.insert(&o.usernames, int32(len(o.ids)-1))
		o.byAlias.insert(&o.aliases, int32(len(o.ids)-1))
		return
	}
	if string(o.aliases.at(int32(place))) != e.Alias {
		o.byAlias.remove(&o.aliases, int32(place))
		o.aliases.set(int32(place), e.Alias)
		o.byAlias.insert(&o.aliases, int32(place))
		if len(o.aliases.moved) > len(o.ids)/8+64 {
			o.aliases = o.aliases.kept(func(int32) bool { return true })
		}
	}
	before := o.apps[place]
	o.apps[place] = r.apps.take(e.Application)
	o.attached.set(place, e.Application != "")
	r.apps.release(before)
}

func (o *owned) remove(r *Roster, e account.Endpoint) {
	place, ok := o.place(e)
	if !ok {
		return
	}
	o.byUsername.remove(&o.usernames, int32(place))
	o.byAlias.remove(&o.aliases, int32(place))
	r.registered.remove(e.ID)
	r.apps.release(o.apps[place])
	o.live.drop(place)
	o.usernames.drop(int32(place))
	o.aliases.drop(int32(place))
	o.count--
	if gone := len(o.ids) - o.count; gone > o.count && gone >= 64 {
		o.compact()
	}
}

// place finds a known endpoint by its name, which does not change.
func (o *owned) place(e account.Endpoint) (place int, ok bool) {
	o.byUsername.span(&o.usernames, []byte(strings.ToLower(e.Username)), false, func(chunk []int32) {
		for _, p := range chunk { // of several domains
			if o.ids[p] == e.ID {
				place, ok = int(p), true
			}
		}
	})
	return place, ok
}

// compact closes the places of those that are gone.
func (o *owned) compact() {
	n := 0
	moved, slots := make([]int32, len(o.ids)), o.slots
	o.slots, o.runs = make([]uint32, 0, o.count), nil
	for place := range o.ids {
		if !o.live.has(place) {
			continue
		}
		moved[place] = int32(n)
		o.ids[n], o.apps[n] = o.ids[place], o.apps[place]
		o.addSlot(slots[place])
		n++
	}
	o.ids, o.apps = slices.Clone(o.ids[:n]), slices.Clone(o.apps[:n])
	live := func(place int32) bool { return o.live.has(int(place)) }
	o.usernames, o.aliases = o.usernames.kept(live), o.aliases.kept(live)
	o.live, o.attached = make(bitmap, (n+63)/64), make(bitmap, (n+63)/64)
	for place := range n {
		o.live.add(place)
		o.attached.set(place, o.apps[place] != 0)
	}
	o.byUsername.move(moved)
	o.byAlias.move(moved)
}

// find finds the places that a query selects. The caller ends it.
func (o *owned) find(r *Roster, q account.EndpointQuery) *found {
	f := &found{o: o, bitmaps: &r.bitmaps, set: o.live, whole: true}
	f.match(q.Username, &o.usernames, &o.byUsername, strings.ToLower)
	f.match(q.Alias, &o.aliases, &o.byAlias, func(s string) string { return s })
	if q.Application.Set {
		if app, known := r.apps.number(q.Application.Value); known {
			f.narrow(func(i int) uint64 { return equal(o.apps[i*64:], app) })
		} else {
			f.and(f.blank())
		}
	}
	if q.ApplicationIsNull.Set {
		f.narrow(func(i int) uint64 { return ^o.attached[i] ^ not(q.ApplicationIsNull.Value) })
	}
	if q.Registered.Set {
		pages := r.registered.pages.Load()
		f.narrow(func(i int) uint64 {
			if slots := o.slots[i*64:]; o.runs[i] == noRun || len(slots) < 64 {
				return pages.mask(slots) ^ not(q.Registered.Value)
			}
			return pages.run(o.runs[i]) ^ not(q.Registered.Value)
		})
	}
	return f
}

// found is what a query selects so far.
type found struct {
	o       *owned
	bitmaps *sync.Pool
	set     bitmap
	whole   bool // set is all of the owner's, and not ours to change
}

func (f *found) total() int {
	if f.whole {
		return f.o.count
	}
	return f.set.count()
}

// blank returns an empty set of our own.
func (f *found) blank() bitmap {
	b, _ := f.bitmaps.Get().(*bitmap)
	if b == nil || cap(*b) < len(f.set) {
		return make(bitmap, len(f.set), len(f.set)*5/4)
	}
	clear((*b)[:len(f.set)])
	return (*b)[:len(f.set)]
}

// end gives our set back.
func (f *found) end() {
	if !f.whole {
		f.bitmaps.Put(&f.set)
	}
}

// and leaves what is in the other set too, which becomes ours.
func (f *found) and(other bitmap) {
	for i := range other {
		other[i] &= f.set[i]
	}
	if !f.whole {
		before := f.set
		f.bitmaps.Put(&before)
	}
	f.set, f.whole = other, false
}

// narrow leaves what is in the masks too, each of 64 places.
func (f *found) narrow(mask func(i int) uint64) {
	if f.whole {
		f.and(append(f.blank()[:0], f.set...))
	}
	for i, word := range f.set {
		if word != 0 {
			f.set[i] = word & mask(i)
		}
	}
}

// match narrows by a text filter.
func (f *found) match(m account.Match, column *texts, index *sorted, fold func(string) string) {
	if m.Exact.Set {
		f.span(column, index, fold(m.Exact.Value), false)
	}
	if m.StartsWith.Value != "" {
		f.span(column, index, fold(m.StartsWith.Value), true)
	}
	if part := fold(m.Contains.Value); part != "" {
		other := f.blank()
		column.each(part, other.add)
		f.and(other)
	}
}

func (f *found) span(column *texts, index *sorted, text string, prefix bool) {
	n := 0
	index.span(column, []byte(text), prefix, func(chunk []int32) { n += len(chunk) })
	if n == f.o.count {
		return
	}
	other := f.blank()
	index.span(column, []byte(text), prefix, func(chunk []int32) {
		for _, place := range chunk {
			other.add(int(place))
		}
	})
	f.and(other)
}

// equal says where, in the next 64 places, a column holds a value.
func equal(column []uint32, value uint32) (mask uint64) {
	for i, x := range column[:min(64, len(column))] {
		if x == value {
			mask |= 1 << i
		}
	}
	return mask
}

// not is the mask that turns all places round when they shall not be true.
func not(is bool) uint64 {
	if is {
		return 0
	}
	return ^uint64(0)
}
