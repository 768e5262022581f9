//go:build tools

// Package tools pins the tracing backend of the lab.
package tools

import (
	_ "github.com/jaegertracing/jaeger/cmd/jaeger"
)
