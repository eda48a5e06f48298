"""Language codes, of which only the form is checked, not whether the language is registered."""

import re

from saccade.errors import ConfigError

# RFC 5646 (BCP 47): a language of two or three letters, then script, region, variants; NLLB has "_" for "-".
_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def require_code(code: str, *, key: str) -> None:
    """Raises UserError if `code` does not have the form of a language code; key: the name of the setting."""
    if not _CODE.fullmatch(code):
        raise ConfigError(f'{key} = "{code}": not a language code such as de, pt-BR or zh-Hans.')
