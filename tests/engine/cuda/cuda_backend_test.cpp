// The CUDA backend, its card the emulator: what the engine's own checks ask of every backend, and what is a
// card's own: graphs, memory that runs out, a card that goes away.
#include <QtTest>

#include "engine/cuda/cuda_state.h"
#include "engine/cuda/make_cuda_backend.h"
#include "engine/error.h"
#include "engine/kept_crossovers.h"
#include "engine/verify/goldens.h"
#include "engine/verify/intervention_checks.h"
#include "engine/verify/invariants.h"
#include "engine/verify/model_run.h"
#include "engine/verify/test_models.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/cuda_emulator/streams.h"
#include "tests/engine/engine_client.h"
#include "tests/engine/states.h"

using namespace eyrie;
using namespace eyrie::engine;
using namespace eyrie::engine::test;
using verify::CheckResult;
using verify::randomCheckpoint;
using verify::TestRandom;
using verify::tinyConfig;

namespace {

// Prints what failed; true when nothing did.
bool allPassed(const std::vector<CheckResult>& results) {
  bool passed = !results.empty();
  for (const CheckResult& result : results) {
    if (result.passed) continue;
    passed = false;
    qWarning("%s", verify::describeCheck(result).c_str());
  }
  return passed;
}

LoadOptions on(BackendKind backend, std::optional<kernels::DType> weights = std::nullopt) {
  LoadOptions options;
  options.backend = backend;
  options.threads = 1;
  options.weights = weights;
  return options;
}

using Rows = std::vector<std::vector<float>>;

// Logits of `tokens` one step after the other.
Rows stepped(Model& model, SequenceState& state, const std::vector<std::int32_t>& tokens) {
  Rows rows;
  for (const std::int32_t token : tokens) {
    const auto logits = model.step(state, token);
    rows.emplace_back(logits.begin(), logits.end());
  }
  return rows;
}

double worstRow(const Rows& a, const Rows& b) {
  double worst = a.size() == b.size() ? 0 : 1e9;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, relativeError(a[i], b[i]));
  return worst;
}

template <typename Call>
Error errorOf(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorCode::cancelled, "nothing was thrown"};
}

}  // namespace

class CudaBackendTest : public QObject {
  Q_OBJECT

 private slots:
  void init() { emulator::useOrder(emulator::Order::forward); }
  void goldensPass_data();
  void goldensPass();
  void invariantsHold();
  void interventionsDoWhatTheySay();
  void weightsOfAnyTypeAgreeWithTheCpu_data();
  void weightsOfAnyTypeAgreeWithTheCpu();
  void trap41GraphsReadPositionsAndStatesAnew();
  void sequencesTogetherAreAsIfAlone();
  void largeBatchesOfBf16AreAsIfAlone_data();
  void largeBatchesOfBf16AreAsIfAlone();
  void chunksOfSeveralSequencesAreAsIfAlone();
  void productsGoByTheCrossoverThatWasMeasured();
  void statesTravelBetweenBackends();
  void ringsCanBeReadSixteenBytesAtATime();
  void memoryThatRunsOutIsAnErrorWithItsNumbers();
  void aLoadedModelHasTheMemoryItsSequenceNeeds();
  void aLostCardIsAnError();
  void aConversationGoesOnWithoutTheCard();
  void aHostWithoutMemoryKeepsItsCard();
};

void CudaBackendTest::goldensPass_data() {
  QTest::addColumn<QString>("set");
  // Of the other sets griffin-long takes the emulator minutes, and the rest are these in other formats.
  for (const char* set :
       {"griffin-tiny", "hawk-tiny", "griffin-bf16-sharded", "mqa-global", "griffin-complex"}) {
    QTest::newRow(set) << set;
  }
}

void CudaBackendTest::goldensPass() {
  QFETCH(QString, set);
  const std::filesystem::path folder =
      std::filesystem::path(EYRIE_SOURCE_DIR) / "tests/golden" / set.toStdString();
  QVERIFY(allPassed(verify::checkGolden(folder, BackendKind::cuda)));
}

void CudaBackendTest::invariantsHold() {
  QVERIFY(allPassed(verify::checkInvariants(BackendKind::cuda)));
}

void CudaBackendTest::interventionsDoWhatTheySay() {
  QVERIFY(allPassed(verify::checkInterventions(BackendKind::cuda)));
}

