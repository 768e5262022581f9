// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// rawCodec passes messages held as *[]byte through unread; every other type (the health service's) is protobuf as usual.
type rawCodec struct{}

func (rawCodec) Name() string { return proto.Name }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.(*[]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(*raw)}, nil
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*[]byte); ok {
		*raw = data.Materialize()
		return nil
	}
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}

const textField = 1<<3 | 2 // protobuf key: field 1, length-delimited

// textMessage is a protobuf message with one field, a string.
func textMessage(text string) []byte {
	return append(binary.AppendUvarint([]byte{textField}, uint64(len(text))), text...)
}

// messageText is the string of a textMessage, or a remark that the message is another one.
func messageText(message []byte) string {
	if len(message) > 1 && message[0] == textField {
		if size, n := binary.Uvarint(message[1:]); n > 0 && size == uint64(len(message)-1-n) {
			return string(message[1+n:])
		}
	}
	return fmt.Sprintf("an answer of %d bytes that is not a stand-in's", len(message))
}

// grpcService answers the methods of one demo service.
type grpcService struct {
	*process
	methods    map[string][]step // by full method path
	neighbours *neighbours
	delay      time.Duration
}

func (g *grpcService) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	_ = stream.SetHeader(metadata.Pairs("x-stand-in", g.role, "x-stand-in-pod", g.pod))
	steps, known := g.methods[method]
	if !known {
		return status.Errorf(codes.Unimplemented, "stand-in for %s has no method %s", g.role, method)
	}
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	ctx := stream.Context()
	if err := sleep(ctx, g.delay); err != nil {
		return status.FromContextError(err).Err()
	}
	incoming, _ := metadata.FromIncomingContext(ctx)
	if _, err := g.neighbours.follow(ctx, traceHeaders(incoming), steps); err != nil {
		g.log.Printf("%s: %v", method, err)
		return status.Errorf(codes.Unavailable, "stand-in for %s: %v", g.role, err)
	}
	response := textMessage(g.name())
	return stream.SendMsg(&response)
}

// runService is the role of every gRPC service in the table.
func runService(ctx context.Context, p *process) error {
	table := services[p.role]
	if err := requireAddresses(p.role, p.getenv, table.mandatory); err != nil {
		return err
	}
	g := &grpcService{process: p, methods: map[string][]step{}}
	var steps []step
	for method, calls := range table.methods {
		g.methods[table.path(method)] = calls
		steps = append(steps, calls...)
	}
	var err error
	if p.role == "productcatalogservice" {
		if g.delay, err = p.duration("EXTRA_LATENCY", 0); err != nil {
			return err
		}
	}
	if g.neighbours, err = newNeighbours(p.pod, p.getenv, steps); err != nil {
		return err
	}
	defer g.neighbours.close()
	listener, err := p.listen(p.address(table.port))
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(g.handle))
	probes := health.NewServer()
	healthpb.RegisterHealthServer(server, probes)
	return p.serve(ctx, probes.Shutdown, unit{
		listener: listener,
		serve:    server.Serve,
		stop:     func(ctx context.Context) error { return stopGRPC(ctx, server) },
	})
}

// stopGRPC sends GOAWAY and waits for the calls in flight, until ctx ends.
func stopGRPC(ctx context.Context, server *grpc.Server) error {
	done := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		server.Stop()
		<-done
		return ctx.Err()
	}
}

// address is where a server listens: PORT, on LISTEN_ADDR where set.
func (p *process) address(port string) string {
	if own := strings.TrimSpace(p.getenv("PORT")); own != "" {
		port = own
	}
	return net.JoinHostPort(p.getenv("LISTEN_ADDR"), port)
}
