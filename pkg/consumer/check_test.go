package consumer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
)

// silentBroker accepts connections, answers the first requests (ApiVersions), and then nothing more.
func silentBroker(t *testing.T, answers int) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for i := 0; ; i++ {
					version, id, _, _, err := protocol.ReadRequest(conn)
					if err != nil {
						return
					}
					if i >= answers {
						continue
					}
					all := &apiversions.Response{}
					for _, key := range []protocol.ApiKey{protocol.SaslHandshake, protocol.SaslAuthenticate, protocol.Metadata} {
						all.ApiKeys = append(all.ApiKeys, apiversions.ApiKeyResponse{ApiKey: int16(key), MaxVersion: 1})
					}
					if protocol.WriteResponse(conn, version, id, all) != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// answering answers whatever comes first with the same, and hangs up.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// closedPort returns an address that nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// acl allows an operation.
func acl(resource kmsg.ACLResourceType, name string, operation kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
}

func TestCheckPasses(t *testing.T) {
	for _, brokers := range []int{1, 3} {
		b := startCluster(t, broker.Options{Brokers: brokers, Fake: []kfake.Opt{kfake.SeedTopics(2, "train", "test")}})
		c := connect(t, b, Config{Topics: []string{"train", "test"}})
		if err := c.Check(limit(t, 20*time.Second), []string{"train", "test"}, "group"); err != nil {
			t.Errorf("plaintext, %d brokers: %v", brokers, err)
		}
		if got := allTopics(t, c); len(got) != 2 {
			t.Errorf("topics after the check: %v", got)
		}
	}
	const topic, group = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	b := startCluster(t, broker.Options{Brokers: 3, User: "key", Password: "secret", Fake: []kfake.Opt{
		kfake.SeedTopics(2, "train"), kfake.EnableACLs(), kfake.User("PLAIN", "reader", "pass",
			acl(topic, "train", kmsg.ACLOperationRead), acl(group, "group", kmsg.ACLOperationRead)),
	}})
	c := connect(t, b, Config{User: "reader", Password: "pass", Topics: []string{"train"}})
	if err := c.Check(limit(t, 20*time.Second), []string{"train"}, "group"); err != nil {
		t.Errorf("SASL_SSL with READ on topic and group: %v", err)
	}
}

func TestCheckWrite(t *testing.T) {
	const topic = kmsg.ACLResourceTypeTopic
	b := startCluster(t, broker.Options{User: "key", Password: "secret", Fake: []kfake.Opt{
		kfake.SeedTopics(2, "dead"), kfake.EnableACLs(),
		kfake.User("PLAIN", "writer", "pass", acl(topic, "dead", kmsg.ACLOperationWrite)),
		kfake.User("PLAIN", "reader", "pass", acl(topic, "dead", kmsg.ACLOperationRead)),
		kfake.User("PLAIN", "nothing", "pass"),
	}})
	for user, want := range map[string]string{"writer": "", "reader": "no permission to write to topic dead", "nothing": "look up topic dead"} {
		c := connect(t, b, Config{User: user, Password: "pass", Topics: []string{"dead"}})
		err := c.CheckWrite(limit(t, 5*time.Second), "dead")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || Kind(err) != kindAuth) {
			t.Errorf("%s: %v, want %q", user, err, want)
		}
	}
	plaintext := startCluster(t, broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(1, "dead")}})
	if err := connect(t, plaintext, Config{}).CheckWrite(limit(t, 5*time.Second), "dead"); err != nil {
		t.Error(err)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	const topic, group = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	const read, describe = kmsg.ACLOperationRead, kmsg.ACLOperationDescribe
	plaintext := startCluster(t, broker.Options{AutoCreate: true, Fake: []kfake.Opt{kfake.SeedTopics(2, "train")}})
	secured := startCluster(t, broker.Options{User: "key", Password: "secret", Fake: []kfake.Opt{
		kfake.SeedTopics(2, "train"), kfake.EnableACLs(),
		kfake.User("PLAIN", "nothing", "pass"),
		kfake.User("PLAIN", "describer", "pass", acl(topic, "train", describe), acl(group, "group", read)),
		kfake.User("PLAIN", "no-group", "pass", acl(topic, "train", read)),
		kfake.User("PLAIN", "describes-group", "pass", acl(topic, "train", read), acl(group, "group", describe)),
	}})
	// kfake looks at the permissions for a group only when the group exists; Kafka always does.
	owner := connect(t, secured, Config{User: "key", Password: "secret"})
	if _, err := owner.Kafka().JoinGroup(limit(t, 5*time.Second), &kafka.JoinGroupRequest{
		GroupID: "group", SessionTimeout: time.Minute, ProtocolType: protocolType,
		Protocols: []kafka.GroupProtocol{{Name: protocolName}},
	}); err != nil {
		t.Fatal(err)
	}
	sasl := startCluster(t, broker.Options{Fake: []kfake.Opt{
		kfake.SeedTopics(2, "train"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "key", "secret"),
	}})
	noSASL := startCluster(t, broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(2, "train")}})
	noSASL.Fake.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		noSASL.Fake.KeepControl()
		response := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		response.ErrorCode = kerr.IllegalSaslState.Code // what Kafka answers on a listener without SASL
		return response, nil, true
	})
	web := answering(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	// What a Kafka listener for TLS answers to plaintext: an alert (kfake only hangs up).
	alert := answering(t, "\x15\x03\x03\x00\x02\x02\x46")
	trusted := trusting(t, secured)
	unknownHost := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "kafka.invalid", IsNotFound: true}}
	}
	user := func(name string) Config {
		return Config{Brokers: secured.Addrs(), TLS: trusted, User: name, Password: "pass"}
	}
	tests := []struct {
		name string
		give Config
		ask  string // the topic
		want []string
		kind string
		slow bool // may pass: tried until the time is over
	}{
		{
			name: "unknown host", give: Config{Brokers: []string{"kafka.invalid:9092"}, Dial: unknownHost},
			want: []string{"kafka.invalid:9092", "unknown host", "CCLOUD_BOOTSTRAP_ENDPOINT"}, kind: kindDial,
		},
		{
			name: "no port", give: Config{Brokers: []string{"127.0.0.1"}},
			want: []string{"127.0.0.1", "not an address", "missing port"}, kind: kindDial,
		},
		{
			name: "nobody listens", give: Config{Brokers: []string{closedPort(t)}},
			want: []string{"connection refused", "CCLOUD_BOOTSTRAP_ENDPOINT", "tried for"}, kind: kindDial, slow: true,
		},
		{
			name: "plaintext to TLS", give: Config{Brokers: secured.Addrs()},
			want: []string{secured.Addrs()[0], "hung up", "speaks TLS"}, kind: kindDial, slow: true,
		},
		{
			name: "plaintext to TLS, with an alert", give: Config{Brokers: []string{alert}},
			want: []string{alert, "TLS alert", "sasl_ssl"}, kind: kindAuth,
		},
		{
			name: "a web server", give: Config{Brokers: []string{web}},
			want: []string{"HTTP", "no Kafka broker", "CCLOUD_BOOTSTRAP_ENDPOINT"}, kind: kindDial,
		},
		{
			name: "TLS to plaintext that answers", give: Config{Brokers: []string{web}, TLS: trusted},
			want: []string{"TLS handshake", "not TLS", "plaintext"}, kind: kindAuth,
		},
		{
			name: "TLS to plaintext", give: Config{Brokers: plaintext.Addrs(), TLS: trusted},
			want: []string{plaintext.Addrs()[0], "TLS handshake", "no answer in time", "plaintext"}, kind: kindAuth, slow: true,
		},
		{
			name: "certificate of an unknown authority", give: Config{Brokers: secured.Addrs(), TLS: &tls.Config{MinVersion: tls.VersionTLS12}, User: "key", Password: "secret"},
			want: []string{"certificate is not trusted", "LEARNER_TLS_CA_FILE"}, kind: kindAuth,
		},
		{
			name: "wrong password", give: Config{Brokers: secured.Addrs(), TLS: trusted, User: "key", Password: "hunter2"},
			want: []string{secured.Addrs()[0], "credentials", "CCLOUD_CLUSTER_API_KEY", "CCLOUD_CLUSTER_API_SECRET"}, kind: kindAuth,
		},
		{
			name: "credentials to a listener without SASL", give: Config{Brokers: noSASL.Addrs(), User: "key", Password: "secret"},
			want: []string{noSASL.Addrs()[0], "SASL", "wants no credentials"}, kind: kindAuth,
		},
		{
			name: "no credentials", give: Config{Brokers: sasl.Addrs()},
			want: []string{sasl.Addrs()[0], "wants credentials", "CCLOUD_CLUSTER_API_KEY"}, kind: kindAuth,
		},
		{
			name: "accepts and never answers", give: Config{Brokers: []string{silentBroker(t, 0)}},
			want: []string{"protocol versions", "no answer in time"}, kind: kindDial, slow: true,
		},
		{
			name: "stalls in the SASL exchange", give: Config{Brokers: []string{silentBroker(t, 1)}, User: "key", Password: "secret"},
			want: []string{"SASL", "no answer in time"}, kind: kindAuth, slow: true,
		},
		{
			name: "missing topic", give: Config{Brokers: plaintext.Addrs()}, ask: "tran",
			want: []string{"topic tran does not exist", "LEARNER_TRAIN_TOPIC"},
		},
		{
			name: "may not see the topic", give: user("nothing"),
			want: []string{"no permission to read topic train", "[29]", "READ"}, kind: kindAuth,
		},
		{
			name: "may see the topic only", give: user("describer"),
			want: []string{"no permission to read topic train", "[29]", "READ"}, kind: kindAuth,
		},
		{
			name: "may not see the group", give: user("no-group"),
			want: []string{"no permission for consumer group group", "[30]", "READ"}, kind: kindAuth,
		},
		{
			name: "may see the group only", give: user("describes-group"),
			want: []string{"no permission for consumer group group", "[30]", "READ"}, kind: kindAuth,
		},
		{
			name: "second address works, topic is missing", ask: "tran",
			give: Config{Brokers: []string{closedPort(t), plaintext.Addrs()[0]}},
			want: []string{"topic tran does not exist"},
		},
		{
			name: "one host unknown, the other silent", slow: true, kind: kindDial,
			give: Config{Brokers: []string{"no-port", silentBroker(t, 0)}},
			want: []string{"protocol versions", "no answer in time"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.ask == "" {
				test.ask = "train"
			}
			test.give.Topics = []string{test.ask}
			c := client(t, test.give)
			if test.slow {
				c.checkTimeout = 400 * time.Millisecond
			}
			start := time.Now()
			err := c.Check(t.Context(), []string{test.ask}, "group")
			if took := time.Since(start); took > c.checkTimeout+time.Second {
				t.Errorf("took %s", took)
			}
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if p := test.give.Password; p != "" && strings.Contains(err.Error(), p) {
				t.Errorf("the error tells the password: %v", err)
			}
			if got := Kind(err); got != test.kind {
				t.Errorf("kind %q, want %q", got, test.kind)
			}
			if permanent(err) == test.slow {
				t.Errorf("permanent is %t", permanent(err))
			}
		})
	}
}

