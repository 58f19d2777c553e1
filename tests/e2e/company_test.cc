// Pushes to a model large enough that they wait for each other, to be folded in
// one pass (server/model/model_company.cc): through the real daemon.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/data_socket.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

// Each may wait 2 ms.
constexpr int64_t kElems = 2'000'000;
constexpr int64_t kBytes = 4 * kElems;

// Whichever pushes share a pass: all are folded, once.
TEST(CompanyTest, ConcurrentPushesAreFoldedOnceEach) {
  constexpr int kWorkers = 4;
  constexpr int kPushes = 8;
  const auto daemon = Daemon::Start({});
  ASSERT_NE(daemon, nullptr);
  const auto client = client::Client::Connect(daemon->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  client::ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{.name = "w", .shape = {kElems}}};
  spec.groups = {
      {.name = "all", .k = kWorkers, .hyperparameters = {.learning_rate = 1}}};
  spec.optimizer.optimizer = client::Optimizer::kSgd;
  spec.max_staleness = -1;
  const auto model = client->CreateOrOpen(spec);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto initialized = model->InitializeWith(
      {{"w", client::ConstantInitializer{0}}}, /*seed=*/1);
  ASSERT_TRUE(initialized.ok()) << initialized.status();
  const client::Version version = initialized->version;

  std::vector<std::thread> threads;
  for (int w = 0; w < kWorkers; ++w) {
    threads.emplace_back([&, w] {
      auto worker = model->OpenWorker();
      ASSERT_TRUE(worker.ok()) << worker.status();
      const std::vector<float> gradient(kElems, static_cast<float>(1 << w));
      for (int i = 0; i < kPushes; ++i) {
        const auto pushed = worker->Push(gradient, {.version = version});
        ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  // k pushes are a step of their mean: sums of powers of two over 4, exact in
  // any order.
  std::vector<float> parameters(kElems);
  ASSERT_TRUE(model->Pull(&parameters).ok());
  EXPECT_TRUE(parameters ==
              std::vector<float>(kElems, -kPushes * (1 + 2 + 4 + 8) / 4.0f));
  EXPECT_EQ(model->Describe()->folded_pushes, kWorkers * kPushes);
}

// One whose last byte does not come is no company for long.
TEST(CompanyTest, ASenderThatStopsHoldsNobodyUp) {
  const auto daemon = Daemon::Start({});
  ASSERT_NE(daemon, nullptr);
  Wire wire(daemon->tcp());
  wire.Make(Wire::Spec("m", kElems, 4));
  const std::vector<float> ones(kElems, 1.0f);
  const std::string payload = FloatBytes(ones);
  DataSocket data(daemon->tcp());
  Wire::HalfPush stopped =
      data.Begin(wire, wire.Header("m", wire.Open("m", "stopped"), 1, ones));
  ASSERT_TRUE(data.Send(payload.substr(0, kBytes - 1)));
  wire.AwaitIngest(kBytes);
  const std::string session = wire.Open("m", "other");
  for (int i = 1; i <= 3; ++i) {
    EXPECT_TRUE(
        wire.Push(wire.Header("m", session, i, ones), payload).status.ok());
  }
  EXPECT_EQ(wire.Describe("m").folded_pushes(), 3);
  ASSERT_TRUE(data.Send(payload.substr(kBytes - 1)));
  EXPECT_TRUE(stopped.Complete().status.ok());
  EXPECT_EQ(wire.Describe("m").folded_pushes(), 4);
}

}  // namespace
}  // namespace accrue
