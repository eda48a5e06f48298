"""Initial values of a Transformer's weights."""

from torch import nn


def xavier(network: nn.Module, *, but: nn.Linear | None = None) -> None:
    """Initialises linear layers with Xavier weights and zero biases, except `but`, an output layer."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and module is not but:
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
