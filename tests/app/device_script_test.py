"""tests/bench/device.sh with stand-ins for eyrie-cli: it goes on after failures, keeps its time, and its JSON is valid.

    device_script_test.py SOURCE_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TREE = pathlib.Path(sys.argv[1])
HEAD = "#!/bin/bash\n"
NO_DEVICE = HEAD + 'echo "cuda: no device (a \\"driver\\")"; exit 1\n'
MIXED = HEAD + r"""
case "$*" in
  doctor*) printf 'cuda: a card\n"quoted" \\ \t tab \377 not UTF-8\n' ;;
  *int8*) echo broken >&2; exit 1 ;;
  *int4*) exec sleep 60 ;;
  bench*) echo '{"goals": [{"part": "decode", "figure": "decode at 4096", "dtype": "bf16", "unit": "ms", "median": 1.5,
"least": 1, "most": 2, "runs": 3, "tokens_per_s": 666.7, "ceiling": 4000.0, "rate_unit": "GB/s", "ceiling_name": "copy",
"percent_of_ceiling": 90.0, "goal": "at least 85 %", "met": true, "note": null}]}' | tr -d '\n'; echo ;;
esac
"""


# Of python3: torch is there and sees a card; a peer's runs are these.
PYTHON = HEAD + r"""
case "$*" in
  *peers.py*) while [ $# -gt 1 ]; do [ "$1" != --results ] || file=$2; shift; done
    echo '{"turns": [{"program": "eyrie", "read_s": 0.5, "write_s": 0.1, "read": 8192, "written": 64},
      {"program": "transformers", "read_s": 5, "write_s": 0.7, "read": 8192, "written": 64},
      {"program": "transformers-compiled", "read_s": 5, "write_s": 0.25, "read": 8192, "written": 64}]}' > "$file" ;;
esac
"""
# What doctor writes: a check that failed, one without numbers, an op's time.
DOCTOR = """eyrie-cli 1
cuda: NVIDIA H200, capability 9.0, 139.8 GiB
driver: 580.82.07, CUDA 13.0, this program's 13.0
copies: 4100 GB/s, bytes read and bytes written
bf16 products: 712 TFLOP/s
  passed norm, two products bf16: worst 1.20e-06, tolerance 1.0e-05, at 7: expected 0.5, found 0.50000012
  passed norm, two products bf16 · rejects a wrong argument: worst 3.0e+01, tolerance 1.0e-05, at 7: rejected, as it must be
  FAILED RoPE (trap 21): worst 2.00e-02, tolerance 1.0e-05, at 3: expected 1, found 1.02
  passed a statement
ops against the reference: 3 of 4 passed (1.5 s)
invariants: 12 of 12 passed (3.0 s)
times at the widths of RecurrentGemma 9B (a token; chunks of 2048):
  norm, two products bf16: 16.9 us, 3970 GB/s, 4.0 TFLOP/s, 97 % of copies
products of several rows are faster on tensor cores:
  bf16: from 12 rows on (estimated: 9)
  f32: not up to 128 rows (estimated: 9)
