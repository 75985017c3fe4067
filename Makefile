# SPDX-License-Identifier: Apache-2.0

# What the integration targets test: DAEMON is lite or stock (containerd v2.4.2, the control), HANDLER is the
# default runtime handler, lite or runc; SHARING is the option Sharing of lite: pod, node or a number; CGROUP is the
# cgroup driver, cgroupfs or systemd; RUNTIME is the OCI runtime, runc or crun. FOCUS, SEED, RUNS and WEBSOCKET are
# critest's.
# `make critest DAEMON=stock HANDLER=lite`, `make critest HANDLER=lite RUNS=10`, `make critest HANDLER=lite WEBSOCKET=1`
export LITE_DAEMON  ?= $(DAEMON)
export LITE_HANDLER ?= $(HANDLER)
export LITE_SHARING ?= $(SHARING)
export LITE_CGROUP  ?= $(CGROUP)
export LITE_RUNTIME ?= $(RUNTIME)
export LITE_FOCUS   ?= $(FOCUS)
export LITE_SEED    ?= $(SEED)
export LITE_RUNS    ?= $(RUNS)
export LITE_WEBSOCKET ?= $(WEBSOCKET)

# How many containers run out of memory in the suite cgroup2.
export LITE_OOM ?= 20

# How long the stress suite goes on.
export LITE_STRESS ?= 30s

# How long the faults of the disk last in the suite restart: durations, with spaces between.
export LITE_OUTAGES ?= 5s

# How many pods the soak runs.
export LITE_SOAK ?= 100

export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
SHELL := /bin/bash

# What `make bench` runs, and how often: `make bench ROWS=exec ROUNDS=3`
ROWS   ?=
ROUNDS ?= 5

# What `make vm` runs in the virtual machine: a suite of integration/, or with PACKAGE any other package; TEST is a
# regular expression for some tests of it.
SUITE   ?= crictl
PACKAGE ?= ./integration/$(SUITE)
TEST    ?=

UNIT    = $$(go list ./... | grep -v /integration)
FUZZFOR ?= 10s

.DEFAULT_GOAL := help
.PHONY: help build race man install uninstall deb tools test unit integration critest security kubelet-test stress faults soak vm vm-test power vm-shell vm-image lint fuzz demo dev bench bench-raw clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build containerd-lite and containerd-shim-lite-v2 into bin/
	CGO_ENABLED=0 go build -trimpath -tags no_cri -ldflags "-s -w" -o bin/containerd-lite ./cmd/containerd-lite
	CGO_ENABLED=0 go build -trimpath -tags no_grpc -ldflags "-s -w" -o bin/containerd-shim-lite-v2 ./cmd/containerd-shim-lite-v2

race: ## build containerd-lite with the race detector into bin/race/
	go build -race -tags no_cri -o bin/race/containerd-lite ./cmd/containerd-lite

man: ## write the man pages and shell completions into bin/share/
	go run -tags no_cri ./dist/man bin/share

install: build man ## install programs, unit, man pages and completions; PREFIX=/usr/local, DESTDIR=
	dist/install.sh install

uninstall: ## remove what `make install` put there
	dist/install.sh uninstall

deb: build man ## build the Debian packages containerd-lite and containerd-shim-lite into bin/
	integration/tools.sh package
	dist/deb/build.sh

tools: ## install the Debian packages and build the tools that tests need, into .tools/
	integration/tools.sh

test: lint unit integration ## everything: linter, unit tests, integration suites with critest

unit: tools ## go vet and unit tests with the race detector
	go vet -tags no_cri ./...
	CNI_PATH=$(CURDIR)/.tools/cni go run ./integration/count unit -race -tags no_cri $(UNIT)

integration: deb tools race ## every suite of integration/ against a running daemon (as root)
	go run ./integration/count integration -p 1 -count 1 -timeout 60m ./integration/...

critest: build tools ## critest v1.36.0 alone: prints its numbers per group
	go run ./integration/count critest -count 1 -timeout 60m ./integration/critest

security: build tools ## attack a daemon with the published holes of the field; DAEMON=stock is the control
	go run ./integration/count security -tags no_cri -count 1 -timeout 60m ./integration/security

kubelet-test: build tools ## a real kubelet v1.37 with static pods: what users do with pods
	go run ./integration/count kubelet -count 1 -timeout 60m ./integration/kubelet

stress: build tools race ## 100 callers of all lifecycle calls for two minutes, under the race detector
	LITE_STRESS=2m go run ./integration/count stress -count 1 -timeout 60m ./integration/stress

faults: build tools ## an unwritable database and a full disk under 20 pods, for 5, 30 and 120 seconds
	LITE_OUTAGES='5s 30s 120s' go run ./integration/count faults -v -count 1 -timeout 60m -run 'TestUnwritableDatabase|TestFullDisk' ./integration/restart

soak: build tools ## 2 000 pods, ten at once: nothing grows and nothing is left
	LITE_SOAK=2000 go run ./integration/count soak -count 1 -timeout 60m -run TestSoak ./integration/stress

vm: build tools race vm-image ## a suite in a virtual machine with cgroup v2, systemd and AppArmor: SUITE=critest CGROUP=systemd RUNTIME=crun
	go run ./integration/count vm-$(SUITE) -tags no_cri -count 1 -p 1 -timeout 110m -run '$(TEST)' -exec '$(CURDIR)/bin/guest run' $(PACKAGE)

vm-test: vm-image ## the suites in a virtual machine that CI runs, with the systemd cgroup driver
	$(MAKE) vm SUITE=cgroup2 LITE_CGROUP=systemd
	$(MAKE) vm SUITE=critest LITE_CGROUP=systemd LITE_FOCUS='AppArmor|OOM'

power: build deb tools vm-image ## a reboot of a virtual machine with pods and a kubelet, and 20 power cuts in the middle of pods
	LITE_BOOT=1 go run ./integration/count power -tags no_cri -count 1 -p 1 -timeout 110m -run 'TestGuest|TestNode|TestReboot|TestPowerCut' ./integration/vm ./integration/service

vm-shell: build tools race vm-image ## a shell in that machine, next to a copy of the checkout
	bin/guest shell

vm-image: # builds the machine's root file system in .tools/vm/ once, for minutes
	integration/tools.sh vm
	go build -o bin/guest ./integration/guest
	bin/guest image

lint: ## golangci-lint
	integration/tools.sh lint
	.tools/bin/golangci-lint run

fuzz: ## every fuzz target for FUZZFOR (10s) each
	@grep -rn --include '*_test.go' -oP '^func \KFuzz\w+' . | while IFS=: read -r file _ target; do \
		echo "==> $$target in $${file%/*}"; \
		go test -tags no_cri -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZFOR) "$${file%/*}" || exit 1; \
	done

demo: build tools ## a pod from pull to removal, step by step
	go run ./integration/demo

dev: build tools ## start a throw-away daemon and print how to talk to it
	go run ./integration/up

bench: build tools ## what pods cost, containerd-lite and stock containerd in turn; ROWS=regexp for some loads, ROUNDS=5
	go run ./integration/bench -rounds $(ROUNDS) -rows '$(ROWS)'

bench-raw: build tools ## what nobody can do faster: runc and the CNI plugins alone
	go run ./integration/bench -rounds $(ROUNDS) -raw

clean: ## remove bin/ and .tools/
	rm -rf bin .tools
