// A sequence taken back to any of its tokens: exact with the log, and how wrong it would be without.
#include "engine/state_log.h"

#include <QtTest>

#include "engine/error.h"
#include "engine/verify/check.h"
#include "engine/verify/test_models.h"
#include "engine/verify/tolerances.h"
#include "tests/engine/states.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;
using namespace eyrie::engine::test;

namespace {

using Tokens = std::vector<std::int32_t>;

std::shared_ptr<Model> tinyModel(const std::string& pattern, std::int64_t layers, BackendKind backend,
                                 int threads = 1) {
  LoadOptions options;
  options.backend = backend;
  options.threads = threads;
  return Model::load(randomCheckpoint(tinyConfig(pattern, layers), 5), options);
}

// A sequence that is recorded while it is fed, with its state after every chunk.
class Recorded {
 public:
  Recorded(Model& model, const StateLogOptions& options)
      : model_(model), log(model.config(), options), state(model.newState()) {
    state.watch(&log);
    truth.push_back(state.download());
  }
  // Chunks of so many tokens, one after the other.
  void read(const std::vector<std::int64_t>& chunks) {
    for (const std::int64_t rows : chunks) {
      model_.prefill(state, random_.tokens(rows, model_.config().V), LogitRows::last);
      truth.push_back(state.download());
    }
  }
  void write(int steps) {
    for (int i = 0; i < steps; ++i) {
      model_.step(state, random_.tokens(1, model_.config().V).front());
      truth.push_back(state.download());
    }
  }
  std::span<const std::int32_t> tokensFrom(std::int64_t position) const {
    return std::span(log.tokens()).subspan(static_cast<std::size_t>(position));
  }

 private:
  Model& model_;
  TestRandom random_{9};

 public:
  StateLog log;
  SequenceState state;
  std::vector<HostState> truth;  // by rising position
};

// A conversation: prompts in chunks, replies in steps, longer than the window several times.
void converse(Recorded& sequence) {
  sequence.read({40, 11, 1});
  sequence.write(23);
  sequence.read({2, 5, 3});
  sequence.write(40);
  sequence.read({64, 30});
  sequence.write(9);
}

}  // namespace

class StateLogTest : public QObject {
  Q_OBJECT

 private slots:
  void everyPositionItStoodAtIsReachedExactly_data();
  void everyPositionItStoodAtIsReachedExactly();
  void withinAChunkIsWithinTolerance();
  void observedAndUnobservedChunksAreTheSame();
  void aWindowRefilledFromTooFewKeysIsWrong();
  void forksGoTheirOwnWays();
  void savedStateBeginsALog();
  void chunkGivenUpIsNotLogged();
  void stoppedRewindIsAnEarlierState();
  void costIsWhatTheHeaderSays_data();
  void costIsWhatTheHeaderSays();
  void oldestKeyFramesGoFirst();
  void windowLargerThanTheLimitIsNotKept();
  void impossiblePositionsAreRefused();
};

void StateLogTest::everyPositionItStoodAtIsReachedExactly_data() {
  QTest::addColumn<QString>("pattern");
  QTest::addColumn<int>("layers");
  QTest::addColumn<bool>("reference");
  QTest::addColumn<int>("interval");
  for (const auto& [pattern, layers] : {std::pair("R", 2), {"A", 2}, {"G", 2}, {"RRA", 6}, {"RG", 2}}) {
    for (const bool reference : {true, false}) {
      for (const int interval : {1, 16, 1000}) {
        const QString name = QString("%1 on %2, a key-frame every %3 tokens")
                                 .arg(pattern, reference ? "reference" : "cpu")
                                 .arg(interval);
        QTest::newRow(qPrintable(name)) << QString(pattern) << layers << reference << interval;
      }
    }
  }
}

