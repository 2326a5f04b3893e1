// Edits of rows against the engine's rule, written out here: in order, each on what those before it left.
#include <limits>

#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;
using cuda::ColumnEdit;

namespace {

constexpr std::int64_t kOpen = std::numeric_limits<std::int64_t>::max();

std::vector<float> plainly(const std::vector<ColumnEdit>& edits, std::vector<float> rows,
                           std::int64_t width) {
  const std::int64_t T = static_cast<std::int64_t>(rows.size()) / width;
  for (const ColumnEdit& edit : edits) {
    for (std::int64_t t = edit.firstRow; t < std::min(T, edit.endRow); ++t) {
      for (std::int64_t i = edit.first; i < std::min(width, edit.end); ++i) {
        float& at = rows[asSize(t * width + i)];
        at = edit.scales != 0 ? at * edit.value : edit.value;
      }
    }
  }
  return rows;
}

// `count` of the edits, of which more may lie behind.
std::vector<float> onTheCard(const std::vector<ColumnEdit>& edits, std::vector<float> rows,
                             std::int64_t width, std::int64_t count) {
  cuda::EditColumnsArgs args;
  args.rows = rows.data();
  args.edits = edits.data();
  args.count = &count;
  args.T = static_cast<std::int64_t>(rows.size()) / width;
  args.width = width;
  cuda::editColumns(args, nullptr);
  return rows;
}

std::vector<float> onTheCard(const std::vector<ColumnEdit>& edits, const std::vector<float>& rows,
                             std::int64_t width) {
  return onTheCard(edits, rows, width, static_cast<std::int64_t>(edits.size()));
}

// Overlapping ranges of two sequences, of which rows 0 and 1 are the first's.
const std::vector<ColumnEdit> kEdits{{0, 2, 3, 9, 2.5F, 0},     {0, 2, 5, 70, -2.0F, 1},
                                     {2, kOpen, 0, 4, 0.0F, 1}, {1, 3, 6, 7, 0.25F, 0},
                                     {1, 2, 0, 0, 9.0F, 0},     {4, kOpen, 60, kOpen, 3.0F, 1}};

}  // namespace

class CudaEditColumnsTest : public QObject {
  Q_OBJECT

 private slots:
  void editsActInOrderOnTheirRowsAndColumns();
  void numberOfEditsIsReadOnTheCard();
  void setReplacesNan();
  void otherOrdersOfEditsAreRejected();
  void addToAddsEveryElementOnce();
};

void CudaEditColumnsTest::editsActInOrderOnTheirRowsAndColumns() {
  forEachOrder([](const std::string& order) {
    for (const std::int64_t width : {1, 7, 66, 130}) {
      for (const std::int64_t T : {0, 1, 2, 5, 9}) {
        const std::vector<float> rows = randomVector(T * width, 11);
        QVERIFY2(onTheCard(kEdits, rows, width) == plainly(kEdits, rows, width),
                 (order + ", T " + std::to_string(T) + ", width " + std::to_string(width)).c_str());
      }
    }
  });
}

void CudaEditColumnsTest::numberOfEditsIsReadOnTheCard() {
  const std::vector<float> rows = randomVector(5 * 66, 12);
  for (std::size_t count = 0; count <= kEdits.size(); ++count) {
    const std::vector<ColumnEdit> few(kEdits.begin(), kEdits.begin() + static_cast<std::ptrdiff_t>(count));
    QVERIFY(onTheCard(kEdits, rows, 66, static_cast<std::int64_t>(count)) == plainly(few, rows, 66));
  }
  QVERIFY(onTheCard({}, rows, 66) == rows);
}

void CudaEditColumnsTest::setReplacesNan() {
  const std::vector<float> rows(14, NAN);
  QVERIFY(onTheCard({{0, kOpen, 0, kOpen, 0.0F, 0}}, rows, 7) == std::vector<float>(14, 0.0F));
  QVERIFY(std::isnan(onTheCard({{0, kOpen, 0, kOpen, 0.0F, 1}}, rows, 7)[13]));
}

void CudaEditColumnsTest::otherOrdersOfEditsAreRejected() {
  const std::vector<float> rows = randomVector(5 * 66, 13);
  const std::vector<ColumnEdit> reversed(kEdits.rbegin(), kEdits.rend());
  QVERIFY(onTheCard(reversed, rows, 66) != plainly(kEdits, rows, 66));
}

void CudaEditColumnsTest::addToAddsEveryElementOnce() {
  for (const std::int64_t n : {0, 1, 255, 256, 1000}) {
    std::vector<float> to = randomVector(n, 14);
    const std::vector<float> from = randomVector(n, 15);
    std::vector<float> expected = to;
    for (std::size_t i = 0; i < to.size(); ++i) expected[i] += from[i];
    cuda::addTo({to.data(), from.data(), n}, nullptr);
    QVERIFY(to == expected);
  }
}

QTEST_APPLESS_MAIN(CudaEditColumnsTest)
#include "edit_columns_test.moc"
