// SPDX-License-Identifier: Apache-2.0

package security

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Attacks by processes of containers, and by the clients that start them.

// c03 creates containers of one image at once, each with its own secret variable.
func c03(a *attack) {
	p := a.pod(quick)
	const count = 32
	ids := make([]string, count)
	errs := make([]error, count)
	configs := make([]*containerConfig, count)
	for i := range count {
		configs[i] = p.container(image.Busybox, "true", func(c *containerConfig) {
			c.Envs = []*runtimeapi.KeyValue{{Key: fmt.Sprint("SECRET_", i), Value: []byte("x")}}
		})
	}
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { ids[i], errs[i] = p.create(configs[i]) })
	}
	group.Wait()
	for i, id := range ids {
		if errs[i] != nil {
			a.Fatal(errs[i])
		}
		_, spec := a.stored(id)
		secrets := slices.DeleteFunc(spec.Process.Env, func(s string) bool { return !strings.HasPrefix(s, "SECRET_") })
		if !slices.Equal(secrets, []string{fmt.Sprintf("SECRET_%d=x", i)}) {
			a.Errorf("container %d has the secrets %v", i, secrets)
		}
	}
}

// c09 checks the capabilities of processes that are started in every possible way.
func c09(a *attack) {
	p := a.pod(quick)
	const script = "grep Cap /proc/self/status"
	asUser := func(c *containerConfig) { c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 1000} }
	more := func(c *containerConfig) {
		c.Linux.SecurityContext.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_ADMIN", "NET_ADMIN"}}
	}
	for name, changes := range map[string][]func(*containerConfig){
		"root": nil, "user": {asUser}, "root with more": {more}, "user with more": {more, asUser},
	} {
		look := func(how, out string) {
			zero := []string{"CapInh", "CapAmb"}
			if strings.HasPrefix(name, "user") {
				zero = append(zero, "CapEff", "CapPrm")
			}
			for _, set := range zero {
				if !strings.Contains(out, set+":\t0000000000000000\n") {
					a.Errorf("%s, by %s: %s is not empty:\n%s", name, how, set, out)
				}
			}
		}
		look("start", p.output(p.container(image.Busybox, script, changes...)))
		look("exec", a.exec(p.sleeper(changes...), "sh", "-c", script))
	}
}

// c10 has many commands write output without end.
func c10(a *attack) {
	p := a.pod(quick)
	id := p.sleeper()
	large := grpc.MaxCallRecvMsgSize(64 << 20)
	// The daemon's state directories must not grow either: O04.
	before := a.sizeOf(a.Path("state")) + a.sizeOf(a.Path("root", "io.containerd.grpc.v1.cri"))
	const callers, limit = 64, 64 // MiB, in all
	a.growth(limit, func() {
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				// There is no answer: the command must be killed at its timeout.
				_, _ = a.ExecSync(a.ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"yes"}, Timeout: 3}, large)
			})
		}
		group.Wait()
		if grown := a.sizeOf(a.Path("state")) + a.sizeOf(a.Path("root", "io.containerd.grpc.v1.cri")) - before; grown > 1<<20 {
			a.Errorf("the files of the daemon grew by %d bytes", grown)
		}
	})
	answer, err := a.ExecSync(a.ctx, &runtimeapi.ExecSyncRequest{
		ContainerId: id, Cmd: []string{"sh", "-c", "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2"},
	}, large)
	if err == nil && len(answer.Stdout)+len(answer.Stderr) > 32<<20 {
		a.Errorf("ExecSync answered %d and %d bytes", len(answer.Stdout), len(answer.Stderr))
	}
}

