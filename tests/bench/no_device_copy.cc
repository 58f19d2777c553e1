#include "tests/bench/bench_gpu.h"

namespace accrue::bench {

absl::Status CopyOnDevice(Stream&, void*, const void*, int64_t) {
  return absl::FailedPreconditionError("Accrue was built without CUDA");
}

}  // namespace accrue::bench
