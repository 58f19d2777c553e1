// CompressionTest: a worker that compresses, and the sum of what it has sent
// and what it holds back.

#ifndef ACCRUE_TESTS_CLIENT_COMPRESSION_FIXTURE_H_
#define ACCRUE_TESTS_CLIENT_COMPRESSION_FIXTURE_H_

#include <vector>

#include "accrue/client.h"
#include "tests/client/decode.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {

class CompressionTest : public SdkTest {
 protected:
  static constexpr size_t kElems = 17;  // of the fixture's model

  Worker OpenCompressed(const Compression& compression) {
    compression_ = compression;
    return ValueOf(OpenModel().OpenWorker({.compression = compression}));
  }

  absl::StatusOr<PushResult> Push(Worker& worker,
                                  const std::vector<float>& gradient,
                                  absl::Duration timeout = absl::Seconds(60)) {
    const v1::Version newest = daemon_.version();
    return worker.Push(gradient,
                       {.version = Version{newest.lineage(), newest.number()},
                        .timeout = timeout});
  }

  // Of step `step`, in integers.
  static std::vector<float> Gradient(int step) {
    std::vector<float> gradient(kElems);
    for (size_t i = 0; i < kElems; ++i) {
      gradient[i] = static_cast<float>(
          static_cast<int>(i * i * 7 + step * 131) % 1999 - 999);
    }
    return gradient;
  }

  // Of everything that was folded, and of what is held back.
  std::vector<double> Sum(const Worker& worker) const {
    std::vector<double> sum(kElems);
    for (const FoldedPush& push : daemon_.folded()) {
      const std::vector<float> sent =
          DecodePayload(compression_.encoding, push.payload, kElems);
      for (size_t i = 0; i < kElems; ++i) sum[i] += sent[i];
    }
    const std::vector<float> residual = worker.residual();
    for (size_t i = 0; i < residual.size(); ++i) sum[i] += residual[i];
    return sum;
  }

  Compression compression_;
};

}  // namespace accrue::client

#endif  // ACCRUE_TESTS_CLIENT_COMPRESSION_FIXTURE_H_