// c13 runs commands whose children keep the streams open.
func c13(a *attack) {
	p := a.pod(quick)
	id := p.sleeper()
	a.noLeakAfter(10, func() {
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(a.ctx, 30*time.Second)
				defer cancel()
				request := &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sh", "-c", "sleep 86400 & exit 0"}}
				if i%2 == 0 {
					request.Timeout = 2
				}
				if _, err := a.ExecSync(ctx, request); ctx.Err() != nil {
					a.Errorf("ExecSync waits for the child of a command that has exited: %v", err)
				}
			})
		}
		group.Wait()
		if _, err := a.StopContainer(a.ctx, &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
			a.Fatal(err)
		}
	})
}

// c15 checks the groups of processes by a file that group 2000 may not read.
func c15(a *attack) {
	owned := evilimg.File("secret", "group's", 0o604)
	owned.Gid = 2000
	img := a.with(owned)
	img.Config = command("true")
	ref := a.image(img)
	p := a.pod(quick)
	for _, policy := range []runtimeapi.SupplementalGroupsPolicy{
		runtimeapi.SupplementalGroupsPolicy_Merge, runtimeapi.SupplementalGroupsPolicy_Strict,
	} {
		as := func(c *containerConfig) {
			sc := c.Linux.SecurityContext
			sc.RunAsUser, sc.RunAsGroup = &runtimeapi.Int64Value{Value: 1000}, &runtimeapi.Int64Value{Value: 2000}
			sc.SupplementalGroups, sc.SupplementalGroupsPolicy = []int64{3000}, policy
		}
		const script = "id -G; cat /secret 2>&1"
		look := func(how, out string) {
			if !strings.HasPrefix(out, "2000 3000\n") || strings.Contains(out, "group's") {
				a.Errorf("%s, %s: groups and the content of a file that group 2000 may not read: %q", policy, how, out)
			}
		}
		look("start", p.output(p.container(ref, script, as)))
		id := p.start(p.container(ref, "exec sleep 1000", as))
		look("exec", a.exec(id, "sh", "-c", script))
	}
}

// c16 reads files that identify containers or reveal secrets of the host.
func c16(a *attack) {
	p := a.pod(quick)
	const script = `for f in /proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats \
		/proc/sched_debug /proc/scsi /proc/interrupts /sys/firmware /sys/devices/virtual/powercap \
		/sys/devices/system/cpu/cpu*/thermal_throttle; do
		if [ -d $f ]; then out=$(ls -A $f 2>/dev/null); else out=$(head -c 16 $f 2>/dev/null); fi
		[ -z "$out" ] || echo $f
	done
	for f in /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger; do
		[ ! -e $f ] || grep -q " $f ro," /proc/self/mountinfo || echo $f is writable
	done`
	if got := p.output(p.container(image.Busybox, script)); got != "" {
		a.Errorf("the container can read %q", got)
	}
	// A list in the request replaces the default list, and nothing else does.
	named := p.container(image.Busybox, "cat /etc/passwd", func(c *containerConfig) {
		c.Linux.SecurityContext.MaskedPaths = []string{"/etc/passwd"}
		c.Linux.SecurityContext.ReadonlyPaths = []string{"/etc"}
	})
	if got := p.output(named); got != "" {
		a.Errorf("a path that the request masks reads as %q", got)
	}
}

// cve202531133 asks for a container without masked paths, which is harmless only in a user
// namespace.
func cve202531133(a *attack) {
	p := a.pod(quick)
	id, err := p.create(p.container(image.Busybox, "true", func(c *containerConfig) {
		c.Linux.SecurityContext.MaskedPaths, c.Linux.SecurityContext.ReadonlyPaths = []string{}, []string{}
	}))
	if err != nil {
		a.Fatal(err)
	}
	if _, spec := a.stored(id); len(spec.Linux.MaskedPaths) < 10 || len(spec.Linux.ReadonlyPaths) < 5 {
		a.Errorf("masked paths %v, read-only paths %v", spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths)
	}
}

