"""What a run leaves behind: checkpoints, averages, metrics; when it ends and why."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from saccade.errors import UserError
from saccade.model_folder.checkpoint import average_weights, load_model, read_json, read_tensors
from saccade.runs.experiment import read_experiment, resume_run, start_run
from saccade.tasks import translation
from saccade.tasks.translation_validation import Validation
from saccade.training.counters import Counters, read_counters
from saccade.training.distributed import Group
from saccade.training.eager import EagerStep
from saccade.use.translator import Translator
from tests.training.conftest import drive
from tests.training.drive import TINY


def run(corpus: Path, *settings: str, name: str = "run") -> tuple[Path, Counters]:
    files = [f"data.source={corpus / 'train.en'}", f"data.target={corpus / 'train.de'}", "data.holdout=20"]
    experiment = read_experiment(overrides=[*files, *TINY, *settings])
    return corpus / name, start_run(experiment, corpus / name, Group())


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    written = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in written if line["kind"] == kind]


def test_best_and_last_are_models_that_translate_and_say_what_they_are(corpus: Path) -> None:
    folder, counters = run(corpus)
    assert counters.finished
    for name in ("best", "last"):
        model = folder / "checkpoints" / name
        assert len(Translator.load(model).translate(["seven", "eleven"])) == 2
        provenance = read_json(model / "model.json")["provenance"]
        assert provenance["seed"] == 1
        assert set(provenance["data"]) == {"train.en", "train.de"}
        assert str(corpus) not in (model / "model.json").read_text()
    assert load_model(folder).provenance["step"] == counters.best_step


def test_early_stopping_ends_after_so_many_validations_without_a_new_best(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3.0, 5.0, 4.0, 5.0, 9.0])

    def validate(*_: object, **__: object) -> Validation:
        return Validation(loss=1.0, perplexity=2.7, bleu=next(scores), chrf=0.0, exact=0.0)

    monkeypatch.setattr(translation, "validate", validate)
    _, counters = run(corpus, "validation.every=2", "validation.patience=2")
    assert counters.step == 8
    assert counters.best == 5.0
    assert counters.best_step == 8  # the later of two equals, which yet does not count as progress


def test_the_average_is_the_mean_of_the_last_checkpoints_and_older_ones_go(corpus: Path) -> None:
    folder, counters = run(corpus, "training.average=3", "validation.every=3")
    kept = sorted(folder.glob("checkpoints/step-*"))
    assert [path.name for path in kept] == ["step-12", "step-6", "step-9"]
    assert counters.kept == [6, 9, 12]
    for name, tensor in average_weights(kept).items():
        stored = read_tensors(folder / "checkpoints" / "average" / "model.safetensors")[name]
        torch.testing.assert_close(stored, tensor, rtol=0, atol=0)
    assert len(lines(folder, "average")) == 1


def test_the_moving_average_is_what_is_saved_and_training_goes_on_with_the_raw_weights(corpus: Path) -> None:
    plain, _ = run(corpus, "model.dropout=0", name="plain")
    smooth, _ = run(corpus, "model.dropout=0", "training.ema=0.5", name="smooth")
    last = smooth / "checkpoints" / "last"
    raw = read_tensors(last / "training.safetensors")
    for name, tensor in read_tensors(plain / "checkpoints" / "last" / "model.safetensors").items():
        assert torch.equal(raw[f"raw/{name}"], tensor)
    averaged = read_tensors(last / "model.safetensors")
    assert any(not torch.equal(raw[f"raw/{name}"], tensor) for name, tensor in averaged.items())


def test_without_validation_text_the_last_model_is_the_best(corpus: Path) -> None:
    files = [f"data.source={corpus / 'train.en'}", f"data.target={corpus / 'train.de'}", "data.holdout=0"]
    start_run(read_experiment(overrides=[*files, *TINY]), corpus / "run", Group())
    best, last = (
        read_tensors(corpus / "run" / "checkpoints" / name / "model.safetensors") for name in ("best", "last")
    )
    assert all(torch.equal(best[name], last[name]) for name in best)


def test_a_run_that_diverges_stops_with_a_diagnosis_and_keeps_its_checkpoint(corpus: Path) -> None:
    with pytest.raises(UserError, match=r"training\.peak_rate.*training\.warmup.*training\.clip_norm"):
        run(corpus, "training.peak_rate=1e30", "training.warmup=0", "training.max_skipped=3")
    skipped = lines(corpus / "run", "skipped")
    assert len(skipped) == 3


def scored(monkeypatch: pytest.MonkeyPatch, *values: tuple[float, float]) -> None:
    """Validations with these losses and BLEU scores."""
    scores = iter(values)

    def validate(*_: object, **__: object) -> Validation:
        loss, bleu = next(scores)
        return Validation(loss=loss, perplexity=2.7, bleu=bleu, chrf=0.0, exact=0.0)

    monkeypatch.setattr(translation, "validate", validate)


NAN, INFINITE = float("nan"), float("inf")


def test_a_model_whose_loss_or_score_is_not_finite_is_never_the_best(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, (NAN, 50.0), (1.0, NAN), (1.0, 0.0), (NAN, 0.0), (INFINITE, 9.0), (1.0, -0.5))
    folder, counters = run(corpus, "validation.every=2")
    assert (counters.best, counters.best_step, counters.stale) == (0.0, 6, 3)
    assert load_model(folder).provenance["step"] == 6
    assert [line["loss"] for line in lines(folder, "valid")] == [None, 1.0, 1.0, None, None, 1.0]


def test_a_loss_that_stays_not_finite_stops_the_run(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, (1.0, 3.0), *[(NAN, 0.0)] * 9)
    with pytest.raises(UserError, match="step 8: the validation loss was not finite 3 times in a row"):
        run(corpus, "validation.every=2")
    assert load_model(corpus / "run").provenance["step"] == 2


@pytest.mark.parametrize("settings", [(), ("training.ema=0.9", "training.average=2")])
def test_weights_that_are_not_finite_stop_the_run_and_replace_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    update, calls = EagerStep.__call__, iter(range(1, 100))

    def spoiling(self: EagerStep, *arguments: Any, **options: Any) -> Any:
        result = update(self, *arguments, **options)
        if next(calls) == 9:
            with torch.no_grad():
                self.parameters[3].view(-1)[0] = INFINITE
        return result

    monkeypatch.setattr(EagerStep, "__call__", spoiling)
    with pytest.raises(UserError, match="weights are not finite"):
        run(corpus, "validation.every=3", "training.save_every=2", *settings)
    for folder in (corpus / "run" / "checkpoints").iterdir():
        for name, tensor in read_tensors(folder / "model.safetensors").items():
            assert bool(tensor.isfinite().all()), (folder, name)
    assert read_counters(corpus / "run" / "checkpoints" / "last" / "training.json").step == 8


def test_a_run_needs_a_folder_of_its_own(corpus: Path) -> None:
    folder, _ = run(corpus)
    before = (folder / "config.toml").read_bytes()
    with pytest.raises(UserError, match=f"{folder}: already holds a run"):
        run(corpus, "training.steps=3")
    assert (folder / "config.toml").read_bytes() == before
    (corpus / "mine").mkdir()
    (corpus / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="not an empty folder"):
        run(corpus, name="mine")
    with pytest.raises(UserError, match="holds no run"):
        resume_run(corpus / "mine", Group())


def test_a_longer_run_than_configured_goes_on_from_where_it_ended(corpus: Path) -> None:
    """Raising training.steps in a run's config.toml and resuming trains the rest."""
    whole, _ = run(corpus, "training.schedule=constant", "training.steps=16", name="whole")
    short, _ = run(corpus, "training.schedule=constant", "training.steps=12", name="short")
    config = short / "config.toml"
    config.write_text(config.read_text().replace("steps = 12", "steps = 16"))
    counters = resume_run(short, Group())
    assert counters.step == 16
    for name, tensor in read_tensors(whole / "checkpoints" / "last" / "model.safetensors").items():
        assert torch.equal(read_tensors(short / "checkpoints" / "last" / "model.safetensors")[name], tensor)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer"])
