// Writes a reply into a store as the window does, every 50 ms, and says on stdout how many tokens are
// committed. The test that starts it kills it.
#include <chrono>
#include <cstdio>
#include <thread>

#include "engine/error.h"
#include "sessions/store/session_store.h"
#include "tests/sessions/records.h"

int main(int argc, char** argv) {
  using namespace eyrie::sessions;
  if (argc != 2) return 2;
  try {
    const auto store = SessionStore::open(argv[1]);
    Session session;
    session.title = "killed";
    Message prompt;
    prompt.session = store->createSession(session);
    prompt.role = eyrie::engine::Role::user;
    prompt.text = "prompt";
    Message reply = prompt;
    reply.parent = store->addMessage(prompt);
    reply.role = eyrie::engine::Role::model;
    reply.text.clear();
    reply.status = MessageStatus::writing;
    const MessageId id = store->addMessage(reply);
    // 200 tokens a second.
    for (std::int64_t tokens = 0;; tokens += 10) {
      store->appendTokens(id, "0123456789", testing::makeRecords(tokens, tokens + 10));
      std::printf("%lld %lld\n", static_cast<long long>(id), static_cast<long long>(tokens + 10));
      std::fflush(stdout);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  } catch (const eyrie::engine::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
