# What scripts/apply-series, refresh, series and lint share: the patch files,
# the files that the project adds to QEMU, and the patched tree's git.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""The patch series on QEMU, as patches/README.md describes it."""

import fnmatch
import os
import re
import subprocess
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

TOP = Path(__file__).resolve().parent.parent
PATCHES = TOP / "patches"
SERIES = PATCHES / "series"
SOURCE = TOP / "build" / "qemu-src"

FIELDS = ("Subject", "Description", "Forwarded", "Counts")
COUNTS = ("seam", "glue", "state")

# Where the project's files for QEMU are, and which of them QEMU would not get
OVERLAY = ("hw", "include", "qapi", "tests", "docs")
NOT_FOR_QEMU = ("tests/bench/vfio-user/", "tests/interop/", "tests/demo/")

# One line of context and no guesses, whatever the user's git is set to
DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames",
        "--text", "-U1", "--inter-hunk-context=0", "--diff-algorithm=myers",
        "--indent-heuristic", "--src-prefix=a/", "--dst-prefix=b/",
        "-O/dev/null")

# A build folder may belong to another user than the one who looks at it
GIT = ("git", "-c", "safe.directory=*")

# Any byte survives reading and writing
CODEC = ("utf-8", "surrogateescape")

# What a diff says beyond changed lines of files that are there
NOT_CANONICAL = re.compile(r"(new|deleted) file mode|(old|new) mode|"
                           r"similarity index|rename |copy |"
                           r"Binary files|GIT binary patch")


class SeriesError(Exception):
    """Something the user has to put right; the text says what."""


class Step(NamedTuple):
    """Part of what a patch's Adds: names, for a commit of its own."""
    subject: str
    body: str
    patterns: List[str]

    def names(self, files: Sequence[str]) -> List[str]:
        """Those of the files that enter with the step."""
        return [name for name in files if any(
            fnmatch.fnmatchcase(name, pattern) or
            name.startswith(pattern.rstrip("/") + "/")
            for pattern in self.patterns)]


class Patch:
    """One file of patches/: its text, the header's fields and the diff."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.header, self.diff = split_patch(text)
        self.fields = header_fields(self.header)

    def text(self) -> str:
        """The file's content."""
        return self.header + self.diff

    def adds(self) -> List[str]:
        """Files and folders of the project that enter QEMU with it."""
        return [path.rstrip("/") for path in
                self.fields.get("Adds", "").split()]

    def subject(self) -> str:
        """What the change is, in one line."""
        return self.fields.get("Subject", "")

    def steps(self) -> List[Step]:
        """Commits that scripts/series makes before the patch's own."""
        steps = []
        for line, more in re.findall(r"(?m)^Step:(.*)\n((?: .*\n)*)",
                                     self.header):
            subject, _, patterns = line.partition("|")
            body = "\n".join(text[1:] for text in more.splitlines())
            if not subject.strip() or not patterns.strip():
                raise SeriesError(f"patches/{self.name}: a Step: is "
                                  "'SUBJECT | FILE...'")
            steps.append(Step(subject.strip(), body, patterns.split()))
        return steps

    def added_lines(self) -> int:
        """How many lines the diff adds to QEMU's own files."""
        return sum(1 for line in self.diff.splitlines()
                   if line.startswith("+") and not line.startswith("+++ "))


def split_patch(text: str) -> "tuple[str, str]":
    """Header and diff of a patch file."""
    match = re.search(r"^(diff |Index: |--- \S)", text, re.MULTILINE)
    cut = match.start() if match else len(text)
    return text[:cut], text[cut:]


def header_fields(header: str) -> Dict[str, str]:
    """Fields of a header; continuation lines begin with a space."""
    fields: Dict[str, str] = {}
    name = ""
    for line in header.splitlines():
        if not line.strip() or line == "---":
            break
        if line[0].isspace():
            fields[name] = fields.get(name, "") + "\n" + line[1:]
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return {key: value.strip("\n") for key, value in fields.items()}


