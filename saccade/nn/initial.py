"""Starting values of a Transformer's weights."""

from torch import nn


def xavier(network: nn.Module, *, but: nn.Linear) -> None:
    """Xavier for products, zero biases; `but` is the output layer, which starts as the embeddings do."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and module is not but:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
