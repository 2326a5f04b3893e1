"""Hawk, Griffin and the attention baseline: one forward pass over whole rows.

Names follow the Hugging Face checkpoint, so `state_dict()` is what is exported. `position` counts from 0 at
every document start inside a row: state, convolution and attention do not look past it.
"""
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import fused


@dataclass
class Config:
    vocabulary: int = 4096
    width: int = 160
    recurrent_width: int = 160
    heads: int = 5
    head_size: int = 32
    hidden: int = 480
    pattern: list = field(default_factory=lambda: ["recurrent", "recurrent", "attention"])
    layers: int = 6
    window: int = 128
    cap: float = 30.0
    scaled: bool = True
    activation: str = "gelu"
    kv_heads: int = 1

    @staticmethod
    def read(path):
        raw = json.loads(Path(path).read_text())
        pattern = raw.get("_block_types") or raw.get("block_types") or ["recurrent", "recurrent", "attention"]
        return Config(
            vocabulary=raw["vocab_size"], width=raw["hidden_size"],
            recurrent_width=raw.get("lru_width") or raw["hidden_size"], heads=raw["num_attention_heads"],
            head_size=raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"],
            hidden=raw["intermediate_size"] // 2, pattern=pattern, layers=raw["num_hidden_layers"],
            window=raw.get("attention_window_size") or 0, cap=raw.get("logits_soft_cap", 30.0) or 0.0,
            scaled=raw.get("embeddings_scale_by_sqrt_dim", True), kv_heads=raw.get("num_key_value_heads", 1))

    def kind(self, layer):
        return self.pattern[layer % len(self.pattern)]

    def to_json(self):
        return asdict(self)


SIBLINGS = {
    "griffin": Config(),
    "hawk": Config(pattern=["recurrent"]),
    "mqa": Config(pattern=["global_attention"], hidden=520),
    "griffin-induction": Config(vocabulary=16, width=64, recurrent_width=64, heads=2, hidden=192, layers=5,
                                pattern=["recurrent", "recurrent", "attention", "recurrent", "recurrent"]),
    "hawk-induction": Config(vocabulary=16, width=64, recurrent_width=64, heads=2, hidden=192, layers=5,
                             pattern=["recurrent"]),
}


def temporal_size(c, kind):
    """Parameters of a layer's first half."""
    if kind == "recurrent":
        return 3 * c.width * (c.width + 1) + c.width * (2 * c.width // c.heads + 8)
    return 2 * c.width * (c.width + c.kv_heads * c.head_size) + c.width


def sized(name, width=None, layers=None):
    """A sibling in another size, the three still alike in number of parameters."""
    if width is None and layers is None:
        return SIBLINGS[name]
    base = SIBLINGS["griffin"]
    width, layers = width or base.width, layers or base.layers
    if width % base.head_size or width < base.head_size or layers < 1:
        raise SystemExit(f"--width: expected a multiple of {base.head_size}, --layers: at least 1, "
                         f"found {width} and {layers}")
    griffin = replace(base, width=width, recurrent_width=width, heads=width // base.head_size, hidden=3 * width,
                      layers=layers)
    if name != "mqa":
        return replace(griffin, pattern=SIBLINGS[name].pattern)
    less = sum(temporal_size(griffin, griffin.kind(i)) - temporal_size(griffin, "attention") for i in range(layers))
    more = less / layers / (3 * width + 2)  # rows of the MLP that make up for it
    return replace(griffin, pattern=SIBLINGS[name].pattern, hidden=3 * width + 8 * round(more / 8))


def config_of(name, checkpoint):
    return Config(**checkpoint["config"]) if "config" in checkpoint else SIBLINGS[name]


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return fused.norm(x, self.weight)


def linear(inside, outside, bias=True, scale=1.0):
    layer = nn.Linear(inside, outside, bias=bias)
    nn.init.normal_(layer.weight, std=(scale / inside) ** 0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Convolution(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 1, 4) * 0.1)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, u, position):
        return fused.convolution(u, position, self.weight[:, 0].T.contiguous(), self.bias)


