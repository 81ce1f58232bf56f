# What a benchmark has measured: rounds, rows, the table and the JSON file.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Rows of the table, made from rounds of measuring."""

import json
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence


class Round(NamedTuple):
    """
    One round: what was measured, what it compares with, measured right
    before, and the same with x-cache-device-state=off.
    """
    value: float
    raw: Optional[float] = None
    stock: Optional[float] = None


class Goal(NamedTuple):
    """A limit of the ratio, or of the value where there is nothing raw."""
    relation: str               # "<=", ">=", or "+-": as far from 1 at most
    limit: float

    def met(self, figure: float) -> bool:
        """Whether the figure is within the limit."""
        if self.relation == "+-":
            return abs(figure - 1) <= self.limit
        return (figure <= self.limit if self.relation == "<="
                else figure >= self.limit)

    def __str__(self) -> str:
        if self.relation == "+-":
            return f"1 +- {self.limit:g}"
        return f"{self.relation} {self.limit:g}"


class Row(NamedTuple):
    """A line of the table; notes are printed below it."""
    name: str
    unit: str
    value: float
    raw: Optional[float]
    ratio: Optional[float]
    spread: float
    stock: Optional[float] = None
    goal: Optional[Goal] = None
    against: str = ""
    notes: Sequence[str] = ()

    def met(self) -> Optional[bool]:
        """Whether the goal is met; None if there is none."""
        figure = self.value if self.ratio is None else self.ratio
        return None if self.goal is None else self.goal.met(figure)

    def as_json(self) -> Dict[str, Any]:
        """The entry of bench.json."""
        return {"name": self.name, "value": self.value, "unit": self.unit,
                "raw": self.raw, "ratio": self.ratio, "spread": self.spread,
                "stock": self.stock, "against": self.against,
                "goal": None if self.goal is None else str(self.goal),
                "met": self.met(), "notes": list(self.notes)}


def spread(figures: Sequence[float]) -> float:
    """Width of the middle half over the median; 0 for a single figure."""
    middle = median(figures)
    if len(figures) < 2 or not middle:
        return 0.0
    low, _, high = quantiles(figures, n=4, method="inclusive")
    return (high - low) / middle


def middle_of(figures: Sequence[Optional[float]]) -> Optional[float]:
    """The median of those that there are."""
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None


def make_row(name: str, unit: str, rounds: Sequence[Round],
             goal: Optional[Goal] = None, against: str = "",
             notes: Sequence[str] = ()) -> Row:
    """
    Medians over the rounds.  The ratio is the median of the rounds' own
    ratios, and the spread is that of the ratios, or of the values where
    nothing raw was measured.
    """
    ratios = [each.value / each.raw for each in rounds if each.raw]
    values = [each.value for each in rounds]
    return Row(name, unit, median(values),
               middle_of([each.raw for each in rounds]),
               median(ratios) if ratios else None,
               spread(ratios or values),
               middle_of([each.stock for each in rounds]),
               goal, against, notes)


def repeat(count: int, measure: Callable[[], Round]) -> List[Round]:
    """So many rounds, with a dot of progress for each."""
    rounds = []
    for _ in range(count):
        rounds.append(measure())
        print(".", end="", flush=True)
    return rounds


def figure(value: Optional[float]) -> str:
    """A number of the table, three digits of it or more."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


COLUMNS = ("name", "value", "raw", "ratio", "goal", "met", "spread", "stock",
           "unit", "against")


def cells(row: Row) -> List[str]:
    """A row of the table as text."""
    met = {None: "", True: "yes", False: "no"}[row.met()]
    return [row.name, figure(row.value), figure(row.raw), figure(row.ratio),
            "" if row.goal is None else str(row.goal), met,
            f"{row.spread:.0%}", figure(row.stock), row.unit, row.against]


def print_table(rows: Sequence[Row]) -> None:
    """The table, and the notes below it."""
    lines = [list(COLUMNS), *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines)
              for i in range(len(COLUMNS))]
    for line in lines:
        texts = [line[0].ljust(widths[0])]
        texts += [text.rjust(width)
                  for text, width in zip(line[1:-2], widths[1:-2])]
        texts += [line[-2].ljust(widths[-2]), line[-1]]
        print("  ".join(texts).rstrip())
    for row in rows:
        for note in row.notes:
            print(f"{row.name}: {note}")


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write bench.json."""
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) +
                    "\n", encoding="utf-8")
