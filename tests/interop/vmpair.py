# Sample servers, taps and QEMUs for the interop tests and the demo.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
Start libvfio-user sample servers and QEMUs, migrate, stop everything.

All that is started is stopped again, by process, when the `Lab` that started
it is left, whatever the reason. Every wait has a deadline.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import (Any, Callable, Dict, List, NamedTuple, Optional,
                    Sequence)

from monitor import Monitor, MonitorLost
from wiretap import Wiretap

START_TIMEOUT = 30.0
COMMAND_TIMEOUT = 60.0          # QEMU does not answer while it loads
STOP_TIMEOUT = 10.0
MIGRATION_TIMEOUT = 120.0
POLL_SECONDS = 0.02
MACHINE_MEMORY = "256M"

Status = Dict[str, Any]


class LabError(Exception):
    """Something did not start, answer or end as it should."""


class Missing(Exception):
    """A program that is needed is not there; the text says which."""


class Installation(NamedTuple):
    """Where the patched QEMU and what belongs to it are."""
    qemu: Path
    samples: Path
    python: Path

    def server(self, name: str) -> Path:
        """Path of one of this project's own servers, beside QEMU."""
        path = self.qemu.parent / name
        if not os.access(path, os.X_OK):
            raise Missing(f"no server at {path}")
        return path

    def sample(self, name: str) -> Path:
        """Path of a sample server; raises Missing if it was not built."""
        path = self.samples / name
        if not os.access(path, os.X_OK):
            raise Missing(f"no sample server at {path}")
        return path


def first_existing(candidates: Sequence[Path], probe: str) -> Path:
    """The first candidate that holds `probe`; the first one if none does."""
    for path in candidates:
        if (path / probe).exists():
            return path
    return candidates[0]


def find_installation() -> Installation:
    """
    The build below build/, or what the environment says instead:
    BUILD_DIR, QEMU_BINARY, LIBVFIO_USER_SAMPLES, QEMU_PYTHON.

    Raises Missing if there is no QEMU or no qemu.qmp package.
    """
    root = Path(__file__).resolve().parents[2]
    build = Path(os.environ.get("BUILD_DIR", root / "build")).absolute()
    qemu = Path(os.environ.get("QEMU_BINARY",
                               build / "qemu-system-x86_64")).absolute()
    if not os.access(qemu, os.X_OK):
        raise Missing(f"no QEMU at {qemu}; run ./configure and make first")

    below = Path("subprojects/libvfio-user/samples")
    samples = first_existing(
        [build / below, qemu.resolve().parent / below,
         *(path / below for path in sorted(build.glob("*/")))], "null")
    python = first_existing(
        [build / "qemu-src/python",
         *(path / "python" for path in sorted(build.glob("*/")))],
        "qemu/qmp")
    samples = Path(os.environ.get("LIBVFIO_USER_SAMPLES", samples)).absolute()
    python = Path(os.environ.get("QEMU_PYTHON", python)).absolute()
    if not (python / "qemu/qmp").exists():
        raise Missing(f"no QEMU Python package (qemu.qmp) in {python}")
    return Installation(qemu, samples, python)


