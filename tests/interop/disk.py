# The disk images of the guests with NVMe, and what the tests find in them.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the tests with Linux's NVMe driver have in common."""

import hashlib
import os
from pathlib import Path

from linuxguest import Guest, Scenario
from testcase import expect
from vmpair import Lab

# A scenario that writes, reboots, reads, and turns the machine off
KEEP = Scenario("disk", ["nvme"])
KEEP_OFFSET, KEEP_SIZE = 1 << 20, 4 << 20       # where its data is

DISK_SIZE = 64 << 20
SECTOR = 512
SUM = "([0-9a-f]{64})"
END_TIMEOUT = 60.0


def make_disk(lab: Lab) -> Path:
    """An empty disk image."""
    path = lab.folder / "disk"
    path.touch()
    os.truncate(path, DISK_SIZE)
    return path


def sum_of_data(disk: Path, offset: int, size: int) -> str:
    """The checksum of what is in this part of the image."""
    with open(disk, "rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(size)).hexdigest()


def wait_for_data(guest: Guest, disk: Path) -> None:
    """The guest of KEEP has found what it had written, and has ended."""
    guest.wait(f"disk size {DISK_SIZE // SECTOR}")
    written = guest.wait(f"disk wrote {SUM} read {SUM}")
    found = guest.wait(f"disk found {SUM} read {SUM}")
    # With the second line the guest turns its machine off
    expect("exit status", guest.qemu.wait(END_TIMEOUT), 0)
    sums = {*written.groups(), *found.groups(),
            sum_of_data(disk, KEEP_OFFSET, KEEP_SIZE)}
    expect("different checksums", len(sums), 1)
