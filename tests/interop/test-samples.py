#!/usr/bin/env python3
#
# Interop test with libvfio-user's samples "server" and "lspci", as far as
# they are PCI devices.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU with what is left of libvfio-user's samples."""

import struct
import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from refusal import check_refusal, start_mock
from testcase import expect, run
from vmpair import Lab, is_listening, wait_for

CONFIG_REGION, CONFIG_SIZE = 7, 4096
CAPABILITIES = 0x34             # where config space says that they begin
TIMEOUT = 30.0


def test_samples_server(lab: Lab) -> None:
    """server: its BAR of 8 bytes is refused: one line, exit status 1."""
    path = f"{lab.folder}/server"
    server = lab.process("server",
                         [str(lab.installation.sample("server")), path])
    wait_for(lambda: is_listening(path) or not server.is_running(),
             "the sample listens on its socket")
    check_refusal(lab, path, r"BAR 0.*power of two.*\(got 0x8\)")


def printed_config(lab: Lab) -> bytearray:
    """The config space that the sample "lspci" prints."""
    sample = lab.process("lspci", [str(lab.installation.sample("lspci"))])
    expect("exit status", sample.wait(TIMEOUT), 0)
    lines = sample.output().splitlines()
    config = bytearray.fromhex("".join(line.partition(":")[2]
                                       for line in lines[1:]))
    expect("size of the config space", len(config), CONFIG_SIZE)
    return config


def serve_config(lab: Lab, config: bytes) -> str:
    """A mock server that shows it; the socket's path."""
    reply = struct.pack("<QII", 0, CONFIG_REGION, CONFIG_SIZE) + config
    rule = {"command": "REGION_READ", "region": CONFIG_REGION, "offset": 0,
            "count": CONFIG_SIZE, "action": "reply", "data": reply.hex()}
    return start_mock(lab, [rule], f"--config-size={CONFIG_SIZE}")


def test_samples_lspci(lab: Lab) -> None:
    """lspci: the config space that it prints is one that QEMU takes."""
    path = serve_config(lab, printed_config(lab))
    qemu = lab.machine("qemu", "-device", f"vfio-user-pci,socket={path}")
    expect("run state", qemu.status(), "running")
    expect("exit status", qemu.quit(), 0)
    expect("output", qemu.output(), "")


def test_samples_lspci_loop(lab: Lab) -> None:
    """lspci: made a loop, its chain of capabilities is refused."""
    config = printed_config(lab)
    first = config[CAPABILITIES]
    config[first + 1] = first
    check_refusal(lab, serve_config(lab, config), "capabilit")


if __name__ == "__main__":
    sys.exit(run([test_samples_server, test_samples_lspci,
                  test_samples_lspci_loop], ["server", "lspci"]))
