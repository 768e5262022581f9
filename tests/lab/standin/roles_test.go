// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// measure runs the client as its command line does and returns what it printed.
func measure(t *testing.T, args ...string) *tally {
	t.Helper()
	var out bytes.Buffer
	p := &process{role: "client", named: true, args: args, out: &out, log: log.New(io.Discard, "", 0)}
	if err := runClient(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	var got tally
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return &got
}

func TestClientCountsStatusesPodsAndDeployments(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.Header.Get("End-User") != "jason" {
			t.Errorf("host %q, header %v", r.Host, r.Header)
		}
		switch served.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			w.Header().Set("X-Stand-In-Pod", "frontend-v2-6c9f7d5b8-abcde")
		default:
			w.Header().Set("X-Stand-In-Pod", "frontend-5d4f8c7b9-x2x4z")
		}
	}))
	defer server.Close()
	got := measure(t, "-n", "40", "-c", "3", "-host", "shop.example", "-header", "end-user: jason", server.URL)
	if got.Requests != 40 || served.Load() != 40 || got.Statuses["200"] != 30 || got.Statuses["503"] != 10 {
		t.Errorf("served %d, counted %+v", served.Load(), got.Statuses)
	}
	if got.Deployments["frontend"] != 20 || got.Deployments["frontend-v2"] != 10 || got.Pods["frontend-v2-6c9f7d5b8-abcde"] != 10 {
		t.Errorf("pods %v, deployments %v", got.Pods, got.Deployments)
	}
	if len(got.Errors) != 4 || got.Seconds < 0 {
		t.Errorf("errors %v, seconds %v", got.Errors, got.Seconds)
	}
}

func TestClientSortsFailuresAndNeverRetries(t *testing.T) {
	if got := measure(t, "-n", "3", "http://"+refusing(t)); got.Errors["connect"] != 3 {
		t.Errorf("nothing listens: %v", got.Errors)
	}
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	if got := measure(t, "-n", "2", "-timeout", "50ms", slow.URL); got.Errors["timeout"] != 2 {
		t.Errorf("slow server: %v", got.Errors)
	}
	var served atomic.Int64
	breaking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if served.Add(1)%2 == 0 { // the second request of a kept connection, which net/http by itself would send again
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}
	}))
	defer breaking.Close()
	got := measure(t, "-n", "20", "-c", "1", breaking.URL)
	if served.Load() != 20 || got.Errors["reset"] != 10 || got.Statuses["200"] != 10 {
		t.Errorf("served %d, errors %v, statuses %v", served.Load(), got.Errors, got.Statuses)
	}
}

func TestClientSendsByTheClockAndNumbersEachRequestOnce(t *testing.T) {
	var mu sync.Mutex
	numbers, connections := map[string]int{}, map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		numbers[r.Header.Get("X-Probe-Run")+" "+r.Header.Get("X-Probe-Number")]++
		connections[r.RemoteAddr]++
		mu.Unlock()
		time.Sleep(50 * time.Millisecond) // slower than the clock: who waits for answers would need 2.5 s
	}))
	defer server.Close()
	got := measure(t, "-n", "50", "-c", "50", "-rate", "100", "-run", "r", server.URL)
	if got.Statuses["200"] != 50 || len(numbers) != 50 || numbers["r 1"] != 1 || numbers["r 50"] != 1 {
		t.Errorf("%v of %v", got.Statuses, numbers)
	}
	if got.Seconds < 0.49 || len(connections) < 26 {
		t.Errorf("%v s on %d connections", got.Seconds, len(connections))
	}
}

func TestClientEndsWellWhenStandardInputEnds(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = read
	defer func() { os.Stdin = before }()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 20 {
			_ = write.Close()
		}
	}))
	defer server.Close()
	got := measure(t, "-n", "100000", "-c", "10", "-rate", "200", "-until-eof", server.URL)
	if got.Requests < 20 || got.Requests >= 1000 || got.Statuses["200"] != got.Requests || int64(got.Requests) != served.Load() {
		t.Errorf("%d requests, %v, %d served", got.Requests, got.Statuses, served.Load())
	}
}

