#!/usr/bin/env python3
#
# Interop test with Linux's NVMe driver on a controller of our own, whose server
# is killed in the middle of a write, or migrates.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Linux's NVMe driver when a server is killed, and when it migrates."""

import re
import signal
import sys
from pathlib import Path
from typing import Any, List

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from disk import (END_TIMEOUT, KEEP, SUM, make_disk, sum_of_data,
                  wait_for_data)
from journal import device_state_accesses, names
from linuxguest import (Scenario, boot, migrate_without_memory,
                        shared_memory)
from testcase import expect, expect_true, run
from vmpair import Lab, Process, device_arguments, is_listening, wait_for
from wiretap import Wiretap

OWN = "nvme-server"
CHUNK_SIZE = 256 << 10
CHUNK = rf"chunk (\d+) wrote {SUM} read {SUM}"
FATAL_WRITE = 4                 # of the server's first life
CHUNKS_IF_KILLED = 8
CHUNKS_IF_MIGRATED = 16
CHUNKS_BEFORE = 4               # the migration
DRIVER_SECONDS = 1              # after that the driver gives a command up
# Longer than a server takes to come back, or the driver gives the disk up
PATIENT_SECONDS = 3
UNPLUG_TIMEOUT = 60.0


def stream(chunks: int, *parameters: str) -> Scenario:
    """A guest that writes so many chunks."""
    return Scenario("disk-stream", ["nvme"],
                    [f"chunks={chunks}", *parameters])


def deadline(seconds: int) -> List[str]:
    """Parameters: the driver gives its commands so much time."""
    return [f"nvme_core.{kind}_timeout={seconds}" for kind in ("io", "admin")]


def own_command(lab: Lab, socket_path: str, disk: Path,
                *options: str) -> List[str]:
    """What starts our own server."""
    return [str(lab.installation.server(OWN)), *options, socket_path,
            str(disk)]


def serve(lab: Lab, name: str, disk: Path) -> Wiretap:
    """Start our own server; returns the tap in front of it."""
    path = str(lab.folder / f"{name}.server")
    return lab.serve(name, f"{name}-server", own_command(lab, path, disk),
                     path)


def start_server(lab: Lab, name: str, socket_path: str, disk: Path,
                 *options: str) -> Process:
    """Start our own server without a tap, which would outlive it."""
    server = lab.process(name, own_command(lab, socket_path, disk, *options))
    wait_for(lambda: is_listening(socket_path) or not server.is_running(),
             f"{name} listens on its socket")
    return server


def lines(text: str, pattern: str) -> List[Any]:
    """What matches in whole lines of a console: the group, or the groups."""
    return re.findall(f"(?m)^{pattern}\n", text)


def check_chunks(text: str, count: int, disk: Path) -> None:
    """
    By what the guest has said, it has written so many chunks and each came
    back; and they are on the disk.
    """
    chunks = lines(text, CHUNK)
    expect("chunks", [int(number) for number, *_ in chunks],
           list(range(count)))
    for number, (_, *sums) in enumerate(chunks):
        expect(f"checksums of chunk {number}", sums,
               [sum_of_data(disk, number * CHUNK_SIZE, CHUNK_SIZE)] * 2)
    for place in ("cache", "disk"):
        expect(f"checksum of the {place}",
               lines(text, f"{place} holds {SUM}"),
               [sum_of_data(disk, 0, count * CHUNK_SIZE)])


def test_own_disk(lab: Lab) -> None:
    """own server: NVMe keeps a guest's data over its reboot."""
    disk = make_disk(lab)
    guest = boot(lab, "guest", KEEP,
                 *device_arguments(serve(lab, "guest", disk)))
    wait_for_data(guest, disk)
    for process in lab.processes:
        expect(f"{process.name}'s output", process.output(), "")


