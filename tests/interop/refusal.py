# Servers that QEMU has to refuse, and a mock server that does what it is told.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU says in one line why it does not take a server, and exits with 1."""

import json
import re
from typing import List

from testcase import expect, expect_true
from vmpair import (Lab, LabError, Process, is_listening, memory_arguments,
                    wait_for)

EXIT_TIMEOUT = 30.0
DEVICE = "refused"


def check_refusal(lab: Lab, path: str, reason: str) -> None:
    """
    QEMU with the server at path exits with status 1 and one line; what that
    says behind the name of the option names the device or the socket, and
    matches the regular expression `reason`.
    """
    command = [str(lab.installation.qemu), "-nodefaults", "-display", "none",
               "-accel", "qtest", *memory_arguments(), "-device",
               f"vfio-user-pci,id={DEVICE},socket={path}"]
    qemu = lab.process("qemu", command)
    expect("exit status", qemu.wait(EXIT_TIMEOUT), 1)
    lines = qemu.output().splitlines()
    expect(f"number of lines in {lines!r}", len(lines), 1)
    text = re.sub(r"^\S+: -device \S+: ", "", lines[0])
    expect_true(f"{reason!r} in {text!r}", bool(re.search(reason, text)))
    expect_true(f"device or socket in {text!r}",
                DEVICE in text or path in text)


def start_mock(lab: Lab, rules: List[object], *options: str) -> str:
    """Start the mock server with a script; returns its socket's path."""
    program = str(lab.installation.server("vfio-user-mock"))
    path = f"{lab.folder}/mock"
    script = lab.folder / "script"
    script.write_text(json.dumps(rules), encoding="utf-8")
    mock: Process = lab.process("mock", [
        program, f"--socket-path={path}", f"--script={script}", *options])
    wait_for(lambda: is_listening(path) or not mock.is_running(),
             "the mock listens on its socket")
    if not mock.is_running():
        raise LabError(f"the mock has ended: {mock.output()}")
    return path
