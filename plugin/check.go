// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/plugin/check"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
)

// CheckRegistries asks each registry of the config, and its mirrors, whether pulls can reach it.
func CheckRegistries(ctx context.Context, images config.Images) []check.Finding {
	r := registries(images)
	endpoints, err := r.Endpoints(ctx)
	if err != nil {
		return []check.Finding{{Level: check.Error, Check: "registry", What: err.Error(), Do: "mend the table registry of config.toml"}}
	}
	var hosts []check.Host
	for _, e := range endpoints {
		hosts = append(hosts, check.Host{Registry: e.Registry, URL: e.URL, Do: e.Do})
	}
	return check.Registries(ctx, hosts)
}

// runcVersion is the annotation of runc's features with its version.
const runcVersion = "org.opencontainers.runc.version"

// checkTimeout is how long `crictl info` waits for the checks of the node.
const checkTimeout = time.Second

func newChecks(live *config.Live, specs *specgen.Live, d dirs) *check.Runner {
	return &check.Runner{Node: func() check.Node {
		features := specs.Get().Features
		return check.Node{
			Config:   *live.Get(),
			Root:     "/",
			DataDirs: []string{d.ContainerdRootDir, d.StateDir},
			Endpoint: d.ContainerdEndpoint,
			RuntimeVersion: func(_ context.Context, handler string) (name, version string, err error) {
				return versionIn(features[handler])
			},
		}
	}}
}

// versionIn returns the name and the version of the OCI runtime that reported these features when
// the daemon started. Only runc reports them; "" stands for another one, or none.
func versionIn(f *features.Features) (name, version string, err error) {
	if f == nil {
		return "", "", nil
	}
	if version = f.Annotations[runcVersion]; version != "" {
		name = config.RuncHandler
	}
	return name, version, nil
}
