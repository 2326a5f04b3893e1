"""The linear recurrence h[t] = a[t] h[t-1] + n[t] over whole rows at once, in plain PyTorch and on any device.

Nothing is divided and no logarithm is summed: a decay of 0 (a document's start) cuts, one of 1 keeps, and a
product of many decays may vanish without harm.
"""
import torch


def doubled(decay, value, reverse=False):
    """Prefixes of ever more tokens are joined, each step twice as long; [B, T, R], zero before the beginning.

    With `reverse`, h[t] = a[t] h[t+1] + n[t]."""
    time = value.size(1)
    decay, value = decay.clone(), value.clone()
    step = 1
    while step < time:
        near, far = (slice(None, -step), slice(step, None)) if reverse else (slice(step, None), slice(None, -step))
        # The right-hand sides are finished before anything is written.
        value[:, near] += decay[:, near] * value[:, far]
        decay[:, near] = decay[:, near] * decay[:, far]
        step *= 2
    return value


class LinearScan(torch.autograd.Function):
    """Keeps only the decays and h; the gradient is the same scan backwards."""

    @staticmethod
    def forward(ctx, decay, value):
        state = doubled(decay, value)
        ctx.save_for_backward(decay, state)
        return state

    @staticmethod
    def backward(ctx, d_state):
        decay, state = ctx.saved_tensors
        following = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], 1)
        d_value = doubled(following, d_state, reverse=True)
        before = torch.cat([torch.zeros_like(state[:, :1]), state[:, :-1]], 1)
        return d_value * before, d_value


def rg_lru(x, gate_in, gate_rec, rate, position):
    """x: [B, T, R]; the gates before their sigmoids; rate: softplus of the parameter; position 0: no past."""
    first = (position == 0).unsqueeze(-1)
    log_decay = -8.0 * torch.sigmoid(gate_rec) * rate
    kept = torch.sqrt((-torch.expm1(2 * log_decay)).clamp_min(2.5e-7))
    decay = torch.where(first, 0.0, torch.exp(log_decay))
    value = x * torch.sigmoid(gate_in) * torch.where(first, 1.0, kept)
    return LinearScan.apply(decay, value)
