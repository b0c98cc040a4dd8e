// Package registry asks a Confluent Schema Registry what the schemas are that records name.
//
// A [Client] is a [record.Schemas]: nobody waits in it. A schema that nobody has asked for yet is fetched by a goroutine of its
// own, as often as it takes; whoever needs it is told when to come again.
//
//	goroutine          started by    waited for by   ends when
//	fetch, one per id  Schema        Close           the schema is known, or known not to be there; Close
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"learner/pkg/record"
)

// Config says where the registry is.
type Config struct {
	URLs        string // of one registry, with commas between
	Key, Secret string // basic authentication; empty: what the URLs say, or none
	TLS         *tls.Config
	Timeout     time.Duration // of a request; 0: 10 s
	NotFound    []string      // ids of schemas of which it was settled before that they are not there
	Logger      *zap.Logger   // nil: none
	Requested   func(Result)  // called after each request; nil: nothing
}

// Result is how a request ended.
type Result string

// The results.
const (
	OK       Result = "ok"
	NotFound Result = "not_found"
	Failed   Result = "error"
)

// Results returns all results.
func Results() []Result { return []Result{OK, NotFound, Failed} }

// patience says how often the registry is asked.
type patience struct {
	first, most time.Duration // between attempts that fail: twice as long each time
	again       time.Duration // between answers that there is no such schema
	answers     int           // so many of them, one after the other, are believed
}

var patient = patience{first: 100 * time.Millisecond, most: 10 * time.Second, again: 2500 * time.Millisecond, answers: 5}

// maxFetches is how many schemas are fetched at a time.
const maxFetches = 8

// Client knows the schemas of one registry. What it knows it keeps. Any goroutine may use it.
type Client struct {
	urls      []address
	http      *http.Client
	logger    *zap.Logger
	requested func(Result)
	patience  patience

	ctx     context.Context
	cancel  context.CancelFunc
	fetches sync.WaitGroup
	turns   chan struct{} // full: no more fetches at a time
	pending atomic.Int64

	mu     sync.Mutex
	closed bool
	ids    map[string]*entry
}

// entry is what is known of an id. The client's lock guards it.
type entry struct {
	def     *record.Definition
	bad     *record.Bad
	why     string        // it is not known yet
	settled chan struct{} // closed when def or bad is there
}

// New returns a client. Its error names all that is wrong with cfg.
func New(cfg Config) (*Client, error) { return newClient(cfg, patient) }

func newClient(cfg Config, p patience) (*Client, error) {
	urls, err := addresses(cfg)
	if err != nil {
		return nil, err
	}
	c := &Client{
		urls: urls, http: newHTTP(cfg), logger: cfg.Logger, requested: cfg.Requested, patience: p,
		turns: make(chan struct{}, maxFetches), ids: make(map[string]*entry),
	}
	if c.logger == nil {
		c.logger = zap.NewNop()
	}
	if c.requested == nil {
		c.requested = func(Result) {}
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.Condemn(cfg.NotFound...)
	return c, nil
}

// Close ends all fetches and waits for them. What is known can still be asked for.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.fetches.Wait()
	c.http.CloseIdleConnections()
}

// Pending returns how many schemas were asked for and are not known yet.
func (c *Client) Pending() int { return int(c.pending.Load()) }

// Schema returns the schema of an id; see [record.Schemas]. It never waits.
func (c *Client) Schema(id string) (*record.Definition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.ids[id]
	if e == nil {
		e = &entry{why: "the registry has not answered yet", settled: make(chan struct{})}
		c.ids[id] = e
		c.pending.Add(1)
		if !c.closed {
			c.fetches.Go(func() { c.fetch(id, e) })
		}
	}
	switch {
	case e.bad != nil:
		return nil, e.bad
	case e.def != nil:
		return e.def, nil
	}
	return nil, &record.Pending{Schema: id, Known: e.settled, Why: func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return e.why
	}}
}

// Condemn settles that there are no schemas of these ids. Those that are known stay.
func (c *Client) Condemn(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		bad := notFound(id, "it was settled before that there is none")
		if e := c.ids[id]; e != nil {
			c.settle(e, nil, bad)
			continue
		}
		settled := make(chan struct{})
		close(settled)
		c.ids[id] = &entry{bad: bad, settled: settled}
	}
}

func notFound(id, why string) *record.Bad {
	return &record.Bad{Reason: record.SchemaNotFound, Schema: id, Detail: "schema " + id + ": " + why}
}

// settle says what an id is, if nobody has said it yet. The caller holds the lock.
func (c *Client) settle(e *entry, def *record.Definition, bad *record.Bad) {
	if e.def != nil || e.bad != nil {
		return
	}
	e.def, e.bad = def, bad
	c.pending.Add(-1)
	close(e.settled)
}

// fetch asks for a schema until it is known or known not to be there.
func (c *Client) fetch(id string, e *entry) {
	wait, denials, said := c.patience.first, 0, ""
	for {
		def, err := c.oneAt(id)
		pause := wait/2 + rand.N(wait/2+1)
		bad, _ := errors.AsType[*record.Bad](err)
		_, denial := errors.AsType[*denied](err)
		switch {
		case err == nil || bad != nil:
			c.finish(id, e, def, bad, said)
			return
		case denial:
			denials++
			if denials == c.patience.answers {
				c.finish(id, e, nil, notFound(id, fmt.Sprintf("%v, %d times", err, denials)), said)
				return
			}
			pause = c.patience.again
		default:
			denials = 0
			wait = min(2*wait, c.patience.most)
		}
		if c.ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		e.why = err.Error()
		c.mu.Unlock()
		if text := err.Error(); text != said {
			said = text
			c.logger.Warn("schema is not known yet", zap.String("schema", id), zap.Error(err))
		}
		select {
		case <-time.After(pause):
		case <-e.settled: // by Condemn
			return
		case <-c.ctx.Done():
			return
		}
	}
}

// oneAt fetches a schema when it is its turn.
func (c *Client) oneAt(id string) (*record.Definition, error) {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
		return c.definition(id)
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

// finish settles what was fetched.
func (c *Client) finish(id string, e *entry, def *record.Definition, bad *record.Bad, said string) {
	c.mu.Lock()
	c.settle(e, def, bad)
	c.mu.Unlock()
	switch {
	case bad != nil:
		c.logger.Error("records of a schema are refused", zap.String("schema", id), zap.Error(bad))
	case said != "":
		c.logger.Info("schema is known now", zap.String("schema", id))
	}
}
