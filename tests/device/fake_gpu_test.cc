#include "tests/device/fake_gpu.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace accrue {
namespace {

using Effect = FakeFault::Effect;

constexpr int64_t kFloats = 64;
constexpr int64_t kBytes = kFloats * int64_t{sizeof(float)};

// An array on the device and one beside it on the host, and a stream.
struct Lane {
  explicit Lane(Gpu& gpu)
      : host(*gpu.AllocateHost(kBytes, MemoryTag::kOther, nullptr)),
        device(*gpu.Allocate(kBytes, MemoryTag::kOther, nullptr)),
        stream(*gpu.NewStream()),
        event(*gpu.NewEvent()) {}

  float* h() const { return static_cast<float*>(host.data()); }
  float* d() const { return static_cast<float*>(device.data()); }
  FakeStream& fake() const { return static_cast<FakeStream&>(*stream); }

  absl::Status In() const { return stream->CopyToDevice(d(), h(), kBytes); }
  absl::Status Out() const { return stream->CopyToHost(h(), d(), kBytes); }
  absl::Status AddOne() const {
    return fake().Enqueue([x = d()] {
      for (int64_t i = 0; i < kFloats; ++i) x[i] += 1;
      return absl::OkStatus();
    });
  }

  Buffer host, device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Event> event;
};

FakeGpuOptions With(FakeSchedule schedule, uint64_t seed = 1) {
  return {.schedule = schedule, .seed = seed, .capacity_bytes = 1 << 20};
}

TEST(FakeGpuTest, WorkOfOneStreamRunsInOrderUnderEverySchedule) {
  for (const auto schedule :
       {FakeSchedule::kEager, FakeSchedule::kLazy, FakeSchedule::kRandom}) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
      SCOPED_TRACE(seed);
      FakeGpu gpu(With(schedule, seed));
      const Lane a(gpu), b(gpu);
      for (const Lane* lane : {&a, &b}) {
        lane->h()[0] = 41;
        ASSERT_TRUE(lane->In().ok());
        ASSERT_TRUE(lane->AddOne().ok());
        ASSERT_TRUE(lane->Out().ok());
        ASSERT_TRUE(lane->stream->Record(*lane->event).ok());
        ASSERT_TRUE(lane->stream->Zero(lane->d(), kBytes).ok());
      }
      for (const Lane* lane : {&b, &a}) {
        ASSERT_TRUE(lane->event->Wait().ok());
        EXPECT_EQ(lane->h()[0], 42);
        ASSERT_TRUE(lane->Out().ok());
        ASSERT_TRUE(lane->stream->Synchronize().ok());
        EXPECT_EQ(lane->h()[0], 0);
      }
    }
  }
}

TEST(FakeGpuTest, LazyStreamsRunOnlyWhatIsWaitedFor) {
  FakeGpu gpu(With(FakeSchedule::kLazy));
  const Lane a(gpu), b(gpu);
  ASSERT_TRUE(a.AddOne().ok());
  ASSERT_TRUE(b.AddOne().ok());
  ASSERT_TRUE(a.stream->Record(*a.event).ok());
  ASSERT_TRUE(a.AddOne().ok());
  EXPECT_EQ(gpu.counts().run, 0);
  ASSERT_TRUE(a.event->Wait().ok());
  EXPECT_EQ(gpu.counts().run, 2);  // its first kernel and the record
}

TEST(FakeGpuTest, RandomStreamsRunAheadOfEachOther) {
  bool a_first = false;
  bool b_first = false;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    FakeGpu gpu(With(FakeSchedule::kRandom, seed));
    const Lane a(gpu), b(gpu);
    std::vector<char> order;
    for (const auto& [lane, name] : {std::pair(&a, 'a'), std::pair(&b, 'b')}) {
      ASSERT_TRUE(lane->fake()
                      .Enqueue([&order, name = name] {
                        order.push_back(name);
                        return absl::OkStatus();
                      })
                      .ok());
    }
    ASSERT_TRUE(b.stream->Synchronize().ok());
    ASSERT_TRUE(a.stream->Synchronize().ok());
    ASSERT_EQ(order.size(), 2u);
    (order[0] == 'a' ? a_first : b_first) = true;
  }
  EXPECT_TRUE(a_first);
  EXPECT_TRUE(b_first);
}

