# The machines that are measured: QEMUs, bench-servers, and which CPU they are
# on.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMUs without a guest, their bench-servers, and raw measurements."""

import base64
import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional

from journal import Entry, MIGRATION_REGION, read_journal
from vmpair import Lab, LabError, Process, Qemu, is_listening, wait_for

RAW_TIMEOUT = 120.0
QTEST_TIMEOUT = 60.0
DATA_AREA = 0x1000              # of the bench-server's migration region
PENDING_BYTES, DATA_OFFSET = 8, 16
MIB = 1 << 20

# The first one is the server's, or for latency everybody's
CPUS = sorted(os.sched_getaffinity(0))
CPU_A, CPU_B = CPUS[0], CPUS[-1]


def raw(lab: Lab, cpus: str, mode: str, *sizes: int,
        stream: Path = Path(os.devnull)) -> float:
    """
    Seconds that bench-raw takes; cpus is "same" for one CPU, "apart" for two.
    The stream is its input.
    """
    other = CPU_A if cpus == "same" else CPU_B
    command = [str(lab.installation.server("bench-raw")), str(CPU_A),
               str(other), mode, *map(str, sizes)]
    with open(stream, "rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True,
                              text=True, timeout=RAW_TIMEOUT, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return float(done.stdout)


def pin(process: Process, cpu: int) -> None:
    """Put all threads of a process on one CPU; later ones inherit it."""
    for task in os.listdir(f"/proc/{process.popen.pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {cpu})


@contextlib.contextmanager
def ourselves_on(cpu: int) -> Iterator[None]:
    """Keep this program out of the way of what it measures."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class NotInstalled(Exception):
    """A program or library that a benchmark needs; the text says which."""


class Server(NamedTuple):
    """A bench-server, or the mock server, and where its log will be."""
    process: Process
    path: str
    log: Path

    def entries(self) -> List[Entry]:
        """What it saw; it ends when its client has gone."""
        status = self.process.wait()
        if status:
            raise self.process.died("instead of serving")
        return read_journal(str(self.log))


def listening(lab: Lab, name: str, path: str, log: Path,
              command: List[str]) -> Server:
    """Start a server and wait until it listens."""
    process = lab.process(name, command)
    wait_for(lambda: is_listening(path) or not process.is_running(),
             f"{name} listens")
    if not process.is_running():
        raise process.died("before it listened")
    return Server(process, path, log)


def start_server(lab: Lab, name: str, cpu: Optional[int] = None,
                 **options: Any) -> Server:
    """
    Start a bench-server; options are its own, "_" standing for "-" (True: one
    without a value).
    """
    path = str(lab.folder / f"{name}.sock")
    log = lab.folder / f"{name}.journal"
    command = [str(lab.installation.server("bench-server")),
               f"--socket-path={path}", f"--log={log}"]
    for option, value in options.items():
        option = option.replace("_", "-")
        command.append(f"--{option}" if value is True
                       else f"--{option}={value}")
    server = listening(lab, f"{name}.server", path, log, command)
    if cpu is not None:
        pin(server.process, cpu)
    return server


def start_vm(lab: Lab, name: str, servers: Iterable[Server], *extra: str,
             cpu: Optional[int] = None, device: str = "", dimms: int = 0,
             memory: int = 32) -> Qemu:
    """
    Start a QEMU that executes nothing, with a device for each server, whose
    options device names (",x-..."), and with so many modules of 4 MiB besides
    its memory (MiB).
    """
    arguments = ["-accel", "qtest", "-machine", "q35,memory-backend=ram0",
                 "-m", f"{memory}M,slots=128,maxmem=8G", "-object",
                 f"memory-backend-memfd,id=ram0,size={memory}M,share=on,"
                 "prealloc=on"]
    for i in range(dimms):
        arguments += ["-object", f"memory-backend-memfd,id=ram{i + 1},size=4M,"
                      "share=on,prealloc=on", "-device",
                      f"pc-dimm,id=dimm{i + 1},memdev=ram{i + 1}"]
    for i, server in enumerate(servers):
        arguments += ["-device", f"vfio-user-pci,id=dev{i},addr={4 + i:#x},"
                      f"socket={server.path}{device}"]
    qemu = lab.qemu(name, *arguments, *extra)
    if cpu is not None:
        pin(qemu, cpu)
    return qemu


def prepare(*qemus: Qemu) -> None:
    """Let nothing but the machine limit the migration."""
    for qemu in qemus:
        qemu.qmp("migrate-set-parameters", max_bandwidth=1 << 40,
                 downtime_limit=60000)


class Qtest:
    """The qtest protocol's client: accesses without a guest."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.arguments = ["-qtest", f"unix:{lab.folder}/{name}.qtest,"
                          "server=on,wait=off", "-qtest-log", "none"]
        self._path = f"{lab.folder}/{name}.qtest"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(QTEST_TIMEOUT)
        lab.callback(self._socket.close)

    def connect(self) -> None:
        """Connect to the QEMU that was started with the arguments."""
        self._socket.connect(self._path)

    def command(self, line: str) -> str:
        """Execute a command and return what follows OK."""
        self._socket.sendall(line.encode() + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            part = self._socket.recv(1 << 20)
            if not part:
                raise LabError(f"QEMU went away at {line}")
            answer += part
        text = answer.decode().strip()
        if not text.startswith("OK"):
            raise LabError(f"qtest: {line}: {text}")
        return text[2:].strip()

    def timed(self, line: str) -> float:
        """The seconds that a command takes."""
        start = time.monotonic()
        self.command(line)
        return time.monotonic() - start

    def read(self, address: int, size: int) -> bytes:
        """Read memory or registers."""
        return base64.b64decode(self.command(f"b64read {address:#x} {size:#x}"))

    def place_bar(self, slot: int, address: int) -> None:
        """Give BAR 0 of the device in this slot an address, and enable it."""
        for register, value in ((0x10, address), (0x04, 0x0002)):
            place = 0x80000000 | slot << 11 | register
            self.command(f"outl 0xcf8 {place:#x}")
            self.command(f"outl 0xcfc {value:#x}")


def seconds(entries: List[Entry], what: Any) -> float:
    """From the first command that what(entry) is true for to the last reply."""
    waiting = set()
    first = last = None
    for entry in entries:
        if entry["type"] == "command" and what(entry):
            first = entry["t"] if first is None else first
            waiting.add(entry["id"])
        elif entry["type"] == "reply" and entry["id"] in waiting:
            waiting.discard(entry["id"])
            last = entry["t"]
    if first is None or last is None:
        raise LabError("the server has not seen what was to be measured")
    return float(last - first)


def is_data(entry: Entry) -> bool:
    """Whether a message reads or writes device data."""
    return (entry.get("region") == MIGRATION_REGION and
            entry["offset"] >= DATA_AREA)


def state_time(entries: List[Entry], value: int, kind: str) -> float:
    """
    When device_state was first told this ("command"), or when the last such
    write was answered ("reply").
    """
    waiting = set()
    times: Dict[str, List[float]] = {"command": [], "reply": []}
    for entry in entries:
        if entry["type"] == "reply" and entry["id"] in waiting:
            waiting.discard(entry["id"])
            times["reply"].append(entry["t"])
        elif (entry["type"] == "command" and entry["dir"] == "c2s" and
              entry["cmd"] == "REGION_WRITE" and entry["offset"] == 0 and
              entry["region"] == MIGRATION_REGION and
              entry["value"] == value):
            waiting.add(entry["id"])
            times["command"].append(entry["t"])
    if not times[kind]:
        raise LabError(f"no {kind} of a write of {value} to device_state")
    return times[kind][0 if kind == "command" else -1]
