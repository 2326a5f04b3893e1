// Differences, mixtures and transplants of states: what must hold exactly, and what is refused.
#include "engine/state_algebra.h"

#include <QtTest>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/error.h"
#include "engine/model.h"
#include "engine/verify/test_models.h"
#include "tests/engine/states.h"

using namespace eyrie::engine;
using namespace eyrie::engine::verify;
using namespace eyrie::engine::test;

namespace {

std::shared_ptr<Model> tinyModel(const std::string& pattern) {
  return Model::load(randomCheckpoint(tinyConfig(pattern, 6), 5));
}

HostState stateAfter(Model& model, std::uint64_t seed, std::int64_t tokens) {
  SequenceState state = model.newState();
  model.prefill(state, TestRandom(seed).tokens(tokens, model.config().V), LogitRows::none);
  return state.download();
}

// The sentence of the Error(stateMismatch or badArgument) that `call` throws.
template <typename Call>
std::string refusal(ErrorCode code, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code() == code ? error.what() : "";
  }
  return {};
}

}  // namespace

class StateAlgebraTest : public QObject {
  Q_OBJECT

 private slots:
  void aStateDoesNotDifferFromItself_data();
  void aStateDoesNotDifferFromItself();
  void differenceIsTheNormOfTheDifference();
  void blocksCoverEveryChannelOnce();
  void bothPartsOfAComplexChannelAreInItsBlock();
  void keysAreComparedWherePositionsAgree();
  void interpolationEndsAreTheStatesThemselves();
  void interpolationIsLinear();
  void interpolatedStateGoesOn();
  void transplantOfAllLayersIsACopy();
  void transplantMovesOnlyWhatIsAsked();
  void transplantedStateChangesTheFuture();
  void whatHasNoMeaningIsRefused();
};

void StateAlgebraTest::aStateDoesNotDifferFromItself_data() {
  QTest::addColumn<QString>("pattern");
  for (const char* pattern : {"R", "RRA", "RG", "A"}) QTest::newRow(pattern) << QString(pattern);
}

void StateAlgebraTest::aStateDoesNotDifferFromItself() {
  QFETCH(QString, pattern);
  const auto model = tinyModel(pattern.toStdString());
  const HostState state = stateAfter(*model, 1, 30);
  for (const LayerDifference& layer : difference(state, state, model->config())) {
    for (const ArrayDifference& figures : {layer.h, layer.tail, layer.keys, layer.values}) {
      QCOMPARE(figures.difference, 0.0);
      QCOMPARE(figures.relative, 0.0);
      QVERIFY(figures.normA == 0 || std::abs(figures.cosine - 1) < 1e-12);
    }
    for (const ArrayDifference& block : layer.blocks) QCOMPARE(block.difference, 0.0);
  }
}

void StateAlgebraTest::differenceIsTheNormOfTheDifference() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 30);
  const auto layers = difference(a, b, model->config());
  QCOMPARE(layers.size(), std::size_t{6});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool recurrent = model->config().blocks[i] == BlockKind::recurrent;
    const auto& x = recurrent ? a.layers[i].h : a.layers[i].keys;
    const auto& y = recurrent ? b.layers[i].h : b.layers[i].keys;
    const ArrayDifference& found = recurrent ? layers[i].h : layers[i].keys;
    QVERIFY(found.relative > 0.01);
    QVERIFY(std::abs(found.relative - relativeError(x, y)) < 1e-9);
    const double product = std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
    QVERIFY(std::abs(found.cosine - product / found.normA / found.normB) < 1e-6);
  }
  HostState zero = b;
  std::fill(zero.layers[0].h.begin(), zero.layers[0].h.end(), 0.0F);
  const ArrayDifference toZero = difference(a, zero, model->config())[0].h;
  QVERIFY(std::isinf(toZero.relative) && std::isnan(toZero.cosine));
  QCOMPARE(difference(zero, a, model->config())[0].h.relative, 1.0);
}

