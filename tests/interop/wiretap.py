#!/usr/bin/env python3
#
# Relay between a vfio-user client and its server that keeps a journal.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
A UNIX socket between a vfio-user client and a real server.

Every message is passed on whole, with its file descriptors, as soon as it is
complete; its journal entry is written before, so that whoever has seen the
effect of a message finds it in the journal.
"""

import argparse
import array
import os
import signal
import socket
import struct
import sys
import threading
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

from journal import Entry, Journal

HEADER = struct.Struct("<HHIII")
MAX_MESSAGE = 16 << 20
MAX_FDS = 253                   # what Linux lets ride on one message
CONNECT_TIMEOUT = 10.0

FLAG_TYPE = 0x0f
FLAG_REPLY = 0x01
FLAG_ERROR = 0x20

COMMANDS = {
    1: "VERSION", 2: "DMA_MAP", 3: "DMA_UNMAP", 4: "DEVICE_GET_INFO",
    5: "DEVICE_GET_REGION_INFO", 6: "DEVICE_GET_REGION_IO_FDS",
    7: "DEVICE_GET_IRQ_INFO", 8: "DEVICE_SET_IRQS", 9: "REGION_READ",
    10: "REGION_WRITE", 11: "DMA_READ", 12: "DMA_WRITE", 13: "DEVICE_RESET",
    14: "DIRTY_PAGES",
}

ACCESS = struct.Struct("<QII")          # offset, region, count

# Where other commands keep the fields that a journal entry shows
LAYOUTS: Dict[str, Tuple[struct.Struct, Tuple[str, ...]]] = {
    "DEVICE_GET_REGION_INFO": (struct.Struct("<8xI"), ("region",)),
    "DEVICE_GET_REGION_IO_FDS": (struct.Struct("<8xI"), ("region",)),
    "DEVICE_GET_IRQ_INFO": (struct.Struct("<8xI"), ("region",)),
    "DEVICE_SET_IRQS": (struct.Struct("<4xIIII"),
                        ("value", "region", "offset", "count")),
    "DMA_MAP": (struct.Struct("<4xI8xQQ"), ("value", "offset", "count")),
    "DMA_UNMAP": (struct.Struct("<4xIQQ"), ("value", "offset", "count")),
    "DMA_READ": (struct.Struct("<QQ"), ("offset", "count")),
    "DMA_WRITE": (struct.Struct("<QQ"), ("offset", "count")),
}
DIRTY_GET = struct.Struct("<4xIQQ")
DIRTY_START_STOP = struct.Struct("<4xI")


class WireError(Exception):
    """What came from one side is no sequence of vfio-user messages."""


class Message(NamedTuple):
    """A message; whoever holds it closes the fds."""
    data: bytes
    fds: List[int]

    @property
    def header(self) -> Tuple[int, int, int, int, int]:
        """id, command, size, flags, error."""
        return HEADER.unpack_from(self.data)

    @property
    def body(self) -> bytes:
        """What follows the header."""
        return self.data[HEADER.size:]


def close_fds(fds: List[int]) -> None:
    """Close all of them and empty the list."""
    while fds:
        os.close(fds.pop())


def receive_message(sock: socket.socket) -> Optional[Message]:
    """
    The next whole message; None at the end of the stream.

    Raises WireError for a header without sense, fds behind the first byte of
    a message, or an end in mid-message; OSError as the socket does.
    """
    fds: List[int] = []
    try:
        data = receive(sock, HEADER.size, fds)
        if not data:
            return None
        late: List[int] = []
        try:
            while len(data) < HEADER.size:
                data += receive_more(sock, HEADER.size - len(data), late)
            size = HEADER.unpack(data)[2]
            if not HEADER.size <= size <= MAX_MESSAGE:
                raise WireError(f"message size {size}")
            parts = [data]
            missing = size - len(data)
            while missing:
                parts.append(receive_more(sock, missing, late))
                missing -= len(parts[-1])
            if late:
                raise WireError("file descriptors behind the first byte")
        finally:
            close_fds(late)
        message = Message(b"".join(parts), fds)
        fds = []
        return message
    finally:
        close_fds(fds)


def receive(sock: socket.socket, size: int, fds: List[int]) -> bytes:
    """Up to size bytes, b"" at the end; appends the fds that came along."""
    space = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(
        min(size, 1 << 20), space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[:len(payload) -
                                      len(payload) % numbers.itemsize])
            fds.extend(numbers)
    if flags & socket.MSG_CTRUNC:
        raise WireError("file descriptors lost")
    return data


def receive_more(sock: socket.socket, size: int, fds: List[int]) -> bytes:
    """As receive(), where the stream must not end."""
    data = receive(sock, size, fds)
    if not data:
        raise WireError("the stream ends in mid-message")
    return data


def send_message(sock: socket.socket, message: Message) -> None:
    """Send all of it, its fds on the first byte; closes the fds."""
    try:
        sent = socket.send_fds(sock, [message.data], message.fds)
        if sent < len(message.data):
            sock.sendall(message.data[sent:])
    finally:
        close_fds(message.fds)


class Describer:
    """
    Makes journal entries of one connection's messages.

    A reply shows region, offset and count of its command, so the commands
    that wait for one are remembered. The lock guards `waiting`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Dict[Tuple[str, int], Entry] = {}

    def entry(self, direction: str, message: Message) -> Entry:
        """The entry of a message that travels in this direction."""
        number, command, _, flags, error = message.header
        is_reply = flags & FLAG_TYPE == FLAG_REPLY
        name = COMMANDS.get(command, str(command))
        fields: Entry = {}
        if is_reply:
            other = "s2c" if direction == "c2s" else "c2s"
            with self._lock:
                asked = self._waiting.pop((other, number), {})
            fields = {key: asked[key] for key in ("region", "offset", "count")
                      if key in asked}
        else:
            fields = command_fields(name, message.body)
            with self._lock:
                self._waiting[(direction, number)] = fields
            error = 0
        if name == ("REGION_READ" if is_reply else "REGION_WRITE"):
            fields.update(short_value(message.body[ACCESS.size:]))
        if flags & FLAG_ERROR and not error:
            error = 5               # EIO: an error without a number
        return {"t": round(time.monotonic(), 6), "dir": direction,
                "type": "reply" if is_reply else "command", "cmd": name,
                "id": number, **fields, "errno": error,
                "fds": len(message.fds)}


