// SPDX-License-Identifier: Apache-2.0

package security

import (
	"fmt"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/canary"
	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Attacks through the config and the root file system of a container's image.

// command returns the config of an image that runs a shell script.
func command(script string) ocispec.ImageConfig {
	return ocispec.ImageConfig{Cmd: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin"}}
}

// c08 declares volumes at paths that lead out of the image.
func c08(a *attack) {
	up := outside(a.host.Path())
	chain := []evilimg.Entry{evilimg.Symlink("c0", a.host.Path())}
	for i := range 255 {
		chain = append(chain, evilimg.Symlink(fmt.Sprint("c", i+1), fmt.Sprint("c", i)))
	}
	for name, v := range map[string]struct {
		volume string
		links  []evilimg.Entry
	}{
		"dots":              {"/v/" + up, nil},
		"absolute link":     {"/v", []evilimg.Entry{evilimg.Symlink("v", a.host.Path())}},
		"relative link":     {"/v", []evilimg.Entry{evilimg.Symlink("v", up)}},
		"below a link":      {"/v/dir", []evilimg.Entry{evilimg.Symlink("v", a.host.Path())}},
		"link to the root":  {"/v" + a.host.Path(), []evilimg.Entry{evilimg.Symlink("v", "/")}},
		"255 links":         {"/c255", chain},
		"link through proc": {"/v", []evilimg.Entry{evilimg.Symlink("v", "/proc/1/root"+a.host.Path())}},
	} {
		img := a.with(v.links...)
		img.Config = command("timeout 5 cat " + v.volume + "/* 2>&1; ls -laR " + v.volume + "; touch " + v.volume + "/made")
		img.Config.Volumes = map[string]struct{}{v.volume: {}}
		ref := a.image(img)
		p := a.pod(quick)
		c := p.container(ref, "")
		id, err := p.create(c)
		if err != nil {
			a.Logf("%s: %v", name, err)
			continue
		}
		if _, err := a.StartContainer(a.ctx, &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
			a.Logf("%s: %v", name, err)
			continue
		}
		if _, err := a.AwaitState(a.ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
			a.Fatal(err)
		}
		a.clean("the volume of "+name, p.log(c))
	}
}

// c17 has users that do not fit in a user ID, or that some runtimes read as a name.
func c17(a *attack) {
	p := a.pod(quick)
	for _, user := range []string{
		"2147483648", "4294967295", "4294967296", strings.Repeat("9", 36), "-1", "+0", "0x0", "1000 ", "405:2147483648", "0b0", "1_0", "１",
	} {
		name, _, _ := strings.Cut(user, ":")
		img := a.with(evilimg.File("etc/passwd", "root:x:0:0::/:/bin/sh\n"+name+":x:0:0::/:/bin/sh\n", 0o644))
		img.Config = command("id")
		img.Config.User = user
		ref := a.image(img)
		_, err := p.create(p.container(ref, ""))
		a.refused(fmt.Sprintf("user %q", user), err)
		answer, err := a.ImageStatus(a.ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
		if err != nil {
			a.Fatal(err)
		}
		if uid := answer.Image.GetUid(); uid != nil && uid.Value == 0 {
			a.Errorf("ImageStatus reports user %q as root", user)
		}
	}
	for _, uid := range []int64{-1, 1 << 31, 1 << 32} {
		_, err := p.create(p.container(image.Busybox, "id", func(c *containerConfig) {
			c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: uid}
		}))
		a.refused(fmt.Sprint("run_as_user ", uid), err)
	}
}

// o10 has links to the host in place of everything that a runtime mounts or creates in an image.
func o10(a *attack) {
	up, dir := outside(a.host.Path("file")), outside(a.host.Path("dir"))
	var files []evilimg.Entry
	for _, name := range []string{"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"} {
		files = append(files, evilimg.Symlink(name, up))
	}
	img := a.with(append(files, evilimg.Symlink("run/secrets", dir))...)
	img.Config = command("cat /etc/mtab /etc/hosts /etc/hostname /etc/resolv.conf /run/secrets/* 2>&1; echo overwritten >/etc/resolv.conf")
	a.linked("files of /etc", img)
	for _, name := range []string{"etc", "dev", "proc", "sys", "run", "dev/shm", "dev/pts"} {
		img := a.with(evilimg.Symlink(name, dir))
		img.Config = command("cat /" + name + "/inner 2>&1; echo made >/" + name + "/made")
		a.linked(name, img)
	}
}

// o18 has links in the image at the destinations of the request's mounts.
func o18(a *attack) {
	source := a.TempDir()
	img := a.with(evilimg.Symlink("mnt", outside(a.host.Path("dir"))), evilimg.Symlink("file", outside(a.host.Path("file"))))
	img.Config = command("echo made >/mnt/made; echo made >/file; cat /mnt/inner /file 2>&1")
	a.linked("destination of a mount", img, func(c *containerConfig) {
		c.Mounts = []*runtimeapi.Mount{{HostPath: source, ContainerPath: "/mnt"}, {HostPath: source, ContainerPath: "/mnt/dir/new"}}
	})
}

// linked runs an image whose links lead to the host. It may be refused; it must not see anything of
// the host.
func (a *attack) linked(what string, img evilimg.Image, changes ...func(*containerConfig)) {
	a.Helper()
	ref := a.serve(img)
	if err := a.Pull(a.ctx, ref); err != nil {
		a.Logf("%s: %v", what, err)
		return
	}
	p := a.pod()
	c := p.container(ref, "", changes...)
	id, err := p.CRI.Run(a.ctx, p.id, p.config, c)
	if err != nil {
		a.Logf("%s: %v", what, err)
		a.clean("the error of "+what, err.Error())
		return
	}
	if _, err := a.AwaitState(a.ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
		a.Fatal(err)
	}
	a.clean(what, p.log(c))
}

// cve202641579 has an image in which /dev, where the runtime creates devices, is a link.
func cve202641579(a *attack) {
	for _, target := range []string{outside(a.host.Path("dir")), a.host.Path("dir"), "/proc/self/cwd" + a.host.Path("dir")} {
		img := a.with(evilimg.Symlink("dev", target))
		img.Config = command("ls -l /dev/; echo x >/dev/made")
		a.linked("/dev is a link to "+target, img)
	}
}

// cve20195736 has containers and execs run the program that starts them.
func cve20195736(a *attack) {
	script := evilimg.File("again", "#!/proc/self/exe\n", 0o755)
	img := a.with(script, evilimg.Symlink("bin/loader", "/proc/self/exe"))
	for _, entrypoint := range []string{"/proc/self/exe", "/again", "/bin/loader"} {
		img.Config = ocispec.ImageConfig{Entrypoint: []string{entrypoint}}
		ref := a.image(img)
		p := a.pod(quick)
		id, err := p.CRI.Run(a.ctx, p.id, p.config, p.container(ref, ""))
		if err == nil {
			_, err = a.AwaitState(a.ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED)
		}
		a.Logf("%s: %v", entrypoint, err)
		id = p.start(p.container(ref, "exec sleep 1000"))
		_, err = a.ExecSync(a.ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{entrypoint}, Timeout: 5})
		a.Logf("exec of %s: %v", entrypoint, err)
		// This is the program that another process of the container would have to open and
		// overwrite.
		out := a.exec(id, "sh", "-c", "for p in /proc/[0-9]*; do readlink $p/exe; done")
		if strings.Contains(out, "runc") || strings.Contains(out, "shim") {
			a.Errorf("a process of the container runs a program of the host: %s", out)
		}
	}
}

// cve201916884 has volumes of the image and links at /proc and below it.
func cve201916884(a *attack) {
	for _, volume := range []string{"/proc", "/proc/", "/x/../proc", "/proc/self/attr", "/proc/sys", "/"} {
		img := a.with()
		img.Config = command("true")
		img.Config.Volumes = map[string]struct{}{volume: {}}
		ref := a.image(img)
		p := a.pod(quick)
		_, err := p.create(p.container(ref, ""))
		a.refused("volume "+volume, err)
	}
	img := a.with(evilimg.Dir("x", 0o755), evilimg.Symlink("proc", "x"))
	img.Config = command("cat /proc/self/status | head -1; ls /x")
	a.linked("/proc is a link", img)
}

// cve202421626 uses working directories that a leaked file descriptor would lead to, in an image, a
// request and an exec, and checks the open files of a container.
func cve202421626(a *attack) {
	p := a.pod(quick)
	for fd := 3; fd < 64; fd += 3 {
		dir := fmt.Sprintf("/proc/self/fd/%d", fd)
		_, err := p.create(p.container(image.Busybox, "pwd; ls ../../../", func(c *containerConfig) { c.WorkingDir = dir }))
		a.wantCode("directory "+dir, err, codes.InvalidArgument)
	}
	for i, dir := range []string{"/proc/self/fd/8", "/proc/1/fd/7/../..", "/link"} {
		img := a.with(evilimg.Symlink("link", fmt.Sprint("/proc/self/fd/", 7+i)))
		img.Config = command("pwd; cat ." + a.host.Path("private"))
		img.Config.WorkingDir = dir
		a.linked("directory of the image "+dir, img)
	}
	// Not in a pipeline, because the shell has its pipes open for a moment, and not as the last
	// command, because the shell would exec it.
	out := p.output(p.container(image.Busybox, "ls -l /proc/$$/fd; true"))
	if strings.Count(out, " -> ") != 3 {
		a.Errorf("open files of the container: %s\nwant 0, 1 and 2", out)
	}
	id := p.sleeper()
	if out := a.exec(id, "ls", "-l", "/proc/1/fd"); strings.Count(out, "->") != 3 {
		a.Errorf("open files of the container's init: %s", out)
	}
}

// c22 creates a container from an image that claims to be the checkpoint of another image.
func c22(a *attack) {
	before := a.imageID(image.Busybox)
	img := a.with(evilimg.File("config.dump", `{"rootfsImageName":"`+image.Busybox+`"}`, 0o600))
	img.Config = command("true")
	img.Annotations = map[string]string{
		"org.criu.checkpoint.container.name":                     "victim",
		"org.criu.checkpoint.rootfsImageName":                    image.Busybox,
		"io.kubernetes.cri-o.annotations.checkpoint.name":        "victim",
		"org.criu.checkpoint.engine.name":                        "containerd",
		"io.kubernetes.cri-o.annotations.checkpoint.rootfsImage": image.Busybox,
	}
	ref := a.image(img)
	p := a.pod(quick)
	if _, err := p.create(p.container(ref, "true")); err != nil {
		a.Logf("an image that claims to be a checkpoint: %v", err)
	}
	if after := a.imageID(image.Busybox); after != before {
		a.Errorf("the ID of the busybox image is %s, want %s", after, before)
	}
}

func (a *attack) imageID(ref string) string {
	a.Helper()
	answer, err := a.ImageStatus(a.ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		a.Fatal(err)
	}
	return answer.GetImage().GetId()
}

// restored creates a container from the archive of a checkpoint.
func (a *attack) restored(spec any, more ...evilimg.Entry) {
	a.Helper()
	file := a.Path(a.repository() + ".tar")
	config := map[string]string{"rootfsImageName": image.Busybox, "rootfsImageRef": a.imageID(image.Busybox), "runtime": "runc", "id": "x"}
	a.writeFile(file, evilimg.Checkpoint(config, spec, more...))
	p := a.pod(quick)
	c := p.container(file, "true")
	id, err := p.create(c)
	a.refused("a container of a checkpoint's archive", err)
	if err == nil {
		_, spec := a.stored(id)
		text := string(evilimg.Document(spec))
		a.clean("its spec", text)
		if strings.Contains(text, a.host.Path()) {
			a.Errorf("its spec has the mounts of the archive")
		}
	}
	if log, err := os.ReadFile(p.config.LogDirectory + "/" + c.LogPath); err == nil {
		a.clean("its log", string(log))
	}
}

// c23 has links and other files in the archive of a checkpoint.
func c23(a *attack) {
	for _, more := range [][]evilimg.Entry{
		{evilimg.Symlink("container.log", a.host.Path("private"))},
		{evilimg.Hardlink("container.log", a.host.Path("private"))},
		{evilimg.FIFO("container.log")},
		{evilimg.CharDevice("container.log", 1, 5)},
		{evilimg.File(outside(a.host.Path("file")), "overwritten", 0o644)},
		{evilimg.Symlink("rootfs-diff.tar", a.host.Path("file")), evilimg.File("status", "x", 0o600)},
	} {
		a.restored(map[string]string{"ociVersion": "1.2.0"}, more...)
	}
}

// c24 has annotations in the spec of a checkpoint that name a CDI device of the node.
func c24(a *attack) {
	a.cdi(`"containerEdits": {"env": ["CANARY=` + canary.Secret + `"]}`)
	a.restored(map[string]any{"ociVersion": "1.2.0", "annotations": map[string]string{"cdi.k8s.io/x": "evil.test/c=all"}})
}

// o11 has mounts and privileges in the spec of a checkpoint.
func o11(a *attack) {
	a.restored(map[string]any{
		"ociVersion": "1.2.0",
		"mounts":     []map[string]any{{"destination": "/host", "source": a.host.Path(), "type": "bind", "options": []string{"rbind", "rw"}}},
		"process":    map[string]any{"args": []string{"cat", "/host/private"}, "cwd": "/"},
	})
}

// cdi adds the CDI device evil.test/c=all to the node.
func (a *attack) cdi(edits string) {
	a.Helper()
	dir := a.Path("cdi")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		a.Fatal(err)
	}
	file := dir + "/evil.json"
	a.writeFile(file, []byte(`{"cdiVersion": "0.6.0", "kind": "evil.test/c", "devices": [{"name": "all", `+edits+`}]}`))
	a.Cleanup(func() { os.Remove(file) })
}
