package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// defaults returns the configuration of an empty environment.
func defaults(t *testing.T) *Config {
	t.Helper()
	cfg, err := loadConfig(nil, t.TempDir(), offline)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// writeFile writes a file into a new directory and returns the path of both.
func writeFile(t *testing.T, name, content string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := &Config{
		Security:   "auto",
		TrainTopic: "10x.storage.machine-learning.train", TestTopic: "10x.storage.machine-learning.test",
		Group:  "10x.storage.machine-learning.learner",
		Format: "auto", Label: "auto", Positive: "true|1|1.0|yes", HashBits: 18,
		Models: "mix", Champion: "first", TwinAge: 100_000, Seed: 1, Order: "time",
		Checkpoint: "topic", CheckpointTopic: "10x.storage.machine-learning.checkpoints", CheckpointInterval: 10 * time.Second,
		EvalInterval: 5 * time.Second, EvalRecords: 10_000,
		HTTPAddr: ":8080", AdminAddr: "127.0.0.1:8081", LogLevel: "info", LogFormat: "auto",
	}
	if got := defaults(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, s := range settings() {
		if got := s.text(want); got != s.def {
			t.Errorf("%s: the default %q is printed as %q", s.name, s.def, got)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	for _, s := range settings() {
		if s.name == "" || s.desc == "" || s.want == "" || strings.HasSuffix(s.desc, ".") || strings.HasSuffix(s.want, ".") {
			t.Errorf("field %s: name %q, desc %q, want %q", s.field.Name, s.name, s.desc, s.want)
		}
	}
}

func TestLoadGood(t *testing.T) {
	t.Parallel()
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	_, ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificates.Certificate().Raw})))

	tests := []struct {
		name string
		give []string
		want func(*Config) // changes the defaults
	}{
		{"empty counts as unset", []string{"LEARNER_SEED=", "LEARNER_COLUMNS=", "LEARNER_START=", "CCLOUD_CLUSTER_API_KEY="}, func(*Config) {}},
		{"the first of several counts", []string{"LEARNER_SEED=", "LEARNER_SEED=5", "LEARNER_SEED=6"}, func(c *Config) { c.Seed = 5 }},
		{"other variables", []string{"HOME=/", "SEED=7", "EVALINTERVAL=x", "LEARNER=x", "broken"}, func(*Config) {}},
		{"one broker", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=kafka.example:9092"}, func(c *Config) { c.Brokers = Brokers{"kafka.example:9092"} }},
		{
			"brokers as the console shows them",
			[]string{"CCLOUD_BOOTSTRAP_ENDPOINT=SASL_SSL://a.example:9092, sasl_ssl://[::1]:19092,"},
			func(c *Config) { c.Brokers = Brokers{"a.example:9092", "[::1]:19092"} },
		},
		{
			"key and secret",
			[]string{"CCLOUD_CLUSTER_API_KEY=the-key", "CCLOUD_CLUSTER_API_SECRET=a=b\"`\\,c"},
			func(c *Config) { c.APIKey, c.APISecret = "the-key", "a=b\"`\\,c" },
		},
		{
			"certificates",
			[]string{"LEARNER_SECURITY=ssl", "LEARNER_TLS_CA_FILE=" + ca},
			func(c *Config) { c.Security, c.TLSCAFile = "ssl", ca },
		},
		{
			"topics and group",
			[]string{"LEARNER_TRAIN_TOPIC=a", "LEARNER_TEST_TOPIC=B_1-2.3", "LEARNER_GROUP=grüße an alle", "LEARNER_INSTANCE_ID=pod-0"},
			func(c *Config) {
				c.TrainTopic, c.TestTopic, c.Group, c.InstanceID = "a", "B_1-2.3", "grüße an alle", "pod-0"
			},
		},
		{
			"columns",
			[]string{"LEARNER_FORMAT=csv", "LEARNER_COLUMNS=y,\"a\\b,c", "LEARNER_LABEL=y", "LEARNER_FEATURES=c"},
			func(c *Config) {
				c.Format, c.Columns, c.Label, c.Features = "csv", []string{"y", "\"a\\b", "c"}, "y", []string{"c"}
			},
		},
		{"dead letters", []string{"LEARNER_DEAD_LETTER_TOPIC=dead"}, func(c *Config) { c.DeadLetterTopic = "dead" }},
		{"limit of bad records", []string{"LEARNER_BAD_RECORD_LIMIT=.05"}, func(c *Config) { c.BadRecordLimit = BadRecordLimit{.05, 10_000} }},
		{"limit and window", []string{"LEARNER_BAD_RECORD_LIMIT=0.3/10"}, func(c *Config) { c.BadRecordLimit = BadRecordLimit{.3, 10} }},
		{"models", []string{"LEARNER_MODELS=logistic;slow=logistic:rate=0.1"}, func(c *Config) { c.Models = "logistic;slow=logistic:rate=0.1" }},
		{"champion", []string{"LEARNER_CHAMPION=best", "LEARNER_TWIN_AGE=1000"}, func(c *Config) { c.Champion, c.TwinAge = "best", 1000 }},
		{"the largest seed", []string{"LEARNER_SEED=18446744073709551615"}, func(c *Config) { c.Seed = 1<<64 - 1 }},
		{"order", []string{"LEARNER_ORDER=progress"}, func(c *Config) { c.Order = "progress" }},
		{"start at the end", []string{"LEARNER_START=latest"}, func(c *Config) { c.Start = Start{Latest: true} }},
		{
			"start at a time",
			[]string{"LEARNER_START=2026-01-31T12:00:00.5Z"},
			func(c *Config) { c.Start = Start{Time: time.Date(2026, 1, 31, 12, 0, 0, 500_000_000, time.UTC)} },
		},
		{
			"smallest evaluation",
			[]string{"LEARNER_EVAL_INTERVAL=100ms", "LEARNER_EVAL_RECORDS=1"},
			func(c *Config) { c.EvalInterval, c.EvalRecords = 100*time.Millisecond, 1 },
		},
		{
			"largest evaluation",
			[]string{"LEARNER_EVAL_INTERVAL=24h", "LEARNER_EVAL_RECORDS=10000000"},
			func(c *Config) { c.EvalInterval, c.EvalRecords = 24*time.Hour, 10_000_000 },
		},
		{
			"service",
			[]string{"LEARNER_HTTP_ADDR=[::1]:0", "LEARNER_LOG_LEVEL=debug", "LEARNER_LOG_FORMAT=console"},
			func(c *Config) { c.HTTPAddr, c.LogLevel, c.LogFormat = "[::1]:0", "debug", "console" },
		},
		{
			"operators on this machine",
			[]string{"LEARNER_ADMIN_ADDR=LocalHost:0"},
			func(c *Config) { c.AdminAddr = "LocalHost:0" },
		},
		{
			"operators elsewhere",
			[]string{"LEARNER_ADMIN_ADDR=:8081", "LEARNER_ADMIN_TOKEN=hunter2"},
			func(c *Config) { c.AdminAddr, c.AdminToken = ":8081", "hunter2" },
		},
		{
			"no operators",
			[]string{"LEARNER_ADMIN_ADDR=none"},
			func(c *Config) { c.AdminAddr = "none" },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := defaults(t)
			tt.want(want)
			got, err := loadConfig(tt.give, t.TempDir(), offline)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, error: %v; want %+v", got, err, want)
			}
		})
	}
}

