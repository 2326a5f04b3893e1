// Interventions as text, against a model, and through the façade. What they do to the arithmetic:
// engine/verify/intervention_checks.cpp and intervention_effects_test.cpp.
#include "engine/interventions.h"

#include <QtTest>

#include "engine/error.h"
#include "engine/intervention_plan.h"
#include "engine/state_cache.h"
#include "engine/verify/model_run.h"
#include "tests/engine/engine_client.h"

using namespace eyrie::engine;
using namespace eyrie::engine::test;

namespace {

// The message of what `act` refuses; empty where it does not.
std::string refusal(const std::function<void()>& act) {
  try {
    act();
    return {};
  } catch (const Error& error) {
    return error.code() == ErrorCode::badArgument ? error.what() : "another code";
  }
}

}  // namespace

class InterventionsTest : public QObject {
  Q_OBJECT

 private slots:
  void textIsReadAndPrintedBack_data();
  void textIsReadAndPrintedBack();
  void valuesAreWhatTheTextSays();
  void oneRuleIsTakenAway();
  void badTextIsRefused_data();
  void badTextIsRefused();
  void rulesAModelHasNotAreRefused_data();
  void rulesAModelHasNotAreRefused();
  void rulesAModelHasAreTaken();
  void aPlanKnowsWhereRulesBeginAndEnd();
  void laterRulesActOnEarlierOnes();
  void fingerprintsTellInterventionsApart();
  void cloneKeepsThem();
  void cachedStatesAreNotMixedUp();
  void rewindingReplaysThem();
  void runsReuseOnlyTheirOwnStates();
  void snapshotsServeOnlyTheSameInterventions();
  void scoreAndTraceAreChangedToo();
  void rulesAModelHasNotFailTheRequestAlone();
};

void InterventionsTest::textIsReadAndPrintedBack_data() {
  QTest::addColumn<QString>("text");
  QTest::addColumn<QString>("printed");
  const auto row = [](const char* text, const char* printed) {
    QTest::newRow(text) << QString(text) << QString(printed);
  };
  const auto same = [&](const char* text) { row(text, text); };
  row("", "");
  row(" \t\n", "");
  same("layer 4-7 recurrence_gate[0:64] = 0.1; layer 8 attention off; layer 8 head 2 off");
  same("layer 3 state *= 0.5; window = 64; layer 5 mlp off");
  same("layer 3- state[64:] *= -1.5e-07 @100-200");
  same("head 0-3[2:5] = -2 @7");
  same("conv[5] *= 0 @3-");
  same("decay = 1; multiplier = 0.25; input_gate off; block off; recurrence[0:9] *= 2");
  row("  layer   4 -7\trecurrence_gate [ 0 : 64 ]=.1 @ 5 - 9 ; ",
      "layer 4-7 recurrence_gate[0:64] = 0.1 @5-9");
  row("layer 0- mlp[0:] = 0 @0-", "mlp off");
  row("layer 4-4 mlp[:1] = -0.0 @2-2", "layer 4 mlp[0] off @2");
  row("head 0- off", "head 0- off");
  row("state=1e3", "state = 1000");
  row("input_gate[1:2]off", "input_gate[1] off");
}

void InterventionsTest::textIsReadAndPrintedBack() {
  QFETCH(QString, text);
  QFETCH(QString, printed);
  const Interventions rules = parseInterventions(text.toStdString());
  QCOMPARE(QString::fromStdString(printInterventions(rules)), printed);
  QVERIFY(parseInterventions(printInterventions(rules)) == rules);
}

void InterventionsTest::valuesAreWhatTheTextSays() {
  const Interventions rules = parseInterventions("layer 2-3 head 1[4:6] *= 0.5 @10-19");
  QCOMPARE(rules.size(), std::size_t{1});
  const Intervention expected{
      InterventionTarget::head, InterventionAction::scale, 0.5, {2, 4}, {1, 2}, {4, 6}, {10, 20}};
  QVERIFY(rules[0] == expected);
}

void InterventionsTest::oneRuleIsTakenAway() {
  Interventions rules = parseInterventions("mlp off; state *= 0.5; window = 3");
  rules.erase(rules.begin() + 1);
  QCOMPARE(printInterventions(rules), std::string("mlp off; window = 3"));
}

