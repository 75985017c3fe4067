# SPDX-License-Identifier: Apache-2.0

# Variables of the integration targets: DAEMON is lite or stock (containerd v2.4.2, the control), and for `make dev`
# also crio (CRI-O v1.36.3, after `integration/tools.sh peers`); HANDLER is the default runtime handler, lite or runc;
# SHARING is the option Sharing of lite: pod, node or a number; FASTEXEC, if not empty, sets its option FastExec;
# CGROUP is the cgroup driver, cgroupfs or systemd; RUNTIME is the OCI runtime, runc or crun. FOCUS, SEED, RUNS and
# WEBSOCKET are critest's.
# `make critest DAEMON=stock HANDLER=lite`, `make critest HANDLER=lite RUNS=10`, `make critest HANDLER=lite WEBSOCKET=1`
export LITE_DAEMON  ?= $(DAEMON)
export LITE_HANDLER ?= $(HANDLER)
export LITE_SHARING ?= $(SHARING)
export LITE_FASTEXEC ?= $(FASTEXEC)
export LITE_CGROUP  ?= $(CGROUP)
export LITE_RUNTIME ?= $(RUNTIME)
export LITE_FOCUS   ?= $(FOCUS)
export LITE_SEED    ?= $(SEED)
export LITE_RUNS    ?= $(RUNS)
export LITE_WEBSOCKET ?= $(WEBSOCKET)

# Number of containers that are OOM-killed in the suite cgroup2.
export LITE_OOM ?= 20

# Duration of the stress suite.
export LITE_STRESS ?= 30s

# Durations of the disk faults in the suite restart, separated by spaces.
export LITE_OUTAGES ?= 5s

# Number of reloads of config.toml in the suite reload.
export LITE_RELOADS ?= 200

# Number of pods in the soak.
export LITE_SOAK ?= 100

export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
SHELL := /bin/bash

# The loads and the largest number of rounds of `make bench`: `make bench ROWS=exec ROUNDS=4`. BASE is the commit that
# `make bench-diff` compares with.
ROWS   ?=
ROUNDS ?= 12
BASE   ?= HEAD
# PEERS=1 adds CRI-O to the table. PLUGIN is the path of an NRI plugin that each daemon runs.
PEERS  ?=
PLUGIN ?=

# The numbers of pods of `make bench-scale`: `make bench-scale SIZES='10 100' ROWS=scale`. Each of its two rounds
# measures each size twice.
SIZES ?= 10 100 250 500
bench-scale: ROUNDS = 2

# `make vm` runs SUITE, a suite of integration/suite, or PACKAGE, a package of the daemon or the shim, in the virtual
# machine. TEST is a regular expression that selects tests.
SUITE   ?= crictl
PACKAGE ?=
TEST    ?=

FUZZFOR ?= 10s

.DEFAULT_GOAL := help
.PHONY: help build race man install uninstall deb tools plan test unit integration critest security kubelet-test swap-test stress faults soak vm vm-ci vm-test power vm-shell vm-image count lint fuzz demo dev bench bench-diff bench-scale bench-raw clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# FLAGS are more flags of the compiler. The demo turns inlining off, which saves a third of the time to build.
FLAGS ?=
QUICK := -gcflags=all=-l

build: ## build containerd-lite and containerd-shim-lite-v2 into bin/
	CGO_ENABLED=0 go build $(FLAGS) -trimpath -tags no_cri -ldflags "-s -w" -o bin/containerd-lite ./cmd/containerd-lite
	CGO_ENABLED=0 go build $(FLAGS) -trimpath -tags no_grpc -ldflags "-s -w" -o bin/containerd-shim-lite-v2 ./cmd/containerd-shim-lite-v2

race: ## build containerd-lite with the race detector into bin/race/
	go build -race -tags no_cri -o bin/race/containerd-lite ./cmd/containerd-lite

man: ## write the man pages and shell completions into bin/share/
	go run -tags no_cri ./dist/man bin/share

install: build man ## install programs, unit, man pages and completions; PREFIX=/usr/local, DESTDIR=
	dist/install.sh install

uninstall: ## remove the files that `make install` installed
	dist/install.sh uninstall

deb: build man ## build the Debian packages containerd-lite and containerd-shim-lite into bin/
	integration/tools.sh package
	dist/deb/build.sh

tools: ## install the Debian packages that tests need, and build their tools into .tools/
	integration/tools.sh

plan: # says what `make test` runs
	@echo '==> make test, on two cores: linter (4 min the first time), tools (12 min the first time), unit tests (5 min), integration suites (25 min)'

test: plan lint unit integration ## everything: linter, unit tests, integration suites with critest

unit: tools count ## unit tests with the race detector; the linter runs go vet
	CNI_PATH=$(CURDIR)/.tools/cni bin/count unit . -race -tags no_cri ./...

integration: deb tools race count ## every suite of integration/ against a running daemon (as root); critest runs only with containerd-lite and the lite shim
	LITE_HANDLER=$(or $(LITE_HANDLER),lite) bin/count integration integration -p 1 -count 1 -timeout 60m ./...

count: # builds the program that runs `go test` and counts its tests
	go -C integration build -o ../bin/count ./cmd/count

critest: build tools count ## critest v1.37.0 alone, with either shim and on stock containerd, with results per group
	bin/count critest integration -count 1 -timeout 60m ./suite/critest

security: build tools count ## attack a daemon with the published vulnerabilities of container runtimes; DAEMON=stock is the control
	bin/count security integration -tags no_cri -count 1 -timeout 60m ./suite/security

