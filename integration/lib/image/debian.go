// SPDX-License-Identifier: Apache-2.0

package image

import (
	_ "embed" // for the files of etc
	"fmt"
	"path"
	"strings"
)

var (
	//go:embed etc/passwd
	passwd string
	//go:embed etc/group
	group string
)

// applets are the commands of Debian's busybox that critest and our suites call. They are hard
// links: the shell of a static busybox would run its own applets before it searches PATH, and a
// process started through a symbolic link would have another name in /proc.
const applets = `[ ash awk brctl cat chgrp chmod chown cp cut date dd df echo env expr false find free grep
	head hostname httpd id ifconfig kill killall ln ls md5sum mkdir mkfifo mknod mktemp mount mv nc netstat
	nproc nslookup pidof ping printf ps pwd readlink rm rmdir route sed seq sh sleep sort stat stty sync
	tail tar tee test time timeout top touch tr true tty umount uname uniq usleep vi wc wget which whoami
	xargs yes`

func (b *builder) busyboxFiles() *layer {
	files := b.files()
	for _, folder := range []string{"/etc", "/home", "/proc", "/root", "/run", "/sys", "/usr/local/bin", "/var/log", "/var/www"} {
		files.dir(folder, 0o755)
	}
	files.dir("/tmp", 0o1777).dir("/var/tmp", 0o1777)
	files.symlink("/var/run", "/run")
	files.text("/etc/passwd", passwd, 0o644).text("/etc/group", group, 0o644)
	files.program("/bin/busybox").program("/usr/bin/ipcs").program("/usr/bin/pgrep")
	files.symlink("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
	for applet := range strings.FieldsSeq(applets) {
		files.link(path.Join("/bin", applet), "/bin/busybox")
	}
	return files
}

func (b *builder) nginxFiles(port int) *layer {
	files := b.files().program("/usr/sbin/nginx").copy("/etc/nginx/mime.types", b.packages+"/etc/nginx/mime.types", 0o644)
	files.dir("/var/lib/nginx", 0o755).dir("/var/log/nginx", 0o755)
	files.text("/usr/share/nginx/html/index.html", "Welcome to nginx!\n", 0o644)
	files.symlink("/var/log/nginx/access.log", "/dev/stdout").symlink("/var/log/nginx/error.log", "/dev/stderr")
	return files.text("/etc/nginx/nginx.conf", fmt.Sprintf(nginxConf, port), 0o644)
}

const nginxConf = `user www-data;
worker_processes 1;
pid /var/run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
	include mime.types;
	access_log /var/log/nginx/access.log;
	server {
		listen %d;
		root /usr/share/nginx/html;
	}
}
`
