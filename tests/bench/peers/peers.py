#!/usr/bin/env python3
"""Reading and writing speed of Hugging Face transformers, DeepMind's code and eyrie-cli, side by side.

Lets each program in turn read a prompt and write after it with the same model, several times, and prints a Markdown
table for ../RESULTS.md. The programs run one at a time, so that each has the whole machine and only one model is in
memory. The two peers live in an environment of their own, installed on the first run. With --results a long session
may be taken in slices (--only NAME): each adds its runs to the file, and the table is made of all that stand in it.
"""
import argparse
import functools
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
# recurrentgemma cannot be imported without JAX and Flax, even for its PyTorch code, and does not bring Flax along.
PACKAGES = ["torch", "transformers>=5.20", "recurrentgemma", "jax", "flax", "safetensors", "numpy"]
MODULES = ["torch", "transformers", "recurrentgemma", "jax", "flax", "safetensors"]
FEW = 2  # tokens to go on from where no prompt is asked for
PROGRAMS = ["transformers", "deepmind", "eyrie"]  # of which there are more forms:
FORMS = ["transformers-compiled", "deepmind-jax"]


# ---- In the environment: one program, one turn -----------------------------------------------------------------------


def torch_dtype(torch, name):
    return torch.float32 if name == "f32" else torch.bfloat16


