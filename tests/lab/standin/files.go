// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
)

// runFiles serves one folder, read only. Nothing outside of it can be reached, not even by a symbolic link.
func runFiles(ctx context.Context, p *process) error {
	flags := flag.NewFlagSet("standin files", flag.ContinueOnError)
	flags.SetOutput(p.log.Writer())
	dir := flags.String("dir", "/srv", "folder to serve")
	address := flags.String("listen", ":8080", "address to listen on, host:port")
	if err := flags.Parse(p.args); err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("files takes flags only, not %q", flags.Args())}
	}
	root, err := os.OpenRoot(*dir)
	if err != nil {
		return fmt.Errorf("-dir %s: %w", *dir, err)
	}
	defer root.Close()
	s := &site{process: p}
	tree := http.FileServerFS(root.FS())
	u, err := s.unit(*address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, s.name()+": read only", http.StatusMethodNotAllowed)
			return
		}
		tree.ServeHTTP(w, r)
	}))
	if err != nil {
		return err
	}
	return p.serve(ctx, s.unready, u)
}
