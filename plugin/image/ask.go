// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// Endpoint is a host that pulls ask for the images of a registry: a mirror, or the registry itself.
type Endpoint struct {
	// Registry is the host in the names of images.
	Registry string
	// URL is that of the registry API on this host.
	URL  string
	host docker.RegistryHost
}

// Endpoints returns the hosts of each registry that the settings name, in the order in which a pull
// asks them.
func (r *Registries) Endpoints(ctx context.Context) ([]Endpoint, error) {
	creds, err := parseHostAuths(r.Credentials)
	if err != nil {
		return nil, err
	}
	m := &Manager{opts: Options{Registries: *r}, credentials: creds}
	find := m.registryHosts(ctx, credentials{}, newMeter())
	var all []Endpoint
	for _, registry := range r.names() {
		hosts, err := find(registry)
		if err != nil {
			return nil, fmt.Errorf("hosts of registry %s: %w", registry, err)
		}
		for _, h := range hosts {
			all = append(all, Endpoint{Registry: registry, URL: h.Scheme + "://" + h.Host + h.Path, host: h})
		}
	}
	return all, nil
}

// names returns the registries that have settings, sorted.
func (r *Registries) names() []string {
	names := map[string]bool{}
	for _, dir := range r.HostsDirs {
		entries, _ := os.ReadDir(dir) // without a directory, no registry has settings in it
		for _, e := range entries {
			if _, err := os.Stat(filepath.Join(dir, e.Name(), "hosts.toml")); err == nil {
				// A port is written as in host:5000, or as in host_5000_ where ":" is no character
				// of file names.
				names[strings.TrimSuffix(strings.Replace(e.Name(), "_", ":", 1), "_")] = true
			}
		}
	}
	for name := range r.Mirrors {
		names[name] = true
	}
	for name := range r.Credentials {
		names[canonicalHost(name)] = true
	}
	delete(names, "*")
	delete(names, ":default") // the directory _default
	return slices.Sorted(maps.Keys(names))
}

// Do sends a request to the endpoint, with the headers and, when the endpoint asks for them, the
// credentials of the settings. If there are none that can answer the endpoint, the answer is the
// refusal.
func (e Endpoint) Do(r *http.Request) (*http.Response, error) {
	refused, err := e.send(r)
	if err != nil || refused.StatusCode != http.StatusUnauthorized {
		return refused, err
	}
	err = e.host.Authorizer.AddResponses(r.Context(), []*http.Response{refused})
	if errors.Is(err, docker.ErrInvalidAuthorization) || errdefs.IsNotImplemented(err) {
		return refused, nil
	}
	if err != nil {
		return nil, err
	}
	answer, err := e.send(r)
	if errors.Is(err, errNoCredentials) {
		return refused, nil
	}
	refused.Body.Close()
	return answer, err
}

// errNoCredentials is the error of a request that no credentials are found for.
var errNoCredentials = errors.New("no credentials")

func (e Endpoint) send(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	maps.Copy(r.Header, e.host.Header)
	if err := e.host.Authorizer.Authorize(r.Context(), r); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	return e.host.Client.Do(r)
}
