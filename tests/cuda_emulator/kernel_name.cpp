#include "tests/cuda_emulator/kernel_name.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

namespace eyrie::emulator {
namespace {

constexpr const char* kUnknown = "a kernel";

// Where the program lies in memory, relative to what its symbols say.
std::uintptr_t loadedAt() {
  std::uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* program, std::size_t, void* to) {
        *static_cast<std::uintptr_t*>(to) = program->dlpi_addr;
        return 1;  // it comes first
      },
      &base);
  return base;
}

template <class T>
T read(const std::vector<char>& file, std::size_t at) {
  T value{};
  if (at + sizeof value <= file.size()) std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

// As the compiler knows it; empty where the program has no symbols.
std::string mangledName(std::uintptr_t address) {
  std::ifstream program("/proc/self/exe", std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(program), {}};
  const auto header = read<Elf64_Ehdr>(file, 0);
  const auto section = [&](std::size_t i) {
    return read<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr));
  };
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr symbols = section(i);
    if (symbols.sh_type != SHT_SYMTAB) continue;
    const Elf64_Shdr names = section(symbols.sh_link);
    for (std::size_t at = 0; at < symbols.sh_size; at += sizeof(Elf64_Sym)) {
      const auto symbol = read<Elf64_Sym>(file, symbols.sh_offset + at);
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_value == address)
        return file.data() + names.sh_offset + symbol.st_name;
    }
  }
  return {};
}

}  // namespace

std::string kernelName(const void* function) {
  const std::string mangled = mangledName(reinterpret_cast<std::uintptr_t>(function) - loadedAt());
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), std::free);
  if (status != 0) return kUnknown;
  const std::string whole = demangled.get();
  const std::string suffix = "_kernel";  // a rule of the house
  const std::size_t last = whole.find(suffix);
  if (last == std::string::npos) return kUnknown;
  const std::size_t first = whole.find_last_of(": ", last);
  return whole.substr(first + 1, last + suffix.size() - first - 1);
}

}  // namespace eyrie::emulator
