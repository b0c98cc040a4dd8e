package consumer

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// exchangeTimeout bounds a read or write for which nobody has set a deadline.
const exchangeTimeout = 15 * time.Second

// guardConn is a broker connection on which no read or write waits for ever. kafka-go clears the deadline before the
// SASL exchange, so a broker that accepts and falls silent would otherwise hold the caller without end.
type guardConn struct {
	net.Conn
	timeout       time.Duration
	reads, writes atomic.Bool // a deadline is set
	closed        sync.Once
	onClose       func(*guardConn)
}

// Read implements net.Conn.
func (c *guardConn) Read(p []byte) (int, error) {
	if !c.reads.Load() {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *guardConn) Write(p []byte) (int, error) {
	if !c.writes.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// SetDeadline implements net.Conn.
func (c *guardConn) SetDeadline(t time.Time) error {
	c.reads.Store(!t.IsZero())
	c.writes.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *guardConn) SetReadDeadline(t time.Time) error {
	c.reads.Store(!t.IsZero())
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *guardConn) SetWriteDeadline(t time.Time) error {
	c.writes.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// Close implements net.Conn.
func (c *guardConn) Close() error {
	c.closed.Do(func() { c.onClose(c) })
	return c.Conn.Close()
}
