package journaltest

import (
	"sync"

	"onhook/internal/location"
)

// Memory is a location.Journal in memory.
type Memory struct {
	mu      sync.Mutex
	records map[location.Key][]byte
	discard bool
	fail    error
	gate    chan struct{} // Commit waits for it when set
	entered chan struct{} // told when Commit waits
	commits int
}

// NewMemory makes an empty journal.
func NewMemory() *Memory {
	return &Memory{records: map[location.Key][]byte{}, entered: make(chan struct{}, 1)}
}

// NewDiscard makes a journal that forgets everything at once.
func NewDiscard() *Memory {
	m := NewMemory()
	m.discard = true
	return m
}

// Fail makes every Commit fail with err, as a full disk would; nil ends it.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Hold makes Commit wait, as a slow disk would, until release is called.
// Entered tells when a Commit has come to wait.
func (m *Memory) Hold() (entered <-chan struct{}, release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := make(chan struct{})
	m.gate = gate
	return m.entered, func() {
		m.mu.Lock()
		m.gate = nil
		m.mu.Unlock()
		close(gate)
	}
}

// Commits returns how many batches were committed.
func (m *Memory) Commits() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commits
}

// Put stores a record past Commit.
func (m *Memory) Put(key location.Key, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[key] = append([]byte(nil), value...)
}

// Commit applies the batch.
func (m *Memory) Commit(batch []location.Record) error {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		select {
		case m.entered <- struct{}{}:
		default:
		}
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.commits++
	if m.discard {
		return nil
	}
	for _, r := range batch {
		if len(r.Value) == 0 {
			delete(m.records, r.Key)
		} else {
			m.records[r.Key] = append([]byte(nil), r.Value...)
		}
	}
	return nil
}

// Load goes through all records.
func (m *Memory) Load(f func(location.Key, []byte) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, value := range m.records {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Get appends the record of a key.
func (m *Memory) Get(key location.Key, dst []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(dst, m.records[key]...), nil
}

// Close does nothing: the records stay for the next owner.
func (m *Memory) Close() error { return nil }
