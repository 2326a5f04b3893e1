"""tests/bench/device.sh with stand-ins for eyrie-cli: it goes on after failures, keeps its time, and its JSON is valid.

    device_script_test.py SOURCE_DIR
"""
import json
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


def run(folder, stub, *options):
    cli = folder / "eyrie-cli"
    cli.write_text(stub)
    cli.chmod(0o755)
    done = subprocess.run([TREE / "tests/bench/device.sh", "--cli", cli, "--out", folder / "out", *options],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 2, done
    report = json.loads((folder / "out/device.json").read_text())
    return done.returncode, report, {part["name"]: part for part in report["parts"]}


def no_device_is_said(folder):
    code, report, parts = run(folder, NO_DEVICE)
    assert code == 77 and report["device"] is False, (code, report)
    assert report["reason"] == 'cuda: no device (a "driver")', report["reason"]
    assert parts["doctor"]["exit"] == 1 and parts["bf16"] == {"name": "bf16", "skipped": "no device"}, parts


def no_program_is_said(folder):
    done = subprocess.run([TREE / "tests/bench/device.sh", "--cli", folder / "none", "--out", folder / "out"],
                          capture_output=True, text=True, check=False)
    report = json.loads((folder / "out/device.json").read_text())
    assert done.returncode == 1 and "none: expected the program" in report["reason"], (done, report)


def failures_stop_nothing(folder):
    code, report, parts = run(folder, MIXED, "--seconds", "8", "--only", "doctor,model,bf16,int8,int4,memcheck")
    assert code == 1 and report["device"] is True, (code, report)
    assert parts["doctor"]["stdout"] == 'cuda: a card\n"quoted" \\ \t tab  not UTF-8', parts["doctor"]
    assert parts["bf16"]["exit"] == 0 and parts["bf16"]["json"]["goals"][0]["median"] == 1.5, parts["bf16"]
    assert parts["int8"]["exit"] == 1 and parts["int8"]["stderr"] == "broken", parts["int8"]
    assert parts["int4"]["exit"] in (124, 137) and parts["int4"]["limit"] <= 8, parts["int4"]
    rows = subprocess.run([sys.executable, TREE / "tests/bench/device_rows.py", folder / "out/device.json"],
                          capture_output=True, text=True, check=True).stdout
    assert "| bf16 | decode at 4096 | 666.7 tokens/s; 1.5 ms (1 to 2; 3) | 90 % of 4000 GB/s (copy) | at least 85 % | met |" \
        in rows, rows


def a_second_call_takes_what_is_left(folder):
    _, report, parts = run(folder, MIXED, "--only", "bf16")
    assert list(parts) == ["model", "bf16"] and parts["bf16"]["exit"] == 0, report
    assert f"--model {parts['model']['command'].split()[-1]}" in parts["bf16"]["command"], parts
    _, report, parts = run(folder, MIXED, "--only", "doctor,racecheck")
    assert set(parts) == {"doctor", "racecheck"}, report


def long_output_is_kept(folder):
    _, _, parts = run(folder, HEAD + "seq 1 9000\n", "--only", "doctor")
    assert parts["doctor"]["stdout"].startswith("1\n2\n") and parts["doctor"]["stdout"].endswith("9000"), parts


for check in (no_device_is_said, no_program_is_said, failures_stop_nothing, a_second_call_takes_what_is_left,
              long_output_is_kept):
    with tempfile.TemporaryDirectory() as scratch:
        check(pathlib.Path(scratch))
