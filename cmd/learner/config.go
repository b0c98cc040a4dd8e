package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Config is the configuration of the service. Each field is one environment variable: envconfig is its name, default
// its value where it is unset, desc what it is for, and want what is allowed. Help, README, and error messages are
// made of these tags.
//
// Every field is valid once loadConfig or Validate has returned nil.
type Config struct {
	Brokers   Brokers `envconfig:"CCLOUD_BOOTSTRAP_ENDPOINT" desc:"Brokers to start from, needed by all that connects to Kafka" want:"host:port, or several with commas between (SASL_SSL:// before it is left out)"`
	APIKey    Secret  `envconfig:"CCLOUD_CLUSTER_API_KEY" desc:"User name for SASL PLAIN" want:"a cluster's API key, together with the secret"`
	APISecret Secret  `envconfig:"CCLOUD_CLUSTER_API_SECRET" desc:"Password for SASL PLAIN" want:"the secret of the API key, together with the key"`
	Security  string  `envconfig:"LEARNER_SECURITY" default:"auto" desc:"How to connect to the brokers" want:"auto (sasl_ssl when there is a key, else plaintext), sasl_ssl, ssl, sasl_plaintext, or plaintext"`
	TLSCAFile string  `envconfig:"LEARNER_TLS_CA_FILE" desc:"Certificates to trust instead of the system's" want:"the path of a PEM file with at least one certificate"`

	RegistryURL    string `envconfig:"CCLOUD_SCHEMA_REGISTRY_ENDPOINT" desc:"Schema Registry, needed for Avro records" want:"an http or https URL, or several with commas between"`
	RegistryKey    Secret `envconfig:"CCLOUD_SCHEMA_REGISTRY_API_KEY" desc:"User name for the Schema Registry" want:"its API key, together with the secret"`
	RegistrySecret Secret `envconfig:"CCLOUD_SCHEMA_REGISTRY_API_SECRET" desc:"Password for the Schema Registry" want:"the secret of its API key, together with the key"`

	TrainTopic string `envconfig:"LEARNER_TRAIN_TOPIC" default:"10x.storage.machine-learning.train" desc:"Topic to learn from" want:"1 to 249 of a-z, A-Z, 0-9, '.', '_', '-'"`
	TestTopic  string `envconfig:"LEARNER_TEST_TOPIC" default:"10x.storage.machine-learning.test" desc:"Topic to measure on, never learned from" want:"like LEARNER_TRAIN_TOPIC, and another"`
	Group      string `envconfig:"LEARNER_GROUP" default:"10x.storage.machine-learning.learner" desc:"Consumer group, of which one member learns and the others stand by" want:"1 to 249 printable characters"`
	InstanceID string `envconfig:"LEARNER_INSTANCE_ID" desc:"Static membership in the group (KIP-345), with another name for each process" want:"1 to 249 of a-z, A-Z, 0-9, '.', '_', '-', or nothing for none"`

	Format   string   `envconfig:"LEARNER_FORMAT" default:"auto" desc:"Format of the records" want:"auto (each record's bytes and headers tell), csv, json, or avro"`
	Columns  []string `envconfig:"LEARNER_COLUMNS" desc:"Names of the columns of CSV records" want:"names with commas between, a # behind those whose values are categories, or nothing for those of a header line, or none"`
	Label    string   `envconfig:"LEARNER_LABEL" default:"auto" desc:"Where a record's label is" want:"auto (the first field named label, signal, target, class, or y, else column 0), key, a field's name, or a column's number from 0"`
	Features []string `envconfig:"LEARNER_FEATURES" desc:"Fields to learn from" want:"names, or column numbers from 0, with commas between, a # behind those whose numbers are categories, or nothing for all but the label"`
	Positive string   `envconfig:"LEARNER_POSITIVE" default:"true|1|1.0|yes" desc:"Values that mean label 1" want:"values with | between; other values mean 0, but where these all have an opposite (true, t, 1, 1.0, yes, y, on) only that does"`
	HashBits int      `envconfig:"LEARNER_HASH_BITS" default:"18" desc:"Size of the table of categories, 2 to the power of this" want:"a whole number from 8 to 24"`

	DeadLetterTopic string         `envconfig:"LEARNER_DEAD_LETTER_TOPIC" desc:"Topic for train records that are refused; created if it is missing" want:"like LEARNER_TRAIN_TOPIC, and another, or nothing for none"`
	BadRecordLimit  BadRecordLimit `envconfig:"LEARNER_BAD_RECORD_LIMIT" desc:"Share of refused records with which learning ends" want:"a share between 0 and 1 such as 0.05, of 10000 records or of those behind it (10 to 1000000000) such as 0.05/1000, or nothing for no limit"`

	Models   string `envconfig:"LEARNER_MODELS" default:"mix" desc:"Models to train side by side; the first is the champion unless LEARNER_CHAMPION says otherwise" want:"name=kind:option=value,option=value, or just a kind, with semicolons between"`
	Champion string `envconfig:"LEARNER_CHAMPION" default:"first" desc:"Which model answers for the service" want:"first (the first of LEARNER_MODELS) or best (at the start the first, then whichever is better for certain)"`
	TwinAge  uint64 `envconfig:"LEARNER_TWIN_AGE" default:"100000" desc:"Records between two frozen copies of the champion, with which it is compared" want:"a whole number from 1000"`
	Seed     uint64 `envconfig:"LEARNER_SEED" default:"1" desc:"Seed of everything random in the models" want:"a whole number from 0 to 18446744073709551615"`
	Order    string `envconfig:"LEARNER_ORDER" default:"time" desc:"How the partitions become one sequence" want:"time (by the records' timestamps) or progress (by the share of each partition that was read, for timestamps that say nothing)"`
	Start    Start  `envconfig:"LEARNER_START" default:"earliest" desc:"Where to begin in the train topic when there is nothing to resume from" want:"earliest, latest, or a time such as 2026-01-31T12:00:00Z (RFC 3339, not before 1970)"`

	Reset   OptionalStart `envconfig:"LEARNER_RESET" desc:"Begin a new lineage with fresh models there, once for each LEARNER_RESET_ID" want:"earliest, latest, or an RFC 3339 time, together with LEARNER_RESET_ID, or nothing for none"`
	ResetID string        `envconfig:"LEARNER_RESET_ID" desc:"Name of the reset, so that a restart does not repeat it" want:"1 to 200 printable characters, together with LEARNER_RESET"`

	Checkpoint         string        `envconfig:"LEARNER_CHECKPOINT" default:"topic" desc:"Where checkpoints are kept" want:"topic, dir, or none (a start is then always fresh)"`
	CheckpointTopic    string        `envconfig:"LEARNER_CHECKPOINT_TOPIC" default:"10x.storage.machine-learning.checkpoints" desc:"Compacted topic for checkpoints, which groups may share; created if it is missing" want:"like LEARNER_TRAIN_TOPIC, and another"`
	CheckpointDir      string        `envconfig:"LEARNER_CHECKPOINT_DIR" desc:"Folder for checkpoints if LEARNER_CHECKPOINT is dir" want:"the path of a folder"`
	CheckpointInterval time.Duration `envconfig:"LEARNER_CHECKPOINT_INTERVAL" default:"10s" desc:"Time between two checkpoints" want:"a duration from 100ms to 24h"`

	EvalInterval time.Duration `envconfig:"LEARNER_EVAL_INTERVAL" default:"5s" desc:"Time between two measurements on the test topic" want:"a duration from 100ms to 24h"`
	EvalRecords  int           `envconfig:"LEARNER_EVAL_RECORDS" default:"10000" desc:"How many of the newest test records to measure on" want:"a whole number from 1 to 10000000"`

	HTTPAddr   string `envconfig:"LEARNER_HTTP_ADDR" default:":8080" desc:"Address of the HTTP server" want:"host:port, or :port for all addresses; port 0 takes a free one"`
	AdminAddr  string `envconfig:"LEARNER_ADMIN_ADDR" default:"127.0.0.1:8081" desc:"Address of the HTTP server for operators" want:"host:port, where it is no loopback address together with LEARNER_ADMIN_TOKEN, or none"`
	AdminToken Secret `envconfig:"LEARNER_ADMIN_TOKEN" desc:"Bearer token that every request of operators must carry" want:"printable characters without spaces, or nothing for none"`
	LogLevel   string `envconfig:"LEARNER_LOG_LEVEL" default:"info" desc:"Least level that is logged" want:"debug, info, warn, or error"`
	LogFormat  string `envconfig:"LEARNER_LOG_FORMAT" default:"auto" desc:"Format of log lines" want:"auto (console on a terminal, else json), json, or console"`
}

