"""assets/recipe/scan.py and scan_triton.py against a loop over time in float64: values and gradients.

    scan_test.py SOURCE_DIR

The Triton kernels run on a CPU in Triton's own interpreter. Exit code 77, which CTest shows as skipped, without torch.
"""
import os
import pathlib
import sys

os.environ["TRITON_INTERPRET"] = "1"
try:
    import torch
except ImportError as error:
    print(f"skipped: {error} (pip install torch)")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "assets/recipe"))
import scan  # noqa: E402

NAMES = ("x", "gate_in", "gate_rec", "rate")


def by_steps(x, gate_in, gate_rec, rate, position):
    """The recurrence as it is written down, one token after the other."""
    state, out = torch.zeros_like(x[:, 0]), []
    for t in range(x.size(1)):
        first = (position[:, t] == 0).unsqueeze(-1)
        log_decay = -8 * torch.sigmoid(gate_rec[:, t]) * rate
        kept = torch.where(first, 1.0, torch.sqrt((-torch.expm1(2 * log_decay)).clamp_min(2.5e-7)))
        decay = torch.where(first, 0.0, torch.exp(log_decay))
        state = decay * state + x[:, t] * torch.sigmoid(gate_in[:, t]) * kept
        out.append(state)
    return torch.stack(out, 1)


def example(batch, time, width, rates):
    """Rows with documents that begin anywhere, also two tokens running."""
    seeded = torch.Generator().manual_seed(time * width)
    x, gate_in, gate_rec = (torch.randn(batch, time, width, generator=seeded, dtype=torch.float64) for _ in range(3))
    start = torch.rand(batch, time, generator=seeded) < 0.05
    start[:, 0] = True
    start[0, time // 2: time // 2 + 2] = True
    index = torch.arange(time).expand(batch, time)
    position = (index - torch.where(start, index, 0).cummax(1).values).to(torch.int32)
    return x, gate_in, 3 * gate_rec, torch.tensor(rates, dtype=torch.float64).repeat(width)[:width], position


def values_and_gradients(run, inputs, position, dtype):
    leaves = [v.to(dtype).clone().requires_grad_() for v in inputs]
    h = run(*leaves, position)
    (h * torch.cos(torch.arange(h.numel(), dtype=dtype).view(h.shape))).sum().backward()
    return [h.detach(), *(leaf.grad for leaf in leaves)]


def compare(run, dtype, shape, rates, bound):
    *inputs, position = example(*shape, rates)
    expected = values_and_gradients(by_steps, inputs, position, torch.float64)
    found = values_and_gradients(run, inputs, position, dtype)
    for name, a, b in zip(("h",) + NAMES, found, expected):
        error = ((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()
        assert error <= bound, f"{run.__module__} {dtype} {shape} rates {rates}: {name} is off by {error:.1e} > {bound}"
    return True


# 8 rate r is minus the logarithm of the decay: almost 0, the trained range, and decays that underflow.
KEEPING, USUAL, FORGETTING = [1e-7, 3e-6], [1e-4, 1.3e-2, 0.3], [5.0, 60.0, 1e-6]
SHAPES = [(2, 1, 3), (2, 7, 5), (3, 64, 33), (2, 131, 40)]


def plain_scan_equals_the_loop():
    for shape in SHAPES:
        for rates in (KEEPING, USUAL, FORGETTING):
            compare(scan.rg_lru, torch.float64, shape, rates, 1e-9)
            compare(scan.rg_lru, torch.float32, shape, rates, 3e-5)


def a_wrong_scan_is_found():
    def without_resets(x, gate_in, gate_rec, rate, position):
        return scan.rg_lru(x, gate_in, gate_rec, rate, torch.arange(x.size(1)).expand(position.shape))

    try:
        compare(without_resets, torch.float64, (2, 131, 40), USUAL, 1e-3)
    except AssertionError:
        return
    raise AssertionError("a scan that ignores documents' starts passed")


def kernels_equal_the_loop():
    try:
        import scan_triton
    except ImportError as error:
        print(f"kernels skipped: {error} (pip install triton)")
        return
    for shape in [(2, 7, 5), (1, 131, 33)]:  # the interpreter is slow; a part of a tile, and three tiles by two
        for rates in (KEEPING, USUAL, FORGETTING):
            compare(scan_triton.rg_lru, torch.float32, shape, rates, 3e-5)
    a_step_as_on_a_card()
    print("kernels equal the loop")


def a_step_as_on_a_card():
    """Kernels, dense attention and bfloat16 products together: close to the plain model in float32, the gradients too."""
    import fused
    import on_card
    from model import Model, positions, sized
    fused._library = False
    torch.manual_seed(3)
    model = Model(sized("griffin", 64, 3))
    tokens = torch.randint(3, 4096, (2, 70))
    tokens[0, 40] = 2
    batch = tokens, positions(tokens, 2), tokens.roll(-1, 1), torch.ones(2, 70)

    def step():
        model.zero_grad()
        loss = model.loss(*batch) / 140
        loss.backward()
        return torch.cat([loss.detach().view(1), *(p.grad.flatten() for p in model.parameters())])

    plain = step()
    on_card.use_kernels("cpu")
    fused.dense = lambda *_: True
    assert fused._scan is not scan.rg_lru
    with torch.autocast("cpu", torch.bfloat16):
        card = step()
    assert (card[0] - plain[0]).abs() < 2e-3 * plain[0], (card[0], plain[0])
    error = ((card - plain).norm() / plain.norm()).item()
    assert error < 0.02, f"gradients are off by {error:.1e}"


plain_scan_equals_the_loop()
a_wrong_scan_is_found()
kernels_equal_the_loop()
