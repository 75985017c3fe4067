// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// spans are the names of the spans that a collector has received, by trace.
type spans struct {
	mu      sync.Mutex
	byTrace map[string][]string
}

// ServeHTTP receives spans by OTLP over HTTP.
func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				trace := hex.EncodeToString(span.TraceId)
				s.byTrace[trace] = append(s.byTrace[trace], span.Name)
			}
		}
	}
}

// missing returns those of the names that a trace does not have.
func (s *spans) missing(trace string, names ...string) (missing []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if !slices.ContainsFunc(s.byTrace[trace], func(span string) bool { return strings.Contains(span, name) }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// TestTrace checks that the trace of a kubelet goes on in the daemon: in the call, and in what it
// waits for.
func TestTrace(t *testing.T) {
	got := &spans{byTrace: map[string][]string{}}
	server := httptest.NewServer(got)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL+"/v1/traces")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	b := harness.StartWith(t, harness.Options{})
	c := harness.Session{Bench: b, CRI: b.Client(t, image.Busybox)}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	config := b.PodConfig("traced")
	id, err := c.RunPod(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	c.RemoveAfter(t, id)
	if _, err := c.Run(ctx, id, config, harness.ContainerConfig(config, "main", image.Busybox, "top")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"RuntimeService/RunPodSandbox", "RuntimeService/CreateContainer", "RuntimeService/StartContainer",
		"shim.launch", "shim.create", "shim.start", "cni.ADD", "disk.create the record of pod", "containerd.task.v3.Task/Create",
	}
	err = harness.Await(t.Context(), func() error {
		if missing := got.missing(trace, want...); len(missing) > 0 {
			return errors.New("no spans " + strings.Join(missing, ", "))
		}
		return nil
	})
	if err != nil {
		got.mu.Lock()
		defer got.mu.Unlock()
		t.Error(fmt.Errorf("%w; the trace has %q", err, got.byTrace[trace]))
	}
}
