#!/usr/bin/python3
#
# Tests of what scripts/bench makes of rounds and of logs.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Prints TAP; nothing is measured here."""

import sys
from pathlib import Path
from typing import Any, Callable, List

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "interop"))

# pylint: disable=wrong-import-position
from downtime import syncs, trips
from journal import Entry
from rig import is_data, seconds, state_time
from rows import Goal, Round, make_row
from testcase import Failed, expect, title
from timeline import messages
from vmpair import LabError


def command(when: float, number: int, cmd: str, **fields: Any) -> Entry:
    """A log's entry for a request."""
    return {"t": when, "dir": "c2s", "type": "command", "cmd": cmd,
            "id": number, "errno": 0, **fields}


def reply(when: float, number: int, cmd: str, **fields: Any) -> Entry:
    """A log's entry for an answer."""
    return {"t": when, "dir": "s2c", "type": "reply", "cmd": cmd,
            "id": number, "errno": 0, **fields}


def write_state(when: float, number: int, value: int) -> List[Entry]:
    """A write of device_state that takes a second."""
    place = {"region": 9, "offset": 0, "count": 4, "value": value}
    return [command(when, number, "REGION_WRITE", **place),
            reply(when + 1, number, "REGION_WRITE")]


def test_rows() -> None:
    """a row has medians, and the median of the rounds' own ratios"""
    row = make_row("row", "ms", [Round(2, 1), Round(30, 10, 7), Round(8, 2)],
                   Goal("<=", 3))
    expect("value", row.value, 8)
    expect("raw", row.raw, 2)
    expect("ratio", row.ratio, 3)
    expect("spread", row.spread, 1 / 3)
    expect("stock", row.stock, 7)
    expect("met", row.met(), True)


def test_goals() -> None:
    """a goal is the ratio's, or the value's where nothing raw is there"""
    for goal, value, raw, met in (
            (Goal("<=", 3), 4, None, False), (Goal("<=", 3), 4, 2, True),
            (Goal(">=", 0.5), 1, 4, False), (Goal("+-", 0.2), 0.7, 1, False),
            (Goal("+-", 0.2), 1.3, 1, False), (Goal("+-", 0.2), 1.1, 1, True)):
        row = make_row("row", "ms", [Round(value, raw)], goal)
        expect(f"{value} of {raw}, {goal}", row.met(), met)


def test_seconds() -> None:
    """a time runs from the first request to the last answer of its kind"""
    data = {"region": 9, "offset": 0x1000, "count": 8}
    entries = [command(1, 1, "REGION_READ", region=9, offset=8, count=8),
               command(2, 2, "REGION_READ", **data),
               command(3, 3, "REGION_READ", **data),
               reply(4, 1, "REGION_READ"), reply(5, 2, "REGION_READ"),
               reply(7, 3, "REGION_READ"),
               *write_state(8, 2, 0)]
    expect("seconds", seconds(entries, is_data), 5)
    try:
        seconds(entries[:1], is_data)
    except LabError:
        return
    raise Failed("no error where nothing was seen")


def test_states() -> None:
    """a state's times are the first request's and the last answer's"""
    entries = write_state(1, 1, 2) + write_state(3, 2, 2) + \
        write_state(5, 3, 0)
    expect("first request", state_time(entries, 2, "command"), 1)
    expect("last answer", state_time(entries, 2, "reply"), 4)


def test_trips() -> None:
    """round trips, overlapped and posted requests are told apart"""
    entries = [command(1, 1, "DIRTY_PAGES"), command(2, 2, "DIRTY_PAGES"),
               reply(3, 1, "DIRTY_PAGES"), reply(4, 2, "DIRTY_PAGES"),
               command(5, 3, "REGION_WRITE", region=7, offset=4, count=2),
               *write_state(6, 4, 2), *write_state(9, 5, 0)]
    found = trips(entries, 1, 8)
    expect("kinds", [trip.kind for trip in found],
           ["", "overlapped", "posted", ""])
    expect("the last one's text", found[-1].text,
           "REGION_WRITE device_state=0x2")


def test_syncs() -> None:
    """a range that comes again begins the next sync"""
    entries = [command(0, 9, "DIRTY_PAGES")]        # start, no range
    for when, number, start in ((1, 1, 0), (2, 2, 4096), (5, 3, 0)):
        entries += [command(when, number, "DIRTY_PAGES", value=start),
                    reply(when + 0.5, number, "DIRTY_PAGES", value=start)]
    expect("messages of each sync", [len(sync) for sync in syncs(entries)],
           [4, 2])


def test_messages() -> None:
    """the picture shows redundant writes, and what is not answered"""
    entries = [*write_state(1, 1, 2), *write_state(3, 2, 2),
               command(6, 3, "REGION_WRITE", region=7, offset=4, count=2)]
    found = messages(entries)
    expect("redundant", [message.redundant for message in found],
           [False, True, False])
    expect("lanes", [message.lane for message in found],
           ["device_state", "device_state", "other"])


CASES: List[Callable[[], None]] = [
    test_rows, test_goals, test_seconds, test_states, test_trips, test_syncs,
    test_messages]


def passes(number: int, case: Callable[[], None]) -> bool:
    """Run a case and print its result."""
    try:
        case()
    except Failed as failure:
        print(f"not ok {number} - {title(case)}\n# {failure}", flush=True)
        return False
    print(f"ok {number} - {title(case)}", flush=True)
    return True


def main() -> int:
    """Entry point."""
    print(f"1..{len(CASES)}", flush=True)
    results = [passes(number, case) for number, case in enumerate(CASES, 1)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
