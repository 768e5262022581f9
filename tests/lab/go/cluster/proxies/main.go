// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command proxies connects many simulated sidecars to an istiod: each takes clusters, listeners and routes and acknowledges them, and has no Envoy.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	clusters  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	listeners = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routes    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

func node(number int, namespace string) *core.Node {
	address := fmt.Sprintf("240.%d.%d.%d", number>>16&255, number>>8&255, number&255)
	metadata, err := structpb.NewStruct(map[string]any{"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.31.0"})
	if err != nil {
		log.Fatal(err)
	}
	return &core.Node{Id: fmt.Sprintf("sidecar~%s~simulated-%d.%s~%s.svc.cluster.local", address, number, namespace, namespace), Metadata: metadata}
}

// follow takes and acknowledges what is sent until the stream ends; synced is called once all three types have come.
func follow(ctx context.Context, connection *grpc.ClientConn, self *core.Node, names []string, synced func()) error {
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	wanted := map[string][]string{clusters: nil, listeners: nil, routes: names}
	for _, kind := range []string{clusters, listeners, routes} {
		if err := stream.Send(&discovery.DiscoveryRequest{Node: self, TypeUrl: kind, ResourceNames: wanted[kind]}); err != nil {
			return err
		}
	}
	missing := len(wanted)
	seen := map[string]bool{}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		kind := answer.TypeUrl
		if err := stream.Send(&discovery.DiscoveryRequest{TypeUrl: kind, ResourceNames: wanted[kind], VersionInfo: answer.VersionInfo, ResponseNonce: answer.Nonce}); err != nil {
			return err
		}
		if !seen[kind] {
			seen[kind] = true
			if missing--; missing == 0 {
				synced()
			}
		}
	}
}

func main() {
	count := flag.Int("n", 200, "number of proxies")
	address := flag.String("address", "127.0.0.1:15010", "istiod's port for plain gRPC")
	namespace := flag.String("namespace", "default", "their namespace")
	names := flag.String("routes", "80", "names of the route configurations that they take, with commas")
	flag.Parse()
	// Ended by the end of standard input, so that no proxy outlives its test.
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	var ready atomic.Int64
	var all sync.WaitGroup
	for number := range *count {
		all.Go(func() {
			// A connection each, as proxies have.
			connection, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
			if err != nil {
				log.Fatal(err)
			}
			defer connection.Close()
			for ctx.Err() == nil {
				err = follow(ctx, connection, node(number+1, *namespace), strings.Split(*names, ","), func() {
					if ready.Add(1) == int64(*count) {
						fmt.Println("synced")
					}
				})
				// istiod takes so many new proxies a second; the others come again, as Envoy does.
				if ctx.Err() == nil && status.Code(err) != codes.ResourceExhausted {
					log.Fatalf("proxy %d: %v", number+1, err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	all.Wait()
}
