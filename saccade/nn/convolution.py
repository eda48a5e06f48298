"""The blocks of ConvS2S (Gehring et al. 2017, section 3): gated convolutions, and attention after each.

Sums of two terms are multiplied by sqrt(0.5), which preserves the variance of equal, independent terms.
Linear layers and convolutions are weight-normalised: w = g v / |v| per output (Salimans and Kingma 2016).
"""

import copy
import math
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, linear, pad
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized

from saccade.nn.attention import attend, attention_weights
from saccade.nn.dropout import Dropout
from saccade.nn.linear import Linear
from saccade.nn.recorded import AttentionModule
from saccade.nn.rows import RowLayout

HALF = math.sqrt(0.5)
ProjectedMemory = tuple[Tensor, Tensor, Tensor]
"""Keys and values (batch, source, embedding), and the root of each source length (batch, 1, 1)."""
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def normed_linear(inputs: int, outputs: int, *, dropout: float = 0.0) -> nn.Linear:
    """A weight-normalised linear layer; dropout: the dropout rate on its input (section 3.5)."""
    layer = Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=math.sqrt((1 - dropout) / inputs))
    nn.init.zeros_(layer.bias)
    return cast(nn.Linear, weight_norm(layer))


def folded(module: ModuleT) -> ModuleT:
    """A copy of the module with its weight norms folded into the weights; it shares all other parameters.

    Decoding uses it, because the weights do not change and would otherwise be normalised for each token.
    """
    instead: dict[int, object] = {id(parameter): parameter for parameter in module.parameters()}
    instead |= {id(part): _plain(part) for part in module.modules() if is_parametrized(part)}
    return copy.deepcopy(module, instead)


def _plain(layer: nn.Module) -> nn.Linear | nn.Conv1d:
    """The plain linear layer or convolution with the present weights of a weight-normalised one."""
    plain: nn.Linear | nn.Conv1d
    if isinstance(layer, nn.Conv1d):
        plain = nn.Conv1d(layer.in_channels, layer.out_channels, layer.kernel_size[0], device="meta")
    else:
        assert isinstance(layer, nn.Linear)
        plain = nn.Linear(layer.in_features, layer.out_features, device="meta")
    plain.weight, plain.bias = nn.Parameter(layer.weight.detach()), layer.bias
    return plain


