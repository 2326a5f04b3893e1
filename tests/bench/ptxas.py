"""Registers, shared memory and spills of the CUDA kernels, as a Markdown table.

    ptxas.py [--arch sm_90] [--each] [FILE.cu ...]      by default every .cu of kernels/cuda; needs nvcc, no card

A row is a kernel; of those made for several types or sizes it shows the least and the most. --each: a row for each of
them. Exit code 1 if a file does not compile.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FIGURES = {  # of ptxas -v, in the order of the columns
    "registers": r"Used (\d+) registers",
    "shared": r"(\d+) bytes smem",
    "stack": r"(\d+) bytes stack frame",
    "spilled": r"(\d+) bytes spill stores",
    "reloaded": r"(\d+) bytes spill loads",
}


def report_of(source, arch, nvcc):
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++20", f"-arch={arch}", "-I", str(REPOSITORY), "-Xptxas", "-v", "-c", str(source), "-o",
                   f"{folder}/out.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{source}: nvcc failed\n{done.stderr[-3000:]}")
    return done.stderr


def readable(mangled):
    """`recurrent_step_kernel<4>` of a mangled name."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    name = re.sub(r"eyrie::|kernels::|cuda::|_GLOBAL__N__\w+::|\(anonymous namespace\)::|^void ", "", name)
    depth = 0
    for place, letter in enumerate(name):  # up to the parameters, which may hold <> and () themselves
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and place:
            name = name[:place]
            break
    return re.sub(r"\((?:int|bool|long|unsigned int|\w+)\)(-?\d+)", r"\1", name)


def kernels_of(report):
    """Name and figures of each compiled kernel."""
    for part in report.split("Compiling entry function '")[1:]:
        figures = {}
        for name, pattern in FIGURES.items():
            found = re.search(pattern, part)
            figures[name] = int(found[1]) if found else 0
        yield readable(part.split("'", 1)[0]), figures


def extent(values):
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def print_table(rows, each):
    print("| file | kernel | variants | registers | static shared, bytes | stack, bytes | spilled and reloaded, bytes |")
    print("|---|---|---|---|---|---|---|")
    groups = {}
    for source, kernel, figures in rows:
        groups.setdefault((source, kernel if each else kernel.split("<")[0]), []).append(figures)
    for (source, kernel), found in groups.items():
        columns = {name: extent([figures[name] for figures in found]) for name in FIGURES}
        print(f"| {source} | `{kernel}` | {len(found)} | {columns['registers']} | {columns['shared']} | {columns['stack']} | "
              f"{columns['spilled']}, {columns['reloaded']} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--each", action="store_true")
    options = parser.parse_args()
    sources = options.files or sorted((REPOSITORY / "kernels/cuda").glob("*.cu"))
    rows = [(source.name, kernel, figures) for source in sources
            for kernel, figures in kernels_of(report_of(source, options.arch, options.nvcc))]
    print_table(rows, options.each)
    spilling = [f"{kernel} ({source}): {figures['spilled']} stored, {figures['reloaded']} loaded, "
                f"{figures['registers']} registers" for source, kernel, figures in rows if figures["spilled"]]
    print(f"\n{len(rows)} kernels compiled for {options.arch}; spilling: {'; '.join(spilling) or 'none'}.")


if __name__ == "__main__":
    main()