// c20 checks the cgroups of the processes of a pod with a user namespace.
func c20(a *attack) {
	p := a.pod(inUserNamespace)
	id := p.sleeper(func(c *containerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}
	})
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", a.initPID(id)))
	if err != nil {
		a.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		counts := fields[1] == "" || strings.Contains(fields[1], "memory") || strings.Contains(fields[1], "pids")
		if counts && !strings.HasPrefix(fields[2], p.config.Linux.CgroupParent) {
			a.Errorf("the container is in %s, want below %s", strings.TrimSpace(line), p.config.Linux.CgroupParent)
		}
	}
	out := p.start(p.container(image.Busybox, "x=a; while :; do x=$x$x; done", func(c *containerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}
	}))
	status, err := a.AwaitState(a.ctx, out, runtimeapi.ContainerState_CONTAINER_EXITED)
	if err != nil || status.ExitCode != 137 {
		a.Errorf("a container above its limit: exit code %d, %v", status.GetExitCode(), err)
	}
}

// cve202325809 checks that a pod with a user namespace cannot write to cgroups.
func cve202325809(a *attack) {
	p := a.pod(inUserNamespace)
	const script = `grep ' - cgroup' /proc/self/mountinfo | awk '{print $6}' | grep -v '^ro'; mkdir /sys/fs/cgroup/memory/x 2>/dev/null && echo made`
	if got := p.output(p.container(image.Busybox, script)); got != "" {
		a.Errorf("writable cgroups: %q", got)
	}
	id := p.sleeper()
	if _, spec := a.stored(id); !slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == "cgroup" }) && unified() {
		a.Errorf("no cgroup namespace")
	}
}

func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// o01 has containers use up their memory, and checks the shim that watches them.
func o01(a *attack) {
	p := a.pod()
	id := p.sleeper()
	shims, err := a.Processes("containerd-shim")
	if err != nil || len(shims) == 0 {
		a.Fatalf("shims %v, %v", shims, err)
	}
	for _, shim := range shims {
		cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", shim))
		if err != nil || bytes.Contains(cgroup, []byte(id)) || bytes.Contains(cgroup, []byte(p.id)) {
			a.Errorf("the shim is in the cgroup of its pod: %s, %v", cgroup, err)
		}
	}
	for range 5 {
		id := p.start(p.container(image.Busybox, "x=a; while :; do x=$x$x; done", func(c *containerConfig) {
			c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 16 << 20}
		}))
		status, err := a.AwaitState(a.ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED)
		if err != nil || status.ExitCode != 137 || status.Reason != "OOMKilled" {
			a.Errorf("a container above its limit: exit code %d, reason %q, %v", status.GetExitCode(), status.GetReason(), err)
		}
	}
	// The subcommands of a shim, such as start, are short-lived processes with the same name.
	if err := harness.Await(a.ctx, func() error {
		now, err := a.Processes("containerd-shim")
		if err == nil && !slices.Equal(now, shims) {
			err = fmt.Errorf("shims changed from %v to %v", shims, now)
		}
		return err
	}); err != nil {
		a.Error(err)
	}
}