func TestClientRefusesABadCommandLineAndIdlesWithoutOne(t *testing.T) {
	for _, args := range [][]string{{}, {"ftp://host/"}, {"-n", "0", "http://host/"}, {"-header", "nothing", "http://host/"}, {"http://a/", "http://b/"}} {
		p := &process{role: "client", named: true, args: args, out: io.Discard, log: log.New(io.Discard, "", 0)}
		if err := runClient(context.Background(), p); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	p := &process{role: "client", log: log.New(io.Discard, "", 0)}
	if err := runClient(ctx, p); err != nil || ctx.Err() == nil {
		t.Errorf("idling ended with %v, %v", err, ctx.Err())
	}
}

func TestFilesServesItsFolderOnly(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{filepath.Join(outside, "secret"): "no", filepath.Join(dir, "a.tar.gz"): "archive"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	base := "http://" + start(t, "files", nil, "-dir", dir).address()
	if response, body := fetch(t, "GET", base+"/a.tar.gz", nil); response.StatusCode != 200 || body != "archive" || response.Header.Get("X-Stand-In") != "files" {
		t.Errorf("%s %q %v", response.Status, body, response.Header)
	}
	if response, body := fetch(t, "HEAD", base+"/a.tar.gz", nil); response.StatusCode != 200 || body != "" || response.ContentLength != 7 {
		t.Errorf("HEAD: %s %q %d", response.Status, body, response.ContentLength)
	}
	for _, path := range []string{"/link/", "/link/secret", "/../secret", "/%2e%2e/secret", "/absent"} {
		if response, body := fetch(t, "GET", base+path, nil); response.StatusCode < 400 || body == "no" {
			t.Errorf("%s: %s %q", path, response.Status, body)
		}
	}
	if response, _ := fetch(t, "PUT", base+"/a.tar.gz", nil); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %s", response.Status)
	}
}

func TestAddonsAnswerTheirProbesAndNameThemselves(t *testing.T) {
	grafana, kiali := start(t, "grafana", nil), start(t, "kiali", nil)
	for url, part := range map[string]string{
		"http://" + grafana.address() + "/api/health":     `"database": "ok"`,
		"http://" + grafana.address() + "/":               "stand-in for grafana",
		"http://" + kiali.address() + "/kiali/healthz":    "stand-in for kiali",
		"http://" + kiali.address() + "/kiali":            "stand-in for kiali",
		"http://" + kiali.address() + "/":                 "stand-in for kiali",
		"http://" + kiali.addresses[1] + "/metrics":       `stand_in_info{role="kiali"`,
		"http://" + kiali.address() + "/kiali/api/status": "not the real kiali",
	} {
		if response, body := fetch(t, "GET", url, nil); response.StatusCode != 200 || !strings.Contains(body, part) {
			t.Errorf("%s: %s %q", url, response.Status, body)
		}
	}
}

func TestNumberedRequestsAreRecordedEachAsALine(t *testing.T) {
	folder := t.TempDir()
	grafana := start(t, "grafana", map[string]string{"RECORD": folder})
	for _, number := range []string{"7", "8", ""} {
		fetch(t, "GET", "http://"+grafana.address()+"/", map[string]string{"X-Probe-Run": "upgrade", "X-Probe-Number": number})
	}
	files, _ := filepath.Glob(filepath.Join(folder, "*"))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	if content, _ := os.ReadFile(files[0]); string(content) != "upgrade 7\nupgrade 8\n" {
		t.Errorf("recorded %q", content)
	}
}

func TestLoadGeneratorKeepsWeightsAndStops(t *testing.T) {
	weights := map[string]int{}
	for point := range totalWeight() {
		weights[pick(point).name]++
	}
	for name, want := range map[string]int{"index": 1, "setCurrency": 2, "browseProduct": 10, "addToCart": 2, "viewCart": 3, "checkout": 1} {
		if weights[name] != want {
			t.Errorf("%s weighs %d, not %d", name, weights[name], want)
		}
	}
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer server.Close()
	load := start(t, "loadgenerator", map[string]string{"FRONTEND_ADDR": strings.TrimPrefix(server.URL, "http://"), "USERS": "3", "RATE": "100"})
	time.Sleep(400 * time.Millisecond)
	if err := load.stop(t); err != nil || served.Load() < 3 || served.Load() > 9 {
		t.Errorf("3 users made %d requests at once; stopped with %v", served.Load(), err)
	}
}

func TestLeavingFrontendFailsItsProbeButStillAnswers(t *testing.T) {
	recorder, _ := startRecorder(t)
	front := start(t, "frontend", frontendEnv(recorder, map[string]string{"GRACE": "1500ms"}))
	if response, _ := fetch(t, "GET", "http://"+front.address()+"/_healthz", nil); response.StatusCode != 200 {
		t.Fatal(response.Status)
	}
	front.cancel()
	time.Sleep(100 * time.Millisecond)
	if response, _ := fetch(t, "GET", "http://"+front.address()+"/_healthz", nil); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("probe while leaving: %s", response.Status)
	}
	if response, _ := fetch(t, "GET", "http://"+front.address()+"/", nil); response.StatusCode != 200 || !response.Close {
		t.Errorf("page while leaving: %s, close %v", response.Status, response.Close)
	}
	if err := front.stop(t); err != nil {
		t.Error(err)
	}
}