func TestLoadBad(t *testing.T) {
	t.Parallel()
	_, noPEM := writeFile(t, "ca.pem", "hello")
	long := strings.Repeat("x", 250)
	tests := []struct {
		name string
		give []string // one variable a line
		want []string // the errors' lines; each is a prefix
	}{
		{"broker without a port", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=kafka.example"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found "kafka.example", want host:port`}},
		{"second broker without a port", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=a:1,b"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found "a:1,b", want host:port`}},
		{"broker without a host", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=:9092"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found ":9092"`}},
		{"broker's port is 0", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=a:0"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found "a:0"`}},
		{"broker's port is too large", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=a:65536"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found "a:65536"`}},
		{"broker of another scheme", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=https://a.example:443"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found "https://a.example:443"`}},
		{"no broker in the list", []string{"CCLOUD_BOOTSTRAP_ENDPOINT= ,"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found " ,"`}},
		{"broker with a password", []string{"CCLOUD_BOOTSTRAP_ENDPOINT=me:hunter2@a:9092"}, []string{`CCLOUD_BOOTSTRAP_ENDPOINT: found "REDACTED@a:9092"`}},
		{"key without secret", []string{"CCLOUD_CLUSTER_API_KEY=k"}, []string{"CCLOUD_CLUSTER_API_SECRET: not set, want the secret of the API key"}},
		{"secret without key", []string{"CCLOUD_CLUSTER_API_SECRET=s"}, []string{"CCLOUD_CLUSTER_API_KEY: not set, want"}},
		{"SASL without both", []string{"LEARNER_SECURITY=sasl_plaintext"}, []string{"CCLOUD_CLUSTER_API_KEY: not set", "CCLOUD_CLUSTER_API_SECRET: not set"}},
		{
			"white space in secrets",
			[]string{"CCLOUD_CLUSTER_API_KEY=hunter2 ", "CCLOUD_CLUSTER_API_SECRET=hunter2\n"},
			[]string{"CCLOUD_CLUSTER_API_KEY: contains white space", "CCLOUD_CLUSTER_API_SECRET: contains white space"},
		},
		{"security", []string{"LEARNER_SECURITY=tls"}, []string{`LEARNER_SECURITY: found "tls", want auto (`}},
		{"certificates without a file", []string{"LEARNER_SECURITY=ssl", "LEARNER_TLS_CA_FILE=/no/such/file"}, []string{"LEARNER_TLS_CA_FILE: open /no/such/file: no such file"}},
		{"certificates without one", []string{"LEARNER_SECURITY=ssl", "LEARNER_TLS_CA_FILE=" + noPEM}, []string{"LEARNER_TLS_CA_FILE: found "}},
		{"certificates without TLS", []string{"LEARNER_TLS_CA_FILE=" + noPEM}, []string{"LEARNER_TLS_CA_FILE: set, but the connection would be plaintext"}},
		{"topic with a space", []string{"LEARNER_TRAIN_TOPIC=a b"}, []string{`LEARNER_TRAIN_TOPIC: found "a b", want 1 to 249 of a-z`}},
		{"topic too long", []string{"LEARNER_TEST_TOPIC=" + long}, []string{`LEARNER_TEST_TOPIC: found "xxx`}},
		{"topic of dots", []string{"LEARNER_TRAIN_TOPIC=.", "LEARNER_TEST_TOPIC=.."}, []string{"LEARNER_TRAIN_TOPIC: ", "LEARNER_TEST_TOPIC: "}},
		{"one topic for both", []string{"LEARNER_TRAIN_TOPIC=a", "LEARNER_TEST_TOPIC=a"}, []string{`LEARNER_TEST_TOPIC: found "a", want like LEARNER_TRAIN_TOPIC, and another`}},
		{"group too long", []string{"LEARNER_GROUP=" + long}, []string{"LEARNER_GROUP: "}},
		{"group of control characters", []string{"LEARNER_GROUP=a\tb"}, []string{`LEARNER_GROUP: found "a\tb", want`}},
		{"instance", []string{"LEARNER_INSTANCE_ID=pod/0"}, []string{`LEARNER_INSTANCE_ID: found "pod/0", want`}},
		{"format", []string{"LEARNER_FORMAT=xml"}, []string{`LEARNER_FORMAT: found "xml", want auto (`}},
		{"format without its registry", []string{"LEARNER_FORMAT=avro"}, []string{"CCLOUD_SCHEMA_REGISTRY_ENDPOINT: not set"}},
		{"registry", []string{"CCLOUD_SCHEMA_REGISTRY_ENDPOINT=http://a,b:8081"}, []string{`CCLOUD_SCHEMA_REGISTRY_ENDPOINT: found "http://a,b:8081", want`}},
		{
			"registry's credentials",
			[]string{"CCLOUD_SCHEMA_REGISTRY_ENDPOINT=http://u:hunter2@a", "CCLOUD_SCHEMA_REGISTRY_API_SECRET=s"},
			[]string{`CCLOUD_SCHEMA_REGISTRY_ENDPOINT: found "REDACTED@a", want`, "CCLOUD_SCHEMA_REGISTRY_API_KEY: not set"},
		},
		{"dead letters", []string{"LEARNER_DEAD_LETTER_TOPIC=a b"}, []string{`LEARNER_DEAD_LETTER_TOPIC: found "a b", want`}},
		{
			"dead letters among train records",
			[]string{"LEARNER_TRAIN_TOPIC=a", "LEARNER_DEAD_LETTER_TOPIC=a"},
			[]string{`LEARNER_DEAD_LETTER_TOPIC: found "a", want`},
		},
		{
			"dead letters among test records",
			[]string{"LEARNER_TEST_TOPIC=a", "LEARNER_DEAD_LETTER_TOPIC=a"},
			[]string{`LEARNER_DEAD_LETTER_TOPIC: found "a", want`},
		},
		{
			"dead letters among checkpoints",
			[]string{"LEARNER_CHECKPOINT_TOPIC=a", "LEARNER_DEAD_LETTER_TOPIC=a"},
			[]string{`LEARNER_DEAD_LETTER_TOPIC: found "a", want`},
		},
		{"limit of bad records, all", []string{"LEARNER_BAD_RECORD_LIMIT=1"}, []string{`LEARNER_BAD_RECORD_LIMIT: found "1", want a share`}},
		{"limit of bad records, none", []string{"LEARNER_BAD_RECORD_LIMIT=0"}, []string{`LEARNER_BAD_RECORD_LIMIT: found "0", want a share`}},
		{"limit of bad records, NaN", []string{"LEARNER_BAD_RECORD_LIMIT=nan"}, []string{`LEARNER_BAD_RECORD_LIMIT: found "nan", want a share`}},
		{"limit of bad records, percent", []string{"LEARNER_BAD_RECORD_LIMIT=5%"}, []string{`LEARNER_BAD_RECORD_LIMIT: found "5%", want a share`}},
		{"window too short", []string{"LEARNER_BAD_RECORD_LIMIT=.5/9"}, []string{`LEARNER_BAD_RECORD_LIMIT: found ".5/9", want a share`}},
		{"window too long", []string{"LEARNER_BAD_RECORD_LIMIT=.5/1000000001"}, []string{`LEARNER_BAD_RECORD_LIMIT: found ".5/1000000001"`}},
		{"no window", []string{"LEARNER_BAD_RECORD_LIMIT=.5/"}, []string{`LEARNER_BAD_RECORD_LIMIT: found ".5/", want a share`}},
		{"hash bits", []string{"LEARNER_HASH_BITS=25"}, []string{`LEARNER_HASH_BITS: found "25", want a whole number from 8 to 24`}},
		{"columns", []string{"LEARNER_COLUMNS=a,b,b,"}, []string{"LEARNER_COLUMNS: column 1 and 2 both have the name \"b\"; column 3 has no name"}},
		{"label and features", []string{"LEARNER_COLUMNS=label,b", "LEARNER_LABEL=y", "LEARNER_FEATURES=a"}, []string{`LEARNER_LABEL: no column has the name "y"`, `LEARNER_FEATURES: no column has the name "a"`}},
		{"models", []string{"LEARNER_MODELS=logistc;a=logistic:rte=1"}, []string{`LEARNER_MODELS: model 1: unknown kind "logistc"`}},
		{"champion", []string{"LEARNER_CHAMPION=worst"}, []string{`LEARNER_CHAMPION: found "worst", want first (`}},
		{"twin too young", []string{"LEARNER_TWIN_AGE=999"}, []string{`LEARNER_TWIN_AGE: found "999", want a whole number from 1000`}},
		{"negative age of the twin", []string{"LEARNER_TWIN_AGE=-1000"}, []string{`LEARNER_TWIN_AGE: found "-1000"`}},
		{"negative seed", []string{"LEARNER_SEED=-1"}, []string{`LEARNER_SEED: found "-1", want a whole number from 0`}},
		{"order", []string{"LEARNER_ORDER= time"}, []string{`LEARNER_ORDER: found " time", want time (`}},
		{"start", []string{"LEARNER_START=yesterday"}, []string{`LEARNER_START: found "yesterday", want earliest, latest, or a time such as`}},
		{"start with a meaning of Kafka's", []string{"LEARNER_START=1969-12-31T23:59:59.999Z"}, []string{"LEARNER_START: found "}},
		{"interval without a unit", []string{"LEARNER_EVAL_INTERVAL=5"}, []string{`LEARNER_EVAL_INTERVAL: found "5", want a duration from 100ms to 24h`}},
		{"reset without an id", []string{"LEARNER_RESET=earliest"}, []string{"LEARNER_RESET_ID: not set"}},
		{"reset id without a reset", []string{"LEARNER_RESET_ID=a"}, []string{"LEARNER_RESET: not set"}},
		{"reset that is no place", []string{"LEARNER_RESET=soon", "LEARNER_RESET_ID=a"}, []string{`LEARNER_RESET: found "soon"`}},
		{"reset without a store", []string{"LEARNER_RESET=latest", "LEARNER_RESET_ID=a", "LEARNER_CHECKPOINT=none"}, []string{"LEARNER_RESET: set, but LEARNER_CHECKPOINT=none"}},
		{"unknown store", []string{"LEARNER_CHECKPOINT=s3"}, []string{`LEARNER_CHECKPOINT: found "s3"`}},
		{"folder not named", []string{"LEARNER_CHECKPOINT=dir"}, []string{"LEARNER_CHECKPOINT_DIR: not set"}},
		{"checkpoints into the train topic", []string{"LEARNER_TRAIN_TOPIC=a", "LEARNER_CHECKPOINT_TOPIC=a"}, []string{`LEARNER_CHECKPOINT_TOPIC: found "a"`}},
		{"interval between checkpoints too short", []string{"LEARNER_CHECKPOINT_INTERVAL=99ms"}, []string{`LEARNER_CHECKPOINT_INTERVAL: found "99ms"`}},
		{"interval too short", []string{"LEARNER_EVAL_INTERVAL=99ms"}, []string{`LEARNER_EVAL_INTERVAL: found "99ms"`}},
		{"interval too long", []string{"LEARNER_EVAL_INTERVAL=25h"}, []string{`LEARNER_EVAL_INTERVAL: found "25h0m0s"`}},
		{"no records", []string{"LEARNER_EVAL_RECORDS=0"}, []string{`LEARNER_EVAL_RECORDS: found "0", want a whole number from 1 to 10000000`}},
		{"too many records", []string{"LEARNER_EVAL_RECORDS=10000001"}, []string{"LEARNER_EVAL_RECORDS: "}},
		{"address without a port", []string{"LEARNER_HTTP_ADDR=8080"}, []string{`LEARNER_HTTP_ADDR: found "8080", want host:port`}},
		{"address with a named port", []string{"LEARNER_HTTP_ADDR=:http"}, []string{`LEARNER_HTTP_ADDR: found ":http"`}},
		{"operators without a port", []string{"LEARNER_ADMIN_ADDR=127.0.0.1"}, []string{`LEARNER_ADMIN_ADDR: found "127.0.0.1", want host:port`}},
		{
			"operators everywhere without a token",
			[]string{"LEARNER_ADMIN_ADDR=:8081"},
			[]string{"LEARNER_ADMIN_TOKEN: not set, and LEARNER_ADMIN_ADDR=:8081 is no loopback address: "},
		},
		{"operators on all addresses", []string{"LEARNER_ADMIN_ADDR=0.0.0.0:0"}, []string{"LEARNER_ADMIN_TOKEN: not set, and LEARNER_ADMIN_ADDR=0.0.0.0:0"}},
		{"a host that may be anywhere", []string{"LEARNER_ADMIN_ADDR=localhost.example:1"}, []string{"LEARNER_ADMIN_TOKEN: not set, and "}},
		{
			"token with a space",
			[]string{"LEARNER_ADMIN_ADDR=:8081", "LEARNER_ADMIN_TOKEN=hunter2 "},
			[]string{"LEARNER_ADMIN_TOKEN: contains white space or a control character"},
		},
		{"log level", []string{"LEARNER_LOG_LEVEL=fatal"}, []string{`LEARNER_LOG_LEVEL: found "fatal", want debug`}},
		{"log format", []string{"LEARNER_LOG_FORMAT=text"}, []string{`LEARNER_LOG_FORMAT: found "text", want auto (`}},
		{
			"unknown names",
			[]string{"LEARNER_TRIAN_TOPIC=a", "LEARNER_CHECKPOINTS=dir", "LEARNER_TRAIN_TOPIC_FILE=a"},
			[]string{
				"LEARNER_CHECKPOINTS: unknown, did you mean LEARNER_CHECKPOINT?",
				"LEARNER_TRAIN_TOPIC_FILE: unknown, did you mean LEARNER_TRAIN_TOPIC?",
				"LEARNER_TRIAN_TOPIC: unknown, did you mean LEARNER_TRAIN_TOPIC?",
			},
		},
		{
			"names that Kubernetes sets",
			[]string{"LEARNER_PORT=tcp://10.0.0.1:80", "LEARNER_SERVICE_HOST=10.0.0.1", "LEARNER_HTTP_PORT_80_TCP_ADDR=10.0.0.1"},
			[]string{
				"LEARNER_HTTP_PORT_80_TCP_ADDR: unknown; Kubernetes",
				"LEARNER_PORT: unknown; Kubernetes",
				"LEARNER_SERVICE_HOST: unknown; Kubernetes",
			},
		},
		{
			"everything at once, in order",
			[]string{
				"LEARNER_ZEAL=1", "LEARNER_LOG_LEVEL=loud", "LEARNER_EVAL_RECORDS=many", "LEARNER_EVAL_INTERVAL=0s", "LEARNER_FEATURES=1,1", "LEARNER_SEED=1.5",
				"CCLOUD_BOOTSTRAP_ENDPOINT=kafka", "CCLOUD_CLUSTER_API_KEY=k", "LEARNER_TRAIN_TOPIC=a/b", "LEARNER_TEST_TOPIC=a/b",
			},
			[]string{
				"CCLOUD_BOOTSTRAP_ENDPOINT: ", "CCLOUD_CLUSTER_API_SECRET: ", "LEARNER_TRAIN_TOPIC: ", "LEARNER_TEST_TOPIC: ", "LEARNER_FEATURES: ", "LEARNER_SEED: ",
				"LEARNER_EVAL_INTERVAL: ", "LEARNER_EVAL_RECORDS: ", "LEARNER_LOG_LEVEL: ", "LEARNER_ZEAL: unknown",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := loadConfig(tt.give, t.TempDir(), offline)
			if _, ok := errors.AsType[usageError](err); !ok {
				t.Fatalf("error %v, want a usageError", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d lines, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("line %d is\n%s, want\n%s", i, lines[i], want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestValidateOfAChangedConfig(t *testing.T) {
	t.Parallel()
	cfg := defaults(t)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Order, cfg.EvalRecords = "", 0
	err := cfg.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), `LEARNER_ORDER: found ""`) {
		t.Errorf("error %v, want one for each of two fields", err)
	}
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		security string
		key      Secret
		want     string
	}{
		{"auto", "", "plaintext"},
		{"auto", "k", "sasl_ssl"},
		{"plaintext", "k", "plaintext"},
		{"sasl_plaintext", "k", "sasl_plaintext"},
		{"ssl", "", "ssl"},
	} {
		if got := (&Config{Security: tt.security, APIKey: tt.key}).Protocol(); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// documented holds the names that the design gives to variables, with the forms of the secrets.
const documented = `CCLOUD_BOOTSTRAP_ENDPOINT CCLOUD_CLUSTER_API_KEY CCLOUD_CLUSTER_API_SECRET CCLOUD_CLUSTER_API_SECRET_FILE
	CCLOUD_SCHEMA_REGISTRY_ENDPOINT CCLOUD_SCHEMA_REGISTRY_API_KEY CCLOUD_SCHEMA_REGISTRY_API_SECRET
	LEARNER_SECURITY LEARNER_TLS_CA_FILE LEARNER_TRAIN_TOPIC LEARNER_TEST_TOPIC LEARNER_GROUP LEARNER_INSTANCE_ID LEARNER_FORMAT
	LEARNER_COLUMNS LEARNER_LABEL LEARNER_FEATURES LEARNER_POSITIVE LEARNER_HASH_BITS LEARNER_DEAD_LETTER_TOPIC
	LEARNER_BAD_RECORD_LIMIT LEARNER_MODELS LEARNER_SEED LEARNER_CHAMPION LEARNER_TWIN_AGE LEARNER_ORDER LEARNER_START LEARNER_RESET
	LEARNER_RESET_ID LEARNER_CHECKPOINT LEARNER_CHECKPOINT_TOPIC LEARNER_CHECKPOINT_DIR LEARNER_CHECKPOINT_INTERVAL
	LEARNER_EVAL_INTERVAL LEARNER_EVAL_RECORDS LEARNER_HTTP_ADDR LEARNER_ADMIN_ADDR LEARNER_ADMIN_TOKEN LEARNER_ADMIN_TOKEN_FILE
	LEARNER_LOG_LEVEL LEARNER_LOG_FORMAT`

func TestEveryDocumentedNameIsKnown(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq(documented) {
		_, err := loadConfig([]string{name + "=x"}, t.TempDir(), offline)
		if err != nil && strings.Contains(err.Error(), "unknown, did you mean") {
			t.Error(err)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	const key = "CCLOUD_CLUSTER_API_KEY=k"
	tests := []struct {
		name    string
		content string
		env     []string
		want    string // the secret
		err     string
	}{
		{name: "without a line break", content: "hunter2", want: "hunter2"},
		{name: "with a line break", content: "hunter2\n", want: "hunter2"},
		{name: "with a Windows line break", content: "hunter2\r\n", want: "hunter2"},
		{name: "with two line breaks", content: "hunter2\n\n", err: "CCLOUD_CLUSTER_API_SECRET: contains white space"},
		{name: "empty", content: "\n", err: "CCLOUD_CLUSTER_API_SECRET: the file of CCLOUD_CLUSTER_API_SECRET_FILE, FILE, is empty"},
		{
			name: "both forms", content: "hunter2", env: []string{"CCLOUD_CLUSTER_API_SECRET=hunter2"},
			err: "CCLOUD_CLUSTER_API_SECRET: set together with CCLOUD_CLUSTER_API_SECRET_FILE, want one of them",
		},
		{name: "empty other form", content: "hunter2", env: []string{"CCLOUD_CLUSTER_API_SECRET="}, want: "hunter2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, path := writeFile(t, "secret", tt.content)
			env := append([]string{key, "CCLOUD_CLUSTER_API_SECRET_FILE=" + path}, tt.env...)
			cfg, err := loadConfig(env, t.TempDir(), offline)
			if tt.err == "" {
				if err != nil || string(cfg.APISecret) != tt.want {
					t.Errorf("%q, error %v, want %q", string(cfg.APISecret), err, tt.want)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), strings.ReplaceAll(tt.err, "FILE, is", path+", is")) {
				t.Errorf("error %v, want %s", err, tt.err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("a secret, or more than one fault: %v", err)
			}
		})
	}

	_, err := loadConfig([]string{key, "CCLOUD_CLUSTER_API_SECRET_FILE=/no/such/file"}, t.TempDir(), offline)
	want := "CCLOUD_CLUSTER_API_SECRET: read the file of CCLOUD_CLUSTER_API_SECRET_FILE: open /no/such/file: no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	const content = `# a comment
CCLOUD_BOOTSTRAP_ENDPOINT=SASL_SSL://a.example:9092
export LEARNER_SEED=7
LEARNER_ORDER = 'progress'

CCLOUD_CLUSTER_API_KEY="file-key"
CCLOUD_CLUSTER_API_SECRET='file$secret'
OTHER_PROGRAM=x`
	dir, _ := writeFile(t, ".env", content)
	_, secretFile := writeFile(t, "secret", "environment-secret")

	cfg, err := loadConfig([]string{"LEARNER_SEED=8", "LEARNER_ORDER="}, dir, cluster)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Seed != 8 {
		t.Errorf("seed %d: the file overrides the environment", cfg.Seed)
	}
	if cfg.Order != "progress" {
		t.Errorf("order %s: an empty value does not count as unset", cfg.Order)
	}
	if cfg.Brokers.String() != "a.example:9092" || string(cfg.APIKey) != "file-key" || string(cfg.APISecret) != "file$secret" {
		t.Errorf("brokers %v, key %q, secret %q", cfg.Brokers, string(cfg.APIKey), string(cfg.APISecret))
	}

	cfg, err = loadConfig([]string{"CCLOUD_CLUSTER_API_SECRET_FILE=" + secretFile}, dir, cluster)
	if err != nil || string(cfg.APISecret) != "environment-secret" {
		t.Errorf("secret %q, error %v: the environment's file does not go before the .env file's value", string(cfg.APISecret), err)
	}
}

func TestDotenvFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		give string
		want string
	}{
		{"no equals sign", "LEARNER_SEED=1\n\nhunter2\nLEARNER_ORDER=time\n", ".env: line 3 is not NAME=value"},
		{"no equals sign at the end", "LEARNER_SEED=1\nhunter2", ".env: line 2 is not NAME=value"},
		{"quote without an end", "A='two\nlines'\nCCLOUD_CLUSTER_API_SECRET=\"hunter2\nLEARNER_SEED=1\n", ".env: line 3 is not NAME=value"},
		{"name with a dash", "LEARNER-SEED=hunter2\r\n", ".env: line 1 is not NAME=value"},
		{"unknown name", "LEARNER_SED=hunter2", "LEARNER_SED: unknown, did you mean LEARNER_SEED?"},
		{"wrong value", "LEARNER_SEED=x", `LEARNER_SEED: found "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, _ := writeFile(t, ".env", tt.give)
			got := runIn(t, dir, nil, "config")
			if got.code != exitUsage || !strings.HasPrefix(got.stderr, "learner: "+tt.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%+v, want %s", got, tt.want)
			}
			if strings.Contains(got.stdout+got.stderr, "hunter2") {
				t.Errorf("a secret is in %+v", got)
			}
		})
	}

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".env"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := runIn(t, dir, nil, "config"); got.code != exitUsage || !strings.Contains(got.stderr, "read .env: is a directory") {
		t.Errorf("directory: %+v", got)
	}
}

func TestSecretShowsNothing(t *testing.T) {
	t.Parallel()
	const text = "hunter2"
	cfg := defaults(t)
	cfg.APIKey, cfg.APISecret = text, text
	held := struct{ S *Secret }{&cfg.APISecret}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%-10v", "%U"} {
		fmt.Fprintf(&out, verb+" ", cfg.APISecret)
		fmt.Fprintf(&out, verb+" ", cfg)
		fmt.Fprintf(&out, verb+" ", []Secret{text})
		fmt.Fprintf(&out, verb+" ", map[Secret]any{text: cfg.APIKey})
	}
	fmt.Fprintln(&out, cfg.APISecret, cfg.APISecret.GoString(), fmt.Errorf("error: %v", cfg.APISecret))
	for _, v := range []any{cfg.APISecret, cfg, held, []Secret{text}, map[string]Secret{"s": text}} {
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(js)
		for _, format := range []string{"json", "console"} {
			cfg.LogFormat = format
			newLogger(cfg, logLevel(cfg), &out).Info("log", zap.Any("value", v), zap.Reflect("reflected", v), zap.Object("config", cfg))
			newLogger(cfg, logLevel(cfg), &out).Sugar().Infow(fmt.Sprint(v), "value", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("log", "value", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("log", "value", v)
	}
	for _, s := range settings() {
		out.WriteString(s.text(cfg))
	}
	all := out.String()
	for _, leak := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), "aHVudGVyMg"} {
		if at := strings.Index(all, leak); at >= 0 {
			t.Errorf("%q is shown: …%s", leak, all[max(0, at-80):at+10])
		}
	}
	if !strings.Contains(all, redacted) || Secret("").String() != "" {
		t.Error("REDACTED does not stand for a secret that is set, and for no other")
	}
}

func TestOutputShowsNoSecret(t *testing.T) {
	t.Parallel()
	const key, secret = "hunter-key", "hunter-secret"
	_, file := writeFile(t, "secret", secret)
	for _, env := range [][]string{
		{"CCLOUD_CLUSTER_API_KEY=" + key, "CCLOUD_CLUSTER_API_SECRET=" + secret},
		{"CCLOUD_CLUSTER_API_KEY=" + key, "CCLOUD_CLUSTER_API_SECRET_FILE=" + file},
		{"CCLOUD_CLUSTER_API_KEY=" + key, "CCLOUD_CLUSTER_API_SECRET=" + secret + " ", "LEARNER_SEED=x"},
		{"CCLOUD_CLUSTER_API_KEY=" + key},
		{"CCLOUD_CLUSTER_API_SECRET=" + secret},
		{"LEARNER_API_SECRET=" + secret, "LEARNER_PASSWORD=" + key},
	} {
		for _, args := range []string{"config", "help", "version", "healthcheck"} {
			got := runWith(t, append(env, "LEARNER_HTTP_ADDR=127.0.0.1:1"), args)
			if strings.Contains(got.stdout+got.stderr, "hunter") {
				t.Errorf("%s with %q shows a secret: %+v", args, env, got)
			}
			if args == "config" && got.code == exitClean && !strings.Contains(got.stdout, "CCLOUD_CLUSTER_API_SECRET=REDACTED\n") {
				t.Errorf("config hides that there is a secret: %s", got.stdout)
			}
		}
	}
}

func TestLoadReadsNoOtherEnvironment(t *testing.T) {
	want := defaults(t)
	for _, s := range settings() {
		t.Setenv(s.name, "1")
		t.Setenv(strings.ToUpper(s.field.Name), "1")
	}
	if got := defaults(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
