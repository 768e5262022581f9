// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	answerWithin     = 15 * time.Second // long enough for an injected delay to be seen as a delay
	bestEffortWithin = time.Second
	connectWithin    = 3 * time.Second
	cartKey          = "stand-in-cart"
)

// neighbours are the connections of one role to the services that it calls. Safe for concurrent use.
type neighbours struct {
	pod       string
	addresses map[string]string
	conns     map[string]*grpc.ClientConn
}

// outcome is what came of one step: the callee's own words, or the failure.
type outcome struct {
	step   step
	answer string
	err    error
}

// requireAddresses fails, naming every variable of the list that is empty.
func requireAddresses(role string, getenv func(string) string, variables []string) error {
	var missing []string
	for _, name := range variables {
		if getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s needs the address (host:port) of each neighbour; empty or unset: %s", role, strings.Join(missing, ", "))
	}
	return nil
}

// newNeighbours prepares a connection per distinct callee; none is opened before its first use.
func newNeighbours(pod string, getenv func(string) string, steps []step) (*neighbours, error) {
	n := &neighbours{pod: pod, addresses: map[string]string{}, conns: map[string]*grpc.ClientConn{}}
	for _, s := range steps {
		if s.service == redisCart {
			n.addresses[redisCart] = getenv("REDIS_ADDR")
			continue
		}
		if n.conns[s.service] != nil {
			continue
		}
		address := getenv(services[s.service].variable)
		conn, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithNoProxy(),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})),
			grpc.WithConnectParams(grpc.ConnectParams{
				// A neighbour that comes back is found again soon, not after the default two minutes.
				Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
				MinConnectTimeout: connectWithin,
			}))
		if err != nil {
			n.close()
			return nil, fmt.Errorf("%s=%q is no usable address: %w", services[s.service].variable, address, err)
		}
		n.addresses[s.service], n.conns[s.service] = address, conn
	}
	return n, nil
}

func (n *neighbours) close() {
	for _, conn := range n.conns {
		_ = conn.Close()
	}
}

// follow makes the calls in order, passing the trace headers on; it stops at the first mandatory failure and returns it.
func (n *neighbours) follow(ctx context.Context, trace metadata.MD, steps []step) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, trace), answerWithin)
	defer cancel()
	outcomes := make([]outcome, 0, len(steps))
	for _, s := range steps {
		answer, err := n.call(ctx, s)
		if err != nil {
			err = fmt.Errorf("%s at %s failed: %s", s.service, n.addresses[s.service], reason(err))
		}
		outcomes = append(outcomes, outcome{step: s, answer: answer, err: err})
		if err != nil && !s.bestEffort {
			return outcomes, err
		}
	}
	return outcomes, nil
}

func (n *neighbours) call(ctx context.Context, s step) (string, error) {
	if s.bestEffort {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, bestEffortWithin)
		defer cancel()
	}
	if s.service == redisCart {
		return n.callRedis(ctx, s.method)
	}
	request, response := textMessage("from stand-in pod "+n.pod), []byte(nil)
	if err := n.conns[s.service].Invoke(ctx, services[s.service].path(s.method), &request, &response); err != nil {
		return "", err
	}
	return messageText(response), nil
}

// callRedis sends one command of the RESP protocol on a connection of its own: a kept one may be stale, and nothing is retried.
func (n *neighbours) callRedis(ctx context.Context, command string) (string, error) {
	address := n.addresses[redisCart]
	if address == "" {
		return "no REDIS_ADDR, nothing stored", nil // the real one then keeps carts in memory
	}
	words := []string{command, cartKey}
	if command == "SET" {
		words = append(words, n.pod)
	}
	conn, err := (&net.Dialer{Timeout: connectWithin}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	var request strings.Builder
	fmt.Fprintf(&request, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&request, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, request.String()); err != nil {
		return "", err
	}
	return readReply(bufio.NewReader(conn))
}

// readReply reads one RESP reply that is a simple string, an integer, a bulk string or an error.
func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("no reply of Redis: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply, not the Redis protocol")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", errors.New(line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size > 1<<20 {
			return "", fmt.Errorf("bad length in Redis' reply %q", line)
		}
		if size < 0 {
			return "nothing stored", nil
		}
		body := make([]byte, size+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return "", fmt.Errorf("reply of Redis cut short: %w", err)
		}
		return string(body[:size]), nil
	}
	return "", fmt.Errorf("reply %.40q is not the Redis protocol", line)
}

// reason is the cause of a failed call in one line: gRPC's code and message, or the plain error.
func reason(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Code().String() + ": " + s.Message()
	}
	return err.Error()
}

// traceHeaders picks what has to travel on so that the proxies' spans join, from HTTP headers or gRPC metadata.
// Headers: W3C trace context and baggage, B3 (single and multi), Envoy's request id.
func traceHeaders(in map[string][]string) metadata.MD {
	out := metadata.MD{}
	for key, values := range in {
		key = strings.ToLower(key)
		switch key {
		case "traceparent", "tracestate", "baggage", "b3", "x-request-id":
		default:
			if !strings.HasPrefix(key, "x-b3-") {
				continue
			}
		}
		for _, value := range values {
			if printable(value) { // gRPC refuses the whole call otherwise
				out.Append(key, value)
			}
		}
	}
	return out
}

func printable(value string) bool {
	for i := range len(value) {
		if value[i] < 0x20 || value[i] > 0x7e {
			return false
		}
	}
	return true
}
