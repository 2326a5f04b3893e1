"""Rows for RESULTS.md of what device.sh has measured: device_rows.py device.json > rows.md"""
import argparse
import csv
import io
import json
import pathlib
import re
import statistics


TIMES = {"read_s": 2, "write_s": 8}  # as fast as each of them Eyrie has to read and write


def number(value, digits=4):
    return "not measured" if value is None else f"{value:.{digits}g}"


def print_parts(parts):
    print("| part | exit code | seconds | |\n|---|---|---|---|")
    for part in parts:
        if "skipped" in part:
            print(f"| {part['name']} | | | skipped: {part['skipped'].strip()} |")
            continue
        said = (part["stderr"].strip() or part["stdout"].strip()).splitlines()
        last = said[-1].replace("|", "/") if part["exit"] and said else ""
        print(f"| {part['name']} | {part['exit']} | {part['seconds']} | {last} |")


def print_facts(text):
    rows = list(csv.reader(io.StringIO(text)))[:2]
    if len(rows) == 2:
        print("; ".join(f"{name.strip()} {value.strip()}" for name, value in zip(*rows)) + "\n")


# Lines of doctor (app/cli/doctor_command.cpp, doctor_card.cpp; a check as engine/verify/check.cpp describes it).
GROUP = re.compile(r"(\S.*): (\d+) of (\d+) passed \(([\d.]+) s\)")
CHECK = re.compile(r"  (passed|FAILED) (.+?)(?:: worst (\S+), tolerance (\S+), at \d+)?(?:: (.*))?")
TIME = re.compile(r"  (.+): ([\d.]+) us, (\d+) GB/s, ([\d.]+) TFLOP/s, (.+)")
CROSSOVER = re.compile(r"  (\w+): (.+) \(estimated: (\d+)\)")
CEILING = re.compile(r"(copies|bf16 products): (.+)")


def print_doctor(text):
    """Ceilings, checks by group and those that failed, crossovers; of each op how far it was off and its time."""
    groups, failed, offs, times, crossovers = [], [], {}, {}, []
    for line in text.splitlines():
        if found := CEILING.fullmatch(line):
            print(f"{found[1]}: {found[2]}\n")
        elif found := GROUP.fullmatch(line):
            groups.append(found.groups())
        elif found := TIME.fullmatch(line):
            times[found[1]] = found.groups()[1:]
        elif found := CROSSOVER.fullmatch(line):
            crossovers.append(f"{found[1]} {found[2]} (estimated {found[3]})")
        elif found := CHECK.fullmatch(line):
            word, name, worst, tolerance, detail = found.groups()
            if word == "FAILED":
                failed.append(line.strip().replace("|", "/"))
            elif worst and " · rejects " not in name:
                offs[name] = f"{worst} of {tolerance}"
    if groups:
        print("| checks | passed | seconds |\n|---|---|---|")
        for name, passed, count, seconds in groups:
            print(f"| {name} | {passed} of {count} | {seconds} |")
    for line in failed:
        print(f"\n**{line}**")
    if times:
        print("\n| op, widths of RecurrentGemma 9B | off by, of the tolerance (small shapes) | us | GB/s | TFLOP/s | share |\n|" +
              "---|" * 6)
        for name, cells in times.items():
            print(f"| {name} | {offs.get(name, '')} | {' | '.join(cells)} |")
    if crossovers:
        print(f"\nProducts of several rows are faster on tensor cores: {'; '.join(crossovers)}.")
    print()


def print_goals(parts):
    print("\n| weights | figure | measured | share of the ceiling | goal | |\n|---|---|---|---|---|---|")
    for part in parts:
        for goal in (part.get("json") or {}).get("goals", []):
            spread = f"{number(goal['median'])} {goal['unit'] or ''}"
            if goal["runs"] > 1:
                spread += f" ({number(goal['least'])} to {number(goal['most'])}; {goal['runs']})"
            if goal["tokens_per_s"] is not None:
                spread = f"{number(goal['tokens_per_s'])} tokens/s; " + spread
            share = ""
            if goal["percent_of_ceiling"] is not None:
                share = f"{goal['percent_of_ceiling']:.0f} % of {number(goal['ceiling'])} {goal['rate_unit']} " \
                        f"({goal['ceiling_name']})"
            verdict = {True: "met", False: "missed", None: ""}[goal["met"]]
            if goal["median"] is None:
                spread = f"not measured: {goal['note']}"
            print(f"| {goal['dtype']} | {goal['figure']} | {spread} | {share} | {goal['goal'] or ''} | {verdict} |")


def print_peers(session):
    """Tokens a second of each program, how many times as fast Eyrie is, and has to be."""
    rates = {}
    for turn in session["turns"]:
        for part, count in (("read_s", "read"), ("write_s", "written")):
            if part in turn:
                rates.setdefault(turn["program"], {}).setdefault(part, []).append(turn[count] / turn[part])
    ours = rates.get("eyrie", {})
    print("\n| program | reads, tokens/s | Eyrie, times | goal | writes, tokens/s | Eyrie, times | goal |\n|" + "---|" * 7)
    for program, found in rates.items():
        cells = []
        for part, goal in TIMES.items():
            rate = statistics.median(found[part]) if part in found else None
            times = statistics.median(ours[part]) / rate if rate and part in ours else None
            verdict = "not measured" if times is None else "met" if times >= goal else "missed"
            cells += [number(rate), *(["", ""] if program == "eyrie" else [number(times, 3), f"{goal}: {verdict}"])]
        print(f"| {program} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=pathlib.Path)
    options = parser.parse_args()
    report = json.loads(options.file.read_text())
    print(f"{report['date']}, {report['seconds']} s of {report['budget']} s.\n")
    if not report["device"]:
        print(f"No figure: {report['reason'].strip()}")
        return
    parts = report["parts"]
    for part in parts:
        if part["name"] == "facts" and "stdout" in part:
            print_facts(part["stdout"])
        if part["name"] == "doctor" and "stdout" in part:
            print_doctor(part["stdout"])
    print_parts(parts)
    print_goals(parts)
    if report["peers"]:
        print_peers(report["peers"])
    if report["late"]:
        print(f"\nToo little time for: {report['late']}.")


if __name__ == "__main__":
    main()