class Recurrence(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        block = width // heads
        for gate in ("input_gate", "recurrent_gate"):
            setattr(self, gate + "_weight", nn.Parameter(torch.randn(heads, block, block) * block ** -0.5))
            setattr(self, gate + "_bias", nn.Parameter(torch.zeros(heads, block)))
        squared = torch.empty(width).uniform_(0.9 ** 2, 0.999 ** 2)  # of the slowest decay, exp(-8 softplus(p))
        rate = -0.5 * squared.log() / 8.0
        self.recurrent_param = nn.Parameter(rate.expm1().log())

    def forward(self, x, position):
        return fused.recurrence(x, position, self.input_gate_weight, self.input_gate_bias,
                                self.recurrent_gate_weight, self.recurrent_gate_bias,
                                F.softplus(self.recurrent_param))


class RecurrentBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.linear_x = linear(c.width, c.recurrent_width)
        self.linear_y = linear(c.width, c.recurrent_width)
        self.linear_out = linear(c.recurrent_width, c.width, scale=2.0 / c.layers)
        self.conv_1d = Convolution(c.recurrent_width)
        self.rg_lru = Recurrence(c.recurrent_width, c.heads)

    def forward(self, x, context):
        u = self.conv_1d(self.linear_x(x), context["position"])
        h = self.rg_lru(u, context["position"])
        return self.linear_out(fused.gated_gelu(self.linear_y(x), h))


def rotate(x, cos, sin):
    """Rotary position on the first half of each head; x: [..., T, heads, size]."""
    turned, rest = x.chunk(2, -1)
    first, second = turned.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], -1)


