"""What `hf_xet` uploads, put together again: xorbs (packed chunks) and shards (which chunks make which file).

The formats are those of the Xet protocol specification (huggingface.co/docs/xet: "Xorb format", "Shard format"). A
hash is written as four little-endian words of 64 bits, each as 16 hexadecimal digits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

RECORD = 48  # bytes of a shard's header and of every entry in it
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30
LAST = b"\xff" * 32  # the hash of the entry that ends a section
PLAIN, LZ4, BYTE_GROUPED_LZ4 = 0, 1, 2


@dataclass(frozen=True)
class Segment:
    """A range of chunks of a xorb."""

    xorb: str
    first: int
    end: int


@dataclass
class XetStore:
    """Uploaded xorbs and files by their sha256."""

    xorbs: dict[str, list[bytes]] = field(default_factory=dict)
    files: dict[str, list[Segment]] = field(default_factory=dict)

    def put_xorb(self, name: str, body: bytes) -> bool:
        """Unpack a xorb's chunks; False if it was there."""
        is_new = name not in self.xorbs
        self.xorbs[name] = list(_chunks(body))
        return is_new

    def put_shard(self, body: bytes) -> None:
        """Learn the files that a shard describes. Raises ValueError for a file whose xorbs never came."""
        for sha256, segments in _files(body):
            if missing := {segment.xorb for segment in segments} - self.xorbs.keys():
                raise ValueError(f"xorbs that were not uploaded: {sorted(missing)}")
            self.files[sha256] = segments

    def file(self, sha256: str) -> bytes | None:
        """The bytes of a file; None if no shard described it."""
        segments = self.files.get(sha256)
        if segments is None:
            return None
        return b"".join(chunk for part in segments for chunk in self.xorbs[part.xorb][part.first : part.end])


def hash_text(raw: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))


def _chunks(body: bytes) -> list[bytes]:
    chunks, at = [], 0
    while at + 8 <= len(body) and body[at] == 0:  # version 0; a footer begins with letters
        packed = int.from_bytes(body[at + 1 : at + 4], "little")
        scheme, size = body[at + 4], int.from_bytes(body[at + 5 : at + 8], "little")
        chunks.append(_unpack(body[at + 8 : at + 8 + packed], scheme, size))
        at += 8 + packed
    return chunks


def _unpack(data: bytes, scheme: int, size: int) -> bytes:
    if scheme == PLAIN:
        return data
    import pyarrow

    plain = pyarrow.decompress(data, decompressed_size=size, codec="lz4", asbytes=True)
    return plain if scheme == LZ4 else _ungrouped(plain)


def _ungrouped(data: bytes) -> bytes:
    """Bytes 0, 4, 8, ... come first, then 1, 5, 9, ...: what weights of 32 bits compress better as."""
    plain, at = bytearray(len(data)), 0
    for offset in range(4):
        count = len(range(offset, len(data), 4))
        plain[offset::4] = data[at : at + count]
        at += count
    return bytes(plain)


def _files(shard: bytes) -> list[tuple[str, list[Segment]]]:
    """(sha256, segments) of each file: the section after the header."""
    files, at = [], RECORD
    while shard[at : at + 32] != LAST:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        at += RECORD
        segments = []
        for _ in range(count):
            _, _, first, end = struct.unpack_from("<IIII", shard, at + 32)
            segments.append(Segment(hash_text(shard[at : at + 32]), first, end))
            at += RECORD
        at += RECORD * count if flags & WITH_VERIFICATION else 0
        if flags & WITH_METADATA:
            files.append((hash_text(shard[at : at + 32]), segments))
            at += RECORD
    return files
