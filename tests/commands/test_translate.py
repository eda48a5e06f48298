"""saccade translate: one line in, one line out, whatever the bytes."""

from __future__ import annotations

import gzip
import json
import os
import pty
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import saccade as package
from saccade.model_folder.checkpoint import save_model
from saccade.text.formats import no_text
from tests import tiny
from tests.commands.conftest import Run, environment, refused, snapshot

QUICK = ("--max-length", 6)  # an untrained model would babble on


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights that reads at most 12 pieces."""
    import torch

    folder = tmp_path_factory.mktemp("models") / "random"
    save_model(folder, tiny.model(dtype=torch.float32, positions="learned", max_positions=12))
    return folder


def split(data: bytes) -> list[bytes]:
    """Lines by the newline character alone; the last one counts without it."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


chunks = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", errors="surrogatepass")),
    st.sampled_from(
        [b"\n", b"\r\n", b"\r", b"\x0b", b"\x0c", b"\x85", "\u2028".encode(), b"\x00", b"the dog"]
    ),
)


@settings(max_examples=25)
@given(data=st.lists(chunks, max_size=12).map(b"".join))
def test_there_are_as_many_lines_out_as_in(data: bytes, saccade: Run, model: Path) -> None:
    result = saccade("translate", model, *QUICK, "--beam", 1, stdin=data)
    if no_text(data) is not None:  # bytes that look like UTF-16, for example
        assert result.code == 2 and not result.out
        return
    assert result.code == 0
    assert len(result.lines) == len(split(data))
    assert result.out == b"" or result.out.endswith(b"\n")


def test_the_command_says_what_the_library_says(saccade: Run, model: Path) -> None:
    lines = ["the dog sees an apple.", "", "a cat", "seven books"]
    result = saccade("translate", model, *QUICK, "--beam", 3, stdin="\n".join(lines).encode())
    expected = package.load(model).translate(lines, beam=3, max_length=6)
    assert result.lines == [translation.text for translation in expected]


def test_blank_lines_and_carriage_returns(saccade: Run, model: Path) -> None:
    plain = saccade("translate", model, *QUICK, stdin=b"a cat\n\n \t\na cat\n")
    dos = saccade("translate", model, *QUICK, stdin=b"a cat\r\n\r\n \t\r\na cat")
    assert plain.out == dos.out
    first, *blank, last = plain.lines
    assert blank == ["", ""]
    assert first == last


def test_bad_bytes_are_replaced_with_a_warning(saccade: Run, model: Path) -> None:
    result = saccade("translate", model, *QUICK, stdin=b"a cat\n\xff\xfe\na cat\n")
    assert len(result.lines) == 3
    assert result.err.startswith("line 2: not UTF-8; the bad bytes were replaced\n")


def test_a_line_that_is_too_long_is_told_and_left_empty(saccade: Run, model: Path) -> None:
    result = saccade("translate", model, *QUICK, stdin=b"a cat\n" + b"seven books " * 30 + b"\na cat\n")
    assert result.code == 0
    first, second, third = result.lines
    assert second == "" and first == third
    [message] = [line for line in result.err.splitlines() if line.startswith("line 2: ")]
    assert message.startswith("line 2: not translated: ") and "at most 12" in message


def test_files_plain_or_packed_are_read_and_written(saccade: Run, model: Path, tmp_path: Path) -> None:
    text = b"a cat\n\nthe dog\n"
    (tmp_path / "in.txt").write_bytes(text)
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(text))
    expected = saccade("translate", model, *QUICK, stdin=text).out
    for name in ("in.txt", "in.txt.gz"):
        assert saccade("translate", model, tmp_path / name, *QUICK).out == expected
    result = saccade("translate", model, "-", *QUICK, "--output", tmp_path / "out.txt", stdin=text)
    assert result.out == b""
    assert (tmp_path / "out.txt").read_bytes() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "in.txt.gz", "out.txt"]


def test_n_best_lines_carry_their_index_and_score(saccade: Run, model: Path) -> None:
    result = saccade("translate", model, *QUICK, "--beam", 3, "--nbest", 2, stdin=b"a cat\n\nthe dog\n")
    [best, other], [empty], [_, _] = (
        [line for line in result.lines if line.startswith(f"{index} ||| ")] for index in range(3)
    )
    assert empty == "1 |||  ||| 0.000000"
    assert float(best.split(" ||| ")[2]) >= float(other.split(" ||| ")[2])


