package server

import "testing"

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 1000}, {4 << 20, 1000}, {32 << 20, 400}, {64 << 20, 200}, {128 << 20, 100}, {200 << 20, 64}, {1 << 30, 50}} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("%d MiB: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}
