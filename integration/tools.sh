#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what the tests and the demo use, at pinned versions, into .tools/ of this repository.
# Needs Go and a Debian 12: the Debian packages that are missing are installed (as root).
# A tool that is already there at its version is left alone.
#
#   integration/tools.sh              everything that suites need
#   integration/tools.sh lint         the linter
#   integration/tools.sh package      what `make deb` needs, and the packages of Debian that ours are tested with
#   integration/tools.sh vm           what runs a virtual machine: only Debian packages
set -euo pipefail

export PATH="$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
unset GOFLAGS GOBIN GOOS GOARCH CGO_ENABLED
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$top/.tools

runc=v1.5.2
containerd=v2.4.2
critools=v1.36.0
kubernetes=v1.37.0
cniplugins=v1.9.1
golangci=v2.15.0
nfpm=v2.45.2

# gcc, libc6-dev and libseccomp-dev build runc, pause and the race detector's tests; iptables, iproute2, mount
# and util-linux are what CNI plugins, critest and the leak check call on the host; strace counts for the bench;
# e2fsprogs makes the disk that a test fills.
debian="ca-certificates gcc libc6-dev pkg-config libseccomp-dev iptables iproute2 mount util-linux procps kmod strace e2fsprogs"

vm="debootstrap e2fsprogs qemu-system-x86 qemu-utils"

# What the images of the tests are made of: programs and the libraries they load. These are only unpacked.
guest="busybox nginx nginx-common util-linux procps
	libc6 libcap2 libcrypt1 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libpcre2-8-0 libproc2-0 libssl3 libsystemd0 libzstd1 zlib1g"

# What the tests of our packages replace, and install beside them; these stay packages.
replaced="containerd runc containernetworking-plugins"

say() { printf '==> %s\n' "$*"; }

