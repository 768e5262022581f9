// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package plugins takes the place of Prometheus' own list of service discoveries.
package plugins

import _ "github.com/prometheus/prometheus/discovery/kubernetes"