def command_fields(name: str, body: bytes) -> Entry:
    """What the journal shows of a command's body; {} if it is too short."""
    if name in ("REGION_READ", "REGION_WRITE"):
        if len(body) < ACCESS.size:
            return {}
        offset, region, size = ACCESS.unpack_from(body)
        return {"region": region, "offset": offset, "count": size}
    if name == "DIRTY_PAGES":
        if len(body) >= DIRTY_GET.size:
            layout, keys = DIRTY_GET, ("value", "offset", "count")
        else:
            layout, keys = DIRTY_START_STOP, ("value",)
    elif name in LAYOUTS:
        layout, keys = LAYOUTS[name]
    else:
        return {}
    if len(body) < layout.size:
        return {}
    return dict(zip(keys, layout.unpack_from(body)))


def short_value(data: bytes) -> Entry:
    """{"value": n} for 1 to 8 bytes of data, otherwise {}."""
    if 1 <= len(data) <= 8:
        return {"value": int.from_bytes(data, "little")}
    return {}


class Connection:
    """One client and the server connection made for it; two threads."""

    def __init__(self, tap: "Wiretap", client: socket.socket) -> None:
        self._tap = tap
        self._client = client
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._describer = Describer()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hang_up(self) -> None:
        """End both sides; what is under way still arrives."""
        for sock in (self._client, self._server):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass            # not connected (any more)

    def join(self, timeout: float) -> None:
        """Wait until both threads have ended."""
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._server.settimeout(CONNECT_TIMEOUT)
            self._server.connect(self._tap.server_path)
            self._server.settimeout(None)
        except OSError as error:
            self._tap.fault(f"cannot connect to the server: {error}")
            self._finish()
            return
        answers = threading.Thread(
            target=self._relay, args=("s2c", self._server, self._client),
            daemon=True)
        answers.start()
        self._relay("c2s", self._client, self._server)
        answers.join()
        self._finish()

    def _finish(self) -> None:
        self._client.close()
        self._server.close()

    def _relay(self, direction: str, source: socket.socket,
               sink: socket.socket) -> None:
        try:
            while True:
                message = receive_message(source)
                if message is None:
                    break
                entry = self._describer.entry(direction, message)
                self._tap.journal.add(entry)
                send_message(sink, message)
        except WireError as error:
            self._tap.fault(f"{direction}: {error}")
        except OSError:
            pass                # one side has gone: the other is told below
        finally:
            self.hang_up()


class Wiretap:
    """
    Listens at listen_path and relays each client to server_path.

    faults lists what went wrong on the way (text); it stays empty in a sound
    session. Use as a context manager, or call close().
    """

    def __init__(self, listen_path: str, server_path: str,
                 journal_path: Optional[str] = None) -> None:
        self.listen_path = listen_path
        self.server_path = server_path
        self.faults: List[str] = []
        self.journal = Journal(journal_path)
        self._connections: List[Connection] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(listen_path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Wiretap":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fault(self, text: str) -> None:
        """Note that something went wrong."""
        self.faults.append(text)

    def close(self) -> None:
        """End listening and all connections; the journal stays readable."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass                # closed before
        self._thread.join()
        self._listener.close()
        for connection in self._connections:
            connection.hang_up()
        for connection in self._connections:
            connection.join(CONNECT_TIMEOUT)
        self.journal.close()
        if os.path.exists(self.listen_path):
            os.unlink(self.listen_path)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(Connection(self, client))


def main() -> int:
    """The command: relay until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        description="Relay vfio-user messages and keep a journal of them.")
    parser.add_argument("--listen", required=True, metavar="PATH",
                        help="socket to make for the client")
    parser.add_argument("--server", required=True, metavar="PATH",
                        help="socket of the server")
    parser.add_argument("--journal", required=True, metavar="FILE",
                        help="journal, one JSON object a line")
    arguments = parser.parse_args()
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        tap = Wiretap(arguments.listen, arguments.server, arguments.journal)
    except OSError as error:
        print(f"wiretap: {error}", file=sys.stderr)
        return 1
    with tap:
        signal.sigwait(signals)
    for fault in tap.faults:
        print(f"wiretap: {fault}", file=sys.stderr)
    return 1 if tap.faults else 0


if __name__ == "__main__":
    sys.exit(main())
