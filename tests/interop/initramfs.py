# Initial file systems for Linux guests, made of the host's own packages.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
Kernels, their modules and busybox as the host has them, packed into a cpio
archive that a guest boots from.
"""

import os
import stat
import struct
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

from vmpair import Missing

BUSYBOX = Path("/bin/busybox")
MODULES = Path("/lib/modules")
PROGRAM = stat.S_IFREG | 0o755
FOLDER = stat.S_IFDIR | 0o755

KERNEL_HELP = ("no kernel image for the guest: install Debian's package "
               "linux-image-amd64, or name one with --kernel=FILE")
BUSYBOX_HELP = f"no static {BUSYBOX}: install the package busybox-static"


class Kernel(NamedTuple):
    """A kernel image, and what "uname -r" says in it."""
    image: Path
    release: str


def installed_images() -> List[Path]:
    """The images in /boot, the newest last; Missing if there is none."""
    images = sorted(Path("/boot").glob("vmlinuz-*"),
                    key=lambda path: path.stat().st_mtime)
    if not images:
        raise Missing(KERNEL_HELP)
    readable = [path for path in images if os.access(path, os.R_OK)]
    if not readable:
        raise Missing(f"cannot read {images[-1]}: run as root, or give a "
                      "readable copy with --kernel=FILE")
    return readable


def find_kernel(given: Optional[str]) -> Path:
    """The kernel image given, or the newest in /boot; else Missing."""
    if given is None:
        return installed_images()[-1]
    if not os.access(given, os.R_OK):
        raise Missing(f"cannot read the kernel image {given}")
    return Path(given).absolute()


def listed(path: Path) -> List[str]:
    """The lines of a file that need not be there."""
    if not os.access(path, os.R_OK):
        return []
    return path.read_text(encoding="utf-8").splitlines()


def name_of(module: str) -> str:
    """The module's name, of the path of its file."""
    return module.rpartition("/")[2].partition(".")[0].replace("-", "_")


def dependencies(release: str) -> Dict[str, List[str]]:
    """Each module's file, and the files of those that it needs, by name."""
    table = {}
    for line in listed(MODULES / release / "modules.dep"):
        module, _, needed = line.partition(":")
        table[name_of(module)] = [module, *needed.split()]
    return table


def find_kernel_with(modules: Sequence[str]) -> Kernel:
    """
    The newest kernel that has these modules, as files or built in; else
    Missing.
    """
    for image in reversed(installed_images()):
        release = image.name.partition("-")[2]
        there = set(dependencies(release))
        there.update(map(name_of, listed(MODULES / release /
                                         "modules.builtin")))
        if there.issuperset(map(name_of, modules)):
            return Kernel(image, release)
    raise Missing(f"no kernel in /boot has the modules {' '.join(modules)}: "
                  "install the package linux-image-amd64")


def module_files(release: str, modules: Sequence[str]) -> Dict[str, bytes]:
    """
    What modprobe needs in a guest to load these modules, by path; nothing
    for what is built into the kernel.
    """
    table = dependencies(release)
    folder = MODULES / release
    wanted = [table[name_of(module)] for module in modules
              if name_of(module) in table]
    files = {f"{folder}/{path}": (folder / path).read_bytes()
             for paths in wanted for path in paths}
    if files:
        for paths in wanted[:]:
            wanted += [table[name_of(path)] for path in paths[1:]]
        lines = sorted({f"{paths[0]}: {' '.join(paths[1:])}\n"
                        for paths in wanted})
        files[f"{folder}/modules.dep"] = "".join(lines).encode()
    return files


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


def write_archive(path: Path, files: Dict[str, bytes]) -> None:
    """
    Write an initramfs with busybox, a console, empty /dev, /proc and /sys,
    and these programs and other files; Missing if there is no busybox.
    """
    files = {"bin/busybox": find_busybox().read_bytes(), **files}
    folders = {"dev", "proc", "sys", "tmp"}
    for name in files:
        folders.update(str(parent).strip("/")
                       for parent in Path(name).parents)
    folders -= {"", "."}
    members = [(name, FOLDER, b"", 0) for name in sorted(folders)]
    members += [(name.strip("/"), PROGRAM, data, 0)
                for name, data in files.items()]
    members += [("dev/console", stat.S_IFCHR | 0o600, b"",
                 os.makedev(5, 1)), ("TRAILER!!!", 0, b"", 0)]
    path.write_bytes(b"".join(
        archive_member(number, *member)
        for number, member in enumerate(members, 1)))
