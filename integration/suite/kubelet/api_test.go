// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// open sends a request for a path to the kubelet's API and returns the body of the answer.
func (n *node) open(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.rest.Host+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := n.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("%s: %s: %s", path, answer.Status, text)
	}
	return answer.Body, nil
}

func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	body, err := n.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

func (n *node) getJSON(ctx context.Context, path string, value any) error {
	text, err := n.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// log returns the log of a container.
func (p *pod) log(container, query string) string {
	p.t.Helper()
	text, err := p.get(p.t.Context(), "/containerLogs/default/"+p.name+"/"+container+query)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// metric returns the value of a metric without labels, or "".
func metric(text, name string) string {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
