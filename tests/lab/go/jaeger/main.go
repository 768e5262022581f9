// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command jaeger is Jaeger's collector, in-memory storage and query service in one process.
// It is built from Jaeger's packages without the storage backends, the Kafka clients and the agent that the lab does not use.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	collector "github.com/jaegertracing/jaeger/cmd/collector/app"
	"github.com/jaegertracing/jaeger/cmd/collector/app/flags"
	query "github.com/jaegertracing/jaeger/cmd/query/app"
	"github.com/jaegertracing/jaeger/cmd/query/app/querysvc"
	"github.com/jaegertracing/jaeger/pkg/healthcheck"
	"github.com/jaegertracing/jaeger/pkg/metrics"
	"github.com/jaegertracing/jaeger/pkg/telemetery"
	"github.com/jaegertracing/jaeger/pkg/tenancy"
	"github.com/jaegertracing/jaeger/plugin/sampling/strategyprovider/static"
	"github.com/jaegertracing/jaeger/plugin/storage/memory"
)

// The addon's Service and probes name these ports and this path.
const (
	otlpGRPC, otlpHTTP      = ":4317", ":4318"
	jaegerGRPC, jaegerHTTP  = ":14250", ":14268"
	zipkin                  = ":9411"
	queryHTTP, queryGRPC    = ":16686", ":16685"
	health, healthPath      = ":13133", "/status"
	basePath                = "/jaeger"
	maxTraces, queuedTraces = 20000, 2000
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := must(zap.NewProduction())
	tenants := tenancy.NewManager(&tenancy.Options{})
	checked := healthcheck.New()
	traces := memory.NewFactoryWithConfig(memory.Configuration{MaxTraces: maxTraces}, metrics.NullFactory, logger)

	options := &flags.CollectorOptions{NumWorkers: 2, QueueSize: queuedTraces}
	options.GRPC.HostPort, options.HTTP.HostPort, options.Zipkin.HTTPHostPort = jaegerGRPC, jaegerHTTP, zipkin
	options.OTLP.Enabled, options.OTLP.GRPC.HostPort, options.OTLP.HTTP.HostPort = true, otlpGRPC, otlpHTTP
	received := collector.New(&collector.CollectorParams{
		ServiceName:      "jaeger-collector",
		Logger:           logger,
		MetricsFactory:   metrics.NullFactory,
		SpanWriter:       must(traces.CreateSpanWriter()),
		SamplingProvider: must(static.NewProvider(static.Options{}, logger)),
		HealthCheck:      checked,
		TenancyMgr:       tenants,
	})
	if err := received.Start(options); err != nil {
		log.Fatal(err)
	}

	asked := &query.QueryOptions{BasePath: basePath}
	asked.HTTP.Endpoint, asked.GRPC.NetAddr.Endpoint, asked.GRPC.NetAddr.Transport = queryHTTP, queryGRPC, "tcp"
	service := querysvc.NewQueryService(must(traces.CreateSpanReader()), must(traces.CreateDependencyReader()), querysvc.QueryServiceOptions{})
	server := must(query.NewServer(service, nil, asked, tenants, telemetery.Setting{
		Logger:         logger,
		TracerProvider: noop.NewTracerProvider(),
		Metrics:        metrics.NullFactory,
		ReportStatus:   telemetery.HCAdapter(checked),
	}))
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}

	checked.Ready()
	http.Handle(healthPath, checked.Handler())
	go func() { log.Fatal(http.ListenAndServe(health, nil)) }()
	<-ctx.Done()
	_ = received.Close()
	_ = server.Close()
}