void InterventionsTest::badTextIsRefused_data() {
  QTest::addColumn<QString>("text");
  QTest::addColumn<int>("place");  // of the character, from 1
  QTest::addColumn<QString>("mentions");
  const auto row = [](const char* text, int place, const char* mentions) {
    QTest::newRow(text) << QString(text) << place << QString(mentions);
  };
  row("ablate:0", 1, "expected one of recurrence_gate, input_gate, ");
  row("layer", 6, "expected a layer's number, found the end");
  row("layer x mlp off", 7, "expected a layer's number, found 'x'");
  row("layer -1 mlp off", 7, "found '-1'");
  row("layer 7-4 mlp off", 7, "expected a rising range, found '7'");
  row("layer 99999999999999999999 mlp off", 7, "a layer's number of at most 1099511627776");
  row("layer 3", 8, "expected one of ");
  row("layer 3 gate = 1", 9, "found 'gate'");
  row("layer 3 mlp", 12, "expected [, =, *= or off, found the end");
  row("mlp[2] on", 8, "expected =, *= or off, found 'on'");
  row("mlp offf", 5, "found 'offf'");
  row("mlp =", 6, "expected a number that f32 can hold, found the end");
  row("mlp = x", 7, "found 'x'");
  row("state = nan", 9, "found 'nan'");
  row("state = inf", 9, "found 'inf'");
  row("state = 1e39", 9, "expected a number that f32 can hold, found '1e39'");
  row("state = 1e999", 9, "found '1e999'");
  row("decay = 1e-999", 9, "expected a number from 0 to 1, found '1e-999'");
  row("state = 0x10", 10, "expected @, ; or the end, found 'x10'");
  row("decay = 1.5", 9, "expected a number from 0 to 1, found '1.5'");
  row("input_gate = -0.5", 14, "expected a number from 0 to 1, found '-0.5'");
  row("recurrence_gate *= -2", 20, "expected a number of 0 or more, found '-2'");
  row("state[] = 1", 7, "expected a channel's number, found ']'");
  row("state[:] = 1", 8, "expected a channel's number, found ']'");
  row("state[5:5] = 1", 7, "expected a rising range, found '5'");
  row("state[5:2] = 1", 7, "expected a rising range");
  row("state[5 = 1", 9, "expected ']', found '='");
  row("state[5: = 1", 10, "expected a channel's number or ']', found '='");
  row("head off", 6, "expected a head's number, found 'off'");
  row("window off", 8, "expected =, found 'off'");
  row("window *= 2", 8, "expected =, found '*'");
  row("window[0] = 2", 7, "expected =, found '['");
  row("window = 0", 10, "expected a whole number of keys, 1 or more, found '0'");
  row("window = 2.5", 10, "found '2.5'");
  row("mlp off @", 10, "expected a position, found the end");
  row("mlp off @-5", 10, "found '-5'");
  row("mlp off @9-3", 10, "expected a rising range");
  row("mlp off state off", 9, "expected @, ; or the end, found 'state'");
  row("mlp off @3 state off", 12, "expected ; or the end, found 'state'");
  row("mlp off;; state off", 9, "expected one of ");
  row("mlp \u00e9", 5, "found '\u00e9'");
}

void InterventionsTest::badTextIsRefused() {
  QFETCH(QString, text);
  QFETCH(int, place);
  QFETCH(QString, mentions);
  const std::string message = refusal([&] { parseInterventions(text.toStdString()); });
  const std::string where = "interventions: at character " + std::to_string(place) + ": ";
  QVERIFY2(message.starts_with(where), message.c_str());
  QVERIFY2(message.find(mentions.toStdString()) != std::string::npos, message.c_str());
}

