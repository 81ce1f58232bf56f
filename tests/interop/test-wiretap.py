#!/usr/bin/env python3
#
# Test of the interop tests' own tools: what the tap relays and writes down,
# and what is concluded from it.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""The tap between two sockets of the test itself."""

import array
import os
import select
import socket
import sys
import threading
from typing import List, NamedTuple, Tuple

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from journal import (Count, Entry, count, device_state_accesses, names,
                     read_journal)
from testcase import expect, expect_true, run
from vmpair import Lab
from wiretap import ACCESS, FLAG_ERROR, HEADER, Wiretap

TIMEOUT = 10.0
VERSION, DMA_MAP, REGION_READ, REGION_WRITE, RESET = 1, 2, 9, 10, 13


def message(number: int, command: int, flags: int, body: bytes = b"",
            error: int = 0) -> bytes:
    """A whole message."""
    return HEADER.pack(number, command, HEADER.size + len(body), flags,
                       error) + body


class Sides(NamedTuple):
    """A client and its server, with a tap in the middle."""
    tap: Wiretap
    listener: socket.socket
    client: socket.socket
    server: socket.socket


def connect(tap: Wiretap, listener: socket.socket) -> Sides:
    """A new client, and what the server accepted for it."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(TIMEOUT)
    client.connect(tap.listen_path)
    server, _ = listener.accept()
    server.settimeout(TIMEOUT)
    return Sides(tap, listener, client, server)


def make_sides(lab: Lab) -> Sides:
    """A server socket, a tap and a first client."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.settimeout(TIMEOUT)
    listener.bind(f"{lab.folder}/server")
    listener.listen()
    tap = lab.tap("tap", f"{lab.folder}/server")
    return connect(tap, listener)


def receive_all(sock: socket.socket, size: int) -> bytes:
    """Exactly size bytes."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def fields(entries: List[Entry], *keys: str) -> List[Tuple[object, ...]]:
    """The entries' values for these keys."""
    return [tuple(entry.get(key) for key in keys) for entry in entries]


def test_tap_pieces_and_fds(lab: Lab) -> None:
    """tap: a message in single bytes arrives whole, with usable fds."""
    sides = make_sides(lab)
    reading, writing = os.pipe()
    data = message(7, DMA_MAP, 0, bytes(32))
    socket.send_fds(sides.client, [data[:1]], [writing, reading])
    os.close(writing)
    for index in range(1, len(data)):
        sides.client.sendall(data[index:index + 1])

    space = socket.CMSG_SPACE(8 * array.array("i").itemsize)
    seen, ancillary, _, _ = sides.server.recvmsg(4096, space)
    fds = array.array("i", ancillary[0][2])
    expect("message in one piece", seen, data)
    expect("number of fds", len(fds), 2)
    os.write(fds[0], b"through the tap")
    expect("data through the pipe", os.read(reading, 100), b"through the tap")
    for fd in (reading, *fds):
        os.close(fd)
    expect("journal", fields(sides.tap.journal.entries(),
                             "dir", "type", "cmd", "id", "fds"),
           [("c2s", "command", "DMA_MAP", 7, 2)])


def test_tap_no_fd_left(lab: Lab) -> None:
    """tap: fds that were passed on stay open nowhere in the tap."""
    sides = make_sides(lab)
    reading, writing = os.pipe()
    data = message(1, DMA_MAP, 0, bytes(32))
    socket.send_fds(sides.client, [data], [writing])
    os.close(writing)
    _, fds, _, _ = socket.recv_fds(sides.server, 4096, 8)
    for fd in fds:
        os.close(fd)
    # The tap closes its own after it has sent them
    ended, _, _ = select.select([reading], [], [], TIMEOUT)
    expect("the pipe has ended", ended, [reading])
    expect("data in the pipe", os.read(reading, 1), b"")
    os.close(reading)


