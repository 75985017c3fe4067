// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/check"
	"github.com/containerd-lite/containerd-lite/plugin/config"
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

// nodeCheck runs the checks of the node. A check can hang, on a file system that does not answer:
// at most one run is in progress.
type nodeCheck struct {
	node check.Node

	mu      sync.Mutex
	running chan struct{} // closed at the end of the run in progress; nil without one
	last    []check.Finding
}

func newNodeCheck(c config.Config, d dirs, f map[string]*features.Features) *nodeCheck {
	return &nodeCheck{node: check.Node{
		Config:   c,
		Root:     "/",
		DataDirs: []string{d.ContainerdRootDir, d.StateDir},
		Endpoint: d.ContainerdEndpoint,
		RuntimeVersion: func(_ context.Context, handler string) (name, version string, err error) {
			return versionIn(f[handler])
		},
	}}
}

// problems returns the findings of `containerd-lite check` that are not OK, without those that need
// a network.
func (n *nodeCheck) problems(ctx context.Context) []check.Finding {
	done := n.start(ctx)
	select {
	case <-done:
	case <-time.After(checkTimeout):
		return []check.Finding{{
			Level: check.Warning, Check: "check", What: "not finished in " + checkTimeout.String() + ": a file system may not answer",
			Do: "containerd-lite check",
		}}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// start starts a run, or joins the one in progress.
func (n *nodeCheck) start(ctx context.Context) (done <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running != nil {
		return n.running
	}
	running := make(chan struct{})
	n.running = running
	ctx = context.WithoutCancel(ctx)
	guard.Go(ctx, nil, "check the node", func() {
		found := check.Problems(n.node.Local(ctx))
		n.mu.Lock()
		defer n.mu.Unlock()
		n.last, n.running = found, nil
		close(running)
	})
	return running
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