TEST(FakeGpuDeathTest, TheHostCannotTouchDeviceMemory) {
  FakeGpu gpu(With(FakeSchedule::kEager));
  const Lane lane(gpu);
  EXPECT_DEATH(*static_cast<volatile float*>(lane.d()) = 1, "");
  ASSERT_TRUE(lane.AddOne().ok());  // it may
  EXPECT_DEATH(*static_cast<volatile float*>(lane.d()) = 1, "");
}

TEST(FakeGpuDeathTest, KernelsCannotRunPastAnArraysEnd) {
  FakeGpu gpu(With(FakeSchedule::kEager));
  const Lane lane(gpu);
  EXPECT_DEATH(lane.fake()
                   .Enqueue([&lane] {
                     *static_cast<volatile float*>(lane.d() + kFloats) = 1;
                     return absl::OkStatus();
                   })
                   .IgnoreError(),
               "");
}

TEST(FakeGpuTest, CopiesOfOtherMemoryAreRefused) {
  FakeGpu gpu(With(FakeSchedule::kRandom));
  const Lane lane(gpu);
  std::vector<float> plain(kFloats);
  Stream& stream = *lane.stream;
  for (const absl::Status& refused :
       {stream.CopyToDevice(lane.d(), plain.data(), kBytes),
        stream.CopyToHost(plain.data(), lane.d(), kBytes),
        stream.CopyToDevice(lane.d(), lane.h(), kBytes + 1),
        stream.CopyToDevice(lane.d() + 1, lane.h(), kBytes),
        stream.CopyToHost(lane.d(), lane.h(), kBytes),
        stream.Zero(lane.h(), kBytes), stream.Zero(lane.d(), -1)}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kInternal) << refused;
  }
  EXPECT_TRUE(stream.CopyToDevice(nullptr, plain.data(), 0).ok());
}

TEST(FakeGpuTest, MemoryIsZeroCountedAndLimited) {
  FakeGpu gpu(With(FakeSchedule::kRandom));
  MemoryLedger ledger;
  {
    const auto most =
        gpu.Allocate((1 << 20) - 100, MemoryTag::kMomentum, &ledger);
    ASSERT_TRUE(most.ok()) << most.status();
    EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), (1 << 20) - 100);
    const auto more = gpu.Allocate(101, MemoryTag::kVariance, &ledger);
    EXPECT_EQ(more.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(more.status().message(),
              "fake:0: no memory for 101 bytes of variance: 100 of 1048576 "
              "bytes are free");
    EXPECT_EQ(gpu.memory()->free_bytes, 100);
  }
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 0);
  EXPECT_EQ(gpu.counts().device_bytes, 0);
  EXPECT_EQ(gpu.counts().device_peak_bytes, (1 << 20) - 100);

  const Lane lane(gpu);
  std::memset(lane.h(), 1, kBytes);
  ASSERT_TRUE(lane.Out().ok());
  ASSERT_TRUE(lane.stream->Synchronize().ok());
  EXPECT_EQ(lane.h()[kFloats - 1], 0);
  EXPECT_EQ(gpu.counts().to_host_bytes, kBytes);
  EXPECT_EQ(gpu.counts().pinned_bytes, kBytes);
}

TEST(FakeGpuTest, ARefusedOperationIsNotQueuedAndTheNextOneIs) {
  FakeGpu gpu(With(FakeSchedule::kRandom));
  const Lane lane(gpu);
  gpu.Inject({.op = FakeOp::kCopyToDevice, .nth = 2});
  EXPECT_TRUE(lane.In().ok());
  EXPECT_EQ(lane.In().message(), "injected");
  EXPECT_TRUE(lane.In().ok());
  EXPECT_TRUE(lane.stream->Synchronize().ok());
  EXPECT_EQ(gpu.counts().to_device_bytes, 2 * kBytes);
}

TEST(FakeGpuTest, AFailureIsToldOnceSkipsTheRestAndHarmsNoOtherStream) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    FakeGpu gpu(With(FakeSchedule::kRandom, seed));
    const Lane a(gpu), b(gpu);
    gpu.Inject({.op = FakeOp::kKernel, .effect = Effect::kFail});
    ASSERT_TRUE(a.AddOne().ok());
    ASSERT_TRUE(b.AddOne().ok());
    for (const Lane* lane : {&a, &b}) {
      ASSERT_TRUE(lane->AddOne().ok());
      ASSERT_TRUE(lane->stream->Record(*lane->event).ok());
      ASSERT_TRUE(lane->AddOne().ok());
    }
    EXPECT_TRUE(b.event->Wait().ok());
    EXPECT_EQ(a.event->Wait().message(), "injected");
    EXPECT_TRUE(a.event->Wait().ok());
    for (const Lane* lane : {&a, &b}) {
      ASSERT_TRUE(lane->AddOne().ok());
      ASSERT_TRUE(lane->Out().ok());
      ASSERT_TRUE(lane->stream->Synchronize().ok());
    }
    EXPECT_EQ(a.h()[0], 1);
    EXPECT_EQ(b.h()[0], 4);
    EXPECT_TRUE(gpu.health().ok());
  }
}

