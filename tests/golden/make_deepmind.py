"""Makes deepmind-torch and deepmind-flax with DeepMind's own package:

    pip install recurrentgemma torch jax flax safetensors    # typeguard 2
    python make_deepmind.py

Random weights, fp32. Tensors keep the names and layouts of that package; config.json says only what they do not.
"""

import json
import pathlib

import jax
import numpy as np
import torch
from flax import traverse_util
from recurrentgemma import common
from recurrentgemma import jax as recurrentgemma_jax
from recurrentgemma import torch as recurrentgemma_torch
from safetensors.numpy import save_file

KIND = common.TemporalBlockType
V, W, T = 48, 8, 40
HERE = pathlib.Path(__file__).parent


def config():
    return common.GriffinConfig(
        vocab_size=V, width=24, mlp_expanded_width=28, num_heads=2, lru_width=32,
        block_types=(KIND.RECURRENT, KIND.RECURRENT, KIND.ATTENTION, KIND.RECURRENT),
        embeddings_scale_by_sqrt_dim=True, attention_window_size=W, logits_soft_cap=30.0)


def noise(name, array, random):
    """Norms and biases start at zero, where leaving one out would not show."""
    zero = name.endswith(("scale", "bias", ".b", "/b"))
    return random.normal(0, 0.1, array.shape).astype(np.float32) if zero else np.asarray(array, np.float32)


def state_arrays(cache):
    arrays = {}
    for i, kind in enumerate(config().block_types):
        layer = cache[f"blocks.{i}"]
        if kind is KIND.RECURRENT:
            arrays[f"layers.{i}.rg_lru.h"] = np.asarray(layer.rg_lru_state[0], np.float32)
            arrays[f"layers.{i}.conv_1d.tail"] = np.asarray(layer.conv1d_state[0], np.float32)
        else:
            oldest_first = [position % W for position in range(T - W, T)]
            arrays[f"layers.{i}.attention.keys"] = np.asarray(layer.keys[0], np.float32)[oldest_first]
            arrays[f"layers.{i}.attention.values"] = np.asarray(layer.values[0], np.float32)[oldest_first]
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def write(folder, weights, tokens, logits, cache):
    folder = HERE / folder
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / "model.safetensors")
    stated = {"attention_window_size": W, "logits_soft_cap": 30.0, "embeddings_scale_by_sqrt_dim": True}
    (folder / "config.json").write_text(json.dumps(stated, indent=2) + "\n")
    (folder / "tokens.json").write_text(json.dumps(tokens[0].tolist()) + "\n")
    np.save(folder / "logits.npy", np.asarray(logits[0], np.float32))
    save_file(state_arrays(cache), folder / "state.safetensors", metadata={"position": str(T)})


def with_torch(tokens):
    torch.manual_seed(1)
    model = recurrentgemma_torch.Griffin(config(), dtype=torch.float32).eval()
    random = np.random.default_rng(1)
    weights = {name: noise(name, array.detach().numpy(), random) for name, array in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    with torch.no_grad():
        logits, cache = model(torch.from_numpy(tokens), torch.arange(T)[None])
    write("deepmind-torch", weights, tokens, logits.numpy(), cache)


def with_flax(tokens):
    model = recurrentgemma_jax.Griffin(config())
    tokens = jax.numpy.asarray(tokens, jax.numpy.int32)
    positions = jax.numpy.arange(T, dtype=jax.numpy.int32)[None]
    tree = model.init(jax.random.PRNGKey(2), tokens, positions)["params"]
    random = np.random.default_rng(2)
    flat = traverse_util.flatten_dict(tree, sep="/")
    weights = {name: noise(name, array, random) for name, array in flat.items()}
    logits, cache = model.apply({"params": traverse_util.unflatten_dict(weights, sep="/")}, tokens, positions)
    write("deepmind-flax", weights, tokens, logits, cache)


if __name__ == "__main__":
    jax.config.update("jax_default_matmul_precision", "highest")
    chosen = np.random.default_rng(0).integers(0, V, (1, T))
    chosen[0, 0] = 2
    with_torch(chosen)
    with_flax(chosen)
