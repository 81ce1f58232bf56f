#!/usr/bin/env python3
#
# Servers that QEMU has to refuse: it says in one line why, and exits with 1.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU with a server that is not there, hangs up, or talks nonsense."""

import socket
import struct
import sys
import threading
from typing import Callable

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from refusal import check_refusal, start_mock
from testcase import run
from vmpair import Lab

HUNG_UP = "closed|reset by peer|[Bb]roken pipe"
NONSENSE = r"(message|reply|command|request)\b.*\bgot\b"
Answer = Callable[[socket.socket], None]


class OneClientServer:
    """Accepts one client and does with it what `answer` says."""

    def __init__(self, path: str, answer: Answer) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> "OneClientServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return              # nobody came
        with client:
            try:
                self._answer(client)
            except OSError:
                pass            # the client has hung up


def read_until_end(client: socket.socket) -> None:
    """Keep the connection until the client ends it."""
    while client.recv(4096):
        pass


def sends(data: bytes) -> Answer:
    """Sends this at once, then waits for the client to hang up."""
    def answer(client: socket.socket) -> None:
        client.sendall(data)
        read_until_end(client)

    return answer


def closes_at_once(_client: socket.socket) -> None:
    """Hangs up without a word."""


def closes_after_request(client: socket.socket) -> None:
    """Hangs up when the client has said something."""
    client.recv(4096)


def check_answer(lab: Lab, answer: Answer, reason: str) -> None:
    """As check_refusal(), with a server that answers like this."""
    path = f"{lab.folder}/server"
    with OneClientServer(path, answer):
        check_refusal(lab, path, reason)


def test_refuse_no_socket(lab: Lab) -> None:
    """a socket that does not exist: one line, exit status 1."""
    check_refusal(lab, f"{lab.folder}/nobody", "No such file or directory")


def test_refuse_nobody_listens(lab: Lab) -> None:
    """a socket where nobody listens: one line, exit status 1."""
    path = f"{lab.folder}/left-over"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_over:
        left_over.bind(path)
    check_refusal(lab, path, "Connection refused")


def test_refuse_close_at_once(lab: Lab) -> None:
    """a server that closes at once: one line, exit status 1."""
    check_answer(lab, closes_at_once, HUNG_UP)


def test_refuse_close_after_request(lab: Lab) -> None:
    """a server that closes instead of a reply: one line, exit status 1."""
    check_answer(lab, closes_after_request, HUNG_UP)


def test_refuse_text(lab: Lab) -> None:
    """a server that speaks HTTP: one line, exit status 1."""
    check_answer(lab, sends(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4),
                 NONSENSE)


def test_refuse_ones(lab: Lab) -> None:
    """a server that sends nothing but ones: one line, exit status 1."""
    check_answer(lab, sends(b"\xff" * 4096), NONSENSE)


def test_refuse_zeros(lab: Lab) -> None:
    """a server that sends nothing but zeros: one line, exit status 1."""
    check_answer(lab, sends(bytes(4096)), NONSENSE)


def test_refuse_bar_size(lab: Lab) -> None:
    """a BAR whose size is not a power of two: one line, exit status 1."""
    bar, size, access = 0, 0x1800, 3
    info = struct.pack("<IIIIQQ", 32, access, bar, 0, size, 0)
    path = start_mock(lab, [{"command": "DEVICE_GET_REGION_INFO",
                             "region": bar, "action": "reply",
                             "data": info.hex()}])
    check_refusal(lab, path, f"BAR {bar}.*power of two.*"
                             f"({size}|{size:#x})")


if __name__ == "__main__":
    sys.exit(run([test_refuse_no_socket, test_refuse_nobody_listens,
                  test_refuse_close_at_once, test_refuse_close_after_request,
                  test_refuse_text, test_refuse_ones, test_refuse_zeros,
                  test_refuse_bar_size], []))
