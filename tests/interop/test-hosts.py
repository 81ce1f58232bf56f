#!/usr/bin/env python3
#
# Interop test of a migration between two hosts, each with a server of its
# own, over TCP. The hosts are network namespaces of this machine.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest migrates over TCP between two network namespaces."""

import os
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from gpio import COUNT, COUNT_TICK, SAMPLE, at_slot, check_count
from hosts import Host, make_hosts
from journal import device_state_accesses, names
from linuxguest import Guest, boot, wait_after_migration
from testcase import expect, run
from vmpair import Lab, migrate_by

PORT = 4444
TICKS = 10


def boot_at(lab: Lab, name: str, host: Host, *arguments: str) -> Guest:
    """A guest of this name, with a server of its own, on a host."""
    return boot(lab, name, COUNT, *at_slot(lab.server(name, SAMPLE)),
                *arguments, runner=host.runner())


def test_hosts_migration(lab: Lab) -> None:
    """hosts: a guest migrates by tcp: between two network namespaces."""
    first, second = make_hosts(lab)
    source = boot_at(lab, "source", first)
    destination = boot_at(lab, "destination", second, "-incoming", "defer")
    places = {os.readlink(f"/proc/{pid}/ns/net") for pid in
              (os.getpid(), source.qemu.popen.pid,
               destination.qemu.popen.pid)}
    expect("number of network namespaces", len(places), 3)

    source.wait(COUNT_TICK, TICKS)
    result = migrate_by(f"tcp:{second.address}:{PORT}", source.qemu,
                        destination.qemu)
    expect("migration", (result.status, result.error), ("completed", ""))
    wait_after_migration(destination, COUNT_TICK, TICKS)
    check_count(source, destination)
    for name, wanted in (("source", ["R1", "W3", "W2", "W0"]),
                         ("destination", ["R1", "W4", "W1"])):
        accesses = device_state_accesses(lab.taps[name].journal.entries())
        expect(f"device_state at the {name}", names(accesses), wanted)
    expect("exit statuses", (source.qemu.quit(), destination.qemu.quit()),
           (0, 0))


if __name__ == "__main__":
    sys.exit(run([test_hosts_migration], [SAMPLE]))
