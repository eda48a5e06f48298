"""Whether text is in the language that the configuration names, by py3langid if it is installed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from saccade.text.corpus import Line

_LINES = 1_000  # held of a text; at most as many and at least half as many, evenly spaced
_BYTES = 80  # lines are joined until they have that many: shorter text is often taken for another language
_CODES = """
    af=afr am=amh ar=ara,arb,ary,arz as=asm az=aze,azj be=bel bg=bul bn=ben br=bre bs=bos ca=cat cs=ces
    cy=cym da=dan de=deu dz=dzo el=ell en=eng eo=epo es=spa et=est,ekk eu=eus fa=fas,pes,prs fi=fin
    fo=fao fr=fra ga=gle gl=glg gu=guj he=heb hi=hin hr=hrv ht=hat hu=hun hy=hye id=ind is=isl it=ita
    ja=jpn jv=jav ka=kat kk=kaz km=khm kn=kan ko=kor ku=kur,kmr ky=kir la=lat lb=ltz lo=lao lt=lit
    lv=lav,lvs mg=mlg,plt mk=mkd ml=mal mn=mon,khk mr=mar ms=msa,zsm mt=mlt nb=nob ne=nep,npi nl=nld
    nn=nno no=nor oc=oci or=ori,ory pa=pan pl=pol ps=pus,pbt pt=por qu=que,quy ro=ron ru=rus rw=kin
    se=sme si=sin sk=slk sl=slv sq=sqi,als sr=srp sv=swe sw=swa,swh ta=tam te=tel th=tha tl=tgl tr=tur
    ug=uig uk=ukr ur=urd vi=vie wa=wln xh=xho zh=zho,cmn,yue zu=zul
"""
"""Languages that py3langid knows: their codes of two letters, and those of three, which NLLB uses."""
_ALIKE = ("no nb nn da", "hr sr bs", "id ms", "cs sk", "gl pt es", "zu xh", "fa ps", "ru uk be bg mk")
"""Languages that are often taken for one another."""


def available() -> bool:
    """Whether py3langid is installed."""
    return find_spec("py3langid") is not None


class LanguageSample:
    """Lines of some sides of a text that is read as a stream, and the languages that they are in."""

    def __init__(self, sides: Iterable[str]) -> None:
        """sides: those whose language is asked for; none if it cannot be found out."""
        self._lines: dict[str, list[str]] = {side: [] for side in sides} if available() else {}
        self._every, self._seen = 1, 0

    def look_at(self, pairs: Iterable[Line]) -> None:
        """Takes every n-th line, where n doubles when too many are held."""
        if not self._lines:
            return
        for pair in pairs:
            if self._seen % self._every == 0:
                for side, lines in self._lines.items():
                    lines.append(pair.texts[side])
                if len(next(iter(self._lines.values()))) > _LINES:
                    self._every *= 2
                    self._lines = {side: lines[::2] for side, lines in self._lines.items()}
            self._seen += 1

    def report(self) -> dict[str, dict[str, int]]:
        """For each side, the number of samples in each language, the most frequent first."""
        return {side: dict(languages(lines).most_common()) for side, lines in self._lines.items()}


def languages(lines: Iterable[str]) -> Counter[str]:
    """The languages of lines, as ISO 639-1 codes; short lines are joined. py3langid must be installed."""
    from py3langid import classify

    found, text = Counter[str](), ""
    for line in lines:
        text = f"{text} {line}".strip()
        if len(text.encode("utf-8", "replace")) >= _BYTES:
            found[str(classify(text)[0])] += 1
            text = ""
    if text and not found:
        found[str(classify(text)[0])] += 1
    return found


def share_in(code: str, found: Mapping[str, int]) -> float | None:
    """The share of samples that may be in a language, a code such as de, pt-BR or deu_Latn.

    None if py3langid does not know the language, or if there are no samples.
    """
    names = alike(code)
    if not names or not found:
        return None
    return sum(count for name, count in found.items() if name in names) / sum(found.values())


def alike(code: str) -> frozenset[str]:
    """The ISO 639-1 codes of a language and of those it may be taken for; none if it is not known."""
    short = code.replace("_", "-").partition("-")[0].lower()
    for entry in _CODES.split():
        two, _, three = entry.partition("=")
        if short in (two, *three.split(",")):
            return frozenset({two}.union(*(group.split() for group in _ALIKE if two in group.split())))
    return frozenset()