def test_json_lines_tell_everything(saccade: Run, model: Path) -> None:
    stdin = b"a cat\n\n" + b"seven books " * 30
    result = saccade("translate", model, *QUICK, "--json", "--beam", 2, "--nbest", 2, stdin=stdin)
    first, empty, long = (json.loads(line) for line in result.lines)
    assert (first["line"], first["source"]) == (1, "a cat")
    assert first["log_prob"] < 0
    assert first["alternatives"][0]["text"] == first["text"]
    assert len(first["alternatives"]) == 2
    assert empty == {"line": 2, "source": "", "text": "", "score": 0.0, "log_prob": 0.0, "tokens": []}
    assert "at most 12" in long["problem"]


def test_sampling_is_decided_by_the_seed(saccade: Run, model: Path) -> None:
    def draw(seed: int) -> bytes:
        options = ("--sample", "--temperature", 1.5, "--top-k", 50, "--top-p", 0.95, "--seed", seed)
        return saccade("translate", model, *QUICK, *options, stdin=b"a cat\nthe dog\n").out

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_prefixes_begin_the_translations(saccade: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "prefixes").write_text("THE DOG\n\n", encoding="utf-8")
    words = ("--prefix-file", tmp_path / "prefixes", "--max-length", 11)
    result = saccade("translate", model, *words, stdin=b"the dog\na cat\n")
    assert result.lines[0].startswith("THE DOG")
    free = saccade("translate", model, "--max-length", 11, stdin=b"the dog\na cat\n")
    assert result.lines[1] == free.lines[1]


@pytest.mark.parametrize("source", ["a cat\n", "a cat\nthe dog\nseven books\n"])
def test_prefixes_that_do_not_match_the_lines_are_refused(
    source: str, saccade: Run, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "prefixes").write_text("A\nB\n", encoding="utf-8")
    (tmp_path / "in").write_text(source, encoding="utf-8")
    (tmp_path / "out").write_text("older", encoding="utf-8")
    words = ("--prefix-file", tmp_path / "prefixes", "--output", tmp_path / "out", *QUICK)
    refused(
        saccade("translate", model, tmp_path / "in", *words),
        "prefixes has 2 lines",
        "each line needs one prefix",
    )
    result = saccade("translate", model, *words, stdin=source.encode())
    assert result.code == 2 and "there are 2 prefixes but" in result.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "older"


