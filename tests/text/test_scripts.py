"""The tokeniser of BLEU that fits a text: texts of many scripts, with and without blanks between words."""

from __future__ import annotations

import pytest

from saccade.text.scripts import bleu_tokenizer

WITHOUT_BLANKS = {
    "Chinese": ("汤姆说他不想出去。", "zh"),
    "Chinese, one word": ("猫", "zh"),
    "Chinese with English": ("我在 Google 工作，用 Python 写程序。", "zh"),
    "classical Chinese": ("學而時習之不亦說乎", "zh"),
    "Japanese": ("彼は外に出たくないと言った。", "char"),
    "Japanese in kana": ("ネコがすきです。", "char"),
    "Thai": ("เขาบอกว่าเขาไม่อยากออกไปข้างนอก แต่เขาก็ไป", "char"),
    "Lao": ("ລາວບອກວ່າລາວບໍ່ຢາກອອກໄປຂ້າງນອກ", "char"),
    "Khmer": ("គាត់បាននិយាយថាគាត់មិនចង់ចេញទៅក្រៅទេ។", "char"),
    "Burmese": ("သူက အပြင်ထွက်ချင်ဘူးလို့ပြောတယ်။", "char"),
    "Tibetan": ("ཁོས་ཕྱི་ལ་འགྲོ་འདོད་མེད་ཟེར།", "char"),
    "Javanese": ("ꦲꦏ꧀ꦱꦫꦗꦮꦥꦸꦤꦶꦏ", "char"),
}
WITH_BLANKS = {
    "English": "Tom said he did not want to go out.",
    "one German word": "siebenhundertdreiundzwanzig",
    "Korean": "톰은 밖에 나가고 싶지 않다고 말했다.",
    "Korean with Han": "大韓民國은 民主共和國이다.",
    "Hindi": "टॉम ने कहा कि वह बाहर नहीं जाना चाहता।",
    "Arabic": "قال توم إنه لا يريد الخروج.",
    "English with a Chinese name": "The city of Beijing (北京) is the capital.",
    "Chinese that was cut into words": "汤姆 说 他 不 想 出去 。",
    "Chinese that was cut into characters": "汤 姆 说 他 不 想 出 去",
    "Thai that was cut into words": "เขา บอก ว่า เขา ไม่ อยาก ออก ไป ข้าง นอก",
    "numbers": "12 345 : 6",
    "nothing": "",
}


@pytest.mark.parametrize("name", WITHOUT_BLANKS)
def test_text_without_blanks_between_words_gets_a_tokeniser_that_needs_none(name: str) -> None:
    line, expected = WITHOUT_BLANKS[name]
    assert bleu_tokenizer([line] * 9) == bleu_tokenizer([line, ""]) == expected


@pytest.mark.parametrize("name", WITH_BLANKS)
def test_text_with_blanks_between_words_keeps_the_usual_one(name: str) -> None:
    assert bleu_tokenizer([WITH_BLANKS[name]] * 9) == "13a"


def test_the_whole_of_a_long_text_counts_and_not_its_beginning() -> None:
    assert (
        bleu_tokenizer(["Copyright notice in English, and no more."] * 50 + ["他不想出去。"] * 5_000) == "zh"
    )
    assert bleu_tokenizer([]) == "13a"


def test_japanese_is_cut_into_words_if_mecab_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sacrebleu.tokenizers.tokenizer_ja_mecab as module

    monkeypatch.setattr(module.TokenizerJaMecab, "__init__", lambda self: None)
    assert bleu_tokenizer([WITHOUT_BLANKS["Japanese"][0]]) == "ja-mecab"
    assert bleu_tokenizer([WITHOUT_BLANKS["Chinese"][0]]) == "zh"