// o07 tries to add lines to files of the pod through the values that they are generated from.
func o07(a *attack) {
	p := a.pod(quick)
	for _, home := range []string{"/\nintruder::0:0::/:/bin/sh", "/\rintruder", "/:0:0:/"} {
		c := p.container(image.Busybox, "cat /etc/passwd", func(c *containerConfig) {
			c.Envs = []*runtimeapi.KeyValue{{Key: "HOME", Value: []byte(home)}}
			c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 4321}
		})
		if got := p.output(c); strings.Contains(got, "intruder") || strings.Contains(got, "4321") || strings.Count(got, "\n") != 3 {
			a.Errorf("/etc/passwd of a container with home directory %q: %s", home, got)
		}
	}
	for name, change := range map[string]func(*containerConfig){
		"user with a newline":      func(c *containerConfig) { c.Linux.SecurityContext.RunAsUsername = "root\nintruder" },
		"directory with a NUL":     func(c *containerConfig) { c.WorkingDir = "/\x00" },
		"directory not absolute":   func(c *containerConfig) { c.WorkingDir = "tmp" },
		"variable with =":          func(c *containerConfig) { c.Envs = variable("A=B", "x") },
		"variable with a newline":  func(c *containerConfig) { c.Envs = variable("A\nB", "x") },
		"value with a NUL":         func(c *containerConfig) { c.Envs = variable("A", "x\x00LD_PRELOAD=x") },
		"variable without a name":  func(c *containerConfig) { c.Envs = variable("", "x") },
		"argument with a NUL":      func(c *containerConfig) { c.Command = []string{"true", "a\x00b"} },
		"container path with NUL":  func(c *containerConfig) { c.Mounts = []*runtimeapi.Mount{{HostPath: "/tmp", ContainerPath: "/a\x00b"}} },
		"container path with line": func(c *containerConfig) { c.Mounts = []*runtimeapi.Mount{{HostPath: "/tmp", ContainerPath: "/a\nb"}} },
	} {
		_, err := p.create(p.container(image.Busybox, "true", change))
		a.wantCode(name, err, codes.InvalidArgument, codes.FailedPrecondition)
	}
	for name, change := range map[string]func(*podConfig){
		"hostname": func(c *podConfig) { c.Hostname = "a\n127.0.0.1 evil" },
		"dns server": func(c *podConfig) {
			c.DnsConfig = &runtimeapi.DNSConfig{Servers: []string{"192.0.2.1\nnameserver 192.0.2.2"}}
		},
		"dns search": func(c *podConfig) { c.DnsConfig = &runtimeapi.DNSConfig{Searches: []string{"a\nnameserver 192.0.2.2"}} },
		"dns option": func(c *podConfig) { c.DnsConfig = &runtimeapi.DNSConfig{Options: []string{"a\nnameserver 192.0.2.2"}} },
	} {
		_, err := a.tryPod(a.podConfig(change))
		a.wantCode(name+" with a newline", err, codes.InvalidArgument)
	}
}

func variable(key, value string) []*runtimeapi.KeyValue {
	return []*runtimeapi.KeyValue{{Key: key, Value: []byte(value)}}
}

// m12 sets variables twice, and to bytes that are not UTF-8.
func m12(a *attack) {
	p := a.pod(quick)
	c := p.container(image.Busybox, "printf %s \"$A\"; printf %s \"$B\" | wc -c", func(c *containerConfig) {
		c.Envs = append(variable("A", "first"), variable("A", "last")...)
		c.Envs = append(c.Envs, variable("B", "\xff\xfe")...)
	})
	// The OCI spec is JSON: invalid UTF-8 becomes U+FFFD, as with other runtimes.
	if got := p.output(c); got != "last2\n" && got != "last6\n" {
		a.Errorf("a duplicate variable and the size of an invalid one: %q, want last2 or last6", got)
	}
}

// hookEnvironment has a hook of the node's CDI device record its environment: CVE-2024-0132 and
// CVE-2025-23266.
func hookEnvironment(a *attack) {
	file := filepath.Join(a.TempDir(), "environ")
	a.cdi(`"containerEdits": {"hooks": [{"hookName": "createRuntime", "path": "/bin/sh",
		"args": ["sh", "-c", "tr '\\0' '\\n' </proc/self/environ >` + file + `; env >>` + file + `"]}]}`)
	p := a.pod(quick)
	c := p.container(image.Busybox, "true", func(c *containerConfig) {
		c.Envs = append(variable("LD_PRELOAD", "/evil.so"), variable("PATH", "/evil:/bin")...)
		c.CDIDevices = []*runtimeapi.CDIDevice{{Name: "evil.test/c=all"}}
	})
	p.output(c)
	data, err := os.ReadFile(file)
	if err != nil {
		a.Fatalf("the hook did not run: %v", err)
	}
	if bytes.Contains(data, []byte("evil")) {
		a.Errorf("a hook on the host runs with the environment of the container: %s", data)
	}
}
