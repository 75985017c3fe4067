// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// hostFiles checks the syntax of each hosts.toml. Pulls read them, so no restart is needed.
func hostFiles(_ context.Context, n Node) []Finding {
	var problems []Finding
	count := 0
	for _, dir := range n.Config.Images.Registry.ConfigDirs() {
		files, err := filepath.Glob(filepath.Join(n.path(dir), "*", "hosts.toml"))
		if err != nil {
			continue // the pattern is fixed
		}
		for _, file := range files {
			count++
			if err := config.CheckHostsFile(file); err != nil {
				problems = append(problems, failure("mend the line; the next pull reads it",
					"%v: the file is ignored, and pulls go to %s itself", err, filepath.Base(filepath.Dir(file))))
			}
		}
	}
	return orOK(problems, "%d files hosts.toml", count)
}

// Host is a registry, or a mirror of it, with what a client needs to ask it.
type Host struct {
	// Registry is the host in the names of images, and URL the one that is asked, with the path of
	// the API.
	Registry, URL string
	// Do sends a request with the credentials that pulls use.
	Do func(*http.Request) (*http.Response, error)
}

// registryTimeout bounds the answer of one registry.
const registryTimeout = 10 * time.Second

// Registries asks each host whether it serves images to this node with its credentials.
func Registries(ctx context.Context, hosts []Host) []Finding {
	found := make([]Finding, len(hosts))
	var all sync.WaitGroup
	for i, h := range hosts {
		guard.Go(ctx, &all, "check registry", func() {
			found[i] = h.ask(ctx)
			found[i].Check = "registry"
			found[i].clean()
		})
	}
	all.Wait()
	// A registry that one host serves can be pulled from: the others may be out of reach on
	// purpose.
	served := map[string]bool{}
	for i, h := range hosts {
		served[h.Registry] = served[h.Registry] || found[i].Level == OK
	}
	for i, h := range hosts {
		if found[i].Level == Error && served[h.Registry] {
			found[i].Level = Warning
		}
	}
	// One without a level is of a panic, which is logged.
	return slices.DeleteFunc(found, func(f Finding) bool { return f.Level == "" })
}

func (h Host) ask(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/", nil)
	if err != nil {
		return failure("mend hosts.toml", "%s: %v", h.Registry, err)
	}
	answer, err := h.Do(request)
	if err != nil {
		return failure("curl -v "+h.URL+"/ shows why; mend the network, the proxy, or hosts.toml", "%s for images of %s does not answer: %v", h.URL, h.Registry, err)
	}
	defer answer.Body.Close()
	said := fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	switch answer.StatusCode {
	case http.StatusOK:
		return ok("%s serves images of %s", h.URL, h.Registry)
	case http.StatusUnauthorized, http.StatusForbidden:
		return warning("check the credentials of this host in config.toml; pulls with imagePullSecrets use their own", "%s for images of %s accepts no request of this node: %s", h.URL, h.Registry, said)
	case http.StatusNotFound:
		if !strings.HasSuffix(h.URL, "/v2") { // a project of a registry, which only has images
			return ok("%s answers for images of %s", h.URL, h.Registry)
		}
		return warning("check the path of the host in hosts.toml, and override_path", "%s for images of %s is no registry: %s", h.URL, h.Registry, said)
	}
	return warning("see the log of the registry", "%s for images of %s answers %s", h.URL, h.Registry, said)
}
