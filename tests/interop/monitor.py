# A QMP connection with deadlines, on top of QEMU's own Python package.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Synchronous QMP commands, each with a deadline."""

import asyncio
import sys
from pathlib import Path
from typing import Any, Awaitable, Dict, TypeVar

Answer = TypeVar("Answer")


class MonitorError(Exception):
    """QEMU refused a command; the text is QEMU's own."""


class MonitorLost(Exception):
    """QEMU is gone or does not answer."""


class Monitor:
    """
    One QMP connection.

    python is the folder with QEMU's `qemu` package, path the monitor's
    socket, timeout (seconds) holds for the connection and for each command.
    The constructor connects; it raises MonitorLost if that fails.
    """

    def __init__(self, python: Path, path: str, timeout: float) -> None:
        if str(python) not in sys.path:
            sys.path.insert(0, str(python))
        # Only here, since where the package lies is known only now
        from qemu import qmp    # pylint: disable=import-outside-toplevel

        self._package = qmp
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._client: Any = None
        try:
            self._run(self._connect(path))
        except BaseException:
            self._loop.run_until_complete(self._end_tasks())
            self._loop.close()
            raise

    async def _connect(self, path: str) -> None:
        client = self._package.QMPClient("interop")
        await client.connect(path)
        self._client = client

    def _run(self, work: Awaitable[Answer]) -> Answer:
        try:
            return self._loop.run_until_complete(
                asyncio.wait_for(work, self._timeout))
        except self._package.ExecuteError as error:
            raise MonitorError(str(error)) from None
        except asyncio.TimeoutError:
            raise MonitorLost(f"no answer within {self._timeout:g} s") \
                from None
        except (self._package.QMPError, EOFError, OSError) as error:
            raise MonitorLost(str(error) or type(error).__name__) from None

    def execute(self, command: str, arguments: Dict[str, Any]) -> Any:
        """The command's result; MonitorError or MonitorLost otherwise."""
        return self._run(self._client.execute(command, arguments))

    def send_fd(self, fd: int) -> None:
        """Send an fd ahead of the command that takes it, as getfd does."""
        async def send() -> None:
            self._client.send_fd_scm(fd)

        self._run(send())

    def close(self) -> None:
        """Disconnect, whatever state the connection is in."""
        try:
            self._run(self._client.disconnect())
        except (MonitorLost, asyncio.CancelledError):
            pass                # it was lost before
        finally:
            self._loop.run_until_complete(self._end_tasks())
            self._loop.close()

    @staticmethod
    async def _end_tasks() -> None:
        """End what an interrupted command or a lost connection has left."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
