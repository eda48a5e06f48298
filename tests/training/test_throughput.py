"""How much of a machine training uses: the operations of a model, and the speed of products."""

import torch

from saccade.doctor import TrainingSpeed
from saccade.models import build_model, model_config
from saccade.training.throughput import matrix_ceiling, training_flops
from tests.tiny import vocabulary


def test_operations_are_six_for_each_weight_and_token_that_it_sees() -> None:
    width, inner, words = 16, 24, 30
    sizes = {"width": width, "heads": 2, "feed_forward": inner, "encoder_layers": 3, "decoder_layers": 2}
    network = build_model(model_config({"kind": "transformer", **sizes}), vocabulary(words))
    encoder = 3 * (4 * width * width + 2 * width * inner) + 2 * 2 * width * width  # and keys and values
    decoder = 2 * (6 * width * width + 2 * width * inner) + width * words
    assert training_flops(network, source=7, target=0) == 6 * 7 * encoder
    assert training_flops(network, source=0, target=11) == 6 * 11 * decoder
    assert training_flops(network, source=7, target=11) == 6 * (7 * encoder + 11 * decoder)


def test_the_ceiling_is_a_speed_and_the_share_is_of_it() -> None:
    assert matrix_ceiling(torch.device("cpu"), torch.float32, size=64) > 1e6
    assert TrainingSpeed(100.0, 3e9, 4e9).share == 0.75