// Trap 43: the window at any position is whole, wherever the ring has wrapped since.
void StateLogTest::everyPositionItStoodAtIsReachedExactly() {
  QFETCH(QString, pattern);
  QFETCH(int, layers);
  QFETCH(bool, reference);
  QFETCH(int, interval);
  const auto model = tinyModel(pattern.toStdString(), layers,
                               reference ? BackendKind::reference : BackendKind::cpu, reference ? 1 : 2);
  Recorded sequence(*model, {interval, 1 << 30});
  converse(sequence);
  for (const HostState& truth : sequence.truth) {
    QCOMPARE(sequence.log.boundary(truth.position), truth.position);
    Rewound back = sequence.log.rewind(*model, truth.position);
    QVERIFY(back.exact);
    QVERIFY2(sameBits(back.state.download(), truth), qPrintable(QString("token %1").arg(truth.position)));
    // At least the key-frame that the interval promises, and no chunk is longer than 64.
    QVERIFY2(back.replayed < interval + 64, qPrintable(QString::number(back.replayed)));
    // And it goes on as the sequence did.
    if (truth.position + 9 < sequence.state.position()) continue;
    for (const std::int32_t token : sequence.tokensFrom(truth.position)) model->step(back.state, token);
    QVERIFY(sameBits(back.state.download(), sequence.truth.back()));
  }
}

void StateLogTest::withinAChunkIsWithinTolerance() {
  const auto model = tinyModel("RRA", 6, BackendKind::cpu, 2);
  Recorded sequence(*model, {16, 1 << 30});
  sequence.write(10);
  sequence.read({50});
  QCOMPARE(sequence.log.boundary(47), std::int64_t{10});
  const Rewound back = sequence.log.rewind(*model, 47);
  QCOMPARE(back.state.position(), std::int64_t{47});
  QVERIFY2(!back.exact, "the sequence never stood there");
  SequenceState stepped = model->newState();
  for (const std::int32_t token : std::span(sequence.log.tokens()).first(47)) model->step(stepped, token);
  const HostState found = back.state.download();
  const HostState expected = stepped.download();
  for (std::size_t i = 0; i < expected.layers.size(); ++i) {
    for (const auto member : {&LayerState::h, &LayerState::tail, &LayerState::keys, &LayerState::values}) {
      const CheckResult check = compareArrays("layer " + std::to_string(i), found.layers[i].*member,
                                              expected.layers[i].*member, kSameState);
      QVERIFY2(check.passed, describeCheck(check).c_str());
    }
  }
}

void StateLogTest::observedAndUnobservedChunksAreTheSame() {
  const auto model = tinyModel("RRA", 6, BackendKind::cpu, 2);
  StateLog log(model->config(), {1000, 1 << 30});
  SequenceState state = model->newState();
  state.watch(&log);
  class Ignore final : public PrefillObserver {
  } observer;
  const FrameLayout layout(model->config(), {TraceLevel::full, {}, 512});
  TraceFrame frame;
  model->prefill(state, TestRandom(1).tokens(60, model->config().V), LogitRows::all, &observer, &layout);
  for (int i = 0; i < 20; ++i) model->step(state, i, &frame, &layout);
  const Rewound back = log.rewind(*model, 80);
  QCOMPARE(back.replayed, std::int64_t{80});
  QVERIFY2(sameBits(back.state.download(), state.download()), "replayed without taps");
}

// UX §6, "Trap in idea 1": h and tails alone and a window refilled by replaying, against the log.
void StateLogTest::aWindowRefilledFromTooFewKeysIsWrong() {
  const auto model = tinyModel("RRA", 9, BackendKind::reference);
  const std::int64_t W = model->config().olderKeys();
  Recorded sequence(*model, {16, 1 << 30});
  sequence.write(200);
  const HostState& end = sequence.truth.back();
  double before = 1;
  for (const std::int64_t windows : {1, 2, 4, 8}) {
    const std::int64_t from = 200 - windows * W;
    // What a key-frame without keys and values knows; the backend takes zeros for what it does not.
    HostState frame = sequence.truth[static_cast<std::size_t>(from)];
    SequenceState refilled = model->newState();
    const auto blind = [&] {
      for (LayerState& layer : frame.layers) {
        std::fill(layer.keys.begin(), layer.keys.end(), 0.0F);
        std::fill(layer.values.begin(), layer.values.end(), 0.0F);
      }
      return model->restoreState(frame);
    };
    refilled = blind();
    for (const std::int32_t token : sequence.tokensFrom(from)) model->step(refilled, token);
    const double wrong = worstError(refilled.download(), end);
    const Rewound back = sequence.log.rewind(*model, 200);
    const double exact = worstError(back.state.download(), end);
    qInfo("a window refilled by %lld W tokens is off by %.2g %%, with the log by %.2g %%",
          static_cast<long long>(windows), 100 * wrong, 100 * exact);
    QVERIFY(exact == 0);
    QVERIFY2(wrong > 1e-4, "refilling would do, and the log were not needed");
    QVERIFY2(wrong < before, "more replayed tokens forget more of the error");
    before = wrong;
  }
  // A Hawk has no window: nothing to refill, nothing wrong.
  const auto hawk = tinyModel("R", 3, BackendKind::reference);
  Recorded recurrent(*hawk, {16, 1 << 30});
  recurrent.write(40);
  SequenceState restored = hawk->restoreState(recurrent.truth[32]);
  for (const std::int32_t token : recurrent.tokensFrom(32)) hawk->step(restored, token);
  QVERIFY(sameBits(restored.download(), recurrent.truth.back()));
}

