// Reads trace files back for tests, by other code than wrote them: libzip for NPZ, its own safetensors
// reader.
#pragma once

#include <QString>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eyrie::sessions::testing {

struct Array {
  std::string dtype;  // as in .npy: "<f4"
  std::vector<std::int64_t> shape;
  std::vector<double> values;
  std::uint64_t dataOffset = 0;  // in the member (npz) or the file (safetensors)
};

struct Archive {
  std::map<std::string, Array> arrays;
  nlohmann::json meta;
};

// Throw std::runtime_error for anything out of order.
Archive readNpz(const std::filesystem::path& file);
Archive readSafetensors(const std::filesystem::path& file);
std::string readFile(const std::filesystem::path& file);

}  // namespace eyrie::sessions::testing
