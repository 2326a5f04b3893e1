"""DeepMind's RecurrentGemma files as a model folder that Eyrie (and transformers) opens.

    python convert.py SOURCE OUT [--tokenizer FILE] [--chat gemma|none]
                                 [--window N --soft-cap X --scale-embedding yes|no]

SOURCE is a PyTorch file (.pt), a Flax checkpoint (an Orbax folder), or a folder that holds one of them, as Kaggle
hands them out. A tokenizer.model beside it is copied. Window, soft cap and embedding scale are known for the
released sizes and the paper's 7B, and asked for otherwise. Base models and those trained to chat have the same
tensors and vocabulary: without --chat, "-it" in a name means that turns are written as Gemma's.

Needs torch and safetensors; for Flax also jax and orbax-checkpoint. Nothing in a file is executed.
"""
import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

SHARD_BYTES = 5_000_000_000

# What tensors do not tell, by (width, recurrent width, MLP width, layers, attends).
KNOWN = {
    (2560, 2560, 7680, 26, True): ("recurrentgemma-2b", 2048, 30.0, True),
    (4096, 4096, 12288, 38, True): ("recurrentgemma-9b", 2048, 30.0, True),
    (4096, 5632, 12288, 32, True): ("griffin-paper-7b", 1024, 0.0, False),
    (4096, 5632, 12288, 32, False): ("hawk-paper-7b", 1024, 0.0, False),
}

# DeepMind's name inside a block -> Hugging Face's; matrices are (out, in) in both.
PLAIN = {
    "temporal_pre_norm.scale": "temporal_pre_norm.weight",
    "channel_pre_norm.scale": "channel_pre_norm.weight",
    "recurrent_block.conv_1d.b": "temporal_block.conv_1d.bias",
    "recurrent_block.rg_lru.a_param": "temporal_block.rg_lru.recurrent_param",
    "recurrent_block.rg_lru.a_imag_param": "temporal_block.rg_lru.recurrent_imag_param",
    "recurrent_block.rg_lru.input_gate.w": "temporal_block.rg_lru.input_gate_weight",
    "recurrent_block.rg_lru.input_gate.b": "temporal_block.rg_lru.input_gate_bias",
    "recurrent_block.rg_lru.a_gate.w": "temporal_block.rg_lru.recurrent_gate_weight",
    "recurrent_block.rg_lru.a_gate.b": "temporal_block.rg_lru.recurrent_gate_bias",
    "attention_block.proj_q.weight": "temporal_block.q_proj.weight",
    "attention_block.proj_k.weight": "temporal_block.k_proj.weight",
    "attention_block.proj_v.weight": "temporal_block.v_proj.weight",
    "attention_block.proj_final.weight": "temporal_block.o_proj.weight",
    "attention_block.proj_final.bias": "temporal_block.o_proj.bias",
    "mlp_block.ffw_down.weight": "mlp_block.down_proj.weight",
    "mlp_block.ffw_down.bias": "mlp_block.down_proj.bias",
    **{f"recurrent_block.{linear}.{part}": f"temporal_block.{linear}.{part}"
       for linear in ("linear_x", "linear_y", "linear_out") for part in ("weight", "bias")},
}
MODEL = {"embedder.input_embedding": "model.embed_tokens.weight", "final_norm.scale": "model.final_norm.weight"}


def stop(message):
    sys.exit(f"convert.py: {message}")


def flattened(tree, prefix=""):
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flattened(value, name + ".")
        else:
            yield name, value


def read_torch(file):
    try:
        tree = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch has many
        stop(f"{file}: expected a PyTorch file of tensors, found: {str(error).splitlines()[0]}")
    if not isinstance(tree, dict):
        stop(f"{file}: expected a dictionary of tensors, found {type(tree).__name__}")
    return dict(flattened(tree))


def torch_of(array):
    if str(array.dtype) == "bfloat16":  # numpy has none
        return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def read_flax(folder):
    try:
        import jax
        import numpy
        import orbax.checkpoint
    except ImportError as error:
        stop(f"{folder}: Flax checkpoints need jax and orbax-checkpoint: {error}")
    checkpointer = orbax.checkpoint.PyTreeCheckpointer()
    try:
        tree = checkpointer.metadata(folder.resolve())
        tree = getattr(tree, "item_metadata", tree)
        tree = getattr(tree, "tree", tree)
        as_numpy = jax.tree_util.tree_map(lambda _: orbax.checkpoint.RestoreArgs(restore_type=numpy.ndarray), tree)
        tree = checkpointer.restore(folder.resolve(), restore_args=as_numpy)
    except Exception as error:
        stop(f"{folder}: expected an Orbax checkpoint, found: {str(error).splitlines()[0]}")
    tensors = {}
    for name, array in flattened(tree):
        tensor = torch_of(array)
        if name.endswith(".kernel"):
            if tensor.ndim != 2:
                stop(f"{folder}: {name}: expected a matrix, found {list(tensor.shape)}")
            name, tensor = name.removesuffix("kernel") + "weight", tensor.T
        tensors[name] = tensor
    return tensors


