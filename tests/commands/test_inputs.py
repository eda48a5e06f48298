"""What every command makes of its inputs: options given twice, pipes, standard input, foreign files."""

from __future__ import annotations

import gzip
import inspect
import json
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from saccade.__main__ import COMMANDS, app
from saccade.commands.inputs import INPUTS
from saccade.commands.parameters import expanded
from tests.commands.conftest import SMALLEST, Run, pair, refused, settings

QUICK = ("--max-length", 6)

SEVERAL = {
    "train": {"source", "target", "pairs", "valid_source", "valid_target", "valid_pairs", "settings"},
    "evaluate": {"reference", "overrides"},
    "compare": {"reference", "overrides"},
    "align": {"head", "overrides"},
}
"""The options that may be repeated; in other commands, --set alone."""
SEVERAL["check"] = SEVERAL["train"]

WRITTEN = {"picture", "embeddings", "output", "out", "fertilities"}
FOLDERS = {"model", "compare", "reranker", "init_from", "resume"}


def parameters(name: str) -> list[Any]:
    group: Any = typer.main.get_command(app)
    return [parameter for parameter in group.commands[name].params if not getattr(parameter, "hidden", False)]


NAMES = [command.__name__.rstrip("_") for command in COMMANDS]
OPTIONS = [
    pytest.param(name, parameter, id=f"{name} {parameter.opts[0]}")
    for name in NAMES
    for parameter in parameters(name)
    if parameter.param_type_name == "option" and not parameter.is_eager
]


@pytest.mark.parametrize(("name", "parameter"), OPTIONS)
def test_an_option_given_twice_is_refused_unless_it_takes_several(
    name: str, parameter: Any, saccade: Run
) -> None:
    assert parameter.multiple == (parameter.name in SEVERAL.get(name, {"overrides"}))
    if parameter.multiple:
        return
    value = [] if parameter.is_flag else ["1"]
    short = min(parameter.opts, key=len)  # both names of an option are the same option
    result = saccade(name, parameter.opts[0], *value, short, *value)
    refused(result, f"{max(parameter.opts, key=len)}", "given 2 times; give it once.")


def test_the_two_forms_of_a_flag_are_one_option(saccade: Run) -> None:
    refused(saccade("translate", "m", "--sample", "--no-sample"), "--sample/--no-sample: given 2 times")


@pytest.mark.parametrize("name", NAMES)
def test_help_is_printed_however_often_it_is_asked_for(name: str, saccade: Run) -> None:
    assert saccade(name, "--help", "-h").text.startswith("Usage")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_path_is_read_or_written_or_a_folder(command: Callable[..., None]) -> None:
    """A new option that names a text has to be entered in INPUTS."""
    parameters = inspect.signature(expanded(command)).parameters.values()
    paths = {one.name for one in parameters if "Path" in str(one.annotation)}
    assert paths <= {*INPUTS, *WRITTEN, *FOLDERS}


@pytest.mark.parametrize("command", ["train", "check"])
def test_files_after_an_option_get_a_message_that_helps(command: str, saccade: Run, corpus: Path) -> None:
    files = [corpus / f"{split}.{side}" for side in ("en", "de") for split in ("train", "valid")]
    words = ("--source", files[0], files[1], "--target", files[2], files[3])
    refused(saccade(command, *words), str(files[3]), "repeat the option", "--source FILE --source FILE")
    refused(saccade(command, *words[:-1]), str(files[1]), "not valid TOML", "repeat the option")


def test_the_last_value_of_a_setting_holds(saccade: Run, corpus: Path) -> None:
    values = [*SMALLEST, "training.steps=3", "training.steps=7"]
    assert "steps = 7" in saccade("check", *pair(corpus), *settings(values)).text


# --- several files ---------------------------------------------------------------------------------


def written(folder: Path, **texts: str) -> dict[str, Path]:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: folder / name for name in texts}


@pytest.mark.parametrize("from_file", [False, True])
def test_all_training_files_are_read_in_order(
    from_file: bool, saccade: Run, corpus: Path, tmp_path: Path
) -> None:
    splits = ("train", "valid", "test")
    files = {side: [corpus / f"{split}.{end}" for split in splits] for side, end in SIDES.items()}
    words = [word for side in SIDES for path in files[side] for word in (f"--{side}", path)]
    words += ["--valid-source", files["source"][0], "--valid-target", files["target"][0]]
    words += ["--valid-source", files["source"][1], "--valid-target", files["target"][1]]
    if from_file:
        tables = [f"{side} = {json.dumps(list(map(str, files[side])))}" for side in SIDES]
        tables += [f"valid_{side} = {json.dumps(list(map(str, files[side][:2])))}" for side in SIDES]
        (tmp_path / "run.toml").write_text("[data]\n" + "\n".join(tables), encoding="utf-8")
        words = [tmp_path / "run.toml"]
    result = saccade("check", *words, *settings(SMALLEST))
    assert "training: 350 pairs read, 350 kept" in result.text
    assert "validation: 320 pairs read" in result.text


