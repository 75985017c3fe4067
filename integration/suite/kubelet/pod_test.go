// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// nodeName is the name of the kubelet's node, and the suffix of the names of its static pods.
const nodeName = "bench"

// pod is a static pod.
type pod struct {
	*node
	t    *testing.T
	name string
	dir  string // on the host; $DIR in its manifest
}

// run writes the manifest of a pod and returns at once. The spec is YAML, in which $DIR is a
// directory of the host created for this pod; a container without an image gets busybox. When the
// test ends, the pod is removed with all its resources in the kubelet.
func (n *node) run(t *testing.T, name, spec string) *pod {
	t.Helper()
	p := &pod{node: n, t: t, name: name + "-" + nodeName, dir: n.Path("kubelet", "share", name)}
	if err := os.MkdirAll(p.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	manifest := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
	}
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(spec, "$DIR", p.dir)), &manifest.Spec); err != nil {
		t.Fatalf("pod %s: %v", name, err)
	}
	complete(&manifest.Spec)
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	// A rename: the kubelet watches the directory and must not see half a file.
	file := p.manifest()
	if err := os.WriteFile(n.Path("kubelet", name+".json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(n.Path("kubelet", name+".json"), file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pod %s: %s", name, p.describe(harness.After(t)))
		}
		if n.away() {
			return
		}
		if err := p.remove(harness.After(t)); err != nil {
			t.Error(err)
		}
	})
	return p
}

func complete(spec *corev1.PodSpec) {
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = new(int64(1))
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if containers[i].Image == "" {
				containers[i].Image = image.Busybox
			}
			containers[i].ImagePullPolicy = corev1.PullIfNotPresent
		}
	}
}

func (p *pod) manifest() string {
	return p.Path("kubelet", "manifests", strings.TrimSuffix(p.name, "-"+nodeName)+".json")
}

// remove deletes the manifest and waits until neither the kubelet nor the runtime has any resource
// of the pod.
func (p *pod) remove(ctx context.Context) error {
	status, err := p.lookup(ctx)
	if err != nil {
		return err
	}
	if err := os.Remove(p.manifest()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.until(ctx, func() error { return p.gone(ctx, status) }); err != nil {
		return err
	}
	return p.collect(ctx)
}

// gone returns an error while the kubelet still has resources of a pod.
func (p *pod) gone(ctx context.Context, status *corev1.Pod) error {
	if now, err := p.lookup(ctx); err != nil || now != nil {
		return errors.Join(fmt.Errorf("pod %s is still listed", p.name), err)
	}
	if status != nil {
		if _, err := os.Stat(p.Path("kubelet", "root", "pods", string(status.UID))); err == nil {
			return fmt.Errorf("pod %s still has its directory", p.name)
		}
	}
	sandboxes, err := p.sandboxes(ctx)
	for _, s := range sandboxes {
		if s.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			return fmt.Errorf("pod %s still has a sandbox", p.name)
		}
	}
	return err
}

// collect removes the stopped sandboxes of the pod. The kubelet does so only once a minute; the
// test does not wait for that. It tries again, because stock containerd refuses what the kubelet is
// removing at the same time.
func (p *pod) collect(ctx context.Context) error {
	return p.until(ctx, func() error {
		sandboxes, err := p.sandboxes(ctx)
		errs := []error{err}
		for _, s := range sandboxes {
			errs = append(errs, p.RemovePod(ctx, s.Id))
		}
		return errors.Join(errs...)
	})
}

func (p *pod) sandboxes(ctx context.Context) ([]*runtimeapi.PodSandbox, error) {
	filter := &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"io.kubernetes.pod.name": p.name}}
	answer, err := p.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: filter})
	return answer.GetItems(), err
}

// lookup returns the pod in the kubelet's list, or nil.
func (p *pod) lookup(ctx context.Context) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := p.getJSON(ctx, "/pods", &pods); err != nil {
		return nil, err
	}
	for _, item := range pods.Items {
		if item.Name == p.name {
			return &item, nil
		}
	}
	return nil, nil
}

// await waits until the pod's status passes a check, and returns it.
func (p *pod) await(check func(*corev1.Pod) error) *corev1.Pod {
	p.t.Helper()
	var found *corev1.Pod
	err := p.until(p.t.Context(), func() (err error) {
		if found, err = p.lookup(p.t.Context()); err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("pod %s is not listed", p.name)
		}
		return check(found)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// running waits until every container of the pod is ready.
func (p *pod) running() *corev1.Pod {
	p.t.Helper()
	return p.await(func(now *corev1.Pod) error {
		for _, c := range now.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod %s is not ready", p.name)
	})
}

// phase waits for a phase of the pod.
func (p *pod) phase(want corev1.PodPhase) *corev1.Pod {
	p.t.Helper()
	return p.await(func(now *corev1.Pod) error {
		if now.Status.Phase != want {
			return fmt.Errorf("pod %s is %s, want %s", p.name, now.Status.Phase, want)
		}
		return nil
	})
}

// describe returns the state of the pod for the log of a failed test.
func (p *pod) describe(ctx context.Context) string {
	now, err := p.lookup(ctx)
	if err != nil || now == nil {
		return fmt.Sprintf("not listed (%v)", err)
	}
	text, err := json.Marshal(now.Status)
	return fmt.Sprintf("%s %v", text, err)
}

// container returns the status of one of the pod's containers, of any kind.
func container(now *corev1.Pod, name string) corev1.ContainerStatus {
	all := append(now.Status.InitContainerStatuses, now.Status.ContainerStatuses...)
	for _, status := range all {
		if status.Name == name {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

// terminated waits until a container that is not restarted has exited.
func (p *pod) terminated(name string) *corev1.ContainerStateTerminated {
	p.t.Helper()
	now := p.await(func(now *corev1.Pod) error {
		if container(now, name).State.Terminated == nil {
			return fmt.Errorf("pod %s: container %s has not exited", p.name, name)
		}
		return nil
	})
	return container(now, name).State.Terminated
}

// restarted waits until a container was restarted and runs again, and returns how it exited.
func (p *pod) restarted(name string) *corev1.ContainerStateTerminated {
	p.t.Helper()
	now := p.await(func(now *corev1.Pod) error {
		status := container(now, name)
		if status.RestartCount == 0 || status.LastTerminationState.Terminated == nil || status.State.Running == nil {
			return fmt.Errorf("pod %s: container %s was not restarted", p.name, name)
		}
		return nil
	})
	return container(now, name).LastTerminationState.Terminated
}

// file returns the content of a file that a pod writes to its directory. It waits for the file.
func (p *pod) file(name string) string {
	p.t.Helper()
	var text []byte
	if err := harness.Await(p.t.Context(), func() (err error) {
		text, err = os.ReadFile(filepath.Join(p.dir, name))
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}
