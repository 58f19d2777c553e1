#include "server/model/model_store.h"

#include <future>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/gathering.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

class ModelStoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<ModelStore::Created> Create(ModelStore& store,
                                             ModelSpec spec) {
    std::promise<absl::StatusOr<ModelStore::Created>> promise;
    store.Create(std::move(spec),
                 [&](auto created) { promise.set_value(std::move(created)); });
    return promise.get_future().get();
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
  EXPECT_EQ(page[1]->name(), "b");
  page = store.List("b", 2);
  ASSERT_EQ(page.size(), 1);
  EXPECT_EQ(page[0]->name(), "c");
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
  ModelStore::Options options = Options();
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

}  // namespace
}  // namespace accrue
