# What happens while the guest is stopped.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Dirty bitmaps, round trips, state changes, the blackout, the monitors."""

from pathlib import Path
from statistics import median
from typing import Dict, List, NamedTuple, Tuple

from devicedata import WINDOW, save
from journal import Entry
from pair import Outcome, poll_monitors, run_pair
from rig import MIB, raw, state_time
from rows import Goal, Round, Row, make_row, repeat
from vmpair import Installation, Lab, LabError

BLACKOUT_SIZE = 64 * MIB
STATE_DELAY_MS = 50
TRIP_DELAY_MS = 2
DIRTY_DELAY_MS = 1
DIMMS = 6                       # make 8 ranges of q35 without firmware
STOCK = ",x-cache-device-state=off"
MIGRATION_REGISTERS = {0: "device_state", 8: "pending_bytes",
                       16: "data_offset", 24: "data_size"}


def stopped_time(outcome: Outcome) -> float:
    """From the first source told 2 until the last destination has obeyed 1."""
    begin = min(state_time(seen, 2, "command") for seen in outcome.source)
    end = max(state_time(seen, 1, "reply") for seen in outcome.destination)
    return end - begin


def syncs(entries: List[Entry]) -> List[List[Entry]]:
    """
    The messages that get bitmaps, a list for each sync: where a range comes
    again, the next one has begun.
    """
    found: List[List[Entry]] = []
    ranges: List[int] = []
    for entry in entries:
        if entry["cmd"] != "DIRTY_PAGES" or "value" not in entry:
            continue
        if entry["type"] == "command":
            if not found or entry["value"] in ranges:
                found.append([])
                ranges = []
            ranges.append(entry["value"])
        found[-1].append(entry)
    return found


