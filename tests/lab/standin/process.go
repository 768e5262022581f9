// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// process is what a role gets from outside, so that tests can run several roles in one process.
type process struct {
	role   string
	pod    string
	getenv func(string) string
	args   []string
	named  bool // the role came as first argument, not from STANDIN
	out    io.Writer
	log    *log.Logger
	listen func(address string) (net.Listener, error)
}

func (p *process) name() string {
	return fmt.Sprintf("stand-in for %s, pod %s", p.role, p.pod)
}

// duration reads a Go duration (for example 1.5s) from the environment.
func (p *process) duration(variable string, otherwise time.Duration) (time.Duration, error) {
	text := p.getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("%s=%q of %s is no duration; write for example 3s or 500ms", variable, text, p.role)
	}
	return value, nil
}

// unit is one listener with the server behind it; stop lets requests in flight finish until its context ends.
type unit struct {
	listener net.Listener
	serve    func(net.Listener) error
	stop     func(context.Context) error
}

// serve runs the units until ctx ends, then leaves in order: unready turns the probes, a third of GRACE passes in which
// callers that have not heard of it are still answered, and the rest of GRACE is for requests in flight.
func (p *process) serve(ctx context.Context, unready func(), units ...unit) error {
	grace, err := p.duration("GRACE", 3*time.Second)
	if err != nil {
		return err
	}
	failed := make(chan error, len(units))
	for _, u := range units {
		p.log.Printf("listening on %s", u.listener.Addr())
		go func() {
			if err := u.serve(u.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s on %s: %w", p.role, u.listener.Addr(), err)
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	p.log.Printf("leaving within %s: not ready, then draining", grace)
	unready()
	deadline, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = sleep(deadline, grace/3)
	for _, u := range units {
		if err := u.stop(deadline); err != nil {
			p.log.Printf("requests in flight on %s cut off after %s: %v", u.listener.Addr(), grace, err)
		}
	}
	p.log.Print("stopped")
	return nil
}

// site is an HTTP server that names itself in every answer.
type site struct {
	*process
	leaving atomic.Bool
	record  *os.File // of numbered requests; nil where RECORD names no folder
}

func (s *site) unready() { s.leaving.Store(true) }

// unit binds handler to an address.
func (s *site) unit(address string, handler http.Handler) (unit, error) {
	if folder := s.getenv("RECORD"); folder != "" && s.record == nil {
		file, err := os.OpenFile(filepath.Join(folder, s.pod), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return unit{}, fmt.Errorf("RECORD=%q of %s: %w", folder, s.role, err)
		}
		s.record = file
	}
	listener, err := s.listen(address)
	if err != nil {
		return unit{}, err
	}
	server := &http.Server{Handler: s.named(handler), ReadHeaderTimeout: 10 * time.Second, ErrorLog: s.log}
	return unit{listener: listener, serve: server.Serve, stop: func(ctx context.Context) error {
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close()
			return err
		}
		return nil
	}}, nil
}

func (s *site) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Stand-In", s.role)
		w.Header().Set("X-Stand-In-Pod", s.pod)
		if number := r.Header.Get("X-Probe-Number"); number != "" && s.record != nil {
			// One write for each, so that lines of requests at the same time stay whole.
			_, _ = fmt.Fprintf(s.record, "%s %s\n", r.Header.Get("X-Probe-Run"), number)
		}
		if s.leaving.Load() {
			w.Header().Set("Connection", "close") // the caller gives up its kept connection without losing a request
		}
		next.ServeHTTP(w, r)
	})
}

// healthy answers a probe: 200 with body, or 503 once the process is leaving.
func (s *site) healthy(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if s.leaving.Load() {
			http.Error(w, s.name()+": leaving", http.StatusServiceUnavailable)
			return
		}
		text(w, contentType, body)
	}
}

func text(w http.ResponseWriter, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	_, _ = io.WriteString(w, body)
}

// sleep waits for d, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
