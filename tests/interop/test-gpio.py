#!/usr/bin/env python3
#
# Interop test with libvfio-user's sample server "gpio-pci-idio-16": a PCI
# device that migrates with protocol v1. What counts is seen on the wire.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU with the sample server "gpio-pci-idio-16"."""

import sys
from typing import List

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from gpio import READS_PER_STEP, SAMPLE, at_slot, map_ports, read_port
from journal import (MIGRATION_REGION, Entry, count, device_state_accesses,
                     names)
from monitor import MonitorError
from testcase import Failed, expect, expect_true, run
from vmpair import (Lab, Qemu, device_arguments, finish_migration, migrate,
                    start_migration)
from wiretap import Wiretap

MIGRATION_DATA = 0x1000         # the sample's data area in its region
DATA_SIZE = 4
SLOW = 4096                     # bytes a second: pre-copy does not end


def states(tap: Wiretap) -> List[str]:
    """The device_state accesses so far, as ["R1", "W3", ...]."""
    return names(device_state_accesses(tap.journal.entries()))


def start(lab: Lab, name: str, *arguments: str, cache: bool = True) -> Qemu:
    """A QEMU of this name with a server and a tap of its own."""
    tap = lab.server(name, SAMPLE)
    return lab.machine(name, *at_slot(tap, cache), *arguments)


def start_pair(lab: Lab, cache: bool = True) -> List[Qemu]:
    """The two sides of a migration: source, destination."""
    return [start(lab, "source", cache=cache),
            start(lab, "destination", "-incoming", "defer", cache=cache)]


def read_input(qemu: Qemu) -> int:
    """Read the device's input port, as a guest does."""
    return read_port(qemu, 0)


def device_data(tap: Wiretap, message: str) -> List[Entry]:
    """Accesses to the device's migration data that carry it."""
    return [entry for entry in tap.journal.entries()
            if entry["cmd"] == message and "value" in entry and
            entry.get("region") == MIGRATION_REGION and
            entry.get("offset", 0) >= MIGRATION_DATA]


def test_gpio_boot(lab: Lab) -> None:
    """gpio: realize reads device_state once, cold boot does not touch it."""
    qemu = start(lab, "only")
    expect("run state", qemu.status(), "running")
    expect("device_state", states(lab.taps["only"]), ["R1"])
    expect("exit status", qemu.quit(), 0)
    expect("output", qemu.output(), "")


def test_gpio_stop_cont(lab: Lab) -> None:
    """gpio: stop and cont write device_state once each."""
    qemu = start(lab, "only")
    qemu.qmp("stop")
    qemu.qmp("cont")
    expect("run state", qemu.status(), "running")
    expect("device_state", states(lab.taps["only"]), ["R1", "W0", "W1"])


def test_gpio_migration(lab: Lab) -> None:
    """gpio: a migration writes 3, 2, 0 and 4, 1, and reads nothing."""
    source, destination = start_pair(lab)
    map_ports(source)
    reads = 7
    seen = [read_input(source) for _ in range(reads)]
    expect("input at the source", seen,
           [number // READS_PER_STEP for number in range(reads)])

    result = migrate(source, destination, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))
    expect("device_state at the source", states(lab.taps["source"]),
           ["R1", "W3", "W2", "W0"])
    expect("device_state at the destination",
           states(lab.taps["destination"]), ["R1", "W4", "W1"])
    expect("input at the destination",
           [read_input(destination) for _ in range(READS_PER_STEP)],
           [(reads + number) // READS_PER_STEP
            for number in range(READS_PER_STEP)])
    expect("source's exit status", source.quit(), 0)
    expect("destination's exit status", destination.quit(), 0)
    expect("output", source.output() + destination.output(), "")


def test_gpio_device_data(lab: Lab) -> None:
    """gpio: the device's data travels whole, never in pieces."""
    source, destination = start_pair(lab)
    result = migrate(source, destination, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))
    saved = device_data(lab.taps["source"], "REGION_READ")
    loaded = device_data(lab.taps["destination"], "REGION_WRITE")
    expect_true("the source's data was read", bool(saved))
    expect("sizes", {entry["count"] for entry in saved + loaded},
           {DATA_SIZE})
    expect("data loaded", [entry["value"] for entry in loaded],
           [entry["value"] for entry in saved])


