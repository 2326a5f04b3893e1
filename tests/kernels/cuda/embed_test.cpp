#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

class CudaEmbedTest : public QObject {
  Q_OBJECT

 private slots:
  void matchesReference();
  void toleranceRejectsAnUnroundedScale();
};

void CudaEmbedTest::matchesReference() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      for (const std::int64_t D : {1, 7, 300}) {
        const StoredMatrix table = randomMatrix(11, D, dtype, 1, 1);
        const std::vector<std::int32_t> tokens{3, 10, 0, 3};
        std::vector<float> expected(asSize(4 * D)), out(asSize(4 * D), NAN);
        EmbedArgs args{table.view, tokens.data(), 50.5F, 4, expected.data()};
        reference::embed(args);
        args.out = out.data();
        cuda::embed(args, nullptr);
        EYRIE_VERIFY_CLOSE(out, expected, toleranceFor("embed", 1), order);
        args.T = 0;
        cuda::embed(args, nullptr);
      }
    }
  });
}

void CudaEmbedTest::toleranceRejectsAnUnroundedScale() {
  const StoredMatrix table = randomMatrix(3, 2560, DType::bf16, 2);
  const std::vector<std::int32_t> tokens{1};
  std::vector<float> expected(2560), out(2560);
  reference::embed({table.view, tokens.data(), embeddingScale(2560), 1, expected.data()});
  cuda::embed({table.view, tokens.data(), std::sqrt(2560.0F), 1, out.data()}, nullptr);
  EYRIE_VERIFY_REJECTS(out, expected, toleranceFor("embed", 1), "sqrt(D) not rounded to bf16");
}

QTEST_APPLESS_MAIN(CudaEmbedTest)
#include "embed_test.moc"
