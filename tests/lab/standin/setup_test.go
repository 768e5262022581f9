// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// TestMain lets the test binary be the program itself, for the tests that need a process and its exit status.
func TestMain(m *testing.M) {
	if os.Getenv("STANDIN_BE_THE_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// running is a role that runs in this process on a loopback port.
type running struct {
	addresses []string
	cancel    context.CancelFunc
	done      chan error
}

// start runs a role until stop or the end of the test.
func start(t *testing.T, role string, env map[string]string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	ready := make(chan string, 2)
	want := map[string]int{"kiali": 2, "loadgenerator": 0}
	p := &process{
		role: role, pod: role + "-5d4f8c7b9-x2x4z", args: args, out: io.Discard, log: log.New(io.Discard, "", 0),
		getenv: func(name string) string { return env[name] },
		listen: func(string) (net.Listener, error) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				ready <- listener.Addr().String()
			}
			return listener, err
		},
	}
	go func() { r.done <- roles()[role](ctx, p) }()
	count, listed := want[role]
	if !listed {
		count = 1
	}
	for range count {
		select {
		case address := <-ready:
			r.addresses = append(r.addresses, address)
		case err := <-r.done:
			t.Fatalf("%s did not start: %v", role, err)
		}
	}
	t.Cleanup(func() { cancel() })
	return r
}

func (r *running) address() string { return r.addresses[0] }

// stop ends the role as SIGTERM does and returns what it returned.
func (r *running) stop(t *testing.T) error {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("did not stop within 10 s")
		return nil
	}
}

// refusing is an address at which nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// redis is a tiny server of the RESP protocol; it records the commands that it was sent.
type redis struct {
	address string
	mu      sync.Mutex
	values  map[string]string
	seen    []string
}

func startRedis(t *testing.T) *redis {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	r := &redis{address: listener.Addr().String(), values: map[string]string{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.talk(conn)
		}
	}()
	return r
}

func (r *redis) talk(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil || line[0] != '*' {
			return
		}
		count, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
		words := make([]string, count)
		for i := range words {
			if words[i], err = readReply(in); err != nil {
				return
			}
		}
		_, _ = io.WriteString(conn, r.answer(words))
	}
}

func (r *redis) answer(words []string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, strings.Join(words, " "))
	switch words[0] {
	case "SET":
		r.values[words[1]] = words[2]
		return "+OK\r\n"
	case "GET":
		if value, held := r.values[words[1]]; held {
			return "$" + strconv.Itoa(len(value)) + "\r\n" + value + "\r\n"
		}
		return "$-1\r\n"
	case "DEL":
		delete(r.values, words[1])
		return ":1\r\n"
	}
	return "-ERR unknown command\r\n"
}

func (r *redis) commands() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// startRecorder answers every gRPC method and keeps the metadata of each call by method.
func startRecorder(t *testing.T) (address string, metadataOf func(method string) metadata.MD) {
	t.Helper()
	var mu sync.Mutex
	calls := map[string]metadata.MD{}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		incoming, _ := metadata.FromIncomingContext(stream.Context())
		mu.Lock()
		calls[method] = incoming
		mu.Unlock()
		response := textMessage("recorded")
		return stream.SendMsg(&response)
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String(), func(method string) metadata.MD {
		mu.Lock()
		defer mu.Unlock()
		return calls[method]
	}
}

// frontendEnv has every address that the frontend asks for, all at one place.
func frontendEnv(everywhere string, other map[string]string) map[string]string {
	env := map[string]string{"GRACE": "300ms"}
	for _, name := range frontendMandatory {
		env[name] = everywhere
	}
	for name, value := range other {
		env[name] = value
	}
	return env
}

// fetch makes one HTTP request and returns the answer with its body read.
func fetch(t *testing.T, method, url string, header map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	response, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}
