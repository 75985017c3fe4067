// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/plugin/check"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// CheckRegistries asks each registry of the config, and its mirrors, whether pulls can reach it.
func CheckRegistries(ctx context.Context, images config.Images) []check.Finding {
	r := registries(images)
	endpoints, err := r.Endpoints(ctx)
	if err != nil {
		return []check.Finding{{Level: check.Error, Check: "registry", What: err.Error(), Do: "mend hosts.toml or the table registry of config.toml"}}
	}
	var hosts []check.Host
	for _, e := range endpoints {
		hosts = append(hosts, check.Host{Registry: e.Registry, URL: e.URL, Do: e.Do})
	}
	return check.Registries(ctx, hosts)
}

// runcVersion is the annotation of runc's features with its version.
const runcVersion = "org.opencontainers.runc.version"

// problems returns the findings of `containerd-lite check` that are not OK, without those that need
// a network.
func (n node) problems(ctx context.Context) []check.Finding {
	return check.Problems(check.Node{
		Config:   n.config,
		Root:     "/",
		DataDirs: []string{n.dirs.ContainerdRootDir, n.dirs.StateDir},
		Endpoint: n.dirs.ContainerdEndpoint,
		RuntimeVersion: func(_ context.Context, handler string) (name, version string, err error) {
			return versionIn(n.features[handler])
		},
	}.Local(ctx))
}

// versionIn returns the name and the version of the OCI runtime that reports these features. Only
// runc reports them; "" stands for another one.
func versionIn(f *features.Features) (name, version string, err error) {
	if f == nil {
		return "", "", errors.New("reported no features when the daemon started; its log has the reason")
	}
	if version = f.Annotations[runcVersion]; version != "" {
		name = config.RuncHandler
	}
	return name, version, nil
}
