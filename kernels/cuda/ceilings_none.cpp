#include "kernels/cuda/ceilings.h"
#include "kernels/cuda/stream.h"

namespace eyrie::kernels::cuda {
namespace {

[[noreturn]] void refuse() {
  throw CudaError("built without CUDA", 0);
}

}  // namespace

struct CopyProbe::Parts {};
CopyProbe::CopyProbe(std::int64_t) {
  refuse();
}
CopyProbe::~CopyProbe() = default;
double CopyProbe::bytesPerSecond() {
  refuse();
}

struct UploadProbe::Parts {};
UploadProbe::UploadProbe(std::int64_t) {
  refuse();
}
UploadProbe::~UploadProbe() = default;
double UploadProbe::busBytesPerSecond() {
  refuse();
}
double UploadProbe::bytesPerSecond() {
  refuse();
}

struct GemmProbe::Parts {};
GemmProbe::GemmProbe(std::vector<cpu::GemmShape>) {
  refuse();
}
GemmProbe::~GemmProbe() = default;
double GemmProbe::flopsPerSecond() {
  refuse();
}

struct ScanProbe::Parts {};
ScanProbe::ScanProbe(std::int64_t, std::int64_t, std::int64_t) {
  refuse();
}
ScanProbe::~ScanProbe() = default;
double ScanProbe::seconds() {
  refuse();
}
OpCost ScanProbe::cost() const {
  refuse();
}

}  // namespace eyrie::kernels::cuda
