package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"learner/internal/broker"
)

// network is the way between clients and the listeners behind it, which can be made a bad one.
type network struct {
	mu     sync.Mutex
	listen []net.Listener // of the clients' side
	conns  map[net.Conn]bool
	stall  chan struct{} // closed: bytes flow; otherwise they wait
	delay  time.Duration // of every piece
	refuse bool          // new connections
}

func newNetwork(t *testing.T) *network {
	n := &network{conns: make(map[net.Conn]bool), stall: make(chan struct{})}
	close(n.stall)
	t.Cleanup(func() {
		n.mend()
		for _, l := range n.listen {
			_ = l.Close()
		}
		n.cut()
	})
	return n
}

// behind is a listener that says it were at the network's clients' side.
type behind struct {
	net.Listener
	front net.Addr
}

func (l behind) Addr() net.Addr { return l.front }

// listenBehind listens behind the network: for kfake.ListenFn, so that the brokers advertise the way through it.
func (n *network) listenBehind(kind, address string) (net.Listener, error) {
	back, err := net.Listen(kind, address)
	if err != nil {
		return nil, err
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.listen = append(n.listen, front)
	n.mu.Unlock()
	go func() {
		for {
			client, err := front.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			refuse := n.refuse
			n.mu.Unlock()
			server, err := net.Dial("tcp", back.Addr().String())
			if err != nil || refuse {
				_ = client.Close()
				continue
			}
			go n.carry(client, server)
			go n.carry(server, client)
		}
	}()
	return behind{back, front.Addr()}, nil
}

// carry passes bytes on, at the network's pace, until either side ends.
func (n *network) carry(dst, src net.Conn) {
	n.mu.Lock()
	n.conns[src] = true
	n.mu.Unlock()
	piece := make([]byte, 16<<10)
	for {
		got, err := src.Read(piece)
		if err != nil {
			break
		}
		n.mu.Lock()
		stall, delay := n.stall, n.delay
		n.mu.Unlock()
		<-stall
		time.Sleep(delay)
		if _, err := dst.Write(piece[:got]); err != nil {
			break
		}
	}
	_, _ = src.Close(), dst.Close()
	n.mu.Lock()
	delete(n.conns, src)
	n.mu.Unlock()
}

// cut ends all connections.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Close()
	}
}

// hold stops all bytes until mend.
func (n *network) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stall = make(chan struct{})
}

// slow delays every piece.
func (n *network) slow(delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = delay
}

// sever ends all connections and lets no new ones come until mend.
func (n *network) sever() {
	n.mu.Lock()
	n.refuse = true
	n.mu.Unlock()
	n.cut()
}

// mend makes the network a good one again.
func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse, n.delay = false, 0
	select {
	case <-n.stall:
	default:
		close(n.stall)
	}
}

