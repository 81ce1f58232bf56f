# Register accesses: how long, how many, how many system calls.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Accesses of a guest to a BAR that is reached by message."""

import os
import shutil
import signal
from typing import List, Tuple

from rig import (CPU_A, CPU_B, NotInstalled, Qtest, ourselves_on, pin, raw,
                 start_server, start_vm)
from rows import Goal, Round, Row, make_row, repeat
from vmpair import Lab, LabError, Qemu, wait_for

DEVICE_BAR, LOCAL_BAR = 0xe0000000, 0xe1000000
LOCAL_SLOT = 0x10
BEGIN = 0x1000                  # where the local device has no registers
ACCESS = 8
HEAD = 32                       # of a message about a region
READS = 8192
WRITES = 65536
TRACED_READS = 2048


def start(lab: Lab) -> Tuple[Qemu, Qtest]:
    """
    A QEMU with a vfio-user device and a local one (edu), whose BARs take 8
    bytes at a time, all on one CPU.
    """
    server = start_server(lab, "dev", CPU_A)
    qtest = Qtest(lab, "vm")
    qemu = start_vm(lab, "vm", [server], "-device",
                    f"edu,addr={LOCAL_SLOT:#x}", *qtest.arguments, cpu=CPU_A)
    qtest.connect()
    qtest.place_bar(4, DEVICE_BAR)
    qtest.place_bar(LOCAL_SLOT, LOCAL_BAR)
    pin(qemu, CPU_A)
    return qemu, qtest


def over_local(qtest: Qtest, command: str, count: int, tail: str = "") -> float:
    """Seconds of one access to the device, less those of a local one."""
    line = " {:#x} {:#x}" + tail
    local = qtest.timed(command + line.format(LOCAL_BAR + BEGIN,
                                              count * ACCESS))
    device = qtest.timed(command + line.format(DEVICE_BAR + BEGIN,
                                               count * ACCESS))
    return (device - local) / count


def mmio_read(lab: Lab, rounds: int) -> List[Row]:
    """A read of a register that reaches the server"""
    _, qtest = start(lab)

    def measure() -> Round:
        bare = raw(lab, "same", "pingpong", HEAD, HEAD + ACCESS, READS)
        return Round(over_local(qtest, "b64read", READS) * 1e6,
                     bare / READS * 1e6)

    with ourselves_on(CPU_B):
        return [make_row("mmio-read", "us", repeat(rounds, measure),
                         Goal("<=", 1.3), "ping-pong, one CPU")]


def posted_writes(lab: Lab, rounds: int) -> List[Row]:
    """Writes of registers that are not answered"""
    _, qtest = start(lab)

    def measure() -> Round:
        bare = raw(lab, "same", "oneway", HEAD + ACCESS, WRITES)
        return Round(1e-3 / over_local(qtest, "memset", WRITES, " 0x55"),
                     1e-3 * WRITES / bare)

    with ourselves_on(CPU_B):
        return [make_row("posted-writes", "1000/s", repeat(rounds, measure),
                         Goal(">=", 0.5), "messages one way, one CPU")]


def all_traced(pid: int) -> bool:
    """Whether a tracer is attached to all threads of a process."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            if "TracerPid:\t0\n" in file.read():
                return False
    return True


def count_calls(lab: Lab, qemu: Qemu, qtest: Qtest) -> List[Tuple[str, float]]:
    """System calls of all threads for a read, by name, the most first."""
    strace = shutil.which("strace")
    if not strace:
        raise NotInstalled("no strace; install the package of that name")
    table = lab.folder / "strace"
    tracer = lab.process("strace", [strace, "-f", "-c", "-o", str(table),
                                    "-p", str(qemu.popen.pid)])
    wait_for(lambda: not tracer.is_running() or all_traced(qemu.popen.pid),
             "strace is attached")
    if not tracer.is_running():
        raise tracer.died("before it was attached")
    qtest.read(DEVICE_BAR + BEGIN, TRACED_READS * ACCESS)
    tracer.popen.send_signal(signal.SIGINT)
    tracer.wait()
    counts = []
    for line in table.read_text(encoding="ascii").splitlines():
        columns = line.split()
        if len(columns) >= 5 and columns[3].isdigit():
            counts.append((columns[-1], int(columns[3]) / TRACED_READS))
    if not counts:
        raise LabError(f"strace counted nothing: {tracer.output()}")
    return sorted(counts, key=lambda count: -count[1])


def mmio_read_syscalls(lab: Lab, rounds: int) -> List[Row]:
    """System calls of all of QEMU's threads for a read, back to back"""
    qemu, qtest = start(lab)
    seen: List[str] = []

    def measure() -> Round:
        counts = dict(count_calls(lab, qemu, qtest))
        total = counts.pop("total")
        seen[:] = [f"{name} {count:.2f}" for name, count in counts.items()
                   if count >= 0.005]
        return Round(total)

    with ourselves_on(CPU_B):
        measured = repeat(min(rounds, 3), measure)
    return [make_row("mmio-read-syscalls", "calls", measured, Goal("<=", 3),
                     notes=["a read: " + ", ".join(seen)])]
