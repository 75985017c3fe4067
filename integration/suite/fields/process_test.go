// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func process(t *testing.T, b bench) {
	p := b.pod(t, "process", nil)
	id := p.run(t, "main", func(c *runtimeapi.ContainerConfig) {
		c.Command, c.Args = []string{"sh", "-c"}, []string{"sleep 1000; :", "zero", "one two"}
		c.WorkingDir = "/var/made/for it"
		c.Envs = []*runtimeapi.KeyValue{{Key: "COLOR", Value: []byte("red")}, {Key: "LINES2", Value: []byte("a\nb=c")}}
		c.Tty = true
		c.Annotations = map[string]string{"note": "1"}
	})
	equal(t, "arguments", b.sh(t, id, "tr '\\0' '|' < /proc/1/cmdline"), "sh|-c|sleep 1000; :|zero|one two|")
	equal(t, "working directory", b.sh(t, id, "readlink /proc/1/cwd"), "/var/made/for it")
	env := b.sh(t, id, "tr '\\0' '|' < /proc/1/environ")
	contains(t, "environment", env, "|COLOR=red|LINES2=a\nb=c|")
	contains(t, "environment of a terminal", env, "TERM=xterm")
	contains(t, "terminal", b.sh(t, id, "readlink /proc/1/fd/0"), "/dev/pts/0")

	s := b.status(t, id)
	equal(t, "image_id", s.ImageId, b.pull(t, image.Busybox))
	equal(t, "annotation", s.Annotations["note"], "1")
	equal(t, "log_path", s.LogPath, filepath.Join(p.config.LogDirectory, "main.log"))
}

