// SPDX-License-Identifier: Apache-2.0

// Package kubelet runs a real, standalone kubelet with static pods on the daemon of a bench. The
// tests read results through the kubelet's own API, as the API server and kubectl would.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// pause is the interval between two requests to the kubelet.
const pause = 200 * time.Millisecond

// node is a kubelet on the daemon of a bench.
type node struct {
	*harness.Bench
	*harness.CRI
	kubelet *harness.Process
	config  config
	rest    *rest.Config
	client  *http.Client
}

// config holds the differences between runs of the kubelet.
type config struct {
	Gates    map[string]bool
	Port     int32
	Cgroup   string
	Eviction string // imagefs.available below which the kubelet removes unused images
	Args     []string
}

// configTemplate puts everything under the bench's root, disables eviction, and shortens the
// kubelet's intervals.
var configTemplate = template.Must(template.New("kubelet.yaml").Parse(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{{.Daemon.Socket}}
staticPodPath: {{.Path "kubelet" "manifests"}}
podLogsDir: {{.Path "kubelet" "logs"}}
volumePluginDir: {{.Path "kubelet" "plugins"}}
resolvConf: {{.Path "kubelet" "resolv.conf"}}
address: 127.0.0.1
port: {{.Config.Port}}
healthzPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: {{.CgroupDriver}}
cgroupRoot: {{.Config.Cgroup}}
enforceNodeAllocatable: []
{{if not .Unified}}failCgroupV1: false{{end}}
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
fileCheckFrequency: 1s
syncFrequency: 2s
volumeStatsAggPeriod: 1s
registryPullQPS: 0
serializeImagePulls: false
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
containerLogMaxSize: 4Ki
containerLogMaxFiles: 100
containerLogMonitorInterval: 3s
imageMinimumGCAge: 1ms
localStorageCapacityIsolation: true
evictionPressureTransitionPeriod: 1s
evictionHard:
  memory.available: "0%"
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "{{.Config.Eviction}}"
  imagefs.inodesFree: "0%"
featureGates:
{{- range $gate, $on := .Config.Gates}}
  {{$gate}}: {{$on}}
{{- end}}
`))

// start starts a bench and a kubelet with these feature gates and additional arguments.
func start(t *testing.T, gates map[string]bool, args ...string) *node {
	t.Helper()
	return startOn(t, harness.FromEnv(), gates, args...)
}

// startOn is start with the options of the bench.
func startOn(t *testing.T, options harness.Options, gates map[string]bool, args ...string) *node {
	t.Helper()
	b := harness.StartWith(t, options)
	if _, err := os.Stat(b.Tool("kubelet")); err != nil {
		t.Skip("this host lacks .tools/bin/kubelet (make tools)")
	}
	keepHost(t, b)
	n := &node{Bench: b, kubelet: harness.NewProcess(b, "kubelet"), config: config{Gates: gates, Eviction: "0%", Args: args}}
	var err error
	if n.config.Cgroup, err = b.MakeCgroup(); err != nil {
		t.Fatal(err)
	}
	if n.config.Port, err = harness.FreePort(); err != nil {
		t.Fatal(err)
	}
	if n.CRI, err = b.CRI(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.CRI.Close() })
	n.rest = &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", n.config.Port),
		// The kubelet creates a self-signed certificate for every bench.
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}
	if n.client, err = rest.HTTPClientFor(n.rest); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"manifests", "logs", "plugins", "share"} {
		if err := os.MkdirAll(b.Path("kubelet", folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(b.Path("kubelet", "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close(t) })
	if err := shareRoot(n.Path("kubelet", "root")); err != nil {
		t.Fatal(err)
	}
	if err := n.startKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// shareRoot makes the kubelet's directory a shared mount, so that mounts below it are visible in
// the kubelet's namespace and outside.
func shareRoot(root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("", root, "", unix.MS_SHARED, "")
}

// close stops the kubelet. Its pods are gone by then, unless its API server is absent: such a
// kubelet removes nothing.
func (n *node) close(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Logf("end of the kubelet's log:\n%s", n.kubelet.LogTail(30))
	}
	errs := []error{n.kubelet.Stop(), n.kubelet.SaveLog()}
	if n.away() {
		errs = append(errs, n.RemovePods(harness.After(t)))
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.Path("kubelet")))
	errs = append(errs, err)
	for _, m := range slices.Backward(mounts) {
		if m.Mountpoint != n.Path("kubelet", "root") && !n.away() {
			errs = append(errs, fmt.Errorf("left behind: mount %s", m.Mountpoint))
		}
		// If the root mount is shared, as with systemd, an unmount may propagate to another mount
		// of the list: unmounting that one returns EINVAL.
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); !errors.Is(err, unix.EINVAL) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// away reports whether the kubelet is configured with an API server, which does not answer.
func (n *node) away() bool { return len(n.config.Args) > 0 }

// startKubelet starts the kubelet and returns when it is healthy.
func (n *node) startKubelet(ctx context.Context) error {
	var text strings.Builder
	data := struct {
		*harness.Bench
		Config  config
		Unified bool
	}{n.Bench, n.config, cgroups.Mode() == cgroups.Unified}
	if err := configTemplate.Execute(&text, data); err != nil {
		return err
	}
	file := n.Path("kubelet.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return err
	}
	args := append([]string{
		"--config", file, "--root-dir", n.Path("kubelet", "root"), "--cert-dir", n.Path("kubelet", "pki"),
		"--hostname-override", nodeName,
		// The kubelet's garbage collection counts a container that is created but not started as
		// dead. With the default of one dead container, it sometimes removes the predecessor of a
		// new container, and with it the predecessor's exit code.
		"--maximum-dead-containers-per-container", "2",
	}, n.config.Args...)
	line := replaced(n.Bench, n.Tool("kubelet"), args...)
	if err := n.kubelet.Run(line[0], line[1:]...); err != nil {
		return err
	}
	return n.until(ctx, func() error {
		_, err := n.get(ctx, "/healthz")
		return err
	})
}

// until is [harness.AwaitEvery] for conditions that only a running kubelet can bring about: it
// returns an error when the kubelet exits.
func (n *node) until(ctx context.Context, probe func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := n.kubelet.Ended()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := harness.AwaitEvery(ctx, pause, probe)
	if err != nil && !n.kubelet.Running() {
		return fmt.Errorf("the kubelet exited: %w\n%s", n.kubelet.Exit(), n.kubelet.LogTail(20))
	}
	return err
}

// restartKubelet stops the kubelet and starts it again.
func (n *node) restartKubelet(ctx context.Context) error {
	if err := n.kubelet.Stop(); err != nil {
		return err
	}
	return n.startKubelet(ctx)
}