// setting describes one field of Config.
type setting struct {
	name   string // of the variable
	def    string // its value where it is unset; may be empty
	desc   string
	want   string
	secret bool
	field  reflect.StructField
}

// settings returns all fields of Config, in order.
func settings() []setting {
	all := make([]setting, 0, reflect.TypeFor[Config]().NumField())
	for f := range reflect.TypeFor[Config]().Fields() {
		all = append(all, setting{
			name:   f.Tag.Get("envconfig"),
			def:    f.Tag.Get("default"),
			desc:   f.Tag.Get("desc"),
			want:   f.Tag.Get("want"),
			secret: f.Type == reflect.TypeFor[Secret](),
			field:  f,
		})
	}
	return all
}

// description returns one sentence for help and README.
func (s setting) description() string {
	text := s.desc + ": " + s.want
	if s.secret {
		text += "; or " + s.name + fileSuffix + " with the path of a file that holds it"
	}
	return text + "."
}

// decode parses text as the field's type and stores it in cfg.
//
// envconfig reads the process's own environment. It is given the text as the default of a variable whose name holds
// a '=', which no environment can set, so that the configuration depends on the arguments of loadConfig alone.
func (s setting) decode(cfg *Config, text string) error {
	dst := reflect.ValueOf(cfg).Elem().FieldByIndex(s.field.Index)
	if s.secret {
		dst.SetString(text)
		return nil
	}
	one := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: s.field.Name,
		Type: s.field.Type,
		Tag:  reflect.StructTag("default:" + strconv.Quote(text)),
	}}))
	if err := envconfig.Process("=", one.Interface()); err != nil {
		return err
	}
	dst.Set(one.Elem().Field(0))
	return nil
}

