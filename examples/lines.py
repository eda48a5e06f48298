"""Make the pictures of examples/lines.toml: lines of English and Chinese text, rendered and distorted.

    python examples/lines.py FOLDER [LINES]

English words are those of wamerican (public domain, SCOWL), Chinese ones those of jieba's dictionary (MIT)
that consist of its 500 most frequent characters. Of each language a tenth of the words is held out, and one
font: Linux Libertine (GPL-3.0 with font exception, OFL) and WenQuanYi Micro Hei (Apache-2.0, GPL-3.0 with
font exception). The other fonts are DejaVu, GNU FreeFont, Lato, Liberation and Open Sans; AR PL UMing,
UKai, SungtiL GB and KaitiM GB, and WenQuanYi Zen Hei. All come from Debian 12.

train.tsv has LINES lines (30,000), half of each language; valid.tsv 600. test-en-words, test-zh-words:
unseen words in fonts of the training set; test-en-font, test-zh-font: unseen words in the unseen font; 400
each. Pictures are 32 pixels high. Each has its own size, place, slant, turn, blur, contrast and noise.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from fetching import from_debian, from_pip, skip

HEIGHT = 32
PACKAGES = {
    "wamerican": ("2020.12.07-2", "c8f8e2b2ad0d37bfdd41f0e40f1e4c8e5f907467d768a1d3698b164e9617f0b4"),
    "fonts-dejavu-core": ("2.37-6", "8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76"),
    "fonts-freefont-ttf": ("20120503-10", "4ca1c21ebc479198a3a5879d236c8317d6f7b2f1c403f7890e24c02eead05615"),
    "fonts-lato": ("2.0-2.1", "86f50af146a7df9eca4e69f0262e73e708908435ebfa833df797adfa08843bc5"),
    "fonts-liberation": (
        "1:1.07.4-11",
        "efd381517f958b01969343634ffcbdd60056be7779af84c6f53a005090430204",
    ),
    "fonts-open-sans": ("1.11-2", "ed8c4258af6c23e5105fa18940544f060f3c9664fbe881f25130fe0c65bc1485"),
    "fonts-linuxlibertine": ("5.3.0-6", "5c77471e910189b3e4e2eda2b1c5f549ddcaf4de8f9640b97773643970d29087"),
    "fonts-arphic-uming": (
        "0.2.20080216.2-11",
        "2676b21b90df94f23418610291b71b43720c95cdccb420b97ab56edfd3ce4cf5",
    ),
    "fonts-arphic-ukai": (
        "0.2.20080216.2-5",
        "b9db73184895b067f7911f9adbf3b137df99c2d4ec5425b4ad779a9834b7110b",
    ),
    "fonts-arphic-gbsn00lp": ("2.11-16", "f3d0e32e0c938796f983cf4a9735c31c680c66fcdc3a6107098d5605b51d744b"),
    "fonts-arphic-gkai00mp": ("2.11-16", "7c5452a4f5ce4eb351ceb25ee9ae359c8b094c2fd68955b9c93bd34c315bebf1"),
    "fonts-wqy-zenhei": ("0.9.45-8", "cfed2c29164ff2f133e40ed2046610b172b8618d174840936ac4ec9b6fd668e7"),
    "fonts-wqy-microhei": (
        "0.2.0-beta-3.1",
        "239163df984eea5c9da3b551aee374936222cdbd67f1a1be3cdcf3d76143ad66",
    ),
}
"""Version and SHA-256 of each Debian package."""
JIEBA = "jieba-0.42.1/jieba/dict.txt"
FONTS = {
    "en": [
        *("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"),
        *("FreeSans.ttf", "FreeSansOblique.ttf", "FreeSerif.ttf", "FreeSerifBold.ttf", "FreeSerifItalic.ttf"),
        *("FreeMono.ttf", "Lato-Regular.ttf", "Lato-Bold.ttf", "Lato-LightItalic.ttf"),
        *("LiberationSans-Regular.ttf", "LiberationSerif-Regular.ttf", "LiberationMono-Regular.ttf"),
        *("LiberationSansNarrow-Regular.ttf", "OpenSans-Regular.ttf", "OpenSans-Semibold.ttf"),
    ],
    "zh": ["uming.ttc", "ukai.ttc", "gbsn00lp.ttf", "gkai00mp.ttf", "wqy-zenhei.ttc"],
}
UNSEEN = {"en": "LinLibertine_R.otf", "zh": "wqy-microhei.ttc"}
CHARACTERS = 500


def main() -> None:
    """Fetches the packages, and writes the pictures and manifests."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python examples/lines.py FOLDER [LINES]")
    folder, lines = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 30_000
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        skip("pictures need Pillow (pip install pillow)")
    places = [from_debian(name, *pins, folder / "packages") for name, pins in PACKAGES.items()]
    files = {path.name: path for place in places for path in place.rglob("*") if path.is_file()}
    words = {"en": english(files["american-english"]), "zh": chinese(folder / "packages")}
    generator = random.Random(1)
    known, held_out = {}, {}
    for language, found in words.items():
        generator.shuffle(found)
        cut = len(found) // 10
        held_out[language], known[language] = found[:cut], found[cut:]
        print(f"{language}: {len(found):,} words, {cut:,} of them held out")
    painter = Painter(
        {name: files[name] for own in FONTS.values() for name in own}
        | {name: files[name] for name in UNSEEN.values()}
    )
    both = [("en", known["en"], FONTS["en"]), ("zh", known["zh"], FONTS["zh"])]
    write(folder, "train", both, lines, painter)
    write(
        folder, "valid", [(one, held_out[one], FONTS[one]) for one in ("en", "zh")], 600, painter, generator
    )
    for one in ("en", "zh"):
        write(folder, f"test-{one}-words", [(one, held_out[one], FONTS[one])], 400, painter)
        write(folder, f"test-{one}-font", [(one, held_out[one], [UNSEEN[one]])], 400, painter)


