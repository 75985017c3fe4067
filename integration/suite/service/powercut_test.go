// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

const (
	// cuts is the number of power failures.
	cuts = 20
	// longest is the maximum time from the first pod of a boot to the power failure: several
	// lifetimes of a pod in an emulated machine.
	longest = 20 * time.Second
	// workers is the number of pods that start and stop concurrently.
	workers = 4
)

var errPowerCut = errors.New("power failure")

// TestPowerCut cuts the power of a node at random moments while pods start and stop. Each time the
// daemon must start, list all objects whose creation it acknowledged, list none whose removal it
// acknowledged, and be able to remove everything.
func TestPowerCut(t *testing.T) {
	g := newGuest(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("random seed: %d", seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	books := newLedger()
	for i := range cuts {
		moment := time.Duration(moments.Int64N(int64(longest)))
		g.cut(t, books, moment)
		t.Logf("cut %d, %s after the first pod: %s", i+1, moment.Round(time.Millisecond), books.count())
	}
	if code, err := g.follow(t.Context(), t, books, "recover", nil); err != nil || code != 0 {
		t.Errorf("after the last power cut: exit code %d, %v\n%s", code, err, strings.Join(books.said, "\n"))
	}
	for _, line := range books.wrong {
		t.Error(line)
	}
}

// cut boots the guest and kills it at a given moment after its pods have begun to start and stop.
func (g guest) cut(t *testing.T, books *ledger, moment time.Duration) {
	t.Helper()
	ctx, cut := context.WithCancelCause(t.Context())
	defer cut(nil)
	code, err := g.follow(ctx, t, books, "churn", func() {
		time.AfterFunc(moment, func() { cut(errPowerCut) })
	})
	if !errors.Is(err, errPowerCut) {
		t.Fatalf("the guest ended before the power failure: exit code %d, %v\n%s", code, err, strings.Join(books.said, "\n"))
	}
}

// follow runs a part and records its output; begun is called when the first pod has been created.
func (g guest) follow(ctx context.Context, t *testing.T, books *ledger, part string, begun func()) (int, error) {
	t.Helper()
	said, output := io.Pipe()
	command := g.command(t, part)
	var code int
	ended := make(chan error)
	go func() {
		var err error
		code, err = g.node.Run(ctx, command, output)
		output.Close()
		ended <- err
	}()
	books.boot()
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		books.write(lines.Text())
		if begun != nil && books.begun() {
			begun()
			begun = nil
		}
	}
	return code, errors.Join(<-ended, lines.Err())
}

// churn runs in the guest: it prints and removes the objects of the last boot, then starts and
// stops pods until the power fails.
func churn(t *testing.T, m machine) {
	m.prepare(t)
	n := connect(t)
	recoverNode(t, n)
	failed := make(chan error)
	for worker := range workers {
		go func() {
			for i := 0; ; i++ {
				if err := n.life(t.Context(), fmt.Sprintf("pod-%d-%d", worker, i)); err != nil {
					failed <- err
				}
			}
		}()
	}
	go func() {
		for {
			if err := n.imageLife(t.Context()); err != nil {
				failed <- err
			}
		}
	}()
	t.Fatal(<-failed)
}

// recoverNode prints the objects that the daemon lists after a boot, and removes them.
func recoverNode(t *testing.T, n node) {
	await(t, func() error {
		_, err := n.Version(t.Context(), &runtimeapi.VersionRequest{})
		return err
	})
	if restarts := property(t, "NRestarts"); restarts != "0" {
		t.Errorf("the daemon was restarted %s times", restarts)
	}
	fmt.Println("freed", strings.Count(run(t, "journalctl", "--boot", "--unit="+unit, "--output=cat"), "released orphaned host-local address"))
	n.printAll(t)
	n.removeAll(t)
	if err := awaitBare(t); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	fmt.Println("cleared")
}

// printAll prints all objects.
func (n node) printAll(t *testing.T) {
	t.Helper()
	pods, err := n.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		fmt.Println("listed pod", p.Id, p.State)
	}
	containers, err := n.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers.Containers {
		answer, err := n.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("listed container", c.Id, c.State, answer.Status.ExitCode)
	}
	images, err := n.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images.Images {
		for _, tag := range i.RepoTags {
			fmt.Println("listed image", tag)
		}
	}
	fmt.Println("listed everything")
}

// removeAll removes pods, and the image that imageLife pulls.
func (n node) removeAll(t *testing.T) {
	t.Helper()
	n.removeAllPods(t)
	if _, err := n.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image.Nginx}}); err != nil {
		t.Error(err)
	}
}

// imageLife pulls an image and removes it.
func (n node) imageLife(ctx context.Context) error {
	spec := &runtimeapi.ImageSpec{Image: image.Nginx}
	if _, err := n.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec}); err != nil {
		return err
	}
	fmt.Println("made image", image.Nginx)
	fmt.Println("removing image", image.Nginx)
	if _, err := n.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: spec}); err != nil {
		return err
	}
	fmt.Println("removed image", image.Nginx)
	return nil
}

// life runs a pod with one container that exits and one that keeps running, and removes them. It
// prints each step that the daemon has acknowledged.
func (n node) life(ctx context.Context, name string) error {
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "churn", Uid: name},
		Hostname:     name,
		LogDirectory: filepath.Join("/var/log/pods", name),
		Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: "churn.slice"},
	}
	sandbox, err := n.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		return err
	}
	fmt.Println("made pod", sandbox.PodSandboxId)
	ends, err := n.runContainer(ctx, sandbox.PodSandboxId, config, "ends", "exit 7")
	if err != nil {
		return err
	}
	stays, err := n.runContainer(ctx, sandbox.PodSandboxId, config, "stays", "exec sleep 1000")
	if err != nil {
		return err
	}
	if err := n.awaitExit(ctx, ends); err != nil {
		return err
	}
	objects := []any{"pod " + sandbox.PodSandboxId, "container " + ends, "container " + stays}
	for _, object := range objects {
		fmt.Println("removing", object)
	}
	if _, err := n.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox.PodSandboxId}); err != nil {
		return err
	}
	if _, err := n.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: sandbox.PodSandboxId}); err != nil {
		return err
	}
	for _, object := range objects {
		fmt.Println("removed", object)
	}
	return nil
}

func (n node) runContainer(ctx context.Context, sandbox string, config *runtimeapi.PodSandboxConfig, name, script string) (string, error) {
	created, err := n.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId:  sandbox,
		SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: name},
			Image:    &runtimeapi.ImageSpec{Image: image.Busybox},
			Command:  []string{"sh", "-c", script},
			LogPath:  name + ".log",
		},
	})
	if err != nil {
		return "", err
	}
	fmt.Println("made container", created.ContainerId)
	_, err = n.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId})
	return created.ContainerId, err
}

func (n node) awaitExit(ctx context.Context, container string) error {
	return harness.Await(ctx, func() error {
		answer, err := n.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container})
		if err != nil {
			return err
		}
		if answer.Status.State != runtimeapi.ContainerState_CONTAINER_EXITED {
			return fmt.Errorf("container %s is %s", container, answer.Status.State)
		}
		fmt.Println("exited container", container, answer.Status.ExitCode)
		return nil
	})
}