void InterventionsTest::rulesAModelHasNotAreRefused_data() {
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<QString>("text");
  QTest::addColumn<QString>("mentions");
  const auto row = [](const char* pattern, const char* text, const char* mentions) {
    QTest::newRow(text) << QString(pattern) << QString(text) << QString(mentions);
  };
  row("RRA", "mlp off; layer 6 mlp off",
      "intervention 2, 'layer 6 mlp off': expected layers from 0 to 5, found 6");
  row("RRA", "layer 4-9 mlp off", "expected layers from 0 to 5, found 9");
  row("RRA", "layer 7- mlp off", "expected layers from 0 to 5, found 7");
  row("RRA", "layer 2 recurrence_gate off", "layer 2 (local attention) has no recurrence_gate");
  row("RRA", "layer 0 window = 3", "layer 0 (recurrent) has no window");
  row("RRA", "layer 0-1 head 0 off", "none of the layers 0 to 1 (RRARRA) has head");
  row("R", "attention off", "none of the layers 0 to 5 (RRRRRR) has attention");
  row("G", "window = 3", "none of the layers 0 to 5 (GGGGGG) has window");
  row("G", "layer 1 window = 3", "layer 1 (global attention) has no window");
  row("G", "state off", "has state");
  row("RRA", "window = 8", "expected a window of 1 to 7, the model's own, found 8");
  row("RRA", "state[20] off", "expected channels from 0 to 19, found 20");
  row("RRA", "mlp[24:] off", "expected channels from 0 to 23, found 24");
  row("RRA", "head 0[6] off", "expected channels from 0 to 5, found 6");
  row("RRA", "head 4 off", "expected heads from 0 to 3, found 4");
  row("RRA", "head 2-7 off", "expected heads from 0 to 3, found 7");
}

void InterventionsTest::rulesAModelHasNotAreRefused() {
  QFETCH(QString, pattern);
  QFETCH(QString, text);
  QFETCH(QString, mentions);
  const Interventions rules = parseInterventions(text.toStdString());
  const std::string message =
      refusal([&] { InterventionPlan(rules, verify::tinyConfig(pattern.toStdString(), 6)); });
  QVERIFY2(message.find(mentions.toStdString()) != std::string::npos, message.c_str());
}

void InterventionsTest::rulesAModelHasAreTaken() {
  const ModelConfig config = verify::tinyConfig("RRA", 6);
  const InterventionPlan plan(
      parseInterventions("layer 0-5 state[19] off; window = 7; head 3-[5:] off; layer 5 block[23] off"),
      config);
  const ChunkEdits edits = plan.at(0);
  QCOMPARE(edits.layers.size(), std::size_t{6});
  QVERIFY(!edits.layers[0].scan.empty() && edits.layers[2].scan.empty());
  QCOMPARE(edits.layers[2].older, config.olderKeys());
  QCOMPARE(edits.layers[0].older, std::int64_t{-1});
  QCOMPARE(edits.layers[5].heads.size(), std::size_t{1});
  QCOMPARE(edits.layers[5].heads[0].first, std::int64_t{23});
  QCOMPARE(edits.layers[5].temporal.size() + edits.layers[5].mlp.size(), std::size_t{2});
  QVERIFY(planInterventions({}, config) == nullptr);
}

void InterventionsTest::aPlanKnowsWhereRulesBeginAndEnd() {
  const InterventionPlan plan(parseInterventions("mlp off @10-19; state off @15-"),
                              verify::tinyConfig("R", 1));
  const auto expect = [&](std::int64_t position, IndexRange range, std::size_t layers) {
    QVERIFY(plan.unchanged(position) == range);
    QVERIFY(plan.at(position).positions == range);
    QCOMPARE(plan.at(position).layers.size(), layers);
  };
  expect(0, {0, 10}, 0);
  expect(9, {0, 10}, 0);
  expect(10, {10, 15}, 1);
  expect(17, {15, 20}, 1);
  expect(20, {20, IndexRange::kOpen}, 1);
}

void InterventionsTest::laterRulesActOnEarlierOnes() {
  const auto scanOf = [](const char* text) {
    return InterventionPlan(parseInterventions(text), verify::tinyConfig("R", 1)).at(0).layers[0].scan;
  };
  ScanEdits scan = scanOf("state = 4; state *= 0.5; state[3] *= 1e30; state[3] *= 1e30; state[3] = 2");
  QCOMPARE(scan.state.scale[0], 0.0F);
  QCOMPARE(scan.state.offset[0], 2.0F);
  QCOMPARE(scan.state.scale[3], 0.0F);
  QCOMPARE(scan.state.offset[3], 2.0F);
  QCOMPARE(scan.inputGate.scale[3], 1.0F);
  scan = scanOf("decay *= 0.5; decay *= 0.5; decay[1] off; decay[1] *= 2; decay[2] off; decay[2] = 1");
  QCOMPARE(scan.logDecay.scale[0], 1.0F);
  QCOMPARE(scan.logDecay.offset[0], static_cast<float>(2 * std::log(0.5)));
  QVERIFY(std::isinf(scan.logDecay.offset[1]) && scan.logDecay.offset[1] < 0);
  QCOMPARE(scan.logDecay.offset[2], 0.0F);
}

