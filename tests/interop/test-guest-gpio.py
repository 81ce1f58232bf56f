#!/usr/bin/env python3
#
# Interop test with Linux's driver gpio-pci-idio-16, on libvfio-user's sample
# server and on a server of our own that can do what the driver expects.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Linux's GPIO driver in a guest that migrates."""

import sys
from typing import List, Sequence, Tuple

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from gpio import (COUNT, COUNT_TICK, SAMPLE, at_slot, check_count, map_ports,
                  read_port, write_port)
from journal import (MIGRATION_REGION, Entry, count, device_state_accesses,
                     names)
from linuxguest import (Guest, Scenario, boot, joined,
                        migrate_without_memory, set_capability, shared_memory,
                        wait_after_migration)
from testcase import expect, expect_true, run
from vmpair import (Lab, Qemu, finish_migration, migrate,
                    start_migration, wait_for)
from wiretap import Wiretap

OWN = "idio-server"
TOGGLE = Scenario("gpio-toggle", [SAMPLE])

TOGGLE_TICK = (r"tick (\d+) line (\d+) wrote ([01]) output ([01]) "
               r"input ([01]) changes (\d+) interrupts (\d+)")
LINES = 16
TICKS_BEFORE = 10
CHANGES_IN_PRECOPY = 2 * LINES
TICKS_AFTER = 20
REPEATS = 3
MIGRATION_DATA = 0x1000         # where the data is in the migration region
CHUNK_SIZES = {40, 12}          # of our own server: a block, the end
STATE_RUNNING, STATE_STOP_COPY, STATE_PRE_COPY = 1, 2, 3

PORTS_REGION = 2
OUTPUTS = (0, 4)                # registers of the card, as its manual has them
CLEAR_IRQ, ENABLE_IRQ, IRQ_STATUS = 1, 2, 6
STATUS_OF_LINE_0 = 5            # pending, by one of the lower eight lines
INTX_IRQ, UNMASK = 0, 17


def own_server(lab: Lab, name: str, *options: str) -> Wiretap:
    """Start our own server; returns the tap in front of it."""
    path = str(lab.folder / f"{name}.server")
    command = [str(lab.installation.server(OWN)), *options, path]
    return lab.serve(name, f"{name}-server", command, path)


def states(lab: Lab, name: str) -> List[str]:
    """The device_state accesses at a tap, as ["R1", "W3", ...]."""
    return names(device_state_accesses(lab.taps[name].journal.entries()))


def state_lines(lab: Lab, name: str) -> List[str]:
    """The states that our own server went to, as it tells."""
    server = next(process for process in lab.processes
                  if process.name == f"{name}-server")
    return [line.split(",")[0].replace("state ", "")
            for line in server.output().splitlines()
            if line.startswith("state ")]


def chunks(tap: Wiretap, message: str) -> List[Entry]:
    """Messages that carry migration data of the device, without replies."""
    return [entry for entry in tap.journal.entries()
            if entry["cmd"] == message and entry["type"] == "command" and
            entry.get("region") == MIGRATION_REGION and
            entry.get("offset", 0) >= MIGRATION_DATA]


def boot_pair(lab: Lab, scenario: Scenario, *taps: Wiretap,
              memory: Sequence[str] = ()) -> Tuple[Guest, Guest]:
    """A guest on the first tap, and where it is to go on the second."""
    return (boot(lab, "source", scenario, *at_slot(taps[0]), memory=memory),
            boot(lab, "destination", scenario, *at_slot(taps[1]),
                 "-incoming", "defer", memory=memory))


def quit_both(source: Qemu, destination: Qemu) -> None:
    """Both end well, and have had nothing to complain about."""
    expect("source's exit status", source.quit(), 0)
    expect("destination's exit status", destination.quit(), 0)
    expect("output", source.output() + destination.output(), "")


def test_guest_count(lab: Lab) -> None:
    """guest: the sample's counter goes on in Linux's driver over migration."""
    source, destination = boot_pair(lab, COUNT,
                                    lab.server("source", SAMPLE),
                                    lab.server("destination", SAMPLE))
    source.wait(COUNT_TICK, TICKS_BEFORE)
    result = migrate(source.qemu, destination.qemu, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))
    wait_after_migration(destination, COUNT_TICK, TICKS_AFTER)

    check_count(source, destination)
    expect("device_state at the source", states(lab, "source"),
           ["R1", "W3", "W2", "W0"])
    expect("device_state at the destination", states(lab, "destination"),
           ["R1", "W4", "W1"])
    quit_both(source.qemu, destination.qemu)


def check_toggles(ticks: List[Tuple[str, ...]]) -> None:
    """
    Every write came back, reached the wired input, was counted by the card
    and made one interrupt, without a gap.
    """
    for number, tick in enumerate(ticks, 1):
        turn, line = divmod(number - 1, LINES)
        value = (turn + 1) % 2
        expect(f"tick {number}: number, line, written, output, input, "
               "changes, interrupts", [int(field) for field in tick],
               [number, line, value, value, value, turn + 1, number])