def read_text(path: Path) -> str:
    """A file's content, byte by byte."""
    return path.read_bytes().decode(*CODEC)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content."""
    path.write_bytes(text.encode(*CODEC))


def upstream_field(name: str) -> str:
    """A value of patches/UPSTREAM."""
    for line in (PATCHES / "UPSTREAM").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    raise SeriesError(f"patches/UPSTREAM has no '{name}:'")


def series_names() -> List[str]:
    """The patch files' names, in order of application."""
    if not SERIES.is_file():
        raise SeriesError(f"{SERIES} is missing")
    names = [line.strip() for line in SERIES.read_text().splitlines()
             if line.strip() and not line.startswith("#")]
    for name in names:
        if names.count(name) > 1:
            raise SeriesError(f"patches/series lists {name} twice")
    return names


def read_patch(name: str) -> Patch:
    """One patch of the series."""
    path = PATCHES / name
    if not path.is_file():
        raise SeriesError(f"patches/series lists {name}, which is not there")
    return Patch(name, read_text(path))


def read_series() -> List[Patch]:
    """All patches, in order of application."""
    return [read_patch(name) for name in series_names()]


def environment(**more: str) -> Dict[str, str]:
    """An environment in which tools do the same for every user."""
    keep = {name: value for name, value in os.environ.items()
            if not name.startswith("GIT_") and not name.startswith("LC_")
            and name not in ("POSIXLY_CORRECT", "SIMPLE_BACKUP_SUFFIX")}
    return {**keep, "LC_ALL": "C", "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_EDITOR": "true",
            "GIT_SEQUENCE_EDITOR": "true", "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_DATE": "@1 +0000", "GIT_COMMITTER_DATE": "@1 +0000",
            **more}


