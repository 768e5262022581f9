//go:build tools

// Package tools pins the program beside Prometheus that reloads its configuration.
package tools

import (
	_ "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader"
)
