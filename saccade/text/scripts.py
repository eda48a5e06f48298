"""Scripts that are written without blanks between words, and the tokeniser of BLEU that fits a text."""

import re
from collections.abc import Sequence
from typing import Literal

FittingTokenizer = Literal["13a", "zh", "ja-mecab", "char"]

_LINES, _CHARACTERS = 2_000, 500  # read of a text: lines, evenly spaced, and characters of each
_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = "\u3041-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d"  # without marks that Chinese has
_OTHERS = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u0f00-\u0fff"  # Thai, Lao, Tibetan (marks between syllables, not words)
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"  # Burmese, Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf\U00011700-\U0001174f"  # Tai scripts
    "\u1b00-\u1b7f\ua980-\ua9df\ua000-\ua4cf\u3105-\u312f"  # Balinese, Javanese, Yi, Bopomofo
)
_HAN_RUN, _KANA_RUN = re.compile(f"[{_HAN}]+"), re.compile(f"[{_KANA}]+")
_ALL = f"[{_HAN}{_KANA}{_OTHERS}]"
_WITHOUT_BLANKS = re.compile(f"{_ALL}+")
_BLANK = re.compile(rf"(?<={_ALL})[^\S\n]+(?={_ALL})")
_HANGUL = re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]+")
_LETTERS = re.compile(r"[^\W\d_]+")

_SHARE = 0.3
"""Least share of such characters among letters. Latin words have more letters, so it is below one half."""
_BLANKS = 0.15
"""Blanks for each such character from which on somebody has put blanks between the words. Text as people
write it has them between phrases only: in Thai and Burmese about one for 15 characters."""
_KANA_SHARE = 0.1
"""Least share of kana in Japanese text; it is about one half in news, and near zero in Chinese text."""


def bleu_tokenizer(lines: Sequence[str]) -> FittingTokenizer:
    """The tokeniser of sacreBLEU that fits the script of a text.

    Text without blanks between words: "zh" for Chinese, "ja-mecab" for Japanese if it is installed, otherwise
    "char". Other text, and text in such a script whose words are already separated by blanks: "13a".
    """
    step = -(-len(lines) // _LINES) or 1
    text = "\n".join(line[:_CHARACTERS] for line in lines[::step])
    rest = _WITHOUT_BLANKS.sub("", text)
    found = len(text) - len(rest)
    letters = found + _count(_LETTERS, rest)
    if found == 0 or found < _SHARE * letters or _count(_HANGUL, rest) > found / 5:
        return "13a"
    if len(_BLANK.findall(text)) > _BLANKS * found:
        return "13a"
    han, kana = _count(_HAN_RUN, text), _count(_KANA_RUN, text)
    if han + kana < found / 2:
        return "char"
    if kana < _KANA_SHARE * (han + kana):
        return "zh"
    return "ja-mecab" if _has_mecab() else "char"


def _has_mecab() -> bool:
    from sacrebleu.tokenizers.tokenizer_ja_mecab import TokenizerJaMecab

    try:
        TokenizerJaMecab()
    except (RuntimeError, OSError):
        return False
    return True


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))
