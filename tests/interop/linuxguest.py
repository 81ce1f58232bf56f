# Linux guests that run a scenario with a driver of their kernel.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
A guest boots Debian's kernel with all the scenarios of the folder guest/ in
its initramfs, loads the modules of one and runs it. What it has to say it
writes to its console.
"""

import os
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from initramfs import (Kernel, find_kernel_with, module_files,
                       write_archive)
from testcase import Failed, GuestLost, expect
from vmpair import (MACHINE_MEMORY, Lab, LabError, Qemu, memory_arguments,
                    migrate, wait_for)

MODULES = ("gpio-pci-idio-16", "nvme", "e1000e")
SCENARIOS = Path(__file__).resolve().parent / "guest"
PCI_SLOT = 0x10
WAIT_TIMEOUT = 120.0
BANDWIDTH = 1 << 20             # bytes a second

# What a guest writes that has come to grief
GRIEF = re.compile(r"FAILED: .*|Kernel panic.*|BUG: .*|Oops: .*|"
                   r".* self-detected stall .*")


class Scenario(NamedTuple):
    """
    A script of the folder guest/, the modules that it needs, and parameters
    for the kernel, modules or the script.
    """
    name: str
    modules: Sequence[str]
    parameters: Sequence[str] = ()


class Image(NamedTuple):
    """What a guest boots."""
    kernel: Kernel
    initramfs: Path


def make_image(folder: Path) -> Image:
    """Make the initramfs; Missing if the host lacks something."""
    path = folder / "initramfs"
    kernel = find_kernel_with(MODULES)
    if not path.exists():
        files: Dict[str, bytes] = module_files(kernel.release, MODULES)
        for scenario in SCENARIOS.iterdir():
            name = scenario.name
            files["init" if name == "init" else f"scenario/{name}"] = \
                scenario.read_bytes()
        write_archive(path, files)
    return Image(kernel, path)


class Guest(NamedTuple):
    """A QEMU, and the file that its guest's console is written to."""
    qemu: Qemu
    console: Path

    def text(self) -> str:
        """All that the guest has written, with bare newlines."""
        if not self.console.exists():
            return ""
        text = self.console.read_bytes().decode("utf-8", "replace")
        return text.replace("\r", "")

    def grief(self) -> Optional[str]:
        """What the guest has come to, if anything."""
        match = GRIEF.search(self.text())
        return match[0] if match else None

    def wait(self, pattern: str, times: int = 1,
             timeout: float = WAIT_TIMEOUT) -> "re.Match[str]":
        """
        Wait until so many whole lines of the console match; returns the last
        of them. Raises Failed as soon as the guest is in trouble.
        """
        line = re.compile(f"(?m)^{pattern}\n")

        def seen() -> List["re.Match[str]"]:
            return list(line.finditer(self.text()))

        try:
            wait_for(lambda: (len(seen()) >= times or bool(self.grief()) or
                              not self.qemu.is_running()),
                     "the guest goes on", timeout)
        except LabError:
            pass                # said below
        if len(seen()) < times:
            raise Failed(f"the guest's console has {pattern!r} "
                         f"{len(seen())} times, not {times}, within "
                         f"{timeout:g} s: {self.grief() or 'no complaint'}")
        return seen()[times - 1]


def boot(lab: Lab, name: str, scenario: Scenario, *arguments: str,
         memory: Sequence[str] = (), runner: Sequence[str] = ()) -> Guest:
    """
    Start a QEMU of this name whose guest runs the scenario; memory are the
    arguments for another memory than its own, runner is a command that
    starts it in some other surroundings.
    """
    image = make_image(lab.folder)
    console = lab.folder / f"{name}.console"
    # On a busy machine Linux misses ticks of the timer that it checks
    parameters = (f"console=ttyS0 quiet oops=panic no_timer_check "
                  f"scenario={scenario.name} "
                  f"modules={','.join(scenario.modules)} "
                  f"{' '.join(scenario.parameters)}")
    qemu = lab.qemu(name, "-accel", "tcg", *(memory or memory_arguments()),
                    "-kernel", str(image.kernel.image),
                    "-initrd", str(image.initramfs), "-append", parameters,
                    "-chardev", f"file,id=console,path={console}",
                    "-serial", "chardev:console", *arguments, runner=runner)
    guest = Guest(qemu, console)
    lab.notes.append(lambda: f"--- console of {name}\n{guest.text()}")
    return guest


def wait_after_migration(guest: Guest, pattern: str, times: int) -> None:
    """
    As Guest.wait(), where the guest has just arrived with its memory sent:
    GuestLost if it did not survive. QEMU 7.2 loses a write of a guest under
    TCG now and then when the machine is busy, with or without a vfio-user
    device.
    """
    try:
        guest.wait(pattern, times)
    except Failed as error:
        if guest.qemu.is_running():
            raise GuestLost(str(error)) from None
        raise


def shared_memory(lab: Lab) -> List[str]:
    """
    Arguments for QEMUs that have their guest's memory in common, and do not
    send it with the migration capability x-ignore-shared: a guest under TCG
    survives that whatever it does.
    """
    fd = os.memfd_create("guest")
    lab.callback(lambda: os.close(fd))
    return ["-machine", "q35,memory-backend=ram0", "-m", MACHINE_MEMORY,
            "-object", f"memory-backend-file,id=ram0,size={MACHINE_MEMORY},"
            f"mem-path=/proc/{os.getpid()}/fd/{fd},share=on"]


def set_capability(qemu: Qemu, name: str) -> None:
    """Turn a migration capability on."""
    qemu.qmp("migrate-set-capabilities",
             capabilities=[{"capability": name, "state": True}])


def migrate_without_memory(lab: Lab, source: Guest,
                           destination: Guest) -> None:
    """Migrate; pre-copy lasts as long as the device has data."""
    for guest in (source, destination):
        set_capability(guest.qemu, "x-ignore-shared")
    source.qemu.qmp("migrate-set-parameters", max_bandwidth=BANDWIDTH,
                    downtime_limit=0)
    result = migrate(source.qemu, destination.qemu, lab.folder / "stream")
    expect("migration", (result.status, result.error), ("completed", ""))


def joined(source: Guest, destination: Guest,
           pattern: str) -> List[Tuple[str, ...]]:
    """The groups of all matching lines on the two consoles, in one row."""
    text = source.text() + destination.text()
    return [match.groups() for match in
            re.finditer(f"(?m)^{pattern}\n", text)]
