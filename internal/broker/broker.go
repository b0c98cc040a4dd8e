// Package broker runs an embedded Kafka broker: the cluster of `learner demo` and of tests. It is franz-go's kfake, a
// Kafka in memory that speaks the real protocol on real sockets.
package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options say what cluster to start. The zero value is one plaintext broker.
type Options struct {
	Brokers    int    // 1 if 0
	User       string // not empty: SASL PLAIN with this user, who may do everything, over TLS
	Password   string
	AutoCreate bool // topics that are asked for come into being, as on a broker with auto.create.topics.enable
	Configs    map[string]string
	Fake       []kfake.Opt // anything else, for tests
}

// Broker is a running cluster.
type Broker struct {
	// Fake is the cluster itself, for tests that need its hooks.
	Fake *kfake.Cluster
	// CA is the certificate, in PEM, that a client has to trust; nil without TLS.
	CA []byte
}

// Start starts a cluster on free ports of the loopback interface.
func Start(opts Options) (*Broker, error) {
	fake := append([]kfake.Opt{kfake.NumBrokers(max(opts.Brokers, 1)), kfake.BrokerConfigs(opts.Configs)}, opts.Fake...)
	if opts.AutoCreate {
		fake = append(fake, kfake.AllowAutoTopicCreation())
	}
	b := &Broker{}
	if opts.User != "" {
		cert, ca, err := selfSigned()
		if err != nil {
			return nil, fmt.Errorf("make a certificate for the embedded broker: %w", err)
		}
		b.CA = ca
		fake = append(fake,
			kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}),
			kfake.EnableSASL(), kfake.Superuser("PLAIN", opts.User, opts.Password))
	}
	cluster, err := kfake.NewCluster(fake...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	b.Fake = cluster
	return b, nil
}

// Addrs returns the brokers' addresses.
func (b *Broker) Addrs() []string { return b.Fake.ListenAddrs() }

// Close stops the cluster; its data are gone.
func (b *Broker) Close() { b.Fake.Close() }

// selfSigned returns a fresh certificate for the loopback addresses, which is its own authority.
func selfSigned() (cert tls.Certificate, ca []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "embedded broker"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return cert, nil, err
	}
	cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
