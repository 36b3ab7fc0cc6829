# Needs Rust, a C compiler and make. When run as root, tests install the other tools they need with apt-get.

CARGO      ?= cargo
PREFIX     ?= /usr/local
DESTDIR    ?=
# Where sshd and login shells look for their files; they have no place below PREFIX.
SYSCONFDIR ?= /etc
DIST       := dist
# For tools that want the place spelt out.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help build check lint deny test test-long demo bench bench-long fuzz package install clean

help: ## Print this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s'|'

build: ## Build the executables for development
	$(CARGO) build --locked --package agent --package server-stub --bins

check: ## Check formatting, clippy and unit tests; takes two minutes with warm caches
	@CARGO='$(CARGO)' .ci/check

lint: ## Check formatting, clippy and documentation links; any warning fails
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/wire/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --locked --package agent --lib --features static --quiet -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet

deny: ## Check licenses, sources, duplicates and advisories of dependencies; installs cargo-deny into target/tools
	@CARGO='$(CARGO)' .ci/deny

test: ## Run all tests that fit into 25 minutes on two cores; root runs every one of them
	@CARGO='$(CARGO)' .ci/test

test-long: ## Run soak tests, large fleets, fault matrices and fuzzing
	@CARGO='$(CARGO)' .ci/test long

demo: ## Show a server, a user, three secrets and a workspace on this machine, step by step
	$(CARGO) build --locked --profile demo --package agent --package server-stub --bins
	@BIN_DIR='$(TARGET_DIR)/demo' demo/run

bench: ## Measure ours beside other systems and write docs/performance.md; takes twenty minutes after the build
	@CARGO='$(CARGO)' bench/run all

bench-long: ## Do the same with systems that must be built first, and with larger fleets
	@CARGO='$(CARGO)' bench/run long

fuzz: ## Run each fuzz target for FUZZ_SECONDS (default 60)
	@CARGO='$(CARGO)' .ci/fuzz

package: ## Put stripped executables, a static one for images, man pages, completions and licenses into dist/
	@CARGO='$(CARGO)' DIST='$(DIST)' .ci/package

install: ## Install what `make package` made below DESTDIR, PREFIX and SYSCONFDIR
	@test -x $(DIST)/bin/coder || { echo 'run "make package" first' >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0755 $(DIST)/bin/* $(DESTDIR)$(PREFIX)/bin/
	install -m 0644 $(DIST)/share/man/man1/* $(DESTDIR)$(PREFIX)/share/man/man1/
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/coder-agent $(DIST)/share/doc/coder-agent/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DIST)/share/bash-completion/completions/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DIST)/share/zsh/site-functions/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d $(DIST)/share/fish/vendor_completions.d/*
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/user-environment-generators
	install -d $(DESTDIR)$(SYSCONFDIR)/profile.d $(DESTDIR)$(SYSCONFDIR)/ssh/sshd_config.d
	install -d $(DESTDIR)$(SYSCONFDIR)/fish/conf.d $(DESTDIR)$(SYSCONFDIR)/csh/login.d
	put() { sed 's|/usr/bin/coder|$(PREFIX)/bin/coder|g' "$$1" > "$$2/$${1##*/}" && chmod "$$3" "$$2/$${1##*/}"; }; \
	for unit in systemd/*.service; do put $$unit $(DESTDIR)$(PREFIX)/lib/systemd/system 0644 || exit; done; \
	put systemd/user-environment-generators/60-coder-agent $(DESTDIR)$(PREFIX)/lib/systemd/user-environment-generators 0755 && \
	put systemd/profile.d/coder-agent.sh $(DESTDIR)$(SYSCONFDIR)/profile.d 0644 && \
	put systemd/fish/coder-agent.fish $(DESTDIR)$(SYSCONFDIR)/fish/conf.d 0644 && \
	for place in csh/login.d profile.d; do put systemd/csh/coder-agent.csh $(DESTDIR)$(SYSCONFDIR)/$$place 0644 || exit; done && \
	put systemd/sshd_config.d/50-coder-agent.conf $(DESTDIR)$(SYSCONFDIR)/ssh/sshd_config.d 0644
	install -m 0644 systemd/coder-server.sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/coder-server.conf
	install -m 0644 systemd/coder-server.tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/coder-server.conf
	install -m 0644 systemd/coder-agent.tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/coder-agent.conf

clean: ## Delete what was built
	$(CARGO) clean
	rm -rf $(DIST)
