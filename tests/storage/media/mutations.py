"""Mutates files as a fuzzer does: bits, bytes, lengths, runs and seams; the same seed gives the same files."""

import random
import struct

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1)


def mutated(whole: bytes, other: bytes, dice: random.Random) -> bytes:
    """A file with one to six changes."""
    content = bytearray(whole)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(content)) if content else 0
        dice.choice((_bit, _byte, _number, _cut, _repeat, _graft, _swap))(content, at, other, dice)
    return bytes(content)


def _bit(content: bytearray, at: int, _other: bytes, dice: random.Random) -> None:
    if content:
        content[at] ^= 1 << dice.randrange(8)


def _byte(content: bytearray, at: int, _other: bytes, dice: random.Random) -> None:
    if content:
        content[at] = dice.choice(INTERESTING)


def _number(content: bytearray, at: int, _other: bytes, dice: random.Random) -> None:
    content[at : at + 4] = struct.pack(dice.choice("<>") + "I", dice.choice(NUMBERS))


def _cut(content: bytearray, at: int, _other: bytes, dice: random.Random) -> None:
    del content[at : at + dice.randint(1, 40)]


def _repeat(content: bytearray, at: int, _other: bytes, dice: random.Random) -> None:
    run = content[at : at + dice.randint(1, 60)]
    content[at:at] = run * dice.randint(1, 20)


def _graft(content: bytearray, at: int, other: bytes, dice: random.Random) -> None:
    start = dice.randrange(len(other))
    content[at:at] = other[start : start + dice.randint(1, 80)]


def _swap(content: bytearray, at: int, _other: bytes, dice: random.Random) -> None:
    there = dice.randrange(len(content)) if content else 0
    run, far = bytes(content[at : at + 8]), bytes(content[there : there + 8])
    content[at : at + 8] = far
    content[there : there + 8] = run
