# The picture of one migration, as stock and as patched.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Draws what the mock servers of two migrations have in their journals."""

import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from journal import MIGRATION_REGION, Entry
from options import options
from pair import Outcome, run_pair
from rig import DATA_AREA, MIB, NotInstalled, state_time
from rows import Row
from vmpair import Lab, LabError

DATA_SIZE = 2 * MIB
STATE_DELAY_MS = 10             # what makes a redundant write visible
STOCK = ",x-cache-device-state=off"
LEAST_WIDTH_MS = 0.15           # of a message, or it cannot be seen
MARGIN_MS = 4.0
LABEL_SHARE = 0.05              # of the width, for a state's name

STATES = {0: ("stopped", "#c8c8c8"), 1: ("running", "#8fd19e"),
          2: ("stop-copy", "#f3b562"), 3: ("pre-copy", "#8ab6e8"),
          4: ("resuming", "#c9a0dc")}
LANES = ("state", "device_state", "registers", "data", "dirty pages", "other")
COLOURS = {"device_state": "black", "registers": "#1f77b4", "data": "#2ca02c",
           "dirty pages": "#ff7f0e", "other": "#7f7f7f"}


class Message(NamedTuple):
    """A request, when it came and when it was answered."""
    lane: str
    begin: float
    end: float
    write: Optional[int] = None     # of device_state
    redundant: bool = False


def lane_of(entry: Entry) -> str:
    """Where a command is drawn."""
    if entry["cmd"] == "DIRTY_PAGES":
        return "dirty pages"
    if (entry["cmd"] not in ("REGION_READ", "REGION_WRITE") or
            entry["region"] != MIGRATION_REGION):
        return "other"
    if entry["offset"] >= DATA_AREA:
        return "data"
    return "registers" if entry["offset"] else "device_state"


def messages(entries: List[Entry]) -> List[Message]:
    """One side's requests; those that are not answered end as they begin."""
    found: List[Message] = []
    waiting: Dict[int, Entry] = {}
    held = 1                    # what a device begins with
    for entry in entries:
        number = entry["id"]
        if entry["type"] == "command" and entry["dir"] == "c2s":
            if number in waiting:
                posted = waiting[number]
                found.append(Message(lane_of(posted), posted["t"],
                                     posted["t"]))
            waiting[number] = entry
        elif entry["dir"] == "s2c" and number in waiting:
            command = waiting.pop(number)
            message = Message(lane_of(command), command["t"], entry["t"])
            if (message.lane == "device_state" and
                    command["cmd"] == "REGION_WRITE"):
                message = message._replace(write=command["value"],
                                           redundant=command["value"] == held)
                held = held if entry["errno"] else command["value"]
            found.append(message)
    found += [Message(lane_of(posted), posted["t"], posted["t"])
              for posted in waiting.values()]
    return found


def draw_states(axes: Any, seen: List[Message], place: int, begin: float,
                end: float) -> None:
    """The band that shows the device's state."""
    state, since = 1, begin
    ends = [*(message for message in seen if message.write is not None),
            Message("device_state", end, end, 1)]
    for message in ends:
        until = min(message.end, end)
        if until > since:
            name, colour = STATES.get(state, ("error", "red"))
            left, width = (since - begin) * 1e3, (until - since) * 1e3
            axes.broken_barh([(left, width)], (place - 0.35, 0.7),
                             facecolors=colour)
            if until - since > LABEL_SHARE * (end - begin):
                axes.text(left + width / 2, place, name, ha="center",
                          va="center", fontsize=7)
            since = until
        state = message.write


def draw_side(axes: Any, seen: List[Message], top: int, begin: float,
              end: float) -> None:
    """The lanes of one side; times in ms from begin."""
    draw_states(axes, seen, top, begin, end)
    for message in seen:
        if not begin <= message.begin < end:
            continue
        left = (message.begin - begin) * 1e3
        width = max((message.end - message.begin) * 1e3, LEAST_WIDTH_MS)
        place = top - LANES.index(message.lane)
        colour = "red" if message.redundant else COLOURS[message.lane]
        axes.broken_barh([(left, width)], (place - 0.35, 0.7),
                         facecolors=colour)
        if message.write is not None:
            axes.text(left + width / 2, place, f"W{message.write}",
                      ha="center", va="center", fontsize=7, color="white")


def draw_migration(axes: Any, title: str, outcome: Outcome,
                   begin: float, end: float) -> None:
    """One of the two halves of the picture."""
    stopped = state_time(outcome.source[0], 2, "command")
    goes_on = state_time(outcome.destination[0], 1, "reply")
    lanes = len(LANES)
    axes.axvspan((stopped - begin) * 1e3, (goes_on - begin) * 1e3,
                 color="#fff3c4", zorder=0)
    draw_side(axes, messages(outcome.source[0]), 2 * lanes, begin, end)
    draw_side(axes, messages(outcome.destination[0]), lanes - 1, begin, end)
    axes.axhline(lanes, color="black", linewidth=0.6)
    axes.set_yticks([*range(2 * lanes, lanes, -1), *range(lanes - 1, -1, -1)],
                    [*(f"source: {lane}" for lane in LANES),
                     *(f"destination: {lane}" for lane in LANES)], fontsize=7)
    axes.set_title(f"{title}: the guest stands still for "
                   f"{(goes_on - stopped) * 1e3:.1f} ms", fontsize=9,
                   loc="left")
    axes.set_xlim(0, None)
    axes.set_axisbelow(True)
    axes.grid(axis="x", linewidth=0.3)


def write_picture(path: Path, outcomes: Dict[str, Outcome]) -> None:
    """The picture; NotInstalled without a library to draw it."""
    try:
        import matplotlib       # pylint: disable=import-outside-toplevel
        matplotlib.use("svg")
        # pylint: disable=import-outside-toplevel
        from matplotlib import pyplot
    except ImportError:
        raise NotInstalled("no picture without matplotlib; install the "
                           "package python3-matplotlib") from None
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure, parts = pyplot.subplots(len(outcomes), 1, sharex=True,
                                    figsize=(11, 3.6 * len(outcomes)))
    for axes, (title, outcome) in zip(parts, outcomes.items()):
        begin = state_time(outcome.source[0], 3, "command") - \
            MARGIN_MS / 1e3
        end = state_time(outcome.destination[0], 1, "reply") + MARGIN_MS / 1e3
        draw_migration(axes, title, outcome, begin, end)
    parts[-1].set_xlabel(f"ms; each write of device_state takes the device "
                         f"{STATE_DELAY_MS} ms; red: it had that state "
                         "already; shaded: no vCPU runs")
    figure.tight_layout()
    figure.savefig(path, format=path.suffix[1:])
    pyplot.close(figure)


def draw(lab: Lab, rounds: int) -> List[Row]:
    """The picture of a migration, stock and patched: build/timeline.svg"""
    del rounds                  # it is one migration
    if options.build is None:
        raise LabError("no folder for the picture")
    script = lab.folder / "script.json"
    script.write_text(json.dumps([{
        "command": "REGION_WRITE", "region": MIGRATION_REGION, "offset": 0,
        "action": "delay", "ms": STATE_DELAY_MS}]), encoding="utf-8")
    outcomes = {
        name: run_pair(lab.installation, device=device, mock=True,
                       migration_size=DATA_SIZE, script=script)
        for name, device in (("stock", STOCK), ("patched", ""))}
    path = options.build / "timeline.svg"
    write_picture(path, outcomes)
    print(f".. written: {path}", end="", flush=True)
    return []
