# A migration between two QEMUs whose servers say afterwards what they saw.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Migrations between two QEMUs with bench-servers, or with mock servers."""

import json
import socket
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from journal import Entry
from rig import (CPU_A, CPU_B, Server, listening, prepare, start_server,
                 start_vm)
from vmpair import Installation, Lab, LabError, Qemu, Result, migrate

POLL_SECONDS = 0.003
POLL_TIMEOUT = 60.0

Watch = Callable[[Lab, Qemu, Qemu], Callable[[], Any]]


class Outcome(NamedTuple):
    """What the servers saw, one list for each, and what QEMU says."""
    source: List[List[Entry]]
    destination: List[List[Entry]]
    result: Result
    watched: Any


class Poller:
    """
    Asks a monitor of its own again and again in a thread, and remembers the
    longest time that an answer took.
    """

    def __init__(self, path: str) -> None:
        self.longest = 0.0
        self._stop = threading.Event()
        self._fault: Optional[Exception] = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(POLL_TIMEOUT)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")
        self._ask("qmp_capabilities")
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _ask(self, command: str) -> None:
        request = json.dumps({"execute": command}).encode() + b"\n"
        self._socket.sendall(request)
        for line in self._file:
            if "return" in json.loads(line):
                return
        raise LabError("QEMU closed its second monitor")

    def _poll(self) -> None:
        try:
            while not self._stop.wait(POLL_SECONDS):
                start = time.monotonic()
                self._ask("query-status")
                self.longest = max(self.longest, time.monotonic() - start)
        except Exception as fault:      # pylint: disable=broad-except
            self._fault = fault

    def finish(self) -> float:
        """End it; returns the longest gap in seconds."""
        self._stop.set()
        self._thread.join()
        self._file.close()
        self._socket.close()
        if self._fault:
            raise LabError(f"the second monitor: {self._fault}")
        return self.longest


def poll_monitors(lab: Lab, source: Qemu,
                  destination: Qemu) -> Callable[[], Any]:
    """A Watch: the longest gap of each side."""
    pollers = [Poller(f"{lab.folder}/{qemu.name}.qmp2")
               for qemu in (source, destination)]
    return lambda: [poller.finish() for poller in pollers]


def start_mock(lab: Lab, name: str, cpu: Optional[int],
               **server_options: Any) -> Server:
    """Start a mock server; its journal is the log."""
    del cpu
    path, log = str(lab.folder / f"{name}.sock"), lab.folder / f"{name}.journal"
    command = [str(lab.installation.server("vfio-user-mock")),
               f"--socket-path={path}", f"--journal={log}"]
    command += [f"--{option.replace('_', '-')}={value}"
                for option, value in server_options.items()]
    return listening(lab, f"{name}.server", path, log, command)


def mock_entries(server: Server) -> List[Entry]:
    """A mock does not end by itself."""
    server.process.popen.terminate()
    return server.entries()


def run_pair(installation: Installation, devices: int = 1,
             device: str = "", watch: Optional[Watch] = None,
             mock: bool = False, **server_options: Any) -> Outcome:
    """
    Migrate a guest with so many devices, the source and its servers on one CPU
    and the destination with its own on the other.  The destination's servers
    get no state_size, they load it.
    """
    start = start_mock if mock else start_server
    ends: Dict[str, List[Server]] = {}
    with Lab(installation) as lab:
        qemus = []
        for side, cpu in (("source", CPU_A), ("destination", CPU_B)):
            ends[side] = [start(lab, f"{side}{i}", cpu, **server_options)
                          for i in range(devices)]
            extra = ["-qmp", f"unix:{lab.folder}/{side}.qmp2,server=on,"
                     "wait=off"]
            if side == "destination":
                extra += ["-incoming", "defer"]
            qemus.append(start_vm(lab, side, ends[side], *extra, cpu=cpu,
                                  device=device))
        source, destination = qemus
        prepare(source, destination)
        for qemu in qemus:
            qemu.qmp("migrate-set-capabilities", capabilities=[
                {"capability": "return-path", "state": True}])
        finish = watch(lab, source, destination) if watch else lambda: None
        result = migrate(source, destination, lab.folder / "stream")
        watched = finish()
        if result.status != "completed":
            raise LabError(f"migration {result.status}: {result.error}")
        for qemu in qemus:
            qemu.quit()
        seen = mock_entries if mock else Server.entries
        return Outcome([seen(server) for server in ends["source"]],
                       [seen(server) for server in ends["destination"]],
                       result, watched)