void InterventionsTest::fingerprintsTellInterventionsApart() {
  const std::string model = "0123";
  QCOMPARE(stateFingerprint(model, {}), model);
  const std::string one = stateFingerprint(model, parseInterventions("mlp off"));
  QVERIFY(one != model);
  QVERIFY(one == stateFingerprint(model, parseInterventions("mlp = 0")));
  QVERIFY(one != stateFingerprint(model, parseInterventions("layer 1 mlp off")));
  QVERIFY(one.size() < 200);
}

void InterventionsTest::cloneKeepsThem() {
  const ModelConfig config = verify::tinyConfig("RRA", 3);
  const auto model = Model::load(verify::randomCheckpoint(config, 1));
  SequenceState state = model->newState();
  QVERIFY(state.interventions() == nullptr && rulesOf(state.interventions()).empty());
  state.intervene(planInterventions(parseInterventions("mlp off"), config));
  const SequenceState copy = state.clone();
  QCOMPARE(printInterventions(rulesOf(copy.interventions())), std::string("mlp off"));
  state.intervene(nullptr);
  QVERIFY(rulesOf(state.interventions()).empty() && !rulesOf(copy.interventions()).empty());
}

void InterventionsTest::cachedStatesAreNotMixedUp() {
  const ModelConfig config = verify::tinyConfig("RRA", 3);
  const auto model = Model::load(verify::randomCheckpoint(config, 1));
  const Interventions off = parseInterventions("mlp off");
  const Tokens context{1, 2, 3, 4};
  const auto logOf = [&](const Interventions& rules) {
    const auto plan = planInterventions(rules, config);
    StateLog log(config);
    log.intervene(plan);
    SequenceState state = model->newState();
    state.intervene(plan);
    state.watch(&log);
    model->prefill(state, std::span(context).first(2), LogitRows::none);
    return log;
  };
  StateCache cache(8, 1 << 20);
  cache.remember(logOf(off));
  QVERIFY(cache.furthest(context, 4).log == nullptr);
  cache.remember(logOf({}));
  QCOMPARE(cache.size(), std::size_t{2});
  QCOMPARE(cache.furthest(context, 4).position, std::int64_t{2});
  QVERIFY(cache.furthest(context, 4).log->rules().empty());
  QVERIFY(cache.furthest(context, 4, off).log->rules() == off);
  QVERIFY(cache.furthest(context, 4, parseInterventions("mlp off @3-")).log == nullptr);
}

// Taken back and read again with the same rules, the state has the same bits.
void InterventionsTest::rewindingReplaysThem() {
  const ModelConfig config = verify::tinyConfig("RRA", 3);
  const auto model = Model::load(verify::randomCheckpoint(config, 1));
  const auto plan =
      planInterventions(parseInterventions("layer 0 state *= 0.5; window = 3 @5-20; head 1 off"), config);
  StateLog log(config, {8});
  log.intervene(plan);
  SequenceState state = model->newState();
  state.intervene(plan);
  state.watch(&log);
  std::vector<SequenceState> states;
  states.push_back(state.clone());
  for (const std::int32_t token : verify::TestRandom(3).tokens(30, config.V)) {
    model->step(state, token);
    states.push_back(state.clone());
  }
  for (const std::int64_t position : {0, 3, 8, 17, 30}) {
    const Rewound back = log.rewind(*model, position);
    QVERIFY(back.exact && back.state.interventions() == plan);
    const HostState found = back.state.download();
    const HostState expected = states[static_cast<std::size_t>(position)].download();
    for (std::size_t i = 0; i < found.layers.size(); ++i) {
      QVERIFY(found.layers[i].h == expected.layers[i].h && found.layers[i].keys == expected.layers[i].keys);
    }
  }
}

