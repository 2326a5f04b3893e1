"""Write a checkpoint of the work directory as a Hugging Face folder: export.py NAME [CHECKPOINT] [--out FOLDER]."""
import argparse
import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file

import tokenizer
from evaluate import log_probs
from model import SIBLINGS, config_of, load
from settings import BOS, EOS, HERE, PAD, SEED, work_dir

TEMPLATE = ("{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
            "{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
            "{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
            "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")
SAMPLE = ("<start_of_turn>user\nHello, how are you today?<end_of_turn>\n<start_of_turn>model\n"
          "I am fine, thank you. And you?<end_of_turn>\n")
PROSE = ("Once upon a time there was a little girl who lived with her grandmother in a small house at the edge of the "
         "forest. Every morning she went to the well to fetch water, and every evening she sat by the fire and "
         "listened to the old woman's stories.\n\n\"Grandmother,\" said she, \"will you tell me the one about the "
         "fox?\"\n\nPhone book:\nAnna Berg: 4821\nTom Hall: 7730\nMia Stone: 1956\n\nTom Hall: 7730\n")


def configuration(c, toy):
    config = {
        "_block_types": c.pattern, "architectures": ["RecurrentGemmaForCausalLM"], "attention_bias": False,
        "attention_dropout": 0.0, "attention_window_size": c.window, "bos_token_id": 0 if toy else BOS,
        "conv1d_width": 4, "embeddings_scale_by_sqrt_dim": c.scaled, "eos_token_id": -1 if toy else EOS,
        "head_dim": c.head_size, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": c.width,
        "intermediate_size": 2 * c.hidden, "logits_soft_cap": c.cap, "lru_width": c.recurrent_width,
        "model_type": "recurrent_gemma", "num_attention_heads": c.heads, "num_hidden_layers": c.layers,
        "num_key_value_heads": c.kv_heads, "pad_token_id": -1 if toy else PAD, "partial_rotary_factor": 0.5,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "use_cache": True, "vocab_size": c.vocabulary}
    if "global_attention" in c.pattern:
        del config["attention_window_size"]
    return config


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tokenizer(folder):
    (folder / "tokenizer.model").write_bytes(tokenizer.without_paths(tokenizer.model_file().read_bytes()))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False, "bos_token": "<bos>",
        "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "add_prefix_space": False,
        "clean_up_tokenization_spaces": False, "spaces_between_special_tokens": False, "chat_template": TEMPLATE})
    write_json(folder / "special_tokens_map.json",
               {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"})


def write_reference(folder, toy):
    """Log-probabilities by the recipe's own forward pass, fp32 arithmetic on the exported weights."""
    model = load(folder).eval()
    if toy:
        rng = random.Random(SEED)
        ids = [rng.randrange(15) for _ in range(200)]
        ids[60] = ids[-1] = 15
    else:
        processor = tokenizer.load()
        ids = [BOS] + processor.encode(SAMPLE) + processor.encode(PROSE)
    values = [None] + [round(v, 6) for v in log_probs(model, ids).tolist()]
    (folder / "reference.json").write_text(json.dumps({"tokens": ids, "logprobs": values}) + "\n")


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("name", choices=sorted(SIBLINGS))
    parse.add_argument("checkpoint", nargs="?", help="by default NAME-chat, else NAME")
    parse.add_argument("--out", type=Path, help="by default assets/models/NAME")
    args = parse.parse_args()
    choices = [args.checkpoint] if args.checkpoint else [f"{args.name}-chat", args.name]
    path = next(p for p in (work_dir() / f"{c}.pt" for c in choices) if p.exists())
    found = torch.load(path, map_location="cpu", weights_only=False)
    folder = args.out or HERE.parent / "models" / args.name
    folder.mkdir(parents=True, exist_ok=True)
    toy = args.name.endswith("-induction")
    weights = {f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in found["model"].items()}
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    write_json(folder / "config.json", configuration(config_of(args.name, found), toy))
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "do_sample": True,
                  "temperature": 0.7, "top_k": 40, "top_p": 0.95}
    if not toy:
        write_tokenizer(folder)
        write_json(folder / "generation_config.json", generation)
    write_reference(folder, toy)
    print(f"{path.stem} after {found['tokens'] / 1e6:.2f} M tokens -> {folder.name}")


if __name__ == "__main__":
    main()
