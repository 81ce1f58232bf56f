#!/usr/bin/env python3
#
# Makes the fuzz targets' seeds: of the unit tests' golden bytes, of texts here,
# and of sessions with real servers.
#
# SPDX-License-Identifier: GPL-2.0-or-later

"""Usage: make-seeds.py [RECORDING]...

Writes the seeds into inputs/TARGET.txt beside this script, up to the line that
begins the finds, which stay.  A RECORDING is what a server sent, as
record-session.py writes it, in a file real-NAME; without any, what was
recorded before stays, too.
"""

import re
import struct
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent.parent / "unit/vfio-user/wire-golden.h"
HEAD = """# SPDX-License-Identifier: GPL-2.0-or-later

# Seeds, made by make-seeds.py
"""
FINDS = "# Finds\n"
MOST_PAYLOAD = 255
MOST_OF_SESSION = 64

Seeds = List[Tuple[str, bytes]]

# The targets' numbers of what they take
WIRE = {"header": 0, "device_info": 1, "irq_info": 2, "region_read": 3,
        "region_write": 4, "dma_unmap": 5, "dirty_pages": 6, "dma_write": 7,
        "dma_read": 7}
SEND, REPLY, WAIT, COMMAND, LOOP, BYTES, SWAP, HANG_UP = range(8)


def golden() -> Dict[str, bytes]:
    """The arrays of the golden header, by name."""
    found = {}
    for name, body in re.findall(r"good_(\w+)\[\] = \{(.*?)\};",
                                 GOLDEN.read_text(), re.S):
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        words = [word.strip() for word in body.split(",") if word.strip()]
        values = (ord(word[1]) if word[0] == "'" else int(word, 0)
                  for word in words)
        found[name] = bytes(values)
    return found


def wire(arrays: Dict[str, bytes]) -> Seeds:
    """One of each message, and one with numbers of its own."""
    seeds = [(name, bytes([number]) + arrays[name])
             for name, number in WIRE.items()]
    asked = struct.pack("<BBQBQB", 1, 4, 0, 12, 1, 0)
    seeds.append(("asked", bytes([0x80 + WIRE["dirty_pages"]]) + asked +
                  struct.pack("<IIQQQQQ", 48, 4, 0, 4096, 4096, 8, 1)))
    return seeds


def region(arrays: Dict[str, bytes]) -> Seeds:
    """A description with all capabilities, and one that is longer."""
    whole = arrays["region_info"]
    return [("all", bytes([20]) + whole), ("fixed", bytes([0]) + whole[:32]),
            ("none", bytes([0]) + struct.pack("<IIIIQQ", 32, 3, 7, 0, 256, 0))]


def caps() -> Seeds:
    """Texts of servers, real and wrong."""
    texts = {
        "empty": "{}",
        "all": '{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576,'
               '"max_dma_maps":65535,"pgsizes":4096,"migration":{"pgsize":'
               '4096,"max_bitmap_size":268435456},"twin_socket":{"supported":'
               'true,"fd_index":0}}}',
        "wrong": '{"capabilities":{"max_msg_fds":-1,"x":[1.5e3,null,"\\u00e9"'
                 ']}}',
    }
    return [(name, bytes(4) + text.encode() + b"\0")
            for name, text in texts.items()] + [("none", bytes(4))]


def session() -> Seeds:
    """Steps; see the target."""
    call = bytes([SEND, 9, 32, REPLY, 0, 4, 1, 2, 3, 4, 0, WAIT, 0])
    dma = bytes([COMMAND, 0, 4, 1, 2, 3, 4, 1, 2, 0,
                 COMMAND, 0x20, 4, 1, 2, 3, 4, 1, 0, LOOP])
    return [
        ("call", bytes([0, 0]) + call + call),
        ("dma", bytes([0, 0]) + dma + call),
        ("twin", bytes([4, 0, SWAP]) + dma + bytes([SWAP]) + call),
        ("error", bytes([0, 0, SEND, 9, 32, REPLY, 0x40, 0, 22, 0, WAIT, 0])),
        ("fds", bytes([0, 0, SEND, 0x65, 64, REPLY, 0, 2, 7, 7, 0x22, WAIT,
                       0])),
        ("many", bytes([0, 0] + [SEND, 9, 8] * 4) +
         b"".join(bytes([REPLY, i, 1, i, 0]) for i in (2, 0, 3, 1)) +
         bytes([WAIT, 3, WAIT, 0, WAIT, 1, WAIT, 2])),
        ("post", bytes([0, 0, SEND, 0x8a, 16, LOOP]) + call),
        ("hang-up", bytes([0, 0, SEND, 9, 8, HANG_UP, 0, WAIT, 0])),
        ("bytes", bytes([0, 0, SEND, 9, 8, BYTES, 1, 16]) +
         struct.pack("<HHIII", 1, 9, 16, 1, 0) + bytes([WAIT, 0])),
    ]


