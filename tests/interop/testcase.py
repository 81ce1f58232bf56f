# Runs test cases and reports in TAP, the Test Anything Protocol.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""
A test case is a function that gets a fresh Lab and raises when it fails.

Its docstring's first line is its name in the report.
"""

import signal
import sys
import traceback
from typing import Any, Callable, List, Sequence

from journal import device_state_accesses, show
from vmpair import Installation, Lab, Missing, find_installation

Case = Callable[[Lab], None]

ATTEMPTS = 3                    # of a case whose guest does not survive


class Failed(Exception):
    """A test found something else than it expected."""


class GuestLost(Exception):
    """
    A guest crashed or hung after a migration that completed, which is no
    fault of the device's: the case is to be run again.
    """


class Skip(Exception):
    """A case cannot be run here; the text says why."""


def expect(what: str, seen: Any, wanted: Any) -> None:
    """Raise Failed unless both are equal."""
    if seen != wanted:
        raise Failed(f"{what}: {seen!r} instead of {wanted!r}")


def expect_true(what: str, holds: bool) -> None:
    """Raise Failed, saying what, unless it holds."""
    if not holds:
        raise Failed(what)


def stop_on_signals() -> None:
    """
    Make SIGINT and SIGTERM unwind the program, so that children are stopped;
    once: a second one must not interrupt that.
    """
    signals = (signal.SIGINT, signal.SIGTERM)

    def leave(number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    for each in signals:
        signal.signal(each, leave)


def explain(lab: Lab) -> List[str]:
    """What helps to understand a failure, as lines."""
    lines = []
    for name, tap in lab.taps.items():
        accesses = device_state_accesses(tap.journal.entries())
        lines.append(f"device_state on the wire at {name}: {show(accesses)}")
    return lines + lab.logs().splitlines()


def run_case(installation: Installation, case: Case) -> List[str]:
    """
    Run one case; [] if it passed, otherwise lines that say why not. Raises
    Skip or Missing when it cannot be run, GuestLost when it has to run again.
    """
    with Lab(installation) as lab:
        try:
            case(lab)
            for name, tap in lab.taps.items():
                expect(f"faults seen by the tap at {name}", tap.faults, [])
        except (Skip, Missing, GuestLost):
            raise
        except Exception as error:      # pylint: disable=broad-except
            where = traceback.extract_tb(error.__traceback__)
            lines = [f"{type(error).__name__}: {error}"]
            lines += [f"at {frame.filename}:{frame.lineno}"
                      for frame in where[1:]]
            return lines + explain(lab)
    return []


def run_until_guest_lives(installation: Installation,
                          case: Case) -> List[str]:
    """As run_case(), again if the guest got lost, some times at most."""
    for _ in range(ATTEMPTS - 1):
        try:
            return run_case(installation, case)
        except GuestLost as error:
            for line in ["the guest did not survive: once more",
                         *str(error).splitlines()]:
                print(f"# {line}", flush=True)
    try:
        return run_case(installation, case)
    except GuestLost as error:
        return [f"the guest did not survive {ATTEMPTS} times: {error}"]


def report(installation: Installation, number: int, case: Case) -> bool:
    """Run a case and print its result; returns whether it is no failure."""
    try:
        problem = run_until_guest_lives(installation, case)
    except (Skip, Missing) as reason:
        print(f"ok {number} - {title(case)} # SKIP {reason}", flush=True)
        return True
    verdict = "not ok" if problem else "ok"
    print(f"{verdict} {number} - {title(case)}")
    for line in problem:
        print(f"# {line}")
    sys.stdout.flush()
    return not problem


def title(case: Case) -> str:
    """The name of a case in the report."""
    return (case.__doc__ or case.__name__).strip().splitlines()[0].rstrip(".")


def run(cases: Sequence[Case], samples: Sequence[str]) -> int:
    """
    Run the cases (all, or those whose function names are given as arguments)
    and print TAP. Returns the program's exit status. All are skipped if one
    of the sample servers is not there.
    """
    stop_on_signals()
    chosen = [case for case in cases
              if len(sys.argv) < 2 or case.__name__ in sys.argv[1:]]
    try:
        installation = find_installation()
    except Missing as error:
        print(f"Bail out! {error}")
        return 1
    try:
        for sample in samples:
            installation.sample(sample)
    except Missing as error:
        print(f"1..0 # SKIP {error}")
        return 0

    print(f"1..{len(chosen)}", flush=True)
    passed = [report(installation, number, case)
              for number, case in enumerate(chosen, 1)]
    return 0 if all(passed) else 1
