# Needs Rust, a C compiler and make. What a test needs beyond that, it installs with apt-get when it runs as root.

CARGO      ?= cargo
PREFIX     ?= /usr/local
DESTDIR    ?=
# Where sshd and login shells look for their pieces; they have no place below PREFIX.
SYSCONFDIR ?= /etc
DIST       := dist
# For tools that want the place spelt out.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help build lint test test-long demo bench bench-long fuzz package install clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s'|'

build: ## the executables, for development
	$(CARGO) build --package agent --package server-stub --bins

lint: ## formatting, clippy and documentation links; any warning fails
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package agent --lib --features static --quiet -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --workspace --no-deps --document-private-items --quiet

test: ## everything that fits into 25 minutes on two cores; as root nothing is left out
	@CARGO='$(CARGO)' .ci/test

test-long: ## soak runs, big fleets, fault matrices, fuzzing
	@CARGO='$(CARGO)' .ci/test long

demo: build ## a server, a user, three secrets and a workspace on this machine, step by step
	@BIN_DIR='$(TARGET_DIR)/debug' demo/run

bench: ## measures beside the systems of others, in about twenty minutes after the build, and writes docs/performance.md
	@CARGO='$(CARGO)' bench/run all

bench-long: ## the same with those that have to be built first, and with larger fleets
	@CARGO='$(CARGO)' bench/run long

fuzz: ## each fuzz target for FUZZ_SECONDS (default 60)
	@CARGO='$(CARGO)' .ci/fuzz

package: ## stripped executables, a static one for images, man pages and completions into dist/
	@CARGO='$(CARGO)' DIST='$(DIST)' .ci/package

install: ## what `make package` made, below DESTDIR, PREFIX and SYSCONFDIR
	@test -x $(DIST)/bin/coder || { echo 'run "make package" first' >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0755 $(DIST)/bin/* $(DESTDIR)$(PREFIX)/bin/
	install -m 0644 $(DIST)/share/man/man1/* $(DESTDIR)$(PREFIX)/share/man/man1/
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DIST)/share/bash-completion/completions/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DIST)/share/zsh/site-functions/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d $(DIST)/share/fish/vendor_completions.d/*
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/user-environment-generators
	install -d $(DESTDIR)$(SYSCONFDIR)/profile.d $(DESTDIR)$(SYSCONFDIR)/ssh/sshd_config.d
	put() { sed 's|/usr/bin/coder|$(PREFIX)/bin/coder|g' "$$1" > "$$2/$${1##*/}" && chmod "$$3" "$$2/$${1##*/}"; }; \
	for unit in systemd/*.service; do put $$unit $(DESTDIR)$(PREFIX)/lib/systemd/system 0644 || exit; done; \
	put systemd/user-environment-generators/60-coder-agent $(DESTDIR)$(PREFIX)/lib/systemd/user-environment-generators 0755 && \
	put systemd/profile.d/coder-agent.sh $(DESTDIR)$(SYSCONFDIR)/profile.d 0644 && \
	put systemd/sshd_config.d/50-coder-agent.conf $(DESTDIR)$(SYSCONFDIR)/ssh/sshd_config.d 0644
	install -m 0644 systemd/coder-server.sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/coder-server.conf
	install -m 0644 systemd/coder-server.tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/coder-server.conf

clean: ## what was built
	$(CARGO) clean
	rm -rf $(DIST)
