"""The pages of the lab: one for each claim and a table of all verdicts, in English and Chinese, as Markdown.

They are drawn from results alone; see `write_pages` for the files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from saccade.lab import numerals
from saccade.lab.drawing import drawn, label
from saccade.lab.experiment import (
    Chart,
    Experiment,
    Figures,
    Language,
    Outcome,
    Series,
    Table,
    Words,
    mean,
    number,
    spread,
)
from saccade.lab.interactive import CALCULATOR, LADDER, POSITIONS, RACE, interactive_page
from saccade.lab.results import Result
from saccade.lab.toys import FIRST
from saccade.storage.files import write_text
from saccade.text.vocabulary import END, PAD, START

OUTCOMES: dict[Outcome, Words] = {
    "holds": Words("holds", "成立"),
    "only if": Words("holds only under a condition", "有条件成立"),
    "does not hold": Words("does not hold", "不成立"),
}
"""What each outcome is called."""

_SUFFIX: dict[Language, str] = {"en": "", "zh": ".zh"}
_OTHER: dict[Language, tuple[Language, str]] = {"en": ("zh", "中文"), "zh": ("en", "English")}

_CLAIM = Words("Claim", "论断")
_SOURCE = Words("Source", "出处")
_PREDICTION = Words("Prediction", "预测")
_VERDICT = Words("Verdict", "结论")
_INSTEAD = Words("What to say instead", "更准确的说法")
_FIGURES = Words("Figures", "数据")
_CODE = Words("The code", "代码")
_MEASURED = Words("How it was measured", "测量方式")
_ALL = Words("All claims", "全部论断")
_TRY = Words("Try it in the browser", "在浏览器里试一试")
_COLON = Words(": ", "：")
_PERIOD = Words(".", "。")

_TITLE = Words("The lab: claims about attention, measured", "实验室：关于注意力的论断，逐条测量")
_ABOUT = Words(
    "Study notes and tutorials repeat the same statements about attention and the Transformer. Each statement "
    "here has an experiment that can refute it. The verdicts are computed from the figures. "
    "`saccade lab` measures all of them again, `saccade lab NAME` one; `saccade lab --out docs/lab` draws "
    "these pages.",
    "学习笔记和教程里反复出现同样的说法。这里的每一条都配有一个可能推翻它的实验，结论由测得的数据算出。"
    "`saccade lab` 重新测量全部论断，`saccade lab NAME` 只测一条；这些页面由 `saccade lab --out docs/lab` 生成。",
)
_PLAY = Words(
    "Pages to play with, which a browser opens without a network: [query, key, value](calculator.html), "
    "[positions](positions.html), [the ladder](ladder.html), [the race of the decoders](race.html).",
    "可以动手试的页面（用浏览器打开，无需联网）：[查询、键、值](calculator.html)，[位置编码](positions.html)，[阶梯](ladder.html)，[解码器赛跑](race.html)。",
)
_SEEDS = Words(
    "Where scores are compared, a model was trained with each of several seeds. One side counts as better if "
    "all of its seeds are better than all of the other side's; two measurements of the same models are compared "
    "seed by seed. In tables, ± is half the range over seeds; error bars and shades in pictures show the range.",
    "凡是比较得分的地方，都用几个随机种子各训练一次；只有一方的所有种子都优于另一方的所有种子，才算更好；"
    "对同一批模型的两种测量，则逐个种子比较。"
    "表中的 ± 是各种子取值范围的一半，图中的误差线和阴影是取值范围。",
)


def page_name(name: str, language: Language) -> str:
    """The file name of a page."""
    return f"{name}{_SUFFIX[language]}.md"


def write_pages(found: Sequence[tuple[Experiment, Result]], out: Path, *, pictures: bool) -> None:
    """Writes `index.md`, `NAME.md`, their Chinese versions `.zh.md`, the pictures of `pictures_of`, and the
    pages to play with: `calculator.html`, `positions.html`, and `ladder.html` and `race.html` if these were
    measured.

    pictures: whether to draw pictures, for which matplotlib is needed.
    """
    if pictures:
        (out / "pictures").mkdir(parents=True, exist_ok=True)
    for name in (CALCULATOR, POSITIONS):
        write_text(out / f"{name}.html", interactive_page(name))
    for language in _SUFFIX:
        write_text(out / page_name("index", language), index(found, language))
        for experiment, result in found:
            if pictures:
                for picture, chart in pictures_of(experiment, result.figures, language).items():
                    write_text(out / picture, drawn(chart, language))
            text = page(experiment, result, language, pictures=pictures)
            write_text(out / page_name(experiment.name, language), text)
    for experiment, result in found:
        if experiment.name in PLAYED:
            data = PLAYED[experiment.name](result)
            write_text(out / f"{experiment.name}.html", interactive_page(experiment.name, data))


def pictures_of(experiment: Experiment, figures: Figures, language: Language) -> dict[str, Chart]:
    """The file of each picture of a page, `pictures/NAME.LANGUAGE.svg` or `pictures/NAME-2.LANGUAGE.svg`."""
    charts = [experiment.chart(figures), *(one for one in experiment.more(figures) if isinstance(one, Chart))]
    names = [experiment.name, *(f"{experiment.name}-{place}" for place in range(2, len(charts) + 1))]
    return {f"pictures/{name}.{language}.svg": chart for name, chart in zip(names, charts, strict=True)}


def ladder_data(result: Result) -> dict[str, Any]:
    """What the page of the ladder shows, from the result of its experiment."""
    return {
        "numbers": result.figures["numbers"],
        "rungs": result.figures["models"],
        "bleu": [mean(row) for row in result.figures["bleu"]],
        "words": {language: numerals.lexicon(language) for language in ("en", "de")},
        "special": {"start": START, "end": END, "banned": [PAD, START]},
        "first": FIRST,
        "least": 100,
        "most": numerals.MOST,
    }


def race_data(result: Result) -> dict[str, Any]:
    """What the page of the race shows, from the result of its experiment."""
    shown = {key: result.figures[key] for key in ("sources", "references", "steps", "milliseconds")}
    return {**shown, "bleu": {racer: mean(row) for racer, row in result.figures["bleu"].items()}}


PLAYED: dict[str, Callable[[Result], dict[str, Any]]] = {LADDER: ladder_data, RACE: race_data}
"""The experiments with a page to play with, and what it shows."""


def index(found: Sequence[tuple[Experiment, Result]], language: Language) -> str:
    """The page that lists all verdicts."""
    other, name = _OTHER[language]
    heads = [_CLAIM.in_(language), _VERDICT.in_(language), Words("Why", "依据").in_(language)]
    lines = [f"# {_TITLE.in_(language)}", "", f"[{name}]({page_name('index', other)})", ""]
    lines += [_ABOUT.in_(language), "", _SEEDS.in_(language), "", _PLAY.in_(language), ""]
    lines += [f"| {' | '.join(heads)} |", "|---|---|---|"]
    for experiment, result in found:
        verdict = experiment.judge(result.figures)
        link = f"[{experiment.title.in_(language)}]({page_name(experiment.name, language)})"
        claim = f"{link}{_COLON.in_(language)}{experiment.claim.in_(language)}"
        outcome = f"**{OUTCOMES[verdict.outcome].in_(language)}**"
        lines.append(f"| {claim} | {outcome} | {verdict.because.in_(language)} |")
    return "\n".join([*lines, ""])


_PLAYGROUNDS = {"ladder": LADDER, "race": RACE, "lookup": CALCULATOR, "sinusoids": POSITIONS}
"""The experiments that a page to play with belongs to."""


def page(experiment: Experiment, result: Result, language: Language, *, pictures: bool) -> str:
    """The page of one claim; pictures: whether it shows those of `pictures_of`."""
    other, name = _OTHER[language]
    all_claims = f"[{_ALL.in_(language)}]({page_name('index', language)})"
    lines = [f"# {experiment.title.in_(language)}", ""]
    links = [all_claims, f"[{name}]({page_name(experiment.name, other)})"]
    if experiment.name in _PLAYGROUNDS:
        links.append(f"[{_TRY.in_(language)}]({_PLAYGROUNDS[experiment.name]}.html)")
    lines += [" · ".join(links), ""]
    lines += _statements(experiment, result, language)
    shown = pictures_of(experiment, result.figures, language)
    images = [f"![{experiment.title.in_(language)}]({picture})" for picture in shown] if pictures else []
    lines += [*_lines(images[:1]), *_named(_INSTEAD, experiment.correction, language)]
    lines += [f"## {_FIGURES.in_(language)}", ""]
    lines += [*figures_table(experiment.chart(result.figures), language), ""]
    rest = iter(images[1:])
    for one in experiment.more(result.figures):
        if isinstance(one, Chart):
            lines += _lines([next(rest, "")])
        lines += [*figures_table(one, language), ""]
    lines += [f"## {_CODE.in_(language)}", ""]
    for code in experiment.code:
        file, _, line = code.place()
        lines += [f"`{file}::{code.where.__qualname__}`", "", "```", line, "```", ""]
    lines += [f"## {_MEASURED.in_(language)}", "", _provenance(result, language), ""]
    return "\n".join(lines)


def _statements(experiment: Experiment, result: Result, language: Language) -> list[str]:
    """Claim, source, prediction and verdict as lines."""
    verdict, colon = experiment.judge(result.figures), _COLON.in_(language).rstrip()
    lines = []
    for head in (
        (_CLAIM, experiment.claim),
        (_SOURCE, experiment.source),
        (_PREDICTION, experiment.prediction),
    ):
        lines += _named(*head, language)
    outcome = f"{OUTCOMES[verdict.outcome].in_(language)}{_PERIOD.in_(language)}"
    space = " " if language == "en" else ""
    found = f"**{_VERDICT.in_(language)}{colon}{space}{outcome}**"
    return [*lines, f"{found} {verdict.because.in_(language)}", ""]


def _named(head: Words, text: Words, language: Language) -> list[str]:
    """A paragraph behind its name."""
    return [f"**{head.in_(language)}{_COLON.in_(language).rstrip()}** {text.in_(language)}", ""]


def _lines(block: Sequence[str]) -> list[str]:
    """A block of lines and the empty one behind it; nothing if there are none."""
    return [*block, ""] if any(block) else []


def _provenance(result: Result, language: Language) -> str:
    machine = result.machine
    comma = Words(", ", "、").in_(language)
    seeds = comma.join(map(str, result.seeds))
    parts = (("saccade", "saccade"), ("torch", "torch"), ("Python", "python"))
    versions = comma.join(f"{name} {machine[key]}" for name, key in parts)
    threads = machine["threads"]
    count = Words("one thread" if threads == 1 else f"{threads} threads", f"{threads} 个线程")
    place = f"{machine['processor']}{Words(', ', '，').in_(language)}{count.in_(language)}"
    cpu = Words("", "")
    if result.cpu_seconds is not None:
        cpu = Words(
            f", {result.cpu_seconds:.0f} s of them processor time",
            f"，其中处理器时间 {result.cpu_seconds:.0f} 秒",
        )
    if language == "en":
        small = (
            " This is a small run: it tests the machinery and supports no conclusion." if result.small else ""
        )
        return (
            f"`saccade lab {result.name}` took {result.seconds:.0f} s on {result.date}{cpu.en} ({place}; {versions}; "
            f"seeds {seeds}).{small} The figures are in `results/{result.name}.json`."
        )
    small = "这是缩小规模的运行，只检验流程，不支持任何结论。" if result.small else ""
    return (
        f"{result.date} 用 `saccade lab {result.name}` 测得，历时 {result.seconds:.0f} 秒{cpu.zh}"
        f"（{place}；{versions}；种子 {seeds}）。{small}数据见 `results/{result.name}.json`。"
    )


def figures_table(shown: Chart | Table, language: Language) -> list[str]:
    """The figures of a chart, a row for each position, or the texts of a table, as lines of Markdown."""
    if isinstance(shown, Table):
        head, rule = shown.head, "---"
        rows = [[cell.in_(language) for cell in row] for row in shown.rows]
    else:
        head, rule = (shown.x, *(series.name for series in shown.series)), "---:"
        rows = [
            [label(position, language), *(_cell(series, place) for series in shown.series)]
            for place, position in enumerate(shown.positions)
        ]
    lines = [[one.in_(language) for one in head], *rows]
    first, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return [first, f"|---|{f'{rule}|' * (len(head) - 1)}", *rest]


def _cell(series: Series, place: int) -> str:
    value = series.values[place]
    if value is None:
        return "–"
    return number(value) if series.ends is None else f"{number(value)} ± {number(spread(series.ends[place]))}"
