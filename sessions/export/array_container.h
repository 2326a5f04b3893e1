// Where the arrays of a trace lie in a file, and what stands around them. Two kinds: NPZ and safetensors.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sessions/export/output_file.h"
#include "sessions/export/trace_arrays.h"

namespace eyrie::sessions {

class ArrayContainer {
 public:
  virtual ~ArrayContainer() = default;
  // Sets every array's offset for that many rows. A second call with fewer rows moves nothing to a later
  // place, so that data can be moved forward in order.
  virtual void place(std::vector<TraceArray>& arrays, std::int64_t rows,
                     const nlohmann::ordered_json& metadata) = 0;
  // What counts in an array's checksum before its first row.
  virtual std::string prefix(std::size_t arrayIdx, const TraceArray& array, std::int64_t rows) const = 0;
  // Everything but the rows. `strings` what the tokens are shown as, empty if unknown.
  virtual void finish(OutputFile& file, const std::vector<TraceArray>& arrays, std::int64_t rows,
                      const nlohmann::ordered_json& metadata, const std::vector<std::string>& strings) = 0;
};

// `forceZip64`: 64-bit sizes even where 32 bits would do (tests).
std::unique_ptr<ArrayContainer> makeNpzContainer(bool forceZip64 = false);
std::unique_ptr<ArrayContainer> makeSafetensorsContainer();

}  // namespace eyrie::sessions
