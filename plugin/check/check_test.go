// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/regular"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

const (
	bridge = `{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/29"}]]}}]}`
	mounts = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
)

// healthy are the files of a node on which all is well.
var healthy = map[string]string{
	"proc/filesystems":                       "nodev\toverlay\n\text4\n",
	"proc/sys/net/ipv4/ip_forward":           "1\n",
	"proc/sys/user/max_user_namespaces":      "15000\n",
	"proc/sys/kernel/osrelease":              "6.18.0\n",
	"proc/sys/kernel/pid_max":                "4194304\n",
	"proc/sys/fs/inotify/max_user_instances": "8192\n",
	"proc/sys/fs/inotify/max_user_watches":   "524288\n",
	"proc/sys/fs/file-nr":                    "100\t0\t1000\n",
	"proc/loadavg":                           "0.00 0.01 0.05 1/123 456\n",
	"proc/self/status":                       "Name:\tx\nSeccomp:\t0\n",
	"proc/self/mountinfo":                    mounts,
	"proc/self/cgroup":                       "0::/\n",
	"proc/77/comm":                           "kubelet\n",
	"proc/77/cmdline":                        "kubelet\x00--config=/etc/kubelet.yaml\x00--v\x002\x00",
	"sys/fs/cgroup/cgroup.controllers":       "cpuset cpu io memory hugetlb pids\n",
	"etc/kubelet.yaml":                       "cgroupDriver: cgroupfs\ncontainerRuntimeEndpoint: unix:///var/run/containerd/containerd.sock\n",
	"etc/cni/net.d/10-pods.conflist":         bridge,
	"opt/cni/bin/bridge":                     "",
	"opt/cni/bin/host-local":                 "",
	"etc/containerd/certs.d/r/hosts.toml":    "server = \"https://r\"\n",
	"opt/nri/plugins/10-ok":                  "",
	"etc/cdi/ok.json":                        `{"cdiVersion":"0.6.0","kind":"v.com/c","devices":[{"name":"d","containerEdits":{"env":["A=b"]}}]}`,
}