func TestSIGTERMFinishesTheCallInFlightAndExitsZero(t *testing.T) {
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), "STANDIN_BE_THE_PROGRAM=1", "STANDIN=productcatalogservice", "HOSTNAME=pod-1",
		"LISTEN_ADDR=127.0.0.1", "PORT=0", "EXTRA_LATENCY=1s", "GRACE=1500ms")
	lines, err := program.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer program.Process.Kill()
	written := bufio.NewScanner(lines)
	address := ""
	for address == "" && written.Scan() {
		_, address, _ = strings.Cut(written.Text(), "listening on ")
		if !strings.Contains(written.Text(), "stand-in for productcatalogservice") {
			t.Errorf("log line without the role: %q", written.Text())
		}
	}
	conn := dial(t, address)
	if got, err := probe(conn); err != nil || got != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("probe: %v %v", got, err)
	}
	answered := make(chan error, 1)
	go func() {
		answer, _, err := ask(conn, "/hipstershop.ProductCatalogService/ListProducts")
		if err == nil && answer != "stand-in for productcatalogservice, pod pod-1" {
			t.Errorf("answer %q", answer)
		}
		answered <- err
	}()
	time.Sleep(200 * time.Millisecond)
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if got, err := probe(conn); err != nil || got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("probe while leaving: %v %v", got, err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	_, _ = io.Copy(io.Discard, lines)
	if err := program.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

func TestTheFirstArgumentOrTheEnvironmentChoosesTheRole(t *testing.T) {
	for _, c := range []struct {
		standin, want string
		args          []string
	}{
		{"frontend", "frontend", nil},
		{"", "files", []string{"files", "-dir", "/srv"}},
		{"client", "client", []string{"client", "http://host/"}},
		{"kiali", "kiali", []string{"-config", "/kiali-configuration/config.yaml"}},
		{"", "", []string{"sleep"}},
	} {
		p := &process{getenv: func(string) string { return c.standin }}
		_, err := choose(p, c.args)
		if p.role != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v chose %q, %v", c, p.role, err)
		}
		if err != nil && !strings.Contains(err.Error(), "cartservice") {
			t.Errorf("error does not list the roles: %v", err)
		}
	}
}