def run(command: Sequence[str], folder: Path, stdin: Optional[str] = None,
        **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; text goes in and out, newlines as they are."""
    done = subprocess.run(
        command, cwd=folder, input=(stdin or "").encode(*CODEC), check=False,
        env=environment(**more), capture_output=True)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(*CODEC),
        done.stderr.decode(*CODEC))


def git(tree: Path, *arguments: str, **more: str) -> str:
    """Output of git in a tree; SeriesError if it fails."""
    done = run([*GIT, *arguments], tree, **more)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SeriesError(f"git {arguments[0]} in {tree} failed: "
                          f"{said[0] if said else done.returncode}")
    return done.stdout


def canonical_diff(tree: Path, *revisions: str) -> str:
    """
    Changes between two revisions, or a revision and the files, in the form
    that patches/ has.  SeriesError if they are more than changed lines.
    """
    lines = []
    name = ""
    # Split at newlines only: splitlines() also splits at form feeds
    for line in git(tree, *DIFF, *revisions, "--").split("\n"):
        if line.startswith("diff --git "):
            name = line.rpartition(" b/")[2]
        elif NOT_CANONICAL.match(line):
            raise SeriesError(f"{name} is new, removed, renamed, binary or has "
                              "another mode: a patch only changes lines of "
                              "QEMU's text files")
        elif not line.startswith("index "):
            lines.append(re.sub(r"^(@@ -\S+ \+\S+ @@).*", r"\1", line))
    return "\n".join(lines)


def changed_files(tree: Path) -> List[str]:
    """Files edited since the last commit; SeriesError if some are new."""
    changed = []
    for entry in git(tree, "status", "--porcelain", "-z",
                     "--no-renames").split("\0"):
        if not entry:
            continue
        if entry[:2] == "??":
            raise SeriesError(
                f"{entry[3:]} is new in {tree}: new files belong at the same "
                "path of the project, not in a patch")
        changed.append(entry[3:])
    return changed


def apply_patch(tree: Path, patch: Patch) -> None:
    """Apply one patch to a tree's files; SeriesError if that needs guesses."""
    if not patch.diff:
        return
    done = run(["patch", "-p1", "-F0", "-f", "--no-backup-if-mismatch",
                "--reject-file=-"], tree, stdin=patch.diff)
    if done.returncode:
        raise SeriesError(f"patches/{patch.name} does not apply: "
                          f"{first_failure(done.stdout + done.stderr)}")
    try:
        changed_files(tree)
        canonical_diff(tree, "HEAD")
    except SeriesError as error:
        raise SeriesError(f"patches/{patch.name}: {error}") from None


def applied_diff(tree: Path, name: str) -> Path:
    """Where a patched tree keeps what a patch's diff was at last."""
    return tree / ".git" / "vfio-user-patches" / name


def remember_applied(tree: Path, name: str, diff: str) -> None:
    """Note that this diff and the tree's commit are the same."""
    path = applied_diff(tree, name)
    path.parent.mkdir(exist_ok=True)
    write_text(path, diff)


def first_failure(output: str) -> str:
    """The first file and hunk that patch complains of."""
    name = ""
    for line in output.splitlines():
        if line.startswith(("patching file ", "checking file ")):
            name = line.split(" ", 2)[2]
        match = re.match(r"Hunk #(\d+) FAILED at (\d+)", line)
        if match:
            return f"{name}, hunk {match[1]} (line {match[2]})"
        match = re.match(r"--- a/(\S+)|\|--- a/(\S+)", line)
        if match and "can't find file" in output:
            return f"{match[1] or match[2]} is not there"
        if "malformed patch" in line:
            return line.partition(": ")[2]
    return output.strip().splitlines()[0] if output.strip() else "no reason"


def project_files(*folders: str) -> List[str]:
    """The project's own files, committed or not, but none that git ignores."""
    listed = git(TOP, "ls-files", "--cached", "--others",
                 "--exclude-standard", "-z", "--", *folders)
    return sorted({name for name in listed.split("\0")
                   if name and (TOP / name).is_file()})


def overlay_files() -> List[str]:
    """The project's files for QEMU, by their paths there."""
    return [name for name in project_files(*OVERLAY)
            if not name.startswith(NOT_FOR_QEMU)]


def entering_files(patches: Sequence[Patch]) -> Dict[str, List[str]]:
    """
    The project's files that enter QEMU with each patch.  A file enters with
    the patch whose Adds: names it or, where none does, with the one that
    names the nearest folder above it.
    """
    owners: Dict[str, str] = {}
    for patch in patches:
        for path in patch.adds():
            if path in owners:
                raise SeriesError(f"patches/{patch.name}: Adds: names {path}, "
                                  f"as {owners[path]} does")
            owners[path] = patch.name
    used = set()
    entering: Dict[str, List[str]] = {patch.name: [] for patch in patches}
    for name in overlay_files():
        path = name
        while path and path not in owners:
            path = path.rpartition("/")[0]
        if not path:
            raise SeriesError(f"no patch's Adds: names {name} or a folder "
                              "above it")
        used.add(path)
        entering[owners[path]].append(name)
    for path, owner in owners.items():
        if path not in used:
            raise SeriesError(f"patches/{owner}: Adds: names {path}, but no "
                              "file enters QEMU by it")
    return entering


def checkpatch(tree: Path, *arguments: str) -> List[str]:
    """
    The findings of QEMU's checkpatch, a line each.  Its question whether
    MAINTAINERS needs an update is left out: lint answers it.
    """
    done = run(["perl", str(tree / "scripts" / "checkpatch.pl"), "--terse",
                "--no-summary", "--color=never", *arguments], tree)
    found = [line for line in done.stdout.splitlines()
             if "does MAINTAINERS need updating?" not in line]
    if done.returncode and not done.stdout:
        raise SeriesError(f"checkpatch failed: {done.stderr.strip()}")
    return found