kubelet-test: build tools count ## a real kubelet v1.37 with static pods: common uses of pods
	bin/count kubelet integration -count 1 -timeout 60m ./suite/kubelet

stress: build tools race count ## 100 callers of all lifecycle calls for two minutes, under the race detector
	LITE_STRESS=2m bin/count stress integration -count 1 -timeout 60m ./suite/stress

faults: build tools count ## an unwritable database and a full disk under 20 pods, for 5, 30 and 120 seconds
	LITE_OUTAGES='5s 30s 120s' bin/count faults integration -v -count 1 -timeout 60m -run 'TestUnwritableDatabase|TestFullDisk' ./suite/restart

soak: build tools count ## 2 000 pods, ten at once: no growth, no leaks
	LITE_SOAK=2000 bin/count soak integration -count 1 -timeout 60m -run TestSoak ./suite/stress

ifeq ($(SUITE),bench)
vm: build tools vm-image
	go -C integration build -o ../bin/bench ./cmd/bench
	$(if $(PEERS),integration/tools.sh peers)
	bin/guest run $(CURDIR)/bin/bench -rounds $(ROUNDS) -rows '$(ROWS)' $(if $(PEERS),-peers)
else
vm: build tools race vm-image count ## a suite in a virtual machine with cgroup v2, systemd and AppArmor: SUITE=critest CGROUP=systemd RUNTIME=crun; SUITE=bench is `make bench`
	bin/count vm-$(SUITE) $(if $(PACKAGE),.,integration) -tags no_cri -count 1 -p 1 -timeout 110m -run '$(TEST)' -exec '$(CURDIR)/bin/guest run' $(or $(PACKAGE),./suite/$(SUITE))
endif

vm-ci: vm-image ## the virtual machine suite that CI runs, with the systemd cgroup driver
	$(MAKE) vm SUITE=cgroup2 LITE_CGROUP=systemd

vm-test: vm-ci ## vm-ci, and the specs of critest that need AppArmor or cgroup v2
	$(MAKE) vm SUITE=critest LITE_CGROUP=systemd LITE_FOCUS='AppArmor|OOM|metrics'

swap-test: build tools count ## containerd 1.6 to 2.4 under pods replaced by containerd-lite, and back; with Debian's packages in a virtual machine
	integration/tools.sh old
	bin/count swap integration -count 1 -p 1 -timeout 60m ./suite/swap
	bin/count swap-kubelet integration -count 1 -timeout 60m -run TestSwap ./suite/kubelet
	LITE_VM=1 $(MAKE) deb vm SUITE=service TEST=TestSwap

power: build deb tools vm-image count ## a reboot of a virtual machine with pods and a kubelet, and 20 power cuts in the middle of pods
	LITE_BOOT=1 bin/count power integration -tags no_cri -count 1 -p 1 -timeout 110m -run 'TestGuest|TestNode|TestReboot|TestPowerCut' ./lib/vm ./suite/service

vm-shell: build tools race vm-image ## a shell in the virtual machine, with a copy of the checkout
	bin/guest shell

vm-image: # builds the root file system of the virtual machine in .tools/vm/ once; takes minutes
	integration/tools.sh vm
	go -C integration build -o ../bin/guest ./cmd/guest
	bin/guest image

lint: ## golangci-lint
	integration/tools.sh lint
	.tools/bin/golangci-lint run
	cd integration && ../.tools/bin/golangci-lint run

fuzz: ## every fuzz target for FUZZFOR (10s) each
	@grep -rn --include '*_test.go' -oP '^func \KFuzz\w+' . | while IFS=: read -r file _ target; do \
		echo "==> $$target in $${file%/*}"; \
		go -C "$${file%/*}" test -tags no_cri -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZFOR) . || exit 1; \
	done

demo: ## a pod from pull to removal, step by step
	@begin=$$(date +%s); integration/tools.sh demo & tools=$$!; \
	$(MAKE) --no-print-directory build FLAGS=$(QUICK) && \
	CGO_ENABLED=0 go -C integration build $(QUICK) -trimpath -o ../bin/demo ./cmd/demo && wait $$tools && \
	echo "==> built in $$(($$(date +%s) - begin)) s" && bin/demo

dev: build tools ## start a throw-away daemon and print how to connect to it
	go -C integration run ./cmd/up

bench: build tools ## resource usage of pods, containerd-lite and stock containerd in turn; ROWS=regexp selects loads, ROUNDS=12, PEERS=1 adds CRI-O
	$(if $(PEERS),integration/tools.sh peers)
	go -C integration run ./cmd/bench -rounds $(ROUNDS) -rows '$(ROWS)' $(if $(PEERS),-peers) -plugin '$(PLUGIN)'

bench-diff: build tools ## the same for containerd-lite of another commit and of the working tree: BASE=commit
	rm -rf .tools/base
	git clone -q . .tools/base
	git -C .tools/base checkout -q --detach $$(git rev-parse $(BASE))
	$(MAKE) -C .tools/base build
	go -C integration run ./cmd/bench -rounds $(ROUNDS) -rows '$(ROWS)' -base $(CURDIR)/.tools/base/bin

bench-scale: build tools ## nodes with SIZES='10 100 250 500' pods, their slopes, and 110 pods at once; simulated nodes with 1 000
	go test -tags no_cri -run '^$$' -bench FullNode ./plugin/cri
	go -C integration run ./cmd/bench -scale '$(SIZES)' -rounds $(ROUNDS) -rows '$(ROWS)'

bench-raw: build tools ## the lower bound: runc and the CNI plugins alone
	go -C integration run ./cmd/bench -rounds $(ROUNDS) -raw

clean: ## remove bin/ and .tools/
	rm -rf bin .tools
