// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"strings"
)

const (
	htmlType  = "text/html; charset=utf-8"
	plainType = "text/plain; charset=utf-8"
)

type frontend struct {
	*site
	neighbours *neighbours
	base       string // BASE_URL: prefix of every path
	colour     string // BANNER_COLOR
	message    string // FRONTEND_MESSAGE
}

func runFrontend(ctx context.Context, p *process) error {
	if err := requireAddresses(p.role, p.getenv, frontendMandatory); err != nil {
		return err
	}
	base := strings.TrimSuffix(p.getenv("BASE_URL"), "/")
	if base != "" && (base[0] != '/' || strings.ContainsAny(base, "{} ")) {
		return fmt.Errorf("BASE_URL=%q of frontend must be a plain path that begins with /", base)
	}
	var steps []step
	for _, r := range routes {
		steps = append(steps, r.steps...)
	}
	near, err := newNeighbours(p.pod, p.getenv, steps)
	if err != nil {
		return err
	}
	defer near.close()
	f := &frontend{
		site: &site{process: p}, neighbours: near, base: base,
		colour: p.getenv("BANNER_COLOR"), message: p.getenv("FRONTEND_MESSAGE"),
	}
	u, err := f.unit(p.address("8080"), f.handler())
	if err != nil {
		return err
	}
	return p.serve(ctx, f.unready, u)
}

func (f *frontend) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.pattern, f.page(r))
	}
	mux.HandleFunc("GET /_healthz", f.healthy(plainType, "ok, "+f.name()+"\n"))
	mux.HandleFunc("GET /robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		text(w, plainType, "# "+f.name()+"\nUser-agent: *\nDisallow: /\n")
	})
	for _, absent := range []string{"/assistant", "/bot"} {
		mux.HandleFunc(absent, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, f.name()+": has no shopping assistant", http.StatusNotImplemented)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, f.name()+": has nothing at "+r.URL.Path, http.StatusNotFound)
	})
	if f.base == "" {
		return mux
	}
	outer := http.NewServeMux()
	outer.Handle(f.base+"/", http.StripPrefix(f.base, mux))
	return outer
}

// page makes the route's calls and shows them; a mandatory neighbour that fails makes it a 500 with the cause.
func (f *frontend) page(to route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		outcomes, err := f.neighbours.follow(r.Context(), traceHeaders(r.Header), to.steps)
		if err == nil && to.redirect != "" {
			w.Header().Set("Location", f.base+to.redirect)
			w.WriteHeader(http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", htmlType)
		if err != nil {
			f.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte(f.html(r, outcomes, err)))
	}
}

func (f *frontend) html(r *http.Request, outcomes []outcome, failure error) string {
	var page strings.Builder
	fmt.Fprintf(&page, "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Stand-in for frontend</title></head><body>\n<header%s>%s</header>\n",
		f.style(), html.EscapeString(f.message))
	fmt.Fprintf(&page, "<h1>%s</h1>\n<p>This is not the real shop: it answers in its place and calls the neighbours that it would call.</p>\n",
		html.EscapeString(f.name()))
	fmt.Fprintf(&page, "<p>%s %s</p>\n<ul>\n", html.EscapeString(r.Method), html.EscapeString(r.URL.Path))
	for _, o := range outcomes {
		result := "ok: " + o.answer
		if o.err != nil {
			result = "failed: " + o.err.Error()
		}
		fmt.Fprintf(&page, "<li>%s %s: %s</li>\n", o.step.service, o.step.method, html.EscapeString(result))
	}
	page.WriteString("</ul>\n")
	if failure != nil {
		fmt.Fprintf(&page, "<p>Cause: %s</p>\n", html.EscapeString(failure.Error()))
	}
	page.WriteString("</body></html>\n")
	return page.String()
}

func (f *frontend) style() string {
	if f.colour == "" {
		return ""
	}
	return fmt.Sprintf(" style=\"background-color: %s\"", html.EscapeString(f.colour))
}