# The stream's tags
END, CONFIG, SETUP, DATA = (0xffffffffef100000 + i for i in range(1, 5))


def stream() -> Seeds:
    """What the source sends, and what the server answers (0: well)."""
    def tagged(*parts: bytes, answers: bytes = b"", kind: int = 0) -> bytes:
        whole = b"".join(parts)
        return bytes([kind | len(whole) >> 8, len(whole) & 0xff]) + \
            whole + answers

    def numbers(*values: int) -> bytes:
        return struct.pack(f">{len(values)}Q", *values)

    data = numbers(DATA, 40) + bytes(range(40)) + numbers(END)
    more = numbers(DATA, 200) + bytes(200) + numbers(END)
    return [
        ("setup", tagged(numbers(SETUP, END))),
        ("config", tagged(numbers(CONFIG) + b"\0" + numbers(END))),
        ("whole", tagged(numbers(SETUP, END), data, numbers(CONFIG) + b"\0" +
                         numbers(END))),
        ("pieces", tagged(data, data, kind=0x20)),
        ("mapped", tagged(more, answers=bytes([9 << 2]), kind=0x10)),
        ("beyond", tagged(more, answers=bytes([0x2f << 2, 0, 0, 4]))),
        ("refused", tagged(data, answers=bytes([0, 22 << 2 | 3]))),
        ("offset", tagged(data, answers=bytes([8 << 2 | 1]) + b"\xff" * 8)),
        ("empty", tagged(numbers(DATA, 0, END))),
        ("huge", tagged(numbers(DATA, 1 << 63), bytes(200))),
    ]


# Choices, and kinds of answers
AGAIN, MIGRATION, PIECES, ONE_BY_ONE = 1, 2, 4, 8
RAW, ERROR, GONE, FILES = 1, 2, 3, 0x10
INFO, REGION, IRQ, READ = 4, 5, 7, 9


def answer(payload: bytes = b"", kind: int = 0, fds: int = 0) -> bytes:
    """What the target takes for one; fds: 0, 1, 2 or more."""
    how = kind | min(fds, 3) << 2 | (FILES if fds else 0)
    return bytes([how | len(payload) >> 8 << 5, len(payload) & 0xff]) + payload


def capability(place: int, *values: int) -> bytes:
    """An answer with config space that has one capability, or two extended."""
    space = bytearray(4096)
    if place < 256:
        space[6], space[0x34] = 0x10, place
    struct.pack_into(f"<{len(values)}I", space, place, *values)
    return answer((bytes(16) + space).rstrip(b"\0"))


def config_space(piece: int) -> bytes:
    """Answers with MSI-X and another capability, and extended ones."""
    space = bytearray(0x140)
    struct.pack_into("<HHHHBBBB", space, 0, 0x1b36, 8, 0, 0x10, 1, 0, 0, 0xff)
    space[0x10], space[0x34], space[0x3d] = 4, 0x40, 1
    struct.pack_into("<BBHII", space, 0x40, 0x11, 0x60, 3, 0, 0x800)
    struct.pack_into("<BBH", space, 0x60, 9, 0, 4)
    struct.pack_into("<I", space, 0x100, 0x12010003)
    struct.pack_into("<I", space, 0x120, 0x0001000b)
    return b"".join(answer(bytes(16) + space[at:at + piece])
                    for at in range(0, len(space), piece))


def device(arrays: Dict[str, bytes]) -> Seeds:
    """Answers to what is asked about a device; see the target."""
    def region_info(size: int, flags: int = 3, more: bytes = b"") -> bytes:
        return struct.pack("<IIIIQQ", 32 + len(more), flags, 0,
                           32 if more else 0, size, 0) + more

    plain = answer()
    areas = region_info(0x4000, 15, struct.pack(
        "<HHIIIQQQQ", 1, 1, 0, 2, 0, 0, 0x1000, 0x2000, 0x1000))
    areas = answer(areas[:32]) + answer(areas, fds=2)
    bars = plain + answer(region_info(0x1000)) + plain
    whole = bars + plain * 5 + answer(region_info(4096)) + plain * 6
    config = bytes([AGAIN]) + plain * 8 + answer(region_info(4096)) + plain * 6
    error = bytes([ERROR, 22])
    return [
        ("plain", bytes([AGAIN])),
        ("fewer", bytes([0]) + plain * 17 +
         answer(struct.pack("<IIII", 16, 2, 8, 5))),
        ("moved", bytes([0]) + plain + areas + plain * 16 +
         areas[:-16] + bytes(16)),
        ("grows", bytes([0]) + plain +
         b"".join(answer(region_info(0, 3, bytes(8 * i))) for i in range(1, 4))),
        ("upper", bytes([0]) + plain + answer(region_info(0x1000)) * 2 +
         plain * 12 + config_space(4096)),
        ("config", bytes([AGAIN]) + whole + config_space(4096)),
        ("pieces", bytes([PIECES | ONE_BY_ONE]) + whole + config_space(64)),
        ("vectors", config + capability(0x40, 0x000a0005, 0, 0)),
        ("too-many", config + capability(0x40, 0x000c0005, 0, 0)),
        ("power", config + capability(0xf8, 0x00030001, 8)),
        ("express", config + capability(0xec, 0x00020010)),
        ("realtek", config + answer(bytes(16) + b"\xec\x10\x68\x81")),
        ("vmd", config + answer(bytes(16) + b"\x86\x80\x1d\x20")),
        ("nvidia", config + answer(bytes(16) + b"\xde\x10\x34\x12" +
                                   bytes(6) + b"\0\3")),
        ("pin", b"\0" + config[1:] + plain * 2 +
         answer(bytes(16) + b"\1")),
        ("beyond", config + capability(0xfc, 0x00030001)),
        ("extended", config + capability(0x100, 0x10810003, 0, 0x0001000b)),
        ("close", config + capability(0x100, 0x10410003, 0x0001000b)),
        ("areas", bytes([AGAIN]) + plain + areas),
        ("one-file", bytes([AGAIN]) + plain +
         answer(region_info(0x1000, 7), fds=1)),
        ("asleep", bytes([MIGRATION]) + error),
        ("refused", bytes([0]) + plain * 3 + error),
        ("raw", bytes([0]) + answer(arrays["device_info"], RAW)),
        ("gone", bytes([0]) + plain * 15 + bytes([GONE, 0])),
    ]