// TestBadNetwork learns a log over a network that is cut, held up, and slow at random, once for longer than the session,
// which costs the holder its partitions: what comes out is what a run over a good one gives. FAULTS in the environment is
// the number of faults of the long form, which also has some of more than 30 s.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"topic", "dir"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if text := os.Getenv("FAULT_SEED"); text != "" {
				seed, _ = strconv.ParseUint(text, 10, 64)
			}
			t.Logf("FAULT_SEED=%d", seed)
			badNetwork(t, store, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func badNetwork(t *testing.T, store string, random *rand.Rand) {
	n := newNetwork(t)
	c, b := embedded(t, broker.Options{Brokers: 3, Fake: []kfake.Opt{kfake.ListenFn(n.listenBehind), kfake.GroupMinSessionTimeout(time.Second)}})
	shortSession(b)
	c = c.kept(t, store)
	c.create(t, 3, nil)
	const rows = 7000
	c.write(t, susyLines(t)[:rows])
	want := c.reference(t)
	hurry := slowly(b, c.train, 30*time.Millisecond)
	s := startService(t, c)
	s.holds()

	faults := []struct {
		name string
		do   func()
	}{
		{"cut", n.cut},
		{"cut off", n.sever},
		{"held up", n.hold},
		{"slow", func() { n.slow(time.Duration(random.IntN(100)) * time.Millisecond) }},
	}
	during := func(name string, do func(), limit time.Duration) {
		t.Logf("%s for %s at %d records", name, limit, s.records())
		do()
		time.Sleep(limit)
		n.mend()
	}
	count := 8
	text, long := os.LookupEnv("FAULTS")
	if long {
		count, _ = strconv.Atoi(text)
	}
	for i := range count {
		fault := faults[i%len(faults)]
		during(fault.name, fault.do, time.Duration(random.IntN(1200))*time.Millisecond)
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
	}
	if got := s.records(); got == rows {
		t.Error("all is learned before the long faults")
	}
	during("cut off", n.sever, shortenedSession+time.Second)
	s.eventually("starts anew", func() bool { return len(s.rows()) > 1 && s.status().Role == "holder" })
	if long {
		during("cut off", n.sever, 31*time.Second)
		s.eventually("learns again", func() bool { return s.status().Role == "holder" })
		during("held up", n.hold, 31*time.Second)
	}
	hurry()
	s.learns(rows)
	same(t, "over a bad network", s.state(), want)
	t.Logf("%d starts: %v", len(s.rows()), s.rows())
	s.stops()
	s = startService(t, c)
	s.learns(rows)
	same(t, "after a restart", s.state(), want)
	s.stops()
}

// TestBrokerRestart holds that a broker that dies under the service and comes back changes nothing in what is learned.
func TestBrokerRestart(t *testing.T) {
	lines := susyLines(t)
	t.Run("embedded", func(t *testing.T) {
		dir := t.TempDir()
		options := broker.Options{Fake: []kfake.Opt{kfake.DataDir(dir)}}
		c, b := embedded(t, options)
		c.create(t, 3, nil)
		c.write(t, lines[:3000])
		want := c.reference(t)
		slowly(b, c.train, 50*time.Millisecond)
		s := startService(t, c)
		s.holds()
		s.eventually("commits in the middle", func() bool { return s.status().Sequence > 2 })
		_, port, err := net.SplitHostPort(b.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		options.Fake = append(options.Fake, kfake.Ports(number))
		for i := range 2 { // in the middle, and at the end
			b.Close()
			if n := s.records(); i == 0 && n == 3000 {
				t.Error("all was learned before")
			}
			time.Sleep(300 * time.Millisecond)
			if b, err = broker.Start(options); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			s.learns(3000)
			same(t, "after the broker's restart", s.state(), want)
		}
		c.write(t, lines[3000:3300])
		s.learns(3300)
		t.Logf("%d starts: %v", len(s.rows()), s.rows())
		s.stops()
	})
	t.Run("kafka", func(t *testing.T) {
		if os.Getenv("KAFKA_TEST_DIR") == "" {
			t.Skip("no real broker: see .ci/kafka")
		}
		script := startKafka(t)
		c := startCluster(t, "kafka").kept(t, "topic")
		c.create(t, 3, nil)
		c.write(t, lines[:3000])
		want := c.reference(t)
		s := startService(t, c)
		for i := range 2 {
			s.eventually("learns", func() bool { return s.records() > 0 })
			script("kill")
			time.Sleep(time.Duration(500*i) * time.Millisecond)
			script("restart")
		}
		s.learns(3000)
		same(t, "after the broker's restarts", s.state(), want)
		c.write(t, lines[3000:3300])
		s.learns(3300)
		script("kill")
		script("restart")
		c.write(t, lines[3300:3600])
		s.learns(3600)
		t.Logf("%d starts: %v", len(s.rows()), s.rows())
		s.stops()
		s = startService(t, c)
		s.learns(3600)
		s.stops()
	})
}

// startKafka starts a real broker of the test's own, points the environment to it, and returns what runs a command on it.
func startKafka(t *testing.T) func(command string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../.ci/kafka", "start").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		t.Setenv(name, strings.Trim(value, "'"))
	}
	run := func(command string) {
		t.Helper()
		// Not the test's context: the broker has to be stopped when that has ended.
		if out, err := exec.Command("../../.ci/kafka", command).CombinedOutput(); err != nil {
			t.Error(fmt.Errorf("%s: %w: %s", command, err, out))
		}
	}
	t.Cleanup(func() { run("stop") })
	return run
}
