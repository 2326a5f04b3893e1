"""Slices of a training, what travels to a card and back, and the card's form of attention, on tiny models.

    train_test.py SOURCE_DIR

Exit code 77, which CTest shows as skipped, where torch is missing.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
from types import SimpleNamespace

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"skipped: {error} (pip install torch)")
    sys.exit(77)

RECIPE = pathlib.Path(sys.argv[1]).resolve() / "assets/recipe"
sys.path.insert(0, str(RECIPE))
SCRATCH = tempfile.TemporaryDirectory()
WORK = pathlib.Path(SCRATCH.name)
os.environ["EYRIE_RECIPE_DIR"] = str(WORK)
torch.set_num_threads(1)
import bundle  # noqa: E402
import fused  # noqa: E402
import train  # noqa: E402
from model import SIBLINGS, Model, positions, sized  # noqa: E402
from settings import BOS, SEQUENCE  # noqa: E402


def write_rows(name, count):
    made = np.random.default_rng(count)
    ids = made.integers(4, 4096, (count, SEQUENCE + 1), dtype=np.uint16)
    ids[made.random(ids.shape) < 0.02] = BOS
    ids.tofile(WORK / f"{name}.u16")
    mask = made.random(ids.shape) < 0.5
    np.packbits(mask, axis=1).tofile(WORK / f"{name}.mask")
    return ids, mask


def arguments(**changed):
    return SimpleNamespace(**dict(
        name="griffin", stage="pretrain", width=32, layers=3, tokens=12 * 2 * SEQUENCE, batch=2, rate=3e-3, warm_up=3,
        decay_share=0.3, save_every=1e9, held_every=5, start=None, device="cpu", slice=1e9) | changed)


def trained(path, stops=()):
    """Runs of one training, each but the last stopped after so many steps."""
    for number in [*stops, 10**9]:
        run = train.Run(arguments(), path)
        run.begin()
        asked = iter(range(10**9))
        train.train(run, train.Rows("pretrain", "cpu"), train.Rows("held", "cpu"), lambda: next(asked) >= number)
    return run


def slices_give_the_same_losses():
    whole = trained(WORK / "whole.pt")
    sliced = trained(WORK / "sliced.pt", [1, 4, 2])
    assert len(whole.curve) == 1 and len(whole.held) == 3, (whole.curve, whole.held)
    assert (whole.curve, whole.held) == (sliced.curve, sliced.held), (whole.curve, sliced.curve, whole.held, sliced.held)
    for (name, a), b in zip(whole.model.state_dict().items(), sliced.model.state_dict().values()):
        assert torch.equal(a, b), f"{name} differs by {(a - b).abs().max()}"
    assert not torch.equal(whole.model.embed_tokens.weight, train.Run(arguments(), WORK / "x.pt").model.embed_tokens.weight)


def rows_come_once_an_epoch_and_answers_fit(ids, mask):
    rows = train.Rows("chat", "cpu", answers_only=True)
    tokens, position, target, weight = rows.batch(1, 3)
    assert np.array_equal(tokens, ids[3:6, :-1]) and np.array_equal(target, ids[3:6, 1:])
    assert np.array_equal(weight > 0, mask[3:6, 1:] & (ids[3:6, 1:] != BOS))
    assert torch.equal(position, positions(tokens, BOS))
    seen = rows.places(5, 2 * len(ids))
    assert seen[:len(ids) - 5].tolist() == list(range(5, len(ids)))
    second = seen[len(ids) - 5:2 * len(ids) - 5].tolist()
    assert sorted(second) == list(range(len(ids))) and second != sorted(second)


def siblings_of_one_size_are_alike():
    for width, layers in ((160, 6), (256, 9), (320, 8)):
        counts = [sum(p.numel() for p in Model(sized(name, width, layers)).parameters())
                  for name in ("griffin", "hawk", "mqa")]
        assert max(counts) < 1.05 * min(counts), f"{width} x {layers}: {counts}"
    for name in ("griffin", "hawk", "mqa"):
        assert sized(name, 160, 6) == SIBLINGS[name] == sized(name)


def dense_attention_equals_the_blocked():
    tokens = torch.randint(4, 4096, (2, 300), generator=torch.Generator().manual_seed(3))
    tokens[0, 170] = tokens[1, 5] = BOS
    blocked, library, fused._library = fused.dense, fused._library, False
    for name in ("griffin", "mqa"):
        torch.manual_seed(2)
        model = Model(sized(name, 64, 3))
        found = []
        for dense in (lambda *_: False, lambda *_: True):
            fused.dense = dense
            model.zero_grad()
            logits = model(tokens, positions(tokens, BOS))
            logits.square().mean().backward()
            found.append([logits.detach(), model.layers[2].temporal_block.k_proj.weight.grad])
        for a, b in zip(*found):
            assert (a - b).abs().max() <= 2e-5 * a.abs().max(), f"{name}: {(a - b).abs().max()}"
    fused.dense, fused._library = blocked, library


def what_travels_comes_back():
    ids = np.fromfile(WORK / "pretrain.u16", dtype=np.uint16)
    bundle.pack(WORK / "mix.tar.xz", 60_000)
    assert (WORK / "mix.tar.xz").stat().st_size <= 60_000
    bundle.send(WORK / "parts", ["whole"])
    weights = torch.load(WORK / "whole.pt")["model"]
    (WORK / "pretrain.u16").unlink()
    (WORK / "whole.pt").unlink()
    bundle.unpack(WORK / "mix.tar.xz")
    part = np.fromfile(WORK / "pretrain.u16", dtype=np.uint16)
    assert 0 < len(part) < len(ids) and len(part) % (SEQUENCE + 1) == 0 and np.array_equal(part, ids[:len(part)])
    bundle.receive(WORK / "parts")
    found = torch.load(WORK / "whole.pt")
    for name, value in weights.items():
        assert torch.equal(found["model"][name], value.bfloat16().float()), name
    again = train.Run(arguments(tokens=24 * 2 * SEQUENCE), WORK / "whole.pt")
    again.begin()
    assert again.step == 12 and again.rate() == again.args.rate / 3, (again.step, again.rate())


def no_more_is_trained_than_comes_back():
    million = 1_000_000
    assert bundle.siblings_that_fit({"griffin": 8 * million, "hawk": 8 * million, "mqa": 8 * million}) == ["griffin", "hawk"]
    assert bundle.siblings_that_fit({"griffin": 20 * million, "hawk": million}) == ["hawk"]
    large = ["--bundle", WORK / "none", "--out", WORK / "out", "--width", 512, "--layers", 12]
    wrong = call("make.py", *large, "--only", "griffin,hawk")
    assert wrong.returncode == 2 and "would not come back" in wrong.stderr, wrong
    middle = call("make.py", "--bundle", WORK / "none", "--out", WORK / "out", "--width", 256, "--layers", 9)
    assert "call again with --only mqa" in middle.stdout, middle


def no_more_is_sent_than_comes_back():
    files, bundle.FILES = bundle.FILES, 1
    bundle.send(WORK / "few", ["whole", "sliced"])
    bundle.FILES = files
    assert [path.name for path in (WORK / "few").iterdir()] == ["whole.part0"]
    sent = (WORK / "few/whole.part0").stat().st_size
    count = sum(value.numel() for value in torch.load(WORK / "whole.pt", weights_only=False)["model"].values())
    assert 2 * count < sent < 2 * count + bundle.BESIDE, (count, sent)


def call(script, *words):
    return subprocess.run([sys.executable, RECIPE / script, *map(str, words)], capture_output=True, text=True,
                          check=False)


def one_command_goes_on_until_done():
    options = ["--bundle", WORK / "mix.tar.xz", "--only", "hawk", "--width", 32, "--layers", 2, "--batch", 2, "--device",
               "cpu", "--tokens", 4 * 2 * SEQUENCE, "--out", WORK / "out"]
    stopped = call("make.py", *options, "--minutes", 0)
    assert stopped.returncode == 3, stopped
    assert torch.load(WORK / "hawk.pt", weights_only=False)["step"] == 0
    wrong = call("train.py", "hawk", "--device", "cpu")
    assert wrong.returncode == 1 and "holds another model" in wrong.stderr, wrong
    chat_rows = ["train.py", "hawk", "--stage", "chat", "--start", "hawk", "--width", 32, "--layers", 2, "--batch", 2,
                 "--device", "cpu", "--tokens", 3 * 2 * SEQUENCE]
    (WORK / "hawk.pt").unlink()
    bundle.receive(WORK / "out")
    done = call("train.py", "hawk", "--width", 32, "--layers", 2, "--batch", 2, "--device", "cpu", "--tokens",
                4 * 2 * SEQUENCE)
    assert done.returncode == 0 and '"loss"' in done.stdout, done
    done = call(*chat_rows)
    assert done.returncode == 0 and (WORK / "hawk-chat.pt").exists(), done
    again = call(*chat_rows, "--slice", 0)
    assert again.returncode == 0 and '"loss"' not in again.stdout, again


write_rows("pretrain", 60)
write_rows("held", 4)
CHAT = write_rows("chat", 10)
(WORK / "tokenizer.model").write_bytes(b"a vocabulary")
slices_give_the_same_losses()
rows_come_once_an_epoch_and_answers_fit(*CHAT)
siblings_of_one_size_are_alike()
dense_attention_equals_the_blocked()
no_more_is_trained_than_comes_back()
no_more_is_sent_than_comes_back()
what_travels_comes_back()
one_command_goes_on_until_done()