TEST(FakeGpuTest, ALostGpuFailsEverythingForGood) {
  FakeGpu gpu(With(FakeSchedule::kLazy));
  const Lane a(gpu), b(gpu);
  gpu.Inject({.op = FakeOp::kKernel,
              .effect = Effect::kLose,
              .status = absl::InternalError("fallen off")});
  ASSERT_TRUE(a.AddOne().ok());
  ASSERT_TRUE(a.stream->Record(*a.event).ok());
  ASSERT_TRUE(b.In().ok());
  EXPECT_TRUE(gpu.health().ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(a.event->Wait().message(), "fallen off");
    EXPECT_EQ(b.stream->Synchronize().message(), "fallen off");
    EXPECT_EQ(b.In().message(), "fallen off");
    EXPECT_EQ(b.event->Wait().message(), "fallen off");
    EXPECT_EQ(gpu.NewStream().status().message(), "fallen off");
    EXPECT_EQ(gpu.Allocate(1, MemoryTag::kOther, nullptr).status().message(),
              "fallen off");
    EXPECT_EQ(gpu.health().message(), "fallen off");
  }
}

TEST(FakeGpuTest, WhatALostGpuHasPinnedStaysChargedAndItsArraysDoNot) {
  MemoryLedger ledger;
  FakeGpu gpu(With(FakeSchedule::kLazy));
  {
    const auto pinned =
        gpu.AllocateHost(kBytes, MemoryTag::kParameters, &ledger);
    const auto array = gpu.Allocate(kBytes, MemoryTag::kMomentum, &ledger);
    ASSERT_TRUE(pinned.ok() && array.ok());
    gpu.Lose("fallen off");
  }
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kParameters), kBytes);
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 0);
  EXPECT_EQ(gpu.counts().pinned_bytes, kBytes);
}

TEST(FakeGpuTest, ACopyToTheHostMayLandAfterItsGpuWasLost) {
  FakeGpu gpu(With(FakeSchedule::kLazy)), other(With(FakeSchedule::kLazy));
  const Lane lane(gpu);
  auto gone = other.AllocateHost(kBytes, MemoryTag::kOther, nullptr);
  lane.h()[0] = 42;
  ASSERT_TRUE(lane.AddOne().ok());
  ASSERT_TRUE(lane.Out().ok());
  ASSERT_TRUE(lane.stream->CopyToHost(gone->data(), lane.d(), kBytes).ok());
  gone = Buffer();
  gpu.Lose("fallen off");
  EXPECT_FALSE(lane.stream->Synchronize().ok());
  EXPECT_EQ(lane.h()[0], 42);
  gpu.LandLate();
  EXPECT_EQ(lane.h()[0], 0);  // and no kernel ran
}

TEST(FakeGpuTest, ACorruptCopyHasOneNaN) {
  FakeGpu gpu(With(FakeSchedule::kRandom));
  const Lane lane(gpu);
  gpu.Inject({.op = FakeOp::kCopyToDevice, .effect = Effect::kCorrupt});
  ASSERT_TRUE(lane.In().ok());
  ASSERT_TRUE(lane.Out().ok());
  ASSERT_TRUE(lane.stream->Synchronize().ok());
  int nans = 0;
  for (int64_t i = 0; i < kFloats; ++i) nans += std::isnan(lane.h()[i]) ? 1 : 0;
  EXPECT_EQ(nans, 1);
}

TEST(FakeGpuTest, WhatOutlivesTheGpuEndsInPeace) {
  auto gpu = std::make_unique<FakeGpu>(With(FakeSchedule::kLazy));
  const Lane lane(*gpu);
  ASSERT_TRUE(lane.AddOne().ok());
  gpu.reset();
  ASSERT_TRUE(lane.Out().ok());
  ASSERT_TRUE(lane.stream->Synchronize().ok());
  EXPECT_EQ(lane.h()[0], 1);
}

}  // namespace
}  // namespace accrue
