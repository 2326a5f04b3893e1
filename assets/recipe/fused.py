"""The compiled passes of fused.cpp and attention.cpp as autograd functions, and plain PyTorch twins of them.

`available()` says whether the compiled ones can be used: a C++ compiler at hand, tensors on the CPU.
"""
import ctypes
import hashlib
import os
import shutil
import subprocess

import torch
import torch.nn.functional as F

import scan
from settings import HERE, work_dir

_library = None
_scan = scan.rg_lru  # on a card, Triton's kernels (on_card.py)


def library():
    """Build on first use; None where there is no compiler."""
    global _library
    if _library is None:
        compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
        if not compiler or os.environ.get("EYRIE_RECIPE_PLAIN"):
            _library = False
            return None
        sources = [HERE / "fused.cpp", HERE / "attention.cpp"]
        digest = hashlib.sha256(b"".join(s.read_bytes() for s in sources)).hexdigest()[:12]
        target = work_dir() / f"fused-{digest}.so"
        if not target.exists():
            partial = target.with_suffix(f".{os.getpid()}")
            command = [compiler, "-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fopenmp-simd",
                       "-shared", "-fPIC", *map(str, sources), "-o", str(partial)]
            if subprocess.run(command).returncode:
                _library = False
                return None
            partial.rename(target)
        _library = ctypes.CDLL(str(target))
    return _library or None


def available(tensor):
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and library() is not None