void CudaBackendTest::weightsOfAnyTypeAgreeWithTheCpu_data() {
  using kernels::DType;
  QTest::addColumn<int>("dtype");
  QTest::addColumn<double>("bound");  // of single steps, then of chunks on tensor cores
  QTest::addColumn<double>("chunkBound");
  QTest::newRow("f32") << static_cast<int>(DType::f32) << 1e-5 << 1e-5;
  QTest::newRow("bf16") << static_cast<int>(DType::bf16) << 1e-5 << 2e-2;
  QTest::newRow("f16") << static_cast<int>(DType::f16) << 1e-5 << 1e-2;
  // Both round activations to 16 bits, in groups of their own.
  QTest::newRow("int8") << static_cast<int>(DType::int8) << 1e-3 << 2e-2;
  QTest::newRow("int4") << static_cast<int>(DType::int4) << 1e-3 << 2e-2;
}

void CudaBackendTest::weightsOfAnyTypeAgreeWithTheCpu() {
  QFETCH(int, dtype);
  QFETCH(double, bound);
  QFETCH(double, chunkBound);
  const auto type = static_cast<kernels::DType>(dtype);
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 3), 5);
  const auto cpu = Model::load(checkpoint, on(BackendKind::cpu, type));
  const auto card = Model::load(checkpoint, on(BackendKind::cuda, type));
  QVERIFY(card->backendName().starts_with("cuda"));
  const auto text = TestRandom(2).tokens(60, cpu->config().V);
  const auto next = TestRandom(3).tokens(6, cpu->config().V);
  SequenceState a = cpu->newState();
  SequenceState b = card->newState();
  const double steps = worstRow(stepped(*card, b, next), stepped(*cpu, a, next));
  QVERIFY2(steps < bound, qPrintable(QString("steps %1").arg(steps)));
  cpu->prefill(a, text, LogitRows::none);
  card->prefill(b, text, LogitRows::none);
  const double chunks = worstRow(stepped(*card, b, next), stepped(*cpu, a, next));
  QVERIFY2(chunks < chunkBound, qPrintable(QString("after a chunk %1").arg(chunks)));
}

// The first step of a sequence runs as it is, the second is captured, all others are replays.
void CudaBackendTest::trap41GraphsReadPositionsAndStatesAnew() {
  for (const char* pattern : {"RRA", "RG"}) {
    const auto checkpoint = randomCheckpoint(tinyConfig(pattern, 3), 5);
    const auto reference = Model::load(checkpoint, on(BackendKind::reference));
    const auto card = Model::load(checkpoint, on(BackendKind::cuda));
    const auto tokens = TestRandom(4).tokens(80, card->config().V);  // past the window and a ring that grows
    SequenceState expected = reference->newState();
    SequenceState found = card->newState();
    const std::uint64_t before = emulator::launches();
    const double error = worstRow(stepped(*card, found, tokens), stepped(*reference, expected, tokens));
    QVERIFY2(error < 1e-5, qPrintable(QString("%1: %2").arg(pattern).arg(error)));
    // Another state goes through the same graphs.
    SequenceState other = card->newState();
    SequenceState otherExpected = reference->newState();
    const auto others = TestRandom(5).tokens(30, card->config().V);
    QVERIFY(worstRow(stepped(*card, other, others), stepped(*reference, otherExpected, others)) < 1e-5);
    QVERIFY(worstError(found.download(), expected.download()) < 1e-5);
    const auto layers = static_cast<std::uint64_t>(card->config().L);
    const std::uint64_t perStep = (emulator::launches() - before) / 110;
    QVERIFY2(perStep <= 7 * layers + 6, qPrintable(QString("%1 launches a step").arg(perStep)));
  }
}

