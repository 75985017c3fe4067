// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
)

// access is what pulls need to use registries.
type access struct {
	*Registries
	// credentials are parsed from Registries.Credentials; the keys are canonical hosts.
	credentials map[string]credentials
}

func newAccess(r *Registries) (access, error) {
	creds, err := parseHostAuths(r.Credentials)
	return access{r, creds}, err
}

// registryHosts returns the function that finds the hosts of a registry: from hosts.toml, or from
// the mirrors of config.toml if there are any. hosts.toml is read for each pull, so a change needs
// no restart.
func (a access) registryHosts(ctx context.Context, creds credentials, traffic *meter) docker.RegistryHosts {
	watched := func(client *http.Client) error {
		if _, done := client.Transport.(meteredTransport); !done {
			client.Transport = traffic.wrap(limitResponses(client.Transport))
		}
		return nil
	}
	find := config.ConfigureHosts(ctx, config.HostOptions{HostDir: hostDir(a.HostsDirs), UpdateClient: watched})
	if len(a.Mirrors) > 0 {
		client := &http.Client{Transport: docker.DefaultHTTPTransport(nil)}
		_ = watched(client) // never fails
		find = func(registry string) ([]docker.RegistryHost, error) { return a.mirrorHosts(registry, client) }
	}
	return func(registry string) ([]docker.RegistryHost, error) {
		found, err := find(registry)
		for i := range found {
			found[i] = a.authorized(creds, found[i])
		}
		return found, err
	}
}

// authorized returns a copy of host that answers challenges with the credentials for this host, and
// sends none of them to the target of a redirect.
func (a access) authorized(creds credentials, host docker.RegistryHost) docker.RegistryHost {
	host.Authorizer = a.authorizer(creds, host)
	client := *host.Client
	client.CheckRedirect = followRedirects(host.Authorizer)
	host.Client = &client
	return host
}

// authorizer returns the authorizer of a registry host. It uses a separate client for the token
// servers that the host names, because their responses are read into memory and must all be
// bounded.
func (a access) authorizer(creds credentials, host docker.RegistryHost) docker.Authorizer {
	if creds.registryToken != "" {
		return &tokenAuthorizer{creds: creds, origin: host.Host}
	}
	client := *host.Client
	client.Transport = limitTokenResponses(client.Transport)
	// For a registry on this machine, https does not guarantee TLS: containerd tries TLS first and
	// falls back to plain HTTP.
	if host.Scheme == "https" && !docker.IsLocalhost(host.Host) {
		client.Transport = requireTLS(client.Transport)
	}
	return docker.NewDockerAuthorizer(
		docker.WithAuthClient(&client),
		docker.WithAuthCreds(a.hostCredentials(creds).onlyFor(host.Host)),
		docker.WithAuthHeader(a.Headers),
		docker.WithAuthHeader(host.Header))
}

// hostDir returns the function that finds the directory of a registry in a list of roots.
func hostDir(roots []string) func(host string) (string, error) {
	return func(host string) (string, error) {
		for _, root := range roots {
			dir, err := config.HostDirFromRoot(root)(host)
			if !errdefs.IsNotFound(err) {
				return dir, err
			}
		}
		return "", errdefs.ErrNotFound
	}
}

// mirrorHosts returns the mirrors of a registry, followed by the registry itself if it is not among
// them. The mirrors of "*" apply to registries that have no mirrors of their own.
func (r *Registries) mirrorHosts(registry string, client *http.Client) ([]docker.RegistryHost, error) {
	endpoints, ok := r.Mirrors[registry]
	if !ok {
		endpoints = r.Mirrors["*"]
	}
	var hosts []docker.RegistryHost
	own := false
	for _, endpoint := range endpoints {
		u, err := endpointURL(endpoint)
		if err != nil {
			return nil, fmt.Errorf("registry.mirrors of %s: %w", registry, err)
		}
		own = own || u.Host == registry
		hosts = append(hosts, mirrorHost(u, client))
	}
	if own {
		return hosts, nil
	}
	host, err := docker.DefaultHost(registry)
	if err != nil {
		return nil, err
	}
	u, err := endpointURL(host)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", registry, err)
	}
	return append(hosts, mirrorHost(u, client)), nil
}

func mirrorHost(u *url.URL, client *http.Client) docker.RegistryHost {
	path := u.Path
	if path == "" {
		path = "/v2"
	}
	return docker.RegistryHost{
		Client: client, Scheme: u.Scheme, Host: u.Host, Path: path,
		Capabilities: docker.HostCapabilityResolve | docker.HostCapabilityPull | docker.HostCapabilityReferrers,
	}
}

// endpointURL parses an endpoint. The scheme may be missing: then it is http for a registry on this
// machine, and https for others.
func endpointURL(endpoint string) (*url.URL, error) {
	if !strings.Contains(endpoint, "://") {
		host, _, _ := strings.Cut(endpoint, "/")
		scheme := "https"
		if docker.IsLocalhost(host) {
			scheme = "http"
		}
		endpoint = scheme + "://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("endpoint is not a URL with a host: %w", errdefs.ErrInvalidArgument)
	}
	return u, nil
}
