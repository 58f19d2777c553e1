#include "server/model/model_store.h"

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/gathering.h"
#include "tests/device/gate.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using Created = absl::StatusOr<ModelStore::Created>;

class ModelStoreTest : public ::testing::Test {
 protected:
  std::future<Created> Ask(ModelStore& store, ModelSpec spec) {
    auto promise = std::make_shared<std::promise<Created>>();
    store.Create(std::move(spec), [promise](Created created) {
      promise->set_value(std::move(created));
    });
    return promise->get_future();
  }
  Created Create(ModelStore& store, ModelSpec spec) {
    return Ask(store, std::move(spec)).get();
  }
  ModelStore::Options Options() {
    ModelStore::Options options;
    options.environment = harness_.environment();
    return options;
  }
  static ModelSpec Named(const std::string& name) {
    ModelSpec spec = SimpleSpec(8, 1);
    spec.name = name;
    return spec;
  }

  Harness harness_;
};

TEST_F(ModelStoreTest, CreatingIsIdempotentForTheSameSpec) {
  ModelStore store(Options());
  auto first = Create(store, Named("a"));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->created);
  auto again = Create(store, Named("a"));
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->model, first->model);
  ModelSpec other = Named("a");
  other.groups[0].k = other.groups[0].update_every = 2;
  const auto refused = Create(store, other);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(GetErrorInfo(refused.status()).reason, Reason::kModelExists);
}

TEST_F(ModelStoreTest, ListsByNameInPages) {
  ModelStore store(Options());
  for (const char* name : {"c", "a", "b"}) {
    ASSERT_TRUE(Create(store, Named(name)).ok());
  }
  auto page = store.List("", 2);
  ASSERT_EQ(page.size(), 2);
  EXPECT_EQ(page[1].name, "b");
  page = store.List("b", 2);
  ASSERT_EQ(page.size(), 1);
  EXPECT_EQ(page[0].name, "c");
}

TEST_F(ModelStoreTest, ListsWhatIsMissingInItsPlace) {
  ModelStore store(Options());
  const absl::Status why = absl::DataLossError("a bit is flipped");
  for (const char* name : {"f", "d", "b"}) store.Miss(name, why);
  for (const char* name : {"c", "a", "e"}) {
    ASSERT_TRUE(Create(store, Named(name)).ok());
  }
  // Pages that end with one of either kind, and between two.
  for (const int64_t size : {1, 2, 3, 4, 5, 6, 7}) {
    SCOPED_TRACE(size);
    std::string listed, missing;
    std::string after;
    for (auto page = store.List(after, size); !page.empty();
         page = store.List(after, size)) {
      EXPECT_LE(page.size(), static_cast<size_t>(size));
      for (const auto& [name, model] : page) {
        listed += name;
        if (model.status() == why) missing += name;
        EXPECT_EQ(model.ok() ? (*model)->name() : name, name);
      }
      after = page.back().name;
    }
    EXPECT_EQ(listed, "abcdef");
    EXPECT_EQ(missing, "bdf");
  }
  EXPECT_TRUE(store.Delete("b").ok());
  EXPECT_EQ(store.List("", 10).size(), 5);
}

TEST_F(ModelStoreTest, MemoryAndCountsAreBounded) {
  ModelStore::Options options = Options();
  options.max_models = 2;
  // sgd: momentum and four publications of 8 floats each.
  options.state_memory_bytes = 2 * (1 + 4) * 8 * 4;
  ModelStore store(options);
  ModelSpec large = Named("large");
  large.tensors[0].shape = {17};
  const auto refused = Create(store, large);
  EXPECT_EQ(GetErrorInfo(refused.status()).reason, Reason::kStateMemory);
  EXPECT_EQ(store.reserved_state_bytes(), 0);
  ASSERT_TRUE(Create(store, Named("a")).ok());
  ASSERT_TRUE(Create(store, Named("b")).ok());
  EXPECT_EQ(store.reserved_state_bytes(), options.state_memory_bytes);
  EXPECT_EQ(GetErrorInfo(Create(store, Named("c")).status()).reason,
            Reason::kLimit);
  ASSERT_TRUE(store.Delete("a").ok());
  EXPECT_TRUE(Create(store, Named("c")).ok());
}

TEST_F(ModelStoreTest, WhatIsMissingCountsToo) {
  ModelStore::Options options = Options();
  options.max_models = 2;
  ModelStore store(options);
  store.Miss("a", absl::DataLossError("a bit is flipped"));
  ASSERT_TRUE(Create(store, Named("b")).ok());
  EXPECT_EQ(GetErrorInfo(Create(store, Named("c")).status()).reason,
            Reason::kLimit);
  EXPECT_EQ(store.List("", 10).size(), 2);
  ASSERT_TRUE(store.Delete("a").ok());
  EXPECT_TRUE(Create(store, Named("c")).ok());
}

// A GPU's: what is allocated on it is not the host's.
class FarDevice final : public Device {
 public:
  std::string name() const override { return "far"; }
  bool allocates_host_memory() const override { return false; }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    return device_->Allocate(size_bytes, tag, ledger);
  }
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    return device_->AllocateHost(size_bytes, tag, ledger);
  }

 private:
  const std::unique_ptr<Device> device_ = MakeCpuDevice();
};