REFUSED = {
    "no such model": (["{folder}/nowhere"], ["nowhere", "no such model folder"]),
    "a file for a model": (["{folder}/in"], ["in", "not a model folder"]),
    "a foreign folder": (["{folder}/foreign"], ["foreign", "a folder of transformers"]),
    "a damaged model": (["{folder}/damaged"], ["damaged", "model.safetensors"]),
    "a newer model": (["{folder}/newer"], ["format 99", "newer"]),
    "no such text": (["{model}", "{folder}/nowhere.txt"], ["nowhere.txt", "no such file"]),
    "a folder for a text": (["{model}", "{folder}"], ["a folder"]),
    "more results than hypotheses": (["{model}", "--nbest", "9"], ["nbest 9", "beam"]),
    "sampling options without sampling": (["{model}", "--top-k", "3"], ["top_k", "sample"]),
    "an unknown penalty": (["{model}", "--length-penalty", "fair"], ["length_penalty", "gnmt"]),
    "no beam": (["{model}", "--beam", "0"], ["--beam"]),
    "no such device": (["{model}", "--device", "abacus"], ["--device abacus"]),
    "nowhere to write": (["{model}", "--output", "{folder}/no/out"], ["out", "cannot write"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_in_one_message(
    case: str, saccade: Run, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").write_text("a cat\n", encoding="utf-8")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.json").write_text("{}", encoding="utf-8")
    for name in ("damaged", "newer"):
        copy(model, tmp_path / name)
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    description = json.loads((tmp_path / "newer" / "model.json").read_bytes())
    (tmp_path / "newer" / "model.json").write_text(json.dumps(description | {"format": 99}), encoding="utf-8")
    before = snapshot(tmp_path)
    words, parts = REFUSED[case]
    refused(
        saccade("translate", *[word.format(model=model, folder=tmp_path) for word in words], stdin=b"a\n"),
        *parts,
    )
    assert snapshot(tmp_path) == before


def copy(folder: Path, to: Path) -> None:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())


def test_a_full_disk_leaves_the_older_file_and_what_was_done(
    process: Run, model: Path, tmp_path: Path
) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    (tmp_path / "out").write_text("older", encoding="utf-8")
    stdin = b"a cat\n" * 3000
    words = (*QUICK, "--beam", 1, "--min-length", 5, "--output", tmp_path / "out")
    result = process("translate", model, *words, stdin=stdin, prepare=small_files)
    assert result.code == 2
    assert f"Error: {tmp_path / 'out'}: cannot write" in result.err and "Traceback" not in result.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "older"
    assert f"{tmp_path / 'out'}.partial holds" in result.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_standard_output_is_no_fault_of_ours(model: Path) -> None:
    command = f"echo a | {sys.executable} -m saccade translate {model} --max-length 2 > /dev/full"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, env=environment(), check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        b"Error: cannot write: No space left on device. Free some space and try again.\n"
    )


def test_an_output_that_is_no_plain_file_is_written_through(
    saccade: Run, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"a cat\n")
    (tmp_path / "real").write_bytes(b"older")
    (tmp_path / "link").symlink_to("real")
    expected = saccade("translate", model, tmp_path / "in", *QUICK).out
    done = saccade("translate", model, tmp_path / "in", *QUICK, "-o", tmp_path / "link")
    assert done.code == 0 and (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == expected
    reading, writing = os.pipe()
    done = saccade("translate", model, tmp_path / "in", *QUICK, "-o", f"/dev/fd/{writing}")
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert done.code == 0 and stream.read() == expected
    done = saccade("translate", model, tmp_path / "in", *QUICK, "-o", "/dev/full")
    refused(done, "/dev/full: cannot write: the disk is full")


def test_a_text_is_not_written_over_itself_under_any_name(saccade: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a cat\n")
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "hard").hardlink_to(tmp_path / "in")
    before = snapshot(tmp_path)
    for name in ("in", "link", "hard"):
        refused(saccade("translate", "no-model", tmp_path / "in", "-o", tmp_path / name), name, "also read")
        files = ("--source", tmp_path / "in", "--reference", tmp_path / "link", "-o", tmp_path / name)
        refused(saccade("evaluate", "no-model", *files), name, "also read")
        files = ("--source", tmp_path / "in", "--target", tmp_path / "link", "-o", tmp_path / name)
        refused(saccade("align", "no-model", *files), name, "also read")
        files = ("--source", tmp_path / "in", "-o", tmp_path / "out", "--fertilities", tmp_path / name)
        refused(saccade("distill", "no-model", *files), name, "also read")
    new = tmp_path / "new"
    files = ("--source", tmp_path / "in", "-o", new, "--fertilities", tmp_path / "." / "x" / ".." / "new")
    refused(saccade("distill", "no-model", *files), "are one file")
    assert snapshot(tmp_path) == before


def test_a_program_that_waits_for_each_answer_gets_it(model: Path) -> None:
    command = [sys.executable, "-m", "saccade", "translate", str(model), "--max-length", "3"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment()}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        for question in (b"a cat\n", b"seven books\na cat\n"):
            process.stdin.write(question)
            process.stdin.flush()
            assert len([process.stdout.readline() for _ in question.splitlines()]) == question.count(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_a_person_at_a_terminal_is_answered_line_by_line(model: Path) -> None:
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "saccade", "translate", str(model), "--max-length", "3"],
        stdin=inner,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(inner)
    assert process.stdout is not None
    for _ in range(2):  # each answer is read before the next line is typed
        os.write(terminal, b"a cat\n")
        assert process.stdout.readline().endswith(b"\n")
    os.write(terminal, b"\x04")  # Ctrl-D
    _, errors = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 0
    assert b"Ctrl-D" in errors