void StateLogTest::forksGoTheirOwnWays() {
  const auto model = tinyModel("RRA", 6, BackendKind::cpu);
  Recorded sequence(*model, {8, 1 << 30});
  converse(sequence);
  Rewound back = sequence.log.rewind(*model, 70);
  StateLog fork = sequence.log.until(70);
  QCOMPARE(fork.position(), std::int64_t{70});
  back.state.watch(&fork);
  std::vector<HostState> truth;
  for (int i = 0; i < 50; ++i) {
    model->step(back.state, i % 40);
    truth.push_back(back.state.download());
  }
  for (const std::int64_t position : {71, 90, 120}) {
    QVERIFY(sameBits(fork.rewind(*model, position).state.download(),
                     truth[static_cast<std::size_t>(position - 71)]));
  }
  QVERIFY(sameBits(fork.rewind(*model, 40).state.download(), sequence.truth[1]));
  QVERIFY(sameBits(sequence.log.rewind(*model, sequence.state.position()).state.download(),
                   sequence.truth.back()));
  // Shared key-frames count once.
  std::unordered_set<const void*> counted;
  const std::uint64_t both = sequence.log.bytes(counted) + fork.bytes(counted);
  QVERIFY(both < sequence.log.bytes() + fork.bytes());
  QVERIFY(both > sequence.log.bytes());
  // A fork within a chunk knows how its own state was made.
  Rewound within = sequence.log.rewind(*model, 20);
  QVERIFY(!within.exact);
  const StateLog inside = sequence.log.until(20);
  const Rewound again = inside.rewind(*model, 20);
  QVERIFY(again.exact);
  QVERIFY(sameBits(again.state.download(), within.state.download()));
}

void StateLogTest::savedStateBeginsALog() {
  const auto model = tinyModel("RRA", 6, BackendKind::cpu);
  Recorded sequence(*model, {8, 1 << 30});
  sequence.write(30);
  StateLog log(model->config(), sequence.log.tokens(), sequence.state.download(), {8, 1 << 30});
  QCOMPARE(log.boundary(29), std::int64_t{-1});
  SequenceState state = model->restoreState(sequence.state.download());
  state.watch(&log);
  for (int i = 0; i < 20; ++i) {
    model->step(state, i);
    model->step(sequence.state, i);
  }
  QVERIFY(sameBits(log.rewind(*model, 30).state.download(), sequence.truth.back()));
  QVERIFY(sameBits(log.rewind(*model, 50).state.download(), sequence.state.download()));
  QVERIFY_EXCEPTION_THROWN(StateLog(model->config(), {1, 2}, sequence.state.download()), Error);
}

void StateLogTest::chunkGivenUpIsNotLogged() {
  const auto model = tinyModel("RRA", 4, BackendKind::cpu);
  class Stopper final : public PrefillObserver {
   public:
    void onWork(double done) override {
      if (done > 20) source.request_stop();
    }
    std::stop_source source;
  } stopper;
  StateLog log(model->config(), {8, 1 << 30});
  SequenceState state = model->newState();
  state.watch(&log);
  model->prefill(state, TestRandom(1).tokens(30, 41), LogitRows::none, &stopper, nullptr,
                 stopper.source.get_token(), 15);
  QCOMPARE(state.position(), std::int64_t{15});
  QCOMPARE(log.position(), std::int64_t{15});
  model->step(state, 3);
  QVERIFY2(log.position() == 16, "still watched");
  QVERIFY(sameBits(log.rewind(*model, 16).state.download(), state.download()));
}