void CudaBackendTest::sequencesTogetherAreAsIfAlone() {
  const auto card = Model::load(randomCheckpoint(tinyConfig("RRA", 3), 5), on(BackendKind::cuda));
  constexpr std::size_t kSequences = 11;  // more than the matrix-vector kernels take at once
  TestRandom random(6);
  std::vector<std::vector<std::int32_t>> prompts;
  std::vector<std::vector<std::int32_t>> texts;
  std::vector<SequenceState> states;
  for (std::size_t i = 0; i < kSequences; ++i) {
    prompts.push_back(random.tokens(static_cast<std::int64_t>(1 + 5 * i), card->config().V));
    texts.push_back(random.tokens(4, card->config().V));
    states.push_back(card->newState());
    card->prefill(states.back(), prompts.back(), LogitRows::none);
  }
  std::vector<Rows> together(kSequences);
  for (std::size_t step = 0; step < 4; ++step) {
    std::vector<SequenceStep> steps;
    for (std::size_t i = 0; i < kSequences; ++i) steps.push_back({&states[i], texts[i][step], nullptr});
    const auto logits = card->step(steps);
    const auto V = static_cast<std::size_t>(card->config().V);
    for (std::size_t i = 0; i < kSequences; ++i) {
      const auto own = logits.subspan(i * V, V);
      together[i].emplace_back(own.begin(), own.end());
    }
  }
  for (std::size_t i = 0; i < kSequences; ++i) {
    SequenceState alone = card->newState();
    card->prefill(alone, prompts[i], LogitRows::none);
    QVERIFY(worstRow(together[i], stepped(*card, alone, texts[i])) < 1e-5);
    QVERIFY(worstError(states[i].download(), alone.download()) < 1e-5);
  }
}

void CudaBackendTest::largeBatchesOfBf16AreAsIfAlone_data() {
  QTest::addColumn<int>("sequences");
  QTest::newRow("33") << 33;
  QTest::newRow("128") << 128;
}

// On tensor cores, which round what they multiply; from positions that differ.
void CudaBackendTest::largeBatchesOfBf16AreAsIfAlone() {
  QFETCH(int, sequences);
  const auto checkpoint = randomCheckpoint(tinyConfig("RA", 2), 5);
  const auto card = Model::load(checkpoint, on(BackendKind::cuda, kernels::DType::bf16));
  const auto V = static_cast<std::size_t>(card->config().V);
  const auto tokens = TestRandom(6).tokens(2 * sequences, card->config().V);
  std::vector<SequenceState> states;
  std::vector<SequenceState> alone;
  for (int i = 0; i < sequences; ++i) {
    SequenceState& state = states.emplace_back(card->newState());
    if (i % 3 != 0) card->prefill(state, std::span(tokens).first(1 + i % 5), LogitRows::none);
    alone.push_back(state.clone());
  }
  for (std::size_t round = 0; round < 2; ++round) {
    const std::span<const std::int32_t> next =
        std::span(tokens).subspan(round * states.size(), states.size());
    std::vector<SequenceStep> steps;
    for (std::size_t i = 0; i < states.size(); ++i) steps.push_back({&states[i], next[i], nullptr});
    const auto logits = card->step(steps);
    const std::vector<float> found(logits.begin(), logits.end());
    QCOMPARE(found.size(), states.size() * V);
    for (std::size_t i = 0; i < states.size(); ++i) {
      const auto own = card->step(alone[i], next[i]);
      const double error = relativeError({found.begin() + static_cast<std::ptrdiff_t>(i * V),
                                          found.begin() + static_cast<std::ptrdiff_t>((i + 1) * V)},
                                         {own.begin(), own.end()});
      QVERIFY2(error < 2e-2, qPrintable(QString("sequence %1: %2").arg(i).arg(error)));
    }
  }
  for (std::size_t i = 0; i < states.size(); ++i)
    QVERIFY(worstError(states[i].download(), alone[i].download()) < 2e-2);
}

// Of lengths that differ, some of a single token, from positions that differ.
void CudaBackendTest::chunksOfSeveralSequencesAreAsIfAlone() {
  ModelConfig complex = tinyConfig("RRA", 3);
  complex.rgLru = RgLru::complex;
  const std::vector<std::vector<std::int64_t>> lengths{{3, 1, 40, 7, 1}, {1, 30, 2, 6, 1}, {9, 9, 1, 1, 25}};
  for (const ModelConfig& config : {tinyConfig("RRA", 3), tinyConfig("RG", 2), complex}) {
    const auto backend = makeCudaBackend(*loadWeights(randomCheckpoint(config, 5)));
    TestRandom random(6);
    std::vector<std::unique_ptr<BackendState>> together, alone;
    std::vector<std::int64_t> positions(lengths[0].size());
    for (std::size_t i = 0; i < positions.size(); ++i) {
      together.push_back(backend->newState());
      alone.push_back(backend->newState());
    }
    for (const std::vector<std::int64_t>& of : lengths) {
      std::vector<verify::ChunkShare> all;
      std::vector<float> expected;
      for (std::size_t i = 0; i < of.size(); ++i) {
        all.push_back({together[i].get(), positions[i], random.tokens(of[i], config.V)});
        const auto logits =
            verify::chunkLogits(*backend, config, {{alone[i].get(), positions[i], all[i].tokens}});
        expected.insert(expected.end(), logits.begin(), logits.end());
        positions[i] += of[i];
      }
      QVERIFY(relativeError(verify::chunkLogits(*backend, config, all), expected) < 1e-5);
      for (std::size_t i = 0; i < of.size(); ++i)
        QVERIFY(worstError(together[i]->download(INT64_MAX), alone[i]->download(INT64_MAX)) < 1e-5);
    }
  }
}