TEST_F(ModelStoreTest, WhatLiesOnAGpuDoesNotCountAgainstTheHostsMemory) {
  FarDevice device;
  Harness harness;  // whose pool frees the models
  ModelStore::Options options;
  options.environment = harness.environment();
  options.environment.device = &device;
  ModelStore store(options);
  ModelSpec spec = Named("a");
  spec.optimizer.optimizer = rule::Optimizer::kAdam;
  spec.optimizer.buffering = rule::Buffering::kClassic;
  ASSERT_TRUE(Create(store, spec).ok());
  // Four publications, of 8 floats each.
  EXPECT_EQ(store.reserved_state_bytes(), 4 * 8 * 4);
  ModelSpec gathering = Named("b");
  gathering.optimizer.buffering = rule::Buffering::kGather;
  gathering.groups[0].k = gathering.groups[0].update_every = 2;
  ASSERT_TRUE(Create(store, gathering).ok());
  EXPECT_EQ(store.reserved_state_bytes(),
            2 * 4 * 8 * 4 + GatherBytes(gathering));
}

TEST_F(ModelStoreTest, ADeletedNameIsUnknownAndFree) {
  ModelStore store(Options());
  ASSERT_TRUE(Create(store, Named("a")).ok());
  ASSERT_TRUE(store.Delete("a").ok());
  EXPECT_EQ(GetErrorInfo(store.Find("a").status()).reason,
            Reason::kModelUnknown);
  EXPECT_EQ(store.Delete("a").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Create(store, Named("a"))->created);
}

TEST_F(ModelStoreTest, ADrainingStoreMakesNoModels) {
  ModelStore store(Options());
  ASSERT_TRUE(Create(store, Named("a")).ok());
  std::promise<void> drained;
  store.Drain([&] { drained.set_value(); });
  drained.get_future().wait();
  EXPECT_TRUE(store.draining());
  EXPECT_EQ(GetErrorInfo(Create(store, Named("b")).status()).reason,
            Reason::kDraining);
}

// Of a device that takes its time for models of 9 elements, and has no memory
// for them if so wanted.
class SlowStoreTest : public ModelStoreTest {
 protected:
  SlowStoreTest() { gate_.Close(); }
  ~SlowStoreTest() override { gate_.Open(); }

  ModelStore::Options Options() {
    ModelStore::Options options = ModelStoreTest::Options();
    options.environment.make_shard = [this](const kernels::ShardOptions& shard,
                                            Device* device, WorkPool* pool,
                                            WorkPool::Lane lane)
        -> absl::StatusOr<std::unique_ptr<kernels::Shard>> {
      if (shard.blocks->elems == 9) {
        gate_.Pass();
        if (refusals_-- > 0) return absl::ResourceExhaustedError("none left");
      }
      return kernels::MakeCpuShard(shard, device, pool, lane);
    };
    return options;
  }
  static ModelSpec Slow() {
    ModelSpec spec = Named("slow");
    spec.tensors[0].shape = {9};
    return spec;
  }

  Gate gate_;
  std::atomic<int> refusals_{0};
};

TEST_F(SlowStoreTest, WhileAModelIsMadeItIsNotThereAndOthersAre) {
  ModelStore::Options options = Options();
  options.max_models = 2;
  ModelStore store(options);
  auto slow = Ask(store, Slow());
  gate_.AwaitCaller();
  EXPECT_TRUE(Create(store, Named("other")).ok());
  // It counts.
  EXPECT_EQ(GetErrorInfo(Create(store, Named("third")).status()).reason,
            Reason::kLimit);
  EXPECT_EQ(store.List("", 10).size(), 1);
  EXPECT_EQ(store.Find("slow").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store.Delete("slow").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(store.Delete("other").ok());
  gate_.Open();
  const Created created = slow.get();
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(*store.Find("slow"), created->model);
}

TEST_F(SlowStoreTest, RequestsForANameThatIsBeingMadeAgreeWithIt) {
  ModelStore store(Options());
  auto first = Ask(store, Slow());
  gate_.AwaitCaller();
  auto again = Ask(store, Slow());
  ModelSpec other_spec = Slow();
  other_spec.tensors[0].shape = {8};
  auto other = Ask(store, other_spec);
  // They wait, and do not keep others waiting.
  EXPECT_TRUE(Create(store, Named("beside")).ok());
  gate_.Open();
  const Created made = first.get(), found = again.get();
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(made->created);
  EXPECT_FALSE(found->created);
  EXPECT_EQ(found->model, made->model);
  EXPECT_EQ(GetErrorInfo(other.get().status()).reason, Reason::kModelExists);
}

TEST_F(SlowStoreTest, AfterOneThatFailsTheNextRequestForItsNameTriesItself) {
  ModelStore::Options options = Options();
  options.state_memory_bytes = (1 + 4) * 9 * 4;
  refusals_ = 1;
  ModelStore store(options);
  auto first = Ask(store, Slow());
  gate_.AwaitCaller();
  auto next = Ask(store, Slow());
  gate_.Open();
  EXPECT_EQ(first.get().status(), absl::ResourceExhaustedError("none left"));
  const Created created = next.get();
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(created->created);
}

TEST_F(SlowStoreTest, ADrainWaitsForAModelThatIsBeingMadeAndRefusesIt) {
  ModelStore store(Options());
  auto slow = Ask(store, Slow());
  gate_.AwaitCaller();
  std::promise<int64_t> drained;
  store.Drain([&] { drained.set_value(store.reserved_state_bytes()); });
  auto bytes = drained.get_future();
  EXPECT_EQ(bytes.wait_for(std::chrono::seconds(0)),
            std::future_status::timeout);
  gate_.Open();
  EXPECT_EQ(bytes.get(), 0);
  EXPECT_EQ(GetErrorInfo(slow.get().status()).reason, Reason::kDraining);
  EXPECT_TRUE(store.List("", 10).empty());
}

}  // namespace
}  // namespace accrue
