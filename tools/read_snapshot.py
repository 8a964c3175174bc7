#!/usr/bin/env python3
"""Reads a snapshot as FORMAT.md says, and shares no code with mcsnap.

usage: tools/read_snapshot.py [--check] [--values] PLACE...

A place is the directory of a snapshot, or a segment file; `-` is a segment on
standard input, which is read front to back. Of several, names in findings start
with the place.

Prints one JSON object a record, in the shape of `mcsnap ls --format json`, and
findings on standard error. The exit code is 0; 3 if there are findings, of which
MCS022 says that a newer mcsnap has made it; 1 if a place holds no snapshot; 2 for
a wrong command line.

  --check   prints the findings instead, as `MCS003 OBJECT OFFSET: TEXT`; the
            offset is that of the structure (of the frame, if it is in a block),
            or `-` where the finding is about the object as a whole
  --values  adds each value, as value_base64

It is made to be read beside FORMAT.md, whose rules (H1, F2, ...) stand where
they are checked. Files are read as a whole, but for standard input.
"""

import base64
import collections
import datetime
import hashlib
import json
import os
import re
import struct
import sys
import zlib

try:
    import zstandard
except ImportError:
    sys.exit(
        "read_snapshot: this python3 has no zstandard; run tools/setup, then"
        " /usr/bin/python3 tools/read_snapshot.py"
    )

MASK32 = (1 << 32) - 1
MASK64 = (1 << 64) - 1
MASK128 = (1 << 128) - 1

# Limits, FORMAT.md 8.
KEY_LEN_MAX = 250  # L1
BLOCK_RECORD_COUNT_MAX = 65_536  # L5
RAW_KEYS_MAX = 32 << 20  # L6
RAW_VALUES_MAX = 65 << 20  # L7
FRAME_COUNT_MAX = 4_000_000  # L8
META_LEN_MAX = 1 << 20  # L9
MANIFEST_LEN_MAX = 64 << 20  # L10
MANIFEST_PART_LEN_MAX = 16 << 20  # L16
RECORD_COUNT_MAX = 1 << 32  # L11
NODE_ADDRESS_LEN_MAX = 4096  # L13
PARTED_VALUE_MAX = 1 << 30  # L14
RAW_PART_MAX = 4 << 20  # L15
STAT_LEN_MAX = 64 << 10  # L17
PAYLOAD_LEN_MAX = RAW_KEYS_MAX + RAW_VALUES_MAX + 96  # L12
TOC_LEN_MAX = 640_000_000  # A4

META, BLOCK, VALUE_PART, CHECKPOINT, KEY_INDEX, STAT, TOC = 1, 2, 3, 4, 5, 6, 7
KNOWN_FRAMES = (META, BLOCK, VALUE_PART, CHECKPOINT, KEY_INDEX, STAT, TOC)
CRITICAL, HAS_PAYLOAD_CRC = 1, 2
NEVER = MASK64


# --- XXH3, of the public specification of xxHash ---------------------------

PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME64_1 = 0x9E3779B185EBCA87
PRIME64_2 = 0xC2B2AE3D27D4EB4F
PRIME64_3 = 0x165667B19E3779F9
PRIME64_4 = 0x85EBCA77C2B2AE63
PRIME64_5 = 0x27D4EB2F165667C5
PRIME_MX1 = 0x165667919E3779F9
PRIME_MX2 = 0x9FB21C651E98DF25

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def word(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def half_word(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def swapped(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def rotated(value, by, bits):
    return ((value << by) | (value >> (bits - by))) & ((1 << bits) - 1)


def folded(a, b):
    product = a * b
    return (product & MASK64) ^ (product >> 64)


def avalanche(x):
    x ^= x >> 37
    x = x * PRIME_MX1 & MASK64
    return x ^ (x >> 32)


def avalanche_xxh64(x):
    x ^= x >> 33
    x = x * PRIME64_2 & MASK64
    x ^= x >> 29
    x = x * PRIME64_3 & MASK64
    return x ^ (x >> 32)


def mixed(data, at, secret_at, seed):
    return folded(
        word(data, at) ^ ((word(SECRET, secret_at) + seed) & MASK64),
        word(data, at + 8) ^ ((word(SECRET, secret_at + 8) - seed) & MASK64),
    )


def mix_two(acc, data, first, second, secret_at, seed):
    acc[0] = (acc[0] + mixed(data, first, secret_at, seed)) & MASK64
    acc[1] = (acc[1] + mixed(data, second, secret_at + 16, seed)) & MASK64
    acc[0] ^= (word(data, second) + word(data, second + 8)) & MASK64
    acc[1] ^= (word(data, first) + word(data, first + 8)) & MASK64


def long_accumulators(data, secret):
    """The eight accumulators after all of more than 240 bytes."""
    a0, a1, a2, a3 = PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3
    a4, a5, a6, a7 = PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1
    stripe = struct.Struct("<8Q").unpack_from
    length = len(data)
    # The last block has 15 whole stripes at most, so it is never scrambled.
    places = [(64 * n, n % 16 * 8, n % 16 == 15) for n in range((length - 1) // 64)]
    places.append((length - 64, 192 - 71, False))
    secrets = [stripe(secret, at) for at in range(0, 192 - 64 + 1)]
    end = secrets[128]
    for at, secret_at, scramble in places:
        d0, d1, d2, d3, d4, d5, d6, d7 = stripe(data, at)
        s0, s1, s2, s3, s4, s5, s6, s7 = secrets[secret_at]
        v = d0 ^ s0
        a1 += d0
        a0 += (v & MASK32) * (v >> 32)
        v = d1 ^ s1
        a0 += d1
        a1 += (v & MASK32) * (v >> 32)
        v = d2 ^ s2
        a3 += d2
        a2 += (v & MASK32) * (v >> 32)
        v = d3 ^ s3
        a2 += d3
        a3 += (v & MASK32) * (v >> 32)
        v = d4 ^ s4
        a5 += d4
        a4 += (v & MASK32) * (v >> 32)
        v = d5 ^ s5
        a4 += d5
        a5 += (v & MASK32) * (v >> 32)
        v = d6 ^ s6
        a7 += d6
        a6 += (v & MASK32) * (v >> 32)
        v = d7 ^ s7
        a6 += d7
        a7 += (v & MASK32) * (v >> 32)
        if scramble:
            acc = []
            for lane, key in zip((a0, a1, a2, a3, a4, a5, a6, a7), end):
                lane &= MASK64
                acc.append((lane ^ (lane >> 47) ^ key) * PRIME32_1 & MASK64)
            a0, a1, a2, a3, a4, a5, a6, a7 = acc
    return [lane & MASK64 for lane in (a0, a1, a2, a3, a4, a5, a6, a7)]


def merged(acc, secret, secret_at, start):
    for i in range(0, 8, 2):
        start += folded(
            acc[i] ^ word(secret, secret_at + 8 * i),
            acc[i + 1] ^ word(secret, secret_at + 8 * i + 8),
        )
    return avalanche(start & MASK64)


def derived_secret(seed):
    if seed == 0:
        return SECRET
    words = struct.unpack("<24Q", SECRET)
    signed = [seed if i % 2 == 0 else -seed for i in range(24)]
    return struct.pack("<24Q", *((w + s) & MASK64 for w, s in zip(words, signed)))


def xxh3_64(data):
    """XXH3-64, seed 0: all that the format needs of it."""
    length = len(data)
    if length == 0:
        return avalanche_xxh64(word(SECRET, 56) ^ word(SECRET, 64))
    if length <= 3:
        return avalanche_xxh64(combined_1_to_3(data) ^ half_word(SECRET, 0) ^ half_word(SECRET, 4))
    if length <= 8:
        x = half_word(data, length - 4) | half_word(data, 0) << 32
        x ^= word(SECRET, 8) ^ word(SECRET, 16)
        x ^= rotated(x, 49, 64) ^ rotated(x, 24, 64)
        x = x * PRIME_MX2 & MASK64
        x ^= (x >> 35) + length
        x = x * PRIME_MX2 & MASK64
        return x ^ (x >> 28)
    if length <= 16:
        low = word(SECRET, 24) ^ word(SECRET, 32) ^ word(data, 0)
        high = word(SECRET, 40) ^ word(SECRET, 48) ^ word(data, length - 8)
        return avalanche((length + swapped(low, 8) + high + folded(low, high)) & MASK64)
    if length <= 240:
        acc = length * PRIME64_1
        if length <= 128:
            for i in range((length - 1) // 32, -1, -1):
                acc += mixed(data, 16 * i, 32 * i, 0)
                acc += mixed(data, length - 16 * i - 16, 32 * i + 16, 0)
        else:
            for i in range(8):
                acc += mixed(data, 16 * i, 16 * i, 0)
            acc = avalanche(acc & MASK64)
            for i in range(8, length // 16):
                acc += mixed(data, 16 * i, 16 * (i - 8) + 3, 0)
            acc += mixed(data, length - 16, 119, 0)
        return avalanche(acc & MASK64)
    return merged(long_accumulators(data, SECRET), SECRET, 11, length * PRIME64_1 & MASK64)


def combined_1_to_3(data):
    length = len(data)
    return data[-1] | length << 8 | data[0] << 16 | data[length >> 1] << 24


def xxh3_128(data, seed=0):
    """XXH3-128; its high half is the number's upper 64 bits."""
    low, high = xxh3_128_halves(data, seed)
    return high << 64 | low


def xxh3_128_halves(data, seed):
    length = len(data)
    if length == 0:
        return (
            avalanche_xxh64(seed ^ word(SECRET, 64) ^ word(SECRET, 72)),
            avalanche_xxh64(seed ^ word(SECRET, 80) ^ word(SECRET, 88)),
        )
    if length <= 3:
        combined = combined_1_to_3(data)
        turned = rotated(swapped(combined, 4), 13, 32)
        low = ((half_word(SECRET, 0) ^ half_word(SECRET, 4)) + seed) & MASK64
        high = ((half_word(SECRET, 8) ^ half_word(SECRET, 12)) - seed) & MASK64
        return avalanche_xxh64(low ^ combined), avalanche_xxh64(high ^ turned)
    if length <= 8:
        seed ^= swapped(seed & MASK32, 4) << 32
        x = half_word(data, 0) | half_word(data, length - 4) << 32
        x ^= ((word(SECRET, 16) ^ word(SECRET, 24)) + seed) & MASK64
        product = x * (PRIME64_1 + 4 * length)
        high, low = product >> 64, product & MASK64
        high = (high + (low << 1)) & MASK64
        low ^= high >> 3
        low ^= low >> 35
        low = low * PRIME_MX2 & MASK64
        return low ^ (low >> 28), avalanche(high)
    if length <= 16:
        first, last = word(data, 0), word(data, length - 8)
        a = ((word(SECRET, 32) ^ word(SECRET, 40)) - seed) & MASK64 ^ first ^ last
        b = ((word(SECRET, 48) ^ word(SECRET, 56)) + seed) & MASK64 ^ last
        product = a * PRIME64_1
        low = (product + ((length - 1) << 54)) & MASK64
        high = ((product >> 64) + b + (b & MASK32) * (PRIME32_2 - 1)) & MASK64
        low ^= swapped(high, 8)
        product = low * PRIME64_2
        high = ((product >> 64) + high * PRIME64_2) & MASK64
        return avalanche(product & MASK64), avalanche(high)
    if length <= 240:
        acc = [length * PRIME64_1 & MASK64, 0]
        if length <= 128:
            for i in range((length - 1) // 32, -1, -1):
                mix_two(acc, data, 16 * i, length - 16 * i - 16, 32 * i, seed)
        else:
            for i in range(4):
                mix_two(acc, data, 32 * i, 32 * i + 16, 32 * i, seed)
            acc = [avalanche(half) for half in acc]
            for i in range(4, length // 32):
                mix_two(acc, data, 32 * i, 32 * i + 16, 32 * (i - 4) + 3, seed)
            mix_two(acc, data, length - 16, length - 32, 103, -seed & MASK64)
        low = (acc[0] + acc[1]) & MASK64
        high = acc[0] * PRIME64_1 + acc[1] * PRIME64_4 + (length - seed) * PRIME64_2
        return avalanche(low), -avalanche(high & MASK64) & MASK64
    secret = derived_secret(seed)
    acc = long_accumulators(data, secret)
    return (
        merged(acc, secret, 11, length * PRIME64_1 & MASK64),
        merged(acc, secret, 192 - 75, ~(length * PRIME64_2) & MASK64),
    )


# --- Structures of a segment, FORMAT.md 5.1 to 5.11 --------------------------


class NoSnapshot(Exception):
    """It says itself that it is something else."""


class Damage(Exception):
    """A rule that does not hold, and the offset of the structure, if it has one."""

    def __init__(self, code, offset, text):
        super().__init__(code, offset, text)
        self.code, self.offset, self.text = code, offset, text


class Unknown(Damage):
    """Damage in version 1.0; a later minor version may have a meaning for it: R1."""


def require(holds, code, offset, text):
    if not holds:
        raise Damage(code, offset, text)


def require_known(holds, code, offset, text):
    if not holds:
        raise Unknown(code, offset, text)


def newer(offset, text):
    return Damage("MCS022", offset, f"{text}: made by a newer mcsnap; upgrade")


def judged(damage, minor):
    """What a finding is in a file of some minor version."""
    if isinstance(damage, Unknown) and minor > 0:  # R1
        return newer(damage.offset, f"{damage.text}, in format version 1.{minor}")
    return damage


def check_major(major, minor, offset):
    require(major > 0, "MCS007", offset, "format version 0")  # H3
    if major > 1:  # R2
        raise newer(offset, f"format version {major}.{minor}")


def check_features(data, offset):
    """Of a text that cannot be understood, whoever reads the rest says why."""
    try:
        features = parse(data, FEATURES_TEXT).get("features", {})
    except ValueError:
        return
    for feature in features.get("verify", []) + features.get("read", []):  # R3
        raise newer(offset, f"feature {escaped(feature.encode())}")


class Layout:
    """A structure of fixed size; fields named `-` are reserved."""

    def __init__(self, name, types, fields):
        self.name = name
        self.struct = struct.Struct("<" + types)
        self.size = self.struct.size
        self.type = collections.namedtuple("Fields", fields.split(), rename=True)
        self.reserved = [i for i, field in enumerate(fields.split()) if field == "-"]

    def read(self, data, at, place):
        """The fields at `at`; `place` is what a finding names."""
        require(at + self.size <= len(data), "MCS001", place, f"{self.name} is cut short")
        return self.type(*self.struct.unpack_from(data, at))

    def check_reserved(self, fields, place):
        for i in self.reserved:
            is_zero = not any(fields[i]) if isinstance(fields[i], bytes) else fields[i] == 0
            require_known(is_zero, "MCS004", place, f"{self.name}: a reserved field is not zero")


FILE_HEADER = Layout(
    "file header",
    "8sHHI16s16s8sII",
    "magic major minor unused segment_id snapshot_id sync_marker unused_too header_crc",
)
FRAME_HEADER = Layout(
    "frame header",
    "4s8sBBHQQQII",
    "marker sync_marker type flags - sequence offset stored_len payload_crc header_crc",
)
BLOCK_HEADER = Layout(
    "block header",
    "I20s20sI",
    "record_count key_section value_section header_crc",
)
SECTION = Layout("section", "BBHIIII", "codec flags - stored_len raw_len stored_crc raw_crc")
COLUMNS_HEADER = Layout("key section", "HH", "column_count -")
COLUMN_ENTRY = Layout("column entry", "BBHI", "id flags encoding len")
PART_HEADER = Layout(
    "value part",
    "QQII20sI",
    "value_len value_offset part_number - section header_crc",
)
KEY_INDEX_HEADER = Layout(
    "key index",
    "QQIIII",
    "entry_count seed page_count block_count - header_crc",
)
PAGE_HEADER = Layout("key index page", "IHBB", "page_crc entry_count gap_bits -")
CHECKPOINT_HEADER = Layout(
    "checkpoint",
    "16s16s8sQIIQ",
    "segment_id snapshot_id sync_marker previous_offset entry_count - record_count",
)
CHECKPOINT_ENTRY = Layout("entry of a checkpoint", "BBHIQ", "type flags - record_count stored_len")
TOC_HEADER = Layout(
    "table of contents",
    "IHHQQQ16s16sQQI12s",
    "entry_count entry_size - record_count key_bytes value_bytes content_digest"
    " content_digest_exptime key_index_offset key_index_seed key_index_page_count -",
)
TOC_ENTRY = Layout(
    "entry of the table of contents",
    "BBBBIQQIIIIQQQQII",
    "type flags temperature - record_count offset stored_len key_stored_len value_stored_len"
    " key_raw_len value_raw_len exptime_min exptime_max last_access_min last_access_max"
    " never_count unused",
)
STAT_HEADER = Layout("statistics", "HH", "section_count -")
STAT_SECTION = Layout("section of statistics", "HHI", "id - len")
TAIL = Layout(
    "tail",
    "8s16s16s8sQQQHHI",
    "magic segment_id snapshot_id sync_marker toc_offset toc_len file_len major minor tail_crc",
)

LOOK_UP_HEADER = Layout(
    "look-up object",
    "8sHHI16s16sQQIIII",
    "magic major minor node_index look_up_id snapshot_id shard_index entry_count page_count"
    " block_count - header_crc",
)
LOOK_UP_BLOCK = Layout(
    "entry of a look-up object",
    "16sIIQIHHI",
    "segment_id sequence block offset key_stored_len - - entry_crc",
)

LOOK_UP_MAGIC = bytes.fromhex("89 4d 43 4c 0d 0a 1a 0a")
FILE_MAGIC = bytes.fromhex("89 4d 43 53 0d 0a 1a 0a")
FRAME_MARKER = bytes.fromhex("f7 4d 43 46")
TAIL_MAGIC = bytes.fromhex("89 4d 43 54 0d 0a 1a 0a")
PAGE_SIZE = 4096
FINGERPRINT_BITS = 17
LOOK_UP_FINGERPRINT_BITS = 19
ZSTD_MAGIC = bytes.fromhex("28 b5 2f fd")

# Id: name, and type of one record's part.
COLUMNS = {
    1: ("KEY_LEN", "B"),
    2: ("KEY", None),
    3: ("VALUE_LEN", "I"),
    4: ("VALUE_HASH", "Q"),
    5: ("CLIENT_FLAGS", "Q"),
    6: ("EXPTIME", "Q"),
    7: ("LAST_ACCESS", "Q"),
    8: ("CAS", "Q"),
    9: ("SLAB_CLASS", "B"),
    10: ("ATTRIBUTES", "H"),
    11: ("VALUE_PLACE", "Q"),
}
REQUIRED_COLUMNS = ("KEY_LEN", "KEY", "VALUE_LEN", "VALUE_HASH")
MARKS = ("fetched", "stale", "win_sent", "key_is_binary", "incompressible")

Ids = collections.namedtuple("Ids", "segment_id snapshot_id sync_marker")
Record = collections.namedtuple(
    "Record",
    "key value value_len value_hash client_flags exptime last_access cas slab_class attributes"
    " place",
)
Part = collections.namedtuple("Part", "header raw")


def ids_of(fields):
    return Ids(fields.segment_id, fields.snapshot_id, fields.sync_marker)


def crc32(*parts):
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def u32(number):
    return number.to_bytes(4, "little")


def u64(number):
    return number.to_bytes(8, "little")


class Segment:
    """One segment file.

    `found` is called with each finding after which reading goes on; `said` is
    what the manifest says of the segment, or nothing for a lone file.
    """

    def __init__(self, data, found, said=None):
        self.data, self.said = data, said
        self.found = lambda damage: found(judged(damage, self.minor))
        self.minor = 0
        self.meta = {}
        # The records of each block; nothing for a damaged one.
        self.blocks = []
        # Sound parts of values, by the number of their frame.
        self.parts = {}

    def check(self, rule, *arguments):
        """Runs a check whose failure does not end the reading."""
        try:
            return rule(*arguments)
        except Damage as damage:
            self.found(damage)
            return None

    def open(self):
        """Tail, file header and table of contents: without them all is lost."""
        data, size = self.data, len(self.data)
        require(size >= FILE_HEADER.size + TAIL.size, "MCS001", 0, "the file is cut short")  # A1

        self.read_file_header(data[: FILE_HEADER.size])
        self.tail_at = size - TAIL.size
        tail = self.read_tail(data[self.tail_at :], self.tail_at)
        self.toc_at = at = tail.toc_offset
        frame = self.frame(at)
        require(frame.type == TOC, "MCS007", at, f"TOC: a frame of type {frame.type}")
        toc_len = FRAME_HEADER.size + frame.stored_len
        require(toc_len <= tail.toc_len, "MCS001", at, "TOC is cut short")
        require(toc_len == tail.toc_len, "MCS010", at, "TOC: not as long as the tail says")
        self.read_toc(self.payload(frame))
        is_last = frame.sequence == len(self.entries)
        require(is_last, "MCS006", at, f"TOC: sequence {frame.sequence}")  # F3

    def read_file_header(self, data):
        """5.1"""
        header = FILE_HEADER.read(data, 0, 0)
        require(header.magic == FILE_MAGIC, "MCS002", 0, "file header: magic")  # H1
        require(header.header_crc == crc32(data[:60]), "MCS003", 0, "file header: checksum")  # H2
        check_major(header.major, header.minor, 0)
        self.minor = header.minor
        self.ids = ids_of(header)

    def read_tail(self, data, at):
        """5.11; the file header has been read."""
        tail = TAIL.read(data, 0, at)
        require(tail.magic == TAIL_MAGIC, "MCS002", at, "tail: magic")  # A2
        require(tail.tail_crc == crc32(data[:76]), "MCS003", at, "tail: checksum")
        check_major(tail.major, tail.minor, at)
        size = at + TAIL.size
        require(tail.file_len == size, "MCS010", at, f"tail: file_len {tail.file_len}")  # A3
        is_legal = tail.toc_offset >= FILE_HEADER.size and tail.toc_len >= FRAME_HEADER.size
        require(is_legal, "MCS007", at, "tail: toc_offset or toc_len")  # A4
        toc_end = tail.toc_offset + tail.toc_len
        require(toc_end == at, "MCS006", at, f"tail: the TOC ends at {toc_end}")
        require(tail.toc_len <= TOC_LEN_MAX, "MCS008", at, "tail: toc_len")
        is_same = self.ids == ids_of(tail)
        require(is_same, "MCS005", at, "tail: other ids than the file header")  # H4
        require(tail.minor == self.minor, "MCS010", at, "tail: minor")  # A5
        return tail

    def frame(self, at):
        """5.2: the frame header that stands at `at`."""
        return self.frame_header(self.data[at : at + FRAME_HEADER.size], at)

    def frame_header(self, data, at):
        name = "frame header"
        frame = FRAME_HEADER.read(data, 0, at)
        require(frame.marker == FRAME_MARKER, "MCS002", at, f"{name}: marker")  # F1
        require(frame.sync_marker == self.ids.sync_marker, "MCS005", at, f"{name}: sync marker")
        computed = crc32(self.ids.segment_id, data[:44])
        require(frame.header_crc == computed, "MCS003", at, f"{name}: checksum")  # F2
        FRAME_HEADER.check_reserved(frame, at)
        require_known(frame.flags & 0b1100 == 0, "MCS004", at, f"{name}: reserved flags")
        require(frame.offset == at, "MCS006", at, f"{name}: offset {frame.offset}")  # F3
        is_readable = frame.type in KNOWN_FRAMES or not frame.flags & CRITICAL
        require_known(is_readable, "MCS009", at, f"unknown critical frame type {frame.type}")  # F5
        return frame

    def payload(self, frame):
        at = frame.offset + FRAME_HEADER.size
        return self.check_payload(frame, self.data[at : at + frame.stored_len])

    def check_payload(self, frame, payload):
        if frame.flags & HAS_PAYLOAD_CRC:  # F4
            computed = crc32(self.ids.segment_id, payload)
            require(frame.payload_crc == computed, "MCS003", frame.offset, "payload: checksum")
        return payload

    def read_toc(self, payload):
        """5.10"""
        at, name = self.toc_at, "TOC"
        self.toc = toc = TOC_HEADER.read(payload, 0, at)
        TOC_HEADER.check_reserved(toc, at)
        is_legal = toc.entry_size >= TOC_ENTRY.size
        require(is_legal, "MCS007", at, f"{name}: entry_size {toc.entry_size}")  # T1
        require(toc.entry_count <= FRAME_COUNT_MAX, "MCS008", at, f"{name}: entry_count")
        require(toc.record_count <= RECORD_COUNT_MAX, "MCS008", at, f"{name}: record_count")
        needed = TOC_HEADER.size + toc.entry_count * toc.entry_size
        require(len(payload) == needed, "MCS010", at, f"{name}: not as long as its entries need")
        self.entries = []
        for start in range(TOC_HEADER.size, len(payload), toc.entry_size):
            # A longer entry of a later version starts with these 80 bytes.
            entry = TOC_ENTRY.read(payload, start, at)
            TOC_ENTRY.check_reserved(entry, at)
            self.entries.append(entry)
            is_readable = entry.type in KNOWN_FRAMES or not entry.flags & CRITICAL
            require_known(is_readable, "MCS009", at, f"unknown critical frame type {entry.type}")  # F5
        place = FILE_HEADER.size
        for number, entry in enumerate(self.entries):  # T2
            is_there = entry.offset == place
            require(is_there, "MCS006", at, f"{name}: frame {number} is not at {place}")
            place += FRAME_HEADER.size + entry.stored_len
        require(place == at, "MCS006", at, f"{name}: the last frame ends at {place}")
        records = sum(entry.record_count for entry in self.entries)
        require(records == toc.record_count, "MCS010", at, f"{name}: record_count")  # T3
        self.block_count = sum(entry.type == BLOCK for entry in self.entries)
        if toc.key_index_offset != 0:  # T4
            is_legal = toc.key_index_page_count > 0 or toc.record_count == 0
            require(is_legal, "MCS007", at, f"{name}: page count")
            is_there = any(
                entry.type == KEY_INDEX and entry.offset == toc.key_index_offset
                for entry in self.entries
            )
            require(is_there, "MCS007", at, f"{name}: no key index at key_index_offset")

    def read(self, shard=None):
        """META, then every frame in the order of the TOC, then what spans frames.

        `shard` is the index and the bits that the manifest says; in a lone file
        META stands for it.
        """
        try:
            self.read_meta()
            if self.said:
                self.check_place(*shard)
        except Damage as damage:
            self.found(damage)
            if judged(damage, self.minor).code == "MCS022":
                return  # M7
        if not self.said and self.meta:
            shard = int(self.meta.get("shard_index", "0")), self.meta.get("shard_bits", 0)
        if self.said:
            self.check(self.check_digest)
        index = None
        self.statistics = None
        stat = next((n for n, entry in enumerate(self.entries) if entry.type == STAT), None)
        previous = None
        for number, entry in enumerate(self.entries):
            if entry.type == BLOCK:
                self.blocks.append(None)
            elif number == 0 and entry.type == META:
                continue
            try:
                if number == stat:
                    is_legal = entry.stored_len <= STAT_LEN_MAX
                    require(is_legal, "MCS008", entry.offset, "statistics: length")  # S1
                frame = self.entry_frame(number)
                payload = self.payload(frame)
                if entry.type == BLOCK:
                    self.blocks[-1] = self.read_block(entry, frame, payload)
                elif entry.type == VALUE_PART:
                    self.parts[number] = self.read_part(entry, frame, payload)
                elif entry.type == CHECKPOINT:
                    self.read_checkpoint(number, previous, payload)
                elif number == stat:
                    self.statistics = Statistics(payload, entry.offset)
                elif entry.offset == self.toc.key_index_offset:
                    index = self.read_key_index(entry, payload)
            except Damage as damage:
                self.found(damage)
            if entry.type == CHECKPOINT:
                previous = number
        self.check_records(index, shard)

    def entry_frame(self, number):
        """The frame of an entry: T5, F3."""
        entry, toc = self.entries[number], self.toc
        at = entry.offset
        longest = max(RAW_KEYS_MAX + RAW_VALUES_MAX, toc.key_index_page_count * PAGE_SIZE)
        longest += FRAME_HEADER.size + BLOCK_HEADER.size
        require(entry.stored_len <= longest, "MCS008", at, f"TOC: stored_len {entry.stored_len}")
        frame = self.frame(at)
        require(frame.sequence == number, "MCS006", at, f"frame header: sequence {frame.sequence}")
        for name in ("type", "flags", "stored_len"):
            is_same = getattr(entry, name) == getattr(frame, name)
            require(is_same, "MCS010", at, f"frame header: not the {name} in the TOC")
        return frame

    def read_meta(self):
        """5.4"""
        at = FILE_HEADER.size
        is_first = bool(self.entries) and self.entries[0].type == META
        require(is_first, "MCS007", at, "the first frame is not META")  # M1
        self.check_meta(self.payload(self.entry_frame(0)))

    def check_place(self, shard_index, shard_bits):
        """N8: META has what the manifest says, if it has it."""
        named = {
            "node_index": self.said["node_index"],
            "shard_index": shard_index,
            "shard_bits": shard_bits,
            "sequence": self.said["sequence"],
        }
        for name, number in named.items():
            is_same = int(self.meta.get(name, number)) == number
            require(is_same, "MCS010", FILE_HEADER.size, f"META: not the {name} in the manifest")

    def check_meta(self, payload):
        at = FILE_HEADER.size
        require(len(payload) <= META_LEN_MAX, "MCS008", at, "META: length")  # L9
        check_features(payload, at)  # M7
        try:
            meta = parse(payload, META_TEXT)  # M2
        except ValueError as error:
            raise Damage("MCS015", at, f"META: {error}") from None
        is_legal = len(meta.get("node", "").encode()) <= NODE_ADDRESS_LEN_MAX
        require(is_legal, "MCS008", at, "META: node")  # M5
        is_legal = meta.get("shard_bits", 0) <= 64
        require(is_legal, "MCS007", at, "META: shard_bits")  # M3
        created_at = meta.get("created_at", "")
        require(not created_at or is_moment(created_at), "MCS015", at, "META: created_at")  # M6
        clock = meta.get("clock", "dumping-host")  # M8
        require_known(clock == "dumping-host", "MCS015", at, f"META: clock {escaped(clock.encode())}")
        ids = tuple(bytes.fromhex(meta[name]) for name in Ids._fields)
        require(ids == self.ids, "MCS005", at, "META: other ids than the file header")  # M4
        self.meta = meta

    def read_block(self, entry, frame, payload):
        """5.5; every finding names the frame. `entry` is that of the TOC, if it is there."""
        at, name = frame.offset, "block header"
        header = BLOCK_HEADER.read(payload, 0, at)
        computed = crc32(self.ids.segment_id, u64(frame.sequence), payload[:44])
        require(header.header_crc == computed, "MCS003", at, f"{name}: checksum")  # B1
        keys = read_section(header.key_section, RAW_KEYS_MAX, at)
        values = read_section(header.value_section, RAW_VALUES_MAX, at)
        count = header.record_count
        require(count > 0, "MCS007", at, f"{name}: record_count 0")  # B4
        require(count <= BLOCK_RECORD_COUNT_MAX, "MCS008", at, f"{name}: record_count {count}")
        keys_at = BLOCK_HEADER.size
        values_at = keys_at + keys.stored_len
        is_long_enough = values_at + values.stored_len == len(payload)
        require(is_long_enough, "MCS010", at, f"{name}: not as long as its sections need")  # B5
        pairs = {
            "record_count": count,
            "key_stored_len": keys.stored_len,
            "value_stored_len": values.stored_len,
            "key_raw_len": keys.raw_len,
            "value_raw_len": values.raw_len,
        }
        for field, number in pairs.items() if entry else ():  # T5
            is_same = getattr(entry, field) == number
            require(is_same, "MCS010", at, f"{name}: not the {field} in the TOC")
        raw_keys = unpack(keys, payload[keys_at:values_at], at)
        columns = read_columns(raw_keys, count, at)
        places = columns.get("VALUE_PLACE", (0,) * count)
        lens = (n for n, place in zip(columns["VALUE_LEN"], places) if place == 0)
        is_same = sum(lens) == values.raw_len
        require(is_same, "MCS010", at, "VALUE_LEN: not the length of the value section")  # K8
        raw_values = unpack(values, payload[values_at:], at)
        if entry:
            self.check(check_bounds, entry, columns, at)  # T6
        return records_of(columns, raw_values)

    def read_part(self, entry, frame, payload):
        """5.7; `entry` is that of the TOC, if it is there."""
        at, name = frame.offset, "value part"
        header = PART_HEADER.read(payload, 0, at)
        computed = crc32(self.ids.segment_id, u64(frame.sequence), payload[:44])
        require(header.header_crc == computed, "MCS003", at, f"{name}: checksum")  # P1
        PART_HEADER.check_reserved(header, at)
        section = read_section(header.section, RAW_PART_MAX, at)
        require(section.raw_len > 0, "MCS007", at, f"{name}: raw_len 0")  # P2
        is_legal = (
            header.value_len <= PARTED_VALUE_MAX
            and section.raw_len <= header.value_len
            and header.value_offset <= header.value_len - section.raw_len
        )
        require(is_legal, "MCS008", at, f"{name}: not within its value")  # P3
        is_long_enough = PART_HEADER.size + section.stored_len == len(payload)
        require(is_long_enough, "MCS010", at, f"{name}: not as long as its section needs")  # P4
        for field in ("stored_len", "raw_len") if entry else ():  # T5
            is_same = getattr(entry, "value_" + field) == getattr(section, field)
            require(is_same, "MCS010", at, f"{name}: not the {field} in the TOC")
        return Part(header, unpack(section, payload[PART_HEADER.size :], at))  # P5

    def parted_value(self, record, before, number):
        """The value of a record in block frame `number`, from its parts; `before` is
        the number of the block frame before. Nothing if one of them is damaged,
        which has been found by itself.
        """
        entries, at, place = self.entries, self.entries[number].offset, record.place
        between = range(before + 1, number)
        first = [n for n in between if entries[n].offset == place and entries[n].type == VALUE_PART]
        require(first, "MCS007", at, f"VALUE_PLACE {place}: no value part there")  # P6
        pieces, value_len = [], 0
        for part_number, frame in enumerate(range(first[0], number)):  # P7
            if entries[frame].type != VALUE_PART:
                break
            part = self.parts.get(frame)
            if not part:
                return None
            header, part_at = part.header, entries[frame].offset
            is_next = header.part_number == part_number
            require(is_next, "MCS006", part_at, f"value part: part_number {header.part_number}")
            is_same = header.value_len == record.value_len
            require(is_same, "MCS010", part_at, "value part: value_len is not that of the record")
            is_next = header.value_offset == value_len
            require(is_next, "MCS006", part_at, f"value part: value_offset {header.value_offset}")
            pieces.append(part.raw)
            value_len += len(part.raw)
            if value_len == record.value_len:
                return b"".join(pieces)
        raise Damage("MCS001", at, f"the value of {escaped(record.key)} is cut short")  # P7

    def read_key_index(self, entry, payload):
        """5.8; returns the header and the set of entries of each page."""
        at, name = entry.offset + FRAME_HEADER.size, "key index"
        header = KEY_INDEX_HEADER.read(payload, 0, at)
        computed = crc32(self.ids.segment_id, payload[:28])
        require(header.header_crc == computed, "MCS003", at, f"{name}: checksum")  # X1
        KEY_INDEX_HEADER.check_reserved(header, at)
        needed = KEY_INDEX_HEADER.size + header.page_count * PAGE_SIZE
        is_same = len(payload) == needed
        require(is_same, "MCS010", at, f"{name}: not as long as its pages need")  # X2
        blocks = header.block_count
        pages = [
            read_page(
                payload[start : start + PAGE_SIZE],
                f"key index page {number}",
                (self.ids.segment_id, number),
                (FINGERPRINT_BITS, blocks),
                at + start,
            )
            for number, start in enumerate(range(KEY_INDEX_HEADER.size, needed, PAGE_SIZE))
        ]
        total = sum(len(rows) for rows in pages)
        require(total == header.entry_count, "MCS010", at, f"{name}: entry_count")  # X4
        toc = self.toc
        shape = (toc.key_index_seed, toc.key_index_page_count, self.block_count)
        is_same = shape == (header.seed, header.page_count, blocks)
        require(is_same, "MCS010", at, f"{name}: not the shape in the TOC")  # X4
        require(total == toc.record_count, "MCS010", at, f"{name}: not an entry a record")
        return header, [set(rows) for rows in pages]

    def read_checkpoint(self, number, previous, payload):
        """5.9; `previous` is the number of the checkpoint before."""
        at, name = self.entries[number].offset, "checkpoint"
        header = CHECKPOINT_HEADER.read(payload, 0, at)
        require(ids_of(header) == self.ids, "MCS005", at, f"{name}: other ids")  # C1
        CHECKPOINT_HEADER.check_reserved(header, at)
        require(header.previous_offset < at, "MCS007", at, f"{name}: previous_offset")  # C2
        needed = CHECKPOINT_HEADER.size + header.entry_count * CHECKPOINT_ENTRY.size
        require(len(payload) == needed, "MCS010", at, f"{name}: not as long as its entries need")
        entries = []
        for start in range(CHECKPOINT_HEADER.size, needed, CHECKPOINT_ENTRY.size):
            entry = CHECKPOINT_ENTRY.read(payload, start, at)
            CHECKPOINT_ENTRY.check_reserved(entry, at)
            entries.append((entry.type, entry.flags, entry.record_count, entry.stored_len))
        said = (header.previous_offset, header.record_count, entries)
        computed = (
            0 if previous is None else self.entries[previous].offset,
            sum(entry.record_count for entry in self.entries[:number]),
            [
                (entry.type, entry.flags, entry.record_count, entry.stored_len)
                for entry in self.entries[previous or 0 : number]
            ],
        )
        require(said == computed, "MCS010", at, f"{name}: does not agree with the TOC")  # C4

    def check_records(self, index, shard):
        """What needs the records: V1, X5, N9, T6."""
        frames = [number for number, entry in enumerate(self.entries) if entry.type == BLOCK]
        is_whole = True
        counted = []
        for number, (before, frame, records) in enumerate(zip([-1] + frames, frames, self.blocks)):
            at = self.entries[frame].offset
            is_whole = is_whole and records is not None
            sound = []
            for record in records or ():
                key = escaped(record.key)
                if record.place:
                    value = self.check(self.parted_value, record, before, frame)
                    if value is None:
                        is_whole = False
                        continue
                    record = record._replace(value=value)
                if xxh3_64(record.value) != record.value_hash:
                    self.found(Damage("MCS012", at, f"the value of {key} has another hash"))
                    is_whole = False
                    continue
                sound.append(record)
                if shard and shard_of(record.key, shard[1]) != shard[0]:
                    self.found(Damage("MCS014", at, f"{key} belongs to another shard"))
                if index and not leads_to(index, record.key, number):
                    self.found(Damage("MCS013", at, f"the key index does not lead to {key}"))
            if records is not None:
                self.blocks[number] = sound
            counted += sound
        # With a block damaged the sums differ, and that is known already.
        if is_whole:
            self.check_sums(counted)
            if self.statistics:
                self.check(self.statistics.check, counted)

    def check_sums(self, records):
        """T6; the digests, as the manifest says them, or else the TOC."""
        toc = self.toc
        sums = {
            "record_count": len(records),
            "key_bytes": sum(len(record.key) for record in records),
            "value_bytes": sum(len(record.value) for record in records),
        }
        for name, number in sums.items():
            if number != getattr(toc, name):
                self.found(Damage("MCS010", None, f"TOC: {name} is not that of the records"))
        said = self.said or self.toc_digests()
        for name, number in zip(DIGESTS, content_digests(records)):
            if said[name].lower() != f"{number:032x}":
                self.found(Damage("MCS016", None, f"{name} is not that of the records"))

    def toc_digests(self):
        return {name: getattr(self.toc, name)[::-1].hex() for name in DIGESTS}

    def check_digest(self):
        """N8, and 6: what covers every checksum of the segment."""
        sha = hashlib.sha256(self.data[: FILE_HEADER.size])
        for number, entry in enumerate(self.entries):
            try:
                self.entry_frame(number)
            except Damage:
                return  # Found again where the frame is read.
            payload_at = entry.offset + FRAME_HEADER.size
            sha.update(self.data[entry.offset : payload_at])
            payload = self.data[payload_at : payload_at + entry.stored_len]
            if entry.type == BLOCK:
                sha.update(payload[: BLOCK_HEADER.size])
            elif entry.type == VALUE_PART:
                sha.update(payload[: PART_HEADER.size])
            elif entry.type == KEY_INDEX:
                sha.update(payload[: KEY_INDEX_HEADER.size])
                pages = payload[KEY_INDEX_HEADER.size :]
                for page in range(len(pages) // PAGE_SIZE):
                    page_at = page * PAGE_SIZE
                    sha.update(pages[page_at : page_at + 4])
        sha.update(self.data[self.toc_at : self.toc_at + FRAME_HEADER.size])
        sha.update(self.data[self.tail_at :])
        is_same = self.said["digest"] == "sha256:" + sha.hexdigest()
        require(is_same, "MCS016", None, "the segment has another digest")


class Piped(Segment):
    """One segment that is read front to back, as from a pipe: section 9.

    What was read is not kept, but for the headers of frames, and parts of values until the
    next block.
    """

    def __init__(self, stream, found):
        super().__init__(b"", found)
        self.stream, self.place = stream, 0
        self.is_sound = True

    def take(self, size, name):
        data = self.stream.read(size)
        require(len(data) == size, "MCS001", self.place, f"{name} is cut short")
        self.place += size
        return data

    def skip(self, size):
        for start in range(0, size, PAGE_SIZE):
            self.take(min(size - start, PAGE_SIZE), "frame")

    def records(self):
        """The records of each block as it comes. Once they all have come, tail and table of
        contents were right, too."""
        self.read_file_header(self.take(FILE_HEADER.size, "file header"))
        self.entries, before, count = [], -1, 0
        last = None
        while True:
            at, number = self.place, len(self.entries)
            start = self.take(4, "frame header")
            if start == TAIL_MAGIC[:4]:
                tail = start + self.take(TAIL.size - 4, "tail")
                self.read_end(last, tail, at, count)
                return
            start += self.take(FRAME_HEADER.size - 4, "frame header")
            frame = self.frame_header(start, at)
            is_next = frame.sequence == number
            require(is_next, "MCS006", at, f"frame header: sequence {frame.sequence}")  # F3
            is_legal = number > 0 or frame.type == META
            require(is_legal, "MCS007", at, "the first frame is not META")  # M1
            self.entries.append(frame)
            last = None
            if frame.type == TOC:
                is_legal = frame.stored_len <= TOC_LEN_MAX
                require(is_legal, "MCS008", at, "TOC: length")
                payload = self.take(frame.stored_len, "TOC")
                last = self.check_payload(frame, payload)
                continue
            if number > 0 and frame.type not in (BLOCK, VALUE_PART):
                self.skip(frame.stored_len)
                continue
            require(frame.stored_len <= PAYLOAD_LEN_MAX, "MCS008", at, "frame: stored_len")
            payload = self.take(frame.stored_len, "frame")
            if number == 0:
                self.check_meta(self.check_payload(frame, payload))
                continue
            try:
                if frame.type == VALUE_PART:
                    self.parts[number] = self.read_part(None, frame, payload)
                    continue
                records = self.read_block(None, frame, payload)
            except Damage as damage:
                self.damaged(damage)
                continue
            count += len(records)
            yield [record for record in map(self.whole(before, number), records) if record]
            self.parts.clear()
            before = number

    def whole(self, before, number):
        """Completes a record of block frame `number`; nothing if it cannot be used."""

        def complete(record):
            at = self.entries[number].offset
            try:
                if record.place:
                    value = self.parted_value(record, before, number)
                    if value is None:
                        return None
                    record = record._replace(value=value)
                is_same = xxh3_64(record.value) == record.value_hash
                key = escaped(record.key)
                require(is_same, "MCS012", at, f"the value of {key} has another hash")  # V1
            except Damage as damage:
                self.damaged(damage)
                return None
            return record

        return complete

    def damaged(self, damage):
        self.is_sound = False
        self.found(damage)

    def read_end(self, payload, tail, at, count):
        """The table of contents, which is the last frame, and the tail."""
        require(payload is not None, "MCS007", at, "the last frame is not the table of contents")
        *headers, frame = self.entries
        self.toc_at = frame.offset
        self.read_tail(tail, at)
        self.read_toc(payload)
        said = [(entry.type, entry.flags, entry.stored_len) for entry in self.entries]
        found = [(header.type, header.flags, header.stored_len) for header in headers]
        require(said == found, "MCS010", frame.offset, "TOC: not the frames that came")  # T5
        if self.is_sound:
            is_same = self.toc.record_count == count
            require(is_same, "MCS010", frame.offset, "TOC: not as many records as came")  # T6
        require(not self.stream.read(1), "MCS010", at, "tail: more follows")  # A3


def read_section(stored, longest, at):
    section = SECTION.read(stored, 0, at)
    require_known(section.flags == 0, "MCS004", at, "section: reserved flags")
    SECTION.check_reserved(section, at)
    require_known(section.codec in (0, 1), "MCS007", at, f"section: codec {section.codec}")  # B2
    require(section.raw_len <= longest, "MCS008", at, f"section: raw_len {section.raw_len}")  # B3
    is_legal = section.stored_len <= section.raw_len
    require(is_legal, "MCS008", at, "section: stored_len above raw_len")  # B3
    if section.codec == 0:
        is_legal = section.stored_len == section.raw_len
        require(is_legal, "MCS010", at, "section: plain, and of two lengths")
    return section


def unpack(section, stored, at):
    """The raw bytes of a section: B6, B7."""
    require(section.stored_crc == crc32(stored), "MCS003", at, "section: checksum as stored")
    raw = stored
    if section.codec == 1:
        try:
            require(stored[:4] == ZSTD_MAGIC, "MCS011", at, "section: no frame of RFC 8878")
            size = zstandard.get_frame_parameters(stored).content_size
            require(size == section.raw_len, "MCS011", at, f"section: content size {size}")
            # Once within the known size, then once more to see where it ends.
            raw = zstandard.ZstdDecompressor().decompress(stored)
            once_more = zstandard.ZstdDecompressor().decompressobj()
            once_more.decompress(stored)
        except zstandard.ZstdError as error:
            raise Damage("MCS011", at, f"section: {error}") from None
        require(len(raw) == section.raw_len, "MCS011", at, f"section: {len(raw)} bytes")
        require(not once_more.unused_data, "MCS011", at, "section: more than one frame")
    require(section.raw_crc == crc32(raw), "MCS003", at, "section: checksum of the raw bytes")
    return raw


def read_columns(raw, count, at):
    """5.6: the parts of all records by the column's name; keys as one piece."""
    header = COLUMNS_HEADER.read(raw, 0, at)
    COLUMNS_HEADER.check_reserved(header, at)
    require(header.column_count <= 255, "MCS007", at, "key section: column_count")
    place = COLUMNS_HEADER.size + header.column_count * COLUMN_ENTRY.size
    columns = {}
    last_id = 0
    for number in range(header.column_count):
        entry = COLUMN_ENTRY.read(raw, COLUMNS_HEADER.size + number * COLUMN_ENTRY.size, at)
        require_known(entry.flags & ~CRITICAL == 0, "MCS004", at, "column entry: reserved flags")
        require(entry.id > last_id, "MCS007", at, f"column {entry.id}: not ascending")  # K1
        last_id = entry.id
        name, kind = COLUMNS.get(entry.id, (None, None))
        is_readable = name or not entry.flags & CRITICAL
        require_known(is_readable, "MCS009", at, f"unknown critical column {entry.id}")  # K2
        part = raw[place : place + entry.len]
        place += entry.len
        if not name:
            continue
        require_known(entry.encoding == 0, "MCS007", at, f"{name}: encoding {entry.encoding}")  # K3
        columns[name] = part
        if kind:
            needed = struct.calcsize("<" + kind) * count
            require(entry.len == needed, "MCS010", at, f"{name}: {entry.len} bytes")  # K4
            # What goes past the section is found below.
            if len(part) == needed:
                columns[name] = struct.unpack(f"<{count}{kind}", part)
    require(place == len(raw), "MCS010", at, "the columns do not fill the key section")
    for name in REQUIRED_COLUMNS:  # K5
        require(name in columns, "MCS010", at, f"there is no {name}")
    lens = columns["KEY_LEN"]
    require(all(1 <= n <= KEY_LEN_MAX for n in lens), "MCS007", at, "KEY_LEN: not 1 to 250")  # K6
    require(sum(lens) == len(columns["KEY"]), "MCS010", at, "KEY: not the sum of KEY_LEN")
    places = [place for place in columns.get("VALUE_PLACE", ()) if place]
    is_ascending = all(one < other for one, other in zip(places, places[1:]))
    for pair in columns.get("ATTRIBUTES", ()):
        marks, known = pair & 0xFF, pair >> 8
        is_legal = (marks | known) >> len(MARKS) == 0
        require_known(is_legal, "MCS004", at, "ATTRIBUTES: a reserved bit")
        require(marks & ~known == 0, "MCS007", at, "ATTRIBUTES: a mark that is not known")
    require(is_ascending, "MCS007", at, "VALUE_PLACE: not ascending")  # K10
    return columns


def read_page(page, name, place, bits, at):
    """5.8; `place` is the id and the number that the checksum begins with, `bits` how many a
    fingerprint has, and how many blocks there are."""
    (seed, number), (fingerprint_bits, block_count) = place, bits
    header = PAGE_HEADER.read(page, 0, at)
    computed = crc32(seed, u32(number), page[4:])
    require(header.page_crc == computed, "MCS003", at, f"{name}: checksum")  # X1
    PAGE_HEADER.check_reserved(header, at)
    is_legal = header.entry_count == 0 or block_count > 0
    require(is_legal, "MCS010", at, f"{name}: entries, but no block")  # X3
    gap_bits, number_bits = header.gap_bits, max(block_count - 1, 0).bit_length()
    require(gap_bits <= fingerprint_bits, "MCS007", at, f"{name}: gap_bits {gap_bits}")
    # As text of ones and zeros, the first bit first.
    end = (PAGE_SIZE - PAGE_HEADER.size) * 8
    bits = f"{int.from_bytes(page[PAGE_HEADER.size :], 'little'):0{end}b}"[::-1]
    rows, place, fingerprint = [], 0, 0
    for _ in range(header.entry_count):
        zero = bits.find("0", place)
        gap_at = zero + 1
        number_at = gap_at + gap_bits
        is_whole = zero >= 0 and number_at + number_bits <= end
        require(is_whole, "MCS001", at, f"{name}: entry_count")
        fingerprint += (zero - place) << gap_bits
        fingerprint += int(bits[gap_at:number_at][::-1] or "0", 2)
        place = number_at + number_bits
        row = fingerprint, int(bits[number_at:place][::-1] or "0", 2)
        require(row[0] >> fingerprint_bits == 0, "MCS007", at, f"{name}: fingerprint")
        require(row[1] < block_count, "MCS008", at, f"{name}: block {row[1]}")
        require(not rows or rows[-1] <= row, "MCS007", at, f"{name}: not sorted")
        rows.append(row)
    require_known("1" not in bits[place:], "MCS004", at, f"{name}: the rest is not zero")
    return rows


def check_bounds(entry, columns, at):
    """Never_count and the bounds of the times."""
    exptimes = columns.get("EXPTIME", ())
    finite = [exptime for exptime in exptimes if exptime != NEVER]
    accesses = columns.get("LAST_ACCESS", ())
    bounds = {
        "never_count": len(exptimes) - len(finite),
        "exptime_min": min(finite, default=MASK64),
        "exptime_max": max(finite, default=0),
        "last_access_min": min(accesses, default=MASK64),
        "last_access_max": max(accesses, default=0),
    }
    for name, number in bounds.items():
        is_same = getattr(entry, name) == number
        require(is_same, "MCS010", at, f"table of contents: {name} is not that of the records")


def records_of(columns, values):
    count = len(columns["KEY_LEN"])
    optional = ("CLIENT_FLAGS", "EXPTIME", "LAST_ACCESS", "CAS", "SLAB_CLASS")
    rows = zip(
        columns["KEY_LEN"],
        columns["VALUE_LEN"],
        columns["VALUE_HASH"],
        *(columns.get(name, (None,) * count) for name in optional),
        columns.get("ATTRIBUTES", (0,) * count),
        columns.get("VALUE_PLACE", (0,) * count),
    )
    records = []
    key_at = value_at = 0
    for key_len, value_len, value_hash, *rest in rows:
        key = columns["KEY"][key_at : key_at + key_len]
        place = rest[-1]
        value_end = value_at if place else value_at + value_len
        value = values[value_at:value_end]
        records.append(Record(key, value, value_len, value_hash, *rest))
        key_at += key_len
        value_at = value_end
    return records


# --- Statistics, FORMAT.md 5.16 ------------------------------------------------

SECTIONS = "TOTAL VALUE_LEN EXPTIME LAST_ACCESS SLAB_CLASS CLIENT_FLAGS MARKS KEY_PREFIX LARGEST"
SECTIONS = dict(enumerate(SECTIONS.split(), 1))
NO_RECORDS = (0,) * 7
LARGEST_COUNT = 10


class Statistics:
    """What a STAT frame says; `at` is the offset of the frame."""

    def __init__(self, payload, at):
        self.at = at
        sections = self.split(payload)
        for number, name in SECTIONS.items():
            require(number in sections, "MCS007", at, f"statistics: no {name}")  # S2
            self.data, self.place, self.name = sections[number], 0, name
            setattr(self, name.lower(), getattr(self, "read_" + name.lower())())
            is_read = self.place == len(self.data)
            require(is_read, "MCS010", at, f"statistics: {name} is too long")  # S3
        self.check_sums()

    def split(self, payload):
        at, name = self.at, "statistics"
        header = STAT_HEADER.read(payload, 0, at)
        STAT_HEADER.check_reserved(header, at)
        end = STAT_HEADER.size + header.section_count * STAT_SECTION.size
        directory = []
        for place in range(STAT_HEADER.size, end, STAT_SECTION.size):
            entry = STAT_SECTION.read(payload, place, at)
            STAT_SECTION.check_reserved(entry, at)
            is_next = not directory or directory[-1].id < entry.id
            require(is_next, "MCS007", at, f"{name}: section {entry.id}")  # S2
            directory.append(entry)
        place, sections = end, {}
        for entry in directory:
            sections[entry.id] = payload[place : place + entry.len]
            place += entry.len
        is_long_enough = place == len(payload)
        require(is_long_enough, "MCS010", at, f"{name}: not as long as its sections")  # S1
        return sections

    def require(self, holds, code, text):
        require(holds, code, self.at, f"statistics: {self.name}: {text}")

    def bytes(self, count):
        piece = self.data[self.place : self.place + count]
        self.require(len(piece) == count, "MCS001", "cut short")  # S3
        self.place += count
        return piece

    def number(self, most=MASK64):
        number = 0
        for place in range(10):
            byte = self.bytes(1)[0]
            number |= (byte & 127) << 7 * place
            if number > MASK64:
                break
            if byte < 128:
                self.require(byte > 0 or place == 0, "MCS007", "a number too long")  # S4
                self.require(number <= most, "MCS008", f"{number} is too much")  # S5
                return number
        self.require(False, "MCS007", "a number of more than 64 bits")  # S4

    def tally(self):
        return tuple(self.number() for _ in NO_RECORDS)

    def row_tally(self):
        tally = self.tally()
        self.require(tally[0] > 0, "MCS007", "a row without records")  # S6
        return tally

    def next(self, before, most=MASK64):
        value = self.number() + (0 if before is None else before + 1)
        self.require(value <= most, "MCS008", f"value {value}")  # S5
        return value

    def spans(self):
        spans, last = [], None
        for _ in range(self.number()):
            first = self.next(last)
            last = first + self.number()
            self.require(last <= MASK64, "MCS008", f"value {last}")  # S5
            spans.append((first, last, self.row_tally()))
        return spans

    def rows(self, most=MASK64):
        rows, value = {}, None
        for _ in range(self.number()):
            value = self.next(value, most)
            rows[value] = self.row_tally()
        return rows

    def text(self):
        length = self.number(KEY_LEN_MAX)
        self.require(length > 0, "MCS007", "an empty text")  # S5
        return self.bytes(length)

    def read_total(self):
        return self.tally(), self.number(KEY_LEN_MAX), self.number(KEY_LEN_MAX)

    def read_value_len(self):
        return self.spans()

    def read_exptime(self):
        return self.tally(), self.spans()

    def read_last_access(self):
        return self.spans()

    def read_slab_class(self):
        return self.rows(255)

    def read_client_flags(self):
        return self.tally(), self.rows()

    def read_marks(self):
        return [(self.tally(), self.tally()) for _ in MARKS]

    def read_key_prefix(self):
        missed_max, unlisted_max, none = self.number(), self.number(), self.tally()
        rows, last = {}, b""
        for _ in range(self.number()):
            prefix = self.text()
            self.require(prefix > last, "MCS007", "not sorted")  # S5
            rows[prefix] = self.row_tally()
            last = prefix
        return missed_max, unlisted_max, none, rows

    def read_largest(self):
        return [self.read_large() for _ in range(self.number())]

    def read_large(self):
        value_len, key, told = self.number(MASK32), self.text(), self.bytes(1)[0]
        self.require(told < 32, "MCS004", "a reserved bit")
        self.require(told & 6 != 6, "MCS007", "finite, and never")  # S5
        flags = self.number() if told & 1 else None
        exptime = self.number() if told & 2 else NEVER if told & 4 else None
        access = self.number() if told & 8 else None
        slab_class = self.number(255) if told & 16 else None
        return value_len, key, flags, exptime, access, slab_class

    def check_sums(self):
        """S6"""
        total = self.total[0]
        is_same = added(tally for *_, tally in self.value_len) == total
        require(is_same, "MCS010", self.at, "statistics: VALUE_LEN: not the sum")
        never, exptimes = self.exptime
        unknown, flags = self.client_flags
        _, _, none, prefixes = self.key_prefix
        parts = [
            [never] + [tally for *_, tally in exptimes],
            [tally for *_, tally in self.last_access],
            self.slab_class.values(),
            [unknown, *flags.values()],
            [none, *prefixes.values()],
            *self.marks,
        ]
        for part in parts:
            is_part = all(one <= whole for one, whole in zip(added(part), total))
            require(is_part, "MCS010", self.at, "statistics: more than the total")

    def check(self, records):
        """S7, S8: counts all again."""
        tallies = [(record, tally_of(record)) for record in records]

        def check(holds, text):
            require(holds, "MCS010", self.at, f"statistics: {text} is not that of the records")

        def of(test):
            return added(tally for record, tally in tallies if test(record))

        def check_spans(name, spans, value_of):
            values = [(value_of(record), tally) for record, tally in tallies]
            for first, last, tally in spans:
                within = [
                    (value, one) for value, one in values
                    if value is not None and first <= value <= last
                ]
                ends = {value for value, _ in within}
                is_same = ends and (min(ends), max(ends)) == (first, last)
                check(is_same and added(one for _, one in within) == tally, name)

        lens = [len(record.key) for record in records]
        total = added(tally for _, tally in tallies)
        check(self.total == (total, min(lens, default=0), max(lens, default=0)), "TOTAL")
        check_spans("VALUE_LEN", self.value_len, lambda record: record.value_len)
        never, spans = self.exptime
        check(never == of(lambda record: record.exptime == NEVER), "EXPTIME")
        rest = added([never] + [tally for *_, tally in spans])
        check(rest == of(lambda record: record.exptime is not None), "EXPTIME")
        finite = lambda record: None if record.exptime == NEVER else record.exptime
        check_spans("EXPTIME", spans, finite)
        rest = added(tally for *_, tally in self.last_access)
        check(rest == of(lambda record: record.last_access is not None), "LAST_ACCESS")
        check_spans("LAST_ACCESS", self.last_access, lambda record: record.last_access)
        rest = added(self.slab_class.values())
        check(rest == of(lambda record: record.slab_class is not None), "SLAB_CLASS")
        for slab_class, tally in self.slab_class.items():
            check(tally == of(lambda record: record.slab_class == slab_class), "SLAB_CLASS")
        unknown, flags = self.client_flags
        check(unknown == of(lambda record: record.client_flags is None), "CLIENT_FLAGS")
        for value, tally in flags.items():
            check(tally == of(lambda record: record.client_flags == value), "CLIENT_FLAGS")
        for bit, (is_set, is_unset) in enumerate(self.marks):
            known = 1 << bit + 8
            both = known | 1 << bit
            check(is_set == of(lambda record: record.attributes & both == both), "MARKS")
            check(is_unset == of(lambda record: record.attributes & both == known), "MARKS")
        self.check_prefixes(tallies, check)
        order = sorted(records, key=lambda record: (-record.value_len, record.key))
        largest = [
            (record.value_len, record.key, record.client_flags, record.exptime,
             record.last_access, record.slab_class)
            for record in order[:LARGEST_COUNT]
        ]
        check(self.largest == largest, "LARGEST")

    def check_prefixes(self, tallies, check):
        missed_max, unlisted_max, none, rows = self.key_prefix
        sums = collections.defaultdict(list)
        for record, tally in tallies:
            for prefix in prefixes_of(record.key) or [None]:
                sums[prefix].append(tally)
        check(none == added(sums[None]), "KEY_PREFIX")
        for prefix in {*rows, *sums} - {None}:
            has = added(sums[prefix])
            listed = added(
                tally for row, tally in rows.items() if prefix in prefixes_of(row) or row == prefix
            )
            is_there = all(one <= all_ for one, all_ in zip(listed, has))
            most = missed_max if prefix in rows else unlisted_max
            check(is_there and has[3] - listed[3] <= most, "KEY_PREFIX")  # S8


def added(tallies):
    return tuple(map(sum, zip(NO_RECORDS, *tallies)))


def chunk_sizes():
    sizes = [96]
    while len(sizes) < 38:
        sizes.append((sizes[-1] * 5 // 4 + 7) // 8 * 8)
    return sizes + [524_288]


CHUNK_SIZES = chunk_sizes()


def tally_of(record):
    flags = record.client_flags
    flag_bytes = 0 if not flags else 4 if flags <= MASK32 else 8
    value_len = record.value_len
    item = 59 + len(record.key) + value_len + flag_bytes
    slab_class = class_with_room(item)
    if record.slab_class != slab_class:
        chunks = item
    elif item <= CHUNK_SIZES[-1]:
        chunks = CHUNK_SIZES[slab_class - 1]
    else:
        head, data = item - value_len - 2, value_len + 2
        rest = data % 524_240
        chunks = CHUNK_SIZES[class_with_room(head + 48) - 1] + data // 524_240 * 524_288
        chunks += CHUNK_SIZES[class_with_room(rest + 48) - 1] if rest else 0
    is_known = record.slab_class is not None
    is_default = record.slab_class == slab_class
    return 1, len(record.key), value_len, item, chunks, int(is_known), int(is_default)


def class_with_room(size):
    fits = (n for n, chunk in enumerate(CHUNK_SIZES, 1) if chunk >= size)
    return next(fits, len(CHUNK_SIZES))


def prefixes_of(key):
    """The prefixes of a key, the shortest first."""
    for delimiter in (bytes([byte]) for byte in b":/_-."):
        pattern = b"%s*(?:[^%s]+%s+)" % ((re.escape(delimiter),) * 3)
        ends = []
        for count in b"123":
            found = re.match(pattern + b"{%c}" % count, key, re.DOTALL)
            if found:
                ends.append(found.end())
        if ends:
            return [without_numbers(key[:end], delimiter) for end in ends]
    return []


def without_numbers(prefix, delimiter):
    version = re.match(b"%s+[0-9]{1,2}(?=%s)" % ((re.escape(delimiter),) * 2), prefix)
    kept = version.group() if version else b""
    number = b"(?=[0-9a-fA-F]{8})[a-fA-F]*[0-9][0-9a-fA-F]*|[0-9]+"
    return kept + re.sub(number, b"#", prefix[len(kept) :])


# --- Hashes and digests, FORMAT.md 6 -----------------------------------------

DIGESTS = ("content_digest", "content_digest_exptime")


def shard_of(key, bits):
    return xxh3_64(key) >> (64 - bits)


def leads_to(index, key, block):
    """Says whether the look-up of a key names its block."""
    header, pages = index
    hash128 = xxh3_128(key, header.seed)
    page = (hash128 >> 64) * header.page_count >> 64
    fingerprint = hash128 % (1 << FINGERPRINT_BITS)
    return (fingerprint, block) in pages[page] if pages else False


def content_digests(records):
    """The sums over all records, without and with the exptime."""
    plain = with_exptime = 0
    for record in records:
        flags_known = record.client_flags is not None
        exptime_known = record.exptime is not None
        rest = u64(record.client_flags or 0) + u64(record.value_hash)
        plain += xxh3_128(record.key + bytes([flags_known]) + rest)
        known = bytes([flags_known | exptime_known << 1])
        with_exptime += xxh3_128(record.key + known + rest + u64(record.exptime or 0))
    return plain & MASK128, with_exptime & MASK128


# --- Text, FORMAT.md 5.4 and 5.12 --------------------------------------------


def text(found):
    return isinstance(found, str)


def number(bits):
    return lambda found: type(found) is int and 0 <= found < 1 << bits


def decimal(found):
    return text(found) and found.isascii() and found.isdigit() and int(found) < 1 << 64


def offset(found):
    if not text(found) or not re.fullmatch(r"(-?\d+)?", found, re.ASCII):
        return False
    return found == "" or -(1 << 63) <= int(found) < 1 << 63


def hexadecimal(size):
    digits = frozenset("0123456789abcdefABCDEF")
    return lambda found: text(found) and len(found) == 2 * size and digits.issuperset(found)


def nullable(kind):
    return lambda found: found is None or kind(found)


def list_of(kind):
    return lambda found: isinstance(found, list) and all(kind(each) for each in found)


def map_of(kind):
    return lambda found: isinstance(found, dict) and all(kind(each) for each in found.values())


def members(required, optional=()):
    """An object with these members; any other is ignored."""
    optional = dict(optional)

    def holds(found):
        if not isinstance(found, dict):
            return False
        for name, kind in {**required, **optional}.items():
            if name not in found and name in required:
                raise ValueError(f"{name} is missing")
            if name in found.twice:
                raise ValueError(f"{name} stands twice")
            if name in found and not kind(found[name]):
                raise ValueError(f"{name} cannot be understood")
        return True

    return holds


class Members(dict):
    """An object that remembers which members stood twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        counts = collections.Counter(name for name, _ in pairs)
        self.twice = {name for name, count in counts.items() if count > 1}


def no_constant(word):
    raise ValueError(f"{word} is not JSON")


def parse(data, kind):
    """The value of a JSON text of some kind; a ValueError says what is wrong."""
    try:
        found = json.loads(
            bytes(data).decode("utf-8"), object_pairs_hook=Members, parse_constant=no_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not kind(found):
        raise ValueError("not an object")
    return found


FEATURES = members({}, {job: list_of(text) for job in ("read", "restore", "verify")})
FEATURES_TEXT = members({}, {"features": FEATURES})

META_TEXT = members(
    {"segment_id": hexadecimal(16), "snapshot_id": hexadecimal(16), "sync_marker": hexadecimal(8)},
    {
        "features": FEATURES,
        "snapshot_name": text,
        "node": text,
        "node_index": number(32),
        "worker": number(32),
        "attempt": number(32),
        "shard_index": decimal,
        "shard_bits": number(8),
        "sequence": number(32),
        "clock_offset": offset,
        "clock": text,
        "compression": text,
        "server_version": text,
        "tool": text,
        "created_at": text,
    },
)

VERSION = members({"major": number(32), "minor": number(32)})

LOSSES = ("refused", "failed", "missing")
OUTCOMES = ("stored", "vanished", "expired", "duplicate", "filtered", *LOSSES)

NODE = members(
    {
        "address": text,
        "server_version": text,
        "pid": decimal,
        "server_started_at": decimal,
        "clock_offset": offset,
        "walk": text,
        "shard_bits": number(8),
        "items_start": decimal,
        "items_end": decimal,
        "counters": members({}, {name: decimal for name in ("listed", *OUTCOMES)}),
    },
    {
        "unlisted": decimal,
        "unsure": decimal,
        "reasons": map_of(decimal),
        "failure": nullable(text),
        "look_ups": list_of(
            members({"id": hexadecimal(16), "pages": number(32), "blocks": number(32)})
        ),
    },
)

SEGMENT = members(
    {
        "object": text,
        "segment_id": hexadecimal(16),
        "size": decimal,
        "digest": text,
        "node_index": number(32),
        "shard_index": decimal,
        "sequence": number(32),
        "records": decimal,
        "blocks": decimal,
        "key_bytes": decimal,
        "value_bytes": decimal,
        "content_digest": hexadecimal(16),
        "content_digest_exptime": hexadecimal(16),
    }
)

# The best first.
VERDICTS = ("complete", "unsure", "lossy", "partial")
PART = members(
    {
        "object": text,
        "size": decimal,
        "checksum": text,
        "first_node": number(32),
        "last_node": number(32),
    }
)

SUMS = ("size", "records", "key_bytes", "value_bytes")

MANIFEST_TEXT = members(
    {
        "format": text,
        "version": VERSION,
        "snapshot_id": hexadecimal(16),
        "name": text,
        "token": text,
        "tool": text,
        "started_at": text,
        "finished_at": text,
        "shard_hash": members({"algorithm": text, "seed": text}),
        "nodes": list_of(NODE),
        "segments": list_of(SEGMENT),
        "totals": members({name: decimal for name in ("segments", *SUMS)}),
        "content_digest": hexadecimal(16),
        "content_digest_exptime": hexadecimal(16),
        "verdict": lambda found: found in VERDICTS,
    },
    {
        "features": FEATURES,
        "parts": list_of(PART),
        "ring": nullable(text),
        "select": nullable(text),
    },
)

PART_ENVELOPE = members({}, {"version": VERSION})

PART_TEXT = members(
    {
        "format": text,
        "version": VERSION,
        "snapshot_id": hexadecimal(16),
        "segments": list_of(SEGMENT),
    }
)

RECORD_TEXT = members(
    {
        "format": text,
        "version": VERSION,
        "snapshot_id": hexadecimal(16),
        "manifest": text,
        "tool": text,
        "started_at": text,
        "finished_at": text,
        "depth": text,
        "result": text,
        "findings": map_of(decimal),
    },
    {"features": FEATURES},
)

# What any major version has, and what is looked at before the rest.
ENVELOPE = members(
    {},
    {
        "format": text,
        "version": VERSION,
        "features": lambda found: True,
        "verdict": lambda found: True,
    },
)

CHECKSUM_START = b',\n  "checksum": "sha256:'
CHECKSUM_END = b'"\n}\n'


def check_seal(data, name):
    """N3; returns the checksum."""
    body, digits = data[: -64 - len(CHECKSUM_END)], data[-64 - len(CHECKSUM_END) :][:64]
    is_there = body.endswith(CHECKSUM_START) and data.endswith(CHECKSUM_END)
    require(is_there, "MCS015", None, f"{name}: does not end with its checksum")
    sha = hashlib.sha256(body + b"0" * 64 + CHECKSUM_END).hexdigest()
    require(digits == sha.encode(), "MCS016", None, f"{name}: checksum")
    return f"sha256:{sha}"


def read_manifest(data):
    """5.12, without what needs the segments."""
    require(len(data) <= MANIFEST_LEN_MAX, "MCS008", None, "manifest: length")  # N1
    try:
        envelope = parse(data, ENVELOPE)
        if envelope.get("format") == "mcsnap-encrypted":  # N1
            raise newer(None, "an encrypted manifest")
        if envelope.get("format") != "mcsnap":
            raise NoSnapshot("the manifest's format is not mcsnap: this is no snapshot")
        version = envelope.get("version", {"major": 1, "minor": 0})
        check_major(version["major"], version["minor"], None)  # N2
        check_seal(data, "manifest")
        check_features(data, None)  # N5
        verdict = envelope.get("verdict")
        if isinstance(verdict, str) and verdict not in VERDICTS and version["minor"] > 0:  # N4
            words = f"verdict {escaped(verdict.encode())}, in format version 1.{version['minor']}"
            raise newer(None, words)
        manifest = parse(data, MANIFEST_TEXT)
    except ValueError as error:
        raise Damage("MCS015", None, f"manifest: {error}") from None
    nodes = manifest["nodes"]
    for name in ("started_at", "finished_at"):  # N12
        require(is_moment(manifest[name]), "MCS015", None, f"manifest: {name}")
    check_part_names(manifest)
    for node in nodes:
        is_legal = len(node["address"].encode()) <= NODE_ADDRESS_LEN_MAX
        require(is_legal, "MCS008", None, "manifest: address")  # N6
        require(node["shard_bits"] <= 64, "MCS007", None, "manifest: shard_bits")
        look_ups = node.get("look_ups", [])  # N17
        is_legal = not look_ups or len(look_ups) == 1 << node["shard_bits"]
        require(is_legal, "MCS010", None, "manifest: number of look_ups")
        for look_up in look_ups:
            is_legal = (look_up["pages"] == 0) == (look_up["blocks"] == 0)
            require(is_legal, "MCS010", None, "manifest: pages of a look-up object")
    stored = sum(int(node["counters"].get("stored", 0)) for node in nodes)  # N7
    is_same = stored == int(manifest["totals"]["records"])
    require(is_same, "MCS010", None, "manifest: counters.stored")
    for node in nodes:
        counters = node["counters"]
        accounted = sum(int(counters.get(name, 0)) for name in OUTCOMES)
        is_same = int(counters.get("listed", 0)) == accounted
        require(is_same, "MCS010", None, "manifest: counters.listed")
    verdict, told = manifest["verdict"], VERDICTS.index(verdict_of(nodes))
    is_legal = VERDICTS.index(verdict) >= told
    require(is_legal, "MCS010", None, f"manifest: verdict {verdict}")  # N20
    return manifest


def verdict_of(nodes):
    """The worst that one of the nodes gives."""
    if any(node.get("failure") is not None for node in nodes):
        return "partial"
    losses = sum(
        int(node["counters"].get(name, 0)) for node in nodes for name in LOSSES
    ) + sum(int(node.get("unlisted", 0)) for node in nodes)
    if losses:
        return "lossy"
    return "unsure" if any(int(node.get("unsure", 0)) for node in nodes) else "complete"


def check_object(name, where="manifest"):
    """N6"""
    is_legal = is_plain_path(name)
    require(is_legal, "MCS015", None, f"{where}: object {escaped(name.encode())}")


def check_part_names(manifest):
    """N13"""
    parts = manifest.get("parts", [])
    is_legal = not (parts and manifest["segments"])
    require(is_legal, "MCS015", None, "manifest: segments and parts")
    names, last_node = set(), 0
    for part in parts:
        check_object(part["object"])
        require(part["object"] not in names, "MCS015", None, "manifest: a part twice")
        names.add(part["object"])
        nodes = last_node, part["first_node"], part["last_node"]
        is_legal = list(nodes) == sorted(nodes) and nodes[-1] < len(manifest["nodes"])
        require(is_legal, "MCS015", None, "manifest: nodes of the parts")
        last_node = part["last_node"]


def check_record(data, manifest):
    """5.17"""
    name = "record of a verification"
    require(len(data) <= MANIFEST_PART_LEN_MAX, "MCS008", None, f"{name}: length")
    try:
        envelope = parse(data, ENVELOPE)
        is_legal = envelope.get("format") == "mcsnap-verification"
        require(is_legal, "MCS015", None, f"{name}: format")
        version = envelope.get("version", {"major": 1, "minor": 0})
        check_major(version["major"], version["minor"], None)
        check_seal(data, name)
        check_features(data, None)
        record = parse(data, RECORD_TEXT)
    except ValueError as error:
        raise Damage("MCS015", None, f"{name}: {error}") from None
    is_known = record["depth"] in ("quick", "data", "deep")
    is_known = is_known and record["result"] in ("sound", "damaged", "unsure")
    require(is_known, "MCS015", None, f"{name}: depth or result")
    for moment in ("started_at", "finished_at"):
        require(is_moment(record[moment]), "MCS015", None, f"{name}: {moment}")
    is_same = record["snapshot_id"].lower() == manifest["snapshot_id"].lower()
    require(is_same, "MCS005", None, f"{name}: of another snapshot")  # Y2


def check_segments(manifest):
    """N6, N7 and N17 to N19, of the segments."""
    segments = manifest["segments"]
    last, ids, blocks = None, set(), collections.Counter()
    for segment in segments:
        check_named(segment, manifest)
        shard = segment["node_index"], int(segment["shard_index"])
        place = (*shard, segment["sequence"])
        in_order = last is None or last < place
        require(in_order, "MCS015", None, f"manifest: order of {segment['object']}")  # N18
        last, segment_id = place, segment["segment_id"].lower()
        require(segment_id not in ids, "MCS015", None, f"manifest: {segment_id} stands twice")
        ids.add(segment_id)
        blocks[shard] += int(segment["blocks"])
    for number, node in enumerate(manifest["nodes"]):
        for shard, look_up in enumerate(node.get("look_ups", [])):
            is_same = look_up["blocks"] == blocks[number, shard]
            require(is_same, "MCS010", None, "manifest: blocks of a look-up object")  # N17
    totals = {name: sum(int(segment[name]) for segment in segments) for name in SUMS}
    totals["segments"] = len(segments)
    for name, total in totals.items():  # N7
        require(int(manifest["totals"][name]) == total, "MCS010", None, f"manifest: totals.{name}")
    for name in DIGESTS:
        total = sum(int(segment[name], 16) for segment in segments) & MASK128
        require(int(manifest[name], 16) == total, "MCS016", None, f"manifest: {name}")


def check_named(segment, manifest):
    """N6, N18 and N19"""
    check_object(segment["object"])
    is_legal = segment["node_index"] < len(manifest["nodes"])
    require(is_legal, "MCS010", None, "manifest: node_index")
    is_legal = re.fullmatch(r"sha256:[0-9a-f]{64}", segment["digest"])
    require(is_legal, "MCS015", None, "manifest: digest")
    node, shard = manifest["nodes"][segment["node_index"]], int(segment["shard_index"])
    is_legal = shard >> node["shard_bits"] == 0
    require(is_legal, "MCS015", None, f"manifest: shard_index {shard}")  # N18
    if node.get("look_ups"):  # N19
        place = f"n{segment['node_index']:04}-s{shard:03}-{segment['sequence']:05}"
        name = f"segments/{place}-{segment['segment_id'][:8].lower()}.mcs"
        require(segment["object"] == name, "MCS010", None, f"manifest: object is not {name}")


def read_part(data, said, manifest):
    """5.13; returns the segments."""
    name = "part of the manifest"
    require(len(data) == int(said["size"]), "MCS010", None, f"{name}: size")  # N14
    require(len(data) <= MANIFEST_PART_LEN_MAX, "MCS008", None, f"{name}: length")
    try:
        version = parse(data, PART_ENVELOPE).get("version")
    except ValueError:
        version = None
    if version:
        check_major(version["major"], version["minor"], None)  # N15
    checksum = check_seal(data, name)
    require(checksum == said["checksum"], "MCS016", None, f"{name}: not that of the manifest")
    try:
        part = parse(data, PART_TEXT)
    except ValueError as error:
        raise Damage("MCS015", None, f"{name}: {error}") from None
    require(part["format"] == "mcsnap-part", "MCS015", None, f"{name}: format")  # N15
    is_same = part["snapshot_id"].lower() == manifest["snapshot_id"].lower()
    require(is_same, "MCS005", None, f"{name}: of another snapshot")
    for segment in part["segments"]:  # N16
        is_legal = said["first_node"] <= segment["node_index"] <= said["last_node"]
        require(is_legal, "MCS010", None, f"{name}: node_index")
    for segment in part["segments"]:
        check_named(segment, manifest)
    return part["segments"]


MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def is_moment(text):
    """Section 2."""
    if not MOMENT.fullmatch(text):
        return False
    try:
        moment = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return False
    return datetime.datetime(1970, 1, 1) <= moment < datetime.datetime(9999, 12, 30)


def is_plain_path(name):
    return not any(
        not part or part.startswith(".") or part.endswith(".partial") for part in name.split("/")
    ) and not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name)


# --- Output -------------------------------------------------------------------


def escaped(key):
    """Printable ASCII as it is, a backslash doubled, any other byte as \\xNN."""
    return "".join(
        "\\\\" if byte == 0x5C else chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
        for byte in key
    )


def line_of(record, node, with_value):
    marks, known = record.attributes & 0xFF, record.attributes >> 8
    line = {
        "key": escaped(record.key),
        "node": node,
        "value_len": len(record.value),
        "value_hash": f"{record.value_hash:016x}",
        "client_flags": None if record.client_flags is None else str(record.client_flags),
        "exptime": "never" if record.exptime == NEVER else record.exptime,
        "last_access": record.last_access,
        "cas": None if record.cas is None else str(record.cas),
        "slab_class": record.slab_class,
        "marks": {
            name: bool(marks >> bit & 1) for bit, name in enumerate(MARKS) if known >> bit & 1
        },
    }
    if with_value:
        line["value_base64"] = base64.b64encode(record.value).decode()
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class Reading:
    """One run: what was asked for, and how many findings there are."""

    def __init__(self, is_check, with_values):
        self.is_check, self.with_values = is_check, with_values
        self.finding_count = 0
        # What names in findings start with.
        self.prefix = ""
        # The segments of a snapshot without findings, by their names.
        self.sound = {}

    def finding(self, name, damage):
        self.finding_count += 1
        offset = "-" if damage.offset is None else damage.offset
        out = sys.stdout if self.is_check else sys.stderr
        print(f"{damage.code} {self.prefix}{name} {offset}: {damage.text}", file=out)

    def segment(self, name, data, said=None, manifest=None):
        def found(damage):
            self.finding(name, damage)

        segment = Segment(data, found, said)
        try:
            segment.open()
            if said:
                check_said(said, manifest, segment)
        except Damage as damage:
            segment.found(damage)
            return
        shard = None
        if said:
            node = manifest["nodes"][said["node_index"]]
            shard = int(said["shard_index"]), node["shard_bits"]
        before = self.finding_count
        segment.read(shard)
        if self.finding_count == before:
            self.sound[name] = segment
        address = node["address"] if said else segment.meta.get("node", "")
        if not self.is_check:
            for records in segment.blocks:
                for record in records or ():
                    print(line_of(record, address, self.with_values))

    def piped(self, stream):
        segment = Piped(stream, lambda damage: self.finding("-", damage))
        try:
            for records in segment.records():
                for record in () if self.is_check else records:
                    print(line_of(record, segment.meta.get("node", ""), self.with_values))
        except Damage as damage:
            segment.found(damage)

    def snapshot(self, directory):
        with open(os.path.join(directory, "manifest.json"), "rb") as file:
            data = file.read()
        name = "manifest.json"
        try:
            manifest = read_manifest(data)
            for said in manifest.get("parts", []):
                name = said["object"]
                manifest["segments"] += read_part(part_of(directory, name), said, manifest)
            name = "manifest.json"
            check_segments(manifest)
        except Damage as damage:
            self.finding(name, damage)
            return
        for said in manifest["segments"]:
            name = said["object"]
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                self.finding(name, Damage("MCS017", None, "the segment is missing"))  # N8
                continue
            if len(data) != int(said["size"]):
                words = f"{len(data)} bytes, not {said['size']}"
                self.finding(name, Damage("MCS018", None, words))  # N8
                continue
            self.segment(name, data, said, manifest)
        self.shards(directory, manifest)
        for name in strays(directory, manifest):
            self.finding(name, Damage("MCS019", None, "the manifest does not name this"))  # N10
        for name in records(directory):
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    check_record(file.read(), manifest)  # Y1
            except Damage as damage:
                words = f"the record of a verification cannot be used: {damage.text}"
                self.finding(name, Damage("MCS024", None, words))
        verdict = manifest["verdict"]
        if verdict != "complete":
            self.finding(".", Damage("MCS020", None, f"the snapshot is {verdict}"))  # N11


    def shards(self, directory, manifest):
        """K9 and 5.15, of the shards whose segments are all sound."""
        shards = {}
        for said in manifest["segments"]:
            place = said["node_index"], int(said["shard_index"])
            shards.setdefault(place, []).append(said)
        for number, node in enumerate(manifest["nodes"]):
            for shard in range(len(node.get("look_ups", []))):
                shards.setdefault((number, shard), [])
        for place, named in sorted(shards.items()):
            look_ups = manifest["nodes"][place[0]].get("look_ups", [])
            look_up = look_ups[place[1]] if place[1] < len(look_ups) else None
            segments = [self.sound.get(said["object"]) for said in named]
            if all(segments):
                seen = set()
                for segment in segments:
                    for key in sorted(record.key for block in segment.blocks for record in block):
                        if key in seen:
                            words = f"{escaped(key)} stands twice in its shard"
                            self.finding(".", Damage("MCS023", None, words))  # K9
                        seen.add(key)
            if not look_up or look_up["blocks"] == 0:
                continue
            name = f"look-ups/{look_up['id'].lower()}.mcl"
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                damage = Damage("MCS017", None, "the look-up object is missing")  # U1
                self.finding(name, damage)
                continue
            try:
                pages, entries = read_look_up(data, look_up, place, manifest, named)
                if all(segments):
                    check_look_up(look_up, pages, entries, named, segments)
            except Damage as damage:
                self.finding(name, damage)


def read_look_up(data, look_up, place, manifest, named):
    """5.15; returns the entries of the pages, and those of the blocks."""
    name = "look-up object"
    is_long_enough = len(data) >= LOOK_UP_HEADER.size
    require(is_long_enough, "MCS010", None, f"{name}: length")  # U1
    header = LOOK_UP_HEADER.read(data, 0, 0)
    require(header.magic == LOOK_UP_MAGIC, "MCS002", 0, f"{name}: magic")
    require(header.header_crc == crc32(data[:76]), "MCS003", 0, f"{name}: checksum")
    check_major(header.major, header.minor, 0)  # U2
    try:
        return read_known_look_up(data, header, look_up, place, manifest, named)
    except Damage as damage:
        raise judged(damage, header.minor) from None


def read_known_look_up(data, header, look_up, place, manifest, named):
    """The same, of this major version."""
    name, page_count, block_count = "look-up object", look_up["pages"], look_up["blocks"]
    pages_at = LOOK_UP_HEADER.size
    blocks_at = pages_at + page_count * PAGE_SIZE
    end = blocks_at + block_count * LOOK_UP_BLOCK.size
    LOOK_UP_HEADER.check_reserved(header, 0)
    require(len(data) == end, "MCS010", None, f"{name}: length")  # U1
    ids = header.look_up_id.hex(), header.snapshot_id.hex()
    is_same = ids == (look_up["id"].lower(), manifest["snapshot_id"].lower())
    require(is_same, "MCS005", 0, f"{name}: other ids than in the manifest")
    records = sum(int(said["records"]) for said in named)
    said = header.node_index, header.shard_index, header.page_count, header.block_count
    is_same = said == (*place, page_count, block_count)
    require(is_same, "MCS010", 0, f"{name}: not as the manifest says")
    require(header.entry_count == records, "MCS010", 0, f"{name}: entry_count")  # U4
    pages = [
        read_page(
            data[start : start + PAGE_SIZE],
            f"page {number} of the look-up object",
            (header.look_up_id, number),
            (LOOK_UP_FINGERPRINT_BITS, block_count),
            start,
        )
        for number, start in enumerate(range(pages_at, blocks_at, PAGE_SIZE))
    ]
    require(sum(map(len, pages)) == records, "MCS010", 0, f"{name}: sum of the pages' entries")
    entries = []
    for number, start in enumerate(range(blocks_at, end, LOOK_UP_BLOCK.size)):
        entry = LOOK_UP_BLOCK.read(data, start, start)
        computed = crc32(header.look_up_id, u32(number), data[start : start + 40])
        require(entry.entry_crc == computed, "MCS003", start, f"{name}: checksum")  # U3
        LOOK_UP_BLOCK.check_reserved(entry, start)
        entries.append(entry)
    return pages, entries


def check_look_up(look_up, pages, entries, named, segments):
    """U5 and U6."""
    seed = int.from_bytes(bytes.fromhex(look_up["id"])[:8], "little")
    wanted = [[] for _ in pages]
    blocks = []
    for said, segment in zip(named, segments):
        frames = [entry for entry in segment.entries if entry.type == BLOCK]
        for number, (frame, records) in enumerate(zip(frames, segment.blocks)):
            for record in records:
                hash128 = xxh3_128(record.key, seed)
                page = (hash128 >> 64) * len(pages) >> 64
                fingerprint = hash128 % (1 << LOOK_UP_FINGERPRINT_BITS)
                wanted[page].append((fingerprint, len(blocks)))
            blocks.append(
                (segment.ids.segment_id, said["sequence"], number, frame.offset, frame.key_stored_len)
            )
    is_same = len(entries) == len(blocks)
    require(is_same, "MCS010", 0, "look-up object: number of blocks")  # U5
    entries_at = LOOK_UP_HEADER.size + len(pages) * PAGE_SIZE
    for number, (entry, block) in enumerate(zip(entries, blocks)):
        at = entries_at + number * LOOK_UP_BLOCK.size
        is_same = tuple(entry)[:5] == block
        require(is_same, "MCS010", at, "look-up object: not that block of the shard")
    for number, (found, due) in enumerate(zip(pages, wanted)):
        at = LOOK_UP_HEADER.size + number * PAGE_SIZE
        is_same = sorted(found) == sorted(due)
        require(is_same, "MCS013", at, "look-up object: does not lead to each key")  # U6


def check_said(said, manifest, segment):
    """N8, as far as tail and TOC tell."""
    is_same = (said["segment_id"].lower(), manifest["snapshot_id"].lower()) == (
        segment.ids.segment_id.hex(),
        segment.ids.snapshot_id.hex(),
    )
    require(is_same, "MCS005", None, "other ids than in the manifest")
    toc = segment.toc
    sums = {
        "records": toc.record_count,
        "blocks": segment.block_count,
        "key_bytes": toc.key_bytes,
        "value_bytes": toc.value_bytes,
    }
    for name, found in sums.items():
        if int(said[name]) != found:
            segment.found(Damage("MCS010", None, f"TOC: not the {name} in the manifest"))
    for name, found in segment.toc_digests().items():
        if said[name].lower() != found:
            segment.found(Damage("MCS016", None, f"TOC: not the {name} in the manifest"))


def part_of(directory, name):
    try:
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise Damage("MCS017", None, "the part of the manifest is missing") from None  # N14


def records(directory):
    folder = os.path.join(directory, "verifications")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [f"verifications/{name}" for name in names if name.endswith(".json")]


def strays(directory, manifest):
    named = {said["object"] for said in manifest["segments"] + manifest.get("parts", [])}
    for node in manifest["nodes"]:
        look_ups = [look_up for look_up in node.get("look_ups", []) if look_up["blocks"]]
        named |= {f"look-ups/{look_up['id'].lower()}.mcl" for look_up in look_ups}
    for below in ("segments", "parts", "look-ups"):
        for folder, folders, files in os.walk(os.path.join(directory, below)):
            folders.sort()
            for file in sorted(files):
                name = os.path.relpath(os.path.join(folder, file), directory)
                if name not in named:
                    yield name


def main(arguments):
    options = [argument for argument in arguments if argument.startswith("--")]
    places = [argument for argument in arguments if not argument.startswith("--")]
    if not places or not set(options) <= {"--check", "--values"}:
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8")
    reading = Reading("--check" in options, "--values" in options)
    is_any_unread = False
    for place in places:
        is_snapshot = os.path.isdir(place)
        if len(places) > 1:
            folder = place if is_snapshot else os.path.dirname(place)
            reading.prefix = os.path.join(folder, "")
        try:
            if place == "-":
                reading.piped(sys.stdin.buffer)
            elif is_snapshot:
                reading.snapshot(place)
            else:
                with open(place, "rb") as file:
                    reading.segment(os.path.basename(place), file.read())
        except BrokenPipeError:
            raise
        except (OSError, NoSnapshot) as error:
            print(f"read_snapshot: {place}: {error}", file=sys.stderr)
            is_any_unread = True
    return 1 if is_any_unread else 3 if reading.finding_count else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        # Whoever read this has seen enough; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
