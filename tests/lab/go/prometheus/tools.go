//go:build tools

// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package tools pins the monitoring server of the lab.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
