# A small Linux guest that ticks on its serial console and uses the device.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
A guest made of Debian's kernel and a static busybox.

Once in TICK_SECONDS it prints "tick N input M", where M was read from the
first port of the device's BAR2 at that moment.
"""

import os
import re
import stat
import struct
from pathlib import Path
from typing import List, NamedTuple, Optional

from vmpair import Missing

PCI_SLOT = 0x10
TICK_SECONDS = 0.1
BUSYBOX = Path("/bin/busybox")

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

KERNEL_HELP = ("no kernel image for the guest: install Debian's package "
               "linux-image-amd64 or linux-image-cloud-amd64, or name one "
               "with --kernel=FILE")
BUSYBOX_HELP = f"no static {BUSYBOX}: install the package busybox-static"


def find_kernel(given: Optional[str]) -> Path:
    """The kernel image given, or the newest in /boot; else Missing."""
    if given is not None:
        if not os.access(given, os.R_OK):
            raise Missing(f"cannot read the kernel image {given}")
        return Path(given).absolute()
    images = sorted(Path("/boot").glob("vmlinuz-*"),
                    key=lambda path: path.stat().st_mtime)
    if not images:
        raise Missing(KERNEL_HELP)
    readable = [path for path in images if os.access(path, os.R_OK)]
    if not readable:
        raise Missing(f"cannot read {images[-1]}: run as root, or give a "
                      "readable copy with --kernel=FILE")
    return readable[-1]


def is_static(program: Path) -> bool:
    """True for an ELF program (64 bits) that needs no dynamic loader."""
    interpreter = 3             # PT_INTERP
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return False
    offset, = struct.unpack_from("<Q", data, 0x20)
    size, number = struct.unpack_from("<HH", data, 0x36)
    kinds = [struct.unpack_from("<I", data, offset + index * size)[0]
             for index in range(number)]
    return interpreter not in kinds


def find_busybox() -> Path:
    """A busybox that runs without libraries; else Missing."""
    if not os.access(BUSYBOX, os.R_OK) or not is_static(BUSYBOX):
        raise Missing(BUSYBOX_HELP)
    return BUSYBOX


def archive_member(number: int, name: str, mode: int, data: bytes = b"",
                   device: int = 0) -> bytes:
    """One member of a cpio archive in the format "newc"."""
    def padded(part: bytes) -> bytes:
        return part + bytes(-len(part) % 4)

    path = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0,
              os.major(device), os.minor(device), len(path), 0]
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return padded(header + path) + padded(data)


def write_initramfs(path: Path) -> None:
    """Write the guest's initramfs; Missing if there is no busybox."""
    folder = stat.S_IFDIR | 0o755
    program = stat.S_IFREG | 0o755
    members = [("dev", folder, b"", 0), ("sys", folder, b"", 0),
               ("bin", folder, b"", 0),
               ("bin/busybox", program, find_busybox().read_bytes(), 0),
               ("dev/console", stat.S_IFCHR | 0o600, b"",
                os.makedev(5, 1)),
               ("init", program, INIT.encode(), 0),
               ("TRAILER!!!", 0, b"", 0)]
    path.write_bytes(b"".join(
        archive_member(number, *member)
        for number, member in enumerate(members, 1)))


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
