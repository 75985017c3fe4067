// SPDX-License-Identifier: Apache-2.0

package security

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/canary"
	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
	"github.com/containerd-lite/containerd-lite/integration/lib/evilreg"
	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

type (
	podConfig       = runtimeapi.PodSandboxConfig
	containerConfig = runtimeapi.ContainerConfig
)

// repository returns an unused repository name.
func (a *attack) repository() string {
	a.made++
	return fmt.Sprintf("%s-%d", a.name, a.made)
}

// serve serves an image from the registry and returns its reference.
func (a *attack) serve(img evilimg.Image) string {
	repository := a.repository()
	manifest, content := img.Build(func(desc evilimg.Desc, content []byte) { a.evil.Put(repository, desc, content) })
	a.evil.Tag(repository, "latest", manifest, content)
	return host + "/" + repository + ":latest"
}

// image serves and pulls an image, and returns its reference.
func (a *attack) image(img evilimg.Image) string {
	a.Helper()
	ref := a.serve(img)
	if err := a.Pull(a.ctx, ref); err != nil {
		a.Fatalf("pull: %v", err)
	}
	return ref
}

// with returns the busybox image with more entries.
func (a *attack) with(entries ...evilimg.Entry) evilimg.Image {
	img := evilimg.Image{Layers: slices.Clone(a.busybox)}
	if len(entries) > 0 {
		img.Layers = append(img.Layers, evilimg.Files(entries...))
	}
	return img
}

// wantCode fails the attack unless an error has one of the codes. Only containerd-lite promises the
// codes of refusals: from stock containerd any refusal is accepted.
func (a *attack) wantCode(what string, err error, want ...codes.Code) {
	a.Helper()
	if a.Options.Daemon == harness.Stock && !slices.Contains(want, codes.OK) {
		a.refused(what, err)
		return
	}
	if !slices.Contains(want, status.Code(err)) {
		a.Errorf("%s: %s, want %v: %.300s", what, status.Code(err), want, fmt.Sprint(err))
	}
}

// refused fails the attack unless err is a refusal by the daemon: neither a deadline nor a lost
// connection.
func (a *attack) refused(what string, err error) {
	a.Helper()
	switch code := status.Code(err); code {
	case codes.OK, codes.DeadlineExceeded, codes.Canceled, codes.Unavailable:
		a.Errorf("%s: %s, want a refusal: %.300s", what, code, fmt.Sprint(err))
	}
}

// clean fails the attack if a text contains the content of the canary's files.
func (a *attack) clean(what, text string) {
	a.Helper()
	if strings.Contains(text, canary.Secret) {
		a.Errorf("%s contains a file of the host: %.300q", what, text)
	}
}

// pod is a pod that runs until the attack ends.
type pod struct {
	*attack
	id     string
	config *podConfig
}

// removeTimeout bounds the removal of a pod after an attack.
const removeTimeout = time.Minute

// quick puts a pod on the host network: it needs no CNI.
func quick(c *podConfig) { harness.OnHostNetwork(c) }

func (a *attack) podConfig(changes ...func(*podConfig)) *podConfig {
	config := a.PodConfig(a.repository())
	for _, change := range changes {
		change(config)
	}
	return config
}

func (a *attack) pod(changes ...func(*podConfig)) pod {
	a.Helper()
	config := a.podConfig(changes...)
	id, err := a.tryPod(config)
	if err != nil {
		a.Fatalf("run a pod: %v", err)
	}
	return pod{a, id, config}
}

// tryPod runs a pod that may be refused.
func (a *attack) tryPod(config *podConfig) (string, error) {
	id, err := a.RunPod(a.ctx, config)
	if err != nil {
		return "", err
	}
	a.Cleanup(func() {
		ctx, cancel := context.WithTimeout(harness.After(a.T), removeTimeout)
		defer cancel()
		if err := a.RemovePod(ctx, id); err != nil {
			a.Errorf("remove a pod: %v", err)
		}
	})
	return id, nil
}

// container returns a config. A shell runs script; "" keeps the command of the image.
func (p pod) container(img, script string, changes ...func(*containerConfig)) *containerConfig {
	p.made++
	c := harness.ContainerConfig(p.config, fmt.Sprint("c", p.made), img)
	c.Linux.SecurityContext.NamespaceOptions = p.config.Linux.SecurityContext.NamespaceOptions
	if script != "" {
		c.Command = []string{"sh", "-c", script}
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

// create creates a container.
func (p pod) create(c *containerConfig) (string, error) {
	answer, err := p.CreateContainer(p.ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: p.config, Config: c,
	})
	return answer.GetContainerId(), err
}

func (p pod) start(c *containerConfig) string {
	p.Helper()
	id, err := p.CRI.Run(p.ctx, p.id, p.config, c)
	if err != nil {
		p.Fatalf("run a container: %v", err)
	}
	return id
}

// sleeper starts a container that only sleeps.
func (p pod) sleeper(changes ...func(*containerConfig)) string {
	p.Helper()
	return p.start(p.container(image.Busybox, "exec sleep 10000", changes...))
}

// output runs a container until it exits and returns the text of its log.
func (p pod) output(c *containerConfig) string {
	p.Helper()
	id := p.start(c)
	if _, err := p.AwaitState(p.ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
		p.Fatal(err)
	}
	return p.log(c)
}

// log returns the text of a container's log.
func (p pod) log(c *containerConfig) string {
	p.Helper()
	data, err := os.ReadFile(filepath.Join(p.config.LogDirectory, c.LogPath))
	if err != nil {
		p.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(line, " ", 4)
		text.WriteString(fields[len(fields)-1])
	}
	return text.String()
}

// exec runs a command and returns its output.
func (a *attack) exec(id string, command ...string) string {
	a.Helper()
	answer, err := a.ExecSync(a.ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command})
	if err != nil {
		a.Fatalf("exec %v: %v", command, err)
	}
	return string(answer.Stdout) + string(answer.Stderr)
}