def test_killed_and_plugged(lab: Lab) -> None:
    """own server: a killed server's disk is lost, and plugged again."""
    path = str(lab.folder / "nvme.sock")
    disk = make_disk(lab)
    server = start_server(lab, "server", path, disk, "-k", str(FATAL_WRITE))
    guest = boot(lab, "guest", stream(CHUNKS_IF_KILLED, *deadline(DRIVER_SECONDS)),
                 "-device", "pcie-root-port,id=root0",
                 "-device", f"vfio-user-pci,id=dev0,bus=root0,socket={path}")
    guest.wait(f"disk lost at chunk {FATAL_WRITE - 1}")
    expect("the server's exit status", server.wait(), -signal.SIGKILL)
    expect("run state", guest.qemu.status(), "running")

    def devices() -> List[str]:
        return [item["name"] for item in
                guest.qemu.qmp("qom-list", path="/machine/peripheral")]

    guest.qemu.qmp("device_del", id="dev0")
    wait_for(lambda: "dev0" not in devices(), "the device is unplugged",
             UNPLUG_TIMEOUT)
    start_server(lab, "server again", path, disk)
    guest.qemu.qmp("device_add", driver="vfio-user-pci", id="dev0",
                   bus="root0", socket=path)
    guest.wait("disk found again")
    expect("exit status", guest.qemu.wait(END_TIMEOUT), 0)
    check_chunks(guest.text(), CHUNKS_IF_KILLED, disk)
    expect_true("QEMU says that the server has gone",
                "server closed the connection" in guest.qemu.output())


def test_killed_and_reconnected(lab: Lab) -> None:
    """own server: a killed server's disk comes back by itself."""
    path = str(lab.folder / "nvme.sock")
    disk = make_disk(lab)
    server = start_server(lab, "server", path, disk, "-k", str(FATAL_WRITE))
    guest = boot(lab, "guest",
                 stream(CHUNKS_IF_KILLED, *deadline(PATIENT_SECONDS)),
                 "-device",
                 f"vfio-user-pci,id=dev0,socket={path},reconnect=1")
    guest.wait(CHUNK, FATAL_WRITE - 1)
    expect("the server's exit status", server.wait(), -signal.SIGKILL)
    start_server(lab, "server again", path, disk)
    expect("exit status", guest.qemu.wait(END_TIMEOUT), 0)
    expect("losses of the disk", lines(guest.text(), "disk lost .*"), [])
    check_chunks(guest.text(), CHUNKS_IF_KILLED, disk)
    timeouts = guest.wait(r"driver timeouts (\d+)")
    expect_true("the driver had to recover", int(timeouts[1]) > 0)


def test_migrated(lab: Lab) -> None:
    """own server: NVMe is written and read while it migrates."""
    disk = make_disk(lab)
    scenario = stream(CHUNKS_IF_MIGRATED)
    memory = shared_memory(lab)
    source, destination = (
        boot(lab, name, scenario, *device_arguments(serve(lab, name, disk)),
             *more, memory=memory)
        for name, more in (("source", []),
                           ("destination", ["-incoming", "defer"])))
    source.wait(CHUNK, CHUNKS_BEFORE)
    migrate_without_memory(lab, source, destination)
    destination.wait(f"disk holds {SUM}")
    expect("the destination's exit status",
           destination.qemu.wait(END_TIMEOUT), 0)
    expect("the source's exit status", source.qemu.quit(), 0)
    check_chunks(source.text() + destination.text(), CHUNKS_IF_MIGRATED, disk)
    # The last one when the guest turns its machine off
    for name, states in (("source", ["R1", "W3", "W2", "W0"]),
                         ("destination", ["R1", "W4", "W1", "W0"])):
        accesses = device_state_accesses(lab.taps[name].journal.entries())
        expect(f"device_state at the {name}", names(accesses), states)
    for process in lab.processes:
        expect(f"{process.name}'s output", process.output(), "")


if __name__ == "__main__":
    sys.exit(run([test_own_disk, test_killed_and_plugged,
                  test_killed_and_reconnected, test_migrated], []))
