// The checkpoint of score: whatever the bytes, a checkpoint or an Error of one line. What is behind the
// digest is tried too: a wrong digest is put right first.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/checkpoint/fingerprint.h"
#include "engine/error.h"
#include "engine/score_checkpoint.h"

using namespace eyrie::engine;

namespace {

void tryBytes(const std::string& bytes) {
  try {
    const ScoreCheckpoint checkpoint = parseScoreCheckpoint(bytes, "run.ckpt");
    const std::string written = writeScoreCheckpoint(checkpoint);
    if (writeScoreCheckpoint(parseScoreCheckpoint(written, "written")) != written) std::abort();
  } catch (const Error& error) {
    if (std::string(error.what()).find('\n') != std::string::npos) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  tryBytes(bytes);
  Digest digest;
  digest.add(std::string_view(bytes));
  tryBytes("EYRIESCORE 1 " + digest.hex() + "\n" + bytes);
  return 0;
}