// newNode returns a healthy node after a change of its files; a file with content "-" is missing.
func newNode(t *testing.T, change map[string]string) Node {
	t.Helper()
	root := t.TempDir()
	write := func(files map[string]string) {
		for name, content := range files {
			path := filepath.Join(root, name)
			if content == "-" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(healthy)
	write(change)
	shim := filepath.Join(root, "shim")
	write(map[string]string{"shim": ""})
	n := Node{
		Config:         config.Config{Images: config.DefaultImages(), Runtime: config.DefaultRuntime(), Server: config.DefaultServer()},
		Root:           root,
		DataDirs:       []string{"/"},
		Endpoint:       "/run/containerd/containerd.sock",
		RuntimeVersion: func(context.Context, string) (string, string, error) { return "runc", "1.4.0", nil },
	}
	for name, h := range n.Config.Runtime.Containerd.Runtimes {
		h.Path, h.Options["BinaryName"] = shim, shim
		n.Config.Runtime.Containerd.Runtimes[name] = h
	}
	return n
}

// local returns the findings about a node, except those about the clock and the disk of this
// machine.
func findings(t *testing.T, n Node) []Finding {
	t.Helper()
	var all []Finding
	for _, f := range n.Local(t.Context()) {
		if f.Check != "clock" && f.Check != "disk" {
			all = append(all, f)
		}
	}
	return all
}

func TestHealthyNode(t *testing.T) {
	all := findings(t, newNode(t, nil))
	if problems := Problems(all); len(problems) > 0 || HasErrors(all) {
		t.Errorf("problems: %v", problems)
	}
	if len(all) < 10 {
		t.Errorf("findings: %v", all)
	}
}

// TestBrokenNode breaks one thing at a time, and checks that it is the only problem, that the
// finding names it, and that it says what to do.
func TestBrokenNode(t *testing.T) {
	for name, test := range map[string]struct {
		files  map[string]string
		config func(*Node)
		level  Level
		check  string
		want   string // part of the description
		do     string // part of what to do
	}{
		"overlay":          {map[string]string{"proc/filesystems": "\text4\n"}, nil, Error, "kernel", "overlay is not loaded", "modprobe overlay"},
		"forwarding":       {map[string]string{"proc/sys/net/ipv4/ip_forward": "0\n"}, nil, Warning, "kernel", "ip_forward is 0", "sysctl -w net.ipv4.ip_forward=1"},
		"user namespaces":  {map[string]string{"proc/sys/user/max_user_namespaces": "0\n"}, nil, Warning, "kernel", "hostUsers", "sysctl -w user.max_user_namespaces"},
		"seccomp":          {map[string]string{"proc/self/status": "Name:\tx\n"}, nil, Warning, "kernel", "no seccomp", "CONFIG_SECCOMP_FILTER"},
		"memory cgroup":    {map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n"}, nil, Error, "cgroup", "controller memory is missing", "cgroup_enable=memory"},
		"no cgroups":       {map[string]string{"proc/self/mountinfo": ""}, nil, Error, "cgroup", "no cgroup filesystem", "mount -t cgroup2"},
		"cgroup v1":        {map[string]string{"proc/self/mountinfo": v1Mounts, "proc/self/cgroup": "1:cpu:/\n2:cpuset:/\n3:memory:/\n4:pids:/\n"}, nil, Warning, "cgroup", "cgroup v1", "unified_cgroup_hierarchy"},
		"systemd":          {map[string]string{"run/systemd/system/x": ""}, nil, Warning, "cgroup", "use the cgroup driver cgroupfs", "SystemdCgroup = true"},
		"AppArmor parser":  {map[string]string{"sys/module/apparmor/parameters/enabled": "Y\n"}, nil, Error, "lsm", "apparmor_parser is not installed", "apt install apparmor"},
		"SELinux unused":   {map[string]string{"sys/fs/selinux/enforce": "1"}, nil, Warning, "lsm", "enable_selinux is not set", "enable_selinux = true"},
		"SELinux missing":  {nil, func(n *Node) { n.Config.Runtime.EnableSelinux = true }, Warning, "lsm", "SELinux is off", "remove the key"},
		"shim":             {nil, func(n *Node) { edit(n, "lite", func(h *config.Handler) { h.Path = "/none" }) }, Error, "runtime", "handler lite: shim /none is not installed, or not executable", "install the shim"},
		"other shim":       {nil, func(n *Node) { edit(n, "runc", func(h *config.Handler) { h.Path = "/none" }) }, Warning, "runtime", "handler runc: shim /none", "remove the handler"},
		"runc as default":  {nil, func(n *Node) { n.Config.Runtime.Containerd.DefaultRuntimeName = "runc" }, Warning, "runtime", "process more", `runtime_type = "io.containerd.lite.v2"`},
		"runc missing":     {nil, func(n *Node) { n.RuntimeVersion = brokenFor("lite") }, Error, "runtime", "handler lite: OCI runtime no program", "BinaryName"},
		"CNI config":       {map[string]string{"etc/cni/net.d/10-pods.conflist": "-"}, nil, Error, "cni", "no CNI config in", "install the network"},
		"CNI syntax":       {map[string]string{"etc/cni/net.d/10-pods.conflist": "{"}, nil, Error, "cni", "10-pods.conflist", "mend the file"},
		"CNI plugin":       {map[string]string{"opt/cni/bin/bridge": "-"}, nil, Error, "cni", "plugin bridge is not in /opt/cni/bin", "containernetworking-plugins"},
		"IPAM plugin":      {map[string]string{"opt/cni/bin/host-local": "-"}, nil, Error, "cni", "plugin host-local is not in", "cni.bin_dirs"},
		"no address left":  {taken("10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"), nil, Error, "cni", "all 5 addresses of 10.1.0.0/29 are taken", "/var/lib/cni/networks/pods"},
		"hosts.toml":       {map[string]string{"etc/containerd/certs.d/r/hosts.toml": "server = \n"}, nil, Error, "registry", "r/hosts.toml:1:", "mend the line"},
		"inotify":          {map[string]string{"proc/sys/fs/inotify/max_user_watches": "10\n"}, nil, Warning, "limits", "max_user_watches is 10", "sysctl -w fs.inotify"},
		"files":            {map[string]string{"proc/sys/fs/file-nr": "990\t0\t1000\n"}, nil, Error, "limits", "990 of 1000 files", "sysctl -w fs.file-max"},
		"processes":        {map[string]string{"proc/sys/kernel/pid_max": "130\n"}, nil, Error, "limits", "123 of 130 PIDs", "sysctl -w kernel.pid_max"},
		"kubelet socket":   {map[string]string{"etc/kubelet.yaml": "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n"}, nil, Error, "kubelet", "the kubelet uses /run/crio/crio.sock", "containerRuntimeEndpoint"},
		"kubelet driver":   {map[string]string{"etc/kubelet.yaml": "cgroupDriver: systemd\n"}, nil, Warning, "kubelet", "/etc/kubelet.yaml has cgroupDriver: systemd", "SystemdCgroup = true"},
		"kubelet syntax":   {map[string]string{"etc/kubelet.yaml": "cgroupDriver: [\n"}, nil, Error, "kubelet", "/etc/kubelet.yaml: ", "mend the line"},
		"CDI spec":         {map[string]string{"etc/cdi/broken.json": "{"}, nil, Warning, "cdi", "broken.json", "remove the file"},
		"NRI plugin name":  {map[string]string{"opt/nri/plugins/x": ""}, nil, Warning, "nri", "/opt/nri/plugins/x has no index", "10-x"},
		"CRI-O":            {map[string]string{"proc/88/comm": "crio\n"}, nil, Warning, "leftovers", "CRI-O runs, too", "systemctl disable --now crio"},
		"handlers' driver": {nil, func(n *Node) { edit(n, "runc", func(h *config.Handler) { h.Options["SystemdCgroup"] = true }) }, Warning, "cgroup", "handlers runc have another", "same value"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, test.files)
			if test.config != nil {
				test.config(&n)
			}
			problems := Problems(findings(t, n))
			if len(problems) != 1 {
				t.Fatalf("problems: %v", problems)
			}
			p := problems[0]
			if p.Level != test.level || p.Check != test.check || !strings.Contains(p.What, test.want) || !strings.Contains(p.Do, test.do) {
				t.Errorf("found %s", p)
			}
		})
	}
}

const v1Mounts = "30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
	"31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 30 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" +
	"33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n34 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"

func edit(n *Node, handler string, change func(*config.Handler)) {
	h := n.Config.Runtime.Containerd.Runtimes[handler]
	change(&h)
	n.Config.Runtime.Containerd.Runtimes[handler] = h
}

func brokenFor(handler string) func(context.Context, string) (string, string, error) {
	return func(_ context.Context, asked string) (string, string, error) {
		if asked == handler {
			return "", "", errors.New("no program")
		}
		return "runc", "1.4.0", nil
	}
}

func taken(addresses ...string) map[string]string {
	files := map[string]string{}
	for _, a := range addresses {
		files["var/lib/cni/networks/pods/"+a] = "id\r\neth0"
	}
	return files
}

func TestHoles(t *testing.T) {
	for version, want := range map[string]int{
		"1.1.5+ds1": 2, "1.1.12": 1, "1.1.12-0ubuntu2": 1, "1.3.3-0ubuntu1~24.04.2": 0, "1.2.7": 1, "1.2.8": 0, "1.3.2": 1, "1.3.3": 0, "1.4.0-rc.2": 1, "1.4.0": 0, "1.5.2": 0, "unknown": 0,
	} {
		n := newNode(t, nil)
		n.RuntimeVersion = func(context.Context, string) (string, string, error) { return "runc", version, nil }
		found := Problems(ociRuntime(t.Context(), n, "lite", n.Config.Runtime.Containerd.Runtimes["lite"]))
		if len(found) != want {
			t.Errorf("runc %s: %v", version, found)
		}
	}
}

func TestClock(t *testing.T) {
	for name, test := range map[string]struct {
		now  time.Time
		sync bool
		want Level
	}{
		"right":            {time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), true, OK},
		"not synchronized": {time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), false, Warning},
		"no battery":       {time.Unix(0, 0), true, Error},
	} {
		if found := clockAt(test.now, test.sync); len(found) != 1 || found[0].Level != test.want {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestDisk(t *testing.T) {
	whole := unix.Statfs_t{Blocks: 1000, Bavail: 500, Bsize: 4096, Files: 1000, Ffree: 500}
	for name, test := range map[string]struct {
		change func(*unix.Statfs_t)
		want   string
	}{
		"well":      {func(*unix.Statfs_t) {}, ""},
		"full":      {func(s *unix.Statfs_t) { s.Bavail = 9 }, "error has 0 MiB left"},
		"nearly":    {func(s *unix.Statfs_t) { s.Bavail = 80 }, "warning is 92 % full"},
		"inodes":    {func(s *unix.Statfs_t) { s.Ffree = 10 }, "error has 10 of 1000 inodes left"},
		"read-only": {func(s *unix.Statfs_t) { s.Flags = unix.ST_RDONLY }, "error is read-only"},
		"no inodes": {func(s *unix.Statfs_t) { s.Files, s.Ffree = 0, 0 }, ""}, // btrfs
	} {
		st := whole
		test.change(&st)
		said := ""
		for _, f := range space("/data", st) {
			said += fmt.Sprintf("%s %s", f.Level, strings.TrimPrefix(f.What, "/data "))
		}
		if (test.want == "") != (said == "") || !strings.HasPrefix(said, test.want) {
			t.Errorf("%s: %q, want %q", name, said, test.want)
		}
	}
}

// TestRanges checks which addresses host-local has for a subnet.
func TestRanges(t *testing.T) {
	for _, test := range []struct {
		addressRange
		want string
	}{
		{addressRange{Subnet: "10.0.0.0/24"}, "10.0.0.1 10.0.0.254 253"},
		{addressRange{Subnet: "10.0.0.7/24", RangeStart: "10.0.0.10", RangeEnd: "10.0.0.20"}, "10.0.0.10 10.0.0.20 11"},
		{addressRange{Subnet: "10.0.0.0/24", Gateway: "10.0.0.254"}, "10.0.0.1 10.0.0.254 253"},
		{addressRange{Subnet: "fd00::/120"}, "fd00::1 fd00::ff 254"},
		{addressRange{Subnet: "fd00::/64"}, ""},
		{addressRange{Subnet: "10.0.0.0/31"}, ""},
		{addressRange{Subnet: "nonsense"}, ""},
	} {
		got := ""
		if first, last, ok := test.bounds(); ok {
			got = fmt.Sprint(first, " ", last, " ", test.size(first, last))
		}
		if got != test.want {
			t.Errorf("%v: %q, want %q", test.addressRange, got, test.want)
		}
	}
}

// TestProcessesOfContainers checks that names and arguments that an image chooses change nothing: a
// process of a container that is called kubelet, with a pipe as its config, or crio.
func TestProcessesOfContainers(t *testing.T) {
	n := newNode(t, map[string]string{"proc/99/comm": "kubelet\n", "proc/98/comm": "crio\n"})
	pipe := filepath.Join(n.Root, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	args := "kubelet\x00--config=/pipe\x00"
	if err := os.WriteFile(filepath.Join(n.Root, "proc/99/cmdline"), []byte(args), 0o600); err != nil {
		t.Fatal(err)
	}
	for pid, namespace := range map[string]string{"self": "mnt:[1]", "77": "mnt:[1]", "98": "mnt:[2]", "99": "mnt:[2]"} {
		dir := filepath.Join(n.Root, "proc", pid, "ns")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Symlink(namespace, filepath.Join(dir, "mnt"))); err != nil {
			t.Fatal(err)
		}
	}
	if problems := Problems(findings(t, n)); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
	// A pipe does not block the checks, and a device does not fill the memory.
	for _, path := range []string{pipe, "/dev/zero"} {
		if data, err := regular.Read(path, maxFile); err == nil {
			t.Errorf("read %d bytes of %s", len(data), path)
		}
	}
}
