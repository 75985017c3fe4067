// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/containerd/log"
	"golang.org/x/net/websocket"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	utilexec "k8s.io/utils/exec"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// The WebSocket protocols of current clients (KEP-4006), which use no others. k8s.io/cri-streaming
// rejects both with 403: it relies on the API server to translate them, but crictl and critest
// connect without an API server.
const (
	protocolV5     = "v5.channel.k8s.io"
	protocolTunnel = spdy.HeaderSpdy31 + "+" + portforward.ProtocolV1Name
)

// Channels of a command, with the numbers of all versions of the protocol.
const (
	channelStdin = iota
	channelStdout
	channelStderr
	channelStatus
	channelResize
)

// wantsV5 reports whether a client requests version 5: version 4 and a message that ends stdin
// alone.
func wantsV5(r *http.Request) bool { return wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) }

// serveV5 serves an exec or attach for a client of version 5.
func (s *Server) serveV5(w http.ResponseWriter, r *http.Request, c command) {
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		protocolV5: {Binary: true, Channels: []wsstream.ChannelType{
			channelStdin:  wsstream.ReadChannel,
			channelStdout: wsstream.WriteChannel,
			channelStderr: wsstream.WriteChannel,
			channelStatus: wsstream.WriteChannel,
			channelResize: wsstream.ReadChannel,
		}},
	})
	conn.SetIdleTimeout(s.endpoint.Load().opts.IdleTimeout)
	_, channels, err := conn.Open(w, r)
	if err != nil {
		log.G(r.Context()).WithError(err).Debug("WebSocket handshake failed")
		return
	}
	defer conn.Close()
	resize := make(chan remotecommand.TerminalSize)
	guard.Go(r.Context(), nil, "read sizes of terminal", func() { readSizes(r.Context(), channels[channelResize], resize) })
	err = c.AttachContainer(r.Context(), "", "", "", channels[channelStdin], channels[channelStdout], channels[channelStderr], c.want.TTY, resize)
	if err := json.NewEncoder(channels[channelStatus]).Encode(statusOf(err)); err != nil {
		log.G(r.Context()).WithError(err).Debug("client disconnected before it got the exit status")
	}
}

// readSizes decodes the sizes of a terminal until the channel or ctx ends.
func readSizes(ctx context.Context, from io.Reader, to chan<- remotecommand.TerminalSize) {
	defer close(to)
	for decoder := json.NewDecoder(from); ; {
		var size remotecommand.TerminalSize
		if decoder.Decode(&size) != nil {
			return
		}
		select {
		case to <- size:
		case <-ctx.Done():
			return
		}
	}
}

// outcome is the status of a command that a client gets: the part of metav1.Status that clients
// read.
type outcome struct {
	Status  string   `json:"status"`
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Details *details `json:"details,omitempty"`
}

type details struct {
	Causes []cause `json:"causes"`
}

type cause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func statusOf(err error) outcome {
	var exit utilexec.ExitError
	switch {
	case err == nil:
		return outcome{Status: "Success"}
	case errors.As(err, &exit) && exit.Exited():
		code := cause{Reason: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(exit.ExitStatus())}
		return outcome{
			Status:  "Failure",
			Reason:  remotecommand.NonZeroExitCodeReason,
			Message: "command terminated with non-zero exit code: " + err.Error(),
			Details: &details{Causes: []cause{code}},
		}
	}
	return outcome{Status: "Failure", Reason: "InternalError", Message: err.Error()}
}

// wantsTunnel reports whether a client requests SPDY through a WebSocket.
func wantsTunnel(r *http.Request) bool { return wsstream.IsWebSocketRequestWithTunnelingProtocol(r) }

// serveTunnel upgrades the connection to a WebSocket and lets serve answer, on it, the SPDY request
// that the client would have sent without a WebSocket.
func serveTunnel(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	inner := r.Clone(r.Context())
	inner.Method = http.MethodPost
	inner.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	inner.Header.Set(httpstream.HeaderProtocolVersion, portforward.ProtocolV1Name)
	websocket.Server{
		Handshake: func(config *websocket.Config, _ *http.Request) error { return acceptTunnel(config) },
		Handler: func(conn *websocket.Conn) {
			conn.PayloadType = websocket.BinaryFrame
			serve(tunnel{header: http.Header{}, conn: tunnelConn{conn}}, inner)
		},
	}.ServeHTTP(w, r)
}

func acceptTunnel(config *websocket.Config) error {
	for _, protocol := range config.Protocol {
		if protocol == protocolTunnel {
			config.Protocol = []string{protocol}
			return nil
		}
	}
	return fmt.Errorf("protocols %s are not supported (supported: %s)", strings.Join(config.Protocol, ", "), protocolTunnel)
}

// tunnel is the response to the SPDY request. Its header is not sent, since the client has got that
// of the WebSocket.
type tunnel struct {
	header http.Header
	conn   net.Conn
}

var _ http.Hijacker = tunnel{}

// Header returns a header that is never sent.
func (t tunnel) Header() http.Header { return t.header }

// WriteHeader drops the status.
func (t tunnel) WriteHeader(int) {}

// Write drops the text of an error. The end of the connection reports the error.
func (t tunnel) Write(p []byte) (int, error) { return len(p), nil }

// tunnelConn is a WebSocket as a net.Conn.
type tunnelConn struct{ *websocket.Conn }

// Close closes the connection. It returns no error, since the server or the client may have closed
// the connection already, and the SPDY library would wait a second for a reader of the error.
func (c tunnelConn) Close() error {
	_ = c.Conn.Close()
	return nil
}

// Hijack returns the connection of the WebSocket.
func (t tunnel) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return t.conn, bufio.NewReadWriter(bufio.NewReader(t.conn), bufio.NewWriter(t.conn)), nil
}