def dirty_sync(lab: Lab, rounds: int) -> List[Row]:
    """All bitmaps of a sync, each answered after 1 ms"""
    numbers: List[int] = []

    def measure() -> Round:
        entries = save(lab.installation, Path("/dev/null"), 0, dimms=DIMMS,
                       delay_dirty=DIRTY_DELAY_MS)
        last = syncs(entries)[-1]
        numbers.append(len(last) // 2)
        first_id = last[0]["id"]
        answered = next(entry["t"] for entry in last
                        if entry["type"] == "reply" and
                        entry["id"] == first_id)
        return Round((last[-1]["t"] - last[0]["t"]) * 1e3,
                     (answered - last[0]["t"]) * 1e3)

    measured = repeat(rounds, measure)
    return [make_row("dirty-sync", "ms", measured, Goal("<=", 1.5),
                     "the first of these answers",
                     [f"{numbers[-1]} ranges; one after the other they would "
                      f"take {numbers[-1]} times as long as one"])]


def describe(entry: Entry) -> str:
    """A command as text."""
    text = str(entry["cmd"])
    if "region" in entry:
        place = f"{entry['region']}+{entry['offset']:#x}"
        if entry["region"] == 9:
            place = MIGRATION_REGISTERS.get(entry["offset"], "data")
        text += f" {place}"
        if entry["cmd"] == "REGION_WRITE" and "value" in entry:
            text += f"={entry['value']:#x}"
    return text


class Trip(NamedTuple):
    """A command, when it was sent, and "", "overlapped" or "posted"."""
    when: float
    text: str
    kind: str


def trips(entries: List[Entry], begin: float, end: float) -> List[Trip]:
    """
    The commands in this time; overlapped are those that came before another
    one was answered, posted those that are not answered.
    """
    commands: List[Entry] = []
    replies: Dict[int, float] = {}              # by index in commands
    waiting: Dict[int, int] = {}                # id: that index
    for entry in entries:
        if entry["type"] == "command" and entry["dir"] == "c2s":
            waiting[entry["id"]] = len(commands)
            commands.append(entry)
        elif entry["dir"] == "s2c" and entry["id"] in waiting:
            replies[waiting.pop(entry["id"])] = entry["t"]

    found: List[Trip] = []
    for index, command in enumerate(commands):
        if begin <= command["t"] <= end:
            overlapped = any(replies.get(other, 0.0) > command["t"]
                             for other in range(index))
            kind = ("posted" if index not in replies else
                    "overlapped" if overlapped else "")
            found.append(Trip(command["t"], describe(command), kind))
    return found


def window_trips(installation: Installation, device: str) -> List[Trip]:
    """Those of a migration of one device, while its guest was stopped."""
    outcome = run_pair(installation, device=device, delay=TRIP_DELAY_MS)
    begin = state_time(outcome.source[0], 2, "command")
    end = state_time(outcome.destination[0], 1, "reply")
    return sorted(
        trip._replace(text=f"{side}: {trip.text}", when=trip.when - begin)
        for side, seen in (("source", outcome.source[0]),
                           ("destination", outcome.destination[0]))
        for trip in trips(seen, begin, end))


def round_trips(lab: Lab, rounds: int) -> List[Row]:
    """Round trips while the guest is stopped, no data left, 1 device"""
    del rounds                  # they are always the same ones
    patched = window_trips(lab.installation, "")
    stock = window_trips(lab.installation, STOCK)
    print("..", end="", flush=True)

    def serial(found: List[Trip]) -> int:
        return sum(not trip.kind for trip in found)

    notes = [f"each answered after {TRIP_DELAY_MS} ms:"]
    notes += [f"{trip.when * 1e3:7.2f} ms  {trip.text}  {trip.kind}".rstrip()
              for trip in patched]
    return [make_row("round-trips", "trips",
                     [Round(serial(patched), None, serial(stock))],
                     notes=notes)]


def downtime_devices(lab: Lab, rounds: int) -> List[Row]:
    """Downtime with 8 devices whose state changes take 50 ms"""
    reported: List[int] = []

    def downtime(devices: int, device: str = "") -> float:
        outcome = run_pair(lab.installation, devices, device,
                           delay_state=STATE_DELAY_MS)
        if devices > 1 and not device:
            reported.append(outcome.result.downtime or 0)
        return stopped_time(outcome) * 1e3

    def measure() -> Round:
        one = downtime(1)
        return Round(downtime(8), one, downtime(8, STOCK))

    measured = repeat(min(rounds, 3), measure)
    return [make_row("downtime-8-devices", "ms", measured, Goal("<=", 1.5),
                     "1 device",
                     [f"query-migrate says {median(reported):g} ms"])]


def blackout(lab: Lab, rounds: int) -> List[Row]:
    """64 MiB left for stop-and-copy, and how long the monitors are silent"""
    gaps: List[List[float]] = []
    agreement: List[Round] = []

    def stopped(device: str = "") -> Tuple[float, Outcome]:
        outcome = run_pair(lab.installation, 1, device, poll_monitors,
                           state_size=BLACKOUT_SIZE, window_size=WINDOW)
        return stopped_time(outcome) * 1e3, outcome

    def measure() -> Round:
        bare = raw(lab, "apart", "relay", MIB, BLACKOUT_SIZE,
                   WINDOW) * 1e3
        value, outcome = stopped()
        gaps.append([gap * 1e3 for gap in outcome.watched])
        if outcome.result.downtime is None:
            raise LabError("query-migrate shows no downtime")
        agreement.append(Round(outcome.result.downtime, value))
        return Round(value, bare, stopped(STOCK)[0])

    measured = repeat(min(rounds, 5), measure)
    sides = [[Round(pair[side]) for pair in gaps] for side in (0, 1)]
    return [
        make_row("blackout", "ms", measured, Goal("<=", 2),
                 "relay through two processes, source on one CPU, "
                 "destination on the other"),
        make_row("blackout-reported", "ms", agreement, Goal("+-", 0.2),
                 "blackout; query-migrate's downtime, return-path on"),
        make_row("qmp-gap-source", "ms", sides[0], Goal("<=", 100)),
        make_row("qmp-gap-destination", "ms", sides[1], Goal("<=", 100)),
    ]
