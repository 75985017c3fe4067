#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the output of `make build man`, or removes it:
#
#   dist/install.sh install|uninstall
#
# PREFIX, by default /usr/local, is the prefix of the paths at run time; files are copied below DESTDIR, by default the
# root. ZSHDIR is zsh's directory of completions. No service is started or stopped.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=${PREFIX:-/usr/local}
share=$prefix/share
units=$prefix/lib/systemd/system

# MODE FILE DIRECTORY
files="
755 bin/containerd-lite $prefix/bin
755 bin/containerd-shim-lite-v2 $prefix/bin
644 dist/containerd-lite.service $units
644 bin/share/man/man8/containerd-lite.8 $share/man/man8
644 bin/share/man/man8/containerd-shim-lite-v2.8 $share/man/man8
644 bin/share/man/man5/containerd-lite-config.toml.5 $share/man/man5
644 bin/share/bash-completion/completions/containerd-lite $share/bash-completion/completions
644 bin/share/zsh/site-functions/_containerd-lite ${ZSHDIR:-$share/zsh/site-functions}
644 bin/share/fish/vendor_completions.d/containerd-lite.fish $share/fish/vendor_completions.d
"

add() {
	install -D -m "$1" -t "${DESTDIR:-}$3" "$top/$2"
}

remove() {
	rm -f "${DESTDIR:-}$3/$(basename "$2")"
}

each() {
	local mode file dir
	while read -r mode file dir; do
		if [ -n "$mode" ]; then "$1" "$mode" "$file" "$dir"; fi
	done <<<"$files"
}

case ${1:-} in
	install)
		each add
		sed -i "s,/usr/local/bin/,$prefix/bin/," "${DESTDIR:-}$units/containerd-lite.service"
		;;
	uninstall) each remove ;;
	*) echo "usage: $0 install|uninstall" >&2; exit 2 ;;
esac
