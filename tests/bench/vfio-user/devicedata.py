# Device data: how fast it goes into a migration stream and out of it.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Saving and loading of device data, by message and mapped."""

import os
from functools import partial
from pathlib import Path
from typing import Any, List

from journal import Entry, MIGRATION_REGION
from options import options
from rig import (CPU_A, CPU_B, MIB, DATA_OFFSET, PENDING_BYTES, is_data,
                 prepare, raw, seconds, start_server, start_vm)
from rows import Goal, Round, Row, make_row, repeat
from vmpair import (Installation, Lab, LabError, finish_migration,
                    start_migration)

MESSAGE = MIB                   # the most that the server takes or gives
SMALL_MESSAGE = 32768           # the default of x-max-write-size
WINDOW = 16 * MIB
STREAM_BUFFER = 32768           # of a QEMUFile
LOAD_TIMEOUT = 120.0
STOCK_STATE = 256 * 1024        # device data, in as many messages as there
STOCK_MESSAGE = 8               # are registers' worth in it, one by one
STOCK = ",x-send-queued=on"
GOAL_COPY = Goal(">=", 0.8)
GOAL_MAPPED = Goal(">=", 0.7)


def save(installation: Installation, stream: Path, size: int,
         dimms: int = 0, device: str = "",
         **server_options: Any) -> List[Entry]:
    """
    Migrate a guest whose device has so many bytes into a file, the server on
    one CPU and QEMU on the other; returns what the server saw.
    """
    with Lab(installation) as lab:
        server = start_server(lab, "dev", CPU_A, state_size=size,
                              window_size=WINDOW, **server_options)
        qemu = start_vm(lab, "source", [server], cpu=CPU_B, dimms=dimms,
                        device=device)
        prepare(qemu)
        sink = os.open(stream, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            qemu.pass_fd("sink", sink)
        finally:
            os.close(sink)
        start_migration(qemu, "fd:sink")
        result = finish_migration(qemu)
        if result.status != "completed":
            raise LabError(f"migration {result.status}: {result.error}")
        qemu.quit()
        return server.entries()


def data_speed(entries: List[Entry]) -> float:
    """
    MB/s of the second half of device data.  In the first one the kernel takes
    pages for the socket that it has not used for long, and in a virtual
    machine the host has to find them.
    """
    messages = [number for number, entry in enumerate(entries)
                if entry["type"] == "command" and is_data(entry)]
    half = entries[messages[len(messages) // 2]:]
    return options.state_size / 2 / seconds(half, is_data) / 1e6


def copy_speed(lab: Lab, message: int, window: int) -> float:
    """MB/s of a bare copy out of a window of this size."""
    size = options.state_size
    return size / raw(lab, "apart", "copy", message, size, window) / 1e6


def stock_speed(entries: List[Entry]) -> float:
    """MB/s of STOCK_STATE, in stock's messages."""
    return STOCK_STATE / seconds(entries, is_data) / 1e6


def make_copy_row(name: str, message: int, measured: List[Round]) -> Row:
    """Of rounds that compare with a bare copy."""
    return make_row(name, "MB/s", measured, GOAL_COPY,
                    f"copy in messages of {message // 1024} KiB, server and "
                    "QEMU on a CPU each")


def save_unmapped(lab: Lab, rounds: int) -> List[Row]:
    """Device data saved by message, in chunks of 16 and of 1 MiB"""
    nowhere = Path(os.devnull)

    def measure(chunk: int, slow: float) -> Round:
        bare = copy_speed(lab, MESSAGE, WINDOW)
        entries = save(lab.installation, nowhere, options.state_size,
                       chunk_size=chunk)
        return Round(data_speed(entries), bare, slow)

    rows = []
    for name, chunk in (("save-unmapped", WINDOW),
                        ("save-unmapped-chunk-1M", MIB)):
        slow = stock_speed(save(lab.installation, nowhere, STOCK_STATE,
                                device=STOCK, max_data=STOCK_MESSAGE,
                                chunk_size=chunk))
        rows.append(make_copy_row(name, MESSAGE,
                                  repeat(rounds,
                                         partial(measure, chunk, slow))))
    return rows


def is_chunk(entry: Entry) -> bool:
    """Whether a message asks for the next chunk, or whether there is one."""
    return (entry.get("region") == MIGRATION_REGION and
            entry["offset"] in (PENDING_BYTES, DATA_OFFSET))


def after_stop(entries: List[Entry]) -> List[Entry]:
    """What follows the first question for a chunk, all that is saved."""
    for number, entry in enumerate(entries):
        if (entry.get("region") == MIGRATION_REGION and
                entry["offset"] == DATA_OFFSET):
            return entries[number:]
    raise LabError("the server was not asked for device data")


def save_mapped(lab: Lab, rounds: int) -> List[Row]:
    """Device data saved from a mapped region"""
    size = options.state_size

    def measure() -> Round:
        bare = raw(lab, "apart", "memcpy", STREAM_BUFFER, size, WINDOW)
        entries = save(lab.installation, Path("/dev/null"), size, mapped=True)
        if any(map(is_data, entries)):
            raise LabError("mapped device data was read by message")
        return Round(size / seconds(after_stop(entries), is_chunk) / 1e6,
                     size / bare / 1e6)

    return [make_row("save-mapped", "MB/s", repeat(rounds, measure),
                     GOAL_MAPPED,
                     "memcpy of a 16 MiB window to a 32 KiB buffer, and "
                     "write")]


def load(installation: Installation, stream: Path, message: int,
         device: str = "") -> List[Entry]:
    """Load from a file what save() has written; what the server saw."""
    with Lab(installation) as lab:
        server = start_server(lab, "dev", CPU_A, window_size=WINDOW)
        qemu = start_vm(lab, "destination", [server], "-incoming", "defer",
                        cpu=CPU_B, device=device +
                        f",x-max-write-size={message}")
        with open(stream, "rb") as file:
            qemu.pass_fd("stream", file.fileno())
        qemu.qmp("migrate-incoming", uri="fd:stream")
        qemu.wait_status("running", LOAD_TIMEOUT)
        qemu.quit()
        return server.entries()


def load_rows(lab: Lab, rounds: int, name: str, message: int, stream: Path,
              slow: float) -> List[Row]:
    """
    How fast data is loaded by message from a stream, beside a copy in
    messages of the same size, and beside no more than reading the stream and
    sending it in such messages.
    """
    half = options.state_size // 2
    bare = []

    def measure() -> Round:
        copied = copy_speed(lab, message, message)
        sent = raw(lab, "apart", "load", message, half, MIB, stream=stream)
        speed = data_speed(load(lab.installation, stream, message))
        bare.append(Round(speed, half / sent / 1e6))
        return Round(speed, copied, slow)

    return [make_copy_row(name, message, repeat(rounds, measure)),
            make_row(f"{name}-bare", "MB/s", bare, None,
                     "read of the stream and send, in messages of "
                     f"{message // 1024} KiB")]


def load_unmapped(lab: Lab, rounds: int) -> List[Row]:
    """Device data loaded by message, of 32 KiB and of 1 MiB"""
    stream, short = lab.folder / "stream", lab.folder / "short"
    save(lab.installation, stream, options.state_size)
    save(lab.installation, short, STOCK_STATE)
    slow = stock_speed(load(lab.installation, short, STOCK_MESSAGE, STOCK))
    rows = [row for name, message in (("load-unmapped", SMALL_MESSAGE),
                                      ("load-unmapped-1M", MESSAGE))
            for row in load_rows(lab, rounds, name, message, stream, slow)]
    stream.unlink()
    short.unlink()
    return rows