// text returns the field's value in cfg as it would stand in the environment, a secret redacted.
func (s setting) text(cfg *Config) string {
	value := reflect.ValueOf(cfg).Elem().FieldByIndex(s.field.Index).Interface()
	if list, ok := value.([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(value)
}

// MarshalLogObject lets zap.Object log the configuration, each field under its variable's name, secrets redacted.
func (c *Config) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	for _, s := range settings() {
		enc.AddString(s.name, s.text(c))
	}
	return nil
}

// Protocol returns how to connect to the brokers: Security, with auto resolved.
func (c *Config) Protocol() string {
	switch {
	case c.Security != "auto":
		return c.Security
	case c.APIKey != "":
		return "sasl_ssl"
	}
	return "plaintext"
}

// Brokers is a list of host:port.
type Brokers []string

// Decode reads a list as Confluent Cloud or a Kafka client's configuration shows it.
func (b *Brokers) Decode(text string) error {
	var list Brokers
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if scheme := "SASL_SSL://"; len(item) > len(scheme) && strings.EqualFold(item[:len(scheme)], scheme) {
			item = item[len(scheme):]
		}
		if item == "" {
			continue
		}
		host, port, err := net.SplitHostPort(item)
		if err != nil {
			return err
		}
		if host == "" || strings.ContainsAny(host, "/@ \t") || !validPort(port, 1) {
			return errors.New("neither host:port nor a list of it")
		}
		list = append(list, item)
	}
	if len(list) == 0 {
		return errors.New("empty list")
	}
	*b = list
	return nil
}

func (b Brokers) String() string { return strings.Join(b, ",") }

// validPort says whether text is a decimal port number from least to 65535.
func validPort(text string, least uint64) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port >= least
}

// Start says where to begin in a topic. The zero value is the earliest offset.
type Start struct {
	Latest bool
	Time   time.Time // the first record at or after it; zero: no time was given
}

// Decode reads earliest, latest, or an RFC 3339 time.
func (s *Start) Decode(text string) error {
	switch text {
	case "earliest":
		*s = Start{}
		return nil
	case "latest":
		*s = Start{Latest: true}
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return err
	}
	// Kafka gives negative times a meaning of its own: -1 is the latest offset, -2 the earliest.
	if t.UnixMilli() < 0 {
		return errors.New("before 1970")
	}
	*s = Start{Time: t}
	return nil
}

// OptionalStart is a Start, or none: the zero value.
type OptionalStart struct {
	Start
	set bool
}

// Decode reads what Start reads.
func (s *OptionalStart) Decode(text string) error {
	s.set = true
	return s.Start.Decode(text)
}

func (s OptionalStart) String() string {
	if !s.set {
		return ""
	}
	return s.Start.String()
}

func (s Start) String() string {
	switch {
	case s.Latest:
		return "latest"
	case s.Time.IsZero():
		return "earliest"
	}
	return s.Time.Format(time.RFC3339Nano)
}

// BadRecordLimit is a share of a window of records, or no limit: the zero value.
type BadRecordLimit struct {
	Share  float64
	Window uint64
}

// Decode reads a share, with the number of records in a window behind it, or without.
func (l *BadRecordLimit) Decode(text string) error {
	share, window, found := strings.Cut(text, "/")
	if !found {
		window = "10000"
	}
	var err error
	if l.Share, err = strconv.ParseFloat(share, 64); err != nil {
		return err
	}
	if l.Window, err = strconv.ParseUint(window, 10, 64); err != nil {
		return err
	}
	if !(l.Share > 0 && l.Share < 1) || l.Window < 10 || l.Window > 1e9 {
		return errors.New("out of range")
	}
	return nil
}

func (l BadRecordLimit) String() string {
	if l.Window == 0 {
		return ""
	}
	return fmt.Sprintf("%v/%d", l.Share, l.Window)
}

// printConfig prints all variables as NAME=value lines, such as a .env file has.
func printConfig(_ context.Context, p *process) error {
	if err := p.parseNothing(); err != nil {
		return err
	}
	cfg, err := loadConfig(p.environ, p.dir, offline)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, s := range settings() {
		value := s.text(cfg)
		fmt.Fprintf(&text, "%s=%s", s.name, value)
		if value != "" && value == s.def {
			text.WriteString(" # default")
		}
		text.WriteByte('\n')
	}
	return p.print(text.String())
}

// start reads the configuration, makes the logger and its level, and logs what runs with which configuration.
func (p *process) start(use use) (*Config, *zap.Logger, error) {
	cfg, err := loadConfig(p.environ, p.dir, use)
	if err != nil {
		return nil, nil, err
	}
	p.level = logLevel(cfg)
	logger := newLogger(cfg, p.level, p.stderr)
	logger.Info("start", zap.String("command", p.command.name), zap.Object("build", currentBuild()), zap.Object("config", cfg))
	return cfg, logger, nil
}