// stored returns the labels and the spec that containerd stores for a container.
func (a *attack) stored(id string) (map[string]string, *specs.Spec) {
	a.Helper()
	var labels map[string]string
	var spec *specs.Spec
	a.containerd(func(ctx context.Context, client *containerd.Client) error {
		c, err := client.LoadContainer(ctx, id)
		if err != nil {
			return err
		}
		if labels, err = c.Labels(ctx); err != nil {
			return err
		}
		spec, err = c.Spec(ctx)
		return err
	})
	return labels, spec
}

// containerd calls f with a client of containerd's own API.
func (a *attack) containerd(f func(context.Context, *containerd.Client) error) {
	a.Helper()
	client, err := a.Containerd()
	if err != nil {
		a.Fatal(err)
	}
	defer client.Close()
	if err := f(a.ctx, client); err != nil {
		a.Fatal(err)
	}
}

// initPID returns the PID of a container's init in the host's PID namespace.
func (a *attack) initPID(id string) int {
	a.Helper()
	answer, err := a.ContainerStatus(a.ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		a.Fatal(err)
	}
	var info struct{ PID int }
	if err := json.Unmarshal([]byte(answer.Info["info"]), &info); err != nil || info.PID == 0 {
		a.Fatalf("no process in the verbose status: %v", err)
	}
	return info.PID
}

// growth runs f and fails the attack if the daemon's memory grows by more than limit MiB.
func (a *attack) growth(limit int, f func()) {
	a.Helper()
	before := a.weigh()
	if err := canary.ResetPeak(a.Daemon.PID()); err != nil {
		a.Fatal(err)
	}
	f()
	after, err := canary.Weigh(a.ctx, a.Daemon.PID(), "")
	if err != nil {
		a.Fatal(err)
	}
	grown := (after.Peak - before.RSS) >> 10
	a.Logf("the daemon's memory grew by %d MiB, from %d MiB", grown, before.RSS>>10)
	if grown > limit {
		a.Errorf("the daemon's memory grew by %d MiB, more than %d", grown, limit)
	}
}

// weigh runs a garbage collection in the daemon and returns its weight.
func (a *attack) weigh() canary.Weight {
	a.Helper()
	w, err := canary.Weigh(a.ctx, a.Daemon.PID(), a.debug)
	if err != nil {
		a.Fatal(err)
	}
	return w
}

// noLeakAfter runs f and fails the attack unless the daemon has as many goroutines and open files
// as before, after time to release them; slack allows for unrelated goroutines.
func (a *attack) noLeakAfter(slack int, f func()) {
	a.Helper()
	before := a.weigh()
	f()
	var after canary.Weight
	if err := harness.Await(a.ctx, func() error {
		after = a.weigh()
		if after.Goroutines > before.Goroutines+slack || after.Files > before.Files+slack {
			return fmt.Errorf("the daemon has %d goroutines and %d files, before the attack %d and %d",
				after.Goroutines, after.Files, before.Goroutines, before.Files)
		}
		return nil
	}); err != nil {
		a.Errorf("%v", err)
	}
}

// noCredentials fails the attack if a registry received credentials, and returns the number of
// requests it received.
func (a *attack) noCredentials(what string, r *evilreg.Registry) int {
	a.Helper()
	requests := r.Requests("/")
	for _, q := range requests {
		for _, found := range q.Credentials() {
			a.Errorf("%s received %s with %s %s", what, found, q.Method, q.Path)
		}
	}
	return len(requests)
}

// daemonLog returns the daemon's log so far.
func (a *attack) daemonLog() []byte {
	a.Helper()
	text, err := os.ReadFile(a.Path("daemon.log"))
	if err != nil {
		a.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

func (a *attack) writeFile(file string, content []byte) {
	a.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		a.Fatal(err)
	}
}

// contentBytes returns the size of the daemon's content store.
func (a *attack) contentBytes() int64 {
	return a.sizeOf(a.Path("root", "io.containerd.content.v1.content"))
}

// sizeOf returns the total size of the files below a directory.
func (a *attack) sizeOf(dir string) int64 {
	a.Helper()
	var size int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "rootfs" || name == "shm") {
			return fs.SkipDir // of containers and pods; limited separately
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		a.Fatal(err)
	}
	return size
}