def test_gpio_migration_stock(lab: Lab) -> None:
    """gpio: with x-cache-device-state=off the redundant writes are there."""
    source, destination = start_pair(lab, cache=False)
    result = migrate(source, destination, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))
    accesses = device_state_accesses(lab.taps["source"].journal.entries())
    redundant = [access.value for access in accesses if access.redundant]
    expect_true(f"a redundant write of 2 among {redundant}", 2 in redundant)
    expect_true("avoidable reads", count(accesses).avoidable_reads > 0)


def test_gpio_cancel(lab: Lab) -> None:
    """gpio: cancel in pre-copy writes 3 and 1; the guest runs on."""
    source, destination = start_pair(lab)
    tap = lab.taps["source"]
    source.qmp("migrate-set-parameters", max_bandwidth=SLOW)
    uri = f"unix:{lab.folder}/stream"
    destination.qmp("migrate-incoming", uri=uri)
    start_migration(source, uri)
    tap.journal.wait(
        lambda entries: "W3" in names(device_state_accesses(entries)),
        "pre-copy begins")
    source.qmp("migrate_cancel")
    expect("migration", finish_migration(source).status, "cancelled")
    expect("run state", source.status(), "running")
    expect("device_state", states(tap), ["R1", "W3", "W1"])


def test_gpio_migrate_again(lab: Lab) -> None:
    """gpio: after a cancelled migration the next one completes."""
    test_gpio_cancel(lab)
    source = next(p for p in lab.processes if p.name == "source")
    assert isinstance(source, Qemu)
    source.qmp("migrate-set-parameters", max_bandwidth=1 << 30)
    second = start(lab, "second", "-incoming", "defer")
    result = migrate(source, second, lab.folder / "stream2")
    expect("migration", (result.status, result.error), ("completed", ""))
    expect("device_state at the source", states(lab.taps["source"]),
           ["R1", "W3", "W1", "W3", "W2", "W0"])
    expect("device_state at the destination", states(lab.taps["second"]),
           ["R1", "W4", "W1"])


def test_gpio_unreachable(lab: Lab) -> None:
    """gpio: migrating to nobody does not touch device_state."""
    qemu = start(lab, "only")
    for uri in (f"unix:{lab.folder}/nobody", "tcp:127.0.0.1:1"):
        try:
            start_migration(qemu, uri)
        except MonitorError:
            pass                # refused at once: as good
        else:
            expect(f"migration to {uri}", finish_migration(qemu).status,
                   "failed")
        expect("run state", qemu.status(), "running")
    expect("device_state", states(lab.taps["only"]), ["R1"])


def test_gpio_no_migration(lab: Lab) -> None:
    """gpio -M: without a migration region QEMU runs, migrate says why not."""
    tap = lab.server("only", SAMPLE, "-M")
    qemu = lab.machine("only", *device_arguments(tap, name="gpiodev"))
    expect("run state", qemu.status(), "running")
    try:
        start_migration(qemu, f"unix:{lab.folder}/nobody")
    except MonitorError as error:
        expect_true(f"the device's id in {str(error)!r}",
                    "gpiodev" in str(error))
    else:
        raise Failed("migrate was accepted")
    qemu.qmp("stop")
    qemu.qmp("cont")
    expect("run state", qemu.status(), "running")
    expect("device_state", states(tap), [])
    expect("exit status", qemu.quit(), 0)
    expect("output", qemu.output(), "")


if __name__ == "__main__":
    sys.exit(run([test_gpio_boot, test_gpio_stop_cont, test_gpio_migration,
                  test_gpio_device_data, test_gpio_migration_stock,
                  test_gpio_cancel, test_gpio_migrate_again,
                  test_gpio_unreachable, test_gpio_no_migration],
                 [SAMPLE]))
