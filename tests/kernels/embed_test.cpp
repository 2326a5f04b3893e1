#include "kernels/embed.h"

#include "tests/kernels/kernel_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

class EmbedTest : public QObject {
  Q_OBJECT

 private slots:
  void rowsTimesScaleAtEveryTail();
  void trap17ScaleIsRoundedToBf16();
};

void EmbedTest::rowsTimesScaleAtEveryTail() {
  const std::vector<std::int32_t> tokens{3, 0, 4, 4, 1};
  forEachSetup([&](ThreadPool& pool, const std::string& setup) {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      for (const std::int64_t D : tailLengths()) {
        const StoredMatrix table = randomMatrix(5, D, dtype, 91, D % 3);
        std::vector<double> expected;
        for (const std::int32_t token : tokens) {
          for (std::int64_t d = 0; d < D; ++d)
            expected.push_back(double{table.values[asSize(token * D + d)]} * 50.5);
        }
        OffsetArray out(std::vector<float>(expected.size()), 1);
        const EmbedArgs args{table.view, tokens.data(), 50.5F, 5, out.data()};
        cpu::embed(args, pool);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("embed", 1), setup + dtypeName(dtype));
        reference::embed(args);
        EYRIE_VERIFY_CLOSE(out.values(), expected, toleranceFor("embed", 1), setup + dtypeName(dtype));
        std::vector<double> unrounded = expected;
        for (double& value : unrounded) value *= std::sqrt(2560.0) / 50.5;
        if (D > 0) EYRIE_VERIFY_REJECTS(unrounded, expected, toleranceFor("embed", 1), "scale 50.596");
      }
    }
  });
}

void EmbedTest::trap17ScaleIsRoundedToBf16() {
  QCOMPARE(embeddingScale(2560), 50.5F);
  QCOMPARE(embeddingScale(4096), 64.0F);
  QCOMPARE(embeddingScale(64), 8.0F);
  QCOMPARE(embeddingScale(160), 12.625F);
}

QTEST_APPLESS_MAIN(EmbedTest)
#include "embed_test.moc"
