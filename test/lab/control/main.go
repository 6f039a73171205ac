// Command control is the control server of the lab's tailnet: what
// login.tailscale.com is to a real one. It is the server that Tailscale's own
// tests use (tstest/integration/testcontrol) with a DERP and a STUN server
// beside it, so the tailscaled processes that log in to it are the real thing.
//
// testcontrol's map stream is replaced by the one below, for three reasons:
// its responses carry a ControlTime in 2020, so no client of it ever sees a key
// expire; after one AddRawMapResponse it never again tells a node about its
// peers; and it can only say that all nodes are online.
//
// The admin API on -admin is for the lab alone, without any authentication:
//
//	GET  /nodes                        every node, see nodeInfo
//	POST /nodes/{name}/key-expiry      {"expiry": RFC 3339 time or null}
//	POST /nodes/{name}/capabilities    tailcfg.NodeCapMap
//	POST /app-capabilities             tailcfg.PeerCapMap, granted to all for all
//	POST /filter                       {"rules": [tailcfg.FilterRule] or null}
//
// A filter holds for the whole tailnet, as the compiled ACL of a real one does;
// null is the default, which lets everything pass.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

// Real control servers send a keep-alive about once a minute; clients give a
// stream up after two.
const keepAlive = 50 * time.Second

// lifelong stands in for the test that RunDERPAndSTUN wants to be a part of.
// What it would clean up lives as long as this process.
type lifelong struct{ testing.TB }

func (lifelong) Helper()                           {}
func (lifelong) Cleanup(func())                    {}
func (lifelong) Logf(format string, args ...any)   { log.Printf(format, args...) }
func (lifelong) Fatal(args ...any)                 { log.Fatal(args...) }
func (lifelong) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }

type control struct {
	server *testcontrol.Server

	mu sync.Mutex // also orders every read-change-write of a node
	// streams has one wake-up channel per open map stream. They hold one
	// element: a stream that is woken twice needs to build its map only once.
	streams map[chan struct{}]key.NodePublic
	rules   []tailcfg.FilterRule // nil: everything passes
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address for the nodes; DERP and STUN use its IP")
	admin := flag.String("admin", "127.0.0.1:0", "address of the admin API")
	domain := flag.String("domain", "tail-lab.ts.net", "MagicDNS suffix of the nodes' names")
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if err := run(*listen, *admin, *domain); err != nil {
		log.Fatal(err)
	}
}

func run(listen, admin, domain string) error {
	nodes, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	api, err := net.Listen("tcp", admin)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(nodes.Addr().String())
	if err != nil {
		return err
	}
	url := "http://" + nodes.Addr().String()

	c := &control{streams: map[chan struct{}]key.NodePublic{}}
	c.server = &testcontrol.Server{
		Logf:             log.Printf,
		DERPMap:          integration.RunDERPAndSTUN(lifelong{TB: (*testing.T)(nil)}, log.Printf, host),
		ExplicitBaseURL:  url,
		MagicDNSDomain:   domain,
		AllNodesSameUser: true,
		AltMapStream:     c.mapStream,
	}

	// A client that has lost its connection takes port 443 for the next two
	// minutes, whatever its login server's port (control/controlhttp, forceNoise443),
	// and doesn't mind a certificate that nobody signed.
	fallback, err := net.Listen("tcp", net.JoinHostPort(host, "443"))
	if err != nil {
		return err
	}
	withTLS := httptest.NewUnstartedServer(http.HandlerFunc(c.serveNodes))
	withTLS.Listener.Close()
	withTLS.Listener = fallback
	withTLS.StartTLS()

	failed := make(chan error, 2)
	go func() { failed <- http.Serve(nodes, http.HandlerFunc(c.serveNodes)) }()
	go func() { failed <- http.Serve(api, c.adminAPI()) }()
	ready, err := json.Marshal(map[string]string{"url": url, "admin": "http://" + api.Addr().String()})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%s\n", ready)
	return <-failed
}

// serveNodes lets through what nodes ask for. testcontrol panics, and takes the
// process with it, on any path that it doesn't know, even on a stray GET.
func (c *control) serveNodes(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/key", path == "/ts2021", path == "/generate_204", strings.HasPrefix(path, "/c2n/"):
		c.server.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// wake has every open stream send its map again.
func (c *control) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for stream := range c.streams {
		select {
		case stream <- struct{}{}:
		default: // already woken
		}
	}
}

// change applies edit to the node with that key and tells all nodes.
func (c *control) change(nk key.NodePublic, edit func(*tailcfg.Node)) bool {
	c.mu.Lock()
	node := c.server.Node(nk)
	if node != nil {
		edit(node)
		c.server.UpdateNode(node)
	}
	c.mu.Unlock()
	c.wake()
	return node != nil
}

// mapStream answers a node's map request: it takes in what the node says about
// itself, and for a streaming request sends the map, again after every change.
func (c *control) mapStream(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
	// From version 68 on a streaming request is read-only (tailcfg.MapRequest.Stream);
	// its zero-valued fields mean nothing.
	if !req.ReadOnly && !(req.Stream && req.Version >= 68) {
		if !c.change(req.NodeKey, func(node *tailcfg.Node) { absorb(node, req) }) {
			return
		}
	}
	if !req.Stream || req.ReadOnly {
		_ = w.SendMapMessage(&tailcfg.MapResponse{})
		return
	}

	woken := make(chan struct{}, 1)
	c.mu.Lock()
	c.streams[woken] = req.NodeKey
	c.mu.Unlock()
	c.wake() // the others see this node come online, and later go
	defer c.wake()
	defer func() {
		c.mu.Lock()
		delete(c.streams, woken)
		c.mu.Unlock()
	}()

	for {
		timer := time.NewTimer(keepAlive)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-woken:
			timer.Stop()
			res, err := c.mapFor(req)
			if err != nil || res == nil || w.SendMapMessage(res) != nil {
				return
			}
		case <-timer.C:
			if w.SendMapMessage(&tailcfg.MapResponse{KeepAlive: true}) != nil {
				return
			}
		}
	}
}