def check_precopy(lab: Lab) -> None:
    """
    Lines changed in pre-copy, when all of the data was sent, and what they
    changed was sent again.
    """
    entries = lab.taps["source"].journal.entries()
    begin, end = (next(entry["t"] for entry in entries
                       if entry["cmd"] == "REGION_WRITE" and
                       entry.get("region") == MIGRATION_REGION and
                       entry.get("value") == state)
                  for state in (STATE_PRE_COPY, STATE_STOP_COPY))
    changes = sum(entry["cmd"] == "REGION_WRITE" and
                  entry.get("region") == PORTS_REGION and
                  entry.get("offset") in OUTPUTS and
                  begin < entry["t"] < end for entry in entries)
    expect_true(f"{changes} lines changed in pre-copy",
                changes >= CHANGES_IN_PRECOPY)
    saved = chunks(lab.taps["source"], "REGION_READ")
    expect("sizes of the chunks", {entry["count"] for entry in saved},
           CHUNK_SIZES)
    before = sum(entry["t"] < end for entry in saved)
    expect_true(f"{before} chunks in pre-copy", before >= CHANGES_IN_PRECOPY)
    loaded = chunks(lab.taps["destination"], "REGION_WRITE")
    expect("chunks loaded", [entry["count"] for entry in loaded],
           [entry["count"] for entry in saved])


def test_guest_toggle(lab: Lab) -> None:
    """guest: lines come back and interrupt once each over a migration."""
    options = ["-c", str(CHANGES_IN_PRECOPY)]
    source, destination = boot_pair(lab, TOGGLE,
                                    own_server(lab, "source", *options),
                                    own_server(lab, "destination"),
                                    memory=shared_memory(lab))
    source.wait(TOGGLE_TICK, TICKS_BEFORE)
    migrate_without_memory(lab, source, destination)
    destination.wait(TOGGLE_TICK, 2 * LINES)

    check_toggles(joined(source, destination, TOGGLE_TICK))
    check_precopy(lab)
    expect("states of the source's device", state_lines(lab, "source"),
           ["3", "2", "0"])
    expect("states of the destination's device",
           state_lines(lab, "destination"), ["4", "1"])
    quit_both(source.qemu, destination.qemu)


def machine(lab: Lab, name: str, tap: Wiretap, *arguments: str,
            cache: bool = True) -> Qemu:
    """A QEMU without a running guest."""
    return lab.machine(name, *at_slot(tap, cache), *arguments)


def unmasks(tap: Wiretap) -> int:
    """How often QEMU took an interrupt back, and asked for another."""
    return sum(entry["cmd"] == "DEVICE_SET_IRQS" and
               entry["type"] == "command" and
               (entry["region"], entry["value"]) == (INTX_IRQ, UNMASK)
               for entry in tap.journal.entries())


def test_own_intx_level(lab: Lab) -> None:
    """own server: INTx comes again until the card's interrupt is cleared."""
    tap = own_server(lab, "only")
    qemu = machine(lab, "only", tap)
    map_ports(qemu)
    read_port(qemu, ENABLE_IRQ)
    write_port(qemu, OUTPUTS[0], 1)

    def status_was_pending() -> bool:
        """Any access takes an interrupt back that has come."""
        before = unmasks(tap)
        expect("status", read_port(qemu, IRQ_STATUS), STATUS_OF_LINE_0)
        return unmasks(tap) > before

    for _ in range(REPEATS):
        wait_for(status_was_pending, "the interrupt is there (again)")
    write_port(qemu, CLEAR_IRQ, 0)
    expect("status", read_port(qemu, IRQ_STATUS), 0)
    read_port(qemu, IRQ_STATUS)         # after one that came too late
    before = unmasks(tap)
    for _ in range(REPEATS):
        read_port(qemu, IRQ_STATUS)
    expect("interrupts after it was cleared", unmasks(tap) - before, 0)


def test_own_slow_quiesce(lab: Lab) -> None:
    """own server: one that takes its time to quiesce migrates as well."""
    source = machine(lab, "source", own_server(lab, "source", "-q", "30"))
    destination = machine(lab, "destination",
                          own_server(lab, "destination", "-q", "30"),
                          "-incoming", "defer")
    result = migrate(source, destination, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))
    expect("states of the source's device", state_lines(lab, "source"),
           ["3", "2", "0"])
    expect("states of the destination's device",
           state_lines(lab, "destination"), ["4", "1"])
    quit_both(source, destination)


def test_own_stock(lab: Lab) -> None:
    """own server: with x-cache-device-state=off it sees a state again."""
    source = machine(lab, "source", own_server(lab, "source"), cache=False)
    destination = machine(lab, "destination",
                          own_server(lab, "destination"),
                          "-incoming", "defer", cache=False)
    result = migrate(source, destination, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))
    seen = state_lines(lab, "source")
    expect_true(f"'2 again' among {seen}", "2 again" in seen)
    accesses = device_state_accesses(lab.taps["source"].journal.entries())
    expect_true("redundant writes", count(accesses).redundant_writes > 0)


def test_own_refuses_foreign_data(lab: Lab) -> None:
    """own server: it refuses the sample's data, and the source runs on."""
    source = machine(lab, "source", lab.server("source", SAMPLE))
    destination = machine(lab, "destination",
                          own_server(lab, "destination"),
                          "-incoming", "defer")
    # Or the source may think that all is well once all has been sent
    for qemu in (source, destination):
        set_capability(qemu, "return-path")
    uri = f"unix:{lab.folder}/stream"
    destination.qmp("migrate-incoming", uri=uri)
    start_migration(source, uri)
    expect("destination's exit status", destination.wait(), 1)
    expect_true(f"the reason in {destination.output()!r}",
                "data_size" in destination.output())
    expect("migration", finish_migration(source).status, "failed")
    source.wait_status("running")
    expect("the source's device at last", states(lab, "source")[-1],
           f"W{STATE_RUNNING}")


if __name__ == "__main__":
    sys.exit(run([test_guest_count, test_guest_toggle, test_own_intx_level,
                  test_own_slow_quiesce, test_own_stock,
                  test_own_refuses_foreign_data],
                 [SAMPLE]))