func TestCheckWaitsForABrokerThatStarts(t *testing.T) {
	t.Parallel()
	b := startCluster(t, broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(2, "train")}})
	line := &cable{cut: true}
	time.AfterFunc(250*time.Millisecond, func() { line.set(false) })
	// kfake has its coordinators at once; a new Kafka cluster says for a while that there is none.
	left := 2
	b.Fake.ControlKey(int16(kmsg.FindCoordinator), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		if left--; left < 0 {
			return nil, nil, false
		}
		response := r.ResponseKind().(*kmsg.FindCoordinatorResponse)
		response.ErrorCode, response.NodeID = kerr.CoordinatorNotAvailable.Code, -1
		return response, nil, true
	})
	c := connect(t, b, Config{Topics: []string{"train"}, Dial: line.dial})
	if err := c.Check(limit(t, 20*time.Second), []string{"train"}, "group"); err != nil {
		t.Error(err)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	c := client(t, Config{Brokers: []string{silentBroker(t, 0)}})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if err := c.Check(ctx, []string{"train"}, "group"); !errors.Is(err, context.Canceled) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestKind(t *testing.T) {
	for _, test := range []struct {
		give error
		want string
	}{
		{errors.New("anything"), ""},
		{kafka.IllegalGeneration, ""},
		{kafka.TopicAuthorizationFailed, kindAuth},
		{&fault{kafka.SASLAuthenticationFailed, kindJoin, false}, kindAuth},
		{&fault{kafka.NotCoordinatorForGroup, kindJoin, false}, kindJoin},
		{&fault{&net.OpError{Op: "dial", Err: errors.New("refused")}, kindJoin, false}, kindDial},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, ""},
		{&tls.CertificateVerificationError{Err: errors.New("expired")}, kindAuth},
	} {
		if got := Kind(test.give); got != test.want {
			t.Errorf("%v: %q, want %q", test.give, got, test.want)
		}
	}
}
