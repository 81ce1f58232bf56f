#!/usr/bin/env python3
#
# Interop test with QEMU's own server, x-vfio-user-server: Linux's drivers use
# a disk and a network card that another QEMU emulates.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU with a device of QEMU's machine x-remote."""

import json
import sys
from typing import Sequence

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from disk import END_TIMEOUT, KEEP, make_disk, wait_for_data
from journal import Entry
from linuxguest import Scenario, boot
from monitor import MonitorError
from testcase import Failed, expect, expect_true, run
from vmpair import Lab, Process, device_arguments
from wiretap import Wiretap

SERVER = "remote-server"
MSIX_IRQ = 2
UNMASK = 1 | 16                 # no data, unmask

NVME = ["-device", "nvme,id=device,serial=1,drive=disk"]
NETWORK = ["-netdev", "user,id=net,restrict=on",
           "-device", "e1000e,id=device,netdev=net"]


def remote(lab: Lab, device: Sequence[str]) -> Wiretap:
    """A QEMU that serves the device named "device"; the tap before it."""
    path = str(lab.folder / "remote.server")
    server = {"qom-type": "x-vfio-user-server", "id": "server",
              "socket": {"type": "unix", "path": path}, "device": "device"}
    command = [str(lab.installation.qemu), "-nodefaults", "-display", "none",
               "-machine", "x-remote,vfio-user=on", *device,
               "-object", json.dumps(server)]
    return lab.serve("remote", SERVER, command, path)


def server_of(lab: Lab) -> Process:
    """The QEMU that serves."""
    return next(process for process in lab.processes
                if process.name == SERVER)


def expect_quiet_end(lab: Lab) -> None:
    """All QEMUs have ended well, without a word."""
    for process in lab.processes:
        expect(f"{process.name}'s exit status",
               process.wait(END_TIMEOUT), 0)
        expect(f"{process.name}'s output", process.output(), "")


def is_unmask(entry: Entry) -> bool:
    """Is this the command to unmask MSI-X vectors?"""
    return (entry["cmd"] == "DEVICE_SET_IRQS" and
            entry["type"] == "command" and
            (entry["region"], entry["value"]) == (MSIX_IRQ, UNMASK))


def test_remote_disk(lab: Lab) -> None:
    """x-vfio-user-server: NVMe keeps a guest's data over its reboot."""
    disk = make_disk(lab)
    tap = remote(lab, ["-drive", f"if=none,id=disk,format=raw,file={disk}",
                       *NVME])
    guest = boot(lab, "guest", KEEP, *device_arguments(tap))
    wait_for_data(guest, disk)
    expect_quiet_end(lab)
    expect_true("MSI-X vectors were unmasked",
                any(map(is_unmask, tap.journal.entries())))


def test_remote_network(lab: Lab) -> None:
    """x-vfio-user-server: e1000e comes up, also after a reset."""
    tap = remote(lab, NETWORK)
    guest = boot(lab, "guest", Scenario("network", ["e1000e"]),
                 *device_arguments(tap))
    for boots in (1, 2):
        guest.wait("network driver e1000e", boots)
        answers = guest.wait(r"(\d+) packets transmitted, "
                             r"(\d+) packets received.*", boots)
        expect("packets sent and received", answers.groups(), ("5", "5"))
        interrupts = guest.wait(r"network interrupts (\d+)", boots)
        expect_true("the card has MSI-X vectors", int(interrupts[1]) > 1)
        if boots == 1:
            guest.qemu.qmp("system_reset")
    expect("exit status", guest.qemu.quit(), 0)
    expect_quiet_end(lab)


def test_remote_no_migration(lab: Lab) -> None:
    """x-vfio-user-server: migrate is refused, naming the device."""
    tap = remote(lab, NETWORK)
    qemu = lab.machine("qemu", *device_arguments(tap, name="remotedev"))
    try:
        qemu.qmp("migrate", uri=f"unix:{lab.folder}/nobody")
    except MonitorError as error:
        expect_true(f"the device's id in {str(error)!r}",
                    "remotedev" in str(error))
    else:
        raise Failed("migrate was accepted")
    qemu.qmp("stop")
    qemu.qmp("cont")
    expect("run state", qemu.status(), "running")
    expect("exit status", qemu.quit(), 0)
    expect_quiet_end(lab)


if __name__ == "__main__":
    sys.exit(run([test_remote_disk, test_remote_network,
                  test_remote_no_migration], []))
