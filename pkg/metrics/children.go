package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// children keeps the series of each key at hand. Looking one up takes no lock and allocates nothing; a key that was
// never seen is added to a copy, which then takes the place of the old map.
type children[K comparable, T any] struct {
	create func(K) T
	known  atomic.Pointer[map[K]T]
	mu     sync.Mutex // held while known is replaced
}

func (c *children[K, T]) of(key K) T {
	if v, ok := c.all()[key]; ok {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.all()
	if v, ok := old[key]; ok {
		return v
	}
	grown := make(map[K]T, len(old)+1)
	maps.Copy(grown, old)
	v := c.create(key)
	grown[key] = v
	c.known.Store(&grown)
	return v
}

// all returns the series known now, to be read only.
func (c *children[K, T]) all() map[K]T {
	if m := c.known.Load(); m != nil {
		return *m
	}
	return nil
}

// forget drops all keys and calls remove, which takes their series away, before a new one can be added.
func (c *children[K, T]) forget(remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Store(nil)
	remove()
}
