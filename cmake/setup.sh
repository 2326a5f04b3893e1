# Shared by ./run and ./test (sourced): installs missing packages, configures, builds. Needs $root.
# EYRIE_SKIP_PACKAGES=1 leaves the packages to you, on systems other than Debian and Ubuntu too.
# shellcheck shell=bash disable=SC2154

say() { printf '%s\n' "$*" >&2; }

jobs_count() { nproc 2>/dev/null || echo 2; }

# packages_of GROUP...: the lines of these groups, alternatives still joined by '|'.
packages_of() {
  local group
  for group in "$@"; do
    awk -v group="$group" '$1 == group { print $2 }' "$root/cmake/packages.txt"
  done
}

# A package counts as installed under any of its names.
is_installed() {
  local name
  local -a names
  IFS='|' read -ra names <<<"$1"
  for name in "${names[@]}"; do
    if [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed* ]]; then return 0; fi
  done
  return 1
}

# The first of its names that apt knows here.
name_here() {
  local name
  local -a names
  IFS='|' read -ra names <<<"$1"
  for name in "${names[@]}"; do
    if apt-cache show "$name" >/dev/null 2>&1; then
      printf '%s\n' "$name"
      return
    fi
  done
  printf '%s\n' "${names[0]}"
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif [[ -t 0 ]]; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else # nobody there to type a password
    sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

tell_and_exit() {
  say "$1 Type this as root, then start again:"
  say "  apt-get update && apt-get install -y --no-install-recommends ${*:2}"
  exit 1
}

install_missing() {
  local -a missing=("$@")
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    tell_and_exit "Eyrie cannot install packages: you are not root, and there is no sudo." "${missing[@]%%|*}"
  fi
  say "Eyrie needs these packages and installs them now:"
  say "  ${missing[*]%%|*}"
  if ! as_root apt-get update -q >&2; then
    say "apt-get update failed; trying with the package lists at hand."
  fi
  local -a names=()
  local package
  for package in "${missing[@]}"; do names+=("$(name_here "$package")"); done
  if ! as_root apt-get install -y -q --no-install-recommends "${names[@]}" </dev/null >&2; then
    tell_and_exit "Installing packages failed." "${names[@]}"
  fi
}

# ensure_packages GROUP...: asks dpkg only when the list changed since the last time all were there.
ensure_packages() {
  if [[ ${EYRIE_SKIP_PACKAGES:-} == 1 ]]; then return 0; fi
  local stamp="$root/build/.packages" sum
  stamp+=$(printf -- '-%s' "$@")
  sum=$(cksum <"$root/cmake/packages.txt")
  if [[ -f $stamp && $(<"$stamp") == "$sum" ]]; then return 0; fi
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "This is not a Debian or Ubuntu system. Install what cmake/packages.txt lists under your system's"
    say "names, then start again with EYRIE_SKIP_PACKAGES=1."
    exit 1
  fi
  local -a missing=()
  local package
  while read -r package; do
    if ! is_installed "$package"; then missing+=("$package"); fi
  done < <(packages_of "$@")
  if ((${#missing[@]})); then install_missing "${missing[@]}"; fi
  mkdir -p "$root/build"
  printf '%s\n' "$sum" >"$stamp"
}

# build_preset PRESET [TARGET...]: configures once (ninja does it again when a CMake file changed), builds.
build_preset() {
  local preset=$1 dir="$root/build/$1"
  shift
  export CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1
  if [[ ! -f $dir/build.ninja ]]; then
    say "Configuring $preset ..."
    (cd "$root" && cmake --preset "$preset") >&2 || return 1
  elif ninja -C "$dir" -n "$@" 2>/dev/null | grep -q 'no work to do'; then
    return 0
  fi
  say "Building $preset ..."
  ninja -C "$dir" -j "$(jobs_count)" "$@" >&2
}

has_display() { [[ -n ${DISPLAY:-} || -n ${WAYLAND_DISPLAY:-} ]]; }