def wait_for(condition: Callable[[], bool], what: str,
             timeout: float = START_TIMEOUT) -> None:
    """Poll condition(); raises LabError when it is not met in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(POLL_SECONDS)


def is_listening(path: str, pid: int = os.getpid()) -> bool:
    """
    True if someone listens on the UNIX socket at path, in the network
    namespace of the process with this id.
    """
    accepting = 0x10000         # __SO_ACCEPTCON in /proc/net/unix
    try:
        table = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8")
    except OSError:
        return False            # the process has just ended
    for line in table.splitlines():
        columns = line.split()
        if columns[-1] == path and int(columns[3], 16) & accepting:
            return True
    return False


class Process:
    """A child process; its output goes to a file below the lab's folder."""

    def __init__(self, name: str, command: Sequence[str], folder: Path,
                 keep_stdin: bool = False) -> None:
        self.name = name
        self.command = list(command)
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
                stdin=subprocess.PIPE if keep_stdin else subprocess.DEVNULL)

    def output(self) -> str:
        """All it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_running(self) -> bool:
        """False once it has ended."""
        return self.popen.poll() is None

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Its exit status; LabError if it does not end in time."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} is still running after "
                           f"{timeout:g} s") from None

    def stop(self) -> None:
        """End it, by force if it does not heed SIGTERM."""
        if self.popen.stdin:
            with contextlib.suppress(OSError):
                self.popen.stdin.close()
        if self.is_running():
            self.popen.terminate()
            try:
                self.popen.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def died(self, doing: str) -> LabError:
        """An error for a process that has ended too early."""
        return LabError(f"{self.name} ended with status "
                        f"{self.popen.returncode} {doing}: "
                        f"{self.output().strip() or 'no output'}")


class Qemu(Process):
    """A QEMU with its QMP monitor connected."""

    def __init__(self, name: str, installation: Installation, folder: Path,
                 arguments: Sequence[str],
                 runner: Sequence[str] = ()) -> None:
        socket_path = folder / f"{name}.qmp"
        command = [*runner, str(installation.qemu), "-nodefaults",
                   "-display", "none", "-name", name,
                   "-qmp", f"unix:{socket_path},server=on,wait=off",
                   *arguments]
        super().__init__(name, command, folder)
        self._monitor: Optional[Monitor] = None
        try:
            self._connect(installation, str(socket_path))
        except BaseException:
            self.stop()
            raise

    def _connect(self, installation: Installation, path: str) -> None:
        pid = self.popen.pid
        wait_for(lambda: not self.is_running() or is_listening(path, pid),
                 f"{self.name} opens its monitor")
        try:
            self._monitor = Monitor(installation.python, path,
                                    COMMAND_TIMEOUT)
        except MonitorLost as error:
            raise self._lost("before its monitor answered", error) from None

    def qmp(self, command: str, **arguments: Any) -> Any:
        """
        Execute a QMP command and return its result.

        `_` in the name of an argument stands for `-`. Raises MonitorError
        when QEMU refuses, LabError when it is gone or silent.
        """
        assert self._monitor is not None
        arguments = {name.replace("_", "-"): value
                     for name, value in arguments.items()}
        try:
            return self._monitor.execute(command, arguments)
        except MonitorLost as error:
            raise self._lost(f"at {command}", error) from None

    def pass_fd(self, name: str, fd: int) -> None:
        """Give QEMU a copy of this fd; the URI "fd:NAME" means it then."""
        assert self._monitor is not None
        self._monitor.send_fd(fd)
        self.qmp("getfd", fdname=name)

    def _lost(self, doing: str, error: MonitorLost) -> LabError:
        """What to say when the monitor went away; QEMU may just be ending."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_TIMEOUT)
        if self.is_running():
            return LabError(f"{self.name} {doing}: {error}")
        return self.died(doing)

    def status(self) -> str:
        """The run state, as "running" or "paused"."""
        return str(self.qmp("query-status")["status"])

    def wait_status(self, wanted: str, timeout: float = 30.0) -> None:
        """Wait for a run state."""
        wait_for(lambda: self.status() == wanted,
                 f"{self.name} is {wanted}", timeout)

    def quit(self) -> int:
        """Leave by QMP; returns the exit status."""
        self.qmp("quit")
        return self.wait()

    def stop(self) -> None:
        """As Process.stop(), and the monitor's connection too."""
        super().stop()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None


class Result(NamedTuple):
    """How a migration ended: status, milliseconds, the text of an error."""
    status: str
    downtime: Optional[int]
    total_time: Optional[int]
    error: str


