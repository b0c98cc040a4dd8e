package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// healthcheckTimeout bounds the whole exchange.
const healthcheckTimeout = 3 * time.Second

// healthcheck asks the service on this machine whether it is alive. Container images without a shell use it as
// their health check.
func healthcheck(ctx context.Context, p *process) error {
	if err := p.parseNothing(); err != nil {
		return err
	}
	cfg, err := loadConfig(p.environ, p.dir, offline)
	if err != nil {
		return err
	}
	url, err := healthURL(cfg.HTTPAddr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	// Not the default client: a proxy that the environment names knows nothing of this machine's addresses.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written, and all that counts has been read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: the answer is %s", url, resp.Status)
	}
	return p.print("alive\n")
}

// healthURL returns where a server that listens at addr can be asked from its own machine.
func healthURL(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("split %q: %w", addr, err)
	}
	if port == "0" {
		return "", errors.New("LEARNER_HTTP_ADDR has port 0: the port in use is known to the service alone")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/healthz", nil
}