class Attention(nn.Module):
    def __init__(self, c, local):
        super().__init__()
        self.c, self.local = c, local
        self.q_proj = linear(c.width, c.heads * c.head_size, bias=False)
        self.k_proj = linear(c.width, c.kv_heads * c.head_size, bias=False)
        self.v_proj = linear(c.width, c.kv_heads * c.head_size, bias=False)
        self.o_proj = linear(c.heads * c.head_size, c.width, scale=2.0 / c.layers)

    def forward(self, x, context):
        c = self.c
        batch, time, _ = x.shape
        shape = (batch, time, -1, c.head_size)
        q = rotate(self.q_proj(x).view(shape), context["cos"], context["sin"]) * c.head_size ** -0.5
        k = rotate(self.k_proj(x).view(shape), context["cos"], context["sin"])
        v = self.v_proj(x).view(shape)
        if fused.has_attention(x, c.heads, c.kv_heads, c.head_size):
            mixed = fused.CausalAttention.apply(q, k, v, context["begin"][self.local])
            return self.o_proj(mixed.view(batch, time, -1))
        if fused.dense(x.device, time):
            k, v = (one.transpose(1, 2).repeat_interleave(c.heads // c.kv_heads, 1) for one in (k, v))
            mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, context["mask"][self.local], scale=1.0)
            return self.o_proj(mixed.transpose(1, 2).reshape(batch, time, -1))
        span = c.window if self.local and time > c.window else time
        blocks = -(-time // span)
        pad = blocks * span - time
        group = c.heads // c.kv_heads
        out = []
        for head in range(c.kv_heads):
            queries = F.pad(q[:, :, head * group:(head + 1) * group], (0, 0, 0, 0, 0, pad))
            queries = queries.reshape(batch, blocks, span * group, c.head_size)
            keys, values = self.in_blocks(k[:, :, head], blocks, pad), self.in_blocks(v[:, :, head], blocks, pad)
            scores = (queries @ keys.transpose(-1, -2)).view(batch, blocks, span, group, -1)
            weights = F.softmax(scores + context["mask"][self.local], -1)
            mixed = weights.view(batch, blocks, span * group, -1) @ values
            out.append(mixed.view(batch, blocks * span, group * c.head_size)[:, :time])
        return self.o_proj(torch.cat(out, -1))

    def in_blocks(self, x, blocks, pad):
        """Each block of the window's width sees itself and the block before."""
        if blocks == 1:
            return x.unsqueeze(1)
        x = F.pad(x, (0, 0, 0, pad)).view(x.size(0), blocks, self.c.window, -1)
        return torch.cat([F.pad(x[:, :-1], (0, 0, 0, 0, 1, 0)), x], 2)


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = linear(c.width, c.hidden)
        self.up_proj = linear(c.width, c.hidden)
        self.down_proj = linear(c.hidden, c.width, scale=2.0 / c.layers)
        self.silu = c.activation == "silu"

    def forward(self, x):
        if self.silu:
            return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return self.down_proj(fused.gated_gelu(self.gate_proj(x), self.up_proj(x)))


class Layer(nn.Module):
    def __init__(self, c, kind):
        super().__init__()
        self.temporal_pre_norm, self.channel_pre_norm = Norm(c.width), Norm(c.width)
        self.temporal_block = RecurrentBlock(c) if kind == "recurrent" else Attention(c, kind == "attention")
        self.mlp_block = FeedForward(c)

    def forward(self, x, context):
        x = x + self.temporal_block(self.temporal_pre_norm(x), context)
        return x + self.mlp_block(self.channel_pre_norm(x))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocabulary, c.width)
        nn.init.normal_(self.embed_tokens.weight, std=c.width ** -0.5)
        self.layers = nn.ModuleList(Layer(c, c.kind(i)) for i in range(c.layers))
        self.final_norm = Norm(c.width)
        self.scale = float(torch.tensor(c.width ** 0.5).to(torch.bfloat16)) if c.scaled else 1.0

    def context(self, position):
        """What every layer of this pass shares: angles and masks."""
        c, (batch, time) = self.c, position.shape
        half = c.head_size // 4
        speed = 10000.0 ** (-torch.arange(half, device=position.device) / half)
        angle = position[..., None, None].float() * speed
        kinds = {c.kind(i) for i in range(c.layers)}
        mask, begin = {}, {}
        index = torch.arange(time, device=position.device)
        start = index - position  # where the token's document begins
        for local in (True, False):
            if ("attention" if local else "global_attention") not in kinds:
                continue
            begin[local] = torch.maximum(start, index - c.window if local else start).clamp_min(0).to(torch.int32)
            if fused.has_attention(self.final_norm.weight, c.heads, c.kv_heads, c.head_size):
                continue
            if fused.dense(position.device, time):
                seen = (index >= begin[local].unsqueeze(-1)) & (index <= index.unsqueeze(-1))
                mask[local] = seen.unsqueeze(1)
                continue
            span = c.window if local and time > c.window else time
            blocks = -(-time // span)
            query = torch.arange(blocks * span, device=position.device).view(blocks, span, 1)
            key = torch.arange((2 if blocks > 1 else 1) * span, device=position.device)
            key = key + (torch.arange(blocks, device=position.device).view(-1, 1, 1) - int(blocks > 1)) * span
            first = F.pad(start, (0, blocks * span - time)).view(batch, blocks, span, 1).clamp_min(0)
            seen = (key <= query) & (key >= first) & (key < time)
            if local:
                seen = seen & (key + c.window >= query)
            mask[local] = torch.where(seen, 0.0, -1e30).unsqueeze(3)
        return {"position": position, "cos": angle.cos(), "sin": angle.sin(), "mask": mask, "begin": begin}

    def hidden(self, tokens, position):
        context = self.context(position)
        x = self.embed_tokens(tokens) * self.scale
        for layer in self.layers:
            x = layer(x, context)
        return self.final_norm(x)

    def forward(self, tokens, position):
        logits = self.hidden(tokens, position) @ self.embed_tokens.weight.T
        return self.c.cap * torch.tanh(logits / self.c.cap) if self.c.cap else logits

    def loss(self, tokens, position, target, weight):
        """Sum of weight * cross-entropy."""
        x = self.hidden(tokens, position)
        return fused.tied_loss(x.reshape(-1, x.size(-1)), self.embed_tokens.weight, target.reshape(-1),
                               weight.reshape(-1), self.c.cap)


def positions(tokens, start_token):
    """0 at each start token (and at the row's beginning), then counting up; int32."""
    index = torch.arange(tokens.size(1), device=tokens.device).expand_as(tokens)
    start = torch.where(tokens == start_token, index, 0).cummax(1).values
    return (index - start).to(torch.int32)


def load(folder):
    """A model from an exported folder, in fp32."""
    from safetensors.torch import load_file
    folder = Path(folder)
    model = Model(Config.read(folder / "config.json"))
    weights = load_file(str(folder / "model.safetensors"))
    weights = {k.removeprefix("model."): v.float() for k, v in weights.items() if not k.startswith("lm_head")}
    model.load_state_dict(weights)
    return model