def english(path: Path) -> list[str]:
    """The words of 2 to 9 plain letters."""
    words = path.read_text(encoding="utf-8").split("\n")
    return sorted(
        {
            word
            for word in words
            if word.isascii() and word.isalpha() and 2 <= len(word) <= 9 and word.islower()
        }
    )


def chinese(folder: Path) -> list[str]:
    """The words of 2 to 4 of the most frequent characters."""
    digest = "7197c3211ddd98962b036cdf40324d1ea2bfaa12bd028e68faa70111a88e12a8"
    data = from_pip("jieba", "0.42.1", {JIEBA: digest}, folder, source=True)[JIEBA]
    rows = [line.split(" ") for line in data.decode().splitlines()]
    plain = {word: int(count) for word, count, _ in rows if all("\u4e00" <= one <= "\u9fff" for one in word)}
    counts: Counter[str] = Counter()
    for word, count in plain.items():
        for character in word:
            counts[character] += count
    frequent = {character for character, _ in counts.most_common(CHARACTERS)}
    return sorted(word for word in plain if 2 <= len(word) <= 4 and set(word) <= frequent)


def text(language: str, words: list[str], generator: random.Random) -> str:
    """A line of one to three words; English has capitals, numbers and marks among them."""
    if language == "zh":
        return "".join(generator.choice(words) for _ in range(generator.choice((1, 2, 2, 3))))[:8]
    parts = []
    for _ in range(generator.choice((1, 2, 2, 3))):
        word = generator.choice(words)
        chance = generator.random()
        if chance < 0.2:
            word = word.capitalize()
        elif chance < 0.25:
            word = word.upper()
        elif chance < 0.35:
            word = str(generator.randrange(10 ** generator.randint(1, 5)))
        parts.append(word + generator.choice(("", "", "", "", "", ",", ".", "!", "?", "-")))
    return " ".join(parts)


class Painter:
    """Draws lines of text."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files, self.fonts = files, {}

    def draw(self, line: str, font: str, generator: random.Random) -> Any:
        """A grey picture of the line, 32 pixels high."""
        from PIL import Image, ImageDraw, ImageFilter

        high = 3 * HEIGHT  # distorted at a larger size, then scaled down
        size = generator.randint(44, 66)
        key = (font, size)
        if key not in self.fonts:
            from PIL import ImageFont

            self.fonts[key] = ImageFont.truetype(str(self.files[font]), size)
        face = self.fonts[key]
        left, top, right, bottom = face.getbbox(line)
        width = right - left + generator.randint(18, 60)
        picture = Image.new("L", (width, high), 0)
        x = generator.randint(6, width - (right - left) - 6) - left
        y = (high - (bottom - top)) // 2 - top + generator.randint(-8, 8)
        ImageDraw.Draw(picture).text((x, y), line, font=face, fill=255)
        slant, turn = generator.uniform(-0.15, 0.15), generator.uniform(-0.6, 0.6) * 100 / max(width, 100)
        picture = picture.transform(
            picture.size,
            Image.Transform.AFFINE,
            (1, slant, -slant * high / 2, turn / 20, 1, -turn * width / 40),
            Image.Resampling.BILINEAR,
        )
        picture = picture.resize((max(1, round(width / 3)), HEIGHT), Image.Resampling.BOX)
        if generator.random() < 0.4:
            picture = picture.filter(ImageFilter.GaussianBlur(generator.uniform(0.3, 0.9)))
        ink = np.asarray(picture, dtype=np.float64) / 255
        paper, contrast = generator.uniform(0.65, 1.0), generator.uniform(0.35, 0.65)
        noise = np.random.default_rng(generator.randrange(1 << 32)).normal(
            0, generator.uniform(0, 0.06), ink.shape
        )
        return Image.fromarray((np.clip(paper - contrast * ink + noise, 0, 1) * 255).astype(np.uint8))


def write(
    folder: Path,
    name: str,
    languages: list[tuple[str, list[str], list[str]]],
    count: int,
    painter: Painter,
) -> None:
    """Writes some pictures and their manifest, the languages in turn."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows, generator = [], random.Random(f"lines of {name}")
    for number in range(count):
        language, words, fonts = languages[number % len(languages)]
        line = text(language, words, generator)
        file = f"{name}/{number:05d}.png"
        painter.draw(line, generator.choice(fonts), generator).save(folder / file)
        rows.append(f"{file}\t{line}\n")
    (folder / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")
    print(f"{folder / name}.tsv: {count:,} lines", flush=True)


if __name__ == "__main__":
    main()
