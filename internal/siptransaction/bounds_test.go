package siptransaction

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onhook/internal/sip"
)

func TestAfterFunc(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		b.l.AfterFunc(15*time.Millisecond, func() { b.note("a") })
		stopped := b.l.AfterFunc(100*time.Millisecond, func() { b.note("never") })
		b.l.AfterFunc(3*time.Minute, func() { b.note("c") })
		b.l.AfterFunc(0, func() {
			b.note("now")
			b.l.AfterFunc(50*time.Millisecond, func() { b.note("nested") })
		})
		b.until(99)
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop")
		}
		fired := b.l.AfterFunc(10*time.Millisecond, func() {})
		b.until(200)
		if fired.Stop() {
			t.Error("stopped a timer that had fired")
		}
		b.until(180000)
		b.want("10 now", "20 a", "60 nested", "180000 c")
		b.idle()
	})
}

// After a pause longer than the wheel's turn every timer still fires, once.
func TestWheelCatchesUp(t *testing.T) {
	var w wheel
	w.init(new(alarm))
	fired := 0
	for at := range int64(3000) {
		n := &node{owner: ownerFunc(func(e []effect) []effect { fired++; return e })}
		w.set(n, at)
	}
	w.advance(2500, nil)
	if fired != 2501 || w.armed != 499 {
		t.Errorf("fired %d, armed %d", fired, w.armed)
	}
	w.advance(1e6, nil)
	if fired != 3000 || w.armed != 0 {
		t.Errorf("fired %d, armed %d", fired, w.armed)
	}
}

type ownerFunc func(e []effect) []effect

func (f ownerFunc) fire(_ *node, e []effect) []effect { return f(e) }

// A timer stopped by another one of the same tick does not fire.
func TestWheelStopWithinTick(t *testing.T) {
	var w wheel
	w.init(new(alarm))
	var a, b node
	fired := ""
	a.owner = ownerFunc(func(e []effect) []effect { fired += "a"; w.stop(&b); return e })
	b.owner = ownerFunc(func(e []effect) []effect { fired += "b"; w.stop(&a); return e })
	w.set(&a, 5)
	w.set(&b, 5)
	w.advance(10, nil)
	if fired != "a" {
		t.Errorf("fired %q", fired)
	}
}

// finished against a plain map, with random lifetimes of the queue.
func TestFinishedAgainstModel(t *testing.T) {
	var f finished
	f.init(6 * chunkSize)
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[key]string{}
	var order []key
	now := int64(0)
	for i := range 20000 {
		k := key{rng.Uint64(), rng.Uint64() % 512} // many share a home
		text := strings.Repeat(fmt.Sprint(i, " "), 1+rng.IntN(300))
		dropped := f.put(k, now+100, []byte(text))
		model[k] = text
		order = append(order, k)
		for range dropped {
			delete(model, order[0])
			order = order[1:]
		}
		if rng.IntN(50) == 0 {
			before := f.count
			now += int64(rng.IntN(120))
			f.expire(now)
			for range before - f.count {
				delete(model, order[0])
				order = order[1:]
			}
		}
		if f.count != len(model) || len(f.chunks) > 6 || len(f.free) > keptChunks {
			t.Fatalf("count %d, model %d, chunks %d", f.count, len(model), len(f.chunks))
		}
		now++
	}
	bytes := 0
	for k, text := range model {
		bytes += len(text)
		if got := f.get(k); string(got) != text {
			t.Fatalf("got %.20q, want %.20q", got, text)
		}
	}
	if bytes != f.bytes {
		t.Errorf("bytes %d, want %d", f.bytes, bytes)
	}
	f.expire(now + 1000)
	if f.count != 0 || f.bytes != 0 || f.find(order[0]) >= 0 {
		t.Errorf("left: %d", f.count)
	}
}

// Over the byte bound the oldest go first, and are counted.
func TestFinishedBytesAreBounded(t *testing.T) {
	run(t, Config{Shards: 1, MaxFinishedBytes: 4 * chunkSize}, func(b *bench) {
		body := strings.Repeat("x", 1000)
		for i := range 1000 {
			tx := b.begin(request("REGISTER", fmt.Sprint(cookie, i)), udp)
			tx.Respond(200, []byte(response(200, "REGISTER", cookie)+body))
		}
		st := b.l.Stats()
		if st.FinishedBytes > 4*chunkSize || st.DroppedEarly == 0 || st.Finished+int(st.DroppedEarly) != 1000 {
			t.Errorf("%+v", st)
		}
		if b.receive(request("REGISTER", cookie+"0"), udp) || !b.receive(request("REGISTER", cookie+"999"), udp) {
			t.Error("not the oldest was dropped")
		}
		b.until(32000)
		b.idle()
	})
}

