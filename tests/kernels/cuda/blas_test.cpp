#include "kernels/cuda/blas.h"

#include <QTest>
#include <string>

using eyrie::kernels::cuda::Blas;
using eyrie::kernels::cuda::CudaError;

class CudaBlasTest : public QObject {
  Q_OBJECT

 private slots:
  void opensOrSaysWhatFailed();
};

// Passes with and without cuBLAS, a GPU or a driver: the library is looked for when it is wanted, not when
// the program starts. (What it computes is tested where there is a GPU.)
void CudaBlasTest::opensOrSaysWhatFailed() {
  try {
    const Blas blas(nullptr);
    qInfo("cuBLAS: opened");
  } catch (const CudaError& error) {
    const std::string what = error.what();
    QVERIFY2(what.find("libcublasLt.so") != std::string::npos && what.find('\n') == std::string::npos,
             what.c_str());
    QVERIFY(error.status() != 0);
    qInfo("%s", what.c_str());
  }
}

QTEST_APPLESS_MAIN(CudaBlasTest)
#include "blas_test.moc"
