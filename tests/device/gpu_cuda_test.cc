// Against the GPUs of this machine; without any, all but the refusals skip.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/device/gpu.h"
#include "server/device/staging_ring.h"
#include "tests/device/lacks_gpu.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

TEST(OpenCudaGpusTest, WhatIsNotThereIsNotFoundAndTheReasonIsNamed) {
  for (const int index : {99, -1}) {
    const auto gpus = OpenCudaGpus({index});
    EXPECT_EQ(gpus.status().code(), absl::StatusCode::kNotFound);
    EXPECT_NE(gpus.status().message(), "");
  }
  const auto all = OpenCudaGpus({});
  if (all.ok()) {
    EXPECT_FALSE(all->empty());
  } else {
    EXPECT_NE(all.status().message(), "");
  }
}

class CudaGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto gpus = OpenCudaGpus({});
    if (LacksGpu(gpus.status())) GTEST_SKIP() << gpus.status();
    ASSERT_TRUE(gpus.ok()) << gpus.status();
    gpu_ = std::move(gpus->front());
  }

  Buffer Device(int64_t size_bytes) {
    auto buffer = gpu_->Allocate(size_bytes, MemoryTag::kMomentum, &ledger_);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    return buffer.ok() ? *std::move(buffer) : Buffer();
  }

  Buffer Host(int64_t size_bytes) {
    auto buffer = gpu_->AllocateHost(size_bytes, MemoryTag::kStaging, &ledger_);
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    return buffer.ok() ? *std::move(buffer) : Buffer();
  }

  std::unique_ptr<Stream> NewStream() { return *gpu_->NewStream(); }

  // That bytes come back from the device as they went there.
  void ExpectItServes() {
    const std::string text = "to the device and back";
    const auto size = static_cast<int64_t>(text.size());
    const Buffer there = Host(size);
    const Buffer back = Host(size);
    const Buffer device = Device(size);
    const auto stream = NewStream();
    std::memcpy(there.data(), text.data(), text.size());
    ASSERT_TRUE(stream->CopyToDevice(device.data(), there.data(), size).ok());
    ASSERT_TRUE(stream->CopyToHost(back.data(), device.data(), size).ok());
    ASSERT_TRUE(stream->Synchronize().ok());
    EXPECT_EQ(std::memcmp(back.data(), text.data(), text.size()), 0);
    EXPECT_TRUE(gpu_->health().ok()) << gpu_->health();
  }

  MemoryLedger ledger_;
  std::unique_ptr<Gpu> gpu_;
};

TEST_F(CudaGpuTest, NamesAndMemoryAreTheDevices) {
  EXPECT_EQ(gpu_->name().substr(0, 5), "cuda:");
  EXPECT_NE(gpu_->product(), "");
  const auto memory = gpu_->memory();
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_GT(memory->free_bytes, 0);
  EXPECT_GE(memory->total_bytes, memory->free_bytes);
  EXPECT_TRUE(gpu_->health().ok());
  const auto same = OpenCudaGpus({std::stoi(gpu_->name().substr(5))});
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->front()->name(), gpu_->name());
}

TEST_F(CudaGpuTest, BuffersAreZeroAlignedAndCharged) {
  for (const int64_t size : {0, 1, 255, 4096, 100003, 3 << 20}) {
    SCOPED_TRACE(size);
    {
      const Buffer device = Device(size);
      const Buffer host = Host(size);
      EXPECT_EQ(device.size_bytes(), size);
      EXPECT_EQ(host.size_bytes(), size);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(device.data()) % 256, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(host.data()) % 64, 0u);
      EXPECT_EQ(ledger_.live_bytes(MemoryTag::kMomentum), size);
      EXPECT_EQ(ledger_.live_bytes(MemoryTag::kStaging), size);
      const std::string zeros(static_cast<size_t>(size), '\0');
      EXPECT_EQ(std::memcmp(host.data(), zeros.data(), zeros.size()), 0);
      std::memset(host.data(), 1, zeros.size());
      const auto stream = NewStream();
      ASSERT_TRUE(stream->CopyToHost(host.data(), device.data(), size).ok());
      ASSERT_TRUE(stream->Synchronize().ok());
      EXPECT_EQ(std::memcmp(host.data(), zeros.data(), zeros.size()), 0);
    }
    EXPECT_EQ(ledger_.live_bytes(MemoryTag::kMomentum), 0);
    EXPECT_EQ(ledger_.live_bytes(MemoryTag::kStaging), 0);
  }
}

TEST_F(CudaGpuTest, WhatDoesNotFitIsRefusedAndTheGpuServesOn) {
  for (const int64_t size : {int64_t{1} << 50, INT64_MAX, int64_t{-1}}) {
    const auto buffer = gpu_->Allocate(size, MemoryTag::kMomentum, &ledger_);
    EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(GetErrorInfo(buffer.status()).reason, Reason::kDeviceMemory);
    EXPECT_EQ(GetErrorInfo(buffer.status()).subject, gpu_->name());
    EXPECT_THAT(std::string(buffer.status().message()),
                HasSubstr(absl::StrCat(gpu_->name(), ": no memory for ", size,
                                       " bytes of momentum: ")));
    EXPECT_EQ(ledger_.live_bytes(MemoryTag::kMomentum), 0);
    ExpectItServes();
  }
  EXPECT_EQ(
      gpu_->AllocateHost(-1, MemoryTag::kStaging, nullptr).status().code(),
      absl::StatusCode::kResourceExhausted);
  ExpectItServes();
}