def recorded_device(path: Path) -> Seeds:
    """The answers in a recording, in the target's order; and then the same."""
    answers = []
    for line in path.read_text().splitlines():
        words = line.split()
        _, command, _, error, fds = map(int, words[:5])
        payload = bytes.fromhex("".join(words[5:]))
        if command not in (INFO, REGION, IRQ, READ) or error:
            continue
        index = 0
        if command in (REGION, IRQ):
            index = struct.unpack_from("<I", payload, 8)[0]
        if command == READ:
            payload = payload.rstrip(b"\0")
        answers.append((command, index, answer(payload, fds=fds)))
        if command == READ:
            break
    answers.sort(key=lambda entry: entry[:2])
    return [(path.stem, bytes([AGAIN]) +
             b"".join(entry[2] for entry in answers))]


def recorded(path: Path) -> Tuple[Seeds, Seeds, Seeds]:
    """
    Of one recording: seeds of the session, of regions and of caps.  Only the
    first message of its command and size is taken.
    """
    steps, regions, texts = bytearray(), [], []
    seen = set()
    calls = 0
    for line in path.read_text().splitlines():
        words = line.split()
        _, command, flags, error, fds = map(int, words[:5])
        payload = bytes.fromhex("".join(words[5:]))[:MOST_PAYLOAD]
        how = 0x20 + fds if fds else 0
        if (command, len(payload), fds) in seen or not flags & 1:
            continue
        seen.add((command, len(payload), fds))
        if command == 1:
            texts.append((path.stem, payload))
            steps += bytes([2, len(payload)]) + payload + bytes([how])
            continue
        if command == 5 and not error:
            regions.append((f"{path.stem}-{len(payload)}",
                            bytes([28]) + payload))
        payload = payload[:MOST_OF_SESSION]
        number = calls % 16
        calls += 1
        steps += bytes([SEND, command | (0x60 if fds else 0),
                        max(len(payload), 32)])
        steps += bytes([REPLY, number | (0x40 if error else 0),
                        len(payload)]) + payload
        steps += bytes([error] if error else []) + bytes([how, WAIT, number])
    return [(path.stem, bytes(steps))], regions, texts


def lines(seeds: Seeds) -> Iterator[str]:
    """As the driver reads them."""
    for name, data in seeds:
        yield f"{name} {data.hex()}\n"


def write(target: str, seeds: Seeds, real: Seeds) -> None:
    """Replace the seeds of a target."""
    path = HERE / "inputs" / f"{target}.txt"
    old = path.read_text() if path.exists() else ""
    finds = old.partition(FINDS)[2]
    if not real:
        real = [(line.split()[0], bytes.fromhex(line.split()[1]))
                for line in old.partition(FINDS)[0].splitlines()
                if line.startswith("real-")]
    path.write_text(HEAD +
                    "".join(lines(seeds + real)) + "\n" + FINDS + finds)


def main() -> int:
    """Entry point."""
    if any(argument.startswith("-") for argument in sys.argv[1:]):
        print(__doc__.strip())
        return 0 if sys.argv[1:] == ["--help"] else 2
    arrays = golden()
    sessions, regions, texts, devices = [], [], [], []
    for argument in sys.argv[1:]:
        found = recorded(Path(argument))
        sessions += found[0]
        regions += found[1]
        texts += found[2]
        devices += recorded_device(Path(argument))
    write("wire", wire(arrays), [])
    write("region", region(arrays), regions)
    write("caps", caps(), texts)
    write("device", device(arrays), devices)
    write("session", session(), sessions)
    write("stream", stream(), [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
