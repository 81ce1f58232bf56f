# The project's build files as they are part way through the series, when only
# some of the sources that they name have entered QEMU.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
Rules for files that grow with the series; patches/README.md explains them.

meson.build  a line that names a source which has not entered is left out; so
             is, whole, an entry  'key': [...],  or  'key': function(...),
             of which one source, or test-<key>.c, has not entered
trace-events a group that begins with a comment of file names, as in
             '# a.c, b.c', is left out until one of them has entered
"""

import posixpath
import re
from typing import Callable, Collection, Dict, List, Optional

Keep = Callable[[str], bool]

SOURCE = re.compile(r"'([\w./-]+\.c)'")
ENTRY = re.compile(r"\s*'([\w-]+)':\s*[\w.]*[\[({]")
GROUP = re.compile(r"# [\w-]+\.c(, [\w-]+\.c)*$")


def find_source(overlay: Collection[str], folder: str,
                name: str) -> Optional[str]:
    """The project's file that a build file in a folder means by a name."""
    path = posixpath.normpath(posixpath.join(folder, name))
    if path in overlay:
        return path
    # Behind a variable that holds a folder: the name's end has to do
    end = "/" + re.sub(r"^(\.\./)+", "", name)
    ends = sorted(path for path in overlay if path.endswith(end))
    return ends[0] if ends else None


def bracket_balance(line: str) -> int:
    """Brackets that a line opens, less those it closes."""
    return (sum(line.count(mark) for mark in "[({") -
            sum(line.count(mark) for mark in "])}"))


def grow_meson(text: str, present: Keep) -> str:
    """A meson.build with the sources that are present."""
    result: List[str] = []
    lines = text.splitlines(True)
    while lines:
        block = [lines.pop(0)]
        names = SOURCE.findall(block[0])
        entry = ENTRY.match(block[0])
        if entry:
            depth = bracket_balance(block[0])
            while depth > 0 and lines:
                depth += bracket_balance(lines[0])
                block.append(lines.pop(0))
            names = SOURCE.findall("".join(block)) + [f"test-{entry[1]}.c"]
        if all(present(name) for name in names):
            result += block
    return "".join(result)


def grow_trace_events(text: str, present: Keep) -> str:
    """A trace-events with the groups of the sources that are present."""
    result: List[str] = []
    keep = True
    for line in text.splitlines():
        if GROUP.match(line):
            keep = any(present(name) for name in line[2:].split(", "))
        if keep:
            result.append(line)
    return "\n".join(result).rstrip("\n") + "\n"


RULES: Dict[str, Callable[[str, Keep], str]] = {
    "meson.build": grow_meson,
    "trace-events": grow_trace_events,
}


def grows(path: str) -> bool:
    """Whether a file's content depends on which others have entered."""
    return posixpath.basename(path) in RULES


def grown(path: str, text: str, overlay: Collection[str],
          entered: Collection[str]) -> str:
    """The content of a growing file when these files have entered."""
    folder = posixpath.dirname(path)

    def present(name: str) -> bool:
        source = find_source(overlay, folder, name)
        return source is None or source in entered

    return RULES[posixpath.basename(path)](text, present)
