"""saccade attention: what a model looks at."""

from pathlib import Path
from typing import Annotated

import typer

from saccade.commands.options import Model, Use, load_translator
from saccade.commands.output import check_outputs
from saccade.commands.parameters import Offer, Settings, option
from saccade.decoding.options import DecodingConfig


def attention(
    model: Model,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", show_default=False, help="The sentence to translate.")
    ],
    *,
    target: Annotated[
        str | None,
        option("TEXT", "The translation to draw the attention for.", default="the model's translation"),
    ] = None,
    out: Annotated[Path, option("FILE", "The picture: .png, .svg or .pdf.", "--out", "-o")] = Path(
        "attention.png"
    ),
    settings: Annotated[Settings, Offer(DecodingConfig, "beam", "max_source_length")],
    use: Use,
) -> None:
    """Draw the cross-attention of every decoder head.

    The picture shows the mean of all heads, large, and below it each head of each decoder layer. Rows are the
    pieces of the translation, columns those of the source; darker cells mean higher attention weights. Needs
    the extra `plot`.

    \b
    Example:
      saccade attention runs/model "A dog runs." --out dog.png
    """
    from saccade.inspection.picture import check_picture, draw_attention

    check_picture(out)
    check_outputs(out)
    translator = load_translator(model, use, settings)
    found: str | None = None
    if target is None:
        [translation] = translator.translate([text], **settings["decoding"])
        target = found = translation.text
        if translation.problem is not None:
            typer.echo(translation.problem, err=True)
    else:
        for _, problem in translator.checks().unknown([text], [target]):
            typer.echo(f"{problem}, read as unknown", err=True)
    maps = translator.attention(text, target)
    source_pieces, target_pieces = translator.pieces(text, target)
    for note in draw_attention(maps, source_pieces, target_pieces, out=out):
        typer.echo(note, err=True)
    typer.echo(f"{out}: written", err=True)
    if found is not None:
        typer.echo(found)
