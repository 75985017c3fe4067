// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/pkg/netns"
	"github.com/containerd/go-cni"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// rawRuns is how often each program runs, per round.
const rawRuns = 30

// rawLoads returns the loads of `make bench-raw`.
func rawLoads() []load {
	return []load{{name: "runc", run: rawRunc}, {name: "cni", run: rawCNI}}
}

// bundle is a copy of a container's bundle, for runc without a daemon.
type bundle struct {
	runc string // path of the program
	root string // runc's state directory, unknown to the daemon
	dir  string
}

// rawRunc runs runc without a daemon, with the bundle of a pod on the host network.
func rawRunc(ctx context.Context, s *session) error {
	config := s.bench.PodConfig("raw")
	harness.OnHostNetwork(config)
	pod, err := s.client.RunPod(ctx, config)
	if err != nil {
		return err
	}
	id, err := s.client.Run(ctx, pod, config, harness.ContainerConfig(config, "main", image.Busybox, workload, "100000"))
	if err != nil {
		return err
	}
	source := s.bench.Path("state", "io.containerd.runtime.v2.task", harness.Namespace, id)
	short, err := newBundle(s, source, "short", "true")
	if err != nil {
		return err
	}
	long, err := newBundle(s, source, "long", workload, "100000")
	if err != nil {
		return err
	}
	for i := range rawRuns + 1 {
		if err := rawLife(ctx, s, short, long, i > 0); err != nil {
			return err
		}
	}
	return s.client.RemovePod(ctx, pod)
}

// rawLife runs a container with one command, and another one in steps with an exec between them.
func rawLife(ctx context.Context, s *session, short, long bundle, counts bool) error {
	pidFile := filepath.Join(long.dir, "pid")
	for _, step := range []struct {
		row    string
		bundle bundle
		args   []string
	}{
		{"runc run true", short, []string{"run", "--bundle", short.dir, "raw"}},
		{"runc create", long, []string{"create", "--bundle", long.dir, "--pid-file", pidFile, "raw"}},
		{"runc start", long, []string{"start", "raw"}},
		{"runc exec true", long, []string{"exec", "raw", "true"}},
		{"runc kill", long, []string{"kill", "raw", "KILL"}},
		{"runc delete", long, []string{"delete", "raw"}},
	} {
		if step.args[0] == "delete" {
			if err := awaitEnd(ctx, pidFile); err != nil {
				return err
			}
		}
		took, err := step.bundle.run(ctx, step.args...)
		if err != nil {
			return fmt.Errorf("%s: %w", step.row, err)
		}
		if counts {
			s.record(step.row, "ms", milliseconds(took))
		}
	}
	return nil
}

// run runs a runc command and returns its duration.
func (b bundle) run(ctx context.Context, args ...string) (time.Duration, error) {
	// A file, not a pipe: the container would inherit the other end of a pipe.
	stderr, err := os.Create(filepath.Join(b.dir, "stderr"))
	if err != nil {
		return 0, err
	}
	defer stderr.Close()
	runc := exec.CommandContext(ctx, b.runc, append([]string{"--root", b.root}, args...)...)
	runc.Stderr = stderr
	start := time.Now()
	err = runc.Run()
	took := time.Since(start)
	if err != nil {
		said, _ := os.ReadFile(stderr.Name())
		err = fmt.Errorf("%w: %s", err, said)
	}
	return took, err
}

// awaitEnd waits until a killed container is gone.
func awaitEnd(ctx context.Context, pidFile string) error {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return err
	}
	return harness.Await(ctx, func() error {
		if err := unix.Kill(pid, 0); err == nil {
			return fmt.Errorf("process %d still exists", pid)
		}
		return nil
	})
}

// newBundle copies the bundle of a container. The copy uses the same root file system and another
// cgroup.
func newBundle(s *session, source, name string, args ...string) (bundle, error) {
	b := bundle{runc: s.bench.Tool("runc"), root: s.bench.Path("raw", "root"), dir: s.bench.Path("raw", name)}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return b, err
	}
	text, err := os.ReadFile(filepath.Join(source, "config.json"))
	if err != nil {
		return b, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return b, err
	}
	spec.Root.Path = filepath.Join(source, "rootfs")
	spec.Process.Args = args
	spec.Linux.CgroupsPath += "-raw"
	if text, err = json.Marshal(&spec); err != nil {
		return b, err
	}
	return b, os.WriteFile(filepath.Join(b.dir, "config.json"), text, 0o644)
}

// rawCNI runs the chain of CNI plugins for new namespaces.
func rawCNI(ctx context.Context, s *session) error {
	chain, err := cni.New(cni.WithPluginDir([]string{s.bench.Network.BinDir}), cni.WithPluginConfDir(s.bench.Network.ConfDir),
		cni.WithMinNetworkCount(1))
	if err != nil {
		return err
	}
	if err := chain.Load(cni.WithDefaultConf); err != nil {
		return err
	}
	for i := range rawRuns + 1 {
		add, del, err := attach(ctx, chain, s.bench.Path("raw"), fmt.Sprint("raw-", i))
		if err != nil {
			return err
		}
		if i > 0 {
			s.record("CNI chain, ADD", "ms", milliseconds(add))
			s.record("CNI chain, DEL", "ms", milliseconds(del))
		}
	}
	return nil
}

// attach creates a network namespace under dir, runs ADD and DEL for it, and removes it.
func attach(ctx context.Context, chain cni.CNI, dir, id string) (add, del time.Duration, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, err
	}
	namespace, err := netns.NewNetNS(dir)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	_, err = chain.Setup(ctx, id, namespace.GetPath())
	add = time.Since(start)
	start = time.Now()
	// DEL also runs after an error, so that nothing is left behind.
	err = errors.Join(err, chain.Remove(context.WithoutCancel(ctx), id, namespace.GetPath()))
	del = time.Since(start)
	return add, del, errors.Join(err, namespace.Remove())
}