// absorb takes over what a node reports about itself.
func absorb(node *tailcfg.Node, req *tailcfg.MapRequest) {
	node.DiscoKey = req.DiscoKey
	node.Cap = req.Version
	node.Endpoints = nil
	for _, endpoint := range req.Endpoints {
		if endpoint.Addr().Is4() { // the lab's network has no IPv6
			node.Endpoints = append(node.Endpoints, endpoint)
		}
	}
	if req.Hostinfo != nil {
		node.Hostinfo = req.Hostinfo.View()
		if info := req.Hostinfo.NetInfo; info != nil && info.PreferredDERP != 0 {
			node.HomeDERP = info.PreferredDERP
		}
	}
}

// mapFor is testcontrol's map with the time, the filter and the online states
// of this server. It is nil for a node that is no longer known.
func (c *control) mapFor(req *tailcfg.MapRequest) (*tailcfg.MapResponse, error) {
	res, err := c.server.MapResponse(req)
	if err != nil || res == nil {
		return nil, err
	}
	now := time.Now().UTC()
	res.ControlTime = &now

	c.mu.Lock()
	defer c.mu.Unlock()
	for _, peer := range res.Peers {
		online := c.onlineLocked(peer.Key)
		peer.Online = &online
	}
	if c.rules != nil {
		filter := append([]tailcfg.FilterRule{}, c.rules...)
		for _, rule := range res.PacketFilter {
			if len(rule.CapGrant) > 0 { // what grants capabilities lets no packet pass
				filter = append(filter, rule)
			}
		}
		res.PacketFilter = filter
	}
	return res, nil
}

func (c *control) onlineLocked(nk key.NodePublic) bool {
	for _, streaming := range c.streams {
		if streaming == nk {
			return true
		}
	}
	return false
}

// nodeInfo is a node in the answer to GET /nodes.
type nodeInfo struct {
	Name      string     `json:"name"`   // as given to tailscale up --hostname
	FQDN      string     `json:"fqdn"`   // in MagicDNS, with the last dot
	NodeID    string     `json:"nodeID"` // the stable one
	Addresses []string   `json:"addresses"`
	Online    bool       `json:"online"`
	KeyExpiry *time.Time `json:"keyExpiry"` // null: never
}

func (c *control) nodes() []nodeInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	infos := []nodeInfo{}
	for _, node := range c.server.AllNodes() {
		info := nodeInfo{
			Name:   node.Hostinfo.Hostname(),
			FQDN:   node.Name,
			NodeID: string(node.StableID),
			Online: c.onlineLocked(node.Key),
		}
		for _, prefix := range node.Addresses {
			info.Addresses = append(info.Addresses, prefix.Addr().String())
		}
		if !node.KeyExpiry.IsZero() {
			info.KeyExpiry = &node.KeyExpiry
		}
		infos = append(infos, info)
	}
	return infos
}

func (c *control) adminAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.nodes())
	})
	mux.HandleFunc("POST /nodes/{name}/key-expiry", post(func(r *http.Request, body struct{ Expiry *time.Time }) error {
		return c.changeNamed(r, func(node *tailcfg.Node) {
			node.KeyExpiry = time.Time{}
			if body.Expiry != nil {
				node.KeyExpiry = body.Expiry.UTC()
			}
		})
	}))
	mux.HandleFunc("POST /nodes/{name}/capabilities", post(func(r *http.Request, body tailcfg.NodeCapMap) error {
		return c.changeNamed(r, func(node *tailcfg.Node) { c.server.SetNodeCapMap(node.Key, body) })
	}))
	mux.HandleFunc("POST /app-capabilities", post(func(r *http.Request, body tailcfg.PeerCapMap) error {
		c.server.SetGlobalAppCaps(body)
		c.wake()
		return nil
	}))
	mux.HandleFunc("POST /filter", post(func(r *http.Request, body struct{ Rules []tailcfg.FilterRule }) error {
		c.mu.Lock()
		c.rules = body.Rules
		c.mu.Unlock()
		c.wake()
		return nil
	}))
	return mux
}

var errNoSuchNode = errors.New("no node has this name")

func (c *control) changeNamed(r *http.Request, edit func(*tailcfg.Node)) error {
	for _, node := range c.server.AllNodes() {
		if node.Hostinfo.Hostname() == r.PathValue("name") && c.change(node.Key, edit) {
			return nil
		}
	}
	return errNoSuchNode
}

// post decodes a request's JSON for handle, refusing fields that it doesn't
// know: a misspelt one would silently change nothing.
func post[Body any](handle func(*http.Request, Body) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body Body
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if err := handle(r, body); errors.Is(err, errNoSuchNode) {
			http.Error(w, err.Error(), http.StatusNotFound)
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		} else {
			w.WriteHeader(http.StatusNoContent)
		}
	}
}
