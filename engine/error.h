// The one exception type of the engine and of what stands on it. Its text is a sentence for the user.
#pragma once

#include <stdexcept>
#include <string>

namespace eyrie::engine {

enum class ErrorCode {
  badFile,        // a file is damaged or is not what it should be
  badConfig,      // a configuration key is missing, absurd or contradicts the tensors
  badTensor,      // a tensor is missing, superfluous, or has the wrong shape or dtype
  badTokenizer,   // the tokenizer file cannot be used
  badArgument,    // the caller asked for something impossible
  notFound,       // no such file, folder, model or session
  ioFailed,       // reading or writing failed (disk full, permissions)
  outOfMemory,    // numbers in the message
  stateMismatch,  // a saved state belongs to another model or is damaged
  cancelled,
  unsupported,   // valid, but not something Eyrie computes
  deviceFailed,  // the card or its driver: what was there is lost, the program goes on
};

// what(): one line naming file, tensor or field, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace eyrie::engine