void InterventionsTest::runsReuseOnlyTheirOwnStates() {
  Client client("griffin-tiny");
  RunRequest plain = runOf(someTokens(1, 50), 8);
  RunRequest changed = plain;
  changed.interventions = parseInterventions("state *= 0.5; window = 2");
  std::vector<Tokens> replies;
  std::vector<std::int64_t> read;
  for (const RunRequest& request : {plain, changed, plain, changed}) {
    const RequestId id = client.engine.run(request);
    const EngineEvent finished = client.waitFor(id);
    QCOMPARE(finished.kind, EventKind::finished);
    replies.push_back(client.generated(id));
    read.push_back(finished.result.contextTokens);
  }
  QVERIFY2(read == (std::vector<std::int64_t>{50, 50, 1, 1}),
           "each first run reads all, each second one token");
  QVERIFY(replies[0] == replies[2] && replies[1] == replies[3]);
  QVERIFY2(replies[0] != replies[1], "the intervention does nothing here");
  Client fresh("griffin-tiny");
  const RequestId id = fresh.engine.run(changed);
  fresh.waitFor(id);
  QVERIFY(fresh.generated(id) == replies[1]);
}

void InterventionsTest::snapshotsServeOnlyTheSameInterventions() {
  Client client("griffin-tiny");
  RunRequest changed = runOf(someTokens(1, 50), 8);
  changed.interventions = parseInterventions("layer 0 state *= 0.5");
  changed.snapshot = true;
  const EngineEvent finished = client.waitFor(client.engine.run(changed));
  const std::shared_ptr<const Snapshot> snapshot = finished.snapshot;
  QVERIFY(snapshot->interventions == changed.interventions);
  QVERIFY(snapshot->fingerprint != client.loaded.model->fingerprint);

  Client other("griffin-tiny");
  auto stripped = std::make_shared<Snapshot>(*snapshot);
  stripped->interventions.clear();  // as a store that knows nothing of them gives it back
  const EngineEvent refused = other.waitFor(other.engine.remember(stripped));
  QCOMPARE(refused.kind, EventKind::failed);
  QCOMPARE(refused.error->code(), ErrorCode::stateMismatch);
  other.engine.remember(snapshot);
  RunRequest next = runOf(joined(snapshot->tokens, {3}), 2);
  QCOMPARE(other.waitFor(other.engine.run(next)).result.contextTokens, std::int64_t{59});
  next.interventions = changed.interventions;
  QCOMPARE(other.waitFor(other.engine.run(next)).result.contextTokens, std::int64_t{1});
}

void InterventionsTest::scoreAndTraceAreChangedToo() {
  Client client("griffin-tiny");
  const Tokens tokens = someTokens(2, 30);
  const Interventions rules = parseInterventions("layer 0 input_gate off");
  const auto plain = client.waitFor(client.engine.score(tokens, 1)).score;
  const auto changed = client.waitFor(client.engine.score(tokens, 1, rules)).score;
  QVERIFY(plain->logprobs != changed->logprobs);

  class NormSink final : public TraceSink {
   public:
    void begin(const ModelInfo&, const FrameLayout& layout, std::int64_t) override {
      column = layout.find(0, Quantity::stateNorm)->offset;
    }
    void token(const TokenRecord&) override {}
    void frame(const TraceFrame& frame) override { norm += frame.values[static_cast<std::size_t>(column)]; }
    void end() override {}
    void abandon() override {}
    std::int64_t column = 0;
    float norm = 0;
  };
  const auto without = std::make_shared<NormSink>();
  const auto with = std::make_shared<NormSink>();
  client.waitFor(client.engine.trace(tokens, {}, without));
  client.waitFor(client.engine.trace(tokens, {}, with, rules));
  QVERIFY(without->norm > 0);
  QCOMPARE(with->norm, 0.0F);
}

void InterventionsTest::rulesAModelHasNotFailTheRequestAlone() {
  Client client("hawk-tiny");
  RunRequest request = runOf(someTokens(1, 5), 2);
  request.interventions = parseInterventions("attention off");
  const EngineEvent failed = client.waitFor(client.engine.run(request));
  QCOMPARE(failed.kind, EventKind::failed);
  QCOMPARE(failed.error->code(), ErrorCode::badArgument);
  request.interventions.clear();
  QCOMPARE(client.waitFor(client.engine.run(request)).kind, EventKind::finished);
}

QTEST_GUILESS_MAIN(InterventionsTest)
#include "interventions_test.moc"
