#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/range.h"

namespace eyrie::kernels::cuda {
namespace {

// The functions of cuBLASLt in use, by their names without the prefix.
struct Library {
  std::string name;
  decltype(&cublasLtGetStatusString) GetStatusString;
  decltype(&cublasLtCreate) Create;
  decltype(&cublasLtDestroy) Destroy;
  decltype(&cublasLtMatmul) Matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) MatmulAlgoGetHeuristic;
  decltype(&cublasLtMatmulDescCreate) MatmulDescCreate;
  decltype(&cublasLtMatmulDescDestroy) MatmulDescDestroy;
  decltype(&cublasLtMatmulDescSetAttribute) MatmulDescSetAttribute;
  decltype(&cublasLtMatmulPreferenceCreate) MatmulPreferenceCreate;
  decltype(&cublasLtMatmulPreferenceDestroy) MatmulPreferenceDestroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) MatmulPreferenceSetAttribute;
  decltype(&cublasLtMatrixLayoutCreate) MatrixLayoutCreate;
  decltype(&cublasLtMatrixLayoutDestroy) MatrixLayoutDestroy;
  decltype(&cublasLtMatrixLayoutSetAttribute) MatrixLayoutSetAttribute;
};

template <class Function>
void find(void* opened, const Library& library, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(dlsym(opened, symbol));
  if (function == nullptr) throw CudaError(library.name + " has no " + symbol, CUBLAS_STATUS_NOT_SUPPORTED);
}

#define EYRIE_FIND(function) find(opened, library, "cublasLt" #function, library.function)

Library openLibrary() {
  Library library{};
  void* opened = nullptr;
  std::string reasons;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"}) {
    opened = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    library.name = name;
    if (opened != nullptr) break;
    reasons += (reasons.empty() ? "" : "; ") + std::string(dlerror());
  }
  if (opened == nullptr)
    throw CudaError("cuBLAS cannot be opened: " + reasons, CUBLAS_STATUS_NOT_INITIALIZED);
  EYRIE_FIND(GetStatusString);
  EYRIE_FIND(Create);
  EYRIE_FIND(Destroy);
  EYRIE_FIND(Matmul);
  EYRIE_FIND(MatmulAlgoGetHeuristic);
  EYRIE_FIND(MatmulDescCreate);
  EYRIE_FIND(MatmulDescDestroy);
  EYRIE_FIND(MatmulDescSetAttribute);
  EYRIE_FIND(MatmulPreferenceCreate);
  EYRIE_FIND(MatmulPreferenceDestroy);
  EYRIE_FIND(MatmulPreferenceSetAttribute);
  EYRIE_FIND(MatrixLayoutCreate);
  EYRIE_FIND(MatrixLayoutDestroy);
  EYRIE_FIND(MatrixLayoutSetAttribute);
  return library;
}

// Stays open until the process ends, as its handles may.
const Library& library() {
  static const Library opened = openLibrary();
  return opened;
}

void check(cublasStatus_t status, const char* function) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(library().name + ": cublasLt" + function + ": " + library().GetStatusString(status),
                  status);
}

// Owner of one of cuBLAS's objects.
template <class T, class Destroy>
class Owned {
 public:
  explicit Owned(Destroy destroy) : destroy_(destroy) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)), destroy_(other.destroy_) {}
  Owned& operator=(Owned&&) = delete;
  ~Owned() {
    if (object_ != nullptr) destroy_(object_);
  }
  T* address() { return &object_; }
  operator T() const { return object_; }

 private:
  T object_ = nullptr;
  Destroy destroy_;
};

using Handle = Owned<cublasLtHandle_t, decltype(&cublasLtDestroy)>;
using Description = Owned<cublasLtMatmulDesc_t, decltype(&cublasLtMatmulDescDestroy)>;
using Preference = Owned<cublasLtMatmulPreference_t, decltype(&cublasLtMatmulPreferenceDestroy)>;
using Layout = Owned<cublasLtMatrixLayout_t, decltype(&cublasLtMatrixLayoutDestroy)>;

template <class Value>
void set(const Description& to, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(library().MatmulDescSetAttribute(to, attribute, &value, sizeof value), "MatmulDescSetAttribute");
}
template <class Value>
void set(const Preference& to, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  check(library().MatmulPreferenceSetAttribute(to, attribute, &value, sizeof value),
        "MatmulPreferenceSetAttribute");
}
template <class Value>
void set(const Layout& to, cublasLtMatrixLayoutAttribute_t attribute, const Value& value) {
  check(library().MatrixLayoutSetAttribute(to, attribute, &value, sizeof value), "MatrixLayoutSetAttribute");
}

cudaDataType_t typeOf(DType dtype) {
  if (dtype == DType::f32) return CUDA_R_32F;
  return dtype == DType::f16 ? CUDA_R_16F : CUDA_R_16BF;
}

