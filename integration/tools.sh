#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the tools of the tests and the demo, at pinned versions, in .tools/ of this repository.
# Needs Go and Debian 12. Installs missing Debian packages (as root).
# A tool that exists in its pinned version is not built again.
#
#   integration/tools.sh              all tools of the suites
#   integration/tools.sh demo         those of `make demo`, which starts neither a kubelet nor stock containerd
#   integration/tools.sh lint         the linter
#   integration/tools.sh package      the tools of `make deb`, and the Debian packages for the tests of ours
#   integration/tools.sh vm           the tools of the virtual machine: only Debian packages
#   integration/tools.sh old          earlier containerds, for the suite swap; takes some minutes
#   integration/tools.sh peers        CRI-O, for a bench that also compares with it; takes some minutes
set -euo pipefail

export PATH="$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
unset GOFLAGS GOBIN GOOS GOARCH CGO_ENABLED
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$top/.tools

runc=v1.5.2
containerd=v2.4.2
critools=v1.37.0
kubernetes=v1.37.0
cniplugins=v1.9.1
golangci=v2.15.0
nfpm=v2.45.2
crio=v1.36.3
old="v1.7.35 v2.0.14 v2.1.9 v2.2.9 v2.3.7"

# gcc, libc6-dev and libseccomp-dev: to build runc, pause and the tests with the race detector.
# iptables, iproute2, mount, util-linux: called on the host by CNI plugins, critest and the leak check.
# strace: counts for the bench. e2fsprogs: makes the disk that a test fills.
debian="ca-certificates gcc libc6-dev pkg-config libseccomp-dev iptables iproute2 mount util-linux procps kmod strace e2fsprogs"

demo="ca-certificates gcc libc6-dev pkg-config libseccomp-dev iptables iproute2 mount util-linux procps"

cni="main/bridge main/loopback main/ptp main/host-device ipam/host-local meta/portmap meta/bandwidth meta/tuning meta/firewall"

vm="debootstrap e2fsprogs qemu-system-x86 qemu-utils"

# conmon is CRI-O's shim. The other packages are for the build.
peers="conmon gcc libc6-dev pkg-config libseccomp-dev"

# Contents of the test images: programs and their libraries. These packages are only unpacked.
guest="busybox nginx nginx-common util-linux procps
	libc6 libcap2 libcrypt1 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libpcre2-8-0 libproc2-0 libssl3 libsystemd0 libzstd1 zlib1g"

# Packages that the tests of our packages replace, or install beside them. These are not unpacked.
replaced="containerd runc containernetworking-plugins"

# Programs that no test measures are built without inlining, which takes two thirds of the time.
quick=-gcflags=all=-l

say() { printf '==> %s\n' "$*"; }

