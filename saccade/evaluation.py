"""Scores of translations: BLEU and chrF with their sacreBLEU signatures, and exact match."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack, get_args

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from saccade.decoding.keywords import DecodingOptions
from saccade.errors import ConfigError, InputError, Unsupported
from saccade.text.lines import require_lines
from saccade.text.scripts import bleu_tokenizer
from saccade.use.translator import Translation, Translator

Tokenize = Literal["13a", "none", "char", "zh", "ja-mecab", "ko-mecab", "intl", "flores101", "flores200"]


@dataclass(frozen=True)
class Scores:
    """BLEU and chrF from 0 to 100, exact match as a share, and sacreBLEU's signatures of the scores."""

    bleu: float
    chrf: float
    exact: float
    lines: int
    signature: str
    chrf_signature: str
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """The scores in JSON types."""
        return dict(self.__dict__)


def score_text(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    more_references: Sequence[Sequence[str]] = (),
    tokenize: str | None = None,
    lowercase: bool = False,
) -> Scores:
    """Corpus scores of detokenised hypotheses against raw references, one for each.

    more_references: further references of the whole text; a match with one of them is exact. tokenize:
    tokeniser of sacreBLEU; None: the one that fits the script of the references, see `bleu_tokenizer`;
    "none": text that is already tokenised.

    Raises UserError if the counts differ or there is nothing to score.
    """
    hypotheses = require_lines(hypotheses, "hypotheses")
    references = require_lines(references, "references")
    every = [references, *(require_lines(own, "more_references") for own in more_references)]
    for own in every:
        if len(hypotheses) != len(own):
            raise InputError(
                f"{len(hypotheses)} translations but {len(own)} references: each line needs one reference."
            )
    if not references:
        raise InputError("nothing to score: the reference is empty.")
    bleu = bleu_metric(tokenize or bleu_tokenizer(references), lowercase=lowercase)
    chrf = CHRF(lowercase=lowercase)
    bleu_score = bleu.corpus_score(hypotheses, every)
    same = sum(
        hypothesis.strip() in {reference.strip() for reference in own}
        for hypothesis, *own in zip(hypotheses, *every, strict=True)
    )
    return Scores(
        bleu=bleu_score.score,
        chrf=chrf.corpus_score(hypotheses, every).score,
        exact=same / len(references),
        lines=len(references),
        signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
        detail=bleu_score.format(),
    )


def bleu_metric(tokenize: str | None = None, *, lowercase: bool = False) -> BLEU:
    """The BLEU metric of sacreBLEU; raises UserError for a tokeniser that is unknown or not installed."""
    if tokenize is not None and tokenize not in get_args(Tokenize):
        raise ConfigError(
            f"tokenize = {tokenize}: sacreBLEU's tokenisers are {', '.join(get_args(Tokenize))}."
        )
    try:
        # force: suppresses sacreBLEU's warning about tokenised text, which "none" expects.
        return BLEU(tokenize=tokenize, lowercase=lowercase, force=tokenize == "none")
    except (RuntimeError, OSError) as error:  # needs a package, or a file from the network
        reason = " ".join(str(error).split())
        raise Unsupported(f"tokenize = {tokenize}: not usable here: {reason}") from error


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    more_references: Sequence[Sequence[str]] = (),
    tokenize: str | None = None,
    lowercase: bool = False,
    **options: Unpack[DecodingOptions],
) -> tuple[Scores, list[Translation]]:
    """Translates sources and scores the translations against one or several references; see `score_text`.

    options: as in `Translator.translate`.
    """
    references = require_lines(references, "references")
    translations = translator.translate(sources, **options)
    hypotheses = [translation.text for translation in translations]
    scores = score_text(
        hypotheses, references, more_references=more_references, tokenize=tokenize, lowercase=lowercase
    )
    return scores, translations
