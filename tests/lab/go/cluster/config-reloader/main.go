// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command config-reloader tells Prometheus to read its configuration again when a watched directory changes.
// It is the reloader that prometheus-config-reloader is built on, with the flags that Istio's addon sets.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	kitlog "github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/thanos-io/thanos/pkg/reloader"
)

func main() {
	directory := flag.String("watched-dir", "", "directory to watch")
	address := flag.String("listen-address", ":8080", "address of /metrics and /healthz")
	target := flag.String("reload-url", "http://127.0.0.1:9090/-/reload", "URL to call after a change")
	flag.Parse()
	reloadURL, err := url.Parse(*target)
	if err != nil || *directory == "" {
		log.Fatalf("--watched-dir %q and --reload-url %q must name a directory and a URL", *directory, *target)
	}
	registry := prometheus.NewRegistry()
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	go func() { log.Fatal(http.ListenAndServe(*address, nil)) }()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	watcher := reloader.New(kitlog.NewLogfmtLogger(kitlog.NewSyncWriter(os.Stderr)), registry, &reloader.Options{
		ReloadURL:     reloadURL,
		HTTPClient:    http.Client{Timeout: 30 * time.Second},
		WatchedDirs:   []string{*directory},
		DelayInterval: time.Second,
		WatchInterval: 3 * time.Minute,
		RetryInterval: 5 * time.Second,
	})
	if err := watcher.Watch(ctx); err != nil {
		log.Fatal(err)
	}
}
