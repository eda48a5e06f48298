"""saccade predict: what a model that reads says about a text, a file or a table."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from saccade.commands.arrival import arriving, cut
from saccade.commands.options import Json, Model, Running
from saccade.commands.output import CHUNK, STDIN, STDOUT, check_outputs, is_plain, output_file
from saccade.commands.parameters import option
from saccade.errors import ConfigError, Unsupported

if TYPE_CHECKING:
    from saccade.use.predictor import Prediction, Predictor
    from saccade.use.transcriber import Head


def predict(
    model: Model,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            show_default="standard input",
            help="The text: for a tagger CoNLL-U, words with labels, or one sentence a line; for a pointer "
            "network inputs such as 0.1,0.5 separated by blanks; for a model that reads pictures or sounds "
            "such a file, or a manifest of them; for a ranker a CSV table; for others one text a line.",
        ),
    ] = Path("-"),
    *,
    output: Annotated[
        Path | None, option("FILE", "File to write instead of standard output.", "--output", "-o")
    ] = None,
    as_json: Json = False,
    score: Annotated[
        bool, typer.Option("--score", help="Compare with the answers in FILE, and print scores instead.")
    ] = False,
    picture: Annotated[
        Path | None,
        option(
            "FILE",
            "Picture of the scores (.png, .svg, .pdf; needs the extra `plot`), such as the confusion matrix "
            "of labels, or exact answers by number of inputs; implies --score.",
            "--picture",
            "--confusion",
        ),
    ] = None,
    head: Annotated[
        str | None,
        option("HEAD", "What writes the text of a recogniser: `attention` or `ctc`.", default="attention"),
    ] = None,
    fill: Annotated[
        str | None, option("TEXT", "Fill the masked places [MASK] of a text (masked language models).")
    ] = None,
    top: Annotated[int, option("N", "Number of pieces to show for each masked place.", min=1, max=1000)] = 5,
    embeddings: Annotated[
        Path | None,
        option("FILE", "Write the vectors of each line to an .npz file (masked language models)."),
    ] = None,
    running: Running,
) -> None:
    """Label, classify, read or rank with a model that reads.

    A tagger fills the labels into CoNLL-U, whose other columns and comments stay; words with labels and plain
    sentences become a word, a tab and a label on each line. A classifier writes a label and the text on each
    line, and a pointer network adds a tab and positions to its inputs. A model that reads pictures or sounds
    writes each file's name, a tab and its text or label; a ranker writes the probability of each row, a tab
    and its rank in its list. With --json, each sentence, text, file or list is an object on a line.

    \b
    Examples:
      saccade predict runs/ewt-tagger test.conllu --output tagged.conllu
      echo "The old town sleeps ." | saccade predict runs/ewt-tagger
      saccade predict runs/ewt-tagger test.conllu --score --picture confusion.png
      saccade predict runs/lines line.png
      saccade predict runs/catsup purchases.csv --json
      saccade predict runs/bert --fill "The [MASK] town"
      saccade predict runs/bert lines.txt --embeddings vectors.npz
    """
    from saccade.inspection.picture import check_picture
    from saccade.text.opening import is_standard_input

    if sum(bool(one) for one in (score or picture, fill, embeddings)) > 1:
        raise ConfigError("scores, masked places and vectors are three things; ask for one of them.")
    place = STDIN if is_standard_input(file) else file
    inputs = () if fill else (place,)
    check_outputs(output or STDOUT, picture, embeddings, inputs=inputs)
    if picture is not None:
        check_picture(picture)
    predictor = _load(model, running, head)
    if fill is not None:
        _fill(predictor, fill, top, as_json=as_json)
    elif embeddings is not None:
        _embed(predictor, file, embeddings)
    elif score or picture is not None:
        _score(predictor, file, output, picture, as_json=as_json)
    else:
        chunks = (cut if is_plain(place) else arriving)(predictor.read(file, answers=False), most=CHUNK)
        _write((predictor.run(chunk) for chunk in chunks), output, as_json=as_json)


def _load(model: Path, running: Running, head: str | None) -> "Predictor":
    from saccade.interop.exported import is_exported
    from saccade.use.loading import load
    from saccade.use.predictor import Predictor
    from saccade.use.transcriber import Transcriber

    running.set_up()
    if is_exported(model):
        raise Unsupported(f"{model}: an exported translator.", topic="translator")
    use = load(model, device=running.device)
    if head is not None:
        if not isinstance(use, Transcriber):
            raise ConfigError("only recognisers have heads to choose from; leave the head out.")
        use = Transcriber(use.model, device=use.device, head=cast("Head", head))
    if not isinstance(use, Predictor):
        raise Unsupported(f"{model}: this model writes text and labels none.", topic=use.topic)
    return use


def _write(chunks: "Iterable[Iterable[Prediction]]", output: Path | None, *, as_json: bool) -> None:
    number = 0
    with output_file(output) as stream:
        for chunk in chunks:
            for found in chunk:
                number += 1
                if found.problem is not None:
                    typer.echo(f"{number}: {found.problem}", err=True)
                lines = [json.dumps(found.as_dict(), ensure_ascii=False)] if as_json else found.lines()
                text = "".join(f"{line}\n" for line in lines)
                stream.write(text.encode("utf-8", errors="replace"))
            stream.flush()


def _score(
    predictor: "Predictor", file: Path, output: Path | None, picture: Path | None, *, as_json: bool
) -> None:
    scores = predictor.score(predictor.read(file, answers=True))
    if picture is not None:
        scores.draw(picture)
        typer.echo(f"{picture}: written", err=True)
    lines = [json.dumps(scores.as_dict(), ensure_ascii=False)] if as_json else scores.lines()
    with output_file(output) as stream:
        stream.write("".join(f"{line}\n" for line in lines).encode())


def _fill(predictor: "Predictor", text: str, top: int, *, as_json: bool) -> None:
    places = predictor.fill(text, top=top)
    if as_json:
        typer.echo(json.dumps([[vars(one) for one in place] for place in places], ensure_ascii=False))
        return
    for number, place in enumerate(places):
        if number:
            typer.echo("")
        for one in place:
            typer.echo(f"{one.probability:7.2%}  {one.piece:<16}  {one.text}")


def _embed(predictor: "Predictor", file: Path, out: Path) -> None:
    from saccade.use.vectors import write_vectors

    texts = list(predictor.read(file, answers=False))
    write_vectors(predictor.embed(texts), out)
    typer.echo(f"{out}: written, {len(texts):,} {predictor.unit}", err=True)
