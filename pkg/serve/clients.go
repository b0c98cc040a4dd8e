package serve

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	maxConnections = 256
	// stuckAfter is when a request may be cut off to make room for a new connection.
	stuckAfter = time.Second
	// tellFull is the time between two log lines about too many connections.
	tellFull = time.Minute
)

// clients bounds the connections of one listener, so that what strangers hold open uses up neither memory nor the file
// descriptors that the way to Kafka needs, and still locks nobody out. When a connection is one too many, the one that has
// been without a whole request for longest makes room: one that was opened and is silent, sends its headers byte by byte, or
// waits for the next request. Where all are being answered, it is the request that has taken longest, if that is more than
// stuckAfter; else the new connection is closed.
type clients struct {
	log   *zap.Logger
	mu    sync.Mutex // guards what follows
	of    map[net.Conn]*list.Element
	quiet *list.List // of client: without a request, the longest first
	busy  *list.List // of client: their requests are being answered, the longest first
	told  time.Time  // when the log was told last that there are too many
}

// client is one connection.
type client struct {
	conn  net.Conn
	since time.Time // in its list
}

func newClients(log *zap.Logger) *clients {
	return &clients{log: log, of: make(map[net.Conn]*list.Element), quiet: list.New(), busy: list.New()}
}

// changed is the server's ConnState.
func (c *clients) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(c.of) >= maxConnections && !c.makeRoom() {
			_ = conn.Close() // nothing was sent, nothing is lost
			return
		}
		c.of[conn] = c.quiet.PushBack(client{conn, time.Now()})
	case http.StateIdle:
		c.move(conn, c.quiet)
	case http.StateClosed:
		c.remove(conn)
	}
}

// connKey is where a request's context has its connection.
type connKey struct{}

// connected is the server's ConnContext.
func (c *clients) connected(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// noted notes that a request has come whole, but for its body, and is being answered by next.
func (c *clients) noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.mu.Lock()
			c.move(conn, c.busy)
			c.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// makeRoom closes a connection, if there is one that may be closed.
func (c *clients) makeRoom() bool {
	if time.Since(c.told) >= tellFull {
		c.told = time.Now()
		c.log.Warn("too many http connections: those that are idle for longest are closed", zap.Int("most", maxConnections))
	}
	victim := c.quiet.Front()
	if victim == nil {
		victim = c.busy.Front()
		if time.Since(victim.Value.(client).since) < stuckAfter {
			return false
		}
	}
	conn := victim.Value.(client).conn
	c.remove(conn)
	_ = conn.Close() // whoever reads or writes it notices
	return true
}

// move puts a connection at the end of a list, unless it is closed already.
func (c *clients) move(conn net.Conn, to *list.List) {
	if _, ok := c.of[conn]; ok {
		c.remove(conn)
		c.of[conn] = to.PushBack(client{conn, time.Now()})
	}
}

func (c *clients) remove(conn net.Conn) {
	if e, ok := c.of[conn]; ok {
		c.quiet.Remove(e) // does nothing to what is in the other list
		c.busy.Remove(e)
		delete(c.of, conn)
	}
}
