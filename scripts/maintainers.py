# MAINTAINERS files in QEMU's format: what sections cover, and ours put into
# QEMU's.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reading and merging MAINTAINERS."""

import fnmatch
import re
from typing import List, NamedTuple

from patchseries import NOT_FOR_QEMU, SeriesError


class Section(NamedTuple):
    """A title and the lines below it."""
    title: str
    lines: List[str]

    def patterns(self) -> List[str]:
        """What its F: lines say."""
        return [line[2:].strip() for line in self.lines
                if line.startswith("F:")]


def sections(text: str) -> List[Section]:
    """The sections of a MAINTAINERS file, which blank lines separate."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = stanza.strip("\n").splitlines()
        if len(lines) > 1 and lines[1].startswith("M:"):
            found.append(Section(lines[0], lines[1:]))
    return found


def matches(pattern: str, path: str) -> bool:
    """Whether an F: line's pattern covers a path."""
    if pattern.endswith("/"):
        # A folder, and all that is below it
        depth = pattern.count("/")
        return (path.count("/") >= depth and
                matches(pattern[:-1], "/".join(path.split("/")[:depth])))
    return (pattern.count("/") == path.count("/") and
            fnmatch.fnmatchcase(path, pattern))


def covered(text: str, path: str) -> bool:
    """Whether some section covers a path."""
    return any(matches(pattern, path) for section in sections(text)
               for pattern in section.patterns())


def merge(theirs: str, ours: str) -> str:
    """QEMU's file with our sections, each behind what it follows in order."""
    lines = theirs.split("\n")
    for section in sections(ours):
        at = place(lines, section.title)
        kept = [line for line in section.lines
                if line[2:].strip() not in NOT_FOR_QEMU]
        lines[at:at] = [section.title, *kept, ""]
    return "\n".join(lines)


def place(lines: List[str], title: str) -> int:
    """
    Where a section goes: under Devices, which is roughly in order, behind
    VFIO and before the first section there whose title sorts after it.
    """
    try:
        at = lines.index("VFIO", lines.index("Devices"))
    except ValueError:
        raise SeriesError("QEMU's MAINTAINERS has no section VFIO under "
                          "Devices") from None
    while True:
        at += 1
        if at + 1 >= len(lines) or lines[at + 1].startswith("---"):
            return at
        if (not lines[at - 1] and lines[at + 1].startswith("M:") and
                lines[at].lower() > title.lower()):
            return at
