"""What travels to a machine with a card, and back.

    bundle.py pack FILE [--megabytes 39]   what training reads, of the packed rows as many as fit, as a tar.xz
    bundle.py unpack FILE                  there: into the work directory
    bundle.py send FOLDER NAME...          checkpoints less the optimiser, weights in bfloat16, in parts of 15 MiB; no
                                           more of them than come back from a lent machine: 8 files, 64 MiB
    bundle.py receive FOLDER               back: those parts as checkpoints of the work directory

Rows lie shuffled in training order, every source by its share, so the first ones are a smaller mix of the same kind.
"""
import argparse
import io
import json
import lzma
import os
import re
import tarfile
from pathlib import Path

import torch

from settings import BLOCK, MIX, SEQUENCE, work_dir
from train import save

WHOLE = ("tokenizer.model", "chat.u16", "chat.mask", "held.u16")
ROWS = "pretrain.u16"
DRAWN = "pretrain.json"
PART = 15 << 20
FILES, TOGETHER = 8, 64 << 20
BESIDE = 256 << 10  # of a checkpoint sent, at most: all that is no weight
ROW_BYTES = 2 * (SEQUENCE + 1)


def compressed(name, data):
    """An xz stream; streams one after the other are a file."""
    out = io.BytesIO()
    header = tarfile.TarInfo(name)
    header.size = len(data)
    out.write(header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
    return lzma.compress(out.getvalue())


def pack(target, size):
    folder = work_dir()
    parts = [compressed(name, (folder / name).read_bytes()) for name in WHOLE if (folder / name).exists()]
    left = size - sum(map(len, parts)) - 1024
    data = (folder / ROWS).read_bytes()
    sample = data[:10_000 * ROW_BYTES]  # as much as xz looks back: fewer would seem to need more room
    count = min(len(data) // ROW_BYTES, int(0.99 * left / len(compressed(ROWS, sample)) * (len(sample) // ROW_BYTES)))
    while True:
        if count < 1:
            raise SystemExit(f"{size} bytes hold no row beside the rest: expected more --megabytes")
        body = compressed(ROWS, data[:count * ROW_BYTES])
        if len(body) <= left:
            break
        count = int(count * 0.995 * left / len(body))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(parts) + body + lzma.compress(bytes(2 * tarfile.BLOCKSIZE)))
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB, {count} of {len(data) // ROW_BYTES} rows, "
          f"{count * SEQUENCE / 1e6:.1f} M tokens")
    if (folder / DRAWN).exists():
        print(balance(count))


def balance(count):
    """Share of each source in the blocks that the first rows are of, and in the mix."""
    drawn = json.loads((work_dir() / DRAWN).read_text())[-(-count // BLOCK) - 1]
    total = sum(drawn.values())
    return "\n".join(f"{name}: {100 * tokens / total:.1f} % (mix: {100 * MIX[name]:.1f} %), {tokens / 1e6:.2f} M tokens"
                     for name, tokens in drawn.items())


def unpack(source):
    """What is there already stays."""
    with tarfile.open(source, "r:xz") as archive:
        for member in archive:
            if not member.isreg() or member.name not in (*WHOLE, ROWS):
                raise SystemExit(f"{source}: expected {', '.join((*WHOLE, ROWS))}, found {member.name}")
            target = work_dir() / member.name
            if not target.exists():
                partial = target.with_suffix(".partial")
                partial.write_bytes(archive.extractfile(member).read())
                os.replace(partial, target)


class Room:
    """What can still come back."""

    def __init__(self):
        self.files, self.bytes = FILES, TOGETHER

    def takes(self, *sizes):
        """Whether checkpoints of so many bytes fit; if so, they have their place."""
        files = sum(-(-size // PART) for size in sizes)
        if files > self.files or sum(sizes) > self.bytes:
            return False
        self.files, self.bytes = self.files - files, self.bytes - sum(sizes)
        return True


def siblings_that_fit(sizes):
    """Of siblings and the numbers of their parameters, in order: those whose checkpoints of both stages come back."""
    room = Room()
    return [name for name, count in sizes.items() if room.takes(*[2 * count + BESIDE] * 2)]


def send(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    room = Room()
    for name in names:
        found = torch.load(work_dir() / f"{name}.pt", map_location="cpu", weights_only=False)
        found.pop("optimiser", None)  # it remembers a hundred steps; they are soon made good
        found["model"] = {key: value.to(torch.bfloat16) for key, value in found["model"].items()}
        data = io.BytesIO()
        torch.save(found, data)
        if not room.takes(data.tell()):
            print(f"{name}: NOT SENT, {data.tell() / 1e6:.1f} MB: expected at most {room.files} files and "
                  f"{room.bytes / 1e6:.1f} MB more")
            continue
        for number, at in enumerate(range(0, data.tell(), PART)):
            (folder / f"{name}.part{number}").write_bytes(data.getvalue()[at:at + PART])


def receive(folder):
    for first in sorted(folder.glob("*.part0")):
        name = first.name.removesuffix(".part0")
        numbers = sorted(int(re.search(r"(\d+)$", path.name)[1]) for path in folder.glob(f"{name}.part*"))
        data = io.BytesIO(b"".join((folder / f"{name}.part{number}").read_bytes() for number in numbers))
        found = torch.load(data, weights_only=False)
        found["model"] = {key: value.float() for key, value in found["model"].items()}
        save(work_dir() / f"{name}.pt", **found)
        print(f"{name}: {found['tokens'] / 1e6:.2f} M tokens")


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("what", choices=["pack", "unpack", "send", "receive"])
    parse.add_argument("place", type=Path)
    parse.add_argument("names", nargs="*")
    parse.add_argument("--megabytes", type=float, default=39)
    args = parse.parse_args()
    if args.what == "pack":
        pack(args.place, int(args.megabytes * 1e6))
    elif args.what == "unpack":
        unpack(args.place)
    elif args.what == "send":
        send(args.place, args.names)
    else:
        receive(args.place)


if __name__ == "__main__":
    main()
