#!/usr/bin/env python3
#
# Interop test with libvfio-user's sample server "null": a bare PCI device
# that cannot migrate.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU with the sample server "null"."""

import sys

sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from monitor import MonitorError
from testcase import Failed, expect, expect_true, run
from vmpair import Lab, device_arguments


def test_null_start_and_quit(lab: Lab) -> None:
    """null: QEMU starts with the device, and quits without a word."""
    tap = lab.server("only", "null")
    qemu = lab.machine("qemu", *device_arguments(tap))
    expect("run state", qemu.status(), "running")
    expect("exit status", qemu.quit(), 0)
    expect("output", qemu.output(), "")


def test_null_migration_blocked(lab: Lab) -> None:
    """null: migrate is refused with a reason that names the device."""
    tap = lab.server("only", "null")
    qemu = lab.machine("qemu", *device_arguments(tap, name="nulldev"))
    try:
        qemu.qmp("migrate", uri=f"unix:{lab.folder}/nobody")
    except MonitorError as error:
        expect_true(f"the device's id in {str(error)!r}",
                    "nulldev" in str(error))
    else:
        raise Failed("migrate was accepted")
    reasons = qemu.qmp("query-migrate").get("blocked-reasons", [])
    expect_true(f"the device's id in the blocked reasons {reasons!r}",
                any("nulldev" in reason for reason in reasons))
    expect("run state", qemu.status(), "running")


if __name__ == "__main__":
    sys.exit(run([test_null_start_and_quit, test_null_migration_blocked],
                 ["null"]))
