#include "app/cli/session_recorder.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "engine/error.h"
#ifdef EYRIE_STORE
#include "sessions/store/session_store.h"
#endif

namespace eyrie::app {

void RecordingOptions::addTo(CLI::App& command) {
  storeOption_ = command.add_option("--store", store, "Records the exchange in this session file")
                     ->check(filled())
                     ->type_name("FILE");
  sessionOption_ = command.add_option("--session", session, "Continues this session of the store")
                       ->check(wholeNumber(1, INT64_MAX))
                       ->type_name("ID");
}

void RecordingOptions::check(const InputOptions& input) const {
  if (sessionOption_->count() > 0 && storeOption_->count() == 0) wrongUsage("--session needs --store FILE");
  if (storeOption_->count() > 0 && !input.isText())
    wrongUsage("--store goes with text, not with a token list");
}

#ifndef EYRIE_STORE

struct SessionRecorder::Impl {};

SessionRecorder::SessionRecorder(const RecordingOptions& options, const LoadedModel& loaded,
                                 const WritingOptions&)
    : loaded_(loaded) {
  if (options.storeOption_->count() == 0) return;
  throw engine::Error(engine::ErrorCode::unsupported, "--store: this build has no session store");
}
SessionRecorder::~SessionRecorder() = default;
std::vector<std::int32_t> SessionRecorder::begin(const InputOptions& input) {
  return input.read(loaded_.info).tokens;
}
engine::SequenceState SessionRecorder::stateFor(const std::vector<std::int32_t>&) {
  return loaded_.newState();
}
void SessionRecorder::add(const engine::TokenRecord&, const std::string&) {}
void SessionRecorder::addText(const std::string&) {}
void SessionRecorder::finish(const engine::GenerateResult&, const engine::SequenceState&) {}

#else

using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kFlushEvery = std::chrono::milliseconds(50);

// The first words of a prompt, on one line.
std::string titleOf(const std::string& text) {
  constexpr std::size_t kLongest = 60;
  std::string title;
  for (const char c : text) {
    const bool space = static_cast<unsigned char>(c) <= ' ';
    if (space && (title.empty() || title.back() == ' ')) continue;
    // Never cut inside a UTF-8 character: continuation bytes are 10xxxxxx.
    if (title.size() >= kLongest && (static_cast<unsigned char>(c) & 0xC0U) != 0x80U) break;
    title += space ? ' ' : c;
  }
  while (!title.empty() && title.back() == ' ') title.pop_back();
  return title.empty() ? "Untitled" : title;
}

}  // namespace

struct SessionRecorder::Impl {
  explicit Impl(const WritingOptions& options) : writing(options) {}

  const WritingOptions& writing;
  std::unique_ptr<sessions::SessionStore> store;
  sessions::Session session;
  sessions::MessageId reply = 0;  // being written
  sessions::MessageId previousLeaf = 0;
  std::vector<std::int32_t> context;
  std::vector<std::int32_t> written;
  std::string text;  // not stored yet
  std::vector<engine::TokenRecord> records;
  Clock::time_point stored = Clock::now();

  // The prompt, and an empty reply to it that is being written.
  void addExchange(engine::Role asked, const std::string& prompt, const engine::ModelInfo& info) {
    sessions::Message question;
    question.session = session.id;
    question.parent = previousLeaf;
    question.role = asked;
    question.text = prompt;
    question.id = store->addMessage(question);

    sessions::Message answer;
    answer.session = session.id;
    answer.parent = question.id;
    answer.role = asked == engine::Role::user ? engine::Role::model : engine::Role::text;
    answer.model = info.name;
    answer.fingerprint = info.fingerprint;
    answer.status = sessions::MessageStatus::writing;
    answer.seed = writing.sampling.seed;
    reply = store->addMessage(answer);
  }

  void flush() {
    if (text.empty() && records.empty()) return;
    store->appendTokens(reply, text, records);
    text.clear();
    records.clear();
    stored = Clock::now();
  }
};

SessionRecorder::SessionRecorder(const RecordingOptions& options, const LoadedModel& loaded,
                                 const WritingOptions& writing)
    : loaded_(loaded) {
  if (options.storeOption_->count() == 0) return;
  if (loaded.info.tokenizer == nullptr) {
    throw engine::Error(
        engine::ErrorCode::unsupported,
        fmt::format("--store: {} has no tokenizer, and a session holds text", loaded.info.name));
  }
  const bool continues = options.sessionOption_->count() > 0;
  if (continues && !std::filesystem::exists(options.store)) {
    throw engine::Error(engine::ErrorCode::notFound, fmt::format("{}: no such session store", options.store));
  }
  impl_ = std::make_unique<Impl>(writing);
  impl_->store = sessions::SessionStore::open(options.store);
  if (continues) {
    impl_->session = impl_->store->session(options.session);
    impl_->previousLeaf = impl_->session.selectedLeaf;
  }
}

