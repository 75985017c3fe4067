// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// run runs the Network until the test ends.
func run(t *testing.T, n *Network) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// names returns the names of the loaded networks.
func names(n *Network) string {
	var all []string
	for _, network := range n.settings.Load().conf("").current.Load().networks {
		all = append(all, network.list.Name)
	}
	return strings.Join(all, " ")
}

func eventually(t *testing.T, condition string, ok func() bool) {
	t.Helper()
	const timeout = 20 * time.Second
	for begin := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > timeout {
			t.Fatalf("timeout waiting for %s", condition)
		}
	}
}

// Reload replaces the directories of configurations and plugins. Changes in the former ones have no
// effect any more, those in the new ones have. A pod of the former network can be detached.
func TestReload(t *testing.T) {
	s := newSite(t, "bridge")
	s.write("10-a.conflist", "a", "1.0.0", adding("bridge"))
	n := s.open()
	run(t, n)
	pod := Pod{ID: "p1", Name: "web", Namespace: "default", NetNS: "/proc/self/ns/net"}
	if _, err := n.Attach(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	former := s.confDir
	s.confDir = filepath.Join(s.confDir, "other")
	if err := os.Mkdir(s.confDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("10-b.conflist", "b", "1.0.0", adding("bridge"))
	s.opts.ConfDir = s.confDir
	s.opts.Handlers = map[string]HandlerConf{"own": {ConfDir: former}}
	n.Reload(s.opts)
	if got := names(n); got != "b" {
		t.Errorf("networks after the reload: %q, want b", got)
	}
	if own, err := n.Info("own"); err != nil || len(own.Networks) != 1 || own.Networks[0].Config.Name != "a" {
		t.Errorf("network of the handler: %+v, %v", own, err)
	}
	s.write("20-c.conflist", "c", "1.0.0", adding("bridge"))
	eventually(t, "a network in the new directory", func() bool { return names(n) == "b c" })
	if err := n.Detach(t.Context(), pod); err != nil {
		t.Errorf("Detach of a pod of the former network: %v", err)
	}
	if diff := cmp.Diff([]string{
		"ADD a/bridge eth0 " + pod.NetNS,
		"DEL a/bridge eth0 " + pod.NetNS,
		"DEL c/bridge eth1 " + pod.NetNS, // had no ADD
	}, s.calls()); diff != "" {
		t.Errorf("calls of plugins (-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	s := newSite(t, "bridge")
	s.opts.MaxConfNum = 0
	s.opts.ConfDir = filepath.Join(s.confDir, "etc", "cni", "net.d")
	s.confDir = s.opts.ConfDir
	n := s.open()
	run(t, n)
	loaded := func(want string) {
		t.Helper()
		eventually(t, "networks "+want, func() bool { return names(n) == want })
	}
	move := func(file, to string) {
		t.Helper()
		if err := os.Rename(file, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Status(""); err == nil || !strings.Contains(err.Error(), "no CNI config in "+s.confDir) {
		t.Errorf("Status without the directory: %v", err)
	}
	if err := os.MkdirAll(s.confDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("10-a.conflist", "a", "1.0.0", adding("bridge"))
	loaded("a")
	if err := n.Status(""); err != nil {
		t.Errorf("Status: %v", err)
	}
	s.write("05-b.conflist", "b", "1.0.0", adding("bridge"))
	loaded("b a")

	// A file written in place in two steps must be loaded again after the second.
	c := filepath.Join(s.confDir, "20-c.conf")
	if err := os.WriteFile(c, []byte(`{"name": "c", `), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an error", func() bool { return n.Status("") != nil })
	if err := os.WriteFile(c, []byte(`{"name": "c", "type": "bridge"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded("b a c")
	if err := os.Remove(c); err != nil {
		t.Fatal(err)
	}
	loaded("b a")

	// The directory is renamed, renamed back, and created again.
	aside := s.confDir + ".bak"
	move(s.confDir, aside)
	loaded("")
	move(aside, s.confDir)
	loaded("b a")
	move(s.confDir, aside)
	loaded("")
	if err := os.Mkdir(s.confDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("10-d.conflist", "d", "1.0.0", adding("bridge"))
	loaded("d")
	if err := os.RemoveAll(filepath.Dir(filepath.Dir(s.confDir))); err != nil {
		t.Fatal(err)
	}
	loaded("")
	if err := os.MkdirAll(s.confDir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("10-e.conflist", "e", "1.0.0", adding("bridge"))
	loaded("e")
}

func TestStatusAsksThePlugin(t *testing.T) {
	s := newSite(t, "bridge")
	s.write("10-main.conflist", "main", "1.1.0", adding("bridge"))
	n := s.open()
	run(t, n)
	if err := n.Status(""); err != nil {
		t.Errorf("Status: %v", err)
	}
	if diff := cmp.Diff([]string{"STATUS main/bridge  "}, s.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	broken := adding("bridge")
	broken.Do = map[string]string{"STATUS": "fail"}
	s.write("10-main.conflist", "main", "1.1.0", broken)
	eventually(t, "the plugin's error", func() bool {
		err := n.Status("")
		return err != nil && strings.Contains(err.Error(), "bridge is out of order")
	})
}

// Status returns in time while the plugin's STATUS hangs.
func TestStatusDoesNotWait(t *testing.T) {
	s := newSite(t, "bridge")
	c := adding("bridge")
	c.Do = map[string]string{"STATUS": "hang"}
	s.write("10-main.conflist", "main", "1.1.0", c)
	started, dead := s.hanging()
	n := s.open()
	run(t, n)
	if err := n.Status(""); !errdefs.IsUnavailable(err) {
		t.Errorf("Status: %v, want Unavailable", err)
	}
	<-started
	<-dead // killed after statusTimeout
	eventually(t, "the timeout", func() bool { return errors.Is(n.Status(""), context.DeadlineExceeded) })
}

// Status and a reload do not wait for an ADD that hangs.
func TestStatusDuringAttach(t *testing.T) {
	s := newSite(t, "bridge")
	c := adding("bridge")
	c.Do = map[string]string{"ADD": "hang"}
	s.write("10-main.conflist", "main", "1.0.0", c)
	started, dead := s.hanging()
	n := s.open()
	run(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	attached := make(chan error)
	go func() {
		_, err := n.Attach(ctx, webPod)
		attached <- err
	}()
	<-started
	if err := n.Status(""); err != nil {
		t.Errorf("Status: %v", err)
	}
	s.write("20-other.conflist", "other", "1.0.0", adding("bridge")) // reload
	eventually(t, "both networks", func() bool { return names(n) == "main other" })
	cancel()
	if err := <-attached; !errors.Is(err, context.Canceled) {
		t.Errorf("Attach: %v", err)
	}
	<-dead
}

func TestReadConfDirOrder(t *testing.T) {
	s := newSite(t)
	s.write("20-b.conflist", "b", "1.0.0", adding("bridge"))
	s.writeFile("10-a.conf", `{"name": "a", "type": "bridge", "cniVersion": "0.4.0"}`)
	s.writeFile("30-c.json", `{"name": "c", "type": "bridge"}`)
	s.writeFile("00-notes.txt", "not a configuration")
	for limit, want := range map[int]string{0: "a=eth0 b=eth1 c=eth2", 1: "a=eth0", 2: "a=eth0 b=eth1", 9: "a=eth0 b=eth1 c=eth2"} {
		c := conf{dir: s.confDir, max: limit}
		c.load()
		loaded := c.current.Load()
		if loaded.err != nil {
			t.Fatal(loaded.err)
		}
		var got []string
		for _, n := range loaded.networks {
			got = append(got, n.list.Name+"="+n.ifName)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("limit %d: %q, want %q", limit, got, want)
		}
	}
}

// TestRealPlugins attaches a pinned namespace with the plugins of the CNI project.
func TestRealPlugins(t *testing.T) {
	p, dir := newTestPinner(t)
	binDirs := filepath.SplitList(os.Getenv("CNI_PATH"))
	if len(binDirs) == 0 {
		t.Skip("CNI_PATH names no directory with the plugins ptp, host-local and tuning")
	}
	confDir := filepath.Join(dir, "net.d")
	if err := os.Mkdir(confDir, 0o700); err != nil {
		t.Fatal(err)
	}
	ipam := filepath.Join(dir, "ipam")
	conf, _ := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "test-real", "plugins": []any{
			map[string]any{"type": "ptp", "ipam": map[string]any{
				"type": "host-local", "subnet": "10.254.77.0/24", "dataDir": ipam,
			}},
			map[string]any{"type": "tuning", "sysctl": map[string]string{"net.core.somaxconn": "501"}},
		},
	})
	if err := os.WriteFile(filepath.Join(confDir, "10-test.conflist"), conf, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() *Network {
		return New(Options{BinDirs: binDirs, ConfDir: confDir, cache: filepath.Join(dir, "cache")})
	}
	ns, err := p.Pin(t.Context(), PinOptions{ID: "real", Net: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Unpin(context.Background(), "real", Namespaces{}) })
	pod := Pod{ID: "real", Name: "web", Namespace: "default", UID: "u", NetNS: ns.Net}
	result, err := open().Attach(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(result.IP, "10.254.77.") || result.CNI.Interfaces["eth0"].Sandbox != ns.Net {
		t.Errorf("result %+v", result)
	}
	if err := os.Remove(filepath.Join(confDir, "10-test.conflist")); err != nil {
		t.Fatal(err)
	}
	if err := p.Unpin(t.Context(), "real", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	if err := open().Detach(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	addresses, err := filepath.Glob(filepath.Join(ipam, "test-real", "10.*"))
	if err != nil || len(addresses) > 0 {
		t.Errorf("addresses left: %v, %v", addresses, err)
	}
}