void CudaBackendTest::productsGoByTheCrossoverThatWasMeasured() {
  const ModelConfig config = tinyConfig("RRA", 3);
  const auto weights = loadWeights(randomCheckpoint(config, 5));
  const QTemporaryDir folder;
  const auto read = [&] {
    const auto backend = makeCudaBackend(*weights, folder.path().toStdString());
    const auto state = backend->newState();
    const std::uint64_t before = emulator::launches();
    const auto logits = verify::chunkLogits(*backend, config, {{state.get(), 0, {1, 2, 3, 4, 5}}});
    return std::pair{emulator::launches() - before, logits};
  };
  const auto [estimated, expected] = read();
  keepCrossover(folder.path().toStdString(), makeCudaBackend(*weights)->name(), {3, 3, 3, 3, 3});
  const auto [measured, found] = read();
  QVERIFY2(measured != estimated, qPrintable(QString("%1 launches both times").arg(measured)));
  QVERIFY(relativeError(found, expected) < 1e-5);
}

void CudaBackendTest::statesTravelBetweenBackends() {
  for (const char* pattern : {"RRA", "RG"}) {
    const auto checkpoint = randomCheckpoint(tinyConfig(pattern, 3), 5);
    const auto reference = Model::load(checkpoint, on(BackendKind::reference));
    const auto card = Model::load(checkpoint, on(BackendKind::cuda));
    for (const std::int64_t length : {0, 1, 2, 5, 40, 70}) {
      const auto text = TestRandom(7).tokens(length, card->config().V);
      const auto next = TestRandom(8).tokens(5, card->config().V);
      SequenceState read = reference->newState();
      reference->prefill(read, text, LogitRows::none);
      const HostState host = read.download();
      SequenceState moved = card->restoreState(host);
      QVERIFY(sameBits(moved.download(), host));
      SequenceState copy = moved.clone();
      const Rows expected = stepped(*reference, read, next);
      QVERIFY(worstRow(stepped(*card, moved, next), expected) < 1e-5);
      QVERIFY(sameBits(copy.download(), host));
      QVERIFY(worstRow(stepped(*card, copy, next), expected) < 1e-5);
    }
  }
}

// Where widths of recurrences are odd: a card refuses loads that are not aligned, which a CPU does not mind.
void CudaBackendTest::ringsCanBeReadSixteenBytesAtATime() {
  ModelConfig config = tinyConfig("RRAG", 4);
  config.R = 21;
  config.Dh = 8;
  CudaState state(std::make_shared<const ModelConfig>(config),
                  std::make_shared<const kernels::cuda::OwnedStream>(), 0);
  state.growTo(3);
  for (const int layerIdx : {2, 3}) {
    const kernels::KvRing& ring = state.layer(layerIdx).ring;
    for (const float* rows : {ring.keys, ring.values})
      QCOMPARE(reinterpret_cast<std::uintptr_t>(rows) % 16, 0U);
  }
}

void CudaBackendTest::memoryThatRunsOutIsAnErrorWithItsNumbers() {
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 3), 5);
  emulator::limitMemory(emulator::memoryInUse() + 1000);
  // Before anything is uploaded, and with all it will need.
  const Error error = errorOf([&] { Model::load(checkpoint, on(BackendKind::cuda)); });
  QCOMPARE(error.code(), ErrorCode::outOfMemory);
  QVERIFY2(QString(error.what()).contains("GiB free; use --backend cpu"), error.what());
  // Nobody insisted: the CPU then.
  QVERIFY(Model::load(checkpoint, on(BackendKind::automatic))->backendName().starts_with("cpu"));
  emulator::limitMemory(SIZE_MAX);
  // A chunk without room leaves its sequence as it was: here all its tokens' logits find none.
  const auto card = Model::load(checkpoint, on(BackendKind::cuda));
  SequenceState state = card->newState();
  const auto text = TestRandom(1).tokens(20, card->config().V);
  card->prefill(state, text, LogitRows::none);
  const HostState before = state.download();
  emulator::limitMemory(emulator::memoryInUse());
  const auto longer = TestRandom(1).tokens(300, card->config().V);
  PrefillObserver nobody;
  const auto read = [&] { card->prefill(state, longer, LogitRows::all, &nobody); };
  QCOMPARE(errorOf(read).code(), ErrorCode::outOfMemory);
  emulator::limitMemory(SIZE_MAX);
  QVERIFY(sameBits(state.download(), before));
  read();
  QCOMPARE(state.position(), 320);
}

