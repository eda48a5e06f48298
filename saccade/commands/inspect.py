"""saccade attention: what a model looks at."""

from pathlib import Path
from typing import Annotated

import typer

from saccade.commands.options import (
    Beam,
    Device,
    Model,
    SourceLanguage,
    TargetLanguage,
    given,
    load_translator,
)


def attention(
    model: Model,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", show_default=False, help="The sentence to translate.")
    ],
    *,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", show_default="the model's translation", help="The translation to look at instead."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The picture: .png, .svg or .pdf.")
    ] = Path("attention.png"),
    beam: Beam = None,
    source_language: SourceLanguage = None,
    target_language: TargetLanguage = None,
    device: Device = None,
) -> None:
    """Draw where each cross-attention head of the decoder looks.

    The picture has the mean of all heads, large, and below it every head of every decoder layer. Rows are the
    pieces of the translation, columns those of the source; dark is much. Needs saccade[plot].

    \b
    Example:
      saccade attention runs/model "A dog runs." --out dog.png
    """
    from saccade.inspection.picture import check_picture, draw_attention

    check_picture(out)
    translator = load_translator(model, device=device).between(source_language, target_language)
    if target is None:
        [translation] = translator.translate([text], **given(beam=beam))
        target = translation.text
        typer.echo(target)
    maps = translator.attention(text, target)
    source_pieces, target_pieces = translator.pieces(text, target)
    for note in draw_attention(maps, source_pieces, target_pieces, out=out):
        typer.echo(note, err=True)
    typer.echo(f"{out}: written", err=True)
