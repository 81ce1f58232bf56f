#!/usr/bin/env python3
#
# Records what a real server sends in a session, for make-seeds.py.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Usage: record-session.py BUILD RECORDING SERVER [ARGUMENT]...

Starts SERVER with its arguments and a socket's path behind them, and the QEMU
of build folder BUILD with its device; has QEMU migrate to nowhere, and writes
the server's messages to file RECORDING.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, List

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "interop"))

# pylint: disable=wrong-import-position
import wiretap                                          # noqa: E402

PATIENCE = 60.0


class Recorder(wiretap.Describer):
    """Writes the server's messages to @file on their way."""

    file: IO[str]

    def entry(self, direction: str, message: wiretap.Message) -> wiretap.Entry:
        """As the journal has it."""
        if direction == "s2c":
            number, command, _, flags, error = message.header
            print(number, command, flags, error, len(message.fds),
                  message.body.hex(), file=self.file)
        return super().entry(direction, message)


def migrate(qemu: "subprocess.Popen[str]") -> None:
    """Wait for a migration to nowhere to end, and for QEMU."""
    assert qemu.stdin and qemu.stdout
    commands = [{"execute": "qmp_capabilities"}, {"execute": "stop"},
                {"execute": "migrate",
                 "arguments": {"uri": "exec:cat > /dev/null"}}]
    deadline = time.monotonic() + PATIENCE
    done = False
    while time.monotonic() < deadline:
        command = commands.pop(0) if commands else {
            "execute": "quit" if done else "query-migrate"}
        print(json.dumps(command), file=qemu.stdin, flush=True)
        answer = {}
        while not {"return", "error"} & set(answer):
            line = qemu.stdout.readline()
            if not line:
                return
            answer = json.loads(line)
        status = answer.get("return", {}).get("status")
        done = done or status in ("completed", "failed")
    qemu.kill()


def record(build: Path, recording: Path, server: List[str]) -> None:
    """One session."""
    with tempfile.TemporaryDirectory() as name, \
            recording.open("w", encoding="ascii") as file:
        folder = Path(name)
        Recorder.file = file
        wiretap.Describer = Recorder                    # type: ignore
        with subprocess.Popen(server + [f"{folder}/server"]) as process:
            while not (folder / "server").exists():
                if process.poll() is not None:
                    sys.exit("record-session: error: the server has ended")
                time.sleep(0.05)
            with wiretap.Wiretap(f"{folder}/tap", f"{folder}/server"):
                with subprocess.Popen(
                        [str(build / "qemu-system-x86_64"), "-nodefaults",
                         "-display", "none", "-qmp", "stdio", "-m", "64M",
                         "-machine", "q35,memory-backend=ram0", "-object",
                         "memory-backend-memfd,id=ram0,size=64M,share=on",
                         "-device", f"vfio-user-pci,socket={folder}/tap"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        text=True) as qemu:
                    migrate(qemu)
            process.kill()


def main() -> int:
    """Entry point."""
    if len(sys.argv) < 4 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:] == ["--help"] else 2
    record(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
