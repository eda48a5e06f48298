"""saccade align: which words, or how many pieces, translate each other."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

import typer

from saccade.commands.distill import Layer, write_fertilities
from saccade.commands.options import Model, Use, choice, load_translator
from saccade.commands.output import STDOUT, check_outputs, output_file
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.options import DecodingConfig
from saccade.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from saccade.alignment.gold import GoldSet
    from saccade.model_folder.heads import AlignmentHeads
    from saccade.text.pharaoh import Link
    from saccade.use.translator import Translator

_SHOWN = 10  # heads in the table


Source = Annotated[
    Path | None, option("FILE", "Source text, one sentence a line; words are separated by blanks.")
]
Target = Annotated[Path | None, option("FILE", "Its translation; line N translates line N of the source.")]
Out = Annotated[
    Path | None, option("FILE", "File for the alignments.", "--out", "-o", default="standard output")
]
Fertilities = Annotated[
    Path | None,
    option("FILE", "File for the fertilities of the source pieces, which is then written instead."),
]
Method = Annotated[
    str,
    choice(
        "attention",
        "eflomal",
        "both",
        help="How the text is aligned: by the model's cross-attention; by counting in this text, which "
        "must be long (eflomal; needs the extra `align`); or by the links of both.",
    ),
]
Combine = Annotated[
    str,
    choice(
        "grow-diag-final-and",
        "intersection",
        help="How two alignments become one, with eflomal: the intersection, which has few and mostly "
        "right links, or links around it as well.",
    ),
]
Head = Annotated[
    list[int] | None,
    option("N", "Head of that layer, from 1; repeat the option to average several.", min=1, default="all"),
]
Gold = Annotated[
    Path | None,
    option("FILE", "Gold alignments of this text, i-j for sure and ipj for possible links: print scores."),
]
Choose = Annotated[
    bool,
    typer.Option(
        "--choose",
        help="Choose the heads that align best on the gold alignments, and store them with the model. "
        "English-German models need no files for this.",
    ),
]


def align(
    model: Model,
    *,
    source: Source = None,
    target: Target = None,
    out: Out = None,
    fertilities: Fertilities = None,
    method: Method = "attention",
    combine: Combine = "grow-diag-final-and",
    layer: Layer = None,
    head: Head = None,
    gold: Gold = None,
    choose: Choose = False,
    settings: Annotated[Settings, Offer(DecodingConfig, "max_source_length")],
    use: Use,
) -> None:
    """Align words, or count the target pieces of each source piece.

    Prints a line of links i-j for each sentence pair (Pharaoh's format): word i of the source and word j of
    the target, counted from 0 and separated by blanks. With --gold, it prints the alignment error rate (Och
    and Ney 2003) instead.

    Without --layer, attention is read from the heads that were chosen with --choose or trained with
    training.guided_alignment, and otherwise from all heads of the last layer but one.

    \b
    Examples:
      saccade align runs/en-de --source test.en --target test.de > test.align
      saccade align runs/en-de --choose
      saccade align runs/en-de --source dev.en --target dev.de --gold dev.links
      saccade align runs/en-de --source train.en --target train.de --method both --out train.align
      saccade align runs/teacher --source valid.en --target valid.de --fertilities valid.fert
    """
    text, load = _Text(source, target, gold), partial(load_translator, model, use, settings)
    if choose:
        alone = not (out or fertilities or layer or head or method != "attention")
        _require(alone, "heads are chosen from a model and a gold set")
        _choose(model, text, load)
        return
    if source is None or target is None:
        raise ConfigError("no text to align: give its source and its target.", topic="align-text")
    _require(not (fertilities and (out or gold or head)), "fertilities are written by themselves")
    _require(not (gold and out), "scores are printed, and no alignments written")
    _require(layer is not None or not head, "a head is one of a layer; name the layer too")
    if fertilities is not None:
        _require(method != "both", "fertilities come from one method")
        _count((source, target), fertilities, load, method=method, layer=layer)
        return
    heads = None if layer is None else _heads(layer, head)
    _align(text, out, load, method=method, combine=combine, heads=heads)


class _Text(NamedTuple):
    """The files of a text."""

    source: Path | None
    target: Path | None
    gold: Path | None


def _require(fits: bool, why: str) -> None:
    if not fits:
        raise ConfigError(f"options that do not go together: {why}.")


def _align(
    text: _Text,
    out: Path | None,
    load: "Callable[[], Translator]",
    *,
    method: str,
    combine: str,
    heads: "AlignmentHeads | None",
) -> None:
    from saccade.alignment.gold import read_gold
    from saccade.alignment.words import align_words, check_words
    from saccade.text.corpus import read_parallel

    check_words(method, combine, heads)
    check_outputs(out or STDOUT, inputs=text)
    source, target = cast(tuple[Path, Path], text[:2])
    known = None if text.gold is None else read_gold(source, target, text.gold)
    sources, targets = read_parallel(source, target) if known is None else (known.sources, known.targets)
    found = align_words(load(), sources, targets, method=method, combine=combine, heads=heads)
    if known is None:
        _write(found, out)
    else:
        _score(found, known)


def _count(
    sides: tuple[Path, Path],
    out: Path,
    load: "Callable[[], Translator]",
    *,
    method: str,
    layer: int | None,
) -> None:
    from saccade.alignment.fertilities import check_method
    from saccade.text.corpus import read_parallel

    check_method(method, layer)
    check_outputs(out, inputs=sides)
    sources, targets = read_parallel(*sides)
    write_fertilities(load(), sources, targets, out, method=method, layer=layer)


def _write(found: "list[Collection[Link]]", out: Path | None) -> None:
    from saccade.text.pharaoh import links_line

    with output_file(out) as stream:
        for links in found:
            stream.write(f"{links_line(links)}\n".encode())


def _score(found: "list[Collection[Link]]", gold: "GoldSet") -> None:
    from saccade.alignment.error_rate import alignment_scores

    typer.echo(f"{alignment_scores(found, gold.links).line()}  ({len(gold.links):,} pairs)")


def _choose(model: Path, text: _Text, load: "Callable[[], Translator]") -> None:
    from saccade.alignment.heads import candidates
    from saccade.model_folder.checkpoint import find_model
    from saccade.model_folder.heads import store_heads

    gold = _gold_set(model, text)
    found = candidates(load(), gold)
    for one in found[:_SHOWN]:
        typer.echo(f"{one.heads}: {one.scores.line()}")
    folder = find_model(model)
    store_heads(folder, found[0].heads)
    typer.echo(f"{folder}: aligns by {found[0].heads}", err=True)


def _gold_set(model: Path, text: _Text) -> "GoldSet":
    """The gold set that was named, or the included one for a model of its languages."""
    from saccade.alignment.gold import included_gold, read_gold
    from saccade.model_folder.description import describe

    if None not in text:
        return read_gold(*cast(tuple[Path, Path, Path], text))
    if any(text):
        raise ConfigError("a gold set is a source, a target and gold alignments; give all three.")
    languages = describe(model)["languages"]
    found = included_gold(languages.get("source"), languages.get("target"))
    if found is None:
        raise NotFound(
            "the included gold alignments are English-German, and the model is not known to translate "
            "between these; give a source, a target and gold alignments.",
            topic="gold",
        )
    return found


def _heads(layer: int, head: list[int] | None) -> "AlignmentHeads":
    from saccade.model_folder.heads import AlignmentHeads

    return AlignmentHeads(layer, tuple(dict.fromkeys(head or ())))
