"""scan.rg_lru as two Triton kernels: gates and recurrence in one pass, float32 inside whatever is given.

A program walks one row in tiles of time for a few channels; inside a tile the scan is associative. Tokens beyond
the row's end have decay 1 and add nothing. Forward reads x and two gates and writes h; backward reads those, h and
its gradient and writes three gradients, and nothing else is kept.
"""
import torch
import triton
import triton.language as tl

TIME, WIDTH, WARPS = 64, 32, 8  # a tile, and what works on it


@triton.jit
def joined(decay, value, later_decay, later_value):
    return decay * later_decay, value * later_decay + later_value


@triton.jit
def decay_of(gate, rate, first):
    """Decay and the root of 1 - decay², 0 and 1 at a document's start; whether that root has a slope; the open gate."""
    open_ = tl.sigmoid(gate)
    log_decay = -8.0 * open_ * rate
    twice = 2.0 * log_decay
    # 1 - exp(twice), exact also where the decay is close to one
    near_one = -twice * (1.0 + twice * (0.5 + twice * (1.0 / 6 + twice * (1.0 / 24))))
    left = tl.where(twice > -0.05, near_one, 1.0 - tl.exp(twice))
    kept = tl.sqrt(tl.maximum(left, 2.5e-7))
    return tl.where(first, 0.0, tl.exp(log_decay)), tl.where(first, 1.0, kept), left > 2.5e-7, open_


@triton.jit
def forward_kernel(x, gate_in, gate_rec, rate, position, h, T, R, TIME: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    wanted = channel < R
    rates = tl.load(rate + channel, mask=wanted, other=0.0).to(tl.float32)
    state = tl.zeros([WIDTH], tl.float32)
    for begin in range(0, T, TIME):
        time = begin + tl.arange(0, TIME)
        inside = time < T
        at = (row * T + time)[:, None] * R + channel[None, :]
        seen = inside[:, None] & wanted[None, :]
        first = (tl.load(position + row * T + time, mask=inside, other=1) == 0)[:, None]
        gate = tl.load(gate_rec + at, mask=seen, other=0.0).to(tl.float32)
        decay, kept, _, _ = decay_of(gate, rates[None, :], first)
        value = tl.load(x + at, mask=seen, other=0.0).to(tl.float32) * kept
        value = value * tl.sigmoid(tl.load(gate_in + at, mask=seen, other=0.0).to(tl.float32))
        decay = tl.where(inside[:, None], decay, 1.0)
        product, local = tl.associative_scan((decay, value), 0, joined)
        local += product * state[None, :]
        tl.store(h + at, local.to(h.dtype.element_ty), mask=seen)
        state = tl.sum(tl.where((time == begin + TIME - 1)[:, None], local, 0.0), 0)


@triton.jit
def backward_kernel(x, gate_in, gate_rec, rate, position, h, dh, dx, d_in, d_rec, d_rate, T, R,
                    TIME: tl.constexpr, WIDTH: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    wanted = channel < R
    rates = tl.load(rate + channel, mask=wanted, other=0.0).to(tl.float32)
    carried = tl.zeros([WIDTH], tl.float32)
    sum_rate = tl.zeros([WIDTH], tl.float32)
    tiles = (T + TIME - 1) // TIME
    for back in range(0, tiles):
        begin = (tiles - 1 - back) * TIME
        time = begin + tl.arange(0, TIME)
        inside = time < T
        at = (row * T + time)[:, None] * R + channel[None, :]
        seen = inside[:, None] & wanted[None, :]
        # What reaches this token from the next one passed the next one's decay.
        follows = (time + 1 < T)[:, None] & wanted[None, :]
        cut = (tl.load(position + row * T + time + 1, mask=time + 1 < T, other=0) == 0)[:, None]
        gate = tl.load(gate_rec + at + R, mask=follows, other=0.0).to(tl.float32)
        following, _, _, _ = decay_of(gate, rates[None, :], cut)
        d_state = tl.load(dh + at, mask=seen, other=0.0).to(tl.float32)
        product, local = tl.associative_scan((following, d_state), 0, joined, reverse=True)
        local += product * carried[None, :]
        carried = tl.sum(tl.where((time == begin)[:, None], local, 0.0), 0)

        first = (tl.load(position + row * T + time, mask=inside, other=0) == 0)[:, None]
        gate = tl.load(gate_rec + at, mask=seen, other=0.0).to(tl.float32)
        decay, kept, slopes, open_ = decay_of(gate, rates[None, :], first)
        taken = tl.load(x + at, mask=seen, other=0.0).to(tl.float32)
        let_in = tl.sigmoid(tl.load(gate_in + at, mask=seen, other=0.0).to(tl.float32))
        older = (time > 0)[:, None] & seen
        before = tl.load(h + at - R, mask=older, other=0.0).to(tl.float32)
        through_kept = tl.where(slopes, local * taken * let_in * decay * decay / kept, 0.0)
        d_log = tl.where(first, 0.0, local * before * decay - through_kept)
        tl.store(dx + at, (local * let_in * kept).to(dx.dtype.element_ty), mask=seen)
        d_let_in = local * taken * kept
        tl.store(d_in + at, (d_let_in * let_in * (1.0 - let_in)).to(d_in.dtype.element_ty), mask=seen)
        d_open = -8.0 * rates[None, :] * d_log
        tl.store(d_rec + at, (d_open * open_ * (1.0 - open_)).to(d_rec.dtype.element_ty), mask=seen)
        sum_rate += tl.sum(tl.where(seen, -8.0 * open_ * d_log, 0.0), 0)
    tl.store(d_rate + row * R + channel, sum_rate, mask=wanted)


class RgLru(torch.autograd.Function):
    """h has x's type."""

    @staticmethod
    def forward(ctx, x, gate_in, gate_rec, rate, position):
        x, gate_in, gate_rec, position = (v.contiguous() for v in (x, gate_in, gate_rec, position))
        rate = rate.float().contiguous()
        batch, time, width = x.shape
        h = torch.empty_like(x)
        forward_kernel[(batch, triton.cdiv(width, WIDTH))](x, gate_in, gate_rec, rate, position, h, time, width,
                                                           TIME=TIME, WIDTH=WIDTH, num_warps=WARPS)
        ctx.save_for_backward(x, gate_in, gate_rec, rate, position, h)
        return h

    @staticmethod
    def backward(ctx, dh):
        x, gate_in, gate_rec, rate, position, h = ctx.saved_tensors
        batch, time, width = x.shape
        dx, d_in, d_rec = torch.empty_like(x), torch.empty_like(gate_in), torch.empty_like(gate_rec)
        d_rate = rate.new_empty(batch, width)
        backward_kernel[(batch, triton.cdiv(width, WIDTH))](x, gate_in, gate_rec, rate, position, h, dh.contiguous(), dx,
                                                            d_in, d_rec, d_rate, time, width, TIME=TIME, WIDTH=WIDTH, num_warps=WARPS)
        return dx, d_in, d_rec, d_rate.sum(0), None


def rg_lru(x, gate_in, gate_rec, rate, position):
    """As scan.rg_lru."""
    return RgLru.apply(x, gate_in, gate_rec, rate, position)
