#!/bin/bash
# Everything that a machine with a card can tell about Eyrie, in one call and one JSON file.
#
#   device.sh [--cli build/headless/bin/eyrie-cli] [--out DIR] [--seconds 540] [--model DIR | --preset NAME] [--only PART,...]
#
# Needs the copied folder of a headless build (README: EYRIE_PORTABLE), the driver and cuBLAS, wherever it lies; uses
# nvidia-smi, compute-sanitizer, ncu and a python3 with torch where they are. Parts, in this order: doctor facts model bf16
# int8 int4 memcheck racecheck profile eyrie transformers compiled jax. The limits of those up to racecheck fit 540 seconds,
# the others take what is left. A part that fails or runs out of time does not stop the others; DIR/device.json is written
# anew after each, so that it is whole whenever the machine is taken away. What had too little time is named at the end: call
# again with another --out and --only that (--only brings the model along, and Eyrie with its peers, and doubles the limits).
# Where sanitizer or profiler say that they do not work on this machine, their part is skipped. Exit code: 0 all went well,
# 1 a part failed or was cut off, 77 no device.
set -u
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
cli=$repository/build/headless/bin/eyrie-cli
out=${OUT:-.}
budget=540
model=
preset=recurrentgemma-2b
only=
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || { echo "device.sh: expected a value after $1" >&2; exit 2; }
  case $1 in
    --cli) cli=$2 ;;
    --out) out=$2 ;;
    --seconds) budget=$2 ;;
    --model) model=$2 ;;
    --preset) preset=$2 ;;
    --only) only=$2 ;;
    *) echo "device.sh: unknown option $1; see the head of the file" >&2; exit 2 ;;
  esac
  shift 2
done
[[ $budget =~ ^[0-9]+$ ]] || { echo "device.sh: --seconds: expected a whole number, found $budget" >&2; exit 2; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out" || exit 1
started=$SECONDS
parts=()     # JSON objects
late=()      # names of those that time was too short for
failed=0
no_device=   # why, once it is known
cublas=      # the library's path, once it is known
peers=$scratch/peers.json

quoted() {  # a JSON string of standard input, at most its last megabyte
  printf '"'
  tail -c 1048576 | iconv -c -f UTF-8 -t UTF-8 | tr -d '\000-\010\013-\037' |
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
  printf '"'
}

joined() {  # the late parts, with commas
  local IFS=,
  echo "${late[*]}"
}

write_json() {
  {
    printf '{"made_by": "tests/bench/device.sh", "date": "%s", "seconds": %d, "budget": %d,\n' \
      "$(date -u +%FT%TZ)" $((SECONDS - started)) "$budget"
    if [ -n "$no_device" ]; then printf '"device": false, "reason": %s,\n' "$(quoted <<<"$no_device")"
    else printf '"device": true, "reason": null,\n'; fi
    printf '"parts": ['
    local first=1 part
    for part in "${parts[@]}"; do
      [ $first = 1 ] || printf ',\n'
      first=0
      printf '%s' "$part"
    done
    printf '],\n"cublas": %s, "late": %s, "peers": %s}\n' "$(quoted <<<"${cublas:-none found}")" "$(quoted <<<"$(joined)")" \
      "$(cat "$peers" 2> /dev/null || echo null)"
  } > "$out/device.json.partial"
  mv "$out/device.json.partial" "$out/device.json"
}

skip() {  # NAME WHY
  wanted "$1" || return 0
  parts+=("{\"name\": \"$1\", \"skipped\": $(quoted <<<"$2")}")
  echo "$1: skipped, $2"
  write_json
}

wanted() {
  [ -z "$only" ] || [[ ,$only, == *,$1,* ]] ||
    { [ "$1" = model ] && [[ ,$only, =~ ,(bf16|int8|int4|eyrie|transformers|compiled|jax|profile), ]]; } ||
    { [ "$1" = eyrie ] && [[ ,$only, =~ ,(transformers|compiled|jax), ]]; }
}

refused() {  # NAME: the line, if any, by which a tool says that it cannot work on this machine (a virtual one, mostly)
  local what
  case $1 in
    memcheck | racecheck) what='Device not supported' ;;
    profile) what='ERR_NVGPUCTRPERM|[Pp]rofiling is not supported' ;;
    *) return 1 ;;
  esac
  cat "$scratch/$1.out" "$scratch/$1.err" | grep -a -m 1 -E "$what"
}

