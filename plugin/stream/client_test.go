// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// status is what a client of protocol v4 gets when a command has exited.
type status struct {
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		Causes []struct{ Reason, Message string } `json:"causes"`
	} `json:"details"`
}

// exitCode returns the exit code as kubectl derives it, or Status.
func (s status) exitCode() string {
	for _, cause := range s.Details.Causes {
		if s.Reason == "NonZeroExitCode" && cause.Reason == "ExitCode" {
			return cause.Message
		}
	}
	return s.Status
}

// dialSPDY connects as kubectl and crictl do.
func dialSPDY(t *testing.T, address, protocol string) httpstream.Connection {
	t.Helper()
	conn, _, err := tryDialSPDY(address, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSPDY(conn) })
	return conn
}

func tryDialSPDY(address, protocol string) (conn httpstream.Connection, code int, err error) {
	trip, err := spdy.NewRoundTripperWithProxy(&tls.Config{InsecureSkipVerify: true}, func(*http.Request) (*url.URL, error) { return nil, nil })
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequest(http.MethodPost, address, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set(httpstream.HeaderProtocolVersion, protocol)
	resp, err := trip.RoundTrip(req)
	if err != nil {
		return nil, 0, err
	}
	conn, err = trip.NewConnection(resp)
	return conn, resp.StatusCode, err
}

// closeSPDY closes a connection and returns when its goroutines have ended.
func closeSPDY(conn httpstream.Connection) {
	conn.Close()
	<-conn.CloseChan()
}

// spdyStreams creates the streams of a command.
func spdyStreams(t *testing.T, conn httpstream.Connection, types ...string) map[string]httpstream.Stream {
	t.Helper()
	streams := map[string]httpstream.Stream{}
	for _, name := range types {
		stream, err := conn.CreateStream(http.Header{"Streamtype": {name}})
		if err != nil {
			t.Fatal(err)
		}
		streams[name] = stream
	}
	return streams
}

func readStatus(t *testing.T, r io.Reader) status {
	t.Helper()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var s status
	if err := json.Unmarshal(content, &s); err != nil {
		t.Fatalf("status %q: %v", content, err)
	}
	return s
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// dialWebSocket connects as kubectl does through an API server.
func dialWebSocket(t *testing.T, address, protocol string) *websocket.Conn {
	t.Helper()
	conn, err := websocket.Dial(strings.Replace(address, "http", "ws", 1), protocol, "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	conn.PayloadType = websocket.BinaryFrame
	t.Cleanup(func() { conn.Close() })
	return conn
}

// sendFrame writes to a channel of a WebSocket.
func sendFrame(t *testing.T, conn *websocket.Conn, channel byte, content string) {
	t.Helper()
	if err := websocket.Message.Send(conn, append([]byte{channel}, content...)); err != nil {
		t.Fatal(err)
	}
}

// receiveAll reads all channels of a WebSocket to its end.
func receiveAll(conn *websocket.Conn) (channels map[byte]string, err error) {
	channels = map[byte]string{}
	for {
		var frame []byte
		err := websocket.Message.Receive(conn, &frame)
		if errors.Is(err, io.EOF) {
			return channels, nil
		}
		if err != nil {
			return nil, fmt.Errorf("after %v: %w", channels, err)
		}
		if len(frame) > 0 {
			channels[frame[0]] += string(bytes.Clone(frame[1:]))
		}
	}
}
