// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// page requests a page over plain HTTP until it is available.
func page(t *testing.T, url string) string {
	t.Helper()
	var text []byte
	if err := harness.AwaitEvery(t.Context(), pause, func() error {
		answer, err := http.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, answer.Status)
		}
		text, err = io.ReadAll(answer.Body)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inPod returns those of the processes that have the pod's hostname in their environment.
func inPod(p *pod, pids []int) []int {
	return slices.DeleteFunc(pids, func(pid int) bool {
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return !slices.Contains(strings.Split(string(environ), "\x00"), "HOSTNAME="+p.name)
	})
}

// hostNamespace returns the namespace of the test process.
func hostNamespace(t *testing.T, kind string) string {
	t.Helper()
	link, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func hostPort(t *testing.T, n *node) {
	port := harness.Port(t)
	p := n.run(t, id(t), fmt.Sprintf(`
containers:
- name: web
  image: %s
  ports: [{containerPort: 80, hostPort: %d, hostIP: 127.0.0.1}]
`, image.Httpd, port))
	now := p.running()
	if got := page(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); got != "It works!\n" {
		t.Errorf("the host's port serves %q", got)
	}
	if got := page(t, "http://"+now.Status.PodIP+"/"); got != "It works!\n" {
		t.Errorf("the pod's address serves %q", got)
	}
}

func hostNetwork(t *testing.T, n *node) {
	port := harness.Port(t)
	p := n.run(t, id(t), fmt.Sprintf(`
hostNetwork: true
containers:
- name: web
  image: %s
  command: [httpd, -f, -p, "127.0.0.1:%d", -h, /www]
`, image.Httpd, port))
	p.running()
	if got := page(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); got != "It works!\n" {
		t.Errorf("the host's port serves %q", got)
	}
	if got, want := p.exec("web", "readlink", "/proc/self/ns/net"), hostNamespace(t, "net"); got != want {
		t.Errorf("network namespace %s, want the host's %s", got, want)
	}
}

func hostPID(t *testing.T, n *node) {
	p := n.run(t, id(t), `
hostPID: true
containers: [{name: main, command: [sleep, "1000"]}]
`)
	p.running()
	if got, want := p.exec("main", "readlink", "/proc/self/ns/pid"), hostNamespace(t, "pid"); got != want {
		t.Errorf("PID namespace %s, want the host's %s", got, want)
	}
	// The container sees the test process by its PID on the host.
	p.exec("main", "test", "-d", "/proc/"+strconv.Itoa(os.Getpid()))
}

func sharedProcessNamespace(t *testing.T, n *node) {
	p := n.run(t, id(t), `
shareProcessNamespace: true
containers:
- {name: one, command: [sleep, "1111"]}
- {name: two, command: [sleep, "2222"]}
`)
	p.running()
	seen := p.exec("one", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
	for _, want := range []string{"sleep 1111", "sleep 2222"} {
		if !strings.Contains(seen, want) {
			t.Errorf("container one does not see %q, only %q", want, seen)
		}
	}
	if one, two := p.exec("one", "readlink", "/proc/self/ns/pid"), p.exec("two", "readlink", "/proc/self/ns/pid"); one != two {
		t.Errorf("the containers have different PID namespaces: %s and %s", one, two)
	}
	if first := p.exec("one", "cat", "/proc/1/cmdline"); strings.Contains(first, "sleep") {
		t.Errorf("PID 1 belongs to a container: %q", first)
	}
}

func userNamespace(t *testing.T, n *node) {
	p := n.run(t, id(t), `
hostUsers: false
volumes: [{name: work, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "1000"]
  volumeMounts: [{name: work, mountPath: /work}]
`)
	p.running()
	fields := strings.Fields(p.exec("main", "cat", "/proc/self/uid_map"))
	if len(fields) != 3 || fields[0] != "0" || fields[1] == "0" || fields[2] != "65536" {
		t.Errorf("uid_map %v, want 65536 IDs and 0 mapped to another ID", fields)
	}
	if got := p.exec("main", "id", "-u"); got != "0" {
		t.Errorf("user ID %s in the namespace, want 0", got)
	}
	// The volume is ID-mapped: a file that root creates belongs to root in the container.
	if got := p.exec("main", "sh", "-c", "touch /work/file; stat -c %u /work/file"); got != "0" {
		t.Errorf("a file in the volume belongs to %s, want 0", got)
	}
}
