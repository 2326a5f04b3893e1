"""Makes griffin-complex: a tiny random Griffin whose RG-LRU is complex, and what DeepMind's JAX code computes with it.

  pip install "jax[cpu]" flax einops safetensors recurrentgemma==1.0.1
  python make_complex.py [FOLDER]

Neither the build nor the tests run this. GriffinConfig has no switch for the complex form, its ResidualBlock has
(`lru_only_real`): the one change made to DeepMind's code is that Griffin builds blocks with it set.
"""
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from recurrentgemma import common
from recurrentgemma.jax import griffin, layers, modules
from safetensors.numpy import save_file

RECURRENT, ATTENTION = common.TemporalBlockType.RECURRENT, common.TemporalBlockType.ATTENTION
BLOCKS = (RECURRENT, RECURRENT, ATTENTION, RECURRENT)
D, R, E, H, V, W, T, SEED = 32, 40, 48, 4, 96, 12, 50, 20


class ComplexBlock(modules.ResidualBlock):
  lru_only_real: bool = False


modules.ResidualBlock = ComplexBlock


def model(scan_type):
  config = common.GriffinConfig(
      vocab_size=V, width=D, mlp_expanded_width=E, num_heads=H, block_types=BLOCKS, embeddings_scale_by_sqrt_dim=True,
      attention_window_size=W, logits_soft_cap=30.0, lru_width=R, scan_type=scan_type)
  return griffin.Griffin(config, gradient_checkpointing=False, dtype=jnp.float32, param_dtype=jnp.float32)


def randomised(params, random):
  """DeepMind's initialisation leaves biases and norms 0, the convolution small and every angle in one quadrant."""
  def change(path, value):
    name = "/".join(entry.key for entry in path)
    noise = random.standard_normal(value.shape)
    if name.endswith("a_imag_param"):
      # Half of them slow, as initialised; the others up to a quarter turn a token, either way.
      return np.where(random.random(value.shape) < 0.5, value, random.uniform(-np.pi / 2, np.pi / 2, value.shape))
    if name.endswith("conv_1d/w"):
      return 0.5 * noise
    if name.endswith("_gate/b"):
      return noise
    if name.endswith(("/b", "/bias", "/scale")):
      return 0.1 * noise
    return value
  return jax.tree_util.tree_map_with_path(lambda path, value: np.asarray(change(path, value), np.float32), params)


def checkpoint(params):
  """The weights under Hugging Face's names; a_imag_param, which it has not, as rg_lru.recurrent_imag_param."""
  out = {"model.embed_tokens.weight": params["embedder"]["input_embedding"],
         "model.final_norm.weight": params["final_norm"]["scale"]}
  for i, kind in enumerate(BLOCKS):
    block, layer = params[f"blocks.{i}"], f"model.layers.{i}."

    def linear(name, source, at=layer):
      out[f"{at}{name}.weight"] = source["kernel"].T
      if "bias" in source:
        out[f"{at}{name}.bias"] = source["bias"]

    out[f"{layer}temporal_pre_norm.weight"] = block["temporal_pre_norm"]["scale"]
    out[f"{layer}channel_pre_norm.weight"] = block["channel_pre_norm"]["scale"]
    up = block["mlp_block"]["ffw_up"]
    for half, name in enumerate(("gate_proj", "up_proj")):
      linear(f"mlp_block.{name}", {"kernel": up["w"][half], "bias": up["b"][half].reshape(-1)})
    linear("mlp_block.down_proj", block["mlp_block"]["ffw_down"])
    if kind is ATTENTION:
      for ours, theirs in (("q_proj", "proj_q"), ("k_proj", "proj_k"), ("v_proj", "proj_v"), ("o_proj", "proj_final")):
        linear(f"temporal_block.{ours}", block["attention_block"][theirs])
      continue
    temporal = block["recurrent_block"]
    for name in ("linear_x", "linear_y", "linear_out"):
      linear(f"temporal_block.{name}", temporal[name])
    out[f"{layer}temporal_block.conv_1d.weight"] = temporal["conv_1d"]["w"].T[:, None, :]
    out[f"{layer}temporal_block.conv_1d.bias"] = temporal["conv_1d"]["b"]
    unit, at = temporal["rg_lru"], f"{layer}temporal_block.rg_lru."
    out[f"{at}recurrent_param"] = unit["a_param"]
    out[f"{at}recurrent_imag_param"] = unit["a_imag_param"]
    for ours, theirs in (("input_gate", "input_gate"), ("recurrent_gate", "a_gate")):
      out[f"{at}{ours}_weight"] = unit[theirs]["w"]
      out[f"{at}{ours}_bias"] = unit[theirs]["b"]
  return {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}


