// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

var products = []string{
	"0PUK6V6EV0", "1YMWWN1N4O", "2ZYFJ3GM2N", "66VCHSJNUP", "6E92ZMYYFZ", "9SIQT8TOJO", "L9ECAV7KIM", "LS4PSXUNUM", "OLJCESPC7Z",
}

var currencyCodes = []string{"EUR", "USD", "JPY", "CAD"}

// request is one HTTP request of a task; "{product}" and "{currency}" stand for a random one.
type request struct {
	method, path, form string
}

type task struct {
	name     string
	weight   int
	requests []request
}

var (
	browse = request{method: "GET", path: "/product/{product}"}
	add    = request{method: "POST", path: "/cart", form: "product_id={product}&quantity=1"}
)

// Weights of the real load generator's tasks.
var tasks = []task{
	{name: "index", weight: 1, requests: []request{{method: "GET", path: "/"}}},
	{name: "setCurrency", weight: 2, requests: []request{{method: "POST", path: "/setCurrency", form: "currency_code={currency}"}}},
	{name: "browseProduct", weight: 10, requests: []request{browse}},
	{name: "addToCart", weight: 2, requests: []request{browse, add}},
	{name: "viewCart", weight: 3, requests: []request{{method: "GET", path: "/cart"}}},
	{name: "checkout", weight: 1, requests: []request{browse, add, {method: "POST", path: "/cart/checkout", form: "email=stand-in%40example.com"}}},
}

// load is a running load generator; the counts are guarded by mu.
type load struct {
	*process
	base   string
	client *http.Client

	mu     sync.Mutex
	counts map[string]int
	last   error
}

func runLoadgenerator(ctx context.Context, p *process) error {
	if err := requireAddresses(p.role, p.getenv, []string{"FRONTEND_ADDR"}); err != nil {
		return err
	}
	users, err := p.number("USERS", 10, 1)
	if err != nil {
		return err
	}
	rate, err := p.number("RATE", 1, 0.001)
	if err != nil {
		return err
	}
	grace, err := p.duration("GRACE", 3*time.Second)
	if err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: int(users) + 1}
	l := &load{
		process: p, base: "http://" + p.getenv("FRONTEND_ADDR"), counts: map[string]int{},
		client: &http.Client{Transport: transport, Timeout: answerWithin},
	}
	p.log.Printf("loading %s: %d users, %g new ones per second, 1 to 10 s between two tasks of a user", l.base, int(users), rate)
	var crowd sync.WaitGroup
	crowd.Go(func() { l.report(ctx, 30*time.Second) })
	for range int(users) {
		crowd.Go(func() { l.user(ctx) })
		if sleep(ctx, time.Duration(float64(time.Second)/rate)) != nil {
			break
		}
	}
	<-ctx.Done()
	done := make(chan struct{})
	go func() { crowd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
		p.log.Printf("requests in flight cut off after %s", grace)
	}
	p.log.Print(l.line())
	return nil
}

// number reads one from the environment, at least least and at most 1000.
func (p *process) number(variable string, otherwise, least float64) (float64, error) {
	text := p.getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value >= least && value <= 1000) {
		return 0, fmt.Errorf("%s=%q of %s must be a number from %g to 1000", variable, text, p.role, least)
	}
	return value, nil
}

// pause between two tasks of one user.
func pause() time.Duration {
	return time.Second + rand.N(9*time.Second)
}

// user does one task after the other until ctx ends; a task that has begun is finished.
func (l *load) user(ctx context.Context) {
	for ctx.Err() == nil {
		chosen := pick(rand.IntN(totalWeight()))
		err := l.do(chosen)
		l.mu.Lock()
		l.counts[chosen.name]++
		if err != nil {
			l.counts["failed"]++
			l.last = fmt.Errorf("%s: %w", chosen.name, err)
		}
		l.mu.Unlock()
		_ = sleep(ctx, pause())
	}
}

func totalWeight() int {
	total := 0
	for _, t := range tasks {
		total += t.weight
	}
	return total
}

// pick maps a number from 0 up to the total weight to a task.
func pick(point int) task {
	for _, t := range tasks {
		if point < t.weight {
			return t
		}
		point -= t.weight
	}
	return tasks[0]
}

func (l *load) do(t task) error {
	fill := strings.NewReplacer("{product}", products[rand.IntN(len(products))], "{currency}", currencyCodes[rand.IntN(len(currencyCodes))])
	for _, r := range t.requests {
		var body io.Reader
		if r.form != "" {
			body = strings.NewReader(fill.Replace(r.form))
		}
		req, err := http.NewRequest(r.method, l.base+fill.Replace(r.path), body)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "stand-in-loadgenerator")
		if r.form != "" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if err := l.send(req); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) send(req *http.Request) error {
	response, err := l.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode >= 400 {
		return fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, response.Status)
	}
	return nil
}

func (l *load) report(ctx context.Context, every time.Duration) {
	for sleep(ctx, every) == nil {
		l.log.Print(l.line())
	}
}

// line is the counts of tasks so far, one line, and the last failure.
func (l *load) line() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.counts))
	total := 0
	for name, n := range l.counts {
		if name != "failed" {
			names = append(names, name)
			total += n
		}
	}
	sort.Strings(names)
	var line strings.Builder
	fmt.Fprintf(&line, "tasks=%d failed=%d", total, l.counts["failed"])
	for _, name := range names {
		fmt.Fprintf(&line, " %s=%d", name, l.counts[name])
	}
	if l.last != nil {
		fmt.Fprintf(&line, " last failure: %v", l.last)
	}
	return line.String()
}
