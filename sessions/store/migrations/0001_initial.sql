-- Times are Unix milliseconds, UTC. Enumerations are the numbers of session_types.h and chat_template.h.
CREATE TABLE session(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL,
  system_prompt TEXT NOT NULL,
  model TEXT NOT NULL,
  temperature REAL NOT NULL,
  top_k INTEGER NOT NULL,
  top_p REAL NOT NULL,
  min_p REAL NOT NULL,
  repetition_penalty REAL NOT NULL,
  seed INTEGER NOT NULL,
  seed_fixed INTEGER NOT NULL,
  max_tokens INTEGER NOT NULL,
  selected_leaf INTEGER NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  deleted INTEGER
) STRICT;
CREATE INDEX session_by_update ON session(updated);

-- A tree: siblings share a parent. Deferred, so that a whole session goes in one statement.
CREATE TABLE message(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE,
  parent INTEGER REFERENCES message(id) DEFERRABLE INITIALLY DEFERRED,
  role INTEGER NOT NULL CHECK(role BETWEEN 0 AND 3),
  text TEXT NOT NULL,
  model TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  status INTEGER NOT NULL CHECK(status BETWEEN 0 AND 3),
  seed INTEGER NOT NULL,
  tokens_per_second REAL NOT NULL,
  created INTEGER NOT NULL,
  tokens INTEGER NOT NULL DEFAULT 0,
  writer INTEGER
) STRICT;
CREATE INDEX message_summary ON message(session, role, model, tokens);
CREATE INDEX message_by_parent ON message(parent);
CREATE INDEX message_being_written ON message(writer) WHERE status = 0;

-- Text of a message while it streams: rows are cheap, growing the message's own row is not.
CREATE TABLE text_piece(
  message INTEGER NOT NULL REFERENCES message(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY(message, number)
) STRICT, WITHOUT ROWID;

-- Token records, one blob an append (layout: token_batch.h).
CREATE TABLE token_batch(
  message INTEGER NOT NULL REFERENCES message(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY(message, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  message INTEGER NOT NULL UNIQUE REFERENCES message(id) ON DELETE CASCADE,
  session INTEGER NOT NULL REFERENCES session(id) ON DELETE CASCADE,
  fingerprint TEXT NOT NULL,
  tokens BLOB NOT NULL,
  state BLOB NOT NULL
) STRICT;
CREATE INDEX snapshot_by_session ON snapshot(session, id);

-- Numbers for writer_lock.h.
CREATE TABLE writer(id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;

-- Search. Two tokenizers: unicode61 finds words whatever their accents, trigram finds parts of words and
-- Chinese from three characters on. Only finished messages are indexed.
CREATE VIEW message_searched AS SELECT id, text FROM message WHERE status <> 0;
CREATE VIRTUAL TABLE message_words USING fts5(
  text, content='message_searched', content_rowid='id', tokenize="unicode61 remove_diacritics 2");
CREATE VIRTUAL TABLE message_trigrams USING fts5(
  text, content='message_searched', content_rowid='id', tokenize='trigram');
CREATE VIRTUAL TABLE title_words USING fts5(
  title, content='session', content_rowid='id', tokenize="unicode61 remove_diacritics 2");
CREATE VIRTUAL TABLE title_trigrams USING fts5(
  title, content='session', content_rowid='id', tokenize='trigram');

CREATE TRIGGER message_added AFTER INSERT ON message WHEN new.status <> 0 BEGIN
  INSERT INTO message_words(rowid, text) VALUES (new.id, new.text);
  INSERT INTO message_trigrams(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER message_removed AFTER DELETE ON message WHEN old.status <> 0 BEGIN
  INSERT INTO message_words(message_words, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO message_trigrams(message_trigrams, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER message_finished AFTER UPDATE OF text, status ON message
WHEN old.status = 0 AND new.status <> 0 BEGIN
  INSERT INTO message_words(rowid, text) VALUES (new.id, new.text);
  INSERT INTO message_trigrams(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER message_changed AFTER UPDATE OF text, status ON message
WHEN old.status <> 0 AND new.status <> 0 AND old.text IS NOT new.text BEGIN
  INSERT INTO message_words(message_words, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO message_trigrams(message_trigrams, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO message_words(rowid, text) VALUES (new.id, new.text);
  INSERT INTO message_trigrams(rowid, text) VALUES (new.id, new.text);
END;

CREATE TRIGGER session_added AFTER INSERT ON session BEGIN
  INSERT INTO title_words(rowid, title) VALUES (new.id, new.title);
  INSERT INTO title_trigrams(rowid, title) VALUES (new.id, new.title);
END;
CREATE TRIGGER session_removed AFTER DELETE ON session BEGIN
  INSERT INTO title_words(title_words, rowid, title) VALUES ('delete', old.id, old.title);
  INSERT INTO title_trigrams(title_trigrams, rowid, title) VALUES ('delete', old.id, old.title);
END;
CREATE TRIGGER session_renamed AFTER UPDATE OF title ON session WHEN old.title IS NOT new.title BEGIN
  INSERT INTO title_words(title_words, rowid, title) VALUES ('delete', old.id, old.title);
  INSERT INTO title_trigrams(title_trigrams, rowid, title) VALUES ('delete', old.id, old.title);
  INSERT INTO title_words(rowid, title) VALUES (new.id, new.title);
  INSERT INTO title_trigrams(rowid, title) VALUES (new.id, new.title);
END;