def configuration():
  return {"architectures": ["RecurrentGemmaForCausalLM"], "model_type": "recurrent_gemma", "attention_bias": False,
          "attention_window_size": W, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "conv1d_width": 4,
          "head_dim": D // H, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": D, "intermediate_size": 2 * E,
          "logits_soft_cap": 30.0, "lru_width": R, "num_attention_heads": H, "num_hidden_layers": len(BLOCKS),
          "num_key_value_heads": 1, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
          "torch_dtype": "float32", "use_cache": True, "vocab_size": V,
          "_block_types": ["attention" if kind is ATTENTION else "recurrent" for kind in BLOCKS],
          "embeddings_scale_by_sqrt_dim": True, "eyrie": {"rg_lru": "complex"}}


def state(cache):
  out = {}
  for i, kind in enumerate(BLOCKS):
    part = cache[f"blocks.{i}"]
    if kind is RECURRENT:
      out[f"layers.{i}.rg_lru.h"] = part.rg_lru_state[0]
      out[f"layers.{i}.conv_1d.tail"] = part.conv1d_state[0]
      continue
    count = int(part.num_tokens[0])
    slots = [position % W for position in range(max(0, count - W), count)]
    out[f"layers.{i}.attention.keys"] = part.keys[0, slots]
    out[f"layers.{i}.attention.values"] = part.values[0, slots]
  return {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}


def trace(params, captured, tokens):
  """Gates and states are the modules' own outputs; decay and angle are formed as RGLRU.__call__ forms them."""
  out = {"tokens": np.asarray(tokens, np.int32)}
  for i, kind in enumerate(BLOCKS):
    if kind is ATTENTION:
      continue
    unit = params[f"blocks.{i}"]["recurrent_block"]["rg_lru"]
    seen = captured[f"blocks.{i}"]["recurrent_block"]["rg_lru"]
    gate = jax.nn.sigmoid(seen["a_gate"]["__call__"][0][0])
    log_decay = -8.0 * gate * jax.nn.softplus(unit["a_param"])
    values = {"recurrence_gate": gate, "input_gate": jax.nn.sigmoid(seen["input_gate"]["__call__"][0][0]),
              "log_decay": log_decay, "decay": jnp.exp(log_decay), "angle": unit["a_imag_param"] * gate,
              "state": seen["__call__"][0][0][0]}
    values["state_norm"] = jnp.linalg.norm(values["state"], axis=-1)
    out.update({f"layers.{i}.{name}": np.asarray(value, np.float32) for name, value in values.items()})
  return out


def largest(found, expected):
  return float(np.max(np.abs(np.asarray(found) - np.asarray(expected))) / np.max(np.abs(np.asarray(expected))))


def checked(variables, tokens, logits, final):
  """The same tokens one at a time through the caches, and by the other scan, must agree with the full pass.

  Steps use DeepMind's own Complex class (as with Pallas or bfloat16; a single token never reaches Pallas): with
  JAX's complex numbers its cached path casts a, x and h to float32 and so drops their imaginary parts.
  """
  parallel, _ = model(common.ScanType.ASSOCIATIVE_NATIVE).apply(variables, tokens[None], jnp.arange(T)[None])
  stepper = model(common.ScanType.LINEAR_PALLAS)
  cache, rows = stepper.init_cache(1, jnp.float32), []
  for t in range(T):
    row, cache = stepper.apply(variables, tokens[None, t:t + 1], jnp.array([[t]]), cache)
    rows.append(row[0, 0])
  errors = {"associative scan": largest(parallel[0], logits), "steps": largest(np.stack(rows), logits)}
  errors.update({name: largest(value, final[name]) for name, value in state(cache).items()})
  for name, error in errors.items():
    print(f"{name}: {error:.1e} of the largest value")
    assert error < 2e-5, name


def main():
  folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "griffin-complex")
  folder.mkdir(exist_ok=True)
  random = np.random.default_rng(SEED)
  tokens = jnp.concatenate([jnp.array([2]), jnp.asarray(random.integers(3, V, T - 1))])
  net = model(common.ScanType.LINEAR_NATIVE)
  positions = jnp.arange(T)[None]
  params = randomised(net.init(jax.random.key(SEED), tokens[None], positions)["params"], random)
  watched = lambda module, _: isinstance(module, (layers.RGLRU, layers.BlockDiagonalLinear))
  (logits, cache), seen = net.apply({"params": params}, tokens[None], positions, capture_intermediates=watched)
  final = state(cache)
  checked({"params": params}, tokens, logits[0], final)

  (folder / "config.json").write_text(json.dumps(configuration(), indent=1) + "\n")
  save_file(checkpoint(params), folder / "model.safetensors", {"format": "pt"})
  (folder / "tokens.json").write_text(json.dumps([int(token) for token in tokens]) + "\n")
  np.save(folder / "logits.npy", np.asarray(logits[0], np.float32))
  save_file(final, folder / "state.safetensors", {"position": str(T)})
  np.savez_compressed(folder / "trace.npz", **trace(params, seen["intermediates"], tokens))


if __name__ == "__main__":
  main()
