// What the tests of the façade share: one consumer of an engine, its requests, a sink that counts.
#pragma once

#include <QtTest>
#include <chrono>
#include <thread>

#include "engine/engine.h"
#include "engine/verify/test_models.h"
#include "tests/sanitized.h"

namespace eyrie::engine::test {

using Tokens = std::vector<std::int32_t>;

inline std::string goldenFolder(const char* set) {
  return std::string(EYRIE_SOURCE_DIR) + "/tests/golden/" + set;
}

inline Tokens someTokens(std::uint64_t seed, std::int64_t n) {
  return verify::TestRandom(seed).tokens(n, 128);  // within every golden vocabulary used here
}

// One consumer of an engine.
class Client {
 public:
  explicit Client(const char* set = nullptr) {
    if (set == nullptr) return;
    const RequestId id = engine.load({goldenFolder(set), BackendKind::cpu, 1});
    loaded = waitFor(id);
  }

  // Polls until the request has ended; its last event. Times out by failing the comparison of kinds.
  EngineEvent waitFor(RequestId id, const std::function<void(const EngineEvent&)>& seen = {}) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(kSanitized ? 20 : 2);
    while (std::chrono::steady_clock::now() < deadline) {
      EngineEvent event;
      if (!engine.poll(event)) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        continue;
      }
      events.push_back(event);
      if (seen) seen(event);
      if (event.request == id && isLast(event.kind)) return event;
    }
    qWarning("request %llu did not end in time", static_cast<unsigned long long>(id));
    return {};
  }

  static bool isLast(EventKind kind) {
    return kind == EventKind::loaded || kind == EventKind::finished || kind == EventKind::scored ||
           kind == EventKind::traceWritten || kind == EventKind::failed || kind == EventKind::cancelled;
  }

  std::vector<TokenRecord> records(RequestId id) const {
    std::vector<TokenRecord> found;
    for (const EngineEvent& event : events) {
      if (event.request == id && event.kind == EventKind::token) found.push_back(event.token);
    }
    return found;
  }
  Tokens generated(RequestId id) const {
    Tokens tokens;
    for (const TokenRecord& record : records(id)) {
      if (record.generated) tokens.push_back(record.token);
    }
    return tokens;
  }

  std::vector<EngineEvent> events;
  EngineEvent loaded;
  Engine engine;
};

inline RunRequest runOf(Tokens context, int maxTokens) {
  RunRequest request;
  request.context = std::move(context);
  request.options.maxTokens = maxTokens;
  request.options.eosTokens = {};
  request.options.sampling.seed = 5;
  return request;
}

inline Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class CountingSink final : public TraceSink {
 public:
  void begin(const ModelInfo& model, const FrameLayout& layout, std::int64_t count) override {
    fingerprint = model.fingerprint;
    frameSize = layout.frameSize();
    expected = count;
    if (failAt == 0) throw Error(ErrorCode::ioFailed, "disk full");
  }
  void token(const TokenRecord& record) override {
    ordered = ordered && record.position == tokens;
    ++tokens;
    if (onToken) onToken();
    if (tokens == failAt) throw Error(ErrorCode::ioFailed, "disk full");
  }
  void frame(const TraceFrame& frame) override {
    frames += static_cast<std::int64_t>(frame.values.size()) == frameSize ? 1 : 0;
  }
  void prediction(const TokenRecord& next) override { nextPosition = next.position; }
  void end() override { ended = true; }
  void abandon() override { abandoned = true; }

  std::string fingerprint;
  std::int64_t frameSize = 0;
  std::int64_t expected = 0;
  std::int64_t tokens = 0;
  std::int64_t frames = 0;
  std::int64_t nextPosition = -1;
  std::int64_t failAt = -1;
  bool ordered = true;
  bool ended = false;
  bool abandoned = false;
  std::function<void()> onToken;
};

}  // namespace eyrie::engine::test