class GatedConvolution(nn.Module):
    """A convolution [a; b] without padding, gated as a * sigmoid(b) (Dauphin et al. 2016)."""

    def __init__(self, inputs: int, width: int, *, kernel: int, dropout: float) -> None:
        super().__init__()
        self.kernel = kernel
        layer = nn.Conv1d(inputs, 2 * width, kernel)
        # Four times the variance, because the gate halves its input on average (section 3.5).
        nn.init.normal_(layer.weight, std=math.sqrt(4 * (1 - dropout) / (kernel * inputs)))
        nn.init.zeros_(cast(Tensor, layer.bias))
        self.convolution = cast(nn.Conv1d, weight_norm(layer))

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, length + kernel - 1, inputs); returns (batch, length, width)."""
        gated: Tensor = glu(self.convolution(x.transpose(1, 2)).transpose(1, 2), -1)
        return gated

    def window(self, x: Tensor) -> Tensor:
        """The output for a single window in each row, x (rows, kernel, inputs); returns (rows, width)."""
        weight, bias = self.convolution.weight, self.convolution.bias
        gated: Tensor = glu(linear(x.transpose(1, 2).flatten(1), weight.flatten(1), bias), -1)
        return gated


class ConvolutionalEncoderLayer(nn.Module):
    """An encoder layer: (x + gated convolution of x) sqrt(0.5), padded with zeros at both ends.

    x is projected if its width differs from the output's.
    """

    def __init__(self, inputs: int, width: int, *, kernel: int, dropout: float) -> None:
        super().__init__()
        self.project = normed_linear(inputs, width) if inputs != width else nn.Identity()
        self.dropout = Dropout(dropout)
        self.convolution = GatedConvolution(inputs, width, kernel=kernel, dropout=dropout)

    def forward(self, x: Tensor, *, real: Tensor | None) -> Tensor:
        """x (batch, source, inputs), real (batch, source, 1) or None: False at padding, read as zeros."""
        kernel = self.convolution.kernel
        shown = self.dropout(x if real is None else x.masked_fill(~real, 0.0))
        convolved = self.convolution(pad(shown, (0, 0, (kernel - 1) // 2, kernel // 2)))
        out: Tensor = (convolved + self.project(x)) * HALF
        return out


class ConvolutionalAttention(AttentionModule):
    """Attention whose query is a position's state plus its token, over encoder outputs and source embeddings.

    Scores are plain dot products; the weighted mean is multiplied by sqrt(m), where m is the number of real
    source tokens, as if its m terms were equally weighted and independent (sections 3.3 and 3.5).
    """

    kind = "cross"

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.query = normed_linear(width, embedding)
        self.output = normed_linear(embedding, width)

    def forward(
        self, x: Tensor, embedded: Tensor, memory: ProjectedMemory, *, visible: Tensor | None = None
    ) -> Tensor:
        """x (batch, query, width), embedded (batch, query, embedding), visible (batch, 1, 1, source).

        Returns x's shape. In stepwise decoding the queries are a sentence's hypotheses.
        """
        keys, values, root = memory
        found = attend(self._query(x, embedded), keys[:, None], values[:, None], visible=visible)
        out: Tensor = (self.output(found[:, 0] * root) + x) * HALF
        return out

    def weights(
        self, x: Tensor, embedded: Tensor, memory: ProjectedMemory, *, visible: Tensor | None = None
    ) -> Tensor:
        """Weights (batch, 1, query, source) for the same arguments as `forward`."""
        return attention_weights(self._query(x, embedded), memory[0][:, None], visible=visible)

    def _query(self, x: Tensor, embedded: Tensor) -> Tensor:
        """The query of the only head, multiplied by the root that `attend` divides scores by."""
        query: Tensor = (self.query(x) + embedded) * (HALF * math.sqrt(embedded.size(-1)))
        return query[:, None]


class ConvolutionalDecoderLayer(nn.Module):
    """A decoder layer: (x + attention of the gated convolution of x) sqrt(0.5), padded before the start only.

    A position sees itself and the kernel - 1 positions before it, which `past` holds: the layer's last
    inputs.
    """

    def __init__(self, inputs: int, width: int, embedding: int, *, kernel: int, dropout: float) -> None:
        super().__init__()
        self.inputs = inputs
        self.project = normed_linear(inputs, width) if inputs != width else nn.Identity()
        self.dropout = Dropout(dropout)
        self.convolution = GatedConvolution(inputs, width, kernel=kernel, dropout=dropout)
        self.cross_attention = ConvolutionalAttention(width, embedding)

    def forward(
        self, x: Tensor, embedded: Tensor, memory: ProjectedMemory, *, visible: Tensor | None
    ) -> Tensor:
        """Processes all positions: x (batch, target, inputs), embedded (batch, target, embedding)."""
        convolved = self.convolution(pad(self.dropout(x), (0, 0, self.convolution.kernel - 1, 0)))
        return self._attended(convolved, x, embedded, memory, visible)

    def start(self, sentences: int, *, like: Tensor) -> Tensor:
        """The past before the first position: zeros (sentences, kernel - 1, inputs)."""
        return like.new_zeros(sentences, self.convolution.kernel - 1, self.inputs)

    def step(
        self,
        x: Tensor,
        embedded: Tensor,
        memory: ProjectedMemory,
        *,
        visible: Tensor | None,
        past: Tensor,
        layout: RowLayout,
    ) -> tuple[Tensor, Tensor]:
        """Processes the next position: x (rows, inputs), embedded (rows, embedding).

        past: (rows, kernel - 1, inputs). layout: the rows of each sentence. Returns (rows, width) and the
        next past.
        """
        window = torch.cat([past, self.dropout(x)[:, None]], 1)  # (rows, kernel, inputs)
        convolved = layout.grid(self.convolution.window(window))
        attended = self._attended(convolved, layout.grid(x), layout.grid(embedded), memory, visible)
        return layout.flat(attended), window[:, 1:]

    def _attended(
        self, convolved: Tensor, x: Tensor, embedded: Tensor, memory: ProjectedMemory, visible: Tensor | None
    ) -> Tensor:
        attended = self.cross_attention(convolved, embedded, memory, visible=visible)
        out: Tensor = (attended + self.project(x)) * HALF
        return out


class ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by `factor` (section 3.5)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, factor: float) -> Tensor:
        """Returns x."""
        ctx.factor = factor  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *outer: Tensor) -> tuple[Tensor, None]:
        """The gradient of `forward`, scaled."""
        return outer[0] * ctx.factor, None  # type: ignore[attr-defined]
