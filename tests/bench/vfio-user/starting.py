# How long devices take to start.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Realizing devices whose servers answer late."""

import time
from typing import List

from rig import Server, start_server, start_vm
from rows import Round, Row, make_row, repeat
from vmpair import Installation, Lab

INFO_DELAY_MS = 1
MAP_DELAY_MS = 20               # a server that makes memory ready for hardware
DEVICES = 8
DIMMS = 60                      # 64 regions of memory with q35's own


def start_time(installation: Installation, devices: int, dimms: int) -> float:
    """Milliseconds from the first message to the last before QMP answers."""
    with Lab(installation) as lab:
        servers: List[Server] = [
            start_server(lab, f"dev{i}", delay_info=INFO_DELAY_MS,
                         delay_map=MAP_DELAY_MS) for i in range(devices)]
        qemu = start_vm(lab, "vm", servers, dimms=dimms)
        ready = time.monotonic()
        qemu.quit()
        times = [entry["t"] for server in servers
                 for entry in server.entries() if entry["t"] < ready]
    return (max(times) - min(times)) * 1e3


def start_devices(lab: Lab, rounds: int) -> List[Row]:
    """Start of 8 devices, of 64 memory regions, of both"""
    def row(name: str, devices: int, dimms: int, one_devices: int,
            one_dimms: int, against: str) -> Row:
        return make_row(name, "ms", repeat(min(rounds, 3), lambda: Round(
            start_time(lab.installation, devices, dimms),
            start_time(lab.installation, one_devices, one_dimms))),
                        against=against)

    return [row("start-8-devices", DEVICES, 0, 1, 0, "1 device"),
            row("start-64-regions", 1, DIMMS, 1, 0, "1 device, few regions"),
            row("start-8-devices-64-regions", DEVICES, DIMMS, 1, DIMMS,
                "1 device, 64 regions")]
