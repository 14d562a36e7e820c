package sipproxy

import (
	"slices"
	"sync"

	"onhook/internal/sip"
)

// ringing knows which unanswered calls were placed over which connection.
type ringing struct {
	mu    sync.Mutex
	forks map[uint64][]*fork // by connection number
}

func (r *ringing) add(f *fork) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forks[f.source.Conn] = append(r.forks[f.source.Conn], f)
}

func (r *ringing) remove(f *fork) {
	r.mu.Lock()
	defer r.mu.Unlock()
	forks := r.forks[f.source.Conn]
	i := slices.Index(forks, f)
	switch {
	case i < 0:
	case len(forks) == 1:
		delete(r.forks, f.source.Conn)
	default:
		r.forks[f.source.Conn] = slices.Delete(forks, i, i+1)
	}
}

func (r *ringing) take(conn uint64) []*fork {
	r.mu.Lock()
	defer r.mu.Unlock()
	forks := r.forks[conn]
	delete(r.forks, conn)
	return forks
}

// FlowClosed cancels the calls that were placed over a connection and are not
// answered yet: nothing can be said to their caller any more.
func (p *Proxy) FlowClosed(flow sip.Flow) {
	if flow.Conn == 0 {
		return
	}
	for _, f := range p.ringing.take(flow.Conn) {
		f.lost()
	}
}

// watch has a new call cancelled when its caller's connection ends. It reports
// false when that has happened already.
func (p *Proxy) watch(f *fork) bool {
	if f.source.Conn == 0 || f.inDialog != nil {
		return true
	}
	p.ringing.add(f)
	return p.Transport.Alive(f.source)
}
