"""Codes of languages: only their shape is checked, not whether such a language is registered."""

import re

from saccade.errors import ConfigError

# RFC 5646 (BCP 47): a language of two or three letters, then script, region, variants; NLLB has "_" for "-".
_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def require_code(code: str, *, key: str) -> None:
    """UserError where `code` has not the shape of a language code; key: the setting that holds it."""
    if not _CODE.fullmatch(code):
        raise ConfigError(f'{key} = "{code}": not a language code such as de, pt-BR or zh-Hans.')
