"""Damage to a folder of files, done by accident or on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Change = Callable[[Path, random.Random, Path], str]
"""(folder, draws, a folder outside) -> what was done."""


def mutate(folder: Path, draws: random.Random, outside: Path) -> str:
    """Does one to three things to the files of a folder, and says what.

    Half of the time, digests in the folder are made to fit, as somebody would who does it on purpose.
    """
    before = {path: path.read_bytes() for path in files(folder)}
    done = [_changed(folder, draws, outside) for _ in range(draws.choice((1, 1, 1, 2, 3)))]
    if draws.random() < 0.5:
        _forge_digests(folder, before)
        done.append("digests forged")
    return "; ".join(done)


def _changed(folder: Path, draws: random.Random, outside: Path) -> str:
    change = draws.choice(CHANGES)
    try:
        return change(folder, draws, outside)
    except RecursionError:  # an earlier change has nested the file more deeply than Python reads
        return "nothing"


def files(folder: Path) -> list[Path]:
    """The regular files, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _drawn(folder: Path, draws: random.Random, *, ends: tuple[str, ...] = ("",)) -> Path | None:
    found = [path for path in files(folder) if path.name.endswith(ends)]
    return draws.choice(found) if found else None


def flipped(folder: Path, draws: random.Random, outside: Path) -> str:
    path = _drawn(folder, draws)
    content = bytearray(path.read_bytes() if path else b"")
    if path is None or not content:
        return "nothing"
    places = [draws.randrange(len(content)) for _ in range(draws.choice((1, 1, 2, 8)))]
    for place in places:
        content[place] ^= 1 << draws.randrange(8)
    path.write_bytes(content)
    return f"bits of {path.name} at {places}"


def cut(folder: Path, draws: random.Random, outside: Path) -> str:
    if (path := _drawn(folder, draws)) is None:
        return "nothing"
    size = draws.choice((0, draws.randrange(path.stat().st_size + 1), max(path.stat().st_size - 1, 0)))
    os.truncate(path, size)
    return f"{path.name} cut to {size} bytes"


def lengthened(folder: Path, draws: random.Random, outside: Path) -> str:
    if (path := _drawn(folder, draws)) is None:
        return "nothing"
    more = draws.choice((b"\0" * 64, b"\n", draws.randbytes(100), b'{"a": 1}\n', b"\xff\xfe"))
    path.write_bytes(path.read_bytes() + more)
    return f"{path.name} and {more[:8]!r}"


