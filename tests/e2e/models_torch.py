"""Torch models in the shapes that people deploy, small, with every scale and shift away from its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 7
WIDTH, HEADS, TOKENS, VOCABULARY = 24, 3, 11, 40


class ConvNormAct(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int, act: nn.Module | None = None, **conv: int) -> None:
        padding = conv.get("dilation", 1) * (kernel // 2)
        layers = [nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False, **conv), nn.BatchNorm2d(outputs)]
        super().__init__(*layers, act or nn.ReLU())


class Bottleneck(nn.Module):
    """1x1, k x k with groups, stride or dilation, 1x1, and a shortcut that is projected where it must be."""

    def __init__(self, inputs: int, outputs: int, **conv: int) -> None:
        super().__init__()
        middle, stride = outputs // 2, conv.get("stride", 1)
        self.narrow = ConvNormAct(inputs, middle, 1)
        self.conv = ConvNormAct(middle, middle, 3, **conv)
        self.widen = nn.Sequential(nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.widen(self.conv(self.narrow(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """Strides over odd sizes, groups, dilation, overlapping max pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Bottleneck(8, 16), Bottleneck(16, 16, groups=4))
        self.layer2 = nn.Sequential(Bottleneck(16, 32, stride=2), Bottleneck(32, 32, dilation=2))
        self.layer3 = nn.Sequential(Bottleneck(32, 32, stride=2, groups=2), Bottleneck(32, 32))
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.pool(self.stem(x)))))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class OddPads(nn.Module):
    """Asymmetric, reflecting and cropping pads, 1 x k and even kernels, unequal strides; ends in Softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, (2, 5), stride=(2, 3))
        self.second = nn.Conv2d(8, 8, 4, stride=2, dilation=(1, 2))
        self.row, self.column = nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), nn.Conv2d(8, 8, (3, 1), padding=(1, 0))
        self.wide = nn.Conv2d(8, 12, 2, stride=3)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(F.pad(x, (1, 2, 0, 1))), 0.2)
        x = F.elu(self.second(F.pad(x, (3, 0, 2, 1), mode="reflect")))
        x = F.pad(torch.tanh(self.row(x) + self.column(x)), (-1, 2, 1, -1))
        return F.softmax(self.head(F.relu(self.wide(x)).mean((2, 3))), dim=-1)


class Vgg(nn.Module):
    """Plain stack with every kind of pool, flattened into two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            nn.Conv2d(12, 16, 3), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d((1, 2)),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class DenseNet(nn.Module):
    """Concatenations, norm before convolution, average pool transitions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8 + 4 * i) for i in range(4)])
        self.convs = nn.ModuleList([nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(4)])
        self.transition = nn.Sequential(nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 12, 1), nn.AvgPool2d(2))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return self.head(F.adaptive_max_pool2d(self.transition(x), 1).flatten(1))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class MobileNet(nn.Module):
    """Depthwise convolutions, squeeze and excite, hard-swish, SiLU, ReLU6 and Mish; ends in Softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormAct(3, 8, 3, nn.Hardswish(), stride=2)
        self.first = self._block(8, 16, nn.ReLU6(), stride=2)
        self.second = self._block(16, 16, nn.SiLU())
        self.third = self._block(16, 24, nn.Mish(), stride=2)
        self.last = ConvNormAct(24, 32, 1, nn.Hardswish())
        self.head = nn.Linear(32, CLASSES)

    @staticmethod
    def _block(inputs: int, outputs: int, act: nn.Module, stride: int = 1) -> nn.Sequential:
        wide = ConvNormAct(inputs, 2 * inputs, 1, act)
        depthwise = ConvNormAct(2 * inputs, 2 * inputs, 5, act, stride=stride, groups=2 * inputs)
        return nn.Sequential(wide, depthwise, SqueezeExcite(2 * inputs), nn.Conv2d(2 * inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        x = self.third(x + self.second(x))
        return F.softmax(self.head(self.last(x).mean((2, 3))), dim=1)


class UNet(nn.Module):
    """Transposed convolutions (even, odd, grouped), nearest and bilinear resizing, skips, pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = self._pair(3, 8), self._pair(8, 16)
        self.middle = self._pair(16, 16)
        self.up2 = nn.ConvTranspose2d(16, 16, 3, 2, 1, output_padding=1, groups=2)
        self.join2 = self._pair(32, 12)
        self.up1 = nn.ConvTranspose2d(12, 8, 2, 2)
        self.join1 = self._pair(8 + 8 + 4, 8)
        self.side = nn.Conv2d(16, 16, 1)
        self.head = nn.Conv2d(8 + 16 + 16, 3, 1)

    @staticmethod
    def _pair(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        three = self.middle(F.max_pool2d(two, 2))
        up = self.join2(torch.cat([self.up2(three), two], 1))
        up = self.join1(torch.cat([self.up1(up), one, F.pixel_shuffle(two, 2)], 1))
        near = F.interpolate(three, scale_factor=4, mode="nearest")
        smooth = F.interpolate(self.side(two), size=(24, 20), mode="bilinear", align_corners=False)
        return self.head(torch.cat([up, near, smooth], 1))


class ConvNeXt(nn.Module):
    """Norm over the channels of a channels-last view, large depthwise kernels, layer scale, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.depthwise = nn.ModuleList([nn.Conv2d(16, 16, 7, padding=3, groups=16) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(16) for _ in range(2)])
        self.mlps = nn.ModuleList([Mlp(16) for _ in range(2)])
        self.scale = nn.Parameter(torch.linspace(0.3, 1.2, 16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for depthwise, norm, mlp in zip(self.depthwise, self.norms, self.mlps, strict=True):
            inner = self.scale * mlp(norm(depthwise(x).permute(0, 2, 3, 1)))
            x = x + inner.permute(0, 3, 1, 2)
        return self.head(self.norm(x.mean((-2, -1))))


class Norms(nn.Module):
    """Group, instance, layer (two axes) and batch norm, and GELU in both forms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.group = nn.Conv2d(3, 12, 3, padding=1), nn.GroupNorm(4, 12, eps=1e-3)
        self.conv2, self.instance = nn.Conv2d(12, 12, 3, 2, 1), nn.InstanceNorm2d(12, affine=True)
        self.conv3, self.layer = nn.Conv2d(12, 8, 3, 2, 1), nn.LayerNorm([5, 4])
        self.plain = nn.InstanceNorm2d(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.group(self.conv1(x)))
        x = F.gelu(self.instance(self.conv2(x)), approximate="tanh")
        x = F.softplus(self.plain(self.layer(self.conv3(x))))
        return self.head(x.amax((2, 3)))


class Conv3d(nn.Module):
    """A tiny video net."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(2, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(), nn.MaxPool3d(2))
        self.second = nn.Sequential(nn.Conv3d(6, 8, (1, 3, 3), stride=(1, 2, 2)), nn.ReLU(), nn.AvgPool3d((2, 1, 1)))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)).mean((2, 3, 4)))


class Tabular(nn.Module):
    """Two float inputs, batch norm over features, one activation of each kind; ends in Softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(9, 16), nn.BatchNorm1d(16)
        self.context = nn.Linear(4, 16)
        self.slope = nn.PReLU(16)
        self.second, self.third = nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        x = F.selu(self.norm(self.first(features)))
        x = self.slope(x * torch.sigmoid(self.context(context)))
        x = F.softsign(self.second(x)) + F.celu(self.third(x), 0.7) + torch.clamp(x, -0.5, 0.8)
        return F.softmax(self.head(x / (1 + x.pow(2).sum(1, keepdim=True)).sqrt()), dim=1)


class Mlp(nn.Sequential):
    def __init__(self, width: int, approximate: str = "none") -> None:
        super().__init__(nn.Linear(width, 2 * width), nn.GELU(approximate), nn.Linear(2 * width, width))


class Attention(nn.Module):
    """Written out, or by the fused function; queries, keys and values from one linear layer."""

    def __init__(self, *, fused: bool, causal: bool = False) -> None:
        super().__init__()
        self.fused, self.causal = fused, causal
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / sqrt(WIDTH // HEADS)
            if self.causal:
                hidden = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
                scores = scores.masked_fill(hidden, float("-inf"))
            if mask is not None:
                scores = scores.masked_fill(~mask, -1e4)
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, t, WIDTH))


class Block(nn.Module):
    """Norm first."""

    def __init__(self, *, fused: bool, causal: bool = False, approximate: str = "none") -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention(fused=fused, causal=causal)
        self.norm2, self.mlp = nn.LayerNorm(WIDTH), Mlp(WIDTH, approximate)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Class token, patches by convolution; ends in Softmax."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 13, WIDTH))
        self.blocks = nn.ModuleList([Block(fused=fused), Block(fused=fused)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return F.softmax(self.head(self.norm(x)[:, 0]), dim=-1)


class Swin(nn.Module):
    """Shifted windows: rolls, partitions, a learned bias per offset, patch merging."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.blocks = nn.ModuleList([Block(fused=False), Block(fused=False)])
        self.bias = nn.Parameter(torch.randn(1, 16, WIDTH))
        self.merge, self.norm, self.head = nn.Linear(4 * WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        for shift, block in zip((0, 2), self.blocks, strict=True):
            x = torch.roll(x, (-shift, -shift), (1, 2))
            windows = x.reshape(-1, 2, 4, 2, 4, WIDTH).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, WIDTH)
            windows = block(windows + self.bias).reshape(-1, 2, 2, 4, 4, WIDTH)
            x = torch.roll(windows.permute(0, 1, 3, 2, 4, 5).reshape(-1, 8, 8, WIDTH), (shift, shift), (1, 2))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(self.norm(self.merge(x)).mean((1, 2)))


class Bert(nn.Module):
    """Token, position and type embeddings, a mask, post-norm blocks, pooled first token."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0), nn.Embedding(32, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList([Block(fused=fused), Block(fused=fused)])
        self.pooler, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.norm(self.words(ids) + self.positions(positions))
        for block in self.blocks:
            x = block(x, (mask != 0)[:, None, None, :])
        return self.head(torch.tanh(self.pooler(x[:, 0])))


class MultiHead(nn.Module):
    """torch's own encoder layer, with nn.MultiheadAttention and a padding mask; mean over the tokens shown."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm1, self.norm2, self.mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), Mlp(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.words(ids)
        y, _ = self.attention(x, x, x, key_padding_mask=mask == 0, need_weights=False)
        x = self.norm1(x + y)
        x = self.norm2(x + self.mlp(x))
        shown = mask.unsqueeze(-1).to(x.dtype)
        return self.head((x * shown).sum(1) / shown.sum(1))


class Gpt(nn.Module):
    """Causal decoder whose output table is its input table: (rows, tokens, vocabulary)."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(32, WIDTH)
        self.blocks = nn.ModuleList([Block(fused=fused, causal=True, approximate="tanh") for _ in range(2)])
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.words.weight.T


class Plain(nn.Module):
    """Operators whose attributes became inputs over the opsets: pad, clip, slice, upsample, squeeze, sums, Softmax."""

    def __init__(self, *, resize: bool) -> None:
        super().__init__()
        self.resize = resize
        self.first = ConvNormAct(3, 8, 3)
        self.second = nn.Conv2d(8, 8, 3, stride=2)
        self.hidden, self.head = nn.Linear(16, 12), nn.Linear(12, CLASSES)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.first(F.pad(x, (1, 0, 0, 2))), 2)
        if self.resize:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = torch.clamp(x, 0.1, 2.5)
        x = torch.sigmoid(self.second(x))[:, :, 1:, :-1]
        x = torch.cat([F.avg_pool2d(x, 2).sum((2, 3)), F.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2)], 1)
        x = self.dropout(F.elu(self.hidden(x * 0.2)))
        return F.softmax(self.head(x), dim=1)


class Dense(nn.Module):
    """Linear layers with the activations that were there from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.slope = nn.BatchNorm1d(16), nn.PReLU()
        self.first, self.second, self.head = nn.Linear(9, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        x = self.slope(self.norm(self.first(features)))
        x = F.leaky_relu(self.second(x), 0.2) * torch.tanh(x) + F.selu(x).abs().sqrt()
        return self.head(x / (x * x).mean(1, keepdim=True).sqrt())


class ShuffleNet(nn.Module):
    """Channel split and shuffle, strided average pool shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormAct(3, 16, 3, stride=2)
        self.branch = nn.Sequential(ConvNormAct(8, 8, 1), ConvNormAct(8, 8, 3, nn.Identity(), groups=8))
        self.down = ConvNormAct(16, 16, 3, stride=2, groups=2)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        kept, changed = x.chunk(2, dim=1)
        x = torch.cat([kept, self.branch(changed)], 1)
        x = x.reshape(-1, 2, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        return self.head(torch.cat([self.down(x), self.pool(x)], 1).mean((2, 3)))


class Detector(nn.Module):
    """Feature pyramid, spatial pyramid of overlapping pools, boxes decoded on a grid: (rows, boxes, 4 + classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormAct(3, 8, 3, nn.SiLU(), stride=2)
        self.fine = ConvNormAct(8, 16, 3, nn.SiLU(), stride=2)
        self.coarse = ConvNormAct(16, 16, 3, nn.SiLU(), stride=2)
        self.pyramid = ConvNormAct(64, 16, 1, nn.SiLU())
        self.heads = nn.ModuleList([nn.Conv2d(32, 2 * (4 + 3), 1), nn.Conv2d(16, 2 * (4 + 3), 1)])

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(fine)
        pooled = [coarse]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        coarse = self.pyramid(torch.cat(pooled, 1))
        fine = torch.cat([fine, F.interpolate(coarse, scale_factor=2)], 1)
        return torch.cat([self._decode(h(f), s) for h, f, s in zip(self.heads, (fine, coarse), (4, 8), strict=True)], 1)

    @staticmethod
    def _decode(x: Tensor, stride: int) -> Tensor:
        height, width = x.shape[2:]
        x = x.reshape(-1, 2, 7, height, width).permute(0, 1, 3, 4, 2).reshape(-1, 2 * height * width, 7)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        grid = torch.stack([columns, rows], -1).reshape(1, -1, 2).repeat(1, 2, 1).to(x)
        centre, size, scores = x.split([2, 2, 3], -1)
        return torch.cat([(centre.sigmoid() * 2 - 0.5 + grid) * stride, size.exp() * stride, scores.sigmoid()], -1)


class ArcFace(nn.Module):
    """Generalised mean pooling, a unit embedding, cosine similarity to unit class weights."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(ConvNormAct(3, 12, 3, nn.PReLU(12), stride=2), ConvNormAct(12, 16, 3, stride=2))
        self.centre = nn.Linear(CLASSES, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).clamp(min=1e-3).pow(3.0).mean((2, 3)).pow(1 / 3)
        return 8 * F.linear(F.normalize(x), F.normalize(self.centre.weight.T))


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class LlamaBlock(nn.Module):
    """Rotary positions, more query heads than key heads, gated linear unit."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(), RmsNorm()
        self.query, self.key, self.value = (nn.Linear(WIDTH, n * 6, bias=False) for n in (4, 2, 2))
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate, self.up = nn.Linear(WIDTH, 32, bias=False), nn.Linear(WIDTH, 32, bias=False)
        self.down = nn.Linear(32, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        y = self.norm1(x)
        q = self._rotate(self.query(y).view(n, t, 4, 6).transpose(1, 2))
        k = self._rotate(self.key(y).view(n, t, 2, 6).transpose(1, 2))
        v = self.value(y).view(n, t, 2, 6).transpose(1, 2)
        k, v = (a[:, :, None].expand(n, 2, 2, t, 6).reshape(n, 4, t, 6) for a in (k, v))
        scores = torch.einsum("nhqd,nhkd->nhqk", q, k) / sqrt(6)
        scores = scores + torch.full((t, t), float("-inf")).triu(1).to(scores)
        y = torch.einsum("nhqk,nhkd->nhqd", scores.softmax(-1), v)
        x = x + self.out(y.transpose(1, 2).reshape(n, t, WIDTH))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))

    @staticmethod
    def _rotate(x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[2])[:, None] * 10.0 ** -torch.arange(3)[None]
        cos, sin = (torch.cat([f(angle)] * 2, -1).to(x) for f in (torch.cos, torch.sin))
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat([-right, left], -1) * sin


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([LlamaBlock(), LlamaBlock()])
        self.norm, self.head = RmsNorm(), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Recurrent(nn.Module):
    """LSTM or GRU in both directions, two layers."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.rnn = kind(WIDTH, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.words(ids))[0].mean(1))


class Odds(nn.Module):
    """What else turns up in feature code: statistics, powers, comparisons, gathers, cumulative sums."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 12), nn.Linear(12, CLASSES)
        self.register_buffer("order", torch.tensor([3, 1, 4, 1, 5, 0]))

    def forward(self, series: Tensor) -> Tensor:
        x = self.first(series)
        x = (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True, unbiased=False) + 0.1)
        x = torch.cumsum(x, 1) * 0.3 + torch.flip(x, [1]) + torch.roll(x, 2, 1)
        picked = x.index_select(1, self.order)
        best = x.topk(6, dim=1).values
        x = torch.maximum(picked, best * 0.5) + torch.minimum(picked.abs(), best.square())
        x = torch.where(x > 0.4, x.clamp(max=1.5), x.exp())
        joined = torch.logsumexp(x, 1) + x.norm(dim=1) + torch.einsum("ntd,nsd->nd", x, picked) * 0.1
        return self.head(
            torch.log1p(joined.abs()) + x.amin(1, keepdim=True).squeeze(1).tile(1) + x.prod(1).tanh() + x[:, -1].erf()
        )


class TextCnn(nn.Module):
    """Windows of 2, 3 and 4 tokens, maximum over time."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.convs = nn.ModuleList([nn.Conv1d(WIDTH, 8, k) for k in (2, 3, 4)])
        self.head = nn.Linear(24, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids).transpose(1, 2)
        pooled = [F.relu(conv(x)).amax(-1) for conv in self.convs]
        return self.head(torch.cat(pooled, 1))


def image(height: int, width: int) -> Callable[[int], dict[str, Tensor]]:
    return lambda rows: {"image": torch.randn(rows, 3, height, width)}


def text(*, masked: bool) -> Callable[[int], dict[str, Tensor]]:
    def make(rows: int) -> dict[str, Tensor]:
        ids = torch.randint(1, VOCABULARY, (rows, TOKENS))
        if not masked:
            return {"ids": ids}
        mask = (torch.arange(TOKENS) < TOKENS - torch.arange(rows)[:, None] % 5).long()
        return {"ids": ids * mask, "mask": mask}

    return make


def tabular(rows: int) -> dict[str, Tensor]:
    return {"features": torch.randn(rows, 9), "context": torch.randn(rows, 4)}


@dataclass(frozen=True)
class Case:
    """A model, its inputs, and where its explanation is checked."""

    make: Callable[[], nn.Module]
    inputs: Callable[[int], dict[str, Tensor]]
    layers: tuple[str, ...] = ()
    """Modules whose gradient is compared; maps also by Grad-CAM."""
    softmax: bool = False
    """The file ends in Softmax."""
    position: tuple[int, ...] | None = None
    """The explained entry where the output is not one number per class."""
    sequence: bool = False
    """The number of tokens is left free."""
    embedding: str | None = None
    """The module that the token input goes through; it is what is explained then."""
    gain: float = 1.4
    """Standard deviation of weights, times the root of what a unit sums over."""
    maps: bool = False
    """The layers are maps (rows, channels, height, width ...), which Grad-CAM can weigh."""


MODELS: Mapping[str, Case] = {
    "resnet": Case(ResNet, image(45, 39), ("layer2.0", "layer3", "stem.2"), gain=1.0, maps=True),
    "odd_pads": Case(OddPads, image(33, 41), ("row",), softmax=True, maps=True),
    "vgg": Case(Vgg, image(38, 30), ("features.8", "features.4"), maps=True),
    "densenet": Case(DenseNet, image(24, 20), ("convs.2",), maps=True),
    "mobilenet": Case(MobileNet, image(40, 33), ("second", "last"), softmax=True, maps=True),
    "unet": Case(UNet, image(24, 20), ("middle", "join1"), position=(0, 9, 14), maps=True),
    "convnext": Case(ConvNeXt, image(32, 24), ("depthwise.1",), gain=1.0, maps=True),
    "norms": Case(Norms, image(20, 16), ("group",), maps=True),
    "conv3d": Case(Conv3d, lambda rows: {"video": torch.randn(rows, 2, 6, 12, 10)}, ("first",), maps=True),
    "tabular": Case(Tabular, tabular, ("second",), softmax=True),
    "vit": Case(lambda: Vit(fused=False), image(32, 24), ("blocks.0",), softmax=True, gain=1.0),
    "vit_sdpa": Case(lambda: Vit(fused=True), image(32, 24), ("blocks.0",), softmax=True, gain=1.0),
    "swin": Case(Swin, image(32, 32), ("merge",), gain=1.0),
    "bert": Case(
        lambda: Bert(fused=False), text(masked=True), ("blocks.0",), sequence=True, embedding="words", gain=1.0
    ),
    "bert_sdpa": Case(
        lambda: Bert(fused=True), text(masked=True), ("blocks.0",), sequence=True, embedding="words", gain=1.0
    ),
    "multihead": Case(MultiHead, text(masked=True), ("norm1",), embedding="words", gain=1.0),
    "gpt": Case(
        lambda: Gpt(fused=False), text(masked=False), position=(8, 3), sequence=True, embedding="words", gain=1.0
    ),
    "gpt_sdpa": Case(lambda: Gpt(fused=True), text(masked=False), position=(8, 3), embedding="words", gain=1.0),
    "shufflenet": Case(ShuffleNet, image(33, 26), ("stem", "branch"), maps=True),
    "detector": Case(Detector, image(32, 48), ("fine",), position=(37, 5), maps=True),
    "arcface": Case(ArcFace, image(28, 28), ("features.0",), maps=True),
    "llama": Case(
        Llama, text(masked=False), ("blocks.0",), position=(9, 5), sequence=True, embedding="words", gain=1.0
    ),
    "odds": Case(Odds, lambda rows: {"series": torch.randn(rows, 9, 8)}, ("first",)),
    "lstm": Case(lambda: Recurrent(nn.LSTM), text(masked=False), embedding="words", gain=1.0),
    "gru": Case(lambda: Recurrent(nn.GRU), text(masked=False), embedding="words", gain=1.0),
    "plain": Case(lambda: Plain(resize=True), image(21, 18), ("second",), softmax=True, maps=True),
    "plainest": Case(lambda: Plain(resize=False), image(21, 18), softmax=True),
    "dense": Case(Dense, lambda rows: {"features": torch.randn(rows, 9)}, ("second",)),
    "textcnn": Case(TextCnn, text(masked=False), sequence=True, embedding="words"),
}


def build(name: str) -> nn.Module:
    """Returns the seeded model in evaluation mode."""
    case = MODELS[name]
    torch.manual_seed(0)
    model = case.make().eval()
    norms = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm, nn.PReLU)
    for module in model.modules():
        for key, parameter in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if key == "running_var" or (key == "weight" and isinstance(module, norms)):
                nn.init.uniform_(parameter, 0.5, 1.5)
            elif key.endswith("bias") or key == "running_mean":
                nn.init.normal_(parameter, std=0.3)
            elif key.endswith("weight") and isinstance(module, nn.Embedding):
                nn.init.normal_(parameter, std=1.0)
            elif key.endswith("weight") and parameter.dim() > 1:
                nn.init.normal_(parameter, std=case.gain / sqrt(parameter[0].numel()))
    return model
