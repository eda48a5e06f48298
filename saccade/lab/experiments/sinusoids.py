"""Why both sine and cosine: a shift as a linear map, norms, and positions that collide."""

import torch
from torch import Tensor

from saccade.lab.experiment import (
    Chart,
    Code,
    Experiment,
    Figures,
    Series,
    Settings,
    Verdict,
    Words,
)
from saccade.nn.positions import sinusoids


def _shift_error(table: Tensor, shift: int) -> float:
    """The relative error of the best linear map from each row to the row `shift` further on."""
    rows, later = table[:-shift].double(), table[shift:].double()
    found = torch.linalg.lstsq(rows, later, driver="gelsd").solution
    return float((rows @ found - later).norm() / later.norm())


def _nearest(table: Tensor) -> float:
    """The smallest distance between two rows."""
    least = torch.inf
    for first in range(0, len(table), 500):
        distances = torch.cdist(table[first : first + 500], table)
        own = torch.arange(len(distances))
        distances[own, first + own] = torch.inf
        least = min(least, float(distances.min()))
    return least


def _measure(settings: Settings) -> Figures:
    length = settings.pick(2000, 300)
    table = sinusoids(length, 64)
    shifts = (1, 7, 37, 100)
    wide = sinusoids(settings.pick(5000, 300), 512)
    products = wide[:101] @ wide[0]
    return {
        "shifts": list(shifts),
        "both": [_shift_error(table, shift) for shift in shifts],
        "sine": [_shift_error(table[:, 0::2], shift) for shift in shifts],
        "norms": [float(wide.norm(dim=1).min()), float(wide.norm(dim=1).max())],
        "products": {str(shift): float(products[shift]) for shift in (0, 1, 10, 100)},
        "nearest": _nearest(wide),
        "neighbour_cosine": float(products[1] / products[0]),
    }


def _judge(figures: Figures) -> Verdict:
    both, sine = max(figures["both"]), min(figures["sine"])
    because = Words(
        f"The best linear map from PE(p) to PE(p + k) has a relative error of at most {both:.0e} with sine and "
        f"cosine and of at least {sine:.0%} with sine alone. All norms are between {figures['norms'][0]:.3f} and "
        f"{figures['norms'][1]:.3f} (width 512), and no two of the positions are closer than "
        f"{figures['nearest']:.2f}.",
        f"从 PE(p) 到 PE(p+k) 的最佳线性映射：正弦余弦都用时，相对误差最多 {both:.0e}；只用正弦时，至少 {sine:.0%}。"
        f"（宽度 512）所有位置向量的模在 {figures['norms'][0]:.3f} 与 {figures['norms'][1]:.3f} 之间，"
        f"任意两个位置的距离不小于 {figures['nearest']:.2f}。",
    )
    if both > 1e-4 or figures["nearest"] < 0.1:
        return Verdict("does not hold", because)
    return Verdict("holds" if sine > 0.1 else "only if", because)


def _chart(figures: Figures) -> Chart:
    return Chart(
        Words("shift k", "平移 k"),
        Words("relative error of the best linear map", "最佳线性映射的相对误差"),
        figures["shifts"],
        [
            Series(Words("sine and cosine", "正弦和余弦"), figures["both"]),
            Series(Words("sine alone", "只有正弦"), figures["sine"]),
        ],
        log_x=True,
        log_y=True,
    )


EXPERIMENT = Experiment(
    name="sinusoids",
    title=Words("Why both sine and cosine", "为什么同时用正弦和余弦"),
    claim=Words(
        "With sine and cosine, PE(p + k) is a linear function of PE(p), and no two positions collide.",
        "同时使用正弦和余弦，PE(p+k) 才是 PE(p) 的线性函数，而且不同位置的编码不会相同。",
    ),
    source=Words(
        "Vaswani et al. 2017, section 3.5; an open question in the study notes.",
        "Vaswani 等 2017，第 3.5 节；学习笔记把它留作问题。",
    ),
    prediction=Words(
        "Each pair (sine, cosine) is a point on a circle, and a shift turns it: the map is exact. With sine "
        "alone, the angle cannot be recovered from one number, so no linear map fits.",
        "每一对（正弦，余弦）是圆上的一点，平移就是旋转，所以线性映射是精确的；只有正弦时，一个数定不出角度，没有合适的线性映射。",
    ),
    measure=_measure,
    judge=_judge,
    chart=_chart,
    correction=Words(
        "The map is a rotation of each pair, which also keeps the norm sqrt(d/2) and makes PE(p) · PE(q) depend "
        "on p − q alone. That such a map exists does not mean that a model uses it.",
        "这个映射是对每一对分量的旋转，因此模长恒为 √(d/2)，PE(p)·PE(q) 只取决于 p−q。存在这样的映射，不等于模型会用它。",
    ),
    code=(Code(sinusoids, "torch.stack([angle.sin(), angle.cos()]"),),
)
