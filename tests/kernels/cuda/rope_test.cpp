#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

std::vector<float> tableOf(const std::vector<std::int64_t>& positions, std::int64_t rotary,
                           double theta = 10000.0) {
  std::vector<float> table(positions.size() * asSize(rotary), NAN);
  cuda::ropeTable(
      {positions.data(), theta, static_cast<std::int64_t>(positions.size()), rotary, table.data()}, nullptr);
  return table;
}

}  // namespace

class CudaRopeTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesReference();
  void trap21FarPositionsKeepTheirAngles();
  void newKeysAreRotatedIntoTheRing();
  void ringAppendKeepsTheLastRows();
  void trap20ToleranceRejectsFullRotation();
};

void CudaRopeTest::matchesReference() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t Dh : {2, 6, 34, 256}) {
      const std::int64_t rotary = Dh == 2 ? 2 : Dh / 2 / 2 * 2;
      std::vector<float> x = randomVector(3 * 5 * Dh, 1);
      std::vector<float> expected = x;
      reference::rope({expected.data(), 70, 10000.0, 3, 5, Dh, rotary});
      const std::vector<float> table = tableOf({70, 71, 72}, rotary);
      cuda::rope({x.data(), table.data(), 3, 5, Dh, rotary}, nullptr);
      EYRIE_VERIFY_CLOSE(x, expected, toleranceFor("rope", 2), order + ", Dh " + std::to_string(Dh));
    }
  });
}

void CudaRopeTest::trap21FarPositionsKeepTheirAngles() {
  std::vector<float> x = randomVector(2 * 64, 2);
  std::vector<float> expected = x;
  reference::rope({expected.data(), 1'000'000, 10000.0, 2, 1, 64, 32});
  const std::vector<float> near = x;
  const std::vector<float> table = tableOf({1'000'000, 1'000'001}, 32);
  cuda::rope({x.data(), table.data(), 2, 1, 64, 32}, nullptr);
  EYRIE_VERIFY_CLOSE(x, expected, toleranceFor("rope", 2), "position 1,000,000");
  EYRIE_VERIFY_REJECTS(near, expected, toleranceFor("rope", 2), "not rotated");
}

void CudaRopeTest::newKeysAreRotatedIntoTheRing() {
  const std::int64_t N = 3, H = 4, kvHeads = 2, Dh = 20, rotary = 10, capacity = 7;
  const std::vector<std::int64_t> positions{0, 6, 100};
  forEachOrder([&](const std::string& order) {
    std::vector<float> q = randomVector(N * H * Dh, 3);
    const std::vector<float> k = randomVector(N * kvHeads * Dh, 4);
    const std::vector<float> v = randomVector(N * kvHeads * Dh, 5);
    std::vector<float> expectedQ = q, expectedK = k;
    std::vector<std::vector<float>> keys(3, std::vector<float>(asSize(capacity * kvHeads * Dh), -1.0F));
    std::vector<std::vector<float>> values = keys, expectedKeys = keys, expectedValues = keys;
    std::vector<float*> keyRings, valueRings;
    for (std::int64_t n = 0; n < N; ++n) {
      const std::int64_t position = positions[asSize(n)];
      reference::rope({expectedQ.data() + n * H * Dh, position, 10000.0, 1, H, Dh, rotary});
      reference::rope({expectedK.data() + n * kvHeads * Dh, position, 10000.0, 1, kvHeads, Dh, rotary});
      ringAppend({expectedK.data() + n * kvHeads * Dh,
                  v.data() + n * kvHeads * Dh,
                  {expectedKeys[asSize(n)].data(), expectedValues[asSize(n)].data(), capacity},
                  position,
                  1,
                  kvHeads,
                  Dh});
      keyRings.push_back(keys[asSize(n)].data());
      valueRings.push_back(values[asSize(n)].data());
    }
    const std::vector<float> table = tableOf(positions, rotary);
    cuda::ropeAppend({q.data(),
                      k.data(),
                      v.data(),
                      table.data(),
                      {keyRings.data(), valueRings.data(), capacity, positions.data()},
                      N,
                      H,
                      kvHeads,
                      Dh,
                      rotary},
                     nullptr);
    EYRIE_VERIFY_CLOSE(q, expectedQ, toleranceFor("rope", 2), order + " queries");
    for (std::size_t n = 0; n < keys.size(); ++n) {
      EYRIE_VERIFY_CLOSE(keys[n], expectedKeys[n], toleranceFor("rope", 2), order + " keys");
      QCOMPARE(values[n], expectedValues[n]);
    }
  });
}

void CudaRopeTest::ringAppendKeepsTheLastRows() {
  const std::vector<float> k = randomVector(9 * 6, 6), v = randomVector(9 * 6, 7);
  forEachOrder([&](const std::string&) {
    for (const std::int64_t capacity : {0, 4, 9, 12}) {
      std::vector<float> keys(asSize(capacity * 6), -1.0F);
      std::vector<float> values = keys, expectedKeys = keys, expectedValues = keys;
      ringAppend({k.data(), v.data(), {expectedKeys.data(), expectedValues.data(), capacity}, 5, 9, 2, 3});
      cuda::ringAppend({k.data(), v.data(), {keys.data(), values.data(), capacity}, 5, 9, 2, 3}, nullptr);
      QCOMPARE(keys, expectedKeys);
      QCOMPARE(values, expectedValues);
    }
  });
}

void CudaRopeTest::trap20ToleranceRejectsFullRotation() {
  std::vector<float> x = randomVector(32, 8);
  std::vector<float> expected = x;
  reference::rope({expected.data(), 3, 10000.0, 1, 1, 32, 16});
  const std::vector<float> table = tableOf({3}, 32);
  cuda::rope({x.data(), table.data(), 1, 1, 32, 32}, nullptr);
  EYRIE_VERIFY_REJECTS(x, expected, toleranceFor("rope", 2), "all of a head rotated");
}

QTEST_APPLESS_MAIN(CudaRopeTest)
#include "rope_test.moc"
