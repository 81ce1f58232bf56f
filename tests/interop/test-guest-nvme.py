#!/usr/bin/env python3
#
# Interop test with Linux's NVMe driver on a controller of our own, whose server
# is killed in the middle of a write.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Linux's NVMe driver, and what it makes of a server that is killed."""

import signal
import sys
from pathlib import Path
from typing import List

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from disk import (END_TIMEOUT, KEEP, SUM, make_disk, sum_of_data,
                  wait_for_data)
from linuxguest import Guest, Scenario, boot
from testcase import expect, expect_true, run
from vmpair import Lab, Process, device_arguments, is_listening, wait_for

OWN = "nvme-server"
CHUNKS, CHUNK_SIZE = 8, 256 << 10
CHUNK = rf"chunk (\d+) wrote {SUM} read {SUM}"
FATAL_WRITE = 4                 # of the server's first life
DRIVER_SECONDS = 1              # after that the driver gives a command up
UNPLUG_TIMEOUT = 60.0


def stream(seconds: int) -> Scenario:
    """A guest that writes chunks, with this deadline for its commands."""
    return Scenario("disk-stream", ["nvme"],
                    [f"chunks={CHUNKS}", f"nvme_core.io_timeout={seconds}",
                     f"nvme_core.admin_timeout={seconds}"])


def own_command(lab: Lab, socket_path: str, disk: Path,
                *options: str) -> List[str]:
    """What starts our own server."""
    return [str(lab.installation.server(OWN)), *options, socket_path,
            str(disk)]


def start_server(lab: Lab, name: str, socket_path: str, disk: Path,
                 *options: str) -> Process:
    """Start our own server without a tap, which would outlive it."""
    server = lab.process(name, own_command(lab, socket_path, disk, *options))
    wait_for(lambda: is_listening(socket_path) or not server.is_running(),
             f"{name} listens on its socket")
    return server


def check_chunks(guest: Guest, disk: Path) -> None:
    """
    The guest has written all chunks, each came back, and they are on the disk;
    it has ended.
    """
    expect("exit status", guest.qemu.wait(END_TIMEOUT), 0)
    for number in range(CHUNKS):
        chunk = guest.wait(CHUNK, number + 1)
        expect("number of a chunk", int(chunk[1]), number)
        expect(f"checksums of chunk {number}",
               {chunk[2], chunk[3],
                sum_of_data(disk, number * CHUNK_SIZE, CHUNK_SIZE)},
               {chunk[2]})
    expect("checksum of all chunks", guest.wait(f"disk holds {SUM}")[1],
           sum_of_data(disk, 0, CHUNKS * CHUNK_SIZE))


def test_own_disk(lab: Lab) -> None:
    """own server: NVMe keeps a guest's data over its reboot."""
    path = str(lab.folder / "nvme.server")
    disk = make_disk(lab)
    tap = lab.serve("nvme", OWN, own_command(lab, path, disk), path)
    guest = boot(lab, "guest", KEEP, *device_arguments(tap))
    wait_for_data(guest, disk)
    for process in lab.processes:
        expect(f"{process.name}'s output", process.output(), "")


def test_killed_and_plugged(lab: Lab) -> None:
    """own server: a killed server's disk is lost, and plugged again."""
    path = str(lab.folder / "nvme.sock")
    disk = make_disk(lab)
    server = start_server(lab, "server", path, disk, "-k", str(FATAL_WRITE))
    guest = boot(lab, "guest", stream(DRIVER_SECONDS),
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
    check_chunks(guest, disk)
    expect_true("QEMU says that the server has gone",
                "server closed the connection" in guest.qemu.output())


if __name__ == "__main__":
    sys.exit(run([test_own_disk, test_killed_and_plugged], []))
