# Two hosts on one machine: network namespaces with a cable between them.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Network namespaces, by the command "ip" of the package iproute2."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List, NamedTuple

from testcase import Failed, Skip
from vmpair import Lab

PREFIX = "vfio-user"
# Addresses that documentation may use, so nobody has them
NETWORK = "192.0.2"
COMMAND_TIMEOUT = 30.0


class Host(NamedTuple):
    """A namespace, and its address on the cable."""
    name: str
    address: str

    def runner(self) -> List[str]:
        """What starts a command there."""
        return [ip_command(), "netns", "exec", self.name]


def ip_command() -> str:
    """Path of "ip"; Skip if there is none."""
    found = shutil.which("ip", path=f"/usr/sbin:/sbin:{os.environ['PATH']}")
    if not found:
        raise Skip("no command 'ip': install the package iproute2")
    return found


def run_ip(*arguments: str) -> str:
    """Run it; Skip if that is not allowed, Failed if it fails."""
    done = subprocess.run([ip_command(), *arguments], check=False,
                          capture_output=True, text=True,
                          timeout=COMMAND_TIMEOUT)
    if done.returncode:
        text = f"ip {' '.join(arguments)}: {done.stderr.strip()}"
        if re.search("not permitted|Permission denied", text):
            raise Skip(f"network namespaces need root ({text})")
        raise Failed(text)
    return done.stdout


def remove_left_over() -> None:
    """Remove the namespaces of tests that were killed."""
    for name in re.findall(rf"(?m)^{PREFIX}-\d+-\d\b",
                           run_ip("netns", "list")):
        if not Path(f"/proc/{name.split('-')[2]}").exists():
            run_ip("netns", "delete", name)


def make_hosts(lab: Lab) -> List[Host]:
    """Two hosts with a cable; they go when the lab is left."""
    remove_left_over()
    hosts = [Host(f"{PREFIX}-{os.getpid()}-{number}", f"{NETWORK}.{number}")
             for number in (1, 2)]
    for host in hosts:
        run_ip("netns", "add", host.name)
        lab.callback(lambda name=host.name: run_ip("netns", "delete", name))
    run_ip("link", "add", "eth0", "netns", hosts[0].name, "type", "veth",
           "peer", "name", "eth0", "netns", hosts[1].name)
    for host in hosts:
        run_ip("-n", host.name, "address", "add", f"{host.address}/24",
               "dev", "eth0")
        run_ip("-n", host.name, "link", "set", "eth0", "up")
    return hosts