# NAME LIMIT COMMAND...: its exit code, seconds and what it wrote, JSON as JSON.
part() {
  local name=$1 limit=$2 left=$((budget - (SECONDS - started)))
  shift 2
  wanted "$name" || return 0
  if [ -n "$no_device" ]; then skip "$name" "no device"; return; fi
  if [ $left -lt 5 ]; then late+=("$name"); skip "$name" "no time left"; return; fi
  [ -z "$only" ] || limit=$((2 * limit))  # else what was cut off at its limit would be again
  [ "$limit" -lt $left ] || limit=$left
  local begun code why json=null
  begun=$(date +%s.%N)
  timeout --signal=INT --kill-after=5 "$limit" "$@" > "$scratch/$name.out" 2> "$scratch/$name.err"
  code=$?
  if why=$(refused "$name"); then skip "$name" "$why"; return; fi
  [ $code = 0 ] || failed=1
  if [ $code = 124 ] || [ $code = 137 ]; then late+=("$name"); fi
  local took
  took=$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
  local text="$scratch/$name.out"
  # One object on one line is what --json prints.
  if [ "$(head -c 1 "$text")" = "{" ] && [ "$(wc -l < "$text")" = 1 ] && [ "$(tail -c 2 "$text")" = "}" ]; then
    json=$(cat "$text")
    text=/dev/null
  fi
  parts+=("{\"name\": \"$name\", \"command\": $(quoted <<<"$*"), \"exit\": $code, \"limit\": $limit, \"seconds\": $took,
\"json\": $json, \"stdout\": $(quoted < "$text"), \"stderr\": $(quoted < "$scratch/$name.err")}")
  echo "$name: exit $code after $took s"
  write_json
}

absent() {  # a tool that this machine lacks
  ! command -v "$1" > /dev/null && skip "$2" "$1 is not installed"
}

facts() {
  nvidia-smi --format=csv --query-gpu=name,driver_version,compute_cap,memory.total,memory.free,clocks.sm,clocks.mem,\
clocks.max.sm,clocks.max.mem,power.draw,power.limit,temperature.gpu,pcie.link.gen.current,pcie.link.width.current,ecc.mode.current
  nvidia-smi
  grep -m 1 'model name' /proc/cpuinfo
  nproc
}

loader_cublas() {
  ldconfig -p 2> /dev/null | sed -n 's/.*libcublasLt\.so\.1[23] .* => //p' | head -n 1
}

other_cublas() {  # of Python's wheel, else of the toolkit
  local folder
  for folder in $(python3 -c 'import nvidia; print(*nvidia.__path__)' 2> /dev/null) "${CUDA_HOME:-}" /usr/local/cuda*; do
    [ -d "$folder" ] && find -L "$folder" -name 'libcublasLt.so.1[23]' 2> /dev/null | sort | tail -n 1 | grep . && return
  done
  return 1
}

goals() {  # NAME LIMIT DTYPE
  part "$1" "$2" "$cli" bench --backend cuda --goals --json --model "$model" --dtype "$3"
}

cublas=$(loader_cublas)
if [ -z "$cublas" ] && cublas=$(other_cublas); then
  export LD_LIBRARY_PATH="$(dirname "$cublas")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
write_json
if [ ! -x "$cli" ]; then
  no_device="$cli: expected the program of a headless build, found none"
  failed=1
fi
part doctor 110 "$cli" doctor --backend cuda --verbose --goldens "$repository/tests/golden"
if [ -f "$scratch/doctor.out" ] && grep -q '^cuda: no device' "$scratch/doctor.out"; then
  no_device=$(grep -m 1 '^cuda: no device' "$scratch/doctor.out")
fi
if [ -z "$no_device" ]; then
  absent nvidia-smi facts || { export -f facts; part facts 10 bash -c facts; }
fi
if [ -z "$model" ]; then
  model=$scratch/model
  part model 60 "$cli" make-model --preset "$preset" --dtype bf16 --seed 1 --out "$model"
fi
goals bf16 100 auto
goals int8 65 int8
goals int4 65 int4
for tool in memcheck racecheck; do
  # Of our kernels alone: cuBLAS is not ours to judge.
  absent compute-sanitizer $tool ||
    part $tool 60 compute-sanitizer --tool $tool --kernel-name kns=eyrie --error-exitcode 9 \
      "$cli" doctor --backend cuda --only ops
done
# Single tokens: the rate of products, which bench measures first, is cuBLAS's.
absent ncu profile || part profile 60 ncu --clock-control none --kernel-name 'regex:.*_kernel.*' --launch-count 400 \
  --csv --page raw --metrics \
  gpu__time_duration.sum,dram__bytes.sum,launch__registers_per_thread,launch__occupancy_limit_registers \
  "$cli" bench --backend cuda --model "$model" --decode 4 --runs 1
peer() {  # PART LIMIT PROGRAM
  part "$1" "$2" python3 "$here/peers/peers.py" --device cuda --here --dtype bf16 --model "$model" --cli "$cli" \
    --prefill 8192 --decode 64 --runs 3 --only "$3" --results "$peers"
}
if [ -n "$no_device" ] || python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
  peer eyrie 30 eyrie
  peer transformers 80 transformers
  peer compiled 90 transformers-compiled
  peer jax 80 deepmind-jax
else
  for name in eyrie transformers compiled jax; do skip $name "no python3 with torch that sees the card"; done
fi
write_json
echo "$out/device.json: $((SECONDS - started)) s"
[ ${#late[@]} = 0 ] || echo "too little time for some: call again with another --out and --only $(joined)"
if [ -n "$no_device" ] && [ -x "$cli" ]; then exit 77; fi
exit $failed