def is_orbax(folder):
    return any((folder / name).exists() for name in ("_METADATA", "_CHECKPOINT_METADATA", "checkpoint"))


def locate(source):
    """The one checkpoint that `source` is or holds."""
    if not source.exists():
        stop(f"{source}: expected a file or folder, found nothing")
    if source.is_file() or is_orbax(source):
        return source
    inside = sorted(entry for entry in source.iterdir()
                    if entry.suffix == ".pt" or (entry.is_dir() and is_orbax(entry)))
    if len(inside) != 1:
        stop(f"{source}: expected one .pt file or Orbax folder, found {len(inside)}")
    return inside[0]


def renamed(tensors, source):
    """Hugging Face's names and layouts, as views: copies are made shard by shard."""
    out = {}

    def put(name, tensor):
        if name in out:
            stop(f"{source}: two tensors mean {name}")
        out[name] = tensor

    def expect(name, tensor, shape):
        if [n if n else got for n, got in zip(shape, tensor.shape)] != list(tensor.shape) or tensor.ndim != len(shape):
            stop(f"{source}: {name}: expected {[n or 'any' for n in shape]}, found {list(tensor.shape)}")

    for full, tensor in tensors.items():
        name = re.sub(r"^(params\.)+", "", full)
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if not isinstance(tensor, torch.Tensor):
            stop(f"{source}: {full}: expected a tensor, found {type(tensor).__name__}")
        if name in MODEL:
            put(MODEL[name], tensor)
            continue
        if block is None:
            stop(f"{source}: {full}: expected a name of DeepMind's Griffin, found another")
        prefix, inner = f"model.layers.{int(block[1])}.", block[2]
        if inner in PLAIN:
            put(prefix + PLAIN[inner], tensor)
        elif inner == "recurrent_block.conv_1d.w":
            expect(full, tensor, [0, 0])
            put(prefix + "temporal_block.conv_1d.weight", tensor.T.unsqueeze(1))
        elif inner == "mlp_block.ffw_up.w":
            expect(full, tensor, [2, 0, 0])
            put(prefix + "mlp_block.gate_proj.weight", tensor[0].T)
            put(prefix + "mlp_block.up_proj.weight", tensor[1].T)
        elif inner == "mlp_block.ffw_up.b":
            expect(full, tensor, [2, 1, 1, 0])
            put(prefix + "mlp_block.gate_proj.bias", tensor[0, 0, 0])
            put(prefix + "mlp_block.up_proj.bias", tensor[1, 0, 0])
        else:
            stop(f"{source}: {full}: expected a name of DeepMind's Griffin, found another")
    return out


