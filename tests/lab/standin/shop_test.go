// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask calls one method and returns the text of the answer and its header metadata.
func ask(conn *grpc.ClientConn, path string) (string, metadata.MD, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, response := []byte(nil), []byte(nil)
	var header metadata.MD
	err := conn.Invoke(ctx, path, &request, &response, grpc.ForceCodecV2(rawCodec{}), grpc.Header(&header))
	return messageText(response), header, err
}

func probe(conn *grpc.ClientConn) (healthpb.HealthCheckResponse_ServingStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return answer.GetStatus(), err
}

func TestEveryServiceAnswersItsProbeAndNamesItself(t *testing.T) {
	nowhere := refusing(t)
	for role, table := range services {
		env := map[string]string{"GRACE": "100ms"}
		for _, name := range table.mandatory {
			env[name] = nowhere
		}
		conn := dial(t, start(t, role, env).address())
		if got, err := probe(conn); err != nil || got != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%s: probe answered %v, %v", role, got, err)
		}
		_, header, err := ask(conn, "/hipstershop.Nonsense/Nothing")
		if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "stand-in for "+role) {
			t.Errorf("%s: unknown method gave %v", role, err)
		}
		if got := header.Get("x-stand-in"); !slices.Equal(got, []string{role}) {
			t.Errorf("%s: x-stand-in is %q", role, got)
		}
	}
}

func TestGraphHasTheEdgesOfTheDemo(t *testing.T) {
	want := []string{
		"cartservice>redis-cart",
		"checkoutservice>cartservice", "checkoutservice>currencyservice", "checkoutservice>emailservice",
		"checkoutservice>paymentservice", "checkoutservice>productcatalogservice", "checkoutservice>shippingservice",
		"frontend>adservice", "frontend>cartservice", "frontend>checkoutservice", "frontend>currencyservice",
		"frontend>productcatalogservice", "frontend>recommendationservice", "frontend>shippingservice",
		"recommendationservice>productcatalogservice",
	}
	var got []string
	add := func(from string, steps []step) {
		for _, s := range steps {
			got = append(got, from+">"+s.service)
			if _, known := services[s.service].methods[s.method]; s.service != redisCart && !known {
				t.Errorf("%s calls %s, which %s has not", from, s.method, s.service)
			}
		}
	}
	for _, r := range routes {
		add("frontend", r.steps)
	}
	for role, table := range services {
		for _, steps := range table.methods {
			add(role, steps)
		}
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("edges are %q", got)
	}
}

func TestHomePageWalksToRedisAndGoesWithoutAds(t *testing.T) {
	store := startRedis(t)
	cart := start(t, "cartservice", map[string]string{"REDIS_ADDR": store.address})
	catalog := start(t, "productcatalogservice", nil)
	currency := start(t, "currencyservice", nil)
	front := start(t, "frontend", frontendEnv(refusing(t), map[string]string{
		"CART_SERVICE_ADDR": cart.address(), "PRODUCT_CATALOG_SERVICE_ADDR": catalog.address(), "CURRENCY_SERVICE_ADDR": currency.address(),
		"BANNER_COLOR": "#0f9d58", "FRONTEND_MESSAGE": "second <version>",
	}))
	response, page := fetch(t, "GET", "http://"+front.address()+"/", nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", response.Status, page)
	}
	for _, part := range []string{
		"stand-in for frontend", `style="background-color: #0f9d58"`, "second &lt;version&gt;",
		"cartservice GetCart: ok: stand-in for cartservice, pod cartservice-5d4f8c7b9-x2x4z", "adservice GetAds: failed: adservice at ",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("page lacks %q:\n%s", part, page)
		}
	}
	if response.Header.Get("X-Stand-In") != "frontend" || response.Header.Get("X-Stand-In-Pod") != "frontend-5d4f8c7b9-x2x4z" {
		t.Errorf("headers: %v", response.Header)
	}
	if response, _ := fetch(t, "POST", "http://"+front.address()+"/cart", nil); response.StatusCode != 302 || response.Header.Get("Location") != "/cart" {
		t.Errorf("POST /cart: %s to %q", response.Status, response.Header.Get("Location"))
	}
	want := []string{"GET stand-in-cart", "SET stand-in-cart cartservice-5d4f8c7b9-x2x4z"}
	if got := store.commands(); !slices.Equal(got, want) {
		t.Errorf("redis was sent %q", got)
	}
}

