package location

import (
	"sync"

	"onhook/internal/sip"
)

const numFlowShards = 64

// flowIndex knows which addresses-of-record have a binding on a connection.
// Its locks nest inside the locks of the shards.
type flowIndex struct {
	shards [numFlowShards]flowShard
}

type flowShard struct {
	mu     sync.Mutex
	keys   map[uint64]flowKeys // by connection number
	notify sync.Mutex          // held while Bound or Idle is called, so that the last call tells the last state
}

// flowKeys is nearly always one key; more holds the others.
type flowKeys struct {
	one  Key
	more []Key
}

func (fx *flowIndex) init() {
	for i := range fx.shards {
		fx.shards[i].keys = make(map[uint64]flowKeys)
	}
}

func (fx *flowIndex) shard(conn uint64) *flowShard { return &fx.shards[conn%numFlowShards] }

// add reports whether the connection had no key before.
func (fx *flowIndex) add(conn uint64, key Key) bool {
	fs := fx.shard(conn)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	k, used := fs.keys[conn]
	if !used {
		fs.keys[conn] = flowKeys{one: key}
		return true
	}
	k.more = append(k.more, key)
	fs.keys[conn] = k
	return false
}

// remove reports whether the connection has no key any more.
func (fx *flowIndex) remove(conn uint64, key Key) bool {
	fs := fx.shard(conn)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	k, used := fs.keys[conn]
	if !used {
		return false
	}
	last := len(k.more) - 1
	if last < 0 {
		if k.one == key {
			delete(fs.keys, conn)
			return true
		}
		return false
	}
	if k.one == key {
		k.one, k.more = k.more[last], k.more[:last]
	} else {
		for i := range k.more {
			if k.more[i] == key {
				k.more[i] = k.more[last]
				k.more = k.more[:last]
				break
			}
		}
	}
	fs.keys[conn] = k
	return false
}

// take removes the connection and appends its keys to dst.
func (fx *flowIndex) take(conn uint64, dst []Key) []Key {
	fs := fx.shard(conn)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if k, used := fs.keys[conn]; used {
		dst = append(append(dst, k.one), k.more...)
		delete(fs.keys, conn)
	}
	return dst
}

func (fx *flowIndex) get(conn uint64, dst []Key) []Key {
	fs := fx.shard(conn)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if k, used := fs.keys[conn]; used {
		dst = append(append(dst, k.one), k.more...)
	}
	return dst
}

// reindex follows a change of a key's connections and appends those that have
// become used or unused to moved. The key's shard is locked.
func (x *Index) reindex(key Key, before, after, moved []sip.Flow) []sip.Flow {
	for _, f := range after {
		if !hasConn(before, f.Conn) && x.flows.add(f.Conn, key) {
			moved = append(moved, f)
		}
	}
	for _, f := range before {
		if !hasConn(after, f.Conn) && x.flows.remove(f.Conn, key) {
			moved = append(moved, f)
		}
	}
	return moved
}

// notify calls Bound or Idle for connections that may have changed. No lock of
// the index is held, so that the callbacks may close the connection.
func (x *Index) notify(moved []sip.Flow) {
	for _, f := range moved {
		x.notifyOne(f)
	}
}

func (x *Index) notifyOne(f sip.Flow) {
	if x.cfg.Bound == nil && x.cfg.Idle == nil {
		return
	}
	fs := x.flows.shard(f.Conn)
	fs.notify.Lock()
	defer fs.notify.Unlock()
	switch used := x.FlowInUse(f); {
	case used && x.cfg.Bound != nil:
		x.cfg.Bound(f)
	case !used && x.cfg.Idle != nil:
		x.cfg.Idle(f)
	}
}

// FlowInUse reports whether a connection carries a binding. It is false for UDP.
func (x *Index) FlowInUse(flow sip.Flow) bool {
	if flow.Conn == 0 {
		return false
	}
	fs := x.flows.shard(flow.Conn)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	_, used := fs.keys[flow.Conn]
	return used
}

// OnFlow appends the addresses-of-record with a live binding on exactly this
// connection, registered without a proxy in between (no Path).
func (x *Index) OnFlow(flow sip.Flow, dst []Key) []Key {
	if flow.Conn == 0 {
		return dst
	}
	start := len(dst)
	dst = x.flows.get(flow.Conn, dst)
	keep := dst[:start]
	now := x.now()
	c := x.change(0, now)
	defer x.release(c)
	for _, key := range dst[start:] {
		s := x.shard(key)
		s.mu.Lock()
		c.decode(s.entries[key])
		for i := range c.set.Bindings {
			b := &c.set.Bindings[i]
			if b.Flow == flow && b.Path == "" && b.endsAt() > now.UnixMilli() {
				keep = append(keep, key)
				break
			}
		}
		c.clear() // its strings are views of what the lock protects
		s.mu.Unlock()
	}
	return keep
}

// FlowClosed tells that a connection is gone. Its flow-bound bindings end with
// it: those of WS and WSS after a grace in which the device may return (a page
// that is reloaded). Others stay and are dialled at their Contact.
func (x *Index) FlowClosed(flow sip.Flow) {
	if flow.Conn == 0 {
		return
	}
	var buf [8]Key
	now := x.now()
	until := now.UnixMilli()
	if flow.Transport.WebSocket() && x.cfg.WebSocketGrace > 0 {
		until += x.cfg.WebSocketGrace.Milliseconds()
	}
	c := x.change(0, now)
	defer x.release(c)
	for _, key := range x.flows.take(flow.Conn, buf[:0]) {
		s := x.shard(key)
		s.mu.Lock()
		if en := s.entries[key]; en != nil && en.n > 0 {
			c.decode(en)
			for i := range c.set.Bindings {
				if b := &c.set.Bindings[i]; b.Flow.Conn == flow.Conn {
					x.disconnect(b, until)
				}
			}
			// Not journalled: after a restart no connection counts anyway. The
			// binding's end, which the timer brings, is.
			c.encode(x)
			x.store(s, en, c, now.UnixMilli())
		}
		c.clear()
		s.mu.Unlock()
	}
}
