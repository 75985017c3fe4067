// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// Endpoint is a host that pulls ask for the images of a registry: a mirror, or the registry itself.
type Endpoint struct {
	// Registry is the host in the names of images.
	Registry string
	// URL is that of the registry API on this host.
	URL string

	host   docker.RegistryHost
	access access
	err    error // the registry's hosts are not known
}

// Endpoints returns the hosts of each registry that the settings name, in the order in which a pull
// asks them.
func (r *Registries) Endpoints(ctx context.Context) ([]Endpoint, error) {
	a, err := newAccess(r)
	if err != nil {
		return nil, err
	}
	find := a.registryHosts(ctx, credentials{}, newMeter())
	var all []Endpoint
	for _, registry := range r.names() {
		hosts, err := find(registry)
		if err != nil {
			all = append(all, Endpoint{Registry: registry, URL: registry, err: err})
		}
		for _, h := range hosts {
			all = append(all, Endpoint{Registry: registry, URL: h.Scheme + "://" + h.Host + h.Path, host: h, access: a})
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
				names[registryOf(e.Name())] = true
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
	delete(names, "_default")
	return slices.Sorted(maps.Keys(names))
}

// registryOf returns the registry of a directory with a hosts.toml. A port is written as in
// host:5000, or as in host_5000_ where ":" is no character of file names.
func registryOf(dir string) string {
	name, withPort := strings.CutSuffix(dir, "_")
	if i := strings.LastIndex(name, "_"); withPort && i >= 0 {
		return name[:i] + ":" + name[i+1:]
	}
	return dir
}

// Do sends a request to the endpoint, with the headers and, when the endpoint asks for them, the
// credentials of the settings. If there are none that can answer the endpoint, the answer is the
// refusal.
func (e Endpoint) Do(r *http.Request) (*http.Response, error) {
	if e.err != nil {
		return nil, e.err
	}
	refused, err := e.send(r)
	if err != nil || refused.StatusCode != http.StatusUnauthorized {
		return refused, e.cleaned(err)
	}
	err = e.host.Authorizer.AddResponses(r.Context(), []*http.Response{refused})
	if errors.Is(err, docker.ErrInvalidAuthorization) || errdefs.IsNotImplemented(err) {
		return refused, nil
	}
	if err != nil {
		return nil, e.cleaned(err)
	}
	answer, err := e.send(r)
	if isRefusal(err) {
		return refused, nil
	}
	refused.Body.Close()
	return answer, e.cleaned(err)
}

// isRefusal reports whether an error says that there are no credentials, or that the token server
// accepts them not.
func isRefusal(err error) bool {
	status, ok := errors.AsType[remoteerrors.ErrUnexpectedStatus](err)
	return errors.Is(err, docker.ErrInvalidAuthorization) || ok && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden)
}

// cleaned returns an error without credentials: the URL of a redirect can have some.
func (e Endpoint) cleaned(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(cleanText(err.Error(), e.access.secretsOf(credentials{})))
}

func (e Endpoint) send(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	maps.Copy(r.Header, e.access.Headers)
	maps.Copy(r.Header, e.host.Header)
	if err := e.host.Authorizer.Authorize(r.Context(), r); err != nil {
		return nil, err
	}
	return e.host.Client.Do(r)
}