// All kinds of ends leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	run(t, Config{}, func(b *bench) {
		for i := range 3000 {
			flow := udp
			if i%3 == 0 {
				flow = tcp
				flow.Conn = uint64(1 + i%7)
			}
			method := []string{"REGISTER", "INVITE", "MESSAGE"}[i%3]
			br := fmt.Sprint(cookie, i)
			tx := b.begin(request(method, br), flow)
			if i%4 != 0 {
				tx.Respond([]int{100, 200, 486}[i%5%3], []byte(response(200, method, br)))
			}
			if i%10 == 0 {
				b.receive(request("CANCEL", br), flow)
			}
			out := NewBranch()
			c, err := b.l.Request(flow, []byte(request(method, out)), b)
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				b.receive(response([]int{100, 200, 486}[i%7%3], method, out), flow)
			}
			if i%5 == 0 {
				c.Cancel(nil)
			}
			if tx.Method() == "INVITE" {
				b.l.AfterFunc(time.Minute, func() { tx.Respond(408, []byte(response(408, "INVITE", br))) })
			}
			if i%3 == 1 { // an INVITE of ours that only provisionals answer is its user's to end
				b.l.AfterFunc(time.Minute, func() { c.Cancel(nil) })
			}
		}
		for conn := range uint64(4) {
			flow := tcp
			flow.Conn = conn
			b.l.FlowClosed(flow, ErrTimeout)
		}
		b.until(200000)
		b.idle()
	})
}

// Many goroutines work on the same transactions; -race watches.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l *Layer
		user := &countingUser{}
		l = New(Config{Sender: sendFunc(func(_ sip.Flow, msg []byte) error {
			_ = string(msg)
			return nil
		}), Handler: user, Shards: 4})
		go l.Run(t.Context())
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 1))
				m := new(sip.Message)
				for i := range 400 {
					flow := udp
					if i%2 == 0 {
						flow = tcp
						flow.Conn = 1 + rng.Uint64N(3)
					}
					br := fmt.Sprint(cookie, rng.IntN(50))
					method := []string{"REGISTER", "INVITE"}[rng.IntN(2)]
					m.Parse([]byte(request([]string{method, method, "ACK", "CANCEL"}[rng.IntN(4)], br)))
					if !l.Receive(m, flow) {
						if tx, ok := l.Begin(m, flow); ok {
							tx.SetUser(i)
							if method == "INVITE" {
								tx.Respond(180, []byte(response(180, method, br)))
							}
							tx.Respond(200+rng.IntN(2)*286, []byte(response(200, method, br)))
						}
					}
					if c, err := l.Request(flow, []byte(request(method, br)), user); err == nil {
						c.Cancel(nil)
					}
					m.Parse([]byte(response([]int{180, 200, 486}[rng.IntN(3)], method, br)))
					l.Receive(m, flow)
					if i%50 == 0 {
						l.FlowClosed(flow, ErrTimeout)
						l.Stats()
						<-time.After(100 * time.Millisecond)
					}
				}
			})
		}
		wg.Wait()
		<-time.After(3 * time.Minute)
		for conn := range uint64(4) {
			l.FlowClosed(sip.Flow{Transport: sip.TCP, Conn: conn}, ErrTimeout)
		}
		if st := l.Stats(); st.Finished+st.Connections != 0 {
			t.Errorf("%+v", st)
		}
		l.Close()
		synctest.Wait()
	})
}

type countingUser struct{}

func (*countingUser) Response(c *Client, resp *sip.Message)  { _ = resp.CallID }
func (*countingUser) Failed(c *Client, err error)            { _ = c.Flow() }
func (*countingUser) Cancel(tx *Server, cancel *sip.Message) { _ = tx.User() }

// A REGISTER costs no allocation from its arrival to the end of Timer J.
func TestRegisterAllocations(t *testing.T) {
	l := New(Config{Sender: sendFunc(func(sip.Flow, []byte) error { return nil })})
	answer := []byte(response(200, "REGISTER", cookie))
	branches := make([]*sip.Message, 4000)
	for i := range branches {
		branches[i] = parse(t, request("REGISTER", fmt.Sprint(cookie, i)))
	}
	var now int64
	var e []effect
	i := 0
	one := func() {
		m := branches[i%len(branches)]
		i++
		if l.Receive(m, udp) {
			t.Fatal("absorbed")
		}
		tx, ok := l.Begin(m, udp)
		if !ok {
			t.Fatal("not begun")
		}
		tx.Respond(200, answer)
		if !l.Receive(m, udp) {
			t.Fatal("not absorbed")
		}
		if i%1000 == 0 {
			now += int64(65 * time.Second / tick)
			e, _ = l.advance(now, e)
		}
	}
	for range 2 * len(branches) {
		one()
	}
	if n := testing.AllocsPerRun(20000, one); n != 0 {
		t.Errorf("%v allocations per REGISTER", n)
	}
	if st := l.Stats(); st.Finished == 0 || st.DroppedEarly != 0 {
		t.Errorf("%+v", st)
	}
}

func BenchmarkRegister(b *testing.B) {
	l := New(Config{Sender: sendFunc(func(sip.Flow, []byte) error { return nil })})
	answer := []byte(response(200, "REGISTER", cookie))
	ms := make([]*sip.Message, 8192)
	for i := range ms {
		ms[i] = parse(b, request("REGISTER", fmt.Sprint(cookie, i)))
	}
	var now int64
	var e []effect
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m := ms[i%len(ms)]
		if i++; i%len(ms) == 0 {
			now += int64(65 * time.Second / tick)
			e, _ = l.advance(now, e)
		}
		if !l.Receive(m, udp) {
			tx, _ := l.Begin(m, udp)
			tx.Respond(200, answer)
		}
	}
}
