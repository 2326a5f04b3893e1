"""Compare the forward pass with reference logits: check_forward.py FOLDER... (config, weights, tokens.json, logits.npy)."""
import json
import sys
from pathlib import Path

import numpy as np
import torch

from model import load


def main():
    bad = False
    for folder in map(Path, sys.argv[1:]):
        model = load(folder).eval()
        tokens = torch.tensor(json.loads((folder / "tokens.json").read_text())).view(1, -1)
        position = torch.arange(tokens.size(1), dtype=torch.int32).view(1, -1)
        with torch.no_grad():
            logits = model(tokens, position)[0].numpy()
        rows = folder / "rows.json"
        if rows.exists():
            logits = logits[json.loads(rows.read_text())]
        expected = np.load(folder / "logits.npy")
        error = np.abs(logits - expected).max() / expected.std()
        bad |= not error <= 2e-4
        print(f"{folder.name}: {error:.1e} of the standard deviation")
    sys.exit(bad)


if __name__ == "__main__":
    main()
