// SPDX-License-Identifier: Apache-2.0

package security

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Attacks through the paths of logs.

// c30 replaces a log by a link or a special file before it is opened and before it is reopened.
func c30(a *attack) {
	for name, plant := range plants(a) {
		p := a.pod(quick)
		c := p.container(image.Busybox, "echo written; exec sleep 10000", func(c *containerConfig) { c.LogPath = "c/0.log" })
		log := filepath.Join(p.config.LogDirectory, c.LogPath)
		id := p.start(c)
		a.planted(plant, log)
		begin := time.Now()
		_, err := a.ReopenContainerLog(a.ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id})
		a.refused(name+": reopen", err)
		a.untouched(name, begin)

		a.planted(plant, log)
		begin = time.Now()
		second := p.container(image.Busybox, "echo written", func(s *containerConfig) { s.LogPath = c.LogPath })
		_, err = p.CRI.Run(a.ctx, p.id, p.config, second)
		a.refused(name+": run", err)
		a.untouched(name, begin)
	}
	a.badLogPaths()
}

// w02 replaces the directory of a pod's logs by a link.
func w02(a *attack) {
	p := a.pod(quick)
	c := p.container(image.Busybox, "echo written")
	if err := errors.Join(os.RemoveAll(p.config.LogDirectory), os.Symlink(a.host.Path("dir"), p.config.LogDirectory)); err != nil {
		a.Fatal(err)
	}
	begin := time.Now()
	_, err := p.CRI.Run(a.ctx, p.id, p.config, c)
	a.Logf("run: %v", err)
	a.untouched("log directory", begin)
}

// plants returns the ways to replace a path.
func plants(a *attack) map[string]func(path string) error {
	return map[string]func(path string) error{
		"link":          func(path string) error { return os.Symlink(a.host.Path("file"), path) },
		"link to a new": func(path string) error { return os.Symlink(a.host.Path("dir", "new"), path) },
		"fifo":          func(path string) error { return unix.Mkfifo(path, 0o666) },
		"device":        func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
		"directory":     func(path string) error { return os.Mkdir(path, 0o755) },
		"parent is a link": func(path string) error {
			dir := filepath.Dir(path)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.Symlink(a.host.Path("dir"), dir)
		},
	}
}

// planted replaces a file.
func (a *attack) planted(plant func(string) error, path string) {
	a.Helper()
	if info, err := os.Lstat(filepath.Dir(path)); err == nil && info.IsDir() {
		if err := os.RemoveAll(path); err != nil {
			a.Fatal(err)
		}
	} else if err := os.Remove(filepath.Dir(path)); err != nil {
		a.Fatal(err)
	}
	if err := plant(path); err != nil {
		a.Fatal(err)
	}
}

func (a *attack) untouched(name string, begin time.Time) {
	a.Helper()
	if took := time.Since(begin); took > 10*time.Second {
		a.Errorf("%s: hung for %s", name, took)
	}
	if entries, err := os.ReadDir(a.host.Path("dir")); err != nil || len(entries) != 1 {
		a.Errorf("%s: the directory of the host contains %v, %v", name, entries, err)
		for _, entry := range entries {
			if entry.Name() != "inner" {
				os.Remove(a.host.Path("dir", entry.Name()))
			}
		}
	}
}

// badLogPaths tries invalid log paths in requests.
func (a *attack) badLogPaths() {
	a.Helper()
	p := a.pod(quick)
	for _, path := range []string{
		"../../x.log", "a/../../x.log", "..", "/", ".", "x\x00.log", strings.Repeat("x", 300),
	} {
		c := p.container(image.Busybox, "true", func(c *containerConfig) { c.LogPath = path })
		id, err := p.create(c)
		if err == nil {
			_, err = a.StartContainer(a.ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
		}
		a.refused(fmt.Sprintf("log path %.40q", path), err)
	}
}

// o12 sets log directories and pod names that contain "..".
func o12(a *attack) {
	for name, change := range map[string]func(*podConfig){
		"log directory": func(c *podConfig) { c.LogDirectory = a.Path("logs") + "/../../../../" + a.host.Path("new") },
		"uid":           func(c *podConfig) { c.Metadata.Uid = "../../../../.." + a.host.Path("new") },
		"name":          func(c *podConfig) { c.Metadata.Name = "../../../../.." + a.host.Path("new") },
		"namespace":     func(c *podConfig) { c.Metadata.Namespace = "../.." },
		"annotation": func(c *podConfig) {
			c.Annotations = map[string]string{"io.kubernetes.cri-o.LinkLogs": "../../../..", "io.kubernetes.cri-o.LogPath": a.host.Path()}
		},
	} {
		config := a.podConfig(quick, change)
		if name == "log directory" {
			// The kubelet sets a directory of its own. A path that is not clean means the clean
			// one.
			config.LogDirectory = a.Path("logs", "x", "..", "..", "logs", a.repository())
		}
		id, err := a.tryPod(config)
		a.Logf("%s: %v", name, err)
		if err != nil {
			continue
		}
		p := pod{a, id, config}
		p.output(p.container(image.Busybox, "echo x"))
	}
}
