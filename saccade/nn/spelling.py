"""A vector for each word from its spelling: a convolution over its bytes and the maximum over positions.

After dos Santos and Zadrozny 2014 and Ma and Hovy 2016, section 2.1, who convolve characters. With bytes,
nothing has to be learned of an alphabet, and no character is unknown.
"""

import torch
from torch import Tensor, nn

from saccade.nn.dropout import Dropout

SPELLING_SIZE = 259
"""Number of ids in a spelling: padding (0), the marks of a word's two ends (1, 2), and 256 bytes."""


class SpellingEncoder(nn.Module):
    """Embeds the bytes of each word, convolves them, and takes the maximum of each channel."""

    def __init__(self, embedding: int, width: int, *, kernel: int, dropout: float) -> None:
        """width: of a word's vector; kernel: the odd number of neighbouring bytes that are seen together."""
        super().__init__()
        self.bytes = nn.Embedding(SPELLING_SIZE, embedding, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.convolution = nn.Conv1d(embedding, width, kernel, padding=kernel // 2)

    def forward(self, spelling: Tensor) -> Tensor:
        """spelling (..., bytes), ids padded on the right; returns (..., width).

        A word without bytes, such as padding, gives zeros.
        """
        words = spelling.flatten(0, -2)  # (words, bytes)
        # A frequent word is computed once. Its dropout is then the same wherever it stands in the batch.
        distinct, place = torch.unique(words, dim=0, return_inverse=True)
        x = self.dropout(self.bytes(distinct))
        seen = self.convolution(x.transpose(1, 2))  # (distinct, width, bytes)
        blank = (distinct == 0)[:, None]
        lowest = torch.finfo(seen.dtype).min
        pooled = seen.masked_fill(blank, lowest).amax(-1).masked_fill(blank.all(-1), 0.0)
        found: Tensor = pooled[place].unflatten(0, spelling.shape[:-1])
        return found
