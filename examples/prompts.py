"""Make the sounds of examples/prompts.toml: telephone prompts that a person recorded, and synthetic speech.

    python examples/prompts.py FOLDER [SYNTHETIC]

The recordings are Asterisk's prompts in US English (Allison Smith, CC BY-SA 3.0), 8 kHz, in Debian's
asterisk-core-sounds-en-wav, with the texts of asterisk-core-sounds-en. Prompts of tones, and those longer
than 8 seconds, are left out. Of every ten prompts one is for validation and two are to test; a text that
occurs twice stays on one side.

To the training set come SYNTHETIC sounds (2,000) that espeak-ng speaks (GPL-3.0; apt-get install espeak-ng)
in several voices, rates and pitches: one to three of the phrases of the training prompts, which it joins.
Without espeak-ng the set has recordings only, and the script says so. Texts are lower-case letters,
apostrophes and blanks; numbers are written in words.

FOLDER gets train.tsv, valid.tsv, test.tsv and recorded.tsv (the training recordings alone).
"""

from __future__ import annotations

import gzip
import random
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

from fetching import from_debian
from num2words import num2words

SOUNDS = ("1.6.1-1", "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d")
TEXTS = ("1.6.1-1", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50")
VOICES = ("en-us", "en-us+f1", "en-us+f2", "en-us+f3", "en-us+f4", "en-us+m3", "en-gb", "en-gb+f2")
LONGEST = 8.0  # seconds


def main() -> None:
    """Writes the sounds and manifests."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/prompts.py FOLDER [SYNTHETIC]")
    folder, synthetic = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 2000
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
    made = speak(folder / "synthetic", [text for _, text in sets["recorded"]], synthetic)
    for name, own in {**sets, "train": sets["recorded"] + made}.items():
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
        words = re.sub(r"\d+", lambda number: f" {num2words(int(number[0]))} ", text.lower())
        plain = " ".join(re.sub(r"[^a-z' ]", " ", words).split())
        if plain:
            found[name.strip()] = plain
    return found


def seconds(path: Path) -> float:
    """The length of a sound."""
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def speak(folder: Path, texts: list[str], count: int) -> list[tuple[Path, str]]:
    """Sounds that espeak-ng speaks, of one to three of the texts."""
    if not shutil.which("espeak-ng"):
        print("espeak-ng is not installed: the training set has recordings only.")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    generator, made = random.Random(2), []
    short = [text for text in texts if len(text) <= 40]
    for number in range(count):
        text = " ".join(generator.choices(short, k=generator.choice((1, 1, 2, 3))))[:90].rsplit(" ", 1)[0]
        path = folder / f"{number:05d}.wav"
        command = ["espeak-ng", "-v", generator.choice(VOICES), "-s", str(generator.randint(130, 190))]
        command += ["-p", str(generator.randint(30, 75)), "-w", str(path), text]
        subprocess.run(command, check=True, capture_output=True)
        made.append((path, text))
    return made


if __name__ == "__main__":
    main()
