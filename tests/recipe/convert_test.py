"""assets/recipe/convert.py on real checkpoints of DeepMind's layouts: what is converted computes the reference logits.

    convert_test.py torch|flax EYRIE_CLI SOURCE_DIR

Exit code 77, which CTest shows as skipped, where a package that the layout needs is missing.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

LAYOUT, CLI, TREE = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
PACKAGES = {"torch": "torch safetensors", "flax": "torch safetensors flax orbax-checkpoint"}

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file
    if LAYOUT == "flax":
        import orbax.checkpoint
        from flax import traverse_util
except ImportError as error:
    print(f"skipped: {error} (pip install {PACKAGES[LAYOUT]})")
    sys.exit(77)

OPTIONS = ["--window", "8", "--soft-cap", "30", "--scale-embedding", "yes"]


def convert(*arguments):
    return subprocess.run([sys.executable, TREE / "assets/recipe/convert.py", *map(str, arguments)],
                          capture_output=True, text=True, check=False)


def check_logits(folder, golden):
    out = folder / "logits.npy"
    subprocess.run([CLI, "score", "--model", folder, "--tokens-file", golden / "tokens.json", "--logits", out],
                   check=True, stdout=subprocess.DEVNULL)
    found, expected = np.load(out), np.load(golden / "logits.npy")
    error = np.abs(found - expected).max() / expected.std()
    assert error <= 2e-4, f"{folder}: {error} of the logits' standard deviation"
    print(f"{golden.name}: {error:.1e} of the logits' standard deviation")


def torch_file_converts(work):
    golden = TREE / "tests/golden/deepmind-torch"
    kaggle = work / "kaggle"
    kaggle.mkdir()
    torch.save(load_file(golden / "model.safetensors"), kaggle / "2b.pt")
    (kaggle / "tokenizer.model").write_bytes((TREE / "tests/engine/tokenizer/data/tiny-bpe.model").read_bytes())
    asked = convert(kaggle, work / "asked")
    assert asked.returncode == 1 and "--window, --soft-cap, --scale-embedding" in asked.stderr, asked
    done = convert(kaggle, work / "whole", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert (work / "whole/tokenizer.model").exists()
    (work / "whole/tokenizer.model").unlink()  # a vocabulary of its own
    check_logits(work / "whole", golden)
    sharded = convert(kaggle / "2b.pt", work / "shards", *OPTIONS, "--shard-bytes", 20_000)
    assert sharded.returncode == 0, sharded.stderr
    index = json.loads((work / "shards/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    (work / "shards/tokenizer.model").unlink()
    check_logits(work / "shards", golden)
    assert "new or empty folder" in convert(kaggle, work / "whole", *OPTIONS).stderr


def base_models_have_no_turns(work):
    golden = TREE / "tests/golden/deepmind-torch"
    for name, options, base in [("2b-it.pt", [], False), ("2b.pt", [], True), ("2b.pt", ["--chat", "gemma"], False),
                                ("2b-it.pt", ["--chat", "none"], True)]:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            folder = pathlib.Path(folder)
            torch.save(load_file(golden / "model.safetensors"), folder / name)
            tokenizer = TREE / "tests/engine/tokenizer/data/tiny-bpe.model"
            done = convert(folder / name, folder / "out", *OPTIONS, "--tokenizer", tokenizer, *options)
            assert done.returncode == 0, done.stderr
            assert ("--chat" in done.stdout) == (not options), done.stdout
            shows = folder / "out/tokenizer_config.json"
            assert shows.exists() == base, f"{name} {options}"
            assert not base or "chat_template" not in shows.read_text()


def flax_folder_converts(work):
    golden = TREE / "tests/golden/deepmind-flax"
    flat = {name: array.numpy() for name, array in load_file(golden / "model.safetensors").items()}
    tree = {"params": traverse_util.unflatten_dict(flat, sep="/")}
    orbax.checkpoint.PyTreeCheckpointer().save((work / "flax/2b").resolve(), tree)
    done = convert(work / "flax", work / "from-flax", *OPTIONS)
    assert done.returncode == 0, done.stderr
    check_logits(work / "from-flax", golden)


def deepmind_of(tensors):
    """Hugging Face's tensors under DeepMind's names, as its PyTorch code would save them."""
    sys.path.insert(0, str(TREE / "assets/recipe"))
    import convert as recipe
    plain = {ours: theirs for theirs, ours in recipe.PLAIN.items()}
    out = {theirs: tensors[ours] for theirs, ours in recipe.MODEL.items()}
    for name, tensor in tensors.items():
        if not name.startswith("model.layers."):
            continue
        _, _, layer, inner = name.split(".", 3)
        block = f"blocks.{layer}."
        up = name.replace("gate_proj", "up_proj")
        if inner == "temporal_block.conv_1d.weight":
            out[block + "recurrent_block.conv_1d.w"] = tensor[:, 0].T
        elif inner == "mlp_block.gate_proj.weight":
            out[block + "mlp_block.ffw_up.w"] = torch.stack([tensor.T, tensors[up].T])
        elif inner == "mlp_block.gate_proj.bias":
            out[block + "mlp_block.ffw_up.b"] = torch.stack([tensor, tensors[up]])[:, None, None]
        elif "up_proj" not in inner:
            out[block + plain[inner]] = tensor
    return out


def complex_recurrence_converts(work):
    golden = TREE / "tests/golden/griffin-complex"
    torch.save(deepmind_of(load_file(golden / "model.safetensors")), work / "complex.pt")
    done = convert(work / "complex.pt", work / "complex", "--window", "12", *OPTIONS[2:])
    assert done.returncode == 0, done.stderr
    assert json.loads((work / "complex/config.json").read_text())["eyrie"] == {"rg_lru": "complex"}
    check_logits(work / "complex", golden)


def damage_is_named(work):
    golden = TREE / "tests/golden/deepmind-torch"
    tensors = load_file(golden / "model.safetensors")
    for name, damage, said in [
            ("unknown", lambda t: t.update({"blocks.0.extra": torch.zeros(1)}), "blocks.0.extra: expected a name"),
            ("up", lambda t: t.update({"blocks.0.mlp_block.ffw_up.w": torch.zeros(3, 2, 2)}), "ffw_up.w: expected [2"),
            ("number", lambda t: t.update({"final_norm.scale": 3}), "final_norm.scale: expected a tensor"),
            ("no blocks", lambda t: [t.pop(k) for k in list(t) if k.startswith("blocks")], "expected blocks.0")]:
        bent = dict(tensors)
        damage(bent)
        torch.save(bent, work / "bent.pt")
        result = convert(work / "bent.pt", work / "bent", *OPTIONS)
        assert result.returncode == 1 and said in result.stderr, f"{name}: {result.stderr}"
        assert not (work / "bent").exists()
    (work / "bent.pt").write_bytes(b"no archive")
    result = convert(work / "bent.pt", work / "bent", *OPTIONS)
    assert result.returncode == 1 and "expected a PyTorch file" in result.stderr, result.stderr


with tempfile.TemporaryDirectory() as scratch:
    checks = {"torch": [torch_file_converts, complex_recurrence_converts, base_models_have_no_turns, damage_is_named],
              "flax": [flax_folder_converts]}
    for check in checks[LAYOUT]:
        check(pathlib.Path(scratch))
