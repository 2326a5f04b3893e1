"""Train one model: train.py NAME [--tokens N] [--stage pretrain|chat] …; run again to go on after an interruption.

Rate: warm-up, constant, and over the last part of the run linear down to 3 % of the peak.
"""
import argparse
import functools
import json
import math
import os
import signal
import time

import numpy as np
import torch

import on_card
from model import Model, config_of, positions, sized
from settings import BOS, SEED, SEQUENCE, TOKENS, work_dir

UNFINISHED = 3  # exit code: the slice is over, run again


def rate_at(step, steps, peak, warm_up, decay_from):
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if step < decay_from:
        return peak
    return peak * (1 - 0.97 * (step - decay_from) / max(1, steps - decay_from))


class Rows:
    """Packed rows on the device: the first time in the order in which they lie, then shuffled anew each time."""

    def __init__(self, name, device, answers_only=False):
        ids = np.fromfile(work_dir() / f"{name}.u16", dtype=np.int16)  # below 32768
        self.ids = torch.from_numpy(ids).view(-1, SEQUENCE + 1).to(device)
        self.answers = None
        if answers_only:
            packed = np.fromfile(work_dir() / f"{name}.mask", dtype=np.uint8).reshape(len(self.ids), -1)
            self.answers = torch.from_numpy(packed).to(device)
        self.order = functools.lru_cache(2)(self._order)

    def _order(self, epoch):
        shuffled = torch.Generator().manual_seed(SEED + epoch)
        return torch.randperm(len(self.ids), generator=shuffled) if epoch else torch.arange(len(self.ids))

    def places(self, first, count):
        parts = []
        while count:
            epoch, at = divmod(first, len(self.ids))
            parts.append(self.order(epoch)[at:at + count])
            first, count = first + len(parts[-1]), count - len(parts[-1])
        return torch.cat(parts)

    def batch(self, step, size):
        index = self.places(step * size, size).to(self.ids.device)
        ids = self.ids[index].long()
        tokens, target = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        weight = (target != BOS).float()  # nobody can foresee that a new document starts
        if self.answers is not None:
            bits = self.answers[index].unsqueeze(-1) >> torch.arange(7, -1, -1, device=index.device) & 1
            weight = weight * bits.flatten(1)[:, 1:SEQUENCE + 1]
        return tokens, positions(tokens, BOS), target, weight


def mean_loss(model, tokens, position, target, weight):
    with on_card.precision(tokens.device):
        return model.loss(tokens, position, target, weight) / weight.sum().clamp_min(1)


