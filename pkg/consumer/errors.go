package consumer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/segmentio/kafka-go"
)

// Kinds of errors that this package tells by itself.
const (
	kindDial = "dial"
	kindAuth = "auth"
	kindJoin = "join"
)

// fault is an error with what a caller has to know of it besides its text.
type fault struct {
	error
	kind      string
	permanent bool // asking again brings the same
}

// Unwrap returns the error itself.
func (f *fault) Unwrap() error { return f.error }

// permanent reports whether err is a fault that trying again does not cure.
func permanent(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.permanent
}

// Kind sorts err for a metric: "auth" for TLS, credentials, and permissions, "dial" for connections that did not come
// about, "join" for trouble with the group, and "" when the error does not tell; the caller then knows what it was
// about.
func Kind(err error) string {
	var (
		f    *fault
		code kafka.Error
		op   *net.OpError
		dns  *net.DNSError
	)
	switch {
	case errors.As(err, &f) && f.kind == kindAuth, tlsFault(err):
		return kindAuth
	case errors.As(err, &code) && refused(code):
		return kindAuth
	case errors.As(err, &dns), errors.As(err, &op) && op.Op == "dial":
		return kindDial
	case f != nil:
		return f.kind
	}
	return ""
}

// refused reports whether a broker answered with code because of who asked.
func refused(code kafka.Error) bool {
	switch code {
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState,
		kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed:
		return true
	}
	return false
}

// tlsFault reports whether err says that the two ends cannot agree on TLS or that the certificate is not trusted.
func tlsFault(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
		authority    x509.UnknownAuthorityError
		host         x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// closedEarly reports whether err says that the other end hung up.
func closedEarly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// timedOut reports whether err says that an answer did not come in time.
func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
