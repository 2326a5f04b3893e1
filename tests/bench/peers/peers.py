#!/usr/bin/env python3
"""Reading and writing speed of Hugging Face transformers, DeepMind's PyTorch code and eyrie-cli, side by side.

Makes one model of random weights, lets each program in turn read a prompt and write after it, several times, and
prints a Markdown table for ../RESULTS.md. The programs run one at a time, so that each has the whole machine and only
one model is in memory. The two peers live in an environment of their own, installed on the first run.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
PACKAGES = ["torch", "transformers", "recurrentgemma", "safetensors", "numpy"]
PEERS = ["transformers", "deepmind", "eyrie"]


# ---- In the environment: one program, one turn -----------------------------------------------------------------------


def torch_dtype(torch, name):
    return torch.float32 if name == "f32" else torch.bfloat16


def load_transformers(folder, dtype):
    """(read, write): read(tokens) -> the likeliest next token, write(token, position) -> the next one."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch_dtype(torch, dtype)).eval()

    def run(tokens, position):
        ids = torch.tensor([tokens])
        places = torch.arange(position, position + len(tokens))[None]
        hidden = model.model(input_ids=ids, position_ids=places, use_cache=True).last_hidden_state
        logits = model.lm_head(hidden[:, -1:])
        cap = getattr(model.config, "logits_soft_cap", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        return int(logits[0, -1].argmax())

    return (lambda tokens: run(tokens, 0)), (lambda token, position: run([token], position))


def load_deepmind(folder, dtype):
    import torch
    from recurrentgemma import common
    from recurrentgemma import torch as deepmind
    from safetensors import safe_open

    hf = json.loads((pathlib.Path(folder) / "config.json").read_text())
    kinds = {"recurrent": common.TemporalBlockType.RECURRENT, "attention": common.TemporalBlockType.ATTENTION}
    pattern = hf.get("_block_types") or hf.get("block_types") or ["recurrent", "recurrent", "attention"]
    layers = hf["num_hidden_layers"]
    config = common.GriffinConfig(
        vocab_size=hf["vocab_size"],
        width=hf["hidden_size"],
        mlp_expanded_width=hf["intermediate_size"] // 2,
        num_heads=hf["num_attention_heads"],
        lru_width=hf.get("lru_width") or hf["hidden_size"],
        block_types=tuple(kinds[pattern[i % len(pattern)]] for i in range(layers)),
        embeddings_scale_by_sqrt_dim=hf.get("embeddings_scale_by_sqrt_dim", True),
        attention_window_size=hf.get("attention_window_size", 2048),
        logits_soft_cap=hf.get("logits_soft_cap") or 0.0,
    )
    wanted = torch_dtype(torch, dtype)
    model = deepmind.Griffin(config, device="meta", dtype=wanted, gradient_checkpointing=False)
    tensors = {}
    for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as opened:
            tensors.update({name: opened.get_tensor(name).to(wanted) for name in opened.keys()})
    model.load_state_dict(deepmind_names(tensors, layers, torch), strict=True, assign=True)
    model.eval()
    kept = {}

    def run(tokens, position):
        places = torch.arange(position, position + len(tokens))[None]
        # All rows of the head would cost what nobody asked for: the prompt but its last token goes in without them.
        if len(tokens) > 1:
            _, kept["cache"] = model(torch.tensor([tokens[:-1]]), places[:, :-1], kept.get("cache"), return_logits=False)
        logits, kept["cache"] = model(torch.tensor([tokens[-1:]]), places[:, -1:], kept.get("cache"))
        return int(logits[0, -1].argmax())

    def read(tokens):
        kept.clear()
        return run(tokens, 0)

    return read, (lambda token, position: run([token], position))


def deepmind_names(tensors, layers, torch):
    """Hugging Face's tensors under DeepMind's names and in its layouts."""
    out = {"embedder.input_embedding": tensors["model.embed_tokens.weight"],
           "final_norm.scale": tensors["model.final_norm.weight"]}
    same = {"linear_x.weight": "linear_x.weight", "linear_x.bias": "linear_x.bias",
            "linear_y.weight": "linear_y.weight", "linear_y.bias": "linear_y.bias",
            "linear_out.weight": "linear_out.weight", "linear_out.bias": "linear_out.bias",
            "rg_lru.a_param": "rg_lru.recurrent_param",
            "rg_lru.input_gate.w": "rg_lru.input_gate_weight", "rg_lru.input_gate.b": "rg_lru.input_gate_bias",
            "rg_lru.a_gate.w": "rg_lru.recurrent_gate_weight", "rg_lru.a_gate.b": "rg_lru.recurrent_gate_bias",
            "conv_1d.b": "conv_1d.bias"}
    attention = {"proj_q.weight": "q_proj.weight", "proj_k.weight": "k_proj.weight", "proj_v.weight": "v_proj.weight",
                 "proj_final.weight": "o_proj.weight", "proj_final.bias": "o_proj.bias"}
    for i in range(layers):
        theirs, ours = f"model.layers.{i}.", f"blocks.{i}."
        out[ours + "temporal_pre_norm.scale"] = tensors[theirs + "temporal_pre_norm.weight"]
        out[ours + "channel_pre_norm.scale"] = tensors[theirs + "channel_pre_norm.weight"]
        mlp = theirs + "mlp_block."
        pair = [tensors[mlp + name + ".weight"].T for name in ("gate_proj", "up_proj")]
        out[ours + "mlp_block.ffw_up.w"] = torch.stack(pair).contiguous()
        biases = [tensors[mlp + name + ".bias"] for name in ("gate_proj", "up_proj")]
        out[ours + "mlp_block.ffw_up.b"] = torch.stack(biases)[:, None, None, :].contiguous()
        out[ours + "mlp_block.ffw_down.weight"] = tensors[mlp + "down_proj.weight"]
        out[ours + "mlp_block.ffw_down.bias"] = tensors[mlp + "down_proj.bias"]
        block = theirs + "temporal_block."
        if block + "conv_1d.weight" in tensors:
            out.update({ours + "recurrent_block." + a: tensors[block + b] for a, b in same.items()})
            taps = tensors[block + "conv_1d.weight"]
            out[ours + "recurrent_block.conv_1d.w"] = taps[:, 0, :].T.contiguous()
        else:
            out.update({ours + "attention_block." + a: tensors[block + b] for a, b in attention.items()})
    return out


def turn_of_peer(options):
    import torch

    torch.set_num_threads(options.threads)
    load = load_transformers if options.turn == "transformers" else load_deepmind
    prompt = json.loads(pathlib.Path(options.prompt).read_text())
    with torch.inference_mode():
        read, write = load(options.model, options.dtype)
        read(prompt[:16])  # warm: what is read or made on first use
        start = time.perf_counter()
        token = read(prompt)
        prefill = time.perf_counter() - start
        written = [token]
        start = time.perf_counter()
        for i in range(options.decode):
            token = write(token, len(prompt) + i)
            written.append(token)
        decode = time.perf_counter() - start
    versions = torch.__version__
    print(json.dumps({"prefill": prefill, "decode": decode, "tokens": written, "version": f"torch {versions}"}))


# ---- Outside: the environment, the model, the turns, the table -------------------------------------------------------


def environment_python(folder):
    python = folder / "bin" / "python"
    marker = folder / "installed.txt"
    if not marker.exists():
        print(f"installing {', '.join(PACKAGES)} in {folder}: some gigabytes, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        marker.write_text("\n".join(PACKAGES) + "\n")
    return python


def turn_of_eyrie(options, prompt, folder):
    def bench(*parts):
        command = [options.cli, "bench", "--model", str(folder), "--threads", str(options.threads), "--repeats", "1",
                   "--json", *map(str, parts)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["results"][0]

    prefill = bench("--prefill", len(prompt))
    decode = bench("--decode", options.decode, "--context", len(prompt))
    tokens = []
    if options.check:
        command = [options.cli, "generate", "--model", str(folder), "--tokens", ",".join(map(str, prompt)), "--json",
                   "--max-tokens", str(options.decode + 1), "--temperature", "0", "--threads", str(options.threads)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        tokens = [line["token"] for line in map(json.loads, out.splitlines()) if "token" in line]
    return {"prefill": prefill["ms"] / 1e3, "decode": decode["ms"] / 1e3, "tokens": tokens, "version": "eyrie-cli"}


def take_turn(name, options, python, prompt, prompt_file, folder):
    if name == "eyrie":
        return turn_of_eyrie(options, prompt, folder)
    command = [str(python), __file__, "--turn", name, "--model", str(folder), "--prompt", str(prompt_file), "--dtype",
               options.dtype, "--decode", str(options.decode), "--threads", str(options.threads)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), HF_HUB_OFFLINE="1")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def machine():
    name = platform.processor() or platform.machine()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def spread(seconds):
    unit, scale = ("s", 1) if statistics.median(seconds) >= 1 else ("ms", 1e3)
    values = [scale * value for value in seconds]
    return f"{statistics.median(values):.4g} {unit} ({min(values):.4g} to {max(values):.4g})"


def print_table(options, results, label, length):
    print(f"\n{label}, {options.dtype}, {options.threads} threads, {options.runs} turns; {machine()}; "
          f"{time.strftime('%d %B %Y')}. Medians (least to most).\n")
    print(f"| program | read {length} tokens | tokens/s | write {options.decode} tokens | tokens/s |")
    print("|---|---|---|---|---|")
    for name, turns in results.items():
        prefill = [turn["prefill"] for turn in turns]
        decode = [turn["decode"] for turn in turns]
        label = f"{name} ({turns[0]['version']})" if name != "eyrie" else "eyrie-cli bench"
        print(f"| {label} | {spread(prefill)} | {length / statistics.median(prefill):.4g} | {spread(decode)} | "
              f"{options.decode / statistics.median(decode):.4g} |")
    if options.check:
        written = {name: turns[0]["tokens"] for name, turns in results.items()}
        first = written[next(iter(written))]
        for name, tokens in written.items():
            same = next((i for i, (a, b) in enumerate(zip(first, tokens)) if a != b), min(len(first), len(tokens)))
            print(f"\n{name}: the first {same} of {len(tokens)} likeliest tokens are those of {next(iter(written))}.")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="recurrentgemma-2b", help="of eyrie-cli make-model [recurrentgemma-2b]")
    parser.add_argument("--model", help="a folder in Hugging Face's layout instead")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--prefill", type=int, default=256, help="tokens read [256]")
    parser.add_argument("--decode", type=int, default=16, help="tokens written [16]")
    parser.add_argument("--runs", type=int, default=5, help="turns of each program [5]")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", default=",".join(PEERS), help=f"[{','.join(PEERS)}]")
    parser.add_argument("--check", action="store_true", help="compares the likeliest tokens as well")
    parser.add_argument("--cli", default=str(REPOSITORY / "build/release/bin/eyrie-cli"))
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser.add_argument("--env", type=pathlib.Path, default=cache / "eyrie" / "peers", help="the peers' environment")
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    parser.add_argument("--prompt", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_options()
    if options.turn:
        return turn_of_peer(options)
    names = options.peers.split(",")
    if unknown := set(names) - set(PEERS):
        sys.exit(f"--peers: expected some of {', '.join(PEERS)}, found {', '.join(unknown)}")
    python = environment_python(options.env) if set(names) - {"eyrie"} else None
    with tempfile.TemporaryDirectory(prefix="eyrie-peers-") as work:
        folder = pathlib.Path(options.model or pathlib.Path(work) / "model").resolve()
        if not options.model:
            print(f"making {options.preset}", file=sys.stderr)
            subprocess.run([options.cli, "make-model", "--preset", options.preset, "--dtype", options.dtype, "--seed",
                            "1", "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
        vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
        prompt = [2] + [3 + i * 7919 % (vocabulary - 3) for i in range(1, options.prefill)]
        prompt_file = pathlib.Path(work) / "prompt.json"
        prompt_file.write_text(json.dumps(prompt))
        results = {name: [] for name in names}
        for run in range(options.runs):
            for name in names:
                results[name].append(take_turn(name, options, python, prompt, prompt_file, folder))
                last = results[name][-1]
                print(f"turn {run + 1}, {name}: read {last['prefill']:.3f} s, write {last['decode']:.3f} s",
                      file=sys.stderr)
        print_table(options, results, options.model or options.preset, len(prompt))


if __name__ == "__main__":
    main()