def load_transformers(folder, dtype, device, compiled=False):
    """(read, write): read(tokens) -> the likeliest next token, write(token, position) -> the next one."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch_dtype(torch, dtype)).eval().to(device)
    kept = {}
    step = torch.compile(model.model) if compiled else model.model  # reading is a loop over time: no use compiling that

    def run(tokens, position):
        ids = torch.tensor([tokens], device=device)
        places = torch.arange(position, position + len(tokens), device=device)[None]
        layers = step if len(tokens) == 1 else model.model
        hidden = layers(input_ids=ids, position_ids=places, past_key_values=kept["cache"],
                        use_cache=True).last_hidden_state
        logits = model.lm_head(hidden[:, -1:])
        cap = getattr(model.config, "logits_soft_cap", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        return int(logits[0, -1].argmax())

    def read(tokens):
        # Given no cache, each call would make one of its own, which nobody gets to see: steps would know no past.
        model.model._setup_cache(model.config, 1, model.device, model.dtype)
        kept["cache"] = DynamicCache(config=model.config)
        return run(tokens, 0)

    return read, (lambda token, position: run([token], position))


def deepmind_config(folder, common):
    hf = json.loads((pathlib.Path(folder) / "config.json").read_text())
    kinds = {"recurrent": common.TemporalBlockType.RECURRENT, "attention": common.TemporalBlockType.ATTENTION}
    pattern = hf.get("_block_types") or hf.get("block_types") or ["recurrent", "recurrent", "attention"]
    layers = hf["num_hidden_layers"]
    return common.GriffinConfig(
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


def read_tensors(folder, wanted):
    from safetensors import safe_open

    tensors = {}
    for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as opened:
            tensors.update({name: opened.get_tensor(name).to(wanted) for name in opened.keys()})
    return tensors


def load_deepmind(folder, dtype, device):
    import torch
    from recurrentgemma import common
    from recurrentgemma import torch as deepmind

    wanted = torch_dtype(torch, dtype)
    config = deepmind_config(folder, common)
    model = deepmind.Griffin(config, device="meta", dtype=wanted, gradient_checkpointing=False)
    names = deepmind_names(read_tensors(folder, wanted), len(config.block_types), torch)
    model.load_state_dict(names, strict=True, assign=True)
    model.eval().to(device)
    kept = {}

    def run(tokens, position):
        ids = torch.tensor([tokens], device=device)
        places = torch.arange(position, position + len(tokens), device=device)[None]
        # All rows of the head would cost what nobody asked for: the prompt but its last token goes in without them.
        if len(tokens) > 1:
            _, kept["cache"] = model(ids[:, :-1], places[:, :-1], kept.get("cache"), return_logits=False)
        logits, kept["cache"] = model(ids[:, -1:], places[:, -1:], kept.get("cache"))
        return int(logits[0, -1].argmax())

    def read(tokens):
        kept.clear()
        return run(tokens, 0)

    return read, (lambda token, position: run([token], position))


def flax_tree(names, jnp, wanted):
    """DeepMind's PyTorch names as Flax's tree: matrices are (in, out) there and called kernels."""
    tree = {}
    for name, tensor in names.items():
        keys = re.sub(r"^blocks\.(\d+)", r"blocks/\1", name).split(".")
        if keys[-1] == "weight":
            keys[-1], tensor = "kernel", tensor.T
        place = tree
        for key in keys[:-1]:
            place = place.setdefault(key.replace("/", "."), {})
        place[keys[-1]] = jnp.asarray(tensor.float().numpy(), dtype=wanted)
    return tree


def load_deepmind_jax(folder, dtype, device):
    import jax
    import jax.numpy as jnp
    import torch
    from recurrentgemma import common
    from recurrentgemma import jax as deepmind

    place = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    wanted = jnp.float32 if dtype == "f32" else jnp.bfloat16
    config = deepmind_config(folder, common)
    model = deepmind.Griffin(config, dtype=wanted)
    names = deepmind_names(read_tensors(folder, torch_dtype(torch, dtype)), len(config.block_types), torch)
    params = jax.device_put({"params": flax_tree(names, jnp, wanted)}, place)
    kept = {}

    @jax.jit
    def begin(params, tokens, places):
        return model.apply(params, tokens, places, None, return_logits=False)[1]

    @jax.jit
    def step(params, token, position, cache):
        logits, cache = model.apply(params, token, position, cache)
        return logits[0, -1].argmax(), cache

    def write(token, position):
        last, kept["cache"] = step(params, jnp.array([[token]]), jnp.array([[position]]), kept["cache"])
        return int(last)

    def read(tokens):
        kept["cache"] = begin(params, jnp.array([tokens[:-1]]), jnp.arange(len(tokens) - 1)[None])
        return write(tokens[-1], len(tokens) - 1)

    return read, write


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


def seconds_of(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def runs_of_peer(options):
    """In the environment: `runs` times reading and writing; one JSON object on the last line."""
    import torch

    torch.set_num_threads(options.threads)
    load = {"transformers": load_transformers, "deepmind": load_deepmind, "deepmind-jax": load_deepmind_jax,
            "transformers-compiled": functools.partial(load_transformers, compiled=True)}[options.program]
    prompt = json.loads(pathlib.Path(options.prompt).read_text())[:max(options.prefill, FEW)]
    turns = []
    with torch.inference_mode():
        read, write = load(options.model, options.dtype, options.device)
        # Warm: what is read, made or compiled on first use, for as long a prompt and more than one step.
        warm = prompt if options.prefill and options.device != "cpu" or options.program == "deepmind-jax" else prompt[:FEW]
        token, position = read(warm), len(warm)
        for position in range(len(warm), len(warm) + FEW):
            token = write(token, position)
        position += 1
        for _ in range(options.runs):
            turn = {"version": f"torch {torch.__version__}"}
            if options.prefill:
                turn["read_s"], token = seconds_of(lambda: read(prompt))
                position = len(prompt)
            written = [token]

            def go_on():
                for i in range(options.decode):
                    written.append(write(written[-1], position + i))

            if options.decode:
                turn["write_s"], _ = seconds_of(go_on)
                token = written[-1]
                position += options.decode
            turns.append({**turn, "tokens": written})
    print(json.dumps(turns))


# ---- Outside: the environment, the model, the turns, the table -------------------------------------------------------


def environment_python(folder):
    """Of `folder`, made and filled unless it has all that is needed."""
    python = folder / "bin" / "python"
    check = "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))"
    if not python.exists() or subprocess.run([str(python), "-c", check, *MODULES]).returncode != 0:
        print(f"installing {', '.join(PACKAGES)} in {folder}: some gigabytes, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def runs_of_eyrie(options, prompt, folder):
    def call(*words):
        command = [options.cli, *map(str, words), "--model", str(folder), "--threads", str(options.threads), "--dtype",
                   "auto" if options.dtype == "f32" else options.dtype, "--backend",
                   options.device, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"eyrie failed:\n{done.stderr[-3000:]}")
        return done.stdout

    parts = (["--prefill", options.prefill] if options.prefill else [])
    context = options.prefill or FEW
    turns = [{"version": call_version(options.cli), "tokens": []} for _ in range(options.runs)]
    # Two calls: one begins at position 0, the other behind the prompt.
    for part, words in [("read_s", parts), ("write_s", ["--decode", options.decode, "--context", context])]:
        if not words or not options.decode and part == "write_s":
            continue
        report = json.loads(call("bench", *words, "--runs", options.runs))
        for turn, milliseconds in zip(turns, report["results"][0]["ms_runs"]):
            turn[part] = milliseconds / 1e3
            turn["ceilings"] = {key: value for key, value in report["machine"].items() if "_per_s" in key or "flops" in key}
    if options.check:
        out = call("generate", "--tokens", ",".join(map(str, prompt)), "--max-tokens", options.decode + 1,
                   "--temperature", 0)
        turns[0]["tokens"] = [line["token"] for line in map(json.loads, out.splitlines()) if "token" in line]
    return turns


def call_version(cli):
    return subprocess.run([cli, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def take_runs(name, options, python, prompt, prompt_file, folder):
    if name == "eyrie":
        return runs_of_eyrie(options, prompt, folder)
    command = [str(python), __file__, "--program", name, "--model", str(folder), "--prompt", str(prompt_file),
               "--dtype", options.dtype, "--prefill", str(options.prefill), "--decode", str(options.decode),
               "--threads", str(options.threads), "--runs", str(options.runs), "--device", options.device]
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


def rate(turns, part, count):
    """Tokens a second, median (least to most) of the runs in which the part was taken, or a dash."""
    rates = sorted(turn[count] / turn[part] for turn in turns if part in turn)
    if not rates:
        return "—"
    return f"{statistics.median(rates):.3g} ({rates[0]:.3g} to {rates[-1]:.3g}; {len(rates)} runs)"


def print_table(session):
    print(f"\n{session['label']}; {session['machine']}; {session['date']}. Tokens a second: median (least to most).\n")
    print("| program | weights | tokens read | read | tokens written | write |")
    print("|---|---|---|---|---|---|")
    rows = {}
    for turn in session["turns"]:
        rows.setdefault((turn["program"], turn["dtype"]), []).append(turn)
    for (program, dtype), turns in rows.items():
        counts = [sorted({turn[count] for turn in turns if part in turn})
                  for part, count in (("read_s", "read"), ("write_s", "written"))]
        shown = [", ".join(map(str, count)) for count in counts]
        print(f"| {program} ({turns[0]['version']}, {turns[0]['threads']} threads) | {dtype} | {shown[0]} | "
              f"{rate(turns, 'read_s', 'read')} | {shown[1]} | {rate(turns, 'write_s', 'written')} |")


def print_agreement(turns):
    first = turns[0]
    for turn in turns[1:]:
        pairs = enumerate(zip(first["tokens"], turn["tokens"]))
        same = next((i for i, (a, b) in pairs if a != b), min(len(first["tokens"]), len(turn["tokens"])))
        print(f"\n{turn['program']}: the first {same} of {len(turn['tokens'])} likeliest tokens are those of "
              f"{first['program']}.")


def read_session(options):
    if options.results and options.results.exists():
        return json.loads(options.results.read_text())
    return {"label": options.model or options.preset, "machine": machine(), "date": time.strftime("%d %B %Y"),
            "turns": []}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="recurrentgemma-2b", help="of eyrie-cli make-model [recurrentgemma-2b]")
    parser.add_argument("--model", help="a folder in Hugging Face's layout instead")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--prefill", type=int, default=256, help="tokens read, 0 for none [256]")
    parser.add_argument("--decode", type=int, default=16, help="tokens written, 0 for none [16]")
    parser.add_argument("--deepmind", default="2,1", metavar="READ,WRITE",
                        help="the most that DeepMind's PyTorch code reads and writes, 0.1 tokens a second in bf16 [2,1]")
    parser.add_argument("--runs", type=int, default=5, help="runs of each program [5]")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default=",".join(PROGRAMS), metavar="NAME,...", help=f"[{','.join(PROGRAMS)}]; also {', '.join(FORMS)}")
    parser.add_argument("--results", type=pathlib.Path, help="a JSON file that the runs are added to")
    parser.add_argument("--table", action="store_true", help="runs nothing: prints the table of --results")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--here", action="store_true", help="the peers are in this Python: nothing is installed")
    parser.add_argument("--check", action="store_true", help="compares the likeliest tokens as well")
    parser.add_argument("--cli", default=str(REPOSITORY / "build/release/bin/eyrie-cli"))
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser.add_argument("--env", type=pathlib.Path, default=cache / "eyrie" / "peers", help="the peers' environment")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--prompt", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - {*PROGRAMS, *FORMS}:
        parser.error(f"--only: expected some of {', '.join([*PROGRAMS, *FORMS])}, found {', '.join(sorted(unknown))}")
    if options.table and not (options.results and options.results.exists()):
        parser.error("--table: expected --results with a file that exists")
    if options.check and not (options.prefill and options.decode):
        parser.error("--check needs something to read and to write")
    options.deepmind = [int(part) if part.isdigit() else -1 for part in options.deepmind.split(",")]
    if len(options.deepmind) != 2 or min(options.deepmind) < 0:
        parser.error("--deepmind: expected two whole numbers, as 2,1")
    if min(options.prefill, options.decode) < 0 or min(options.runs, options.threads) < 1:
        parser.error("--prefill, --decode, --runs and --threads: expected whole numbers, at least 0, 0, 1 and 1")
    return options


def sized_for(name, options):
    """The options with no more to read and write than the program manages; with --check all do the same."""
    if name != "deepmind" or options.device != "cpu" or options.check:
        return options
    most_read, most_written = options.deepmind
    return argparse.Namespace(**{**vars(options), "prefill": min(options.prefill, most_read),
                                 "decode": min(options.decode, most_written)})


def measure(options, session):
    names = options.only.split(",")
    python = sys.executable
    if set(names) - {"eyrie"} and not options.here:
        python = environment_python(options.env)
    with tempfile.TemporaryDirectory(prefix="eyrie-peers-") as work:
        folder = pathlib.Path(options.model or pathlib.Path(work) / "model").resolve()
        if not options.model:
            print(f"making {options.preset}", file=sys.stderr)
            subprocess.run([options.cli, "make-model", "--preset", options.preset, "--dtype", options.dtype, "--seed",
                            "1", "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
        vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
        prompt = [2] + [3 + i * 7919 % (vocabulary - 3) for i in range(1, max(options.prefill, FEW))]
        prompt_file = pathlib.Path(work) / "prompt.json"
        prompt_file.write_text(json.dumps(prompt))
        # A slice of one program loads it once; several take turns, a run each, so that all see the same weather.
        rounds, options.runs = (1, options.runs) if len(names) == 1 else (options.runs, 1)
        for _ in range(rounds):
            for name in names:
                sized = sized_for(name, options)
                for turn in take_runs(name, sized, python, prompt, prompt_file, folder):
                    turn.update(program=name, dtype=options.dtype, threads=options.threads, read=sized.prefill,
                                written=sized.decode)
                    session["turns"].append(turn)
                    print(f"{name}: read {turn.get('read_s', 0):.3f} s, write {turn.get('write_s', 0):.3f} s",
                          file=sys.stderr)
                if options.results:
                    partial = options.results.with_suffix(".partial")
                    partial.write_text(json.dumps(session, indent=1))
                    partial.replace(options.results)
    if options.check:
        print_agreement(session["turns"][-len(names):])


def main():
    options = parse_options()
    if options.program:
        return runs_of_peer(options)
    session = read_session(options)
    if not options.table:
        measure(options, session)
    print_table(session)


if __name__ == "__main__":
    main()
