"""What makes training fast on an NVIDIA card, each part used only if it works there: Triton's kernels for the
recurrence, compiled elementwise parts, bfloat16 for the matrix products."""
import contextlib

import torch

import fused
import scan

COMPILED = ("norm", "gated_gelu", "convolution", "tied_loss")


def largest_error(found, expected):
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected))


def with_gradients(run, leaves, position):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    h = run(*leaves, position)
    return [h.detach(), *torch.autograd.grad(h.square().sum(), leaves)]


def use_kernels(device):
    """Triton's kernels instead of the plain scan, if they agree with it on this very card."""
    import scan_triton
    made = torch.Generator().manual_seed(1)
    x, gate_in, gate_rec = (torch.randn(2, 150, 40, generator=made).to(device) for _ in range(3))
    position = (torch.arange(150) % 67).repeat(2, 1).to(device, torch.int32)
    leaves = [x, gate_in, gate_rec, torch.logspace(-5, 1, 40).to(device)]
    error = largest_error(*(with_gradients(run, leaves, position) for run in (scan_triton.rg_lru, scan.rg_lru)))
    if not error < 1e-4:
        raise RuntimeError(f"its kernels are off by {error:.1e}")
    fused._scan = scan_triton.rg_lru


def compile_parts(device):
    """Elementwise parts, one compilation each, for whatever layers share them."""
    plain = {name: getattr(fused, name) for name in COMPILED}
    try:
        for name in COMPILED:
            setattr(fused, name, torch.compile(plain[name], dynamic=False))
        x = torch.ones(8, 64, device=device, requires_grad=True)
        fused.norm(x, torch.zeros(64, device=device)).sum().backward()
    except Exception:
        for name in COMPILED:
            setattr(fused, name, plain[name])
        raise


def prepare(device, compiled=True):
    """Says what is used. What fails costs speed, nothing else."""
    for name, attempt in [("Triton scan", use_kernels)] + [("compiled parts", compile_parts)] * compiled:
        try:
            attempt(device)
            print(f"{name}: used", flush=True)
        except Exception as error:  # whatever a foreign compiler may throw
            print(f"{name}: not used, {type(error).__name__}: {str(error)[:300]}", flush=True)


def precision(device):
    """Matrix products in bfloat16 on a card; weights, scan, norms and loss stay float32."""
    if torch.device(device).type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()