def test_tap_journal_fields(lab: Lab) -> None:
    """tap: the journal shows values, and in replies what was asked."""
    sides = make_sides(lab)
    where = ACCESS.pack(0, 9, 4)
    exchange = [
        message(1, REGION_WRITE, 0, where + b"\x02\0\0\0"),
        message(1, REGION_WRITE, 1, where),
        message(2, REGION_READ, 0, where),
        message(2, REGION_READ, 1, where + b"\x03\0\0\0"),
        message(3, REGION_READ, 0, ACCESS.pack(4096, 9, 9)),
        message(3, REGION_READ, 1, ACCESS.pack(4096, 9, 9) + bytes(9)),
        message(4, REGION_WRITE, 0, where + b"\x01\0\0\0"),
        message(4, REGION_WRITE, 1 | FLAG_ERROR, b"", 22),
    ]
    for index, data in enumerate(exchange):
        sender, receiver = ((sides.server, sides.client) if index % 2 else
                            (sides.client, sides.server))
        sender.sendall(data)
        expect("message", receive_all(receiver, len(data)), data)

    entries = read_journal(f"{lab.folder}/tap.journal")
    expect("file and memory", entries, sides.tap.journal.entries())
    expect("journal",
           fields(entries, "dir", "type", "cmd", "region", "offset", "count",
                  "value", "errno"),
           [("c2s", "command", "REGION_WRITE", 9, 0, 4, 2, 0),
            ("s2c", "reply", "REGION_WRITE", 9, 0, 4, None, 0),
            ("c2s", "command", "REGION_READ", 9, 0, 4, None, 0),
            ("s2c", "reply", "REGION_READ", 9, 0, 4, 3, 0),
            ("c2s", "command", "REGION_READ", 9, 4096, 9, None, 0),
            ("s2c", "reply", "REGION_READ", 9, 4096, 9, None, 0),
            ("c2s", "command", "REGION_WRITE", 9, 0, 4, 1, 0),
            ("s2c", "reply", "REGION_WRITE", 9, 0, 4, None, 22)])


def test_tap_large_message(lab: Lab) -> None:
    """tap: a reply of 1 MiB passes."""
    sides = make_sides(lab)
    data = message(1, REGION_READ, 1, os.urandom(1 << 20))
    sender = threading.Thread(target=sides.server.sendall, args=(data,))
    sender.start()
    seen = receive_all(sides.client, len(data))
    sender.join()
    expect_true(f"{len(seen)} bytes arrive as they were sent", seen == data)


def test_tap_close(lab: Lab) -> None:
    """tap: an end is passed on both ways, and a new client gets through."""
    sides = make_sides(lab)
    sides.client.close()
    expect("server after the client's end", sides.server.recv(1), b"")
    sides.server.close()

    second = connect(sides.tap, sides.listener)
    last = message(1, VERSION, 1, bytes(4))
    second.server.sendall(last)
    second.server.close()
    expect("the last reply", receive_all(second.client, len(last)), last)
    expect("client after the server's end", second.client.recv(1), b"")


def entry(kind: str, number: int, cmd: str, value: int = -1,
          errno: int = 0) -> Entry:
    """A journal entry of an access to device_state; `kind` "c" or "r"."""
    made = {"dir": "c2s" if kind == "c" else "s2c",
            "type": "command" if kind == "c" else "reply", "cmd": cmd,
            "id": number, "errno": errno, "fds": 0}
    if cmd.startswith("REGION"):
        made.update(region=9, offset=0, count=4)
    if value >= 0:
        made["value"] = value
    return made


def accesses(text: str) -> List[Entry]:
    """Entries for "R1 W3 W2! RESET": `!` makes the server refuse."""
    made = []
    for number, word in enumerate(text.split()):
        errno = 22 if word.endswith("!") else 0
        word = word.rstrip("!")
        if word[0] == "W":
            made += [entry("c", number, "REGION_WRITE", int(word[1:])),
                     entry("r", number, "REGION_WRITE", errno=errno)]
        elif word[1:].isdigit():
            made += [entry("c", number, "REGION_READ"),
                     entry("r", number, "REGION_READ", int(word[1:]))]
        else:
            made += [entry("c", number, f"DEVICE_{word}"),
                     entry("r", number, f"DEVICE_{word}", errno=errno)]
    return made


def test_journal_redundant_writes(_lab: Lab) -> None:
    """journal: redundant writes and avoidable reads are counted."""
    table = {
        "": Count(0, 0, 0, 0),
        "R1 W3 W2 W0": Count(1, 3, 0, 0),
        "R1 R1 W1 R1 W3 R3 W2 R2 W2 R2 W0": Count(6, 5, 2, 5),
        "R1 W3 W1! R3 W2 W1": Count(2, 4, 0, 0),
        "R1 W0! W0": Count(1, 2, 0, 0),
        "R1 W3 RESET W3": Count(1, 2, 0, 0),
        "R1 RESET W1": Count(1, 1, 1, 0),
        "R1 W0 W0 W0": Count(1, 3, 2, 0),
    }
    for text, wanted in table.items():
        expect(f"count of {text!r}",
               count(device_state_accesses(accesses(text))), wanted)
    expect("names", names(device_state_accesses(accesses("R1 W1 W0!"))),
           ["R1", "W1", "W0(errno 22)"])


if __name__ == "__main__":
    sys.exit(run([test_tap_pieces_and_fds, test_tap_no_fd_left,
                  test_tap_journal_fields, test_tap_large_message,
                  test_tap_close, test_journal_redundant_writes], []))