// cuBLAS counts columns first: our row-major matrix is its transposed one.
Layout layoutOf(cudaDataType_t type, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                std::int64_t blocks, std::int64_t step) {
  Layout layout(library().MatrixLayoutDestroy);
  check(library().MatrixLayoutCreate(layout.address(), type, static_cast<std::uint64_t>(cols),
                                     static_cast<std::uint64_t>(rows), stride),
        "MatrixLayoutCreate");
  if (blocks > 1) {
    set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(blocks));
    set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, step);
  }
  return layout;
}

// Bytes, at most 256, that an address is a multiple of.
std::uint32_t alignmentOf(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 256;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

// All that an algorithm is chosen by.
using Key = std::tuple<DType, DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       std::int64_t, bool, bool, std::uint32_t, std::uint32_t, std::uint32_t>;

Key keyOf(const Product& p) {
  return {p.dtype,
          p.outType,
          p.T,
          p.rows,
          p.cols,
          p.xStride,
          p.outStride,
          p.blocks,
          p.byColumns,
          p.bias != nullptr,
          alignmentOf(p.weight),
          alignmentOf(p.x),
          alignmentOf(p.out)};
}

Description describe(const Product& p) {
  Description description(library().MatmulDescDestroy);
  check(library().MatmulDescCreate(description.address(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "MatmulDescCreate");
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, p.byColumns ? CUBLAS_OP_N : CUBLAS_OP_T);
  if (p.bias != nullptr) {
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(CUDA_R_32F));
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    if (p.blocks > 1) set(description, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, p.rows);
  }
  return description;
}

// A product of one shape, ready to run.
struct Plan {
  explicit Plan(const Product& p)
      : description(describe(p)),
        weight(layoutOf(typeOf(p.dtype), p.byColumns ? p.cols : p.rows, p.byColumns ? p.rows : p.cols,
                        p.byColumns ? p.rows : p.cols, p.blocks, p.rows * p.cols)),
        x(layoutOf(typeOf(p.dtype), p.T, p.cols, p.xStride, p.blocks, p.cols)),
        out(layoutOf(typeOf(p.outType), p.T, p.rows, p.outStride, p.blocks, p.rows)) {}

  void choose(const Handle& handle, const Product& p);

  Description description;
  Layout weight, x, out;
  std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: cuBLAS has none
};

void Plan::choose(const Handle& handle, const Product& p) {
  Preference preference(library().MatmulPreferenceDestroy);
  check(library().MatmulPreferenceCreate(preference.address()), "MatmulPreferenceCreate");
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{Blas::kWorkspaceBytes});
  // Parts of a sum are joined in f32, whatever the result's type.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignmentOf(p.weight));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignmentOf(p.x));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignmentOf(p.out));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignmentOf(p.out));
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = library().MatmulAlgoGetHeuristic(handle, description, weight, x, out, out,
                                                                 preference, 1, &best, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH) return;
  check(status, "MatmulAlgoGetHeuristic");
  if (found > 0 && best.state == CUBLAS_STATUS_SUCCESS) algorithm = best.algo;
}

}  // namespace

struct Blas::Parts {
  Handle handle{library().Destroy};
  void* workspace = nullptr;
  std::map<Key, Plan> plans;
};

Blas::Blas(void* workspace) : parts_(std::make_unique<Parts>()) {
  check(library().Create(parts_->handle.address()), "Create");
  parts_->workspace = workspace;
}

Blas::~Blas() = default;

bool Blas::product(const Product& p, Stream stream) {
  constexpr std::size_t kMostPlans = 1024;  // a chunk may have any length
  if (p.T == 0 || p.rows == 0) return true;
  const Range range("cuBLAS");
  const Key key = keyOf(p);
  auto at = parts_->plans.find(key);
  if (at == parts_->plans.end()) {
    const Range choosing("cuBLAS chooses");
    if (parts_->plans.size() == kMostPlans) parts_->plans.clear();
    at = parts_->plans.emplace(key, Plan(p)).first;
    at->second.choose(parts_->handle, p);
  }
  const Plan& plan = at->second;
  if (!plan.algorithm) return false;
  if (p.bias != nullptr) set(plan.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
  const float alpha = 1.0F;
  const float beta = p.accumulate ? 1.0F : 0.0F;
  check(library().Matmul(parts_->handle, plan.description, &alpha, p.weight, plan.weight, p.x, plan.x, &beta,
                         p.out, plan.out, p.out, plan.out, &*plan.algorithm, parts_->workspace,
                         Blas::kWorkspaceBytes, stream),
        "Matmul");
  return true;
}

}  // namespace eyrie::kernels::cuda