def held_loss(model, held, size):
    """Nats a token on text that is kept from training."""
    count = max(1, len(held.ids) // size)
    with torch.no_grad():
        return sum(mean_loss(model, *held.batch(step, size)).item() for step in range(count)) / count


def optimiser_for(model, decay):
    """AdamW; the embedding learns three times as fast and does not decay: most of its rows are seldom seen.

    Batches are small, so the second moment needs a long memory: 0.99, not the 0.95 of large batches."""
    table = model.embed_tokens.weight
    matrices = [p for p in model.parameters() if p.dim() > 1 and p is not table]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": [table], "weight_decay": 0.0, "times": 3.0},
              {"params": matrices, "weight_decay": decay, "times": 1.0},
              {"params": others, "weight_decay": 0.0, "times": 1.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=True)


def save(path, **what):
    partial = path.with_suffix(".partial")
    torch.save(what, partial)
    os.replace(partial, path)


def arguments():
    parse = argparse.ArgumentParser()
    parse.add_argument("name", choices=["griffin", "hawk", "mqa"])
    parse.add_argument("--stage", default="pretrain", choices=["pretrain", "chat"])
    parse.add_argument("--width", type=int, help="a multiple of 32, by default 160")
    parse.add_argument("--layers", type=int, help="by default 6")
    parse.add_argument("--tokens", type=float, help="by default 37 million, in the chat stage 1 million")
    parse.add_argument("--batch", type=int, help="rows; by default 4, on a card 64")
    parse.add_argument("--rate", type=float)
    parse.add_argument("--warm-up", type=int, default=30)
    parse.add_argument("--decay-share", type=float, help="part of the run in which the rate falls; 0.31, chat 0.9")
    parse.add_argument("--save-every", type=float, default=180, help="seconds")
    parse.add_argument("--slice", type=float, default=math.inf, help="stop after so many seconds, to be continued")
    parse.add_argument("--held-every", type=int, help="steps between looks at held-out rows; by default 500 on a card")
    parse.add_argument("--start", help="checkpoint to begin from; its step is kept")
    parse.add_argument("--out", help="name of the checkpoint, by default NAME or NAME-chat")
    parse.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parse.add_argument("--plain", action="store_true", help="on a card, do not compile the elementwise parts")
    args = parse.parse_args()
    chat, card = args.stage == "chat", args.device.startswith("cuda")
    args.tokens = args.tokens or (1e6 if chat else TOKENS)
    args.rate = args.rate or (3e-4 if chat else 3e-3)
    args.decay_share = args.decay_share or (0.9 if chat else 0.31)
    args.batch = args.batch or (64 if card else 4)
    args.held_every = (500 if card else 0) if args.held_every is None else args.held_every
    return args


class Run:
    """One model in training: what a checkpoint holds."""

    def __init__(self, args, path):
        self.args, self.path = args, path
        self.config = sized(args.name, args.width, args.layers)
        torch.manual_seed(SEED)
        self.model = Model(self.config).to(args.device)
        self.optimiser = optimiser_for(self.model, 0.1)
        self.step, self.curve, self.held, self.seconds = 0, [], [], 0.0
        self.total, self.counted = torch.zeros((), device=args.device), 0  # losses since the curve's last point
        self.warm_from = None  # step at which the optimiser began anew
        self.steps = int(args.tokens) // (args.batch * SEQUENCE)
        self.decay_from = int(self.steps * (1 - args.decay_share))

    def begin(self):
        """Go on from our own checkpoint, else from --start, else from nothing."""
        own = self.path.exists()
        if not own and not self.args.start:
            return
        source = self.path if own else work_dir() / f"{self.args.start}.pt"
        found = torch.load(source, map_location=self.args.device, weights_only=False)
        if config_of(self.args.name, found) != self.config:
            raise SystemExit(f"{source.name} holds another model ({config_of(self.args.name, found)}): delete it, or "
                             "give its --width and --layers")
        self.model.load_state_dict(found["model"])
        if not own and self.args.stage == "chat":
            return
        batch = found["arguments"]["batch"]
        if found.get("done") and found["tokens"] + batch * SEQUENCE > self.args.tokens:
            self.step = self.steps
            return
        if batch != self.args.batch:
            raise SystemExit(f"{source.name} was trained with --batch {batch}, not {self.args.batch}")
        self.step = found["tokens"] // (self.args.batch * SEQUENCE)
        self.curve, self.held, self.seconds = found["curve"], found.get("held", []), found["seconds"]
        total, self.counted = found.get("since", (0.0, 0))
        self.total += total
        if "optimiser" in found:
            self.optimiser.load_state_dict(found["optimiser"])
            self.warm_from = found.get("warm_from")
        else:
            self.warm_from = self.step

    def keep(self, path=None):
        save(path or self.path, model=self.model.state_dict(), optimiser=self.optimiser.state_dict(), step=self.step,
             curve=self.curve, held=self.held, seconds=self.seconds, arguments=vars(self.args),
             config=self.config.to_json(), since=(self.total.item(), self.counted), warm_from=self.warm_from,
             done=self.step >= self.steps, tokens=self.step * self.args.batch * SEQUENCE)

    def rate(self):
        rate = rate_at(self.step, self.steps, self.args.rate, self.args.warm_up, self.decay_from)
        if self.warm_from is not None:
            rate *= min(1.0, (self.step - self.warm_from + 1) / self.args.warm_up)
        return rate

    def advance(self, batch):
        """One step; nothing of it is waited for."""
        rate = self.rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["times"]
        loss = mean_loss(self.model, *batch)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self.total += loss.detach()
        self.counted += 1

    def point(self):
        """The curve's next: the mean loss since the last. Waits for the device."""
        self.curve.append((self.step * self.args.batch * SEQUENCE, self.total.item() / self.counted))
        self.total.zero_()
        self.counted = 0
        return {"tokens": self.curve[-1][0], "loss": round(self.curve[-1][1], 4), "rate": round(self.rate(), 6)}


def train(run, rows, held, stop):
    """To the end, or until stop() says so; whether it got there."""
    args, size = run.args, run.args.batch * SEQUENCE
    saved = shown = time.monotonic()
    worked, shown_step = time.process_time(), run.step
    while run.step < run.steps and not stop():
        if run.step == run.decay_from and args.stage != "chat":
            run.keep(run.path.with_name(f"{run.path.stem}-flat.pt"))  # a longer run can go on from here
        run.advance(rows.batch(run.step, args.batch))
        if held and (run.step % args.held_every == 0 or run.step == run.steps):
            run.held.append((run.step * size, held_loss(run.model, held, args.batch)))
            print(json.dumps({"tokens": run.step * size, "held": round(run.held[-1][1], 4)}), flush=True)
        if run.step % 50 == 0 or run.step == run.steps:
            point, now, work = run.point(), time.monotonic(), time.process_time()
            read = (run.step - shown_step) * size
            print(json.dumps({**point, "tokens_per_second": round(read / (now - shown)),
                              "tokens_per_cpu_second": round(read / (work - worked))}), flush=True)
            run.seconds += now - shown
            shown, worked, shown_step = now, work, run.step
        if time.monotonic() - saved > args.save_every:
            run.keep()
            saved = time.monotonic()
    run.seconds += time.monotonic() - shown
    run.keep()
    return run.step >= run.steps


def main():
    begun, args = time.monotonic(), arguments()
    path = work_dir() / f"{args.out or args.name + ('-chat' if args.stage == 'chat' else '')}.pt"
    if args.device == "cpu":
        torch.set_flush_denormal(True)
    run = Run(args, path)
    run.begin()
    print(f"{path.stem}: step {run.step} of {run.steps}", flush=True)
    if run.step >= run.steps and path.exists():
        return
    if args.device.startswith("cuda"):
        on_card.prepare(args.device, not args.plain)
    rows = Rows(args.stage, args.device, args.stage == "chat")
    held = Rows("held", args.device) if args.held_every and (work_dir() / "held.u16").exists() else None
    signals = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: signals.append(True))
    if not train(run, rows, held, lambda: signals or time.monotonic() - begun > args.slice):
        raise SystemExit(1 if signals else UNFINISHED)


if __name__ == "__main__":
    main()
