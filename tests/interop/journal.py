# Journal of vfio-user messages: its entries, waiting for them, and what they
# say about the device_state register.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Journal of vfio-user messages, one JSON object a line."""

import json
import os
import threading
import time
from typing import (Any, Callable, Dict, Iterable, List, NamedTuple,
                    Optional)

Entry = Dict[str, Any]

# libvfio-user v1 puts the migration region at this index
MIGRATION_REGION = 9
DEVICE_STATE_OFFSET = 0
STATE_RUNNING = 1


class JournalTimeout(Exception):
    """What was waited for did not appear in the journal in time."""


class Journal:
    """
    Entries in memory and, if there is a path, in a file.

    The lock guards the entries and the file. add() may be called from any
    thread; so may the others.
    """

    def __init__(self, path: Optional[str] = None) -> None:
        self._entries: List[Entry] = []
        self._changed = threading.Condition()
        self._fd = -1
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = os.open(path, flags, 0o644)

    def add(self, entry: Entry) -> None:
        """Append an entry; it is in the file when this returns."""
        line = (json.dumps(entry) + "\n").encode()
        with self._changed:
            self._entries.append(entry)
            while self._fd >= 0 and line:
                line = line[os.write(self._fd, line):]
            self._changed.notify_all()

    def close(self) -> None:
        """Close the file; the entries in memory stay."""
        with self._changed:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def entries(self) -> List[Entry]:
        """A copy of the list of all entries so far."""
        with self._changed:
            return list(self._entries)

    def wait(self, condition: Callable[[List[Entry]], bool], what: str,
             timeout: float = 30.0) -> None:
        """
        Wait until condition(entries) holds.

        Raises JournalTimeout with the text `what` and the device_state
        accesses seen, after timeout seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition(self._entries):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    if condition(self._entries):
                        return
                    seen = show(device_state_accesses(self._entries))
                    raise JournalTimeout(
                        f"not seen on the wire within {timeout:g} s: {what}"
                        f" (device_state so far: {seen})")


def read_journal(path: str) -> List[Entry]:
    """Entries of a journal file; an unfinished last line is left out."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


class Access(NamedTuple):
    """
    One access to device_state.

    kind is "R" or "W"; value what was read or written (None: a read that
    failed); error the errno of the reply, None if there was no reply;
    redundant is true for a write of the value that the device holds.
    """
    kind: str
    value: Optional[int]
    error: Optional[int]
    redundant: bool

    def __str__(self) -> str:
        text = self.kind + ("?" if self.value is None else str(self.value))
        if self.error is None:
            text += "(no reply)"
        elif self.error:
            text += f"(errno {self.error})"
        return text + ("*" if self.redundant else "")


def show(accesses: Iterable[Access]) -> str:
    """The accesses as text, `*` behind a redundant write."""
    return " ".join(str(access) for access in accesses) or "nothing"


def device_state_accesses(entries: Iterable[Entry],
                          region: int = MIGRATION_REGION) -> List[Access]:
    """All accesses to device_state, in the order of their commands."""
    accesses: List[Access] = []
    waiting: Dict[int, int] = {}
    resets = set()
    held: Optional[int] = None

    for entry in entries:
        command, number = entry["cmd"], entry["id"]
        from_client = entry["dir"] == "c2s"
        if entry["type"] == "command" and from_client:
            if command == "VERSION":
                held = None
                waiting.clear()
                resets.clear()
            elif command == "DEVICE_RESET":
                resets.add(number)
            elif _is_device_state(entry, region):
                kind = "R" if command == "REGION_READ" else "W"
                value = entry.get("value")
                waiting[number] = len(accesses)
                accesses.append(Access(kind, value, None,
                                       kind == "W" and value == held))
        elif entry["type"] == "reply" and not from_client:
            if number in resets:
                resets.discard(number)
                held = held if held == STATE_RUNNING else None
            elif number in waiting:
                index = waiting.pop(number)
                accesses[index] = _answered(accesses[index], entry)
                access = accesses[index]
                held = None if access.error else access.value
    return accesses


def _is_device_state(entry: Entry, region: int) -> bool:
    return (entry["cmd"] in ("REGION_READ", "REGION_WRITE") and
            entry.get("region") == region and
            entry.get("offset") == DEVICE_STATE_OFFSET)


def _answered(access: Access, reply: Entry) -> Access:
    error = reply["errno"]
    if access.kind == "R":
        value = None if error else reply.get("value")
        return access._replace(value=value, error=error)
    return access._replace(error=error)


class Count(NamedTuple):
    """How often device_state was accessed, and how often in vain."""
    reads: int
    writes: int
    redundant_writes: int
    avoidable_reads: int


def count(accesses: List[Access]) -> Count:
    """
    Count accesses of one connection.

    A read is avoidable unless it is the first access (at realize) or follows
    an access that failed.
    """
    avoidable = 0
    for index, access in enumerate(accesses):
        if access.kind == "R" and index and accesses[index - 1].error == 0:
            avoidable += 1
    return Count(reads=sum(a.kind == "R" for a in accesses),
                 writes=sum(a.kind == "W" for a in accesses),
                 redundant_writes=sum(a.redundant for a in accesses),
                 avoidable_reads=avoidable)


def names(accesses: Iterable[Access]) -> List[str]:
    """Accesses as short names: ["R1", "W3", "W2", "W0"]."""
    return [str(access).rstrip("*") for access in accesses]
