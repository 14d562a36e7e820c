package locationlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// memDisk is a disk in memory that loses its power and fails on demand. What
// was written and not synced may be there afterwards, or not, block by block.
type memDisk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	files   map[string]*memNode
	durable map[string]*memNode // names as of the last sync of the folder
	renames []func(map[string]*memNode)
	left    int // operations until the power goes, negative: it stays
	off     bool
	flaky   float64 // how likely an operation fails
	failure error   // of every write and allocation
	noSync  error   // of every SyncData
}

const memBlock = 512

var errPower = errors.New("no power")

type memNode struct {
	data, safe []byte       // as programs see it; as it is on the disk
	dirty      map[int]bool // blocks of data that the disk does not have
}

func newMemDisk(seed uint64) *memDisk {
	return &memDisk{rng: rand.New(rand.NewPCG(seed, 1)), left: -1, files: map[string]*memNode{}, durable: map[string]*memNode{}}
}

// crashed is what the disk holds when the power is back.
func (d *memDisk) crashed() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newMemDisk(d.rng.Uint64())
	names := maps.Clone(d.durable)
	for _, f := range d.renames[:d.rng.IntN(len(d.renames)+1)] {
		f(names)
	}
	for name, node := range names {
		node.flush(d.rng, false)
		safe := slices.Clone(node.safe)
		next.files[name] = &memNode{data: safe, safe: slices.Clone(safe), dirty: map[int]bool{}}
	}
	next.durable = maps.Clone(next.files)
	return next
}

// flush brings dirty blocks to the disk: all, or each by chance.
func (n *memNode) flush(rng *rand.Rand, all bool) {
	if all || rng.IntN(2) == 0 {
		n.safe = append(n.safe[:min(len(n.safe), len(n.data))], make([]byte, max(0, len(n.data)-len(n.safe)))...)
	}
	for b := range n.dirty {
		from := b * memBlock
		if to := min(from+memBlock, len(n.data), len(n.safe)); from < to && (all || rng.IntN(2) == 0) {
			copy(n.safe[from:to], n.data[from:to])
		}
	}
	clear(n.dirty)
}

// step counts an operation. mu is held.
func (d *memDisk) step() error {
	if d.left == 0 {
		d.off = true
	}
	d.left--
	if d.off {
		return errPower
	}
	if d.flaky > 0 && d.rng.Float64() < d.flaky {
		return syscall.EIO
	}
	return nil
}

func (d *memDisk) names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), nil
}

// change applies a change of the folder.
func (d *memDisk) change(f func(map[string]*memNode)) {
	f(d.files)
	d.renames = append(d.renames, f)
}

func (d *memDisk) create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	n := &memNode{dirty: map[int]bool{}}
	d.change(func(names map[string]*memNode) { names[name] = n })
	return &memFile{d, n}, nil
}

func (d *memDisk) open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.files[name]; n != nil {
		return &memFile{d, n}, nil
	}
	return nil, fs.ErrNotExist
}

func (d *memDisk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.change(func(names map[string]*memNode) { names[to] = names[from]; delete(names, from) })
	return nil
}

func (d *memDisk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	if d.files[name] == nil {
		return fs.ErrNotExist
	}
	d.change(func(names map[string]*memNode) { delete(names, name) })
	return nil
}

func (d *memDisk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.durable, d.renames = maps.Clone(d.files), nil
	return nil
}

// size is that of all files.
func (d *memDisk) size() (sum int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.files {
		sum += int64(len(n.data))
	}
	return sum
}

func (d *memDisk) set(f func(*memDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

type memFile struct {
	disk *memDisk
	node *memNode
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := errors.Join(f.disk.step(), f.disk.failure)
	if err != nil {
		b = b[:f.disk.rng.IntN(len(b))] // a part gets through
	}
	n := f.node
	if end := int(off) + len(b); end > len(n.data) {
		n.data = append(n.data, make([]byte, end-len(n.data))...)
	}
	copy(n.data[off:], b)
	for at := int(off) / memBlock * memBlock; at < int(off)+len(b); at += memBlock {
		n.dirty[at/memBlock] = true
	}
	return len(b), err
}

func (f *memFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	if size > int64(len(f.node.data)) {
		return fmt.Errorf("a truncation to %d lengthens a file of %d", size, len(f.node.data))
	}
	f.node.data = f.node.data[:size:size]
	return nil
}

func (f *memFile) Allocate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := errors.Join(f.disk.step(), f.disk.failure); err != nil {
		return err
	}
	if size > int64(len(f.node.data)) {
		f.node.data = append(f.node.data, make([]byte, size-int64(len(f.node.data)))...)
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// SyncData that fails has brought some of the blocks to the disk and forgotten
// the others, as a kernel does.
func (f *memFile) SyncData() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := errors.Join(f.disk.step(), f.disk.noSync)
	f.node.flush(f.disk.rng, err == nil)
	return err
}

func (f *memFile) Close() error { return nil }
