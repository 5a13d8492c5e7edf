"""Small seeded models of ``transformers``, as they are deployed: pixels or token numbers in, named tensors out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from transformers import logging

    logging.set_verbosity_error()

CLASSES, WORDS, TOKENS, ROWS = 7, 50, 6, 3
END = WORDS - 1
"""CLIP reads its sentence at the largest token number."""
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEXT = {"vocab_size": WORDS, "max_position_embeddings": 20}


@dataclass(frozen=True)
class Net:
    """A model, what goes in, and what is explained of it."""

    make: Callable[[], nn.Module]
    inputs: Mapping[str, str]
    """Keyword of the model -> name of the input in the file, in order."""
    outputs: tuple[str, ...] = ("logits",)
    size: int = 16
    embedding: str | None = None
    """The module that looks token numbers up; explained instead of an image."""
    entries: Mapping[str, tuple[int, ...]] | None = None
    """Output -> the entry of each row that is explained, where that is no class."""


def _vit() -> nn.Module:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**SMALL, image_size=16, patch_size=4, num_labels=CLASSES)
    )


def _swin() -> nn.Module:
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=12, depths=[2, 2], num_heads=[2, 3], window_size=2, num_labels=CLASSES
    )
    # torch.export cannot trace the fused attention of windows with a free batch.
    config._attn_implementation = "eager"
    return transformers.SwinForImageClassification(config)


def _convnext() -> nn.Module:
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1], image_size=32, num_labels=CLASSES
    )
    return transformers.ConvNextForImageClassification(config)


def _bert() -> nn.Module:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, **TEXT, num_labels=CLASSES))


def _distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(**TEXT, dim=32, n_layers=2, n_heads=4, hidden_dim=48, num_labels=CLASSES)
    return transformers.DistilBertForSequenceClassification(config)


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=WORDS, n_positions=20, use_cache=False)
    return transformers.GPT2LMHeadModel(config)


def _clip() -> nn.Module:
    text = {**SMALL, **TEXT, "eos_token_id": END, "bos_token_id": END - 1}
    vision = {**SMALL, "image_size": 16, "patch_size": 4}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))


IMAGE = {"pixel_values": "image"}
MASKED = {"input_ids": "ids", "attention_mask": "mask"}
PAIRED = {"logits_per_image": (0,), "logits_per_text": (0,)}
NETS: Mapping[str, Net] = {
    "vit": Net(_vit, IMAGE),
    "swin": Net(_swin, IMAGE, size=32),
    "convnext": Net(_convnext, IMAGE, size=32),
    "bert": Net(_bert, MASKED, embedding="bert.embeddings.word_embeddings"),
    "distilbert": Net(_distilbert, MASKED, embedding="distilbert.embeddings.word_embeddings"),
    "gpt2": Net(_gpt2, MASKED, embedding="transformer.wte", entries={"logits": (4, 3)}),
    "clip": Net(
        _clip,
        {"input_ids": "ids", **IMAGE, "attention_mask": "mask"},
        ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"),
        embedding="text_model.embeddings.token_embedding",
        entries=PAIRED,
    ),
}


class Named(nn.Module):
    """Takes positional inputs and returns the tensors that are asked for, which are entries of a dictionary."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.inner, self.net = net.make(), net

    def forward(self, *inputs: Tensor) -> Any:
        found = self.inner(**dict(zip(self.net.inputs, inputs, strict=True)))
        return tuple(found[name] for name in self.net.outputs)


def build(name: str) -> Named:
    """Returns the seeded model in evaluation mode, its weights large enough for every part to matter."""
    torch.manual_seed(0)
    model = Named(NETS[name]).eval()
    for key, parameter in model.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=1.0 if "embed" in key else 1 / sqrt(parameter[0].numel()))
        elif key.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
        else:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def inputs(name: str) -> dict[str, Tensor]:
    """Returns seeded inputs, in the order of the model's."""
    net, draw = NETS[name], torch.Generator().manual_seed(1)
    ids = torch.randint(1, END, (ROWS, TOKENS), generator=draw)
    ids[:, -1] = END
    mask = torch.ones(ROWS, TOKENS, dtype=torch.int64)
    mask[0, 4:] = 0 if name in ("bert", "distilbert") else 1
    offered = {"ids": ids, "mask": mask, "image": torch.randn(ROWS, 3, net.size, net.size, generator=draw)}
    return {key: offered[key] for key in net.inputs.values()}
