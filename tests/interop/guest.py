# A small Linux guest that ticks on its serial console and uses the device.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
A guest made of Debian's kernel and a static busybox.

Once in TICK_SECONDS it prints "tick N input M", where M was read from the
first port of the device's BAR2 at that moment.
"""

import re
from pathlib import Path
from typing import List, NamedTuple

from initramfs import write_archive

PCI_SLOT = 0x10
TICK_SECONDS = 0.1

INIT = f"""#!/bin/busybox sh
for applet in mount dd od usleep; do
    /bin/busybox ln -s busybox /bin/$applet
done
mount -t devtmpfs none /dev
mount -t sysfs none /sys
device=/sys/bus/pci/devices/0000:00:{PCI_SLOT:02x}.0
echo 1 > $device/enable
tick=0
while true; do
    tick=$((tick + 1))
    input=$(dd if=$device/resource2 bs=1 count=1 2>/dev/null | od -An -tu1)
    echo tick $tick input $input
    usleep {round(TICK_SECONDS * 1000000)}
done
"""


def write_initramfs(path: Path) -> None:
    """Write the guest's initramfs; Missing if there is no busybox."""
    write_archive(path, {"init": INIT.encode()})


def guest_arguments(kernel: Path, initramfs: Path,
                    console: Path) -> List[str]:
    """QEMU's arguments for the guest, its console written to a file."""
    return ["-kernel", str(kernel), "-initrd", str(initramfs),
            "-append", "console=ttyS0 quiet panic=-1", "-no-reboot",
            "-chardev", f"file,id=console,path={console}",
            "-serial", "chardev:console"]


class Tick(NamedTuple):
    """A line of the guest: its number, and what the device's port held."""
    number: int
    input: int


def ticks(text: str) -> List[Tick]:
    """The ticks in the console's text, complete lines only."""
    return [Tick(int(number), int(value)) for number, value in
            re.findall(r"tick (\d+) input (\d+)\r?\n", text)]


def read_console(path: Path) -> str:
    """All that the guest has written so far."""
    return path.read_text(encoding="utf-8", errors="replace")