func mounts(t *testing.T, b bench) {
	dir := b.Path("mounts")
	if err := os.MkdirAll(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("of the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	asked := []*runtimeapi.Mount{
		{HostPath: filepath.Join(dir, "link"), ContainerPath: "/link"},
		{HostPath: filepath.Join(dir, "file"), ContainerPath: "/etc/one", Readonly: true},
		{HostPath: dir, ContainerPath: "/rro", Readonly: true, RecursiveReadOnly: true},
		{HostPath: dir, ContainerPath: "/noexec", MountOptions: []string{"noexec", "nosuid", "nodev"}},
		{HostPath: filepath.Join(dir, "new"), ContainerPath: "/new"},
	}
	p := b.pod(t, "mounts", nil)
	id := p.run(t, "main", withMounts(asked...))
	b.sh(t, id, "echo 1 > /link/written")
	if _, err := os.Stat(filepath.Join(dir, "real", "written")); err != nil {
		t.Error(err)
	}
	equal(t, "a file", b.sh(t, id, "cat /etc/one"), "of the host")
	for _, name := range []string{"/etc/one", "/rro/x"} {
		contains(t, "write to "+name, b.sh(t, id, "echo > "+name+" || true"), "Read-only file system")
	}
	contains(t, "mount_options", b.sh(t, id, "grep ' /noexec ' /proc/self/mounts"), " rw,nosuid,nodev,noexec,")
	contains(t, "a program on the noexec mount",
		b.sh(t, id, "cp /bin/busybox /noexec/true; /noexec/true 2>&1 || true"), "Permission denied")
	if diff := cmp.Diff(asked, b.status(t, id).Mounts, protocmp.Transform()); diff != "" {
		t.Errorf("mounts in the status (-want +got):\n%s", diff)
	}
	for _, options := range [][]string{{"suid"}, {"noexec", "noexec"}, {"bind"}, {"rshared"}, {""}} {
		_, err := p.create(t, "bad", withMounts(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/m", MountOptions: options}))
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("mount_options %q: %v", options, err)
		}
	}
	answer, err := b.Status(t.Context(), &runtimeapi.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "feature mount_options", answer.Features.MountOptions, true)
}

// devices uses a device node of the host and a CDI device, which sets a variable.
func devices(t *testing.T, b bench) {
	spec := `{"cdiVersion": "0.6.0", "kind": "example.com/dev", "devices": [{"name": "one", "containerEdits": {
		"env": ["CDI_ONE=yes"], "deviceNodes": [{"path": "/dev/cdi-one", "hostPath": "/dev/zero"}]}}]}`
	if err := os.MkdirAll(b.Path("cdi"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := b.Path("cdi", "example.json")
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(file) })
	p := b.pod(t, "devices", nil)
	id := p.run(t, "main", func(c *runtimeapi.ContainerConfig) {
		c.Devices = []*runtimeapi.Device{{HostPath: "/dev/fuse", ContainerPath: "/dev/readable", Permissions: "r"}}
		c.CDIDevices = []*runtimeapi.CDIDevice{{Name: "example.com/dev=one"}}
	})
	equal(t, "open a device to read", b.sh(t, id, ": < /dev/readable"), "")
	contains(t, "open the device to write", b.sh(t, id, ": > /dev/readable || true"), "Operation not permitted")
	equal(t, "CDI device", b.sh(t, id, "head -c 3 /dev/cdi-one | wc -c; echo $CDI_ONE"), "3\nyes")

	_, err := p.create(t, "unknown", func(c *runtimeapi.ContainerConfig) {
		c.CDIDevices = []*runtimeapi.CDIDevice{{Name: "example.com/dev=two"}}
	})
	equal(t, "code for an unknown CDI device", status.Code(err), codes.NotFound)
}

// stopSignals stops containers whose exit code is the number of the signal.
func stopSignals(t *testing.T, b bench) {
	p := b.pod(t, "signals", nil)
	for _, c := range []struct {
		name   string
		signal runtimeapi.Signal
		want   runtimeapi.Signal
		code   int32
	}{
		{"usr1", runtimeapi.Signal_SIGNAL_SIGUSR1, runtimeapi.Signal_SIGNAL_SIGUSR1, 10},
		{"realtime", runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3, runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3, 37},
		{"default", runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT, runtimeapi.Signal_SIGNAL_SIGTERM, 15},
	} {
		id := p.run(t, c.name, func(config *runtimeapi.ContainerConfig) {
			config.StopSignal = c.signal
			config.Command = []string{"sh", "-c", `for s in 10 15 37; do trap "exit $s" $s; done; touch /ready; while :; do sleep 0.05; done`}
		})
		equal(t, "stop_signal of "+c.name, b.status(t, id).StopSignal, c.want)
		if err := harness.Await(t.Context(), func() error {
			_, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"test", "-e", "/ready"}})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.sh(t, id, "while [ ! -e /ready ]; do sleep 0.05; done")
		if _, err := b.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 60}); err != nil {
			t.Fatal(err)
		}
		equal(t, "exit code of "+c.name, b.status(t, id).ExitCode, c.code)
	}
}

func windows(t *testing.T, b bench) {
	config := b.PodConfig("windows")
	config.Windows = &runtimeapi.WindowsPodSandboxConfig{}
	_, err := b.RunPod(t.Context(), config)
	equal(t, "code for a pod", status.Code(err), codes.InvalidArgument)
	p := b.pod(t, "linux", nil)
	_, err = p.create(t, "windows", func(c *runtimeapi.ContainerConfig) { c.Windows = &runtimeapi.WindowsContainerConfig{} })
	equal(t, "code for a container", status.Code(err), codes.InvalidArgument)
	if !strings.Contains(status.Convert(err).Message(), "windows") {
		t.Errorf("the message does not name the field: %v", err)
	}
	id := p.run(t, "main", nil)
	_, err = b.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: id, Linux: &runtimeapi.LinuxContainerResources{CpuShares: 2}, Windows: &runtimeapi.WindowsContainerResources{},
	})
	equal(t, "code for an update", status.Code(err), codes.InvalidArgument)
}
