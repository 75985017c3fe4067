// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	containerd "github.com/containerd/containerd/v2/client"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// bench is a bench with its two clients.
type bench struct {
	*harness.Bench
	*harness.CRI
	containerd *containerd.Client
	fixture    fixture
}

// look returns the leaves of a container.
func (b bench) look(ctx context.Context, pod, id string) (leaves, error) {
	container, err := b.containerd.LoadContainer(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := container.Spec(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := b.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, err
	}
	info, err := container.Info(ctx)
	if err != nil {
		return nil, err
	}
	found := leaves{}
	n := b.normaliser(pod, id)
	for prefix, value := range map[string]any{
		"": s, "labels": info.Labels, "status": message{answer.Status}, "files": files(s),
		"hidden mounts": hiddenMounts(s.Mounts), "namespace facts": b.namespaceFacts(ctx, s),
	} {
		if err := found.add(prefix, value, n); err != nil {
			return nil, fmt.Errorf("%s: %w", prefix, err)
		}
	}
	return found, nil
}

// lookAtPod returns the leaves of a pod.
func (b bench) lookAtPod(ctx context.Context, pod string) (leaves, error) {
	answer, err := b.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		return nil, err
	}
	found := leaves{}
	return found, found.add("status", message{answer.Status}, b.normaliser(pod, "no container"))
}

// message is compared in its protobuf JSON form, in which enums have names.
type message struct{ proto.Message }

// MarshalJSON makes encoding/json use protojson.
func (m message) MarshalJSON() ([]byte, error) { return protojson.Marshal(m.Message) }

var (
	processNamespace = regexp.MustCompile(`/proc/\d+/ns/`)
	digest           = regexp.MustCompile(`\b[0-9a-f]{32}(?:[0-9a-f]{32})?\b`)
	moment           = regexp.MustCompile(`"(createdAt|startedAt)": ?"\d+"`)
	address          = regexp.MustCompile(`\b198\.18\.\d+\.\d+\b`)
)

// normaliser replaces values that differ from run to run by placeholders.
func (b bench) normaliser(pod, container string) func(string) string {
	known := strings.NewReplacer(pod, "<pod>", container, "<container>", b.Root, "<root>", b.fixture.root, "<fixture>")
	return func(s string) string {
		s = processNamespace.ReplaceAllString(known.Replace(s), "/proc/<pid>/ns/")
		s = address.ReplaceAllString(digest.ReplaceAllString(s, "<digest>"), "<address>")
		return moment.ReplaceAllString(s, `"$1":"<time>"`)
	}
}

// files describes the files of the pod that the container sees, as they are on the host.
func files(s *specs.Spec) map[string]string {
	found := map[string]string{}
	for _, m := range s.Mounts {
		switch m.Destination {
		case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf":
			content, err := os.ReadFile(m.Source)
			found[m.Destination] = fmt.Sprintf("%s %q %v", owner(m.Source), content, err)
		case "/dev/shm":
			var fs syscall.Statfs_t
			err := syscall.Statfs(m.Source, &fs)
			found[m.Destination] = fmt.Sprintf("%s type %x, %d bytes %v", owner(m.Source), fs.Type, int64(fs.Blocks)*fs.Bsize, err)
		}
	}
	return found
}

func owner(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%s %d:%d", info.Mode(), stat.Uid, stat.Gid)
}

// hiddenMounts returns the mounts that a later one covers. The order of mounts is otherwise
// irrelevant.
func hiddenMounts(mounts []specs.Mount) []string {
	hidden := []string{}
	for i, early := range mounts {
		for _, late := range mounts[i+1:] {
			if strings.HasPrefix(early.Destination+"/", strings.TrimSuffix(late.Destination, "/")+"/") {
				hidden = append(hidden, early.Destination+" by "+late.Destination)
			}
		}
	}
	return hidden
}

// watched are the kernel parameters that cases set, or that a default config sets.
var watched = []string{
	"kernel.hostname", "kernel.domainname", "kernel.shm_rmid_forced", "kernel.msgmax", "fs.mqueue.msg_max",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.ip_local_port_range", "net.core.somaxconn",
}

// namespaceFacts returns the names and parameters of the network, IPC and UTS namespaces that the
// spec joins.
func (b bench) namespaceFacts(ctx context.Context, s *specs.Spec) map[string]string {
	args := []string{}
	for _, ns := range s.Linux.Namespaces {
		option, ours := map[specs.LinuxNamespaceType]string{
			specs.NetworkNamespace: "--net=", specs.IPCNamespace: "--ipc=", specs.UTSNamespace: "--uts=",
		}[ns.Type]
		if ours && ns.Path != "" {
			args = append(args, option+ns.Path)
		}
	}
	out, err := exec.CommandContext(ctx, "nsenter", append(append(args, "sysctl", "-e"), watched...)...).CombinedOutput()
	if err != nil {
		return map[string]string{"error": fmt.Sprintf("%v: %s", err, out)}
	}
	facts := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		facts[key] = value
	}
	return facts
}
