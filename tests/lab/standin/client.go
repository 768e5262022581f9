// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// order is what the client was asked to do.
type order struct {
	requests, workers int
	rate              float64 // requests a second by the clock; 0: the next one after an answer
	name              string  // goes with each request's number
	host              string
	header            http.Header
	timeout           time.Duration
	url               string
	untilEOF          bool // no further requests once standard input has ended
}

// tally is the client's one answer; the maps are guarded by mu.
type tally struct {
	mu          sync.Mutex
	Requests    int               `json:"requests"`
	Statuses    map[string]int    `json:"statuses"`
	Errors      map[string]int    `json:"errors"`
	Bodies      map[string]string `json:"bodies"` // the beginning of one answer of each status from 400 on
	Pods        map[string]int    `json:"pods"`
	Deployments map[string]int    `json:"deployments"`
	Late        int               `json:"late"` // requests that were sent more than 100 ms after their time
	Seconds     float64           `json:"seconds"`
}

// errRetry ends a request that net/http is about to send a second time, on its own, because a kept connection broke.
var errRetry = errors.New("kept connection broke")

// runClient idles when STANDIN=client has no arguments (a pod to exec into), else sends requests and prints the tally.
func runClient(ctx context.Context, p *process) error {
	if !p.named && len(p.args) == 0 {
		p.log.Print("idle: exec `standin client [flags] URL` in this pod")
		<-ctx.Done()
		return nil
	}
	o, err := parseOrder(p)
	if err != nil {
		return usageError{err}
	}
	t := o.run(ctx)
	if err := json.NewEncoder(p.out).Encode(t); err != nil {
		return err
	}
	if t.Requests < o.requests && !o.untilEOF {
		return fmt.Errorf("interrupted after %d of %d requests", t.Requests, o.requests)
	}
	return nil
}

func parseOrder(p *process) (*order, error) {
	o := &order{header: http.Header{}}
	flags := flag.NewFlagSet("standin client", flag.ContinueOnError)
	flags.SetOutput(p.log.Writer())
	flags.IntVar(&o.requests, "n", 2000, "number of requests")
	flags.IntVar(&o.workers, "c", 4, "requests at a time, each on a kept connection")
	flags.Float64Var(&o.rate, "rate", 0, "requests a second, sent by the clock and not after an answer; every second one on a fresh connection")
	flags.BoolVar(&o.untilEOF, "until-eof", false, "end early, and well, when standard input ends")
	flags.StringVar(&o.name, "run", "", "name of this run, sent as X-Probe-Run beside each request's X-Probe-Number")
	flags.StringVar(&o.host, "host", "", "Host header, where it differs from the URL's")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Second, "time for one request")
	flags.Func("header", "request header as `NAME:VALUE`, may be repeated", func(text string) error {
		name, value, found := strings.Cut(text, ":")
		if !found || strings.TrimSpace(name) == "" {
			return errors.New("write NAME:VALUE")
		}
		o.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	if err := flags.Parse(p.args); err != nil {
		return nil, err
	}
	if flags.NArg() != 1 {
		return nil, fmt.Errorf("client needs one URL after its flags, got %d arguments", flags.NArg())
	}
	o.url = flags.Arg(0)
	target, err := url.Parse(o.url)
	if err != nil || target.Host == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return nil, fmt.Errorf("%q is no http or https URL", o.url)
	}
	if o.requests < 1 || o.workers < 1 || o.workers > 1000 || o.timeout <= 0 || o.rate < 0 {
		return nil, errors.New("-n and -c must be at least 1, -c at most 1000, -timeout above 0, -rate not below it")
	}
	return o, nil
}

func (o *order) run(ctx context.Context) *tally {
	t := &tally{
		Statuses: map[string]int{}, Bodies: map[string]string{}, Pods: map[string]int{}, Deployments: map[string]int{},
		Errors: map[string]int{"connect": 0, "reset": 0, "timeout": 0, "other": 0},
	}
	kept := &http.Transport{MaxIdleConnsPerHost: o.workers, DisableCompression: true}
	fresh := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	defer kept.CloseIdleConnections()
	clients := []*http.Client{{Transport: kept, CheckRedirect: noRedirect}, {Transport: fresh, CheckRedirect: noRedirect}}
	// Ends the sending only: what is on its way is still answered and counted.
	sending, end := context.WithCancel(ctx)
	defer end()
	if o.untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			end()
		}()
	}
	start := time.Now()
	var taken atomic.Int64
	var workers sync.WaitGroup
	for range o.workers {
		workers.Go(func() {
			for sending.Err() == nil {
				number := taken.Add(1)
				if number > int64(o.requests) {
					return
				}
				client, late := clients[0], false
				if o.rate > 0 {
					due := start.Add(time.Duration(float64(number-1) / o.rate * float64(time.Second)))
					if sleep(sending, time.Until(due)) != nil {
						return
					}
					client, late = clients[number%2], time.Since(due) > 100*time.Millisecond
				}
				got, err := o.send(ctx, client, number)
				if ctx.Err() == nil || err == nil {
					t.count(got, err, late)
				}
			}
		})
	}
	workers.Wait()
	t.Seconds = float64(time.Since(start).Milliseconds()) / 1000
	return t
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// answer is what one request got.
type answer struct {
	status    int
	pod, body string
}

// send makes one attempt and reads the whole answer.
func (o *order) send(ctx context.Context, client *http.Client, number int64) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	ctx, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	attempts := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) {
		if attempts++; attempts > 1 {
			abandon(errRetry)
		}
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header, req.Host = o.header.Clone(), o.host
	if o.name != "" {
		req.Header.Set("X-Probe-Run", o.name)
		req.Header.Set("X-Probe-Number", strconv.FormatInt(number, 10))
	}
	var body []byte
	response, err := client.Do(req)
	if err == nil {
		defer response.Body.Close()
		body, err = io.ReadAll(response.Body)
	}
	if errors.Is(context.Cause(ctx), errRetry) {
		err = errRetry
	}
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, response.Header.Get("X-Stand-In-Pod"), string(body[:min(len(body), 200)])}, nil
}

func (t *tally) count(got answer, err error, late bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Requests++
	if late {
		t.Late++
	}
	if err != nil {
		t.Errors[kind(err)]++
		return
	}
	status := strconv.Itoa(got.status)
	t.Statuses[status]++
	if _, known := t.Bodies[status]; !known && got.status >= 400 {
		t.Bodies[status] = got.body
	}
	if got.pod != "" {
		t.Pods[got.pod]++
		t.Deployments[deployment(got.pod)]++
	}
}

// kind sorts a failed request: timeout before connect, so that an address that swallows packets is a timeout.
func kind(err error) string {
	var timeout net.Error
	var operation *net.OpError
	switch {
	case errors.Is(err, errRetry):
		return "reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "connect"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "reset"
	}
	return "other"
}

// deployment is a pod's name less the hash of its ReplicaSet and its own suffix; a shorter name stays as it is.
func deployment(pod string) string {
	parts := strings.Split(pod, "-")
	if len(parts) < 3 {
		return pod
	}
	return strings.Join(parts[:len(parts)-2], "-")
}