def test_a_compiled_run_has_the_same_losses(corpus: Path, kind: str) -> None:
    settings = ("model.dropout=0", "training.epsilon=1e-3", f"model.kind={kind}")
    assert drive(corpus / "plain", *settings).returncode == 0
    compiled = drive(corpus / "compiled", *settings, "training.compile=true")
    assert compiled.returncode == 0, compiled.stderr
    for one, other in zip(lines(corpus / "plain", "train"), lines(corpus / "compiled", "train"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


def blind(
    monkeypatch: pytest.MonkeyPatch,
    scores: list[tuple[float, float]],
    *,
    seen: list[str | None] | None = None,
) -> None:
    """Makes validation return these pairs of BLEU and loss, one after another."""
    found = iter(scores)

    def validate(*_: object, config: Any, **__: object) -> Validation:
        bleu, loss = next(found)
        if seen is not None:
            seen.append(config.tokenize)
        return Validation(loss=loss, perplexity=2.7, bleu=bleu, chrf=0.0, exact=0.0)

    monkeypatch.setattr(translation, "validate", validate)


def test_while_bleu_is_0_the_loss_decides_so_that_patience_ends_no_run_that_learns(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blind(monkeypatch, [(0.0, 4.0), (0.0, 3.0), (0.004, 2.0), (0.0, 2.5), (0.0, 1.0), (3.0, 1.5)])
    _, counters = run(corpus, "validation.every=2", "validation.patience=2")
    assert counters.step == 12 and counters.finished
    assert (counters.best, counters.best_step, counters.best_loss) == (3.0, 12, 1.5)
    said = capsys.readouterr().err
    assert said.count("bleu is 0.00 and cannot rank checkpoints yet") == 1
    assert said.count("best by loss") == 4


def test_while_bleu_is_0_a_loss_that_rises_still_ends_the_run(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind(monkeypatch, [(0.0, 4.0), (0.0, 3.0), (0.0, 3.5), (0.0, 3.0), (0.0, 1.0)])
    folder, counters = run(corpus, "validation.every=2", "validation.patience=2")
    assert (counters.step, counters.best_step, counters.best_loss) == (8, 4, 3.0)
    assert read_json(folder / "checkpoints" / "best" / "model.json")["provenance"]["step"] == 4


def test_the_average_is_ranked_by_its_loss_while_bleu_is_0(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, is_best in ((0.5, True), (1.5, False)):
        blind(monkeypatch, [(0.0, 3.0), (0.0, 2.0), (0.0, 1.0), (0.0, loss)])
        name = f"run-{loss}"
        folder, counters = run(corpus, "validation.every=4", "training.average=2", name=name)
        assert (counters.best_loss == loss) is is_best
        best, average = (
            read_tensors(folder / "checkpoints" / one / "model.safetensors") for one in ("best", "average")
        )
        assert all(torch.equal(best[key], average[key]) for key in best) is is_best


def test_a_run_scores_with_the_tokeniser_it_began_with_and_names_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "train.de").write_text(
        "".join(f"{'猫狗鸟马'[n % 4]}看见{'猫狗鸟马'[n // 4 % 4]}。\n" for n in range(240))
    )
    seen: list[str | None] = []
    blind(monkeypatch, [(1.0, 1.0)] * 20, seen=seen)
    folder, _ = run(corpus, "validation.every=6")
    assert json.loads((folder / "data" / "report.json").read_text())["tokenize"] == "zh"
    assert read_json(folder / "checkpoints" / "best" / "model.json")["provenance"]["bleu_tokenizer"] == "zh"
    config = (folder / "config.toml").read_text().replace("steps = 12", "steps = 18")
    (folder / "config.toml").write_text(config)
    monkeypatch.setattr("saccade.text.prepare.bleu_tokenizer", lambda _: "char")  # as on another machine
    resume_run(folder, Group())
    assert set(seen) == {"zh"} and len(seen) >= 3
    _, _ = run(corpus, "validation.every=6", "validation.tokenize=char", name="chosen")
    assert seen[-1] == "char"


def test_train_warns_of_the_same_text_on_both_sides_before_it_begins(corpus: Path) -> None:
    said: list[str] = []
    files = [f"data.source={corpus / 'train.en'}", f"data.target={corpus / 'train.en'}", "data.holdout=20"]
    experiment = read_experiment(overrides=[*files, *TINY, "training.steps=2"])
    start_run(experiment, corpus / "run", Group(), say=said.append)
    [warning] = [line for line in said if "are the same in" in line]
    assert warning.startswith("Warning: source and target are the same in 220 of 220 pairs")