void CudaBackendTest::aLoadedModelHasTheMemoryItsSequenceNeeds() {
  for (const auto weights : {kernels::DType::f32, kernels::DType::bf16, kernels::DType::int8}) {
    const auto card = Model::load(randomCheckpoint(tinyConfig("RRA", 3), 5), on(BackendKind::cuda, weights));
    SequenceState state = card->newState();
    emulator::limitMemory(emulator::memoryInUse());
    card->prefill(state, TestRandom(1).tokens(1000, card->config().V), LogitRows::last);
    for (int i = 0; i < 3; ++i) card->step(state, 1);
    emulator::limitMemory(SIZE_MAX);
    QCOMPARE(state.position(), 1003);
  }
}

void CudaBackendTest::aLostCardIsAnError() {
  const auto card = Model::load(randomCheckpoint(tinyConfig("RRA", 3), 5), on(BackendKind::cuda));
  SequenceState state = card->newState();
  card->step(state, 1);
  emulator::loseDevice(true);
  const Error error = errorOf([&] { card->step(state, 1); });
  emulator::loseDevice(false);
  QCOMPARE(error.code(), ErrorCode::deviceFailed);
  QVERIFY2(QString(error.what()).contains("use --backend cpu"), error.what());
}

void CudaBackendTest::aConversationGoesOnWithoutTheCard() {
  Client client;
  const RequestId load = client.engine.load({goldenFolder("hawk-tiny"), BackendKind::cuda, 1});
  QVERIFY(client.waitFor(load).model->backend.starts_with("cuda"));
  RunRequest first = runOf(someTokens(1, 5), 3);
  first.options.sampling.temperature = 0;
  const RequestId before = client.engine.run(first);
  QCOMPARE(client.waitFor(before).kind, EventKind::finished);
  emulator::loseDevice(true);
  const EngineEvent failed = client.waitFor(client.engine.run(first));
  QCOMPARE(failed.kind, EventKind::failed);
  QCOMPARE(failed.error->code(), ErrorCode::deviceFailed);
  QVERIFY(client.waitFor(0).model->backend.starts_with("cpu"));
  const RequestId after = client.engine.run(first);
  QCOMPARE(client.waitFor(after).kind, EventKind::finished);
  QVERIFY(client.generated(after) == client.generated(before));
  emulator::loseDevice(false);
}

// What cannot be pinned fails one request; the card is well, and the next request finds it.
void CudaBackendTest::aHostWithoutMemoryKeepsItsCard() {
  Client client;
  const RequestId load = client.engine.load({goldenFolder("hawk-tiny"), BackendKind::cuda, 1});
  QVERIFY(client.waitFor(load).model->backend.starts_with("cuda"));
  RunRequest request = runOf(someTokens(1, 5), 3);
  emulator::limitPinned(16);
  const auto checkpoint = randomCheckpoint(tinyConfig("RRA", 3), 5);
  QVERIFY(Model::load(checkpoint, on(BackendKind::automatic))->backendName().starts_with("cpu"));
  const EngineEvent failed = client.waitFor(client.engine.run(request));
  emulator::limitPinned(SIZE_MAX);
  QCOMPARE(failed.kind, EventKind::failed);
  QCOMPARE(failed.error->code(), ErrorCode::outOfMemory);
  EngineEvent unasked;
  QVERIFY(!client.engine.poll(unasked));
  emulator::loseDevice(true);  // it is still the card that computes: without it nothing goes
  QCOMPARE(client.waitFor(client.engine.run(request)).error->code(), ErrorCode::deviceFailed);
  emulator::loseDevice(false);
}

QTEST_GUILESS_MAIN(CudaBackendTest)
#include "cuda_backend_test.moc"
