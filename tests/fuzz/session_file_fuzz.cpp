// A portable session file: whatever the bytes, a session or an Error of one line. A session survives being
// written and read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/error.h"
#include "sessions/store/session_file.h"

using namespace eyrie::sessions;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  SessionFile session;
  try {
    session = parseSessionFile({reinterpret_cast<const char*>(data), size}, "F.eyrie");
  } catch (const eyrie::engine::Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
    return 0;
  }
  const std::string written = writeSessionFile(session);
  if (writeSessionFile(parseSessionFile(written, "written")) != written) std::abort();
  return 0;
}
