// DeviceKernelsTest: tests of a GPU's kernels, on the CPU and on a real GPU
// where there is one.
#ifndef ACCRUE_TESTS_KERNELS_DEVICE_KERNELS_FIXTURE_H_
#define ACCRUE_TESTS_KERNELS_DEVICE_KERNELS_FIXTURE_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "server/device/gpu.h"
#include "server/kernels/device_kernels.h"
#include "tests/device/fake_gpu.h"
#include "tests/device/lacks_gpu.h"
#include "tests/kernels/host_kernels.h"

namespace accrue::kernels {

struct OpenedKernels {
  std::unique_ptr<Gpu> gpu;
  std::unique_ptr<DeviceKernels> kernels;
};

struct KernelsBackend {
  std::string name;
  absl::StatusOr<OpenedKernels> (*open)();
};

inline void PrintTo(const KernelsBackend& backend, std::ostream* out) {
  *out << backend.name;
}

inline absl::StatusOr<OpenedKernels> OpenHostKernels() {
  return OpenedKernels{std::make_unique<FakeGpu>(FakeGpuOptions()),
                       MakeHostKernels()};
}

inline absl::StatusOr<OpenedKernels> OpenCudaKernels() {
  auto gpus = OpenCudaGpus({});
  if (!gpus.ok()) return gpus.status();
  return OpenedKernels{std::move(gpus->front()), MakeCudaKernels()};
}

inline auto AllKernels() {
  return testing::Values(KernelsBackend{"Host", OpenHostKernels},
                         KernelsBackend{"Cuda", OpenCudaKernels});
}

inline std::string KernelsName(
    const testing::TestParamInfo<KernelsBackend>& backend) {
  return backend.param.name;
}

// An array on the device, `skipped` elements behind an aligned address. Without
// memory for it its test fails: value() throws, and says why.
template <class T>
class DeviceArray {
 public:
  DeviceArray(Gpu& gpu, Stream& stream, const std::vector<T>& values,
              int64_t skipped = 0)
      : stream_(stream),
        bytes_(static_cast<int64_t>(values.size() * sizeof(T))),
        host_(gpu.AllocateHost(bytes_ + 1, MemoryTag::kOther, nullptr).value()),
        device_(gpu.Allocate(bytes_ + 1 + skipped * int64_t{sizeof(T)},
                             MemoryTag::kOther, nullptr)
                    .value()),
        data_(static_cast<T*>(device_.data()) + skipped) {
    if (bytes_ == 0) return;
    std::memcpy(host_.data(), values.data(), static_cast<size_t>(bytes_));
    EXPECT_TRUE(stream.CopyToDevice(data_, host_.data(), bytes_).ok());
    EXPECT_TRUE(stream.Synchronize().ok());
  }

  T* data() const { return data_; }

  std::vector<T> Read() const {
    std::vector<T> values(static_cast<size_t>(bytes_) / sizeof(T));
    if (bytes_ == 0) return values;
    EXPECT_TRUE(stream_.CopyToHost(host_.data(), data_, bytes_).ok());
    EXPECT_TRUE(stream_.Synchronize().ok());
    std::memcpy(values.data(), host_.data(), static_cast<size_t>(bytes_));
    return values;
  }

 private:
  Stream& stream_;
  int64_t bytes_;
  Buffer host_, device_;
  T* data_;
};

template <class T>
testing::AssertionResult SameBytes(const std::vector<T>& got,
                                   const std::vector<T>& want) {
  if (got.size() != want.size()) return testing::AssertionFailure() << "size";
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &want[i], sizeof(T)) == 0) continue;
    return testing::AssertionFailure()
           << "element " << i << ": " << testing::PrintToString(got[i])
           << ", want " << testing::PrintToString(want[i]);
  }
  return testing::AssertionSuccess();
}

class DeviceKernelsTest : public testing::TestWithParam<KernelsBackend> {
 protected:
  void SetUp() override {
    auto opened = GetParam().open();
    if (LacksGpu(opened.status())) GTEST_SKIP() << opened.status();
    ASSERT_TRUE(opened.ok()) << opened.status();
    opened_ = *std::move(opened);
    auto stream = opened_.gpu->NewStream();
    ASSERT_TRUE(stream.ok()) << stream.status();
    stream_ = *std::move(stream);
  }

  DeviceKernels& kernels() { return *opened_.kernels; }
  Stream& stream() { return *stream_; }

  template <class T>
  DeviceArray<T> Put(const std::vector<T>& values, int64_t skipped = 0) {
    return DeviceArray<T>(*opened_.gpu, *stream_, values, skipped);
  }

 private:
  OpenedKernels opened_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_KERNELS_DEVICE_KERNELS_FIXTURE_H_