TEST_F(CudaGpuTest, AnArgumentThatIsNoMemoryFailsItsCallAlone) {
  const absl::Status status = NewStream()->Zero(nullptr, 64);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cudaMemsetAsync of 64 bytes: cudaErrorInvalidValue"));
  ExpectItServes();
}

TEST_F(CudaGpuTest, AnEventIsWaitedForAsFarAsItWasRecorded) {
  constexpr int64_t kSize = int64_t{64} << 20;
  const Buffer host = Host(kSize);
  const Buffer device = Device(kSize);
  const auto stream = NewStream();
  const auto event = *gpu_->NewEvent();
  EXPECT_TRUE(event->Wait().ok());  // never recorded
  auto* const bytes = static_cast<char*>(host.data());
  for (char round = 1; round <= 3; ++round) {
    std::memset(bytes, round, kSize);
    ASSERT_TRUE(stream->CopyToDevice(device.data(), bytes, kSize).ok());
    ASSERT_TRUE(stream->Record(*event).ok());
    ASSERT_TRUE(event->Wait().ok());
    std::memset(bytes, 0, kSize);  // no copy reads it any more
    ASSERT_TRUE(stream->CopyToHost(bytes, device.data(), kSize).ok());
    ASSERT_TRUE(stream->Record(*event).ok());
    ASSERT_TRUE(event->Wait().ok());
    EXPECT_EQ(bytes[0], round);
    EXPECT_EQ(bytes[kSize - 1], round);
  }
  ASSERT_TRUE(stream->Zero(device.data(), kSize - 1).ok());
  ASSERT_TRUE(stream->CopyToHost(bytes, device.data(), kSize).ok());
  ASSERT_TRUE(stream->Synchronize().ok());
  EXPECT_EQ(bytes[kSize - 2], 0);
  EXPECT_EQ(bytes[kSize - 1], 3);
}

TEST_F(CudaGpuTest, StreamsOfManyThreadsWorkAtOnce) {
  constexpr int64_t kSize = int64_t{1} << 20;
  std::vector<std::thread> threads;
  for (char t = 1; t <= 4; ++t) {
    threads.emplace_back([this, t] {
      const auto a = NewStream();
      const auto b = NewStream();
      const Buffer device = Device(2 * kSize);
      const Buffer host = Host(2 * kSize);
      auto* const d = static_cast<char*>(device.data());
      auto* const h = static_cast<char*>(host.data());
      std::memset(h, t, 2 * kSize);
      EXPECT_TRUE(a->CopyToDevice(d, h, kSize).ok());
      EXPECT_TRUE(b->CopyToDevice(d + kSize, h + kSize, kSize).ok());
      EXPECT_TRUE(a->Synchronize().ok());
      EXPECT_TRUE(b->Synchronize().ok());
      std::memset(h, 0, 2 * kSize);
      EXPECT_TRUE(a->CopyToHost(h, d, 2 * kSize).ok());
      EXPECT_TRUE(a->Synchronize().ok());
      const std::string want(2 * kSize, t);
      EXPECT_EQ(std::memcmp(h, want.data(), want.size()), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(CudaGpuTest, AStagingRingCarriesBytesThereAndBack) {
  constexpr int64_t kSize = 4096;
  const auto ring =
      *StagingRing::Make(gpu_.get(), {.slots = 2, .slot_bytes = kSize});
  int ended = 0;
  for (int i = 1; i <= 100; ++i) {
    StagingRing::Slot* const slot = ring->Acquire();
    std::memset(slot->host(), i, kSize);
    absl::Status queued =
        slot->stream().CopyToDevice(slot->device(), slot->host(), kSize);
    queued.Update(slot->stream().Zero(slot->device(), kSize / 2));
    queued.Update(
        slot->stream().CopyToHost(slot->host(), slot->device(), kSize));
    ring->Release(
        slot, &ended, queued, [&ended, slot, i](const absl::Status& status) {
          EXPECT_TRUE(status.ok()) << status;
          EXPECT_EQ(slot->host()[kSize / 2 - 1], std::byte{0});
          EXPECT_EQ(slot->host()[kSize / 2], static_cast<std::byte>(i));
          ++ended;
        });
  }
  ring->Finish(&ended);
  EXPECT_EQ(ended, 100);
}

TEST_F(CudaGpuTest, WhatOutlivesTheGpuEndsInPeace) {
  const Buffer device = Device(1024);
  const Buffer host = Host(1024);
  const auto stream = NewStream();
  gpu_.reset();
  ASSERT_TRUE(stream->Zero(device.data(), 1024).ok());
  ASSERT_TRUE(stream->CopyToHost(host.data(), device.data(), 1024).ok());
  EXPECT_TRUE(stream->Synchronize().ok());
}

}  // namespace
}  // namespace accrue