SIDES = {"source": "en", "target": "de"}


def test_files_of_one_side_alone_are_refused(saccade: Run, corpus: Path) -> None:
    words = (*pair(corpus), "--source", corpus / "valid.en")
    refused(saccade("check", *words), "source names 2 and target 1 files")


def test_several_references_count_as_such(
    saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    source, reference = corpus / "test.en", corpus / "test.de"
    mine = saccade("translate", run_folder, source, *QUICK).out
    (tmp_path / "mine").write_bytes(mine)
    words = ("evaluate", run_folder, "--source", source, *QUICK, "--json", "--reference", reference)
    found = json.loads(saccade(*words, "--reference", tmp_path / "mine").text)
    assert (found["exact"], round(found["chrf"])) == (1.0, 100)
    assert "nrefs:2" in found["signature"] and "nrefs:2" in found["chrf_signature"]
    assert "nrefs:1" in json.loads(saccade(*words).text)["signature"]
    (tmp_path / "short").write_text("x\n", encoding="utf-8")
    refused(saccade(*words, "--reference", tmp_path / "short"), "30 lines", "short has 1 lines")


def test_compare_takes_several_references(saccade: Run, tmp_path: Path) -> None:
    texts = written(tmp_path, a="one two\nthree\n", b="one\nfour\n", r="one two\nfive\n", s="one\nfour\n")
    words = ("compare", texts["a"], texts["b"], "--samples", 10, "--reference", texts["r"])
    found = json.loads(saccade(*words, "--reference", texts["s"], "--json").text)
    assert found["systems"][1]["chrf"]["score"] == 100
    assert all("nrefs:2" in signature for signature in found["signatures"])
    assert found["differences"][0]["more_references"] == ["four"]
    assert "  reference  five\n  reference  four\n" in saccade(*words, "--reference", texts["s"]).text


def test_evaluate_scores_a_text_as_compare_advises(saccade: Run, tmp_path: Path) -> None:
    texts = written(tmp_path, mine="one two\nthree\n", a="one two\nfour\n", b="x\nthree\n")
    advice = saccade("compare", texts["mine"], "--reference", texts["a"])
    refused(advice, "saccade evaluate HYP_OR_RUN --reference FILE")
    words = ("evaluate", texts["mine"], "--reference", texts["a"])
    assert "50.0%   1 of 2 lines" in saccade(*words).text
    both = saccade(*words, "--reference", texts["b"], "--json")
    assert json.loads(both.text)["exact"] == 1.0 and "seconds" not in json.loads(both.text)
    refused(saccade(*words, "--beam", 3), "is a text of translations")
    refused(saccade(*words, "--source", texts["a"]), "is a text of translations")


def test_a_model_needs_a_source_to_be_evaluated(saccade: Run, run_folder: Path, corpus: Path) -> None:
    refused(saccade("evaluate", run_folder, "--reference", corpus / "test.de"), "--source", "needed")
    refused(saccade("evaluate", corpus / "x", "--reference", corpus / "test.de"), "no such file or folder")


# --- pipes and standard input ----------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[..., Path]:
    """A named pipe that gets these bytes when it is opened."""

    def pipe(data: bytes | Path) -> Path:
        path = tmp_path / f"pipe{len(list(tmp_path.glob('pipe*')))}"
        os.mkfifo(path)
        content = data.read_bytes() if isinstance(data, Path) else data
        threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
        return path

    return pipe


Commands = dict[str, tuple[list[object], dict[str, str]]]
READING: Commands = {
    "translate": (["translate", "{model}", *QUICK], {"": "en"}),
    "evaluate": (["evaluate", "{model}", "--json", *QUICK], {"--source": "en", "--reference": "de"}),
    "score": (["score", "{model}"], {"--source": "en", "--target": "de"}),
    "compare": (["compare", "--json", "--samples", 10, "{test}"], {"": "en", "--reference": "de"}),
    "distill": (["distill", "{model}", "--out", "{out}", *QUICK], {"--source": "en"}),
    "align": (["align", "{model}", "--out", "{out}"], {"--source": "en", "--target": "de"}),
    "export": (["export", "{model}", "--to", "saccade", "--out", "{out}"], {"--sample": "en"}),
    "check": (["check", *settings(SMALLEST)], {"--source": "en", "--target": "de"}),
}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("kind", ["pipes", "compressed pipes", "standard input"])
def test_what_is_read_once_gives_what_a_file_gives(
    name: str, kind: str, saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path, pipe: Any
) -> None:
    words, options = READING[name]
    place = {"model": run_folder, "test": corpus / "test.de", "out": tmp_path / "out"}
    texts = {option: (corpus / f"test.{end}").read_bytes() for option, end in options.items()}

    def run(files: dict[str, Path], stdin: bytes = b"") -> tuple[bytes, bytes]:
        given = [word for option, path in files.items() for word in filter(None, (option, path))]
        command = [str(word).format(**place) for word in words]
        result = saccade(*command, *given, stdin=stdin)
        assert result.code == 0, result.err
        out = tmp_path / "out"
        made = out.read_bytes() if out.is_file() else b""
        if out.exists():
            out.rename(tmp_path / f"made{len(list(tmp_path.iterdir()))}")
        return comparable(name, result.out, place), made

    expected = run({option: corpus / f"test.{end}" for option, end in options.items()})
    if kind == "standard input":
        first, *rest = options
        files = {option: corpus / f"test.{options[option]}" for option in rest}
        assert run({first: Path("-"), **files}, stdin=texts[first]) == expected
    else:
        pack = lzma.compress if kind.startswith("compressed") else bytes
        assert run({option: pipe(pack(text)) for option, text in texts.items()}) == expected


def comparable(name: str, out: bytes, place: dict[str, Path]) -> bytes:
    """The output without times and names of files."""
    if name == "evaluate":
        found = json.loads(out)
        return json.dumps({key: value for key, value in found.items() if "second" not in key}).encode()
    if name == "compare":
        found = json.loads(out)
        scores = [[system["bleu"], system["chrf"]] for system in found["systems"]]
        return json.dumps([scores, [line["text"] for line in found["differences"]]]).encode()
    return out.partition(b"\ntraining: ")[2] if name == "check" else out


@pytest.mark.parametrize("name", [name for name in READING if len(READING[name][1]) > 1])
def test_two_inputs_cannot_both_be_standard_input_or_one_pipe(
    name: str, saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    words, options = READING[name]
    place = {"model": run_folder, "test": corpus / "test.de", "out": tmp_path / "out"}
    os.mkfifo(tmp_path / "p")  # nobody writes: opening it would wait for ever
    for path in (Path("-"), tmp_path / "p"):
        given = [word for option in options for word in filter(None, (option, path))]
        result = saccade(*[str(word).format(**place) for word in words], *given)
        refused(result, "name the same input twice", "Save it to a file first.")


def test_prefixes_and_text_cannot_both_be_standard_input(saccade: Run, run_folder: Path) -> None:
    refused(saccade("translate", run_folder, "--prefix-file", "-"), "FILE and --prefix-file name the same")


def test_prefixes_of_a_pipe_are_counted_as_it_is_read(
    saccade: Run, run_folder: Path, tmp_path: Path, pipe: Any
) -> None:
    prefixes = written(tmp_path, prefixes="zwei\n\n")["prefixes"]
    words = ("translate", run_folder, "--prefix-file", prefixes, *QUICK)
    two = saccade(*words, pipe(b"forty-two\nseven\n"))
    assert two.code == 0 and len(two.lines) == 2 and two.lines[0].startswith("zwei")
    three = saccade(*words, pipe(b"one\ntwo\nthree\n"))
    assert three.code == 2 and "there are 2 prefixes but more lines" in three.err


def test_training_keeps_the_text_of_pipes_and_can_be_resumed(
    saccade: Run, corpus: Path, tmp_path: Path, pipe: Any
) -> None:
    values = settings([*SMALLEST, "tokenizer.sampling=0.1", "training.save_every=2"])
    plain, piped = tmp_path / "plain", tmp_path / "piped"
    assert saccade("train", *pair(corpus), "--out", plain, *values).code == 0
    source, target = pipe(corpus / "train.en"), pipe(gzip.compress((corpus / "train.de").read_bytes()))
    result = saccade("train", "--source", source, "--target", target, "--out", piped, *values)
    assert result.code == 0, result.err
    assert f"read only once is kept in {piped / 'text'}" in result.err
    weights = "checkpoints/last/model.safetensors"
    assert (plain / weights).read_bytes() == (piped / weights).read_bytes()
    assert (piped / "text" / "source-1").read_bytes() == (corpus / "train.en").read_bytes()
    config = (piped / "config.toml").read_text(encoding="utf-8")
    (piped / "config.toml").write_text(config.replace("steps = 4", "steps = 6"), encoding="utf-8")
    for prepared in (piped / "data").rglob("*"):
        if prepared.name == "report.json":
            prepared.unlink()  # the text is read once more
    assert saccade("train", "--resume", piped).code == 0


def test_text_of_a_pipe_that_cannot_be_trained_on_leaves_no_folder(
    saccade: Run, corpus: Path, tmp_path: Path, pipe: Any
) -> None:
    words = ("--source", pipe(b"one\n"), "--target", corpus / "train.de", "--out", tmp_path / "run")
    refused(saccade("train", *words, *settings(SMALLEST)), "has 1 lines", "300 lines")
    assert not (tmp_path / "run").exists()


# --- foreign files and long lines ------------------------------------------------------------------


@pytest.mark.parametrize("name", READING)
def test_every_command_refuses_utf16_in_one_message(
    name: str, saccade: Run, run_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    words, options = READING[name]
    place = {"model": run_folder, "test": corpus / "test.de", "out": tmp_path / "out"}
    for end in ("en", "de"):
        text = (corpus / f"test.{end}").read_text(encoding="utf-8")
        (tmp_path / end).write_bytes(text.encode("utf-16"))
    given = [word for option, end in options.items() for word in filter(None, (option, tmp_path / end))]
    result = saccade(*[str(word).format(**place) for word in words], *given)
    refused(result, "UTF-16 (little-endian), not UTF-8.", "iconv -f UTF-16 -t UTF-8")
    assert not (tmp_path / "out").exists()


def test_a_line_without_an_end_is_reported_and_the_others_translated(saccade: Run, run_folder: Path) -> None:
    text = b"one\n" + b"x" * 3_000_000 + b"\ntwo\n"
    result = saccade("translate", run_folder, *QUICK, "--json", stdin=text)
    first, second, third = map(json.loads, result.lines)
    assert (second["text"], second["problem"]) == ("", "not translated: longer than 1 MiB")
    assert second["problems"] == ["too-long"]
    assert first["text"] and third["text"]
    assert "line 2: not translated: longer than 1 MiB\n" in result.err


def test_lines_that_training_cannot_use_are_dropped_and_counted(
    saccade: Run, corpus: Path, tmp_path: Path
) -> None:
    source = [*(corpus / "train.en").read_bytes().split(b"\n")[:-1], b"x" * 3_000_000, b"o\0ne", b"caf\xe9"]
    target = [*(corpus / "train.de").read_bytes().split(b"\n")[:-1], b"eins", b"zwei", b"drei"]
    (tmp_path / "en").write_bytes(b"\n".join(source))
    (tmp_path / "de").write_bytes(b"\n".join(target))
    result = saccade("check", "--source", tmp_path / "en", "--target", tmp_path / "de", *settings(SMALLEST))
    for number, problem in ((301, "longer than 1 MiB"), (302, "NUL characters"), (303, "bad UTF-8")):
        assert f"dropped, {problem}: 1 ({tmp_path / 'en'}:{number})" in result.text


# --- tables ----------------------------------------------------------------------------------------


@pytest.fixture
def table(corpus: Path, tmp_path: Path) -> Path:
    """TSV: number, German, English, remark."""
    sides = [(corpus / f"train.{end}").read_text(encoding="utf-8").split("\n")[:-1] for end in ("de", "en")]
    rows = [f"{number}\t{de}\t{en}\tok\n" for number, (de, en) in enumerate(zip(*sides, strict=True))]
    (tmp_path / "table.tsv").write_text("".join(rows), encoding="utf-8")
    return tmp_path / "table.tsv"


def test_columns_of_a_table_are_chosen(saccade: Run, corpus: Path, table: Path) -> None:
    def report(*words: object) -> str:
        return saccade("check", *words, *settings(SMALLEST)).text.partition("\ntraining: ")[2]

    expected = report(*pair(corpus))
    assert expected.startswith("300 pairs read, 294 kept, 6 held out")
    assert report("--pairs", table, "--columns", "3,2") == expected
    assert report(*settings([f"data.pairs={table}", "data.columns=[3, 2]"])) == expected


def test_a_table_without_a_choice_says_what_a_line_must_be(saccade: Run, table: Path) -> None:
    result = saccade("check", "--pairs", table, *settings(SMALLEST))
    refused(
        result, f"{table}:1: 4 columns; a line must be the source, one tab and the target", "--columns 1,2"
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("1,5", ":1: 4 columns; a line must have 5 columns or more"),
        ("1,1", "two different columns"),
        ("0,1", "counted from 1"),
        ("a,b", "give two numbers, such as 1,2"),
        ("1", "data.columns"),
        ("1,2,3", "data.columns"),
    ],
)
def test_columns_that_a_table_cannot_have_are_refused(
    columns: str, message: str, saccade: Run, table: Path
) -> None:
    refused(saccade("check", "--pairs", table, "--columns", columns, *settings(SMALLEST)), message)


def test_columns_without_a_table_are_refused(saccade: Run, corpus: Path) -> None:
    refused(saccade("check", *pair(corpus), "--columns", "1,2"), "only for pairs")