def configuration(tensors, options, source):
    """config.json, its sizes read off the tensors in Hugging Face's layout."""
    def shape(name):
        if name not in tensors:
            stop(f"{source}: expected a tensor for {name}, found none")
        return list(tensors[name].shape)

    vocabulary, width = shape("model.embed_tokens.weight")
    layers = 1 + max((int(found[1]) for name in tensors if (found := re.match(r"model\.layers\.(\d+)\.", name))),
                     default=-1)
    attends = [f"model.layers.{i}.temporal_block.q_proj.weight" in tensors for i in range(layers)]
    if not attends:
        stop(f"{source}: expected blocks.0, found no blocks")
    hidden = shape("model.layers.0.mlp_block.gate_proj.weight")[0]
    config = {
        "architectures": ["RecurrentGemmaForCausalLM"], "model_type": "recurrent_gemma", "hidden_size": width,
        "intermediate_size": 2 * hidden, "num_hidden_layers": layers, "num_key_value_heads": 1,
        "vocab_size": vocabulary, "_block_types": ["attention" if each else "recurrent" for each in attends],
        "partial_rotary_factor": 0.5, "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
        "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "use_cache": True, "tie_word_embeddings": True}
    recurrent = width
    if False in attends:
        block = f"model.layers.{attends.index(False)}.temporal_block"
        recurrent, _, config["conv1d_width"] = shape(f"{block}.conv_1d.weight")
        config["num_attention_heads"] = shape(f"{block}.rg_lru.input_gate_weight")[0]
        if f"{block}.rg_lru.recurrent_imag_param" in tensors:
            config["eyrie"] = {"rg_lru": "complex"}  # transformers has no complex form
    if True in attends:
        block = f"model.layers.{attends.index(True)}.temporal_block"
        config["head_dim"] = shape(f"{block}.k_proj.weight")[0]
        config["num_attention_heads"] = shape(f"{block}.q_proj.weight")[0] // config["head_dim"]
    config["lru_width"] = recurrent
    config["torch_dtype"] = str(tensors["model.embed_tokens.weight"].dtype).removeprefix("torch.")
    known = KNOWN.get((width, recurrent, hidden, layers, any(attends)), (None,) * 4)
    if known[0]:
        print(f"sizes of {known[0]}")
    stated = {"attention_window_size": (options.window, known[1], "--window"),
              "logits_soft_cap": (options.soft_cap, known[2], "--soft-cap"),
              "embeddings_scale_by_sqrt_dim": (options.scale_embedding, known[3], "--scale-embedding")}
    if not any(attends):
        stated.pop("attention_window_size")
    missing = [flag for given, fallback, flag in stated.values() if given is None and fallback is None]
    if missing:
        stop(f"{source}: these sizes are not known; give {', '.join(missing)} (tensors do not tell)")
    config.update({key: fallback if given is None else given for key, (given, fallback, _) in stated.items()})
    return config


def shards_of(tensors, limit):
    shards, used = [[]], 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and used + size > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    return shards


def write(tensors, config, out, limit):
    shards = shards_of(tensors, limit)
    index = {"metadata": {"total_size": 0}, "weight_map": {}}
    for i, names in enumerate(shards):
        file = "model.safetensors" if len(shards) == 1 else f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        part = {name: tensors[name].clone(memory_format=torch.contiguous_format) for name in names}
        save_file(part, out / file, metadata={"format": "pt"})
        print(f"wrote {file}")
        index["metadata"]["total_size"] += sum(each.numel() * each.element_size() for each in part.values())
        index["weight_map"].update(dict.fromkeys(names, file))
    if len(shards) > 1:
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def tokenizer_of(options, checkpoint):
    if options.tokenizer:
        if not options.tokenizer.is_file():
            stop(f"{options.tokenizer}: expected a tokenizer.model, found none")
        return options.tokenizer
    beside = checkpoint.parent / "tokenizer.model"
    return beside if beside.is_file() else None


def chats(options, checkpoint):
    """Whether a chat has Gemma's turns."""
    if options.chat:
        return options.chat == "gemma"
    named = any(re.search(r"[-_]it\b", part) for part in checkpoint.absolute().parts[-3:])
    print('its name has "-it": Gemma\'s turns in a chat' if named else
          'its name lacks "-it": a base model, whose text has no turns', "(--chat says otherwise)")
    return named


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.model [beside the checkpoint]")
    parser.add_argument("--chat", choices=["gemma", "none"], help='turns of a chat [gemma where a name has "-it"]')
    parser.add_argument("--window", type=int)
    parser.add_argument("--soft-cap", type=float, help="0 for none")
    parser.add_argument("--scale-embedding", choices=["yes", "no"])
    parser.add_argument("--shard-bytes", type=int, default=SHARD_BYTES)
    options = parser.parse_args()
    if options.scale_embedding is not None:
        options.scale_embedding = options.scale_embedding == "yes"
    return options


def main():
    options = parsed()
    checkpoint = locate(options.source)
    out = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        stop(f"{out}: expected a new or empty folder, found {'files in it' if out.is_dir() else 'a file'}")
    tokenizer = tokenizer_of(options, checkpoint)
    tensors = renamed(read_flax(checkpoint) if checkpoint.is_dir() else read_torch(checkpoint), checkpoint)
    config = configuration(tensors, options, checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        shutil.copyfile(tokenizer, out / "tokenizer.model")
        if not chats(options, checkpoint):  # that there is no template shows a base model
            settings = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True}
            (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    else:
        print("no tokenizer.model beside it: the model will read token lists only")
    write(tensors, config, out, options.shard_bytes)


if __name__ == "__main__":
    main()