kept: this card's products go by it from now on
NOT SOUND
"""
REFUSALS = {
    "compute-sanitizer": HEAD + 'echo "========= COMPUTE-SANITIZER"; echo "========= Error: Device not supported. Please refer to '
                                'the \\"Supported Devices\\" section"; exit 1\n',
    "ncu": HEAD + 'echo "==PROF== Connected"; echo "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission" >&2\n'}
TOOLS = {"nvidia-smi": HEAD, "compute-sanitizer": HEAD, "ncu": HEAD, "python3": PYTHON}
ALL = ["doctor", "facts", "model", "bf16", "int8", "int4", "memcheck", "racecheck", "profile", "eyrie", "transformers",
       "compiled", "jax"]


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(folder, stub, *options, tools=(), **environment):
    """With `tools` before all others."""
    program(folder / "eyrie-cli", stub)
    for name, text in dict(tools).items():
        program(folder / "bin" / name, text)
    done = subprocess.run(
        [TREE / "tests/bench/device.sh", "--cli", folder / "eyrie-cli", "--out", folder / "out", *options],
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **environment}, capture_output=True,
        text=True, check=False)
    assert done.returncode != 2, done
    report = json.loads((folder / "out/device.json").read_text())
    report["said"] = done.stdout
    return done.returncode, report, {part["name"]: part for part in report["parts"]}


def rows_of(folder):
    return subprocess.run([sys.executable, TREE / "tests/bench/device_rows.py", folder / "out/device.json"],
                          capture_output=True, text=True, check=True).stdout


def no_device_is_said(folder):
    code, report, parts = run(folder, NO_DEVICE)
    assert code == 77 and report["device"] is False, (code, report)
    assert report["reason"] == 'cuda: no device (a "driver")', report["reason"]
    assert parts["doctor"]["exit"] == 1 and parts["bf16"] == {"name": "bf16", "skipped": "no device"}, parts


def a_card_that_runs_nothing_is_a_failure(folder):
    said = HEAD + 'echo "cuda: 1 devices, none runs this program (device 0: launch: no kernel image)"; exit 1\n'
    code, report, parts = run(folder, said, "--only", "doctor,bf16")
    assert code == 1 and report["device"] is True and parts["bf16"]["exit"] == 1, (code, report)


def no_program_is_said(folder):
    done = subprocess.run([TREE / "tests/bench/device.sh", "--cli", folder / "none", "--out", folder / "out"],
                          capture_output=True, text=True, check=False)
    report = json.loads((folder / "out/device.json").read_text())
    assert done.returncode == 1 and "none: expected the program" in report["reason"], (done, report)


def failures_stop_nothing(folder):
    code, report, parts = run(folder, MIXED, "--seconds", "20", "--only", "doctor,model,bf16,int8,int4,memcheck")
    assert code == 1 and report["device"] is True, (code, report)
    assert parts["doctor"]["stdout"] == 'cuda: a card\n"quoted" \\ \t tab  not UTF-8', parts["doctor"]
    assert parts["bf16"]["exit"] == 0 and parts["bf16"]["json"]["goals"][0]["median"] == 1.5, parts["bf16"]
    assert parts["int8"]["exit"] == 1 and parts["int8"]["stderr"] == "broken", parts["int8"]
    assert parts["int4"]["exit"] in (124, 137) and parts["int4"]["limit"] <= 20, parts["int4"]
    assert report["late"] == "int4" and "--only int4\n" in report["said"], report
    rows = rows_of(folder)
    assert "Too little time for: int4." in rows, rows
    assert "| bf16 | decode at 4096 | 666.7 tokens/s; 1.5 ms (1 to 2; 3) | 90 % of 4000 GB/s (copy) | at least 85 % | met |" \
        in rows, rows


def what_a_limit_cut_off_is_late(folder):
    """Its own limit, not the budget's end: 124 is what `timeout` says then."""
    code, report, parts = run(folder, HEAD + 'case "$*" in *int8*) exit 124 ;; *int4*) exit 137 ;; esac\n', "--only", "int8,int4")
    assert code == 1 and parts["int8"]["exit"] == 124 and report["late"] == "int8,int4", report
    assert parts["int8"]["limit"] == 130, parts["int8"]  # asked for alone it has twice its time


def tools_that_refuse_a_machine_are_skipped(folder):
    code, report, parts = run(folder, HEAD, "--only", "memcheck,racecheck,profile", tools=TOOLS | REFUSALS)
    assert code == 0 and report["late"] == "", report
    for name in ("memcheck", "racecheck"):
        assert parts[name]["skipped"].startswith("========= Error: Device not supported. Please refer"), parts
    assert "ERR_NVGPUCTRPERM" in parts["profile"]["skipped"], parts
    assert "| profile | | | skipped: ==ERROR== ERR_NVGPUCTRPERM" in rows_of(folder)


def doctor_becomes_rows(folder):
    run(folder, HEAD + f"cat <<'END'\n{DOCTOR}END\nexit 1\n", "--only", "doctor")
    rows = rows_of(folder)
    for line in ("copies: 4100 GB/s, bytes read and bytes written", "bf16 products: 712 TFLOP/s",
                 "| ops against the reference | 3 of 4 | 1.5 |", "| invariants | 12 of 12 | 3.0 |",
                 "**FAILED RoPE (trap 21): worst 2.00e-02, tolerance 1.0e-05, at 3: expected 1, found 1.02**",
                 "| norm, two products bf16 | 1.20e-06 of 1.0e-05 | 16.9 | 3970 | 4.0 | 97 % of copies |",
                 "Products of several rows are faster on tensor cores: bf16 from 12 rows on (estimated 9); "
                 "f32 not up to 128 rows (estimated 9)."):
        assert line in rows.splitlines(), (line, rows)


