// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeConf is the configuration of a fake plugin: how it behaves.
type fakeConf struct {
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
	// Trace is a file to which the plugin appends "COMMAND type ifname netns".
	Trace string `json:"trace"`
	// Do is by command: fail, unknown, crash, longStderr, longError, hang or noResult.
	Do     map[string]string `json:"do,omitempty"`
	Result json.RawMessage   `json:"result,omitempty"` // of ADD

	Name          string          `json:"name,omitempty"`
	IPAM          json.RawMessage `json:"ipam,omitempty"`
	CNIVersion    string          `json:"cniVersion,omitempty"`
	RuntimeConfig json.RawMessage `json:"runtimeConfig,omitempty"`
}

// fakePlugin is the main function of the test binary when it runs as a CNI plugin.
func fakePlugin() int {
	var c fakeConf
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	command := os.Getenv("CNI_COMMAND")
	f, err := os.OpenFile(c.Trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(f, command, c.Name+"/"+c.Type, os.Getenv("CNI_IFNAME"), os.Getenv("CNI_NETNS"))
	f.Close()
	if command == "ADD" || command == "DEL" {
		os.WriteFile(c.Trace+".args", []byte(os.Getenv("CNI_ARGS")), 0o600)
		os.WriteFile(c.Trace+".runtimeConfig", c.RuntimeConfig, 0o600)
	}
	switch c.Do[command] {
	case "fail":
		fmt.Printf(`{"cniVersion": %q, "code": 11, "msg": "%s is out of order"}`, c.CNIVersion, c.Type)
		return 1
	case "unknown":
		fmt.Printf(`{"cniVersion": %q, "code": 3, "msg": "never seen"}`, c.CNIVersion)
		return 1
	case "crash":
		fmt.Fprintln(os.Stderr, "segmentation violation")
		return 2
	case "longStderr":
		fmt.Fprintln(os.Stderr, strings.Repeat("a", 2*maxPluginOutput))
		return 2
	case "longError":
		text := strings.Repeat("a", maxPluginOutput/4)
		fmt.Printf(`{"cniVersion": %q, "code": 11, "msg": %q, "details": %q}`, c.CNIVersion, text, text)
		return 1
	case "hang":
		return hang(c.Trace)
	case "noResult":
		return 0
	}
	if command == "ADD" {
		fmt.Println(string(c.Result))
	}
	return 0
}

// hang does not return, and has a child that holds the output open, like a plugin that waits for
// its IPAM plugin. The FIFO <trace>.alive has writers as long as one of the two runs.
func hang(trace string) int {
	alive, err := os.OpenFile(trace+".alive", os.O_WRONLY, 0)
	if err != nil {
		return 1
	}
	child := exec.Command("sleep", "1000")
	child.Stdout = os.Stdout
	child.ExtraFiles = []*os.File{alive}
	if err := child.Start(); err != nil {
		return 1
	}
	child.Wait()
	return 1
}

// site is a node's CNI installation for a test.
type site struct {
	t                      *testing.T
	binDir, confDir, cache string
	trace                  string
	opts                   Options
	network                *Network
}

func newSite(t *testing.T, plugins ...string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{
		t:       t,
		binDir:  filepath.Join(dir, "bin"),
		confDir: filepath.Join(dir, "net.d"),
		cache:   filepath.Join(dir, "cache"),
		trace:   filepath.Join(dir, "trace"),
	}
	for _, d := range []string{s.binDir, s.confDir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plugins {
		if err := os.Symlink(self, filepath.Join(s.binDir, p)); err != nil {
			t.Fatal(err)
		}
	}
	s.opts = Options{BinDirs: []string{s.binDir}, ConfDir: s.confDir, SetupSerially: true, cache: s.cache}
	return s
}

// open creates the Network. The configuration must have been written before.
func (s *site) open() *Network {
	s.network = New(s.opts)
	return s.network
}

// write writes a conflist of fake plugins.
func (s *site) write(file, network, version string, plugins ...fakeConf) {
	s.t.Helper()
	for i := range plugins {
		plugins[i].Trace = s.trace
	}
	list := map[string]any{"cniVersion": version, "name": network, "plugins": plugins}
	b, err := json.Marshal(list)
	if err != nil {
		s.t.Fatal(err)
	}
	s.writeFile(file, string(b))
}

// writeFile creates or replaces a file atomically, as an installer should.
func (s *site) writeFile(file, content string) {
	s.t.Helper()
	tmp := filepath.Join(s.binDir, "conf.tmp")
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.confDir, file)); err != nil {
		s.t.Fatal(err)
	}
}

// calls returns the plugin calls since calls was called last.
func (s *site) calls() []string {
	s.t.Helper()
	b, err := os.ReadFile(s.trace)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Remove(s.trace); err != nil {
		s.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// passed returns what the last ADD or DEL passed to a plugin: CNI_ARGS and the capability
// arguments.
func (s *site) passed(t *testing.T) (args string, capabilities map[string]any) {
	t.Helper()
	text, err := os.ReadFile(s.trace + ".args")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(s.trace + ".runtimeConfig")
	if err == nil {
		err = json.Unmarshal(config, &capabilities)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text), capabilities
}

// hanging creates the FIFO of hanging plugins. started is closed when the first plugin hangs, dead
// when the last has been killed.
func (s *site) hanging() (started, dead <-chan struct{}) {
	s.t.Helper()
	alive := s.trace + ".alive"
	if err := unix.Mkfifo(alive, 0o600); err != nil {
		s.t.Fatal(err)
	}
	up, down := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(down)
		f, err := os.Open(alive) // waits for the plugin
		close(up)
		if err != nil {
			s.t.Error(err)
			return
		}
		defer f.Close()
		f.Read(make([]byte, 1)) // waits for the end of all writers
	}()
	return up, down
}

const twoAddresses = `{
	"cniVersion": "1.1.0",
	"interfaces": [{"name": "br0", "mac": "02:00:00:00:00:01"}, {"name": "eth0", "sandbox": "/netns"}],
	"ips": [{"address": "fd00::5/64", "interface": 1}, {"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 1}],
	"routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}],
	"dns": {"nameservers": ["10.1.2.1"]}
}`
