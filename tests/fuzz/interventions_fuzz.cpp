// Interventions: what is accepted prints as text that says the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/error.h"
#include "engine/intervention_plan.h"
#include "engine/verify/test_models.h"

using namespace eyrie::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ModelConfig config = verify::tinyConfig("RRAG", 4);
  try {
    const Interventions rules = parseInterventions({reinterpret_cast<const char*>(data), size});
    if (parseInterventions(printInterventions(rules)) != rules) std::abort();
    const InterventionPlan plan(rules, config);
    for (const std::int64_t position : {0, 1, 100}) {
      const ChunkEdits edits = plan.at(position);
      if (!edits.positions.contains(position)) std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}
