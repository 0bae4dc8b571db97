# Everything that is done with this tree. `make run` and `make test` need Go 1.26
# and nothing else; `make test` does more where gcc, nginx, strace and curl are.

GO  ?= go
BIN := $(CURDIR)/.bin

# A linter of another version finds other things: it is pinned, and kept out of
# the module's own dependencies.
LINT_VERSION := v2.15.0
LINT := $(BIN)/golangci-lint-$(LINT_VERSION)

# Where the kernel offers io_uring and no sandbox is in the way, a test that is
# skipped for lack of it has failed.
URING := $(shell [ "$$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null)" = 0 ] && \
	grep -q '^Seccomp:[[:space:]]*0' /proc/self/status && echo 1)
export FSERVE_REQUIRE_URING ?= $(URING)

# One package at a time: tests with time-outs share two cores badly.
TEST := $(GO) test -p 1

# The drivers and the simulation, each against the one suite for all of them.
CONFORMANCE := ./uring ./fallback ./internal/aio/...
# Real sockets, processes and files.
E2E  := ./server ./server/difftest ./cmd/... ./bench/...
# What has goroutines of its own. Processes that tests start are not watched.
RACE := ./engine/... ./uring ./fallback ./internal/... ./server ./server/http2 ./server/listing ./server/record ./server/site ./server/alerts ./server/config ./server/admin ./server/nethttp ./bench/load
UNIT = $(filter-out $(shell $(GO) list $(CONFORMANCE) $(E2E)),$(shell $(GO) list ./...))

.PHONY: run build docs api test fmt vet lint unit conformance e2e race bench sim fuzz adapt clients kernels chaos systemd clean

# make run [ADDR=host:port] serves ./sample.
ADDR ?= 127.0.0.1:8080
run: build
	$(BIN)/fserve --root sample --listen $(ADDR)

build:
	$(GO) build -o $(BIN)/fserve ./cmd/fserve

# The reference of the configuration from its comments, those of metrics and of the admin listener from their tables, and
# the manual pages from comments and help.
docs:
	$(GO) generate ./server/config ./server/admin ./cmd/fserve

# What embedders may use, after a change of it that is meant.
api:
	FSERVE_API=write $(GO) test -count=1 -run TestAPI .

test: fmt vet lint unit conformance e2e race

fmt:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt is needed by:"; echo "$$unformatted"; exit 1; }

vet:
	$(GO) vet ./...

lint: $(LINT)
	$(LINT) run ./...

# go install leaves go.mod alone; the pinned version is in the name of the file.
$(LINT):
	GOBIN=$(BIN) GOFLAGS=-mod=mod GOTOOLCHAIN=local \
		$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(BIN)/golangci-lint $@

unit:
	$(TEST) $(UNIT)
	cd examples/gin && $(GO) test ./... # a module of its own

conformance:
	$(TEST) $(CONFORMANCE)

e2e:
	$(TEST) $(E2E)

# The race detector is the one part that needs a C compiler.
race:
ifeq ($(shell command -v $${CC:-gcc}),)
	@echo "WARNING: no C compiler: the race detector is left out"
else
	CGO_ENABLED=1 $(TEST) -race -short $(RACE)
endif

# make bench [CASES=1k,10m] [PLOT=dir] [RECORD=page]: beside nginx; the cases are listed by go run ./bench -list.
# CASES=shape is limited downloads, which are plotted into the directory PLOT. The results are added to the page
# RECORD, with date and machine; with RECORD= they are printed only.
RECORD ?= docs/measured.md
bench:
	$(GO) run ./bench $(if $(CASES),-cases $(CASES)) $(if $(PLOT),-plot $(PLOT)) $(if $(RECORD),-record $(RECORD))

# make sim [SEEDS=n|from-to]: a loop on the simulated driver, n seeds.
SEEDS ?= 1000000
sim:
	FSERVE_SIM_SEEDS=$(SEEDS) $(GO) test ./engine/loop -run TestSimulation -timeout 0

# make fuzz [FUZZTIME=1m]: every fuzz target for so long. Until Go 1.27 a busy machine makes a target fail with no more
# than "context deadline exceeded" when its time is over (go.dev/issue/75804): that is no failure.
FUZZTIME ?= 30s
fuzz:
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' . | \
	sed -E 's|/[^/]*:func | |' | sort | while read -r dir target; do \
		echo "$$dir $$target"; \
		out=$$($(GO) test $$dir -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x 2>&1); \
		status=$$?; echo "$$out"; \
		case "$$status $$out" in \
			0*) ;; \
			*"Failing input written"*) exit 1 ;; \
			*"    context deadline exceeded"*) ;; \
			*) exit 1 ;; \
		esac; \
	done

# make adapt: adaptive bandwidth on real TCP in network namespaces, 14 minutes, as root.
adapt:
	FSERVE_ADAPT_FIGURES=1 FSERVE_REQUIRE_NETNS=1 $(GO) test ./engine/adapt ./cmd/fserve -run 'TestFigure' -v -timeout 30m -p 1

# make clients: the programs that people download with, on both drivers, five minutes. One that is missing is a
# skip that is counted, with CI set a failure; .ci/clients installs them on Debian.
clients:
	FSERVE_CLIENTS=1 $(GO) test -count=1 -timeout 20m ./test/clients

# make kernels [SUITE=uring]: the drivers and TLS on the kernel of this Debian, in a virtual machine that qemu emulates,
# half an hour. It needs the packages qemu-system-x86 and e2fsprogs, and fetches the kernel's.
kernels:
	FSERVE_KERNELS=$(or $(SUITE),1) $(GO) test -count=1 -timeout 90m -v ./test/kernels

# make chaos [BODIES=n]: attacks on a server, on its memory in a control group of 256 MiB, and so many downloads of files
# that are overwritten, over a line that copies and at loopback; a quarter of an hour, as root.
BODIES ?= 10000
chaos:
	FSERVE_CHAOS=1 $(GO) test -count=1 -v -timeout 10m ./test/chaos
	FSERVE_CHAOS_BODIES=$(BODIES) FSERVE_REQUIRE_NETNS=1 $(GO) test -count=1 -timeout 60m -v -run 'TestOverwritten' ./server

# make systemd [SUITE=bookworm]: the units of deploy/systemd in a small Debian, two minutes, as root.
systemd: build
	deploy/systemd/test.sh $(BIN)/fserve

clean:
	rm -rf $(BIN)
