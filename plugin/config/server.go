// SPDX-License-Identifier: Apache-2.0

package config

// Server is the table plugins.'io.containerd.grpc.v1.cri': the server of exec, attach and
// port-forward streams.
type Server struct {
	// DisableTCPService removes the CRI from containerd's TCP address
	// (plugins.'io.containerd.server.v1.grpc-tcp').
	DisableTCPService bool `toml:"disable_tcp_service" json:"disableTCPService"`
	// StreamServerAddress is the address of the streaming server; empty means the node's default
	// address.
	StreamServerAddress string `toml:"stream_server_address" json:"streamServerAddress"`
	// StreamServerPort is the port of the streaming server; "0" lets the kernel choose.
	StreamServerPort string `toml:"stream_server_port" json:"streamServerPort"`
	// StreamIdleTimeout closes a stream that has transferred no data for this time; "0s" never
	// closes it.
	StreamIdleTimeout Duration `toml:"stream_idle_timeout" json:"streamIdleTimeout"`
	// EnableTLSStreaming serves streams over TLS, with the key pair or, without one, with a
	// self-signed certificate.
	EnableTLSStreaming bool `toml:"enable_tls_streaming" json:"enableTLSStreaming"`
	// X509KeyPairStreaming is the key pair of the streaming server.
	X509KeyPairStreaming X509KeyPair `toml:"x509_key_pair_streaming" json:"x509KeyPairStreaming"`
}

// X509KeyPair is the table x509_key_pair_streaming of [Server].
type X509KeyPair struct {
	// TLSCertFile is the path of the certificate in PEM.
	TLSCertFile string `toml:"tls_cert_file" json:"tlsCertFile"`
	// TLSKeyFile is the path of the certificate's private key in PEM.
	TLSKeyFile string `toml:"tls_key_file" json:"tlsKeyFile"`
}

// DefaultServer returns the table with its defaults.
func DefaultServer() Server {
	return Server{
		DisableTCPService:   true,
		StreamServerAddress: "127.0.0.1",
		StreamServerPort:    "0",
		StreamIdleTimeout:   "4h0m0s",
	}
}