void StateAlgebraTest::blocksCoverEveryChannelOnce() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  HostState b = a;
  const auto R = static_cast<std::size_t>(model->config().R);
  b.layers[1].h[R - 1] += 3;
  for (const std::int64_t blocks : {1, 3, 7, 1000}) {
    const auto layers = difference(a, b, model->config(), blocks);
    double squares = 0;
    for (const ArrayDifference& block : layers[1].blocks) squares += block.normA * block.normA;
    QVERIFY(std::abs(std::sqrt(squares) - layers[1].h.normA) < 1e-9);
    QVERIFY(layers[1].blocks.size() <= static_cast<std::size_t>(blocks) && layers[1].blocks.size() <= R);
    QVERIFY2(std::abs(layers[1].blocks.back().difference - 3) < 1e-5,
             "the last channel is in the last block");
    for (std::size_t i = 0; i + 1 < layers[1].blocks.size(); ++i) {
      QCOMPARE(layers[1].blocks[i].difference, 0.0);
    }
  }
  QVERIFY(!refusal(ErrorCode::badArgument, [&] { difference(a, b, model->config(), 0); }).empty());
}

void StateAlgebraTest::bothPartsOfAComplexChannelAreInItsBlock() {
  const ModelConfig config = tinyConfig("R", 2, RgLru::complex);
  const auto model = Model::load(randomCheckpoint(config, 5));
  const HostState a = stateAfter(*model, 1, 30);
  const std::int64_t C = config.R / 2;
  for (const std::int64_t channel : {std::int64_t{0}, C - 1}) {
    HostState b = a;
    b.layers[1].h[static_cast<std::size_t>(channel)] += 3;
    b.layers[1].h[static_cast<std::size_t>(C + channel)] += 4;
    for (const std::int64_t blocks : {2, 1000}) {
      const auto found = difference(a, b, config, blocks)[1].blocks;
      QCOMPARE(found.size(), static_cast<std::size_t>(std::min(blocks, C)));
      QVERIFY(std::abs((channel == 0 ? found.front() : found.back()).difference - 5) < 1e-5);
      QCOMPARE((channel == 0 ? found.back() : found.front()).difference, 0.0);
    }
  }
}

void StateAlgebraTest::keysAreComparedWherePositionsAgree() {
  const auto model = tinyModel("A");
  const std::int64_t W = model->config().olderKeys();
  SequenceState state = model->newState();
  model->prefill(state, TestRandom(1).tokens(30, model->config().V), LogitRows::none);
  const HostState before = state.download();
  for (int i = 0; i < 3; ++i) model->step(state, i);
  const HostState after = state.download();
  // The same sequence three tokens later: what both hold is the same, and all but three keys are held by
  // both.
  const LayerDifference layer = difference(before, after, model->config())[0];
  QCOMPARE(layer.sharedKeys, W - 3);
  QCOMPARE(layer.keys.difference, 0.0);
  QVERIFY(layer.keys.normA > 0);
  for (std::int64_t i = 0; i < W; ++i) model->step(state, 1);
  QCOMPARE(difference(before, state.download(), model->config())[0].sharedKeys, std::int64_t{0});
}

void StateAlgebraTest::interpolationEndsAreTheStatesThemselves() {
  const auto model = tinyModel("RRA");
  HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 30);
  a.layers[0].h[0] = -0.0F;
  QVERIFY(sameBits(interpolate(a, b, 0, model->config()), a));
  QVERIFY(sameBits(interpolate(a, b, 1, model->config()), b));
}

void StateAlgebraTest::interpolationIsLinear() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 30);
  const HostState half = interpolate(a, b, 0.5, model->config());
  const HostState beyond = interpolate(a, b, 2, model->config());
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    for (const auto member : {&LayerState::h, &LayerState::tail, &LayerState::keys, &LayerState::values}) {
      const auto& x = a.layers[i].*member;
      const auto& y = b.layers[i].*member;
      for (std::size_t j = 0; j < x.size(); ++j) {
        QVERIFY(std::abs((half.layers[i].*member)[j] - (x[j] + y[j]) / 2) < 1e-6);
        QVERIFY(std::abs((beyond.layers[i].*member)[j] - (2 * y[j] - x[j])) < 1e-5);
      }
    }
  }
}

void StateAlgebraTest::interpolatedStateGoesOn() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 30);
  const auto predict = [&](const HostState& state) {
    SequenceState restored = model->restoreState(state);
    const auto logits = model->step(restored, 3);
    return std::vector<float>(logits.begin(), logits.end());
  };
  const auto ofA = predict(a);
  const double far = relativeError(predict(b), ofA);
  const double near = relativeError(predict(interpolate(a, b, 0.01, model->config())), ofA);
  QVERIFY2(near > 0 && near < far / 5, qPrintable(QString("%1 of %2").arg(near).arg(far)));
  // A Hawk's states have no place of their own.
  const auto hawk = tinyModel("R");
  const HostState mixed =
      interpolate(stateAfter(*hawk, 1, 10), stateAfter(*hawk, 2, 25), 0.5, hawk->config());
  QCOMPARE(mixed.position, std::int64_t{25});
  SequenceState state = hawk->restoreState(mixed);
  hawk->step(state, 1);
}