def all_parts_fit_their_time(folder):
    code, report, parts = run(folder, MIXED.replace("exec sleep 60", ":").replace("echo broken >&2; exit 1", ":"),
                              tools=TOOLS)
    assert code == 0 and list(parts) == ALL and report["late"] == "", report
    assert sum(parts[name]["limit"] for name in ALL[:ALL.index("racecheck") + 1]) <= 540, report
    assert "--decode 4" in parts["profile"]["command"] and "--prefill" not in parts["profile"]["command"], parts
    for name in ("memcheck", "racecheck"):
        assert f"--tool {name} --kernel-name kns=eyrie" in parts[name]["command"], parts[name]


def peers_stand_in_the_one_file(folder):
    _, report, parts = run(folder, MIXED, "--only", "transformers", tools=TOOLS)
    assert list(parts) == ["model", "eyrie", "transformers"] and len(report["peers"]["turns"]) == 3, report
    assert [path.name for path in (folder / "out").iterdir()] == ["device.json"]
    rows = rows_of(folder)
    assert "| transformers | 1638 | 10 | 2: met | 91.43 | 7 | 8: missed |" in rows, rows
    assert "| transformers-compiled | 1638 | 10 | 2: met | 256 | 2.5 | 8: missed |" in rows, rows


def without_torch_its_parts_are_named(folder):
    _, _, parts = run(folder, MIXED, "--only", "transformers,compiled,jax", tools={"python3": HEAD + "exit 1\n"})
    assert list(parts) == ["model", "eyrie", "transformers", "compiled", "jax"], parts
    assert all("torch" in part["skipped"] for part in list(parts.values())[1:]), parts


def cublas_is_found_where_it_lies(folder):
    said = HEAD + 'echo "$LD_LIBRARY_PATH"\n'
    quiet = {"ldconfig": HEAD}
    wheel, toolkit = (folder / name / "libcublasLt.so.13" for name in ("site/nvidia/cu13/lib", "toolkit/lib64"))
    for file in (wheel, toolkit):
        file.parent.mkdir(parents=True)
        file.touch()
    environment = {"LD_LIBRARY_PATH": "/elsewhere", "PYTHONPATH": str(folder / "site"), "CUDA_HOME": str(folder / "toolkit")}
    for tools, file in ((quiet, wheel), (quiet | {"python3": HEAD + "exit 1\n"}, toolkit)):
        _, report, parts = run(folder, said, "--only", "doctor", tools=tools, **environment)
        assert report["cublas"] == str(file), report["cublas"]
        assert parts["doctor"]["stdout"] == f"{file.parent}:/elsewhere", parts
    loaded = {"ldconfig": HEAD + r"printf '\tlibcublasLt.so.12 (libc6,x86-64) => /usr/lib/libcublasLt.so.12\n'"}
    _, report, parts = run(folder, said, "--only", "doctor", tools=loaded, **environment)
    assert report["cublas"] == "/usr/lib/libcublasLt.so.12" and parts["doctor"]["stdout"] == "/elsewhere", report


def a_second_call_takes_what_is_left(folder):
    _, report, parts = run(folder, MIXED, "--only", "bf16")
    assert list(parts) == ["model", "bf16"] and parts["bf16"]["exit"] == 0, report
    assert f"--model {parts['model']['command'].split()[-1]}" in parts["bf16"]["command"], parts
    _, report, parts = run(folder, MIXED, "--only", "doctor,racecheck")
    assert set(parts) == {"doctor", "racecheck"}, report


def long_output_is_kept(folder):
    _, _, parts = run(folder, HEAD + "seq 1 9000\n", "--only", "doctor")
    assert parts["doctor"]["stdout"].startswith("1\n2\n") and parts["doctor"]["stdout"].endswith("9000"), parts


for check in (no_device_is_said, a_card_that_runs_nothing_is_a_failure, no_program_is_said, failures_stop_nothing, a_second_call_takes_what_is_left,
              long_output_is_kept, what_a_limit_cut_off_is_late, tools_that_refuse_a_machine_are_skipped,
              doctor_becomes_rows, all_parts_fit_their_time, peers_stand_in_the_one_file,
              without_torch_its_parts_are_named, cublas_is_found_where_it_lies):
    with tempfile.TemporaryDirectory() as scratch:
        check(pathlib.Path(scratch))