def _at(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def _n(value):
    return ctypes.c_int64(value)


def _rows(tensor):
    """Rows may be a slice of something wider; within a row the floats must be neighbours."""
    return tensor if tensor.stride(-1) == 1 and tensor.stride(-3) == tensor.size(-2) * tensor.stride(-2) \
        else tensor.contiguous()


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        x = x.contiguous()
        width = x.size(-1)
        y, r = torch.empty_like(x), x.new_empty(x.numel() // width)
        library().norm_forward(_at(x), _at(w), _at(y), _at(r), _n(r.numel()), _n(width))
        ctx.save_for_backward(x, w, r)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, w, r = ctx.saved_tensors
        dy = dy.contiguous()
        dx, dw = torch.empty_like(x), torch.zeros_like(w)
        library().norm_backward(_at(x), _at(w), _at(r), _at(dy), _at(dx), _at(dw), _n(r.numel()), _n(w.numel()))
        return dx, dw


class GatedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, u):
        g, u = _rows(g), _rows(u)
        y = g.new_empty(g.shape)
        width = g.size(-1)
        library().geglu_forward(_at(g), _n(g.stride(-2)), _at(u), _n(u.stride(-2)), _at(y),
                                _n(y.numel() // width), _n(width))
        ctx.save_for_backward(g, u)
        return y

    @staticmethod
    def backward(ctx, dy):
        g, u = ctx.saved_tensors
        dy = dy.contiguous()
        width = g.size(-1)
        dg, du = torch.empty_like(dy), torch.empty_like(dy)
        library().geglu_backward(_at(g), _n(g.stride(-2)), _at(u), _n(u.stride(-2)), _at(dy), _at(dg), _n(width),
                                 _at(du), _n(width), _n(dy.numel() // width), _n(width))
        return dg, du


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, position, w, bias):
        u = _rows(u)
        batch, time, width = u.shape
        y = u.new_empty(u.shape)
        library().conv_forward(_at(u), _n(u.stride(1)), _at(position), _at(w), _at(bias), _at(y),
                               _n(batch), _n(time), _n(width))
        ctx.save_for_backward(u, position, w)
        return y

    @staticmethod
    def backward(ctx, dy):
        u, position, w = ctx.saved_tensors
        dy = dy.contiguous()
        batch, time, width = u.shape
        du, dw, db = torch.empty_like(dy), torch.zeros_like(w), w.new_zeros(width)
        library().conv_backward(_at(u), _n(u.stride(1)), _at(position), _at(w), _at(dy), _at(du), _n(width),
                                _at(dw), _at(db), _n(batch), _n(time), _n(width))
        return du, None, dw, db


class Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, position, wi, bi, wr, br, softplus):
        x = x.contiguous()
        batch, time, width = x.shape
        h = torch.empty_like(x)
        library().rglru_forward(_at(x), _at(position), _at(wi), _at(bi), _at(wr), _at(br), _at(softplus), _at(h),
                                _n(batch), _n(time), _n(wi.size(0)))
        ctx.save_for_backward(x, position, wi, bi, wr, br, softplus, h)
        return h

    @staticmethod
    def backward(ctx, dh):
        x, position, wi, bi, wr, br, softplus, h = ctx.saved_tensors
        dh = dh.contiguous()
        batch, time, width = x.shape
        dx = torch.empty_like(x)
        grads = [torch.zeros_like(p) for p in (wi, bi, wr, br, softplus)]
        library().rglru_backward(_at(x), _at(position), _at(wi), _at(bi), _at(wr), _at(br), _at(softplus), _at(h),
                                 _at(dh), _at(dx), *(_at(g) for g in grads), _n(batch), _n(time), _n(wi.size(0)))
        return (dx, None, *grads)


class CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, begin):
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        batch, time, heads, _ = q.shape
        out, norm = torch.empty_like(q), q.new_empty(batch, time, heads)
        library().attention_forward(_at(q), _at(k), _at(v), _at(begin), _at(out), _at(norm),
                                    _n(batch), _n(time), _n(heads))
        ctx.save_for_backward(q, k, v, begin, out, norm)
        return out

    @staticmethod
    def backward(ctx, dout):
        q, k, v, begin, out, norm = ctx.saved_tensors
        dout = dout.contiguous()
        batch, time, heads, _ = q.shape
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        library().attention_backward(_at(q), _at(k), _at(v), _at(begin), _at(out), _at(norm), _at(dout), _at(dq),
                                     _at(dk), _at(dv), _n(batch), _n(time), _n(heads))
        return dq, dk, dv, None


def has_attention(tensor, heads, kv_heads, size):
    return available(tensor) and heads in (2, 5) and kv_heads == 1 and size == 32


def dense(device, time):
    """Whether attention takes a mask of every pair: a card's own kernels never write the scores down."""
    return device.type == "cuda" and time <= 2048


def norm(x, w):
    if available(x):
        return Norm.apply(x, w)
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + w)


def gated_gelu(g, u):
    if available(g):
        return GatedGelu.apply(g, u)
    return F.gelu(g, approximate="tanh") * u


def convolution(u, position, w, bias):
    """w: [4, R], row 3 for the token itself; taps stop at a document's start."""
    if available(u):
        return Convolution.apply(u, position, w, bias)
    y = bias + w[3] * u
    for back in range(1, min(4, u.size(1))):
        reach = (position[:, back:] >= back).unsqueeze(-1)
        y = y + F.pad(torch.where(reach, w[3 - back] * u[:, :-back], 0.0), (0, 0, back, 0))
    return y


def recurrence(x, position, wi, bi, wr, br, softplus):
    """RG-LRU; wi, wr: [H, B, B] as [in, out]."""
    if available(x) and wi.size(-1) == 32:
        return Recurrence.apply(x, position, wi, bi, wr, br, softplus)
    parts = x.unflatten(-1, wi.shape[:2])
    gate_in = (torch.einsum("bthi,hij->bthj", parts, wi) + bi).flatten(-2)
    gate_rec = (torch.einsum("bthi,hij->bthj", parts, wr) + br).flatten(-2)
    return _scan(x, gate_in, gate_rec, softplus, position)


def _capped_entropy_chunk(logits, target, weight, cap):
    """Weighted loss; `logits` become their own gradient."""
    loss = logits.new_empty(target.numel())
    library().cross_entropy(_at(logits), _at(target), _at(weight), _at(loss), ctypes.c_float(cap),
                            _n(target.numel()), _n(logits.size(-1)))
    return loss


class TiedLoss(torch.autograd.Function):
    """Sum of weight * cross-entropy of soft-capped x @ table.T, in chunks of rows that stay in the cache."""

    @staticmethod
    def forward(ctx, x, table, target, weight, cap):
        dx, dtable, total = torch.empty_like(x), torch.zeros_like(table), 0.0
        for start in range(0, x.size(0), 256):
            rows = slice(start, start + 256)
            logits = x[rows] @ table.T
            loss = _capped_entropy_chunk(logits, target[rows].contiguous(), weight[rows].contiguous(), cap)
            total += float((loss * weight[rows]).sum())
            torch.mm(logits, table, out=dx[rows])
            dtable.addmm_(logits.T, x[rows])
        ctx.save_for_backward(dx, dtable)
        return x.new_tensor(total)

    @staticmethod
    def backward(ctx, d):
        dx, dtable = ctx.saved_tensors
        return dx * d, dtable * d, None, None, None


def tied_loss(x, table, target, weight, cap):
    """x: [N, D]; the sum over rows of weight * loss."""
    if available(x):
        return TiedLoss.apply(x.contiguous(), table, target, weight, cap)
    logits = (x @ table.T).float()
    if cap:
        logits = cap * torch.tanh(logits / cap)
    return (F.cross_entropy(logits, target, reduction="none") * weight).sum()


def row_losses(x, table, target, cap):
    """Cross-entropy of each row, for measuring."""
    logits = x @ table.T
    if available(x):
        return _capped_entropy_chunk(logits, target.contiguous(), torch.ones(target.numel()), cap)
    if cap:
        logits = cap * torch.tanh(logits / cap)
    return F.cross_entropy(logits, target, reduction="none")
