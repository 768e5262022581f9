// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command standin answers in the place of container images that cannot be had, and says so in every answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// usageError is a wrong command line: exit status 2.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// roles maps a role's name to what it does until its context ends.
func roles() map[string]func(context.Context, *process) error {
	all := map[string]func(context.Context, *process) error{
		"frontend":      runFrontend,
		"loadgenerator": runLoadgenerator,
		"grafana":       runGrafana,
		"kiali":         runKiali,
		"client":        runClient,
		"files":         runFiles,
	}
	for name := range services {
		all[name] = runService
	}
	return all
}

// choose finds the role: the first argument where it names one, else STANDIN. Where STANDIN chose, the arguments may be
// those of the real program, which a manifest passes; only client and files read them.
func choose(p *process, arguments []string) (func(context.Context, *process) error, error) {
	known := roles()
	if len(arguments) > 0 && known[arguments[0]] != nil {
		p.role, p.args, p.named = arguments[0], arguments[1:], true
		return known[p.role], nil
	}
	p.role, p.args = p.getenv("STANDIN"), arguments
	if run := known[p.role]; run != nil {
		return run, nil
	}
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return nil, usageError{fmt.Errorf("no role %q: set STANDIN, or give as first argument, one of %s", p.role, strings.Join(names, ", "))}
}

func podName() string {
	if name := os.Getenv("HOSTNAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	p := &process{
		pod: podName(), getenv: os.Getenv, out: os.Stdout, log: log.New(os.Stderr, "standin: ", log.LstdFlags|log.Lmsgprefix),
		listen: func(address string) (net.Listener, error) { return net.Listen("tcp", address) },
	}
	role, err := choose(p, os.Args[1:])
	if err != nil {
		return err
	}
	p.log.SetPrefix("stand-in for " + p.role + ": ")
	p.log.Printf("start in pod %s; this is not the real program", p.pod)
	if len(p.args) > 0 && p.role != "client" && p.role != "files" {
		p.log.Printf("arguments ignored, they are for the real program: %q", p.args)
	}
	return role(ctx, p)
}

func main() {
	err := run()
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "standin: %v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "standin: %v\n", err)
		os.Exit(1)
	}
}