class Lab:
    """
    A temporary folder and everything that runs in it.

    Use as a context manager; leaving it stops the QEMUs, then the taps, then
    the servers.
    """

    def __init__(self, installation: Optional[Installation] = None) -> None:
        self.installation = installation or find_installation()
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="vfio-user-")))
        self.processes: List[Process] = []
        self.taps: Dict[str, Wiretap] = {}
        self.notes: List[Callable[[], str]] = []    # more for logs()

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def callback(self, function: Callable[[], object]) -> None:
        """Call this when the lab is left, after what is started later ends."""
        self._stack.callback(function)

    def server(self, name: str, sample: str, *options: str) -> Wiretap:
        """Start a sample server; returns the tap in front of it."""
        socket_path = str(self.folder / f"{name}.server")
        command = [str(self.installation.sample(sample)), *options,
                   socket_path]
        return self.serve(name, f"{name}-{sample}", command, socket_path)

    def serve(self, name: str, process: str, command: Sequence[str],
              socket_path: str) -> Wiretap:
        """Start any server; returns the tap in front of it."""
        # The null sample ends when its standard input does
        server = self.process(process, command, keep_stdin=True)
        wait_for(lambda: is_listening(socket_path) or not server.is_running(),
                 f"{server.name} listens on its socket")
        if not server.is_running():
            raise server.died("before it listened")
        return self.tap(name, socket_path)

    def tap(self, name: str, server_path: str) -> Wiretap:
        """A tap in front of the server at this socket."""
        tap = Wiretap(str(self.folder / f"{name}.sock"), server_path,
                      str(self.folder / f"{name}.journal"))
        self._stack.callback(tap.close)
        self.taps[name] = tap
        return tap

    def process(self, name: str, command: Sequence[str],
                keep_stdin: bool = False) -> Process:
        """Start any other program."""
        process = Process(name, command, self.folder, keep_stdin)
        self._add(process)
        return process

    def qemu(self, name: str, *arguments: str,
             runner: Sequence[str] = ()) -> Qemu:
        """
        Start a QEMU with these arguments more; runner is a command that
        becomes QEMU, as "ip netns exec" does.
        """
        process = Qemu(name, self.installation, self.folder, arguments,
                       runner)
        self._add(process)
        return process

    def machine(self, name: str, *arguments: str) -> Qemu:
        """Start a QEMU whose guest does not execute anything."""
        return self.qemu(name, *memory_arguments(), "-accel", "qtest",
                         *arguments)

    def _add(self, process: Process) -> None:
        self.processes.append(process)
        self._stack.callback(process.stop)

    def logs(self) -> str:
        """What all processes have written, and what taps have to say."""
        texts = [f"--- {process.name} ({' '.join(process.command)})\n"
                 f"{process.output()}" for process in self.processes]
        for name, tap in self.taps.items():
            texts += [f"--- tap {name}: {fault}\n" for fault in tap.faults]
        texts += [note() for note in self.notes]
        return "".join(texts)


def memory_arguments(machine: str = "q35") -> List[str]:
    """Arguments for a machine whose memory a server can map."""
    return ["-machine", f"{machine},memory-backend=ram0",
            "-m", MACHINE_MEMORY, "-object",
            f"memory-backend-memfd,id=ram0,size={MACHINE_MEMORY},share=on"]


def device_arguments(tap: Wiretap, cache: bool = True,
                     name: str = "dev0") -> List[str]:
    """Arguments for a vfio-user-pci device at this tap."""
    device = f"vfio-user-pci,id={name},socket={tap.listen_path}"
    if not cache:
        device += ",x-cache-device-state=off"
    return ["-device", device]


Progress = Callable[[Status], None]


def start_migration(source: Qemu, uri: str) -> None:
    """Start a migration; MonitorError with QEMU's text if it refuses."""
    source.qmp("migrate", uri=uri)


def finish_migration(source: Qemu, progress: Optional[Progress] = None,
                     timeout: float = MIGRATION_TIMEOUT) -> Result:
    """Wait until the migration has ended in any way."""
    deadline = time.monotonic() + timeout
    while True:
        status: Status = source.qmp("query-migrate")
        if progress:
            progress(status)
        state = status.get("status", "none")
        if state in ("completed", "failed", "cancelled"):
            return Result(state, status.get("downtime"),
                          status.get("total-time"),
                          status.get("error-desc", ""))
        if time.monotonic() > deadline:
            raise LabError(f"the migration is still {state!r} after "
                           f"{timeout:g} s")
        time.sleep(POLL_SECONDS)


def migrate(source: Qemu, destination: Qemu, path: Path,
            progress: Optional[Progress] = None) -> Result:
    """As migrate_by(), over the UNIX socket at path."""
    return migrate_by(f"unix:{path}", source, destination, progress)


def migrate_by(uri: str, source: Qemu, destination: Qemu,
               progress: Optional[Progress] = None) -> Result:
    """
    Migrate to a QEMU that waits with "-incoming defer". When it has
    completed, the destination runs.
    """
    destination.qmp("migrate-incoming", uri=uri)
    start_migration(source, uri)
    result = finish_migration(source, progress)
    if result.status == "completed":
        destination.wait_status("running")
    return result