SessionRecorder::~SessionRecorder() {
  if (impl_ == nullptr || impl_->reply == 0) return;
  try {  // an error is on its way: keep what was written
    impl_->flush();
    impl_->store->finishMessage(impl_->reply, sessions::MessageStatus::cancelled, 0, 0);
  } catch (const std::exception& error) {
    complain(fmt::format("the session could not be finished: {}", error.what()));
  }
}

std::vector<std::int32_t> SessionRecorder::begin(const InputOptions& input) {
  const std::string prompt = input.readText();
  sessions::Session& session = impl_->session;
  if (session.id == 0) {
    session.title = titleOf(prompt);
    session.id = impl_->store->createSession(session);
    session = impl_->store->session(session.id);
  }

  std::vector<engine::ChatMessage> messages;
  if (!session.systemPrompt.empty()) messages.push_back({engine::Role::system, session.systemPrompt});
  if (impl_->previousLeaf != 0) {
    for (const auto& message : impl_->store->path(impl_->previousLeaf)) {
      messages.push_back({message.role, message.text});
    }
  }
  const engine::Role asked = input.chat ? engine::Role::user : engine::Role::text;
  messages.push_back({asked, prompt});
  impl_->context = engine::renderChat(loaded_.info.chat, *loaded_.info.tokenizer, messages, input.chat);
  impl_->addExchange(asked, prompt, loaded_.info);

  session.model = loaded_.info.name;
  session.sampling = impl_->writing.sampling;
  session.maxTokens = impl_->writing.maxTokens;
  session.selectedLeaf = impl_->reply;
  impl_->store->updateSession(session);
  return impl_->context;
}

// A state read with interventions is none of the model's own.
std::string SessionRecorder::stateFingerprint() const {
  return engine::stateFingerprint(loaded_.info.fingerprint, engine::rulesOf(loaded_.interventions));
}

engine::SequenceState SessionRecorder::stateFor(const std::vector<std::int32_t>& context) {
  if (impl_ != nullptr && impl_->previousLeaf != 0) {
    const auto snapshot = impl_->store->snapshot(impl_->previousLeaf);
    // At least one token stays unread: its logits make the first prediction.
    const bool fits = snapshot && snapshot->fingerprint == stateFingerprint() &&
                      snapshot->tokens.size() < context.size() &&
                      std::equal(snapshot->tokens.begin(), snapshot->tokens.end(), context.begin());
    if (fits) {
      return loaded_.restoreState(
          engine::parseState(snapshot->state, loaded_.model->config(), snapshot->fingerprint));
    }
  }
  return loaded_.newState();
}

void SessionRecorder::add(const engine::TokenRecord& record, const std::string& text) {
  if (impl_ == nullptr) return;
  impl_->records.push_back(record);
  impl_->written.push_back(record.token);
  impl_->text += text;
  if (Clock::now() - impl_->stored >= kFlushEvery) impl_->flush();
}

void SessionRecorder::addText(const std::string& text) {
  if (impl_ != nullptr) impl_->text += text;
}

void SessionRecorder::finish(const engine::GenerateResult& result, const engine::SequenceState& state) {
  if (impl_ == nullptr) return;
  impl_->flush();
  const auto status = result.stop == engine::StopReason::cancelled ? sessions::MessageStatus::cancelled
                                                                   : sessions::MessageStatus::done;
  impl_->store->finishMessage(impl_->reply, status, result.seed, result.decodeTokensPerSecond());
  std::vector<std::int32_t> tokens = impl_->context;
  tokens.insert(tokens.end(), impl_->written.begin(), impl_->written.end());
  if (state.position() == static_cast<std::int64_t>(tokens.size())) {
    const std::string fingerprint = stateFingerprint();
    impl_->store->saveSnapshot(
        impl_->reply,
        {std::move(tokens), engine::serialiseState(state.download(), fingerprint), fingerprint});
  }
  impl_->reply = 0;
  note(fmt::format("[session {}]", impl_->session.id));
}

#endif

}  // namespace eyrie::app
