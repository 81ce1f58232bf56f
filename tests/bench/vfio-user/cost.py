# What a migration costs in memory, and a message in instructions.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Memory of QEMU while it migrates, instructions of the client."""

import re
import shutil
from typing import Any, Callable, Dict, List

from devicedata import WINDOW
from options import options
from pair import run_pair
from rig import MIB, NotInstalled
from rows import Goal, Round, Row, make_row, repeat
from vmpair import Lab, LabError, Qemu

RESET_PEAK = "5"                # what /proc/PID/clear_refs takes for it
FEW, MANY = 500, 2500           # requests of the two runs that are compared
CALLGRIND_TIMEOUT = 120.0


def memory_of(qemu: Qemu, field: str) -> float:
    """A figure of /proc/PID/status in MiB."""
    with open(f"/proc/{qemu.popen.pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise LabError(f"no {field} of {qemu.name}")


def watch_peaks(_lab: Lab, source: Qemu,
                destination: Qemu) -> Callable[[], Any]:
    """How much memory each side grows at most until the end, in MiB."""
    before: Dict[Qemu, float] = {}
    for qemu in (source, destination):
        with open(f"/proc/{qemu.popen.pid}/clear_refs", "w",
                  encoding="ascii") as file:
            file.write(RESET_PEAK)
        before[qemu] = memory_of(qemu, "VmRSS")
    return lambda: [memory_of(qemu, "VmHWM") - was
                    for qemu, was in before.items()]


def memory(lab: Lab, rounds: int) -> List[Row]:
    """Memory that device data takes in QEMU, source and destination"""
    size = options.state_size
    sides: List[List[Round]] = [[], []]

    def peaks(state_size: int) -> List[float]:
        return run_pair(lab.installation, watch=watch_peaks,
                        state_size=state_size, window_size=WINDOW).watched

    def measure() -> Round:
        for side, none, full in zip(sides, peaks(0), peaks(size)):
            side.append(Round(full - none))
        return sides[0][-1]

    repeat(min(rounds, 3), measure)
    notes = [f"{size // MIB} MiB of device data; what a migration without "
             "any takes is subtracted"]
    return [make_row(f"memory-{name}", "MiB", side, Goal("<=", 16),
                     notes=notes)
            for name, side in zip(("source", "destination"), sides)]


def count_instructions(lab: Lab, kind: str, requests: int) -> int:
    """Instructions of a client that makes so many requests."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise NotInstalled("no valgrind; install the package of that name")
    # The wrapper or link in the build folder leads to QEMU's own
    program = (lab.installation.qemu.resolve().parent /
               "tests/unit/vfio-user/bench-vfio-user-session")
    client = lab.process(f"{kind}-{requests}", [
        valgrind, "--tool=callgrind",
        f"--callgrind-out-file={lab.folder}/callgrind.%p",
        str(program), kind, str(requests)])
    if client.wait(CALLGRIND_TIMEOUT):
        raise client.died("instead of counting")
    # The server, a child of it, has counted as well
    match = re.search(rf"=={client.popen.pid}== Collected : (\d+)",
                      client.output())
    if not match:
        raise LabError(f"callgrind counted nothing: {client.output()}")
    return int(match[1])


def instructions(lab: Lab, rounds: int) -> List[Row]:
    """Instructions of the client for a message, counted by callgrind"""
    del rounds                  # they are always the same ones
    rows = []
    for kind in ("read", "write", "posted"):
        few, many = (count_instructions(lab, kind, requests)
                     for requests in (FEW, MANY))
        print(".", end="", flush=True)
        rows.append(make_row(f"instructions-{kind}", "instructions",
                             [Round((many - few) / (MANY - FEW))]))
    return rows