debian_packages() {
	local missing=() package
	for package in $1; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	if [ ${#missing[@]} -eq 0 ]; then return; fi
	say "apt-get install ${missing[*]}"
	if [ "$(id -u)" -ne 0 ]; then
		echo "these Debian packages are missing; run this as root, or install them" >&2
		exit 1
	fi
	apt-get -q update
	DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# tool DIRECTORY/NAME MODULE VERSION PACKAGE [go arguments...]: builds PACKAGE of MODULE with the versions
# that MODULE itself pins in its go.mod: it is the main module of its own build. `go install PACKAGE@VERSION`
# would do nearly the same, but refuses a module with replace directives.
tool() {
	local out=$tools/$1 module=$2 version=$3 package=$4 mark=$tools/versions/${1//\//-}
	shift 4
	local want="$module@$version $package $*"
	if [ -x "$out" ] && [ "$(cat "$mark" 2>/dev/null)" = "$want" ]; then return; fi
	say "building $(basename "$out") $version"
	(cd / && go mod download "$module@$version")
	local verb=(build)
	if [ "${1:-}" = test ]; then verb=(test -c); shift; fi
	(cd "$(go env GOMODCACHE)/$module@$version" && go "${verb[@]}" -mod=readonly -trimpath -buildvcs=false -o "$out" "$@" "./$package")
	printf '%s' "$want" >"$mark"
}

# download DIRECTORY PACKAGE...: puts the files of Debian packages into an empty directory.
download() {
	rm -rf "$1"
	mkdir -p "$1"
	(cd "$1" && shift && { apt-get -q download "$@" || { apt-get -q update && apt-get -q download "$@"; }; }) 2>&1 |
		grep -v '^W: Download is performed unsandboxed'
}

guest_packages() {
	local out=$tools/debian mark=$tools/versions/debian
	if [ "$(cat "$mark" 2>/dev/null)" = "$guest" ]; then return; fi
	say "unpacking Debian packages for the images of the tests"
	rm -rf "$out"
	# shellcheck disable=SC2086
	download "$tools/debs" $guest
	local deb
	for deb in "$tools"/debs/*.deb; do dpkg-deb -x "$deb" "$out"; done
	rm -rf "$tools/debs"
	printf '%s' "$guest" >"$mark"
}

# image_programs builds what the images of the tests have beside Debian's packages: its sources are here.
image_programs() {
	mkdir -p "$tools/images"
	(cd "$top" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$tools/images/nnp" ./integration/image/nnp)
	gcc -Os -s -static -o "$tools/images/pause" "$top/integration/image/pause/pause.c"
}

replaced_packages() {
	local mark=$tools/versions/packages
	if [ "$(cat "$mark" 2>/dev/null)" = "$replaced" ]; then return; fi
	say "downloading Debian packages for the tests of ours"
	# shellcheck disable=SC2086
	download "$tools/packages" $replaced
	printf '%s' "$replaced" >"$mark"
}

runtime_tools() {
	local c=github.com/containerd/containerd/v2 k=sigs.k8s.io/cri-tools
	tool bin/runc github.com/opencontainers/runc $runc . -tags seccomp -ldflags "-s -w -X main.version=${runc#v}"
	tool bin/containerd $c $containerd cmd/containerd -tags urfave_cli_no_docs -ldflags "-s -w -X $c/version.Version=$containerd"
	containerd_tools
	CGO_ENABLED=0 tool bin/crictl $k $critools cmd/crictl -ldflags "-X $k/pkg/version.Version=$critools"
	CGO_ENABLED=0 tool bin/critest $k $critools cmd/critest test -ldflags "-X $k/pkg/version.Version=$critools"
}

# containerd_tools are built without cgo, so that they run on every Linux: they are in a package, too.
containerd_tools() {
	local c=github.com/containerd/containerd/v2
	CGO_ENABLED=0 tool bin/ctr $c $containerd cmd/ctr -tags urfave_cli_no_docs -ldflags "-s -w -X $c/version.Version=$containerd"
	CGO_ENABLED=0 tool bin/containerd-shim-runc-v2 $c $containerd cmd/containerd-shim-runc-v2 -tags "urfave_cli_no_docs no_grpc" -ldflags "-s -w -X $c/version.Version=$containerd"
}

# kubelet builds the kubelet from the module k8s.io/kubernetes. Its go.mod replaces its staging modules by folders that
# are not in the module, and that are published as modules of their own, v0.X.Y for v1.X.Y.
kubelet() {
	local out=$tools/bin/kubelet mark=$tools/versions/bin-kubelet source=$tools/kubernetes
	if [ -x "$out" ] && [ "$(cat "$mark" 2>/dev/null)" = "$kubernetes" ]; then return; fi
	say "building kubelet $kubernetes, for some minutes"
	(cd / && go mod download "k8s.io/kubernetes@$kubernetes")
	rm -rf "$source"
	cp -r --no-preserve=mode "$(go env GOMODCACHE)/k8s.io/kubernetes@$kubernetes" "$source"
	(
		cd "$source"
		awk -v version="${kubernetes/v1/v0}" '/=> \.\/staging\// { print "-replace=" $1 "=" $1 "@" version }' go.mod | xargs go mod edit
		GOWORK=off go build -mod=mod -trimpath -buildvcs=false -o "$out" \
			-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" ./cmd/kubelet
	)
	rm -rf "$source"
	printf '%s' "$kubernetes" >"$mark"
}

cni_plugins() {
	local plugin
	for plugin in main/bridge main/loopback main/ptp main/host-device ipam/host-local \
		meta/portmap meta/bandwidth meta/tuning meta/firewall; do
		CGO_ENABLED=0 tool "cni/${plugin#*/}" github.com/containernetworking/plugins $cniplugins "plugins/$plugin"
	done
}

linter() {
	CGO_ENABLED=0 tool bin/golangci-lint github.com/golangci/golangci-lint/v2 $golangci cmd/golangci-lint -ldflags "-X main.version=${golangci#v}"
}

packager() {
	CGO_ENABLED=0 tool bin/nfpm github.com/goreleaser/nfpm/v2 $nfpm cmd/nfpm -ldflags "-s -w -X main.version=${nfpm#v}"
}

mkdir -p "$tools/bin" "$tools/cni" "$tools/versions"
command -v go >/dev/null || { echo "Go is needed: https://go.dev/dl" >&2; exit 1; }
case ${1:-all} in
	all) debian_packages "$debian"; guest_packages; image_programs; runtime_tools; cni_plugins; kubelet ;;
	lint) linter ;;
	package) packager; containerd_tools; replaced_packages ;;
	vm) debian_packages "$vm" ;;
	*) echo "usage: $0 [all|lint|package|vm]" >&2; exit 2 ;;
esac
say "the tools are in $tools"
