package devserver

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
)

// Process is a child process whose output's end is kept.
type Process struct {
	cmd  *exec.Cmd
	tail *Tail
	done chan struct{}
	err  error // valid after done
}

// Run starts the program under test with these arguments.
func Run(args ...string) (*Process, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	return Command(exec.Command(binary, args...))
}

// Command starts cmd as a process group of its own that ends with us.
func Command(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, tail: &Tail{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.tail, p.tail
	cmd.SysProcAttr = childAttributes()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how it ended: nil for exit code 0. Valid after Done.
func (p *Process) Err() error { return p.err }

// Log returns the end of the output.
func (p *Process) Log() string { return p.tail.String() }

// Fault returns the first output that tells of a panic, recovered or not, or of a
// data race; "" when there is none.
func (p *Process) Fault() string {
	p.tail.mu.Lock()
	defer p.tail.mu.Unlock()
	return p.tail.alarm
}

// Signal sends a signal to the process.
func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Kill ends the process and its children, and waits.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// tailSize is how much output a failure shows.
const tailSize = 16 << 10

// noise are log lines of which tests cause many and which explain no failure.
var noise = []byte("msg=request package=api")

// fault is what no test may cause, though the program recovers from it.
var fault = regexp.MustCompile(`DATA RACE|\bpanic`)

// Tail keeps the last part of what is written to it.
type Tail struct {
	mu    sync.Mutex
	buf   []byte
	alarm string // the first output that tells of a fault in the program itself
}

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.alarm == "" && fault.Match(p) {
		t.alarm = string(p)
	}
	if bytes.Contains(p, noise) && bytes.Contains(p, []byte("status=2")) {
		return len(p), nil
	}
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*tailSize {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailSize:]...)
	}
	return len(p), nil
}

func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, []byte("?")))
}