def swapped(folder: Path, draws: random.Random, outside: Path) -> str:
    found = files(folder)
    if len(found) < 2:
        return "nothing"
    one, other = draws.sample(found, 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return f"{one.name} and {other.name} swapped"


def replaced(folder: Path, draws: random.Random, outside: Path) -> str:
    """What stands in a file's place is no file, or another."""
    if (path := _drawn(folder, draws)) is None:
        return "nothing"
    path.unlink()
    how = draws.choice(("missing", "fifo", "folder", "outside", "zero", "itself", "parent", "nowhere"))
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how != "missing":
        goals = {
            "outside": outside / "victim" / "secret",
            "zero": Path("/dev/zero"),
            "itself": path,
            "parent": path.parent,
            "nowhere": outside / "not-there",
        }
        path.symlink_to(goals[how])
    return f"{path.name} is {how}"


def linked_away(folder: Path, draws: random.Random, outside: Path) -> str:
    """A folder inside is a link to one outside."""
    inner = sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
    if not inner:
        return "nothing"
    path = draws.choice(inner)
    shutil.rmtree(path)
    path.symlink_to(outside / "victim")
    return f"{path.name}/ is a link to a folder outside"


def value_changed(folder: Path, draws: random.Random, outside: Path) -> str:
    """One value of a JSON file is another, of any type; or a key is there no more, or another one is."""
    path = _drawn(folder, draws, ends=(".json", ".jsonl"))
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path else []
    if path is None or path.suffix == ".json":
        lines = ["\n".join(lines)]
    line = draws.randrange(len(lines))
    try:
        document = json.loads(lines[line])
    except ValueError:
        document = None
    if path is None or not isinstance(document, dict) or not document:
        return flipped(folder, draws, outside)
    places = list(_places(document))
    holder, key = draws.choice(places)
    value = draws.choice((lambda: _hostile(draws, outside), lambda: _near(holder[key], draws)))()
    how = draws.choice(("set", "set", "set", "removed", "added"))
    if how == "set":
        holder[key] = value
    elif how == "removed":
        del holder[key]
    elif isinstance(holder, dict):
        holder["surplus"] = value
    else:
        holder.append(value)
    lines[line] = json.dumps(document)
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"{path.name}: {key} {how} {str(value)[:60]!r}"


def text_changed(folder: Path, draws: random.Random, outside: Path) -> str:
    """A JSON, JSON lines or TOML file that no writer would write."""
    path = _drawn(folder, draws, ends=(".json", ".jsonl", ".toml"))
    if path is None:
        return "nothing"
    text = path.read_bytes()
    at = text.find(b":") + 1 or text.find(b"=") + 1
    inserts = {
        "deep lists": b"[" * 200_000,
        "deep objects": b'{"a":' * 50_000,
        "a long number": b"9" * 5000,
        "infinity": b"1e999",
        "not a number": b"NaN",
        "half a surrogate": b'"\\ud800"',
        "bytes that are no text": b"\xff\xfe\x00",
        "a quotation mark": b'"',
        "a long string": b'"' + b"x" * 3_000_000 + b'"',
        "a zero byte": b"\0",
    }
    name, insert = draws.choice(sorted(inserts.items()))
    how = draws.choice(("in place of all", "inserted", "in place of a value", "key given twice"))
    if how == "in place of all":
        text = insert
    elif how == "inserted":
        place = draws.randrange(len(text) + 1)
        text = text[:place] + insert + text[place:]
    elif how == "in place of a value":
        end = min(found for found in (text.find(b",", at), text.find(b"\n", at), len(text)) if found >= 0)
        text = text[:at] + insert + text[end:]
    else:
        lines = text.split(b"\n")
        line = draws.randrange(len(lines))
        text = b"\n".join([*lines[: line + 1], *lines[line:]])
    path.write_bytes(text)
    return f"{path.name}: {name} {how}"


def header_changed(folder: Path, draws: random.Random, outside: Path) -> str:
    """The header of a tensor file says other types, shapes or places, or another length of itself."""
    path = _drawn(folder, draws, ends=(".safetensors",))
    content = path.read_bytes() if path else b""
    if path is None or len(content) < 8:
        return flipped(folder, draws, outside)
    length = struct.unpack("<Q", content[:8])[0]
    body = content[8 + length :]
    try:
        header = json.loads(content[8 : 8 + length])
    except ValueError:
        return flipped(folder, draws, outside)
    how, said = draws.choice(("length", "tensor", "tensor", "tensor", "names", "value")), ""
    if how == "length":
        length = draws.choice((0, 1, length - 1, length + 1, len(content), 2**31, 2**63, 2**64 - 1))
        path.write_bytes(struct.pack("<Q", length) + content[8:])
        return f"{path.name}: header of {length} bytes"
    name = draws.choice([name for name in header if name != "__metadata__"] or ["none"])
    entry = header.get(name, {})
    if how == "tensor" and entry:
        said = _retold(entry, draws)
    elif how == "names":
        header[draws.choice(("../../x", "", "x" * 100_000, f"{name}.scale", "optimizer/"))] = header.pop(name)
    elif how == "value":
        size = max(len(body), 4)
        filler = draws.choice((b"\xff" * 4, struct.pack("<f", float("nan")), struct.pack("<f", 1e38)))
        body = (filler * (size // 4 + 1))[: len(body)]
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + body)
    return f"{path.name}: {how} {name} {said}"


def _retold(entry: dict[str, Any], draws: random.Random) -> str:
    shape = list(entry.get("shape", []))
    other: dict[str, list[Any]] = {
        "dtype": ["F64", "F16", "BF16", "I8", "U8", "BOOL", "I64", "F8_E4M3", "", None, 7],
        "shape": [
            [], [0], shape[::-1], [*shape, 1], [2**40, 2**40], [-1], [2**63], [2**31, 0], [1.5], None, "x",
            [1] * 70, [(shape or [1])[0] * 1_000_000, *shape[1:]],
        ],
        "data_offsets": [[0, 0], [0, 2**63], [-1, 4], [4, 0], [0], None, [2**40, 2**40 + 4], [1, 3]],
    }  # fmt: skip
    key = draws.choice(sorted(other))
    entry[key] = draws.choice(other[key])
    return f"{key} {str(entry[key])[:40]}"


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) in a document."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in list(pairs):
            found.append((holder, key))
            if isinstance(value, dict | list) and value:
                waiting.append(value)
    return found


def _near(value: Any, draws: random.Random) -> Any:
    """A value of the same type, a little or very different."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draws.choice(
            (value + 1, value - 1, -value, 2 * value, 1000 * value + 7, 10**9, 0, float(value))
        )
    if isinstance(value, float):
        return draws.choice((-value, value * 1e6, 0.0, 1.0, 2.0))
    if isinstance(value, str):
        return draws.choice((value[:-1], value + "x", value.upper(), "", value * 2, f"../{value}"))
    if isinstance(value, list):
        return draws.choice((value[:-1], value * 2, [*value, *value[:1]], value[::-1]))
    return {} if value else {"a": 1}


def _hostile(draws: random.Random, outside: Path) -> Any:
    return draws.choice(
        (
            None, True, -1, 0, 1, 3, 65_536, 10**6, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.5, 1e308,
            -1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800", "../../outside/victim",
            "x/../../../victim", str(outside / "victim"), "/etc/passwd", "x" * 100_000, [], [[]], {},
            [0] * 100_000, ["../../../outside/victim"], {"a": {"b": []}}, [1, "x", None], [10**9], "1",
            "Infinity",
        )
    )  # fmt: skip


def _forge_digests(folder: Path, before: dict[Path, bytes]) -> None:
    """Every digest of an old content, in whatever file it is noted, becomes that of the new one."""
    changed: list[tuple[bytes, bytes]] = []
    for path, content in before.items():
        now = path.read_bytes() if path.is_file() and not path.is_symlink() else content
        if now != content:
            changed += [
                (hashlib.new(name, content).hexdigest().encode(), hashlib.new(name, now).hexdigest().encode())
                for name in ("sha256", "blake2b", "sha1", "md5")
            ]
    for path in files(folder) if changed else ():
        content = path.read_bytes()
        for old, new in changed:
            content = content.replace(old, new)
        path.write_bytes(content)


CHANGES: Sequence[Change] = (
    *(flipped, cut, lengthened, swapped, replaced, linked_away),
    *(value_changed, value_changed, value_changed, text_changed, header_changed, header_changed),
)
