// Turns of a conversation as messages of the store, and back. GUI thread.
#pragma once

#include <map>
#include <vector>

#include "app/gui/session_service.h"
#include "ui/chat/conversation.h"
#include "ui/chat/prompt.h"

namespace eyrie::app {

// What of the shown path is not on disk, from the root on; a child of one that is not stored either names
// its place. `turns` gets their ids in the same order.
std::vector<NewMessage> unstored(const ui::Conversation& conversation, std::vector<ui::TurnId>& turns);

// The store's name for the last turn of the shown path that has one; 0: none has.
sessions::MessageId storedLeaf(const ui::Conversation& conversation);

// Everything of a session as turns, parents first; `ids` gets the turn of each message.
std::vector<ui::Turn> turnsOf(LoadedSession& loaded, std::map<sessions::MessageId, ui::TurnId>& ids);

// What is known of every token of the shown path, `shown` being its prompt: the records of the turns at their
// places, the others unknown. Tells the turns where they lie.
std::vector<engine::TokenRecord> recordsOf(ui::Conversation& conversation, const ui::Prompt& shown);

}  // namespace eyrie::app
