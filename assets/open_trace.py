#!/usr/bin/env python3
"""Opens a trace written by Eyrie: NPZ, safetensors, CSV or JSON Lines. Needs numpy and nothing else.

    python open_trace.py FILE          prints every array's name, shape and dtype

    from open_trace import open_trace
    trace = open_trace("answer.npz")   a dict of numpy arrays
    trace["layers.0.recurrence_gate"]  (token, channel), also as trace["blocks.0.rglru.hook_r"]
    trace.meta["model"]                what the file says about itself

Axis order is (token, channel) or (token, head, key); an attention row's last key is the token itself.
The aliases follow TransformerLens: blocks.{i}.rglru.hook_a (decay), hook_log_a, hook_r, hook_i, hook_h,
hook_write, hook_keep, blocks.{i}.attn.hook_pattern. A trace in f16 has no decay: hook_a is then computed from
log_decay when it is first asked for.
"""
import csv
import json
import os
import re
import struct
import sys
import zipfile

import numpy as np

ALIASES = {
    "recurrence_gate": "rglru.hook_r",
    "input_gate": "rglru.hook_i",
    "decay": "rglru.hook_a",
    "log_decay": "rglru.hook_log_a",
    "state": "rglru.hook_h",
    "write": "rglru.hook_write",
    "keep": "rglru.hook_keep",
    "state_norm": "rglru.hook_h_norm",
    "attention": "attn.hook_pattern",
    "attention_entropy": "attn.hook_pattern_entropy",
}
LAYER = re.compile(r"layers\.(\d+)\.(\w+)$")


class Trace(dict):
    """The arrays by name. Aliases are found by trace[alias] and listed by aliases(); meta is a dict."""

    def __init__(self, arrays, meta):
        super().__init__(arrays)
        self.meta = meta
        self._names = {}
        for name in arrays:
            layer = LAYER.match(name)
            if layer and layer[2] in ALIASES:
                self._names["blocks.%s.%s" % (layer[1], ALIASES[layer[2]])] = name
        for name in arrays:
            layer = LAYER.match(name)
            if layer and layer[2] == "log_decay":
                self._names.setdefault("blocks.%s.rglru.hook_a" % layer[1], name)

    def aliases(self):
        return dict(self._names)

    def __missing__(self, key):
        name = self._names[key]
        if key.endswith(".hook_a") and name.endswith(".log_decay"):
            return np.exp(self[name].astype(np.float32))
        return self[name]

    def __contains__(self, key):
        return super().__contains__(key) or key in self._names

    def get(self, key, default=None):
        return self[key] if key in self else default


def _open_npz(path):
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("meta.json")) if "meta.json" in archive.namelist() else {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "meta.json"}, meta


def _open_safetensors(path):
    types = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "|u1", "BOOL": "?"}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    meta = {}
    for key, text in header.pop("__metadata__", {}).items():
        try:
            meta[key] = json.loads(text)
        except ValueError:
            meta[key] = text
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = np.dtype(types[entry["dtype"]])
        if begin == end:
            arrays[name] = np.zeros(entry["shape"], dtype)
        else:
            arrays[name] = np.memmap(path, dtype, "r", 8 + length + begin, tuple(entry["shape"]))
    strings = arrays.pop("token_strings", None)
    if strings is not None:
        meta["token_strings"] = bytes(strings).decode("utf-8", "replace").split("\0")
    return arrays, meta


def _columns(rows):
    """Rows of one value a column → arrays; name_0, name_1 … become one array with a second axis."""
    columns = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    arrays, parts = {}, {}
    for name, values in columns.items():
        if name == "text":
            arrays[name] = np.array(["" if v is None else str(v) for v in values], dtype=str)
            continue
        whole = name in ("position", "tokens", "generated", "rank") or name.startswith("output.topk_tokens_")
        numbers = [np.nan if v is None or v == "" else float(v) for v in values]
        array = np.array(numbers, dtype=np.int32 if whole else np.float32)
        numbered = re.match(r"(.+)_(\d+)$", name)
        if numbered:
            parts.setdefault(numbered[1], {})[int(numbered[2])] = array
        else:
            arrays[name] = array
    for name, pieces in parts.items():
        arrays[name] = np.stack([pieces[i] for i in sorted(pieces)], axis=1)
    return arrays


def _open_rows(path, is_csv):
    with open(path, encoding="utf-8", newline="" if is_csv else None) as file:
        rows = list(csv.DictReader(file)) if is_csv else [json.loads(line) for line in file if line.strip()]
    if not rows:
        raise ValueError("expected one row a token, found none")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or row.keys() != rows[0].keys() or None in row:
            raise ValueError("row %d: expected the columns of the first row" % number)
    meta = {}
    if os.path.exists(str(path) + ".meta.json"):
        with open(str(path) + ".meta.json", encoding="utf-8") as file:
            meta = json.load(file)
    return _columns(rows), meta


def open_trace(path):
    """The file's arrays as a dict that also knows the aliases; .meta holds what the file says about itself."""
    ending = os.path.splitext(str(path))[1].lower()
    if ending == ".npz":
        return Trace(*_open_npz(path))
    if ending == ".safetensors":
        return Trace(*_open_safetensors(path))
    if ending in (".csv", ".jsonl"):
        return Trace(*_open_rows(path, ending == ".csv"))
    raise ValueError("%s: expected a name ending in .npz, .safetensors, .csv or .jsonl" % path)


def main():
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        trace = open_trace(sys.argv[1])
    except Exception as error:  # whatever a damaged file leads to
        print("%s: cannot be opened: %s" % (sys.argv[1], error), file=sys.stderr)
        return 1
    width = max([len(name) for name in trace] + [4])
    for name, array in trace.items():
        print("%-*s  %-20s %s" % (width, name, array.shape, array.dtype))
    return 0


if __name__ == "__main__":
    sys.exit(main())
