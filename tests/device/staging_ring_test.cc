#include "server/device/staging_ring.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/device/fake_gpu.h"

namespace accrue {
namespace {

using Effect = FakeFault::Effect;
using Slot = StagingRing::Slot;

constexpr int64_t kSlotBytes = 1024;
constexpr auto kNothing = [](const absl::Status&) {};

void UnderEverySchedule(const std::function<void(FakeGpu&)>& test) {
  for (const auto schedule :
       {FakeSchedule::kEager, FakeSchedule::kLazy, FakeSchedule::kRandom}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(absl::StrCat("schedule ", static_cast<int>(schedule),
                                ", seed ", seed));
      FakeGpu gpu({.schedule = schedule, .seed = seed});
      test(gpu);
    }
  }
}

std::unique_ptr<StagingRing> MakeRing(FakeGpu& gpu, int slots = 3) {
  auto ring =
      StagingRing::Make(&gpu, {.slots = slots, .slot_bytes = kSlotBytes});
  EXPECT_TRUE(ring.ok()) << ring.status();
  return *std::move(ring);
}

int& HostInt(const Slot& slot) { return *reinterpret_cast<int*>(slot.host()); }

// Queues work that adds 1 to the slot's first number, which is `value` now.
absl::Status QueueAddOne(const Slot& slot, int value) {
  HostInt(slot) = value;
  absl::Status status =
      slot.stream().CopyToDevice(slot.device(), slot.host(), kSlotBytes);
  status.Update(
      static_cast<FakeStream&>(slot.stream()).Enqueue([at = slot.device()] {
        ++*reinterpret_cast<int*>(at);
        return absl::OkStatus();
      }));
  status.Update(
      slot.stream().CopyToHost(slot.host(), slot.device(), kSlotBytes));
  return status;
}

TEST(StagingRingTest, SlotsComeBackWhenTheirWorkHasEndedAndWasHeardOf) {
  UnderEverySchedule([](FakeGpu& gpu) {
    const auto ring = MakeRing(gpu);
    EXPECT_EQ(ring->slot_bytes(), kSlotBytes);
    std::map<const Slot*, bool> busy;
    int ended = 0;
    for (int i = 0; i < 20; ++i) {
      Slot* const slot = ring->Acquire();
      EXPECT_EQ(slot->size_bytes(), kSlotBytes);
      EXPECT_FALSE(busy[slot]);
      busy[slot] = true;
      absl::Status queued = QueueAddOne(*slot, 100 * i);
      ring->Release(slot, &gpu, queued,
                    [&, slot, i](const absl::Status& status) {
                      EXPECT_TRUE(status.ok()) << status;
                      EXPECT_EQ(HostInt(*slot), 100 * i + 1);
                      busy[slot] = false;
                      ++ended;
                    });
    }
    ring->Finish(&gpu);
    EXPECT_EQ(ended, 20);
  });
}

TEST(StagingRingTest, AllSlotsCanBeFilledAtOnce) {
  FakeGpu gpu({.schedule = FakeSchedule::kLazy});
  const auto ring = MakeRing(gpu, 3);
  std::array<Slot*, 3> slots = {};
  for (Slot*& slot : slots) {
    slot = ring->Acquire();
    HostInt(*slot) = 0;
  }
  for (Slot* slot : slots) ++HostInt(*slot);
  for (Slot* slot : slots) {
    EXPECT_EQ(HostInt(*slot), 1);
    ring->Release(slot, nullptr, absl::OkStatus(), kNothing);
  }
  EXPECT_EQ(ring->Acquire(), slots[0]);
  ring->Release(slots[0], nullptr, absl::OkStatus(), kNothing);
  ring->Finish(nullptr);
}

TEST(StagingRingTest, AReleaseWakesWhoWaitsForASlot) {
  FakeGpu gpu({.schedule = FakeSchedule::kLazy});
  const auto ring = MakeRing(gpu, 2);
  for (int round = 0; round < 20; ++round) {
    Slot* const first = ring->Acquire();
    Slot* const second = ring->Acquire();
    std::atomic<bool> asked = false;
    std::thread waiting([&] {
      asked = true;
      Slot* const slot = ring->Acquire();
      EXPECT_EQ(slot, second);
      ring->Release(slot, nullptr, absl::OkStatus(), kNothing);
    });
    while (!asked) std::this_thread::yield();
    ring->Release(second, nullptr, absl::OkStatus(), kNothing);
    waiting.join();
    ring->Release(first, nullptr, absl::OkStatus(), kNothing);
    ring->Finish(nullptr);
  }
}

TEST(StagingRingTest, EachEndsOnceWithItsOwnError) {
  UnderEverySchedule([](FakeGpu& gpu) {
    const auto ring = MakeRing(gpu);
    gpu.Inject({.op = FakeOp::kKernel,
                .nth = 3,
                .effect = Effect::kFail,
                .status = absl::InternalError("kernel")});
    gpu.Inject({.op = FakeOp::kCopyToHost,
                .nth = 5,
                .status = absl::InternalError("copy")});
    gpu.Inject({.op = FakeOp::kRecord,
                .nth = 8,
                .status = absl::InternalError("record")});
    gpu.Inject({.op = FakeOp::kRecord,
                .nth = 10,
                .status = absl::InternalError("record after a refusal")});
    std::vector<std::vector<std::string>> heard(12);
    for (size_t i = 0; i < heard.size(); ++i) {
      Slot* const slot = ring->Acquire();
      absl::Status queued = QueueAddOne(*slot, 10);
      if (i == 9) queued = absl::DataLossError("not even tried");
      ring->Release(
          slot, &gpu, queued, [&heard, i, slot](const absl::Status& status) {
            heard[i].emplace_back(status.message());
            // What was queued has run, whatever was not.
            EXPECT_TRUE(i == 2 || i == 4 || HostInt(*slot) == 11) << i;
          });
    }
    ring->Finish(&gpu);
    const std::map<size_t, std::string> errors = {
        {2, "kernel"}, {4, "copy"}, {7, "record"}, {9, "not even tried"}};
    for (size_t i = 0; i < heard.size(); ++i) {
      const auto error = errors.find(i);
      EXPECT_EQ(
          heard[i],
          std::vector<std::string>{error == errors.end() ? "" : error->second})
          << i;
    }
  });
}

// Such as the run that a slot's work was for, and all that its caller keeps
// alive.
TEST(StagingRingTest, WhatEndedHoldsIsLetGoBeforeAnyoneHearsOfTheEnd) {
  FakeGpu gpu({.schedule = FakeSchedule::kLazy});
  const auto ring = MakeRing(gpu);
  const auto held = std::make_shared<int>();
  ring->Release(ring->Acquire(), &gpu, absl::OkStatus(),
                [held](const absl::Status&) {});
  EXPECT_EQ(held.use_count(), 2);
  ring->Finish(&gpu);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(StagingRingTest, FinishWaitsForAllOfOneOwnerAndNobodyElse) {
  FakeGpu gpu({.schedule = FakeSchedule::kLazy});
  const auto ring = MakeRing(gpu, 4);
  const int owners[2] = {};
  int ended[2] = {};
  for (const int owner : {0, 1, 0, 1}) {
    Slot* const slot = ring->Acquire();
    ASSERT_TRUE(QueueAddOne(*slot, 1).ok());
    ring->Release(slot, &owners[owner], absl::OkStatus(),
                  [&ended, owner](const absl::Status&) { ++ended[owner]; });
  }
  const int64_t work_of_a_slot = 4;
  ring->Finish(&owners[1]);
  EXPECT_EQ(ended[0], 0);
  EXPECT_EQ(ended[1], 2);
  EXPECT_EQ(gpu.counts().run, 2 * work_of_a_slot);
  ring->Finish(&owners[1]);  // nothing is left: at once
  EXPECT_EQ(gpu.counts().run, 2 * work_of_a_slot);
  ring->Finish(&owners[0]);
  EXPECT_EQ(ended[0], 2);
}

TEST(StagingRingTest, FinishWaitsForWhatAnotherThreadIsEnding) {
  for (int round = 0; round < 20; ++round) {
    FakeGpu gpu({.schedule = FakeSchedule::kEager});
    const auto ring = MakeRing(gpu, 2);
    std::atomic<bool> ending = false;
    std::atomic<bool> go_on = false;
    std::atomic<bool> returned = false;
    for (int i = 0; i < 2; ++i) {
      const bool first = i == 0;
      ring->Release(ring->Acquire(), first ? &gpu : nullptr, absl::OkStatus(),
                    [&, first](const absl::Status&) {
                      if (!first) return;
                      ending = true;
                      go_on.wait(false);
                      returned = true;
                    });
    }
    std::thread acquiring([&] {
      ring->Release(ring->Acquire(), nullptr, absl::OkStatus(), kNothing);
    });
    while (!ending) std::this_thread::yield();
    std::atomic<bool> asked = false;
    std::thread finishing([&] {
      asked = true;
      ring->Finish(&gpu);
      EXPECT_TRUE(returned);
    });
    while (!asked) std::this_thread::yield();
    go_on = true;
    go_on.notify_all();
    finishing.join();
    acquiring.join();
  }
}

TEST(StagingRingTest, TheDestructorWaits) {
  UnderEverySchedule([](FakeGpu& gpu) {
    int ended = 0;
    auto ring = MakeRing(gpu);
    for (int i = 0; i < 3; ++i) {
      Slot* const slot = ring->Acquire();
      absl::Status queued = QueueAddOne(*slot, i);
      ring->Release(slot, &gpu, queued, [&, slot, i](const absl::Status&) {
        EXPECT_EQ(HostInt(*slot), i + 1);
        ++ended;
      });
    }
    ring.reset();
    EXPECT_EQ(ended, 3);
    EXPECT_EQ(gpu.counts().device_bytes, 0);
    EXPECT_EQ(gpu.counts().pinned_bytes, 0);
  });
}

TEST(StagingRingTest, MoreThreadsThanSlotsMakeProgress) {
  constexpr int kThreads = 6;
  constexpr int kRounds = 60;
  FakeGpu gpu({.schedule = FakeSchedule::kRandom});
  const auto ring = MakeRing(gpu, 2);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&ring, t] {
      std::atomic<int> ended = 0;  // on any thread
      for (int i = 1; i <= kRounds; ++i) {
        Slot* const slot = ring->Acquire();
        const int value = 1000 * t + i;
        absl::Status queued = QueueAddOne(*slot, value);
        ring->Release(slot, &ended, queued,
                      [&ended, slot, value](const absl::Status& status) {
                        EXPECT_TRUE(status.ok()) << status;
                        EXPECT_EQ(HostInt(*slot), value + 1);
                        ++ended;
                      });
        if (i % 20 != 0) continue;
        ring->Finish(&ended);
        EXPECT_EQ(ended, i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(StagingRingTest, WithoutMemoryNothingIsLeftAllocated) {
  FakeGpu gpu({.capacity_bytes = 2 * kSlotBytes + kSlotBytes / 2});
  MemoryLedger ledger;
  StagingOptions options = {
      .slots = 3, .slot_bytes = kSlotBytes, .ledger = &ledger};
  EXPECT_EQ(StagingRing::Make(&gpu, options).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(gpu.counts().device_peak_bytes, 2 * kSlotBytes);
  EXPECT_EQ(gpu.counts().device_bytes, 0);
  EXPECT_EQ(gpu.counts().pinned_bytes, 0);
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kStaging), 0);

  options.slots = 2;
  const auto ring = StagingRing::Make(&gpu, options);
  ASSERT_TRUE(ring.ok()) << ring.status();
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kStaging), 2 * 2 * kSlotBytes);
  options.slots = 1;
  EXPECT_EQ(StagingRing::Make(&gpu, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(StagingRingTest, WithALostGpuEverythingReturnsAndEachHearsOfIt) {
  UnderEverySchedule([](FakeGpu& gpu) {
    const auto ring = MakeRing(gpu);
    std::vector<std::string> heard;
    for (int i = 0; i < 10; ++i) {
      Slot* const slot = ring->Acquire();
      absl::Status queued = QueueAddOne(*slot, i);
      ring->Release(slot, &gpu, queued, [&heard](const absl::Status& status) {
        heard.emplace_back(status.message());
      });
      if (i == 4) gpu.Lose("fallen off");
    }
    ring->Finish(&gpu);
    ASSERT_EQ(heard.size(), 10u);
    EXPECT_EQ(std::count(heard.begin(), heard.end(), "fake:0: fallen off"), 8);
    EXPECT_EQ(std::count(heard.begin(), heard.end(), ""), 2);
  });
}

}  // namespace
}  // namespace accrue
