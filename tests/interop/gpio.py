# The device gpio-pci-idio-16: where it is, its ports by the human monitor, and
# the guest that counts with libvfio-user's sample of it.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the tests with this device have in common."""

from typing import List

from linuxguest import PCI_SLOT, Guest, Scenario, joined
from testcase import expect
from vmpair import Qemu, device_arguments
from wiretap import Wiretap

SAMPLE = "gpio-pci-idio-16"
COUNT = Scenario("gpio-count", [SAMPLE])
COUNT_TICK = r"tick (\d+) bits ([01]{8})"
READS_PER_STEP = 3              # the sample counts one up at every third read
PORT = 0x1000                   # where map_ports() puts BAR2


def at_slot(tap: Wiretap, cache: bool = True) -> List[str]:
    """The device's arguments, with the slot that all guests have it in."""
    device = device_arguments(tap, cache)
    device[1] += f",addr={PCI_SLOT:#x}"
    return device


def hmp(qemu: Qemu, line: str) -> str:
    """Run a command of the human monitor, which has port I/O."""
    answer = qemu.qmp("human-monitor-command", command_line=line)
    return str(answer).strip()


def set_config(qemu: Qemu, register: int, value: int) -> None:
    """Write 4 bytes of the device's config space, as a guest does."""
    address = 0x80000000 | PCI_SLOT << 11 | register
    hmp(qemu, f"o /w 0xcf8 {address:#x}")
    hmp(qemu, f"o /w 0xcfc {value:#x}")


def map_ports(qemu: Qemu) -> None:
    """Give the device's BAR2 an address, as firmware does."""
    set_config(qemu, 0x18, PORT)
    set_config(qemu, 0x04, 1)


def read_port(qemu: Qemu, register: int) -> int:
    """Read a byte of the device's BAR2, as a guest does."""
    return int(hmp(qemu, f"i /b {PORT + register:#x}").split("=")[1], 16)


def write_port(qemu: Qemu, register: int, value: int) -> None:
    """Write a byte of the device's BAR2, as a guest does."""
    hmp(qemu, f"o /b {PORT + register:#x} {value:#x}")


def check_count(source: Guest, destination: Guest) -> None:
    """No tick is missing, and no read of the counter."""
    reads = 0
    for number, (tick, bits) in enumerate(
            joined(source, destination, COUNT_TICK), 1):
        wanted = ""
        for line in range(len(bits)):
            wanted += str(reads // READS_PER_STEP >> line & 1)
            reads += 1
        expect(f"tick {number}", (int(tick), bits), (number, wanted))
