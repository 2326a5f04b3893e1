// eyrie-cli session: lists, shows, exports, imports and checks what the store holds.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "app/cli/checks.h"
#include "app/cli/command.h"
#include "app/cli/console.h"
#include "engine/error.h"
#ifdef EYRIE_STORE
#include "sessions/store/session_store.h"
#endif

namespace eyrie::app {

#ifndef EYRIE_STORE

void addSessionCommand(CLI::App& parser, Action& action) {
  CLI::App* command = parser.add_subcommand("session", "Sessions (this build has none)");
  command->allow_extras();
  command->callback([&action] {
    action = []() -> int {
      throw engine::Error(engine::ErrorCode::unsupported, "session: this build has no session store");
    };
  });
}

#else

namespace {

struct SessionOptions {
  std::string store;
  std::int64_t id = 0;
  std::string file;
  bool whole = false;
};

// Looking at sessions never creates a store, nor does it recover a damaged one: it says what is wrong.
std::unique_ptr<sessions::SessionStore> openExisting(const SessionOptions& options) {
  const std::filesystem::path file =
      options.store.empty() ? sessions::defaultStorePath() : std::filesystem::path(options.store);
  if (!std::filesystem::exists(file)) {
    throw engine::Error(engine::ErrorCode::notFound, fmt::format("{}: no such session store", file.string()));
  }
  return sessions::SessionStore::open(file);
}

// 2026-03-01T12:00:00.250Z
std::string timeText(std::int64_t milliseconds) {
  const auto seconds = static_cast<std::time_t>(milliseconds / 1000);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds), milliseconds % 1000);
}

const char* roleName(engine::Role role) {
  switch (role) {
    case engine::Role::system:
      return "system";
    case engine::Role::user:
      return "user";
    case engine::Role::model:
      return "model";
    case engine::Role::text:
      return "text";
  }
  return "?";
}

const char* statusName(sessions::MessageStatus status) {
  switch (status) {
    case sessions::MessageStatus::writing:
      return "writing";
    case sessions::MessageStatus::done:
      return "done";
    case sessions::MessageStatus::cancelled:
      return "cancelled";
    case sessions::MessageStatus::interrupted:
      return "interrupted";
  }
  return "?";
}

int list(const SessionOptions& options) {
  // A store that was never written to is an empty one.
  if (options.store.empty() && !std::filesystem::exists(sessions::defaultStorePath())) return kDone;
  for (const auto& session : openExisting(options)->list(std::numeric_limits<int>::max())) {
    printLine({{"id", session.id},
               {"title", session.title},
               {"models", session.models},
               {"messages", session.messages},
               {"tokens", session.tokens},
               {"updated", timeText(session.updated)}});
  }
  return kDone;
}

int show(const SessionOptions& options) {
  const auto store = openExisting(options);
  const sessions::Session session = store->session(options.id);
  if (!session.systemPrompt.empty()) printLine({{"role", "system"}, {"text", session.systemPrompt}});
  std::vector<sessions::Message> messages;
  if (options.whole) {
    messages = store->messages(options.id);
  } else if (session.selectedLeaf != 0) {
    messages = store->path(session.selectedLeaf);
  }
  for (const auto& message : messages) {
    Json line{{"role", roleName(message.role)},
              {"text", message.text},
              {"id", message.id},
              {"parent", message.parent != 0 ? Json(message.parent) : Json(nullptr)},
              {"status", statusName(message.status)},
              {"created", timeText(message.created)},
              {"tokens", message.tokens}};
    if (!message.model.empty()) {
      line["model"] = message.model;
      line["seed"] = message.seed;
      line["tokens_per_s"] = number(message.tokensPerSecond);
    }
    printLine(line);
  }
  return kDone;
}

int exportTo(const SessionOptions& options) {
  openExisting(options)->exportSession(options.id, options.file);
  printLine({{"id", options.id}, {"file", options.file}});
  return kDone;
}

int importFrom(const SessionOptions& options) {
  const std::filesystem::path file =
      options.store.empty() ? sessions::defaultStorePath() : std::filesystem::path(options.store);
  if (!std::filesystem::exists(options.file)) {
    throw engine::Error(engine::ErrorCode::notFound, fmt::format("{}: no such file", options.file));
  }
  // No new store for a file that will not do.
  if (!std::filesystem::exists(file)) sessions::SessionStore::open(":memory:")->importSession(options.file);
  if (options.store.empty()) std::filesystem::create_directories(file.parent_path());
  const auto id = sessions::SessionStore::open(file)->importSession(options.file);
  printLine({{"id", id}});
  return kDone;
}

int check(const SessionOptions& options) {
  const auto problems = openExisting(options)->check();
  for (const auto& problem : problems) complain(problem);
  printLine({{"sound", problems.empty()}, {"problems", problems}});
  return problems.empty() ? kDone : kFailed;
}

}  // namespace

void addSessionCommand(CLI::App& parser, Action& action) {
  auto options = std::make_shared<SessionOptions>();
  CLI::App* command = parser.add_subcommand("session", "Lists, shows, exports, imports and checks sessions");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* text, int (*run)(const SessionOptions&)) {
    CLI::App* sub = command->add_subcommand(name, text);
    sub->add_option("--store", options->store, "The store [the window's own]")
        ->check(filled())
        ->type_name("FILE");
    sub->callback([options, run, &action] { action = [options, run] { return run(*options); }; });
    return sub;
  };
  const auto addId = [&](CLI::App* sub) {
    sub->add_option("id", options->id, "Number of the session")->required()->check(wholeNumber(1, INT64_MAX));
  };

  add("list", "One object a session, newest first", list);
  CLI::App* showing = add("show", "The messages of a session with their roles", show);
  addId(showing);
  showing->add_flag("--all", options->whole, "Every branch, not only the selected one");
  CLI::App* exporting = add("export", "Writes a session as one portable file", exportTo);
  addId(exporting);
  exporting->add_option("--out", options->file, "The file")
      ->required()
      ->check(filled())
      ->type_name("F.eyrie");
  CLI::App* importing = add("import", "Adds an exported session to the store", importFrom);
  importing->add_option("file", options->file, "The file")->required()->check(filled())->type_name("F.eyrie");
  add("check", "Verifies the store", check);
}

#endif

}  // namespace eyrie::app
