"""Train one model: train.py NAME [--tokens N] [--stage pretrain|chat] …; run again to go on after an interruption.

Rate: warm-up, constant, and over the last part of the run linear down to 3 % of the peak.
"""
import argparse
import json
import os
import signal
import time

import numpy as np
import torch

from model import SIBLINGS, Model, positions
from settings import BOS, SEED, SEQUENCE, TOKENS, work_dir


def rate_at(step, steps, peak, warm_up, decay_from):
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if step < decay_from:
        return peak
    return peak * (1 - 0.97 * (step - decay_from) / max(1, steps - decay_from))


class Rows:
    """Packed rows, read in the order in which they lie."""

    def __init__(self, name):
        width = SEQUENCE + 1
        self.ids = np.memmap(work_dir() / f"{name}.u16", dtype=np.uint16, mode="r").reshape(-1, width)
        packed = np.memmap(work_dir() / f"{name}.mask", dtype=np.uint8, mode="r").reshape(len(self.ids), -1)
        self.packed, self.width = packed, width

    def batch(self, step, size, answers_only, device):
        index = np.arange(step * size, (step + 1) * size) % len(self.ids)
        ids = torch.from_numpy(self.ids[index].astype(np.int64)).to(device)
        tokens, target = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        weight = (target != BOS).float()  # nobody can foresee that a new document starts
        if answers_only:
            mask = np.unpackbits(self.packed[index], axis=1)[:, 1:self.width].astype(np.float32)
            weight = weight * torch.from_numpy(mask).to(device)
        return tokens, positions(tokens, BOS), target, weight


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
    parse.add_argument("--tokens", type=float, help="by default 37 million, in the chat stage 1 million")
    parse.add_argument("--batch", type=int, default=4)
    parse.add_argument("--rate", type=float)
    parse.add_argument("--warm-up", type=int, default=30)
    parse.add_argument("--decay-share", type=float, help="part of the run in which the rate falls; 0.31, chat 0.9")
    parse.add_argument("--save-every", type=float, default=180, help="seconds")
    parse.add_argument("--start", help="checkpoint to begin from; its step is kept")
    parse.add_argument("--out", help="name of the checkpoint, by default NAME or NAME-chat")
    parse.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parse.parse_args()
    chat = args.stage == "chat"
    args.tokens = args.tokens or (1e6 if chat else TOKENS)
    args.rate = args.rate or (3e-4 if chat else 3e-3)
    args.decay_share = args.decay_share or (0.9 if chat else 0.31)
    return args


def begin(args, model, optimiser, path):
    """Go on from our own checkpoint, else from --start, else from nothing. Returns step, curve, seconds."""
    if path.exists():
        found = torch.load(path, map_location=args.device, weights_only=False)
    elif args.start:
        found = torch.load(work_dir() / f"{args.start}.pt", map_location=args.device, weights_only=False)
        if args.stage == "chat":
            model.load_state_dict(found["model"])
            return 0, [], 0.0
    else:
        return 0, [], 0.0
    model.load_state_dict(found["model"])
    optimiser.load_state_dict(found["optimiser"])
    return found["step"], found["curve"], found["seconds"]


def main():
    args = arguments()
    chat = args.stage == "chat"
    torch.manual_seed(SEED)
    if args.device == "cpu":
        torch.set_flush_denormal(True)
    model = Model(SIBLINGS[args.name]).to(args.device)
    optimiser = optimiser_for(model, 0.1)
    path = work_dir() / f"{args.out or args.name + ('-chat' if chat else '')}.pt"
    rows = Rows(args.stage)
    step, curve, seconds = begin(args, model, optimiser, path)
    steps = int(args.tokens) // (args.batch * SEQUENCE)
    decay_from = int(steps * (1 - args.decay_share))
    started, saved, shown, total, counted = time.time() - seconds, time.time(), time.process_time(), 0.0, 0

    def keep(path=path):
        save(path, model=model.state_dict(), optimiser=optimiser.state_dict(), step=step, curve=curve,
             seconds=time.time() - started, arguments=vars(args), tokens=step * args.batch * SEQUENCE)

    stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.append(True))
    print(f"{path.stem}: step {step} of {steps}", flush=True)
    while step < steps and not stop:
        if step == decay_from and not chat:
            keep(path.with_name(f"{path.stem}-flat.pt"))  # a longer run can go on from here
        rate = rate_at(step, steps, args.rate, args.warm_up, decay_from)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["times"]
        tokens, position, target, weight = rows.batch(step, args.batch, chat, args.device)
        loss = model.loss(tokens, position, target, weight) / weight.sum().clamp_min(1)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        total, counted = total + loss.item(), counted + 1
        if step % 50 == 0 or step == steps:
            now = time.process_time()
            speed = counted * args.batch * SEQUENCE / (now - shown)
            curve.append((step * args.batch * SEQUENCE, total / counted))
            print(json.dumps({"tokens": curve[-1][0], "loss": round(curve[-1][1], 4), "rate": round(rate, 6),
                              "tokens_per_cpu_second": round(speed)}), flush=True)
            shown, total, counted = now, 0.0, 0
        if time.time() - saved > args.save_every:
            keep()
            saved = time.time()
    keep()
    if stop:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