func TestTraceHeadersTravelThroughTwoHops(t *testing.T) {
	recorder, metadataOf := startRecorder(t)
	env := map[string]string{}
	for _, name := range services["checkoutservice"].mandatory {
		env[name] = recorder
	}
	checkout := start(t, "checkoutservice", env)
	front := start(t, "frontend", frontendEnv(recorder, map[string]string{"CHECKOUT_SERVICE_ADDR": checkout.address()}))
	sent := map[string]string{
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate": "a=1", "Baggage": "k=v",
		"B3": "0", "X-B3-TraceId": "463ac35c9f6413ad", "X-Request-Id": "abc",
	}
	others := map[string]string{"X-Secret": "stays here"}
	for name, value := range sent {
		others[name] = value
	}
	if response, page := fetch(t, "POST", "http://"+front.address()+"/cart/checkout", others); response.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", response.Status, page)
	}
	for _, method := range []string{"/hipstershop.PaymentService/Charge", "/hipstershop.EmailService/SendOrderConfirmation"} {
		got := metadataOf(method)
		for name, value := range sent {
			if !slices.Equal(got.Get(name), []string{value}) {
				t.Errorf("%s: %s arrived as %q", method, name, got.Get(name))
			}
		}
		if len(got.Get("x-secret")) > 0 {
			t.Errorf("%s: a header that is no trace header travelled", method)
		}
	}
}

func TestMissingNeighbourIsNamedUpTheChain(t *testing.T) {
	gone := refusing(t)
	cart := start(t, "cartservice", map[string]string{"REDIS_ADDR": gone})
	_, _, err := ask(dial(t, cart.address()), "/hipstershop.CartService/GetCart")
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "redis-cart at "+gone) {
		t.Errorf("cartservice gave %v", err)
	}
	recorder, _ := startRecorder(t)
	front := start(t, "frontend", frontendEnv(recorder, map[string]string{"CART_SERVICE_ADDR": cart.address()}))
	response, page := fetch(t, "GET", "http://"+front.address()+"/", nil)
	if response.StatusCode != http.StatusInternalServerError || response.Header.Get("X-Stand-In") != "frontend" {
		t.Errorf("%s, %v", response.Status, response.Header)
	}
	for _, part := range []string{"Cause: cartservice at " + cart.address(), "redis-cart at " + gone} {
		if !strings.Contains(page, part) {
			t.Errorf("page lacks %q:\n%s", part, page)
		}
	}
}

func TestEmptyAddressesAreRefusedAtStart(t *testing.T) {
	for role, want := range map[string]string{
		"frontend": "SHOPPING_ASSISTANT_SERVICE_ADDR", "checkoutservice": "EMAIL_SERVICE_ADDR",
		"recommendationservice": "PRODUCT_CATALOG_SERVICE_ADDR", "loadgenerator": "FRONTEND_ADDR",
	} {
		p := &process{role: role, getenv: func(string) string { return "" }, log: log.New(io.Discard, "", 0)}
		if err := roles()[role](context.Background(), p); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), role) {
			t.Errorf("%s gave %v", role, err)
		}
	}
}

func TestFrontendRoutesUnderABaseURL(t *testing.T) {
	recorder, _ := startRecorder(t)
	front := start(t, "frontend", frontendEnv(recorder, map[string]string{"BASE_URL": "/shop"}))
	for path, want := range map[string]int{
		"/shop/": 200, "/shop/_healthz": 200, "/shop/product/OLJCESPC7Z": 200, "/shop/cart": 200, "/shop/product-meta/OLJCESPC7Z": 200,
		"/shop/robots.txt": 200, "/shop/logout": 302, "/shop/assistant": 501, "/shop/static/x.css": 404, "/cart": 404,
	} {
		if response, _ := fetch(t, "GET", "http://"+front.address()+path, nil); response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}