debian_packages() {
	local missing=() package
	for package in $1; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	if [ ${#missing[@]} -eq 0 ]; then return; fi
	say "apt-get install ${missing[*]}"
	if [ "$(id -u)" -ne 0 ]; then
		echo "these Debian packages are missing: run this as root, or install them" >&2
		exit 1
	fi
	apt-get -q update
	DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# tool DIRECTORY/NAME MODULE VERSION PACKAGE [go arguments...] builds PACKAGE with MODULE as the main module, so
# that the versions in its go.mod apply. `go install PACKAGE@VERSION` would do nearly the same, but refuses a module
# with replace directives. The demo builds all programs without inlining, and takes those that are there.
tool() {
	local out=$tools/$1 module=$2 version=$3 package=$4 mark=$tools/versions/${1//\//-}
	shift 4
	if [ "$mode" = demo ]; then set -- "$@" "$quick"; fi
	local want="$module@$version $package $*" have
	have=$(cat "$mark" 2>/dev/null) || true
	if [ -x "$out" ] && [ "$have" = "$want" ]; then return; fi
	if [ -x "$out" ] && [ "$mode" = demo ] && [[ $have = "$module@$version $package "* ]]; then return; fi
	say "building $(basename "$out") $version"
	(cd / && go mod download "$module@$version")
	local verb=(build)
	if [ "${1:-}" = test ]; then verb=(test -c); shift; fi
	(cd "$(go env GOMODCACHE)/$module@$version" && go "${verb[@]}" -mod=readonly -trimpath -buildvcs=false -o "$out" "$@" "./$package")
	printf '%s' "$want" >"$mark"
}

# download DIRECTORY PACKAGE... downloads the .deb files of packages into an empty directory.
download() {
	rm -rf "$1"
	mkdir -p "$1"
	(cd "$1" && shift && { apt-get -q download "$@" || { apt-get -q update && apt-get -q download "$@"; }; }) 2>&1 |
		grep -v '^W: Download is performed unsandboxed'
}

guest_packages() {
	local out=$tools/debian mark=$tools/versions/debian
	if [ "$(cat "$mark" 2>/dev/null)" = "$guest" ]; then return; fi
	say "unpacking Debian packages for the test images"
	rm -rf "$out"
	# shellcheck disable=SC2086
	download "$tools/debs" $guest
	local deb
	for deb in "$tools"/debs/*.deb; do dpkg-deb -x "$deb" "$out"; done
	rm -rf "$tools/debs"
	printf '%s' "$guest" >"$mark"
}

# image_programs builds the programs of the test images that are in this repository.
image_programs() {
	mkdir -p "$tools/images"
	CGO_ENABLED=0 go -C "$top/integration" build -trimpath -buildvcs=false -o "$tools/images/nnp" ./cmd/nnp
	gcc -Os -s -static -o "$tools/images/pause" "$top/integration/lib/image/pause/pause.c"
}

replaced_packages() {
	local mark=$tools/versions/packages
	if [ "$(cat "$mark" 2>/dev/null)" = "$replaced" ]; then return; fi
	say "downloading Debian packages for the tests of our packages"
	# shellcheck disable=SC2086
	download "$tools/packages" $replaced
	printf '%s' "$replaced" >"$mark"
}

runc_tool() {
	tool bin/runc github.com/opencontainers/runc $runc . -tags seccomp -ldflags "-s -w -X main.version=${runc#v}"
}

crictl_tool() {
	local k=sigs.k8s.io/cri-tools
	CGO_ENABLED=0 tool bin/crictl $k $critools cmd/crictl $quick -ldflags "-X $k/pkg/version.Version=$critools"
}

# together runs functions at the same time: some download while others build.
together() {
	local jobs=() job
	for job in "$@"; do
		$job &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do wait "$job"; done
}

demo_cni() { cni_plugins main/bridge main/loopback ipam/host-local meta/portmap meta/bandwidth meta/tuning; }

demo_tools() { together guest_packages runc_tool image_programs crictl_tool demo_cni; }

all_debian() {
	guest_packages
	debian_containerd
	prometheus_tools
}

all_cni() { cni_plugins $cni; }

all_tools() { together all_debian image_programs runtime_tools all_cni kubelet; }

runtime_tools() {
	local c=github.com/containerd/containerd/v2 k=sigs.k8s.io/cri-tools
	runc_tool
	crictl_tool
	CGO_ENABLED=0 tool bin/containerd-integration $c $containerd integration test -tags urfave_cli_no_docs
	tool bin/containerd $c $containerd cmd/containerd -tags urfave_cli_no_docs -ldflags "-s -w -X $c/version.Version=$containerd"
	containerd_tools
	CGO_ENABLED=0 tool bin/critest $k $critools cmd/critest test $quick -ldflags "-X $k/pkg/version.Version=$critools"
}

# containerd_tools are built without cgo, so that they run on every Linux: our package contains them.
containerd_tools() {
	local c=github.com/containerd/containerd/v2
	CGO_ENABLED=0 tool bin/ctr $c $containerd cmd/ctr -tags urfave_cli_no_docs -ldflags "-s -w -X $c/version.Version=$containerd"
	CGO_ENABLED=0 tool bin/containerd-shim-runc-v2 $c $containerd cmd/containerd-shim-runc-v2 -tags "urfave_cli_no_docs no_grpc" -ldflags "-s -w -X $c/version.Version=$containerd"
}

# debian_containerd unpacks the containerd of Debian 12, which is of version 1.6.
debian_containerd() {
	local out=$tools/old/v1.6.20
	if [ -x "$out/containerd" ]; then return; fi
	say "unpacking Debian's containerd"
	download "$tools/debs" containerd
	dpkg-deb -x "$tools"/debs/containerd_*.deb "$tools/debs"
	mkdir -p "$out"
	cp "$tools"/debs/usr/bin/{containerd,containerd-shim-runc-v2} "$out"
	rm -rf "$tools/debs"
}

# prometheus_tools unpacks Debian's Prometheus, for the tests of the dashboard and the alerts.
prometheus_tools() {
	if [ -x "$tools/bin/promtool" ]; then return; fi
	say "unpacking Debian's Prometheus"
	download "$tools/debs" prometheus
	dpkg-deb -x "$tools"/debs/prometheus_*.deb "$tools/debs"
	cp "$tools"/debs/usr/bin/{prometheus,promtool} "$tools/bin"
	rm -rf "$tools/debs"
}

# old_containerds builds earlier containerds with their shims.
old_containerds() {
	local c v
	debian_containerd
	for v in $old; do
		c=github.com/containerd/containerd
		if [[ $v != v1.* ]]; then c=$c/v2; fi
		mkdir -p "$tools/old/$v"
		tool "old/$v/containerd" $c "$v" cmd/containerd -tags urfave_cli_no_docs -ldflags "-s -w -X $c/version.Version=$v"
		CGO_ENABLED=0 tool "old/$v/containerd-shim-runc-v2" $c "$v" cmd/containerd-shim-runc-v2 -tags "urfave_cli_no_docs no_grpc" -ldflags "-s -w"
	done
}

# kubelet builds the kubelet from the module k8s.io/kubernetes. The go.mod of that module replaces the staging modules by
# directories that are not in the module. They are published as modules of their own, v0.X.Y for v1.X.Y.
kubelet() {
	local out=$tools/bin/kubelet mark=$tools/versions/bin-kubelet source=$tools/kubernetes
	if [ -x "$out" ] && [ "$(cat "$mark" 2>/dev/null)" = "$kubernetes" ]; then return; fi
	say "building kubelet $kubernetes; this takes some minutes"
	(cd / && go mod download "k8s.io/kubernetes@$kubernetes")
	rm -rf "$source"
	cp -r --no-preserve=mode "$(go env GOMODCACHE)/k8s.io/kubernetes@$kubernetes" "$source"
	(
		cd "$source"
		awk -v version="${kubernetes/v1/v0}" '/=> \.\/staging\// { print "-replace=" $1 "=" $1 "@" version }' go.mod | xargs go mod edit
		GOWORK=off go build -mod=mod -trimpath -buildvcs=false $quick -o "$out" \
			-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" ./cmd/kubelet
	)
	rm -rf "$source"
	printf '%s' "$kubernetes" >"$mark"
}

# cni_plugins DIRECTORY/NAME... builds CNI plugins.
cni_plugins() {
	local plugin
	for plugin in "$@"; do
		CGO_ENABLED=0 tool "cni/${plugin#*/}" github.com/containernetworking/plugins $cniplugins "plugins/$plugin"
	done
}

linter() {
	CGO_ENABLED=0 tool bin/golangci-lint github.com/golangci/golangci-lint/v2 $golangci cmd/golangci-lint $quick -ldflags "-X main.version=${golangci#v}"
}

packager() {
	CGO_ENABLED=0 tool bin/nfpm github.com/goreleaser/nfpm/v2 $nfpm cmd/nfpm $quick -ldflags "-s -w -X main.version=${nfpm#v}"
}

# crio_tools builds CRI-O, and pinns, which makes and pins the namespaces of its pods.
crio_tools() {
	local c=github.com/cri-o/cri-o
	tool bin/crio $c $crio cmd/crio -ldflags "-s -w" \
		-tags "seccomp containers_image_openpgp containers_image_ostree_stub exclude_graphdriver_btrfs"
	(cd / && go mod download "$c@$crio")
	gcc -std=c99 -Os -s -static -o "$tools/bin/pinns" "$(go env GOMODCACHE)/$c@$crio"/pinns/src/*.c
}

mode=${1:-all}
mkdir -p "$tools/bin" "$tools/cni" "$tools/versions"
command -v go >/dev/null || { echo "go is not in PATH: install Go, https://go.dev/dl" >&2; exit 1; }
case $mode in
	all) debian_packages "$debian"; all_tools ;;
	demo) debian_packages "$demo"; demo_tools ;;
	lint) linter ;;
	package) packager; containerd_tools; replaced_packages ;;
	vm) debian_packages "$vm" ;;
	old) debian_packages "gcc libc6-dev pkg-config libseccomp-dev"; old_containerds ;;
	peers) debian_packages "$peers"; crio_tools ;;
	*) echo "usage: $0 [all|demo|lint|package|vm|old|peers]" >&2; exit 2 ;;
esac
say "the tools are in $tools"
