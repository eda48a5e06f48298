"""saccade distill and saccade align, and the other commands with what these make."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.text.reading import read_text
from tests.commands.conftest import SMALLEST, Run, pair, refused, settings


@pytest.fixture(scope="module")
def distilled(saccade: Run, corpus: Path, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.de and train.fert of the tiny teacher, and valid.fert of the given validation text."""
    folder = tmp_path_factory.mktemp("distilled")
    out = folder / "train.de"
    done = saccade(
        *("distill", run_folder, "--source", corpus / "train.en", "--out", out),
        *("--fertilities", folder / "train.fert", "--beam", 1, "--max-length", 12),
    )
    assert done.code == 0, done.err
    assert "source pieces" in done.err
    done = saccade("align", run_folder, *pair(corpus, "valid"), "--fertilities", folder / "valid.fert")
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def student(
    saccade: Run, corpus: Path, run_folder: Path, distilled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A fertility model trained on them by the command line alone."""
    run = tmp_path_factory.mktemp("students") / "fertility"
    done = saccade(
        *("train", "--source", corpus / "train.en", "--target", distilled / "train.de", "--out", run),
        *("--valid-source", corpus / "valid.en", "--valid-target", corpus / "valid.de"),
        *settings([setting for setting in SMALLEST if "tokenizer" not in setting]),
        *settings(["model.kind=nonautoregressive", f"training.teacher={run_folder}"]),
        *settings(
            [
                f"data.fertilities={distilled / 'train.fert'}",
                f"data.valid_fertilities={distilled / 'valid.fert'}",
            ]
        ),
        *settings(["data.max_dropped=1.0"]),
    )
    assert done.code == 0, done.err
    return run


def test_distilled_text_is_what_the_teacher_translates(
    saccade: Run, corpus: Path, run_folder: Path, distilled: Path
) -> None:
    plain = saccade("translate", run_folder, corpus / "train.en", "--beam", 1, "--max-length", 12)
    assert (distilled / "train.de").read_bytes() == plain.out
    assert len(read_text(distilled / "train.fert")) == len(plain.lines)
    assert not list(distilled.glob("*.partial*"))


def test_a_students_translations_are_judged_by_its_teacher(
    saccade: Run, corpus: Path, run_folder: Path, student: Path
) -> None:
    plain = saccade("translate", student, corpus / "test.en")
    assert plain.code == 0 and len(plain.lines) == 30
    judged = saccade("translate", student, corpus / "test.en", "--candidates", 5, "--reranker", run_folder)
    assert judged.code == 0 and len(judged.lines) == 30
    average = saccade("translate", student, corpus / "test.en", "--fertilities", "average")
    assert average.code == 0 and len(average.lines) == 30
    scored = saccade("evaluate", student, "--source", corpus / "test.en", "--reference", corpus / "test.de")
    assert scored.code == 0 and "BLEU" in scored.text


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--beam", 4], ["decoding.beam = 4", "no search from word to word"]),
        (["--nbest", 2], ["decoding.nbest = 2", "one translation a sentence"]),
        (["--sample"], ["decoding.sample = true", "not sampled"]),
        (["--max-length", 9], ["decoding.max_length = 9", "the length is decided"]),
        (["--iterations", 3], ["only for models with decoder = mask-predict"]),
        (["--candidates", 3], ["decoding.candidates = 3", "--reranker"]),
        (["--fertilities", "median"], ["decoding.fertilities"]),
        (["--engine", "ctranslate2"], ["nonautoregressive"]),
    ],
)
def test_what_does_not_apply_is_refused(
    saccade: Run, student: Path, options: list[object], parts: list[str]
) -> None:
    refused(saccade("translate", student, *options, stdin=b"one\n"), *parts)


def test_a_prefix_is_refused(saccade: Run, student: Path, tmp_path: Path) -> None:
    (tmp_path / "prefixes").write_text("eins\n")
    result = saccade("translate", student, "--prefix-file", tmp_path / "prefixes", stdin=b"one\n")
    refused(result, "cannot take a forced prefix")


def test_what_only_other_models_have_is_refused_there(saccade: Run, corpus: Path, run_folder: Path) -> None:
    refused(
        saccade("translate", run_folder, "--iterations", 3, stdin=b"one\n"), "only for non-autoregressive"
    )
    result = saccade("translate", run_folder, "--reranker", run_folder, stdin=b"one\n")
    refused(result, "writes token by token")


def test_a_student_has_no_score_and_cannot_teach(
    saccade: Run, corpus: Path, student: Path, tmp_path: Path
) -> None:
    refused(saccade("score", student, *pair(corpus, "test")), "cannot score a target", "Use its teacher")
    out = tmp_path / "fert"
    refused(saccade("align", student, *pair(corpus, "test"), "--fertilities", out), "writes token by token")
    assert not out.exists()
    result = saccade("translate", student, "--reranker", student, "--candidates", 2, stdin=b"one\n")
    refused(result, "the reranker is a non-autoregressive translation model")


def test_wrong_text_or_method_is_told_before_any_work(
    saccade: Run, corpus: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = saccade("distill", run_folder, "--source", tmp_path / "none", "--out", out)
    refused(result, "no such file")
    given = ["distill", run_folder, "--source", corpus / "test.en", "--out", out]
    refused(saccade(*given, "--method", "giza"), "--method", "giza: allowed are attention, eflomal")
    refused(saccade(*given, "--method", "eflomal", "--layer", 1), "only attention has layers")


def test_a_students_attention_is_drawn(saccade: Run, student: Path, tmp_path: Path) -> None:
    result = saccade("attention", student, "one hundred", "--out", tmp_path / "maps.png")
    assert result.code == 0, result.err
    assert (tmp_path / "maps.png").stat().st_size > 1000
    refused(
        saccade("attention", student, "one", "--beam", 3, "--out", tmp_path / "b.png"), "decoding.beam = 3"
    )


def test_a_configuration_is_checked_before_training(
    saccade: Run, corpus: Path, run_folder: Path, distilled: Path
) -> None:
    files = ["--source", corpus / "train.en", "--target", distilled / "train.de"]
    student = ["model.kind=nonautoregressive", f"training.teacher={run_folder}", "data.max_dropped=1.0"]
    given = [*settings(SMALLEST), *settings(student)]
    labels = settings([f"data.fertilities={distilled / 'train.fert'}"])
    result = saccade("check", *files, *given, *labels)
    assert result.code == 0, result.err
    assert "fertilities" in result.text and "parameters" in result.text
    refused(saccade("check", *files, *given), "data.fertilities is not set", "saccade align")
    wrong = settings([f"data.fertilities={distilled / 'valid.fert'}"])
    refused(saccade("check", *files, *given, *wrong), "belongs to line N of the others")


def test_fertilities_of_another_model_are_refused(
    saccade: Run, corpus: Path, distilled: Path, tmp_path: Path
) -> None:
    files = ["--source", corpus / "train.en", "--target", distilled / "train.de", "--out", tmp_path / "run"]
    other = ["model.kind=nonautoregressive", "data.max_dropped=1.0", "tokenizer.vocab_size=70"]
    labels = [f"data.fertilities={distilled / 'train.fert'}", "tokenizer.byte_fallback=false"]
    result = saccade("train", *files, *settings([*SMALLEST, *other, *labels]))
    refused(result, "its fertilities are", "Set training.teacher to the model that made them")
    assert not (tmp_path / "run").exists()