void StateLogTest::stoppedRewindIsAnEarlierState() {
  const auto model = tinyModel("RRA", 4, BackendKind::cpu);
  Recorded sequence(*model, {1000, 1 << 30});
  sequence.write(50);
  std::stop_source stop;
  const Rewound back = sequence.log.rewind(*model, 50, stop.get_token(), [&](std::int64_t position) {
    if (position == 20) stop.request_stop();
  });
  QVERIFY(back.exact && back.replayed == 20);
  QVERIFY(sameBits(back.state.download(), sequence.truth[20]));
}

void StateLogTest::costIsWhatTheHeaderSays_data() {
  QTest::addColumn<QString>("pattern");
  QTest::newRow("Hawk") << QString("R");
  QTest::newRow("Griffin") << QString("RRA");
}

void StateLogTest::costIsWhatTheHeaderSays() {
  QFETCH(QString, pattern);
  const auto model = tinyModel(pattern.toStdString(), 6, BackendKind::cpu);
  const ModelConfig& config = model->config();
  // No more than W tokens apart: a layer that remembers fewer keeps fewer.
  Recorded sequence(*model, {4, 1 << 30});
  sequence.write(400);
  std::uint64_t recurrent = 0;
  for (const BlockKind kind : config.blocks) recurrent += kind == BlockKind::recurrent ? 1 : 0;
  const std::uint64_t attention = config.blocks.size() - recurrent;
  const std::uint64_t perToken = recurrent * 4 * static_cast<std::uint64_t>(config.K * config.R) / 4 +
                                 attention * 8 * static_cast<std::uint64_t>(config.kvHeads * config.Dh) + 12;
  QCOMPARE(sequence.log.bytes(), 400 * perToken);
}

void StateLogTest::oldestKeyFramesGoFirst() {
  const auto model = tinyModel("RRA", 6, BackendKind::cpu);
  const std::uint64_t limit = 40000;
  Recorded sequence(*model, {4, limit});
  sequence.write(600);
  QVERIFY2(sequence.log.bytes() <= limit + 600 * 12, qPrintable(QString::number(sequence.log.bytes())));
  QCOMPARE(sequence.log.boundary(100), std::int64_t{-1});
  QVERIFY_EXCEPTION_THROWN(sequence.log.rewind(*model, 100), Error);
  std::size_t reached = 0;
  for (const HostState& truth : sequence.truth) {
    if (sequence.log.boundary(truth.position) < 0) continue;
    ++reached;
    QVERIFY(sameBits(sequence.log.rewind(*model, truth.position).state.download(), truth));
  }
  QVERIFY2(reached > 4 && reached < 200, qPrintable(QString::number(reached)));
  QVERIFY(sequence.log.boundary(600) == 600);
}

void StateLogTest::windowLargerThanTheLimitIsNotKept() {
  const auto model = tinyModel("RG", 2, BackendKind::cpu);
  Recorded sequence(*model, {4, 20000});
  sequence.write(300);
  QCOMPARE(sequence.log.position(), std::int64_t{300});
  QCOMPARE(sequence.log.boundary(300), std::int64_t{-1});
  QCOMPARE(sequence.log.lastKeyFrame(), std::int64_t{-1});
  QCOMPARE(sequence.log.bytes(), std::uint64_t{300 * 12});
}

void StateLogTest::impossiblePositionsAreRefused() {
  const auto model = tinyModel("RRA", 4, BackendKind::cpu);
  Recorded sequence(*model, {4, 1 << 30});
  sequence.write(5);
  QVERIFY_EXCEPTION_THROWN(sequence.log.rewind(*model, -1), Error);
  QVERIFY_EXCEPTION_THROWN(sequence.log.rewind(*model, 6), Error);
}

QTEST_GUILESS_MAIN(StateLogTest)
#include "state_log_test.moc"
