// Reads NumPy arrays of reference outputs: .npy, and .npz (a zip of them).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace eyrie::engine::verify {

struct NpyArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // f32, or i32 widened (exact up to 2^24)
};

// Throws Error(badFile) for anything but a C-ordered little-endian f4 or i4 array. `file` names it in errors.
NpyArray parseNpy(std::string_view bytes, const std::string& file);
NpyArray readNpy(const std::filesystem::path& path);
// By name without ".npy"; members of other kinds are passed over. Throws Error(badFile).
std::map<std::string, NpyArray> readNpz(const std::filesystem::path& path);

}  // namespace eyrie::engine::verify
