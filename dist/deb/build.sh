#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the two Debian packages, for the architecture of this machine, from the output of `make build man` and
# `integration/tools.sh package`:
#
#   bin/containerd-shim-lite_VERSION_ARCH.deb   the shim alone
#   bin/containerd-lite_VERSION_ARCH.deb        everything else, and the files that other packages expect of containerd
#
# VERSION is that of the last tag and the number of commits since then, or 0.1.0~dev without a tag.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH="$PATH:/usr/local/go/bin"

described=$(git describe --tags --match 'v[0-9]*' 2>/dev/null ||
	git log -1 --format="v0.1.0-dev-$(git rev-list --count HEAD)-g%h" 2>/dev/null || echo v0.1.0-dev)
# v0.2.0-rc.1-5-gabcdef0 becomes 0.2.0~rc.1+5.gabcdef0
VERSION=${VERSION:-$(sed -E 's/^v//; s/-([0-9]+)-g/+\1.g/; s/-/~/' <<<"$described")}
ARCH=$(go env GOARCH)
CONTAINERD=$(go list -m -f '{{.Version}}' github.com/containerd/containerd/v2)
CONTAINERD=${CONTAINERD#v}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export VERSION ARCH CONTAINERD SOURCE_DATE_EPOCH

daemon=bin/deb/containerd-lite shim=bin/deb/containerd-shim-lite
rm -rf bin/deb bin/*.deb
mkdir -p $shim/usr/{bin,share/man/man8}
DESTDIR=$PWD/$daemon PREFIX=/usr ZSHDIR=/usr/share/zsh/vendor-completions dist/install.sh install
mv $daemon/usr/bin/containerd-shim-lite-v2 $shim/usr/bin/
mv $daemon/usr/share/man/man8/containerd-shim-lite-v2.8 $shim/usr/share/man/man8/
install -m 755 -t $daemon/usr/bin .tools/bin/ctr .tools/bin/containerd-shim-runc-v2
ln -s containerd-lite $daemon/usr/bin/containerd
gzip -9n $daemon/usr/share/man/man*/* $shim/usr/share/man/man*/*
for package in $daemon $shim; do
	doc=$package/usr/share/doc/$(basename $package)
	install -D -m 644 -t "$doc" dist/deb/copyright
	gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
	.tools/bin/nfpm package -p deb -f "dist/deb/$(basename $package).yaml" -t "bin/$(basename $package)_${VERSION}_$ARCH.deb"
done
