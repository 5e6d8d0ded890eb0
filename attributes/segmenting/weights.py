"""Read and write weights files of segmenters, and prepare networks for inference."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TypeVar

import torch

from attributes.segmenting.network import SegmenterNetwork
from toolkit.errors import InputError
from toolkit.files import atomic

NetworkT = TypeVar("NetworkT", bound=SegmenterNetwork)


def folded(network: NetworkT) -> NetworkT:
    """A copy for inference, with its batch normalisations folded into the convolutions."""
    result = copy.deepcopy(network).eval()
    for module in list(result.modules()):
        if isinstance(module, torch.nn.Sequential) and len(module) > 1 and isinstance(module[1], torch.nn.BatchNorm2d):
            module[0] = torch.nn.utils.fuse_conv_bn_eval(module[0], module[1])
            del module[1]
    return result


def write_weights(network: SegmenterNetwork, path: Path, about: dict[str, str], half: bool = False) -> None:
    """Save the weights as safetensors.

    Args:
        network: the network.
        path: the file.
        about: metadata; ``format`` names the kind of weights.
        half: store parameters as float16, and keep the statistics of batch normalisation, which may be larger.
    """
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if half:
        state = {key: value if "running" in key or value.ndim == 0 else value.half() for key, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as staged:
        save_file(state, staged, about)
        staged.chmod(0o644)  # safetensors makes files that only their owner can read


def read_weights(path: Path, network: NetworkT, form: str, kind: str) -> NetworkT:
    """Load a weights file into a network, as float32.

    Args:
        path: the file.
        network: a new network.
        form: the format that its metadata names.
        kind: of the segmenter, for messages.

    Returns:
        The network.

    Raises:
        InputError: the file is missing, damaged, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    wanted = f"expected weights of the {kind} segmenter"
    if not path.is_file():
        raise InputError(f"{wanted}, but the file {path} does not exist; use a file written by the training")
    try:
        with safe_open(path, "pt") as file:
            found = (file.metadata() or {}).get("format")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{wanted}, but {path} is damaged or not a safetensors file; train again") from error
    if found != form:
        raise InputError(f"{wanted} of format {form}, but {path} has {found!r}; train again with this version")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{wanted}, but the tensors in {path} belong to another network") from error
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise InputError(f"{wanted}, but {path} contains values that are not finite; train again")
    return network
