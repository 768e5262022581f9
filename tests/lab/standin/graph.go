// SPDX-FileCopyrightText: The servicemesh.istio authors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// The call graph of the microservices demo, release v0.10.6, as data: who listens where, which variable of the
// release manifest leads to it, and which calls it makes before it answers.

const redisCart = "redis-cart"

// step is one call that a role makes before it answers.
type step struct {
	service    string // key of services, or redisCart
	method     string // gRPC method without its service; for redisCart a Redis command
	bestEffort bool   // a failure is reported but does not fail the answer
}

type service struct {
	rpc       string            // gRPC service within package hipstershop
	variable  string            // environment variable by which its callers find it
	port      string            // where it listens unless PORT says otherwise
	mandatory []string          // variables that must not be empty at start
	methods   map[string][]step // method to the calls made before answering
}

func (s service) path(method string) string {
	return "/hipstershop." + s.rpc + "/" + method
}

var services = map[string]service{
	"adservice": {
		rpc: "AdService", variable: "AD_SERVICE_ADDR", port: "9555",
		methods: map[string][]step{"GetAds": nil},
	},
	"cartservice": {
		rpc: "CartService", variable: "CART_SERVICE_ADDR", port: "7070",
		methods: map[string][]step{
			"AddItem":   {{service: redisCart, method: "SET"}},
			"GetCart":   {{service: redisCart, method: "GET"}},
			"EmptyCart": {{service: redisCart, method: "DEL"}},
		},
	},
	"checkoutservice": {
		rpc: "CheckoutService", variable: "CHECKOUT_SERVICE_ADDR", port: "5050",
		mandatory: []string{
			"PRODUCT_CATALOG_SERVICE_ADDR", "SHIPPING_SERVICE_ADDR", "PAYMENT_SERVICE_ADDR",
			"EMAIL_SERVICE_ADDR", "CURRENCY_SERVICE_ADDR", "CART_SERVICE_ADDR",
		},
		methods: map[string][]step{"PlaceOrder": {
			{service: "cartservice", method: "GetCart"},
			{service: "productcatalogservice", method: "GetProduct"},
			{service: "currencyservice", method: "Convert"},
			{service: "shippingservice", method: "GetQuote"},
			{service: "paymentservice", method: "Charge"},
			{service: "shippingservice", method: "ShipOrder"},
			{service: "cartservice", method: "EmptyCart"},
			{service: "emailservice", method: "SendOrderConfirmation"},
		}},
	},
	"currencyservice": {
		rpc: "CurrencyService", variable: "CURRENCY_SERVICE_ADDR", port: "7000",
		methods: map[string][]step{"Convert": nil, "GetSupportedCurrencies": nil},
	},
	"emailservice": {
		rpc: "EmailService", variable: "EMAIL_SERVICE_ADDR", port: "8080",
		methods: map[string][]step{"SendOrderConfirmation": nil},
	},
	"paymentservice": {
		rpc: "PaymentService", variable: "PAYMENT_SERVICE_ADDR", port: "50051",
		methods: map[string][]step{"Charge": nil},
	},
	"productcatalogservice": {
		rpc: "ProductCatalogService", variable: "PRODUCT_CATALOG_SERVICE_ADDR", port: "3550",
		methods: map[string][]step{"GetProduct": nil, "ListProducts": nil},
	},
	"recommendationservice": {
		rpc: "RecommendationService", variable: "RECOMMENDATION_SERVICE_ADDR", port: "8080",
		mandatory: []string{"PRODUCT_CATALOG_SERVICE_ADDR"},
		methods: map[string][]step{
			"ListRecommendations": {{service: "productcatalogservice", method: "ListProducts"}},
		},
	},
	"shippingservice": {
		rpc: "ShippingService", variable: "SHIPPING_SERVICE_ADDR", port: "50051",
		methods: map[string][]step{"GetQuote": nil, "ShipOrder": nil},
	},
}

// The real frontend refuses to start without the assistant's address too, though it opens no connection to it.
var frontendMandatory = []string{
	"PRODUCT_CATALOG_SERVICE_ADDR", "CURRENCY_SERVICE_ADDR", "CART_SERVICE_ADDR", "RECOMMENDATION_SERVICE_ADDR",
	"SHIPPING_SERVICE_ADDR", "CHECKOUT_SERVICE_ADDR", "AD_SERVICE_ADDR", "SHOPPING_ASSISTANT_SERVICE_ADDR",
}

// route is one page of the frontend: its net/http pattern, its calls, and where it leads instead of a page.
type route struct {
	pattern  string
	redirect string
	steps    []step
}

var (
	currencies      = step{service: "currencyservice", method: "GetSupportedCurrencies"}
	convert         = step{service: "currencyservice", method: "Convert"}
	listProducts    = step{service: "productcatalogservice", method: "ListProducts"}
	getProduct      = step{service: "productcatalogservice", method: "GetProduct"}
	getCart         = step{service: "cartservice", method: "GetCart"}
	addItem         = step{service: "cartservice", method: "AddItem"}
	emptyCart       = step{service: "cartservice", method: "EmptyCart"}
	recommendations = step{service: "recommendationservice", method: "ListRecommendations"}
	quote           = step{service: "shippingservice", method: "GetQuote"}
	placeOrder      = step{service: "checkoutservice", method: "PlaceOrder"}
	ads             = step{service: "adservice", method: "GetAds", bestEffort: true}
)

var routes = []route{
	{pattern: "GET /{$}", steps: []step{currencies, listProducts, getCart, convert, ads}},
	{pattern: "GET /product/{id}", steps: []step{getProduct, currencies, getCart, convert, recommendations, ads}},
	{pattern: "GET /cart", steps: []step{currencies, getCart, recommendations, quote, getProduct, convert}},
	{pattern: "POST /cart", redirect: "/cart", steps: []step{getProduct, addItem}},
	{pattern: "POST /cart/empty", redirect: "/", steps: []step{emptyCart}},
	// The real one takes only POST here; GET as well, so that plain clients can walk the longest chain.
	{pattern: "/cart/checkout", steps: []step{placeOrder, recommendations, currencies}},
	{pattern: "GET /product-meta/{ids}", steps: []step{getProduct}},
	{pattern: "POST /setCurrency", redirect: "/"},
	{pattern: "GET /logout", redirect: "/"},
}
