// A statically linked client with a resolver of its own: it asks the server of resolv.conf itself, and prints who it was
// that connected, whom it was connected to and what it was answered, a line for each URL.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"
)

type answer struct {
	Connector int    `json:"connector"`
	Status    int    `json:"status"`
	Protocol  string `json:"protocol"`
	Activity  string `json:"activity,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
	Peer      string `json:"peer"`
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Arguments: the file of trusted certificates, "udp" or "tcp" for the questions, and the URLs.
func main() {
	pem, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := os.Args[2]
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, server string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, transport, server)
	}}
	dialer := &net.Dialer{Resolver: resolver, Timeout: 10 * time.Second}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext:       dialer.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}}
	for _, url := range os.Args[3:] {
		said := answer{Connector: os.Getpid()}
		request, err := http.NewRequest("GET", url, nil)
		if err != nil {
			fail(err)
		}
		trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
			said.Peer = got.Conn.RemoteAddr().String()
		}}
		reply, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
		if err != nil {
			fail(err)
		}
		io.Copy(io.Discard, reply.Body)
		reply.Body.Close()
		said.Status, said.Protocol = reply.StatusCode, reply.Proto
		said.Activity = reply.Header.Get("X-Portcullis-Activity")
		if reply.TLS != nil && len(reply.TLS.PeerCertificates) > 0 {
			said.Issuer = reply.TLS.PeerCertificates[0].Issuer.CommonName
		}
		json.NewEncoder(os.Stdout).Encode(said)
	}
}
