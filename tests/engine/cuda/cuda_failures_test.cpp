// What the CUDA backend is after a call that failed: as good as before it, and nothing of what the call began
// is left. Its card is the emulator.
#include <QtTest>

#include "engine/error.h"
#include "engine/model.h"
#include "engine/verify/test_models.h"
#include "tests/cuda_emulator/blas.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/cuda_emulator/streams.h"
#include "tests/engine/states.h"

using namespace eyrie;
using namespace eyrie::engine;
using test::sameBits;
using verify::randomCheckpoint;
using verify::tinyConfig;

namespace {

std::shared_ptr<Model> loadOnCard() {
  LoadOptions options;
  options.backend = BackendKind::cuda;
  options.threads = 1;
  return Model::load(randomCheckpoint(tinyConfig("RRA", 3), 5), options);
}

template <typename Call>
ErrorCode codeOf(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::cancelled;  // nothing was thrown
}

// Four sequences of a model of their own.
class Four {
 public:
  Four() {
    for (int i = 0; i < 4; ++i) states_.push_back(model_->newState());
  }

  std::vector<float> step(std::size_t sequences) {
    const auto logits = model_->step(steps(sequences));
    return {logits.begin(), logits.end()};
  }
  void predict(std::size_t sequences) { model_->predict(steps(sequences)); }
  // The frames, one after the other.
  std::vector<float> traced(std::size_t sequences) {
    const FrameLayout layout(model_->config(), {TraceLevel::full, {}, 40});
    std::vector<TraceFrame> frames(sequences);
    std::vector<SequenceStep> all = steps(sequences);
    for (std::size_t i = 0; i < sequences; ++i) all[i].frame = &frames[i];
    model_->step(all, &layout);
    std::vector<float> values;
    for (const TraceFrame& frame : frames)
      values.insert(values.end(), frame.values.begin(), frame.values.end());
    return values;
  }

 private:
  // A token of each, by where it is.
  std::vector<SequenceStep> steps(std::size_t sequences) {
    std::vector<SequenceStep> all;
    for (std::size_t i = 0; i < sequences; ++i) {
      const std::int64_t token = (7 * states_[i].position() + static_cast<std::int64_t>(i)) % 41;
      all.push_back({&states_[i], static_cast<std::int32_t>(token), nullptr});
    }
    return all;
  }

  std::shared_ptr<Model> model_ = loadOnCard();
  std::vector<SequenceState> states_;
};

}  // namespace

class CudaFailuresTest : public QObject {
  Q_OBJECT

 private slots:
  void init() { emulator::useOrder(emulator::Order::forward); }
  void tracedStepsCanBeRepeated_data();
  void tracedStepsCanBeRepeated();
  void graphsGoWithTheMemoryTheyName();
  void copiesOfStatesFailAsOtherCallsDo();
  void aMissingCuBlasIsAccountedFor();
};

void CudaFailuresTest::tracedStepsCanBeRepeated_data() {
  QTest::addColumn<bool>("card");
  QTest::newRow("no memory on the card") << true;
  QTest::newRow("nothing left to pin") << false;
}

// What is shown of one sequence has its place, and a graph, when four find none.
void CudaFailuresTest::tracedStepsCanBeRepeated() {
  QFETCH(bool, card);
  Four disturbed;
  Four sound;
  for (Four* each : {&disturbed, &sound}) {
    each->step(4);  // all that a step takes, but for what is shown
    for (int i = 0; i < 3; ++i) each->traced(1);
  }
  card ? emulator::limitMemory(emulator::memoryInUse()) : emulator::limitPinned(16);
  const ErrorCode code = codeOf([&] { disturbed.traced(4); });
  emulator::limitMemory(SIZE_MAX);
  emulator::limitPinned(SIZE_MAX);
  QCOMPARE(code, ErrorCode::outOfMemory);
  for (const std::size_t sequences : {4, 1, 4, 4, 1})
    QVERIFY(sameBits(disturbed.traced(sequences), sound.traced(sequences)));
}

// The step of two has its graph. The logits of four find room, their ranking does not.
void CudaFailuresTest::graphsGoWithTheMemoryTheyName() {
  Four disturbed;
  Four sound;
  for (Four* each : {&disturbed, &sound}) {
    for (int i = 0; i < 3; ++i) each->step(2);
  }
  emulator::limitMemory(emulator::memoryInUse() + 2 * 41 * sizeof(float));
  const ErrorCode code = codeOf([&] { disturbed.predict(4); });
  emulator::limitMemory(SIZE_MAX);
  QCOMPARE(code, ErrorCode::outOfMemory);
  for (int i = 0; i < 3; ++i) QVERIFY(sameBits(disturbed.step(2), sound.step(2)));
}

void CudaFailuresTest::copiesOfStatesFailAsOtherCallsDo() {
  const auto card = loadOnCard();
  SequenceState state = card->newState();
  card->step(state, 1);
  emulator::limitMemory(emulator::memoryInUse());
  QCOMPARE(codeOf([&] { state.clone(); }), ErrorCode::outOfMemory);
  emulator::limitMemory(SIZE_MAX);
  emulator::loseDevice(true);
  const ErrorCode cloned = codeOf([&] { state.clone(); });
  const ErrorCode downloaded = codeOf([&] { state.download(); });
  emulator::loseDevice(false);
  QCOMPARE(cloned, ErrorCode::deviceFailed);
  QCOMPARE(downloaded, ErrorCode::deviceFailed);
}

// Beside the name, under which crossovers are kept and scores are taken up again.
void CudaFailuresTest::aMissingCuBlasIsAccountedFor() {
  QCOMPARE(loadOnCard()->backendRemark(), std::string());
  emulator::letBlasOpen(false);
  const auto card = loadOnCard();
  emulator::letBlasOpen(true);
  QVERIFY2(card->backendName().ends_with(" · without cuBLAS"), card->backendName().c_str());
  QCOMPARE(card->backendRemark(), std::string("cuBLAS cannot be opened: not by the emulator"));
}

QTEST_GUILESS_MAIN(CudaFailuresTest)
#include "cuda_failures_test.moc"
