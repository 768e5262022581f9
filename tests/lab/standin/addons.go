// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// runGrafana answers Grafana's probe and says what it is; it has no dashboards.
func runGrafana(ctx context.Context, p *process) error {
	s := &site{process: p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/health", s.healthy("application/json", `{"database": "ok", "version": "stand-in", "stand_in": true}`+"\n"))
	mux.HandleFunc("/", s.greet)
	u, err := s.unit(p.address("3000"), mux)
	if err != nil {
		return err
	}
	return p.serve(ctx, s.unready, u)
}

// runKiali answers Kiali's probe and serves one metric on the second port; it draws no graph.
func runKiali(ctx context.Context, p *process) error {
	s := &site{process: p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kiali/healthz", s.healthy(plainType, "ok, "+s.name()+"\n"))
	mux.HandleFunc("/{$}", s.greet)
	mux.HandleFunc("/kiali", s.greet)
	mux.HandleFunc("/kiali/", s.greet)
	pages, err := s.unit(p.address("20001"), mux)
	if err != nil {
		return err
	}
	port := p.getenv("METRICS_PORT")
	if port == "" {
		port = "9090"
	}
	meters := http.NewServeMux()
	meters.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		text(w, "text/plain; version=0.0.4", fmt.Sprintf(
			"# HELP stand_in_info Constant 1: this process stands in for the named program.\n# TYPE stand_in_info gauge\nstand_in_info{role=%q,pod=%q} 1\n",
			p.role, p.pod))
	})
	metrics, err := s.unit(net.JoinHostPort(p.getenv("LISTEN_ADDR"), port), meters)
	if err != nil {
		pages.listener.Close()
		return err
	}
	return p.serve(ctx, s.unready, pages, metrics)
}

func (s *site) greet(w http.ResponseWriter, _ *http.Request) {
	text(w, plainType, s.name()+": not the real "+s.role+"\n")
}
