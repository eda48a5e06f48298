"""Make the sounds of examples/prompts.toml: telephone prompts that a person recorded, and synthetic speech.

    python examples/prompts.py FOLDER [--synthetic NUMBER] [--text FILE]

The recordings are Asterisk's prompts in US English (Allison Smith, CC BY-SA 3.0), 8 kHz, in Debian's
asterisk-core-sounds-en-wav, with the texts of asterisk-core-sounds-en. Prompts of tones, and those longer
than 8 seconds, are left out. Of every ten prompts one is for validation and two are to test; a text that
occurs twice stays on one side.

The training set has each recording at three speeds, 0.9, 1 and 1.1 (Ko et al. 2015), and sounds that
espeak-ng speaks (GPL-3.0; apt-get install espeak-ng) in several voices, rates and pitches: one to three of
the phrases of the training prompts, joined. With --text, every second of them is a line of FILE instead,
cut after 90 letters, which brings words that the training prompts lack. Without espeak-ng the set has
recordings only, and the script says so. Texts are lower-case letters, apostrophes and blanks; numbers are
written in words.

FOLDER gets train.tsv, valid.tsv, test.tsv and recorded.tsv (the training recordings alone).
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import shutil
import subprocess
import wave
from pathlib import Path

from fetching import from_debian
from num2words import num2words

SOUNDS = ("1.6.1-1", "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d")
TEXTS = ("1.6.1-1", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50")
VOICES = ("en-us", "en-us+f1", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+m3", "en-gb", "en-gb+f2")
LONGEST = 8.0  # seconds
SPEEDS = (0.9, 1.1)  # of each recording, besides its own
LETTERS = 90  # of the longest text that espeak-ng speaks


def main() -> None:
    """Writes the sounds and manifests."""
    parser = argparse.ArgumentParser(description="Make the sounds of examples/prompts.toml.")
    parser.add_argument("folder", type=Path, help="where the sounds and their lists go")
    parser.add_argument("--synthetic", type=int, default=4000, help="sounds of espeak-ng (4000)")
    parser.add_argument("--text", type=Path, help="lines that espeak-ng speaks, besides the prompts' phrases")
    given = parser.parse_args()
    folder: Path = given.folder
    sounds = from_debian("asterisk-core-sounds-en-wav", *SOUNDS, folder / "packages")
    texts = from_debian("asterisk-core-sounds-en", *TEXTS, folder / "packages")
    [listing] = texts.rglob("core-sounds-en.txt.gz")
    said = spoken(gzip.decompress(listing.read_bytes()).decode())
    [place] = [path.parent for path in sounds.rglob("activated.wav")]
    rows = [(place / f"{name}.wav", text) for name, text in said.items() if (place / f"{name}.wav").is_file()]
    rows = [(path, text) for path, text in rows if seconds(path) <= LONGEST]
    each = sorted({text for _, text in rows})
    random.Random(1).shuffle(each)
    side = {
        text: "valid" if n % 10 == 0 else "test" if n % 10 < 3 else "recorded" for n, text in enumerate(each)
    }
    sets: dict[str, list[tuple[Path, str]]] = {name: [] for name in ("recorded", "valid", "test")}
    for path, text in rows:
        sets[side[text]].append((path, text))
    phrases = [text for _, text in sets["recorded"]]
    made = speak(folder / "synthetic", phrases, lines_of(given.text), given.synthetic)
    other = [faster(row, speed, folder / "speeds") for row in sets["recorded"] for speed in SPEEDS]
    for name, own in {**sets, "train": sets["recorded"] + other + made}.items():
        lines = [f"{path.relative_to(folder)}\t{text}\n" for path, text in own]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
        minutes = sum(seconds(path) for path, _ in own) / 60
        print(f"{folder / name}.tsv: {len(own):,} sounds, {minutes:.1f} minutes")


def spoken(listing: str) -> dict[str, str]:
    """The text of each prompt by name, in plain letters; without those that are described, not spoken."""
    found = {}
    for line in listing.split("\n"):
        name, colon, text = line.partition(":")
        if not colon or line.startswith(";") or "[" in text or "(" in text:
            continue
        letters = plain(text)
        if letters:
            found[name.strip()] = letters
    return found


def plain(text: str) -> str:
    """A text in lower-case letters, apostrophes and blanks, with numbers in words."""
    words = re.sub(r"\d+", lambda number: f" {num2words(int(number[0]))} ", text.lower())
    return " ".join(re.sub(r"[^a-z' ]", " ", words).split())


def lines_of(path: Path | None) -> list[str]:
    """The lines of a file in plain letters, each cut after a word."""
    if path is None:
        return []
    lines = (plain(line) for line in path.read_text(encoding="utf-8").split("\n"))
    return [cut(line) for line in lines if len(line) >= 10]


def cut(text: str) -> str:
    """The words of a text that fit into `LETTERS`."""
    return text if len(text) <= LETTERS else text[:LETTERS].rsplit(" ", 1)[0]


def faster(row: tuple[Path, str], speed: float, folder: Path) -> tuple[Path, str]:
    """A recording at another speed: its samples with another rate, which the reader converts."""
    path, text = row
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{path.parent.name}-{path.stem}-{speed}.wav"
    with wave.open(str(path), "rb") as file, wave.open(str(copy), "wb") as out:
        out.setparams(file.getparams()._replace(framerate=round(file.getframerate() * speed)))
        out.writeframes(file.readframes(file.getnframes()))
    return copy, text


def seconds(path: Path) -> float:
    """The length of a sound."""
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def speak(folder: Path, phrases: list[str], lines: list[str], count: int) -> list[tuple[Path, str]]:
    """Sounds that espeak-ng speaks: one to three phrases or, every second time, a line if there are any."""
    if not shutil.which("espeak-ng"):
        print("espeak-ng is not installed: the training set has recordings only.")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    generator, made = random.Random(2), []
    short = [text for text in phrases if len(text) <= 40]
    for number in range(count):
        if lines and number % 2:
            text = generator.choice(lines)
        else:
            text = cut(" ".join(generator.choices(short, k=generator.choice((1, 1, 2, 3)))))
        path = folder / f"{number:05d}.wav"
        command = ["espeak-ng", "-v", generator.choice(VOICES), "-s", str(generator.randint(130, 190))]
        command += ["-p", str(generator.randint(30, 75)), "-w", str(path), text]
        subprocess.run(command, check=True, capture_output=True)
        made.append((path, text))
    return made


if __name__ == "__main__":
    main()
