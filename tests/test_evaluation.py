"""BLEU's tokeniser fits the references by itself, and a choice of the user's goes before it."""

from __future__ import annotations

import pytest
from sacrebleu.metrics.bleu import BLEU

from saccade.comparison import compare
from saccade.evaluation import score_text

CHINESE = ["汤姆说他不想出去。", "他们昨天在学校看见了一只猫。", "我的老师认识那个年轻的医生。"]
THAI = ["เขาบอกว่าเขาไม่อยากออกไปข้างนอก", "เราไปโรงเรียนเมื่อวานนี้", "ครูของฉันรู้จักหมอคนนั้น"]


@pytest.mark.parametrize(("references", "tokenizer"), [(CHINESE, "zh"), (THAI, "char")])
def test_nearly_right_text_without_blanks_scores_what_sacrebleu_gives_with_its_tokeniser(
    references: list[str], tokenizer: str
) -> None:
    found = [line[:-3] + line[-2:] for line in references]
    scores = score_text(found, references)
    theirs = BLEU(tokenize=tokenizer).corpus_score(found, [references])
    assert scores.bleu == pytest.approx(theirs.score) and scores.bleu > 50
    assert f"tok:{tokenizer}" in scores.signature
    assert score_text(references, references).bleu == pytest.approx(100)


def test_the_users_own_tokeniser_is_taken() -> None:
    scores = score_text(CHINESE, CHINESE, tokenize="13a")
    assert "tok:13a" in scores.signature and scores.bleu == 0
    assert "tok:13a" in score_text(["a b c d e"], ["a b c d e"]).signature


def test_systems_are_compared_with_the_tokeniser_of_the_references() -> None:
    found = compare({"a": [line[:-3] for line in CHINESE], "b": CHINESE}, CHINESE, samples=20)
    assert found.systems[1].bleu.score == pytest.approx(100)
    assert 0 < found.systems[0].bleu.score < 100
    assert any("tok:zh" in signature for signature in found.signatures)
