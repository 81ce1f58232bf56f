# Thin front of configure, ninja and the scripts: see 'make help'.
#
# SPDX-License-Identifier: GPL-2.0-or-later

MAKEFLAGS += --no-print-directory
export PATH := /usr/sbin:/usr/bin:/sbin:/bin:$(PATH)

QEMU_TARGETS = qemu-system-x86_64 vfio-user-tests vfio-user-fuzz \
	$(addprefix tests/qtest/,vfio-user-test vfio-user-matrix-test vfio-kernel-test) \
	tests/qtest/vfio-user/libvfio-fake-kernel.so \
	tests/qtest/vfio-user/vfio-user-mock \
	$(addprefix subprojects/libvfio-user/samples/,gpio-pci-idio-16 lspci null server)

all: build/build.ninja
	@scripts/in-step
	@scripts/link-overlay build/qemu-src
	ninja -C build/qemu $(QEMU_TARGETS)
	ninja -C build

build/build.ninja:
	./configure

deps:
	scripts/deps --install

# Only root can install; anybody else is told what is missing
need-deps:
	@if [ "$$(id -u)" = 0 ]; then scripts/deps --install; \
	else scripts/deps --check; fi

demo: need-deps
	@$(MAKE) all
	scripts/demo

check: need-deps
	@$(MAKE) all
	scripts/check

check-lint check-unit check-qtest check-interop: all
	scripts/check $(@:check-%=%)

lint: check-lint

# SANITIZE=--quick: what .ci/run has time for
check-sanitize: need-deps
	scripts/check-sanitize $(SANITIZE)

refresh:
	scripts/refresh $(if $(PATCH),--patch $(PATCH))

series:
	scripts/series

bench: need-deps
	@[ "$$(id -u)" != 0 ] || scripts/deps --install bench
	@$(MAKE) all
	scripts/bench

# FUZZ_SECONDS=N for each target, FUZZ=NAME for one of them
fuzz: need-deps
	@[ "$$(id -u)" != 0 ] || scripts/deps --install fuzz
	@$(MAKE) all
	scripts/fuzz $(FUZZ)

# SOAK_MIGRATIONS=N, SOAK_KILLS=N, SOAK_SEED=N
soak: need-deps
	@$(MAKE) all
	scripts/soak

# What was built goes, configure's work and edits in build/qemu-src stay
clean:
	[ ! -e build/qemu/build.ninja ] || ninja -C build/qemu clean
	[ ! -e build/build.ninja ] || ninja -C build clean
	rm -rf build-sanitize

help:
	@echo 'make                build the patched QEMU and the mock server'
	@echo 'make deps           install the Debian packages needed (as root)'
	@echo 'make demo           watch a live migration, stock and patched'
	@echo 'make check          all tests; make check-lint, check-unit,'
	@echo '                    check-qtest or check-interop: one suite'
	@echo 'make check-sanitize the unit tests, qtests and the fault matrix with the'
	@echo '                    sanitizers, in build-sanitize; SANITIZE=--quick: some'
	@echo 'make bench          measure it beside bare sockets: a table, and'
	@echo '                    build/bench.json; scripts/bench --help: more'
	@echo 'make fuzz           fuzz what reads a server'"'"'s bytes, 300 seconds each;'
	@echo '                    FUZZ_SECONDS=N, FUZZ=NAME; scripts/fuzz --help: more'
	@echo 'make soak           1000 migrations with all that may happen meanwhile,'
	@echo '                    200 servers killed, some 40 minutes;'
	@echo '                    SOAK_MIGRATIONS=N, SOAK_KILLS=N, SOAK_SEED=N'
	@echo 'make lint           the same as make check-lint'
	@echo 'make refresh        write edits in build/qemu-src back to patches/;'
	@echo '                    PATCH=name: to that one, not the last'
	@echo 'make series         the series as mails to QEMU, in build/series'
	@echo 'make clean          remove what was built'

.PHONY: all deps need-deps demo check check-lint check-unit check-qtest \
	check-interop check-sanitize lint refresh series bench fuzz soak clean help
