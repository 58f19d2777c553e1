#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/device/device.h"

namespace accrue {
namespace {

TEST(CpuDeviceTest, BuffersAreZeroAlignedAndCharged) {
  const auto device = MakeCpuDevice();
  EXPECT_EQ(device->name(), "cpu");
  for (const int64_t size : {1, 64, 4096, 100003, 3 << 20}) {
    MemoryLedger ledger;
    {
      auto buffer = device->Allocate(size, MemoryTag::kMomentum, &ledger);
      ASSERT_TRUE(buffer.ok()) << buffer.status();
      EXPECT_EQ(buffer->size_bytes(), size);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
      EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), size);
      auto* const bytes = static_cast<char*>(buffer->data());
      for (int64_t i = 0; i < size; ++i) ASSERT_EQ(bytes[i], 0);
      std::memset(bytes, 1, static_cast<size_t>(size));
    }
    EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 0);
  }
}

TEST(CpuDeviceTest, HostMemoryIsPlainMemory) {
  const auto device = MakeCpuDevice();
  MemoryLedger ledger;
  auto buffer = device->AllocateHost(1000, MemoryTag::kParameters, &ledger);
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  std::memset(buffer->data(), 1, 1000);
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kParameters), 1000);
}

TEST(CpuDeviceTest, AMovedBufferIsEmptyAndChargedOnce) {
  const auto device = MakeCpuDevice();
  MemoryLedger ledger;
  Buffer first = *device->Allocate(100, MemoryTag::kOther, &ledger);
  void* const data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(first.data(), nullptr);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(first.size_bytes(), 0);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kOther), 100);
  second = Buffer();
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kOther), 0);
}

TEST(CpuDeviceTest, NoBytesAreAllowedAndALedgerIsNotNeeded) {
  const auto device = MakeCpuDevice();
  auto buffer = device->Allocate(0, MemoryTag::kOther, nullptr);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer->size_bytes(), 0);
}

TEST(CpuDeviceTest, WhatDoesNotFitIsRefusedAndNotCharged) {
  const auto device = MakeCpuDevice();
  MemoryLedger ledger;
  for (const int64_t size : {int64_t{1} << 60, INT64_MAX, int64_t{-1}}) {
    const auto buffer = device->Allocate(size, MemoryTag::kVariance, &ledger);
    EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(GetErrorInfo(buffer.status()).reason, Reason::kDeviceMemory);
    EXPECT_EQ(GetErrorInfo(buffer.status()).subject, "cpu");
    EXPECT_NE(buffer.status().message().find(std::to_string(size)),
              absl::string_view::npos)
        << buffer.status();
    EXPECT_EQ(ledger.live_bytes(MemoryTag::kVariance), 0);
  }
}

TEST(CpuDeviceTest, SuccessiveArraysBeginAtDifferentOffsetsInAPage) {
  const auto device = MakeCpuDevice();
  std::vector<Buffer> buffers;
  for (int i = 0; i < 4; ++i) {
    buffers.push_back(*device->Allocate(4 << 20, MemoryTag::kOther, nullptr));
    for (int j = 0; j < i; ++j) {
      EXPECT_NE(reinterpret_cast<uintptr_t>(buffers[j].data()) % 4096,
                reinterpret_cast<uintptr_t>(buffers[i].data()) % 4096);
    }
  }
}

}  // namespace
}  // namespace accrue