void StateAlgebraTest::transplantOfAllLayersIsACopy() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 30);
  std::vector<std::int64_t> all(6);
  std::iota(all.begin(), all.end(), 0);
  QVERIFY(sameBits(transplant(a, b, all, model->config()), b));
  QVERIFY(sameBits(transplant(a, b, {}, model->config()), a));
}

void StateAlgebraTest::transplantMovesOnlyWhatIsAsked() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 40);
  const std::vector<std::int64_t> some = {1, 4};
  const HostState result = transplant(a, b, some, model->config());
  QCOMPARE(result.position, a.position);
  for (std::size_t i = 0; i < 6; ++i) {
    const LayerState& expected = i == 1 || i == 4 ? b.layers[i] : a.layers[i];
    QVERIFY(sameBits(result.layers[i].h, expected.h) && sameBits(result.layers[i].tail, expected.tail) &&
            sameBits(result.layers[i].keys, expected.keys));
  }
}

void StateAlgebraTest::transplantedStateChangesTheFuture() {
  const auto model = tinyModel("RRA");
  const HostState a = stateAfter(*model, 1, 30);
  const HostState b = stateAfter(*model, 2, 30);
  SequenceState plain = model->restoreState(a);
  const std::vector<std::int64_t> first = {0};
  SequenceState changed = model->restoreState(transplant(a, b, first, model->config()));
  const auto logits = model->step(plain, 3);
  const std::vector<float> before(logits.begin(), logits.end());
  const auto after = model->step(changed, 3);
  QVERIFY(relativeError({after.begin(), after.end()}, before) > 1e-3);
}

void StateAlgebraTest::whatHasNoMeaningIsRefused() {
  const auto model = tinyModel("RRA");
  const ModelConfig& config = model->config();
  const HostState a = stateAfter(*model, 1, 30);
  const HostState later = stateAfter(*model, 2, 31);
  const std::vector<std::int64_t> attention = {2};
  const std::string mixed = refusal(ErrorCode::stateMismatch, [&] { interpolate(a, later, 0.5, config); });
  QVERIFY2(mixed.find("layer 2") != std::string::npos && mixed.find("30 and 31") != std::string::npos,
           mixed.c_str());
  QVERIFY(!refusal(ErrorCode::stateMismatch, [&] { interpolate(a, later, 0, config); }).empty());
  const std::string moved =
      refusal(ErrorCode::stateMismatch, [&] { transplant(a, later, attention, config); });
  QVERIFY2(moved.find("layer 2") != std::string::npos, moved.c_str());
  for (const double t : {std::nan(""), std::numeric_limits<double>::infinity(), 1e60, -1e308}) {
    const HostState b = stateAfter(*model, 2, 30);
    QVERIFY(!refusal(ErrorCode::badArgument, [&] { interpolate(a, b, t, config); }).empty());
  }
  for (const std::int64_t layer : {-1, 6}) {
    const std::vector<std::int64_t> layers = {layer};
    QVERIFY(!refusal(ErrorCode::badArgument, [&] { transplant(a, a, layers, config); }).empty());
  }
  const std::vector<std::int64_t> recurrent = {0};
  QVERIFY(!refusal(ErrorCode::stateMismatch, [&] {
             transplant(model->newState().download(), a, recurrent, config);
           }).empty());
  const auto hawk = tinyModel("R");
  const HostState other = stateAfter(*hawk, 1, 30);
  QVERIFY(!refusal(ErrorCode::stateMismatch, [&] { difference(a, other, config); }).empty());
  QVERIFY(!refusal(ErrorCode::stateMismatch, [&] { interpolate(other, a, 0.5, config); }).empty());
  QVERIFY(!refusal(ErrorCode::stateMismatch, [&] { transplant(a, other, recurrent, config); }).empty());
}

QTEST_GUILESS_MAIN(StateAlgebraTest)
#include "state_algebra_test.moc"
