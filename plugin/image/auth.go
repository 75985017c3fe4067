// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// credentials is a parsed AuthConfig of the CRI. The zero value is an anonymous pull.
type credentials struct {
	// server is the only host that may receive the credentials. Empty means any host that is asked
	// for the image, mirrors included: the kubelet leaves it empty for image pull secrets.
	server string
	// username and secret answer a Basic or Bearer challenge. A secret without a username is an
	// identity token.
	username, secret string
	// registryToken is sent to the registry itself as a bearer token.
	registryToken string
}

// parseAuth parses an AuthConfig. If it has several kinds of credentials, the first of this list is
// used: username and password, auth, identity token, registry token. Errors are InvalidArgument and
// never quote the input.
func parseAuth(auth *runtimeapi.AuthConfig) (credentials, error) {
	server, err := serverHost(auth.GetServerAddress())
	if err != nil {
		return credentials{}, err
	}
	c := credentials{server: server}
	username, password, err := decodeAuth(auth.GetAuth())
	switch {
	case auth.GetUsername() != "" && auth.GetPassword() != "":
		c.username, c.secret = auth.GetUsername(), auth.GetPassword()
	case err != nil:
		return credentials{}, err
	case password != "":
		c.username, c.secret = username, password
	case auth.GetIdentityToken() != "":
		c.secret = auth.GetIdentityToken()
	case auth.GetRegistryToken() != "":
		c.registryToken = auth.GetRegistryToken()
	default:
		return credentials{}, nil
	}
	return c, nil
}

// parseHostAuths parses the credentials of the configuration. The keys of the result are canonical
// hosts.
func parseHostAuths(auths map[string]*runtimeapi.AuthConfig) (map[string]credentials, error) {
	all := make(map[string]credentials, len(auths))
	for host, auth := range auths {
		c, err := parseAuth(auth)
		if err != nil {
			return nil, fmt.Errorf("credentials for registry %s: %w", host, err)
		}
		c.server = canonicalHost(host)
		all[c.server] = c
	}
	return all, nil
}

// hostCredentials returns the function that selects the credentials for the challenge of a host:
// those of the pull, or those of the configuration if the pull has none.
func (a access) hostCredentials(ofPull credentials) findCredentials {
	if ofPull != (credentials{}) {
		return ofPull.forHost
	}
	return func(host string) (username, secret string, err error) {
		return a.credentials[canonicalHost(host)].forHost(host)
	}
}

// secretsOf returns the secrets that the error of a pull may contain.
func (a access) secretsOf(ofPull credentials) []string {
	all := ofPull.secrets()
	for _, c := range a.credentials {
		all = append(all, c.secrets()...)
	}
	return all
}

// decodeAuth splits the base64 of username:password.
func decodeAuth(auth string) (username, password string, err error) {
	if auth == "" {
		return "", "", nil
	}
	decoded, err := base64.StdEncoding.DecodeString(auth)
	username, password, ok := strings.Cut(strings.TrimRight(string(decoded), "\x00"), ":")
	if err != nil || !ok {
		return "", "", fmt.Errorf("auth: not the base64 of user:password: %w", errdefs.ErrInvalidArgument)
	}
	return username, password, nil
}

// serverHost returns the canonical host of a server address. The address is a URL or a host.
func serverHost(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("auth: server address is neither a host nor a URL: %w", errdefs.ErrInvalidArgument)
	}
	return canonicalHost(u.Host), nil
}

// canonicalHost maps the hosts of Docker Hub to docker.io: image names have docker.io, the API is
// on registry-1.docker.io, and credentials are stored under index.docker.io.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// covers reports whether a host may receive the credentials.
func (c credentials) covers(host string) bool {
	return c.server == "" || c.server == canonicalHost(host)
}

// forHost returns the credentials to answer the challenge of a host with; none if the host may not
// receive them.
func (c credentials) forHost(host string) (username, secret string, err error) {
	if !c.covers(host) {
		return "", "", nil
	}
	return c.username, c.secret, nil
}

// fingerprint returns a hash that distinguishes credentials and does not reveal them.
func (c credentials) fingerprint() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q%q%q%q", c.server, c.username, c.secret, c.registryToken))
	return string(sum[:])
}

// secrets returns each form in which the credentials are sent, for redaction.
func (c credentials) secrets() []string {
	var all []string
	for _, s := range []string{c.secret, c.registryToken} {
		if s != "" {
			all = append(all, s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
		}
	}
	if c.secret != "" {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(c.username+":"+c.secret)))
	}
	return all
}

// tokenAuthorizer answers challenges with a registry token. containerd's own authorizer can only
// exchange credentials for a token.
type tokenAuthorizer struct {
	creds  credentials
	origin string // the only host that gets the token

	mu         sync.Mutex
	challenged map[string]bool // hosts that sent a challenge; guarded by mu
}

var _ docker.Authorizer = (*tokenAuthorizer)(nil)

// Authorize adds the token to a request if its host has sent a challenge before.
func (a *tokenAuthorizer) Authorize(_ context.Context, req *http.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.challenged[req.URL.Host] {
		req.Header.Set("Authorization", "Bearer "+a.creds.registryToken)
	}
	return nil
}

// AddResponses handles a 401: from then on the host gets the token. It returns an error if the
// token is for another host, or if the host has rejected the token.
func (a *tokenAuthorizer) AddResponses(_ context.Context, responses []*http.Response) error {
	last := responses[len(responses)-1].Request
	host := last.URL.Host
	if host != a.origin || !a.creds.covers(host) {
		return fmt.Errorf("registry token is not for %s: %w", host, errdefs.ErrNotImplemented)
	}
	if last.Header.Get("Authorization") != "" {
		return fmt.Errorf("registry token: %w", docker.ErrInvalidAuthorization)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.challenged == nil {
		a.challenged = map[string]bool{}
	}
	a.challenged[host] = true
	return nil
}
