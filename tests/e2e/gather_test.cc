// GATHER through the SDK, gRPC and the real daemon: pushes are answered when
// they are held, out of the ingest memory, and what comes of a cycle does not
// depend on who came first.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "accrue/client.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using client::Client;
using ::testing::HasSubstr;

constexpr uint32_t kSeed = 77;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMeasures = false;  // freed memory is kept back
#else
constexpr bool kMeasures = true;
#endif

client::ModelSpec Spec(const std::string& name, int64_t elems, int64_t k) {
  client::ModelSpec spec;
  spec.name = name;
  spec.tensors = {{.name = "w", .shape = {elems}}};
  spec.groups = {
      {.name = "g", .k = k, .hyperparameters = {.learning_rate = 0.01}}};
  spec.optimizer.optimizer = client::Optimizer::kAdam;
  spec.optimizer.buffering = client::Buffering::kGather;
  return spec;
}

int64_t LiveBytes(const client::ModelDescription& model, const char* tag) {
  for (const client::MemoryItem& item : model.memory.items) {
    if (item.tag == tag) return item.live_bytes;
  }
  return 0;
}

class GatherTest : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& flags) {
    daemon_ = Daemon::Start(flags);
    ASSERT_NE(daemon_, nullptr);
    auto client = Client::Connect(daemon_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = std::make_unique<Client>(*std::move(client));
  }

  client::Model Make(const client::ModelSpec& spec) {
    auto model = client_->CreateModel(spec);
    EXPECT_TRUE(model.ok()) << model.status();
    const auto initialized =
        model->InitializeWith({{"w", client::ConstantInitializer{0.5}}}, 1);
    EXPECT_TRUE(initialized.ok()) << initialized.status();
    return *std::move(model);
  }

  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Client> client_;
};

TEST_F(GatherTest, OneWorkerFillsACycleOfFour) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  const client::Model model = Make(Spec("m", 100, 4));
  auto worker = model.OpenWorker({.name = "only"});
  ASSERT_TRUE(worker.ok()) << worker.status();
  std::vector<float> parameters(100);
  const std::vector<float> gradient(100, 1.0f);
  for (int64_t push = 1; push <= 8; ++push) {
    ASSERT_TRUE(worker->PullNewer(&parameters, absl::ZeroDuration()).ok());
    const auto pushed = worker->Push(gradient);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    ASSERT_TRUE(pushed->accepted) << pushed->message;
    EXPECT_EQ(pushed->published, push % 4 == 0);
    const auto now = model.Describe();
    ASSERT_TRUE(now.ok()) << now.status();
    EXPECT_EQ(now->folded_pushes, push);
    EXPECT_EQ(now->groups[0].position, push % 4);
    const int64_t held = LiveBytes(*now, "gathered");
    EXPECT_EQ(held > 0, push % 4 != 0);
    EXPECT_EQ(now->memory.accumulation_buffer_bytes, held);
  }
  // A drain does not wait for the rest of a cycle, and says what it drops.
  ASSERT_TRUE(worker->PullNewer(&parameters, absl::ZeroDuration()).ok());
  ASSERT_TRUE(worker->Push(gradient)->accepted);
  EXPECT_EQ(daemon_->Terminate(), 0);
  EXPECT_THAT(daemon_->Log(),
              HasSubstr("model \"m\": drained in the middle of a cycle: not "
                        "every group will fold the 1 push held"));
}

TEST_F(GatherTest, AnyOrderOfFourWorkersGivesTheSameBits) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  std::cout << "seed " << kSeed << "\n";
  constexpr size_t kElems = 5000;
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> gradients(4, std::vector<float>(kElems));
  for (auto& gradient : gradients) {
    for (float& g : gradient) g = normal(random);
  }
  std::vector<float> want;
  std::vector<size_t> order = {0, 1, 2, 3};
  do {
    client::ModelSpec spec = Spec(absl::StrCat("m", absl::StrJoin(order, "")),
                                  static_cast<int64_t>(kElems), 4);
    spec.groups[0].hyperparameters.clip_norm = 20;  // the mean's is about 35
    const client::Model model = Make(spec);
    std::vector<client::Worker> workers;
    for (int i = 0; i < 4; ++i) {
      auto worker = model.OpenWorker({.name = absl::StrCat("worker", i)});
      ASSERT_TRUE(worker.ok()) << worker.status();
      workers.push_back(*std::move(worker));
    }
    std::vector<float> parameters(kElems);
    for (int cycle = 0; cycle < 3; ++cycle) {
      for (auto& worker : workers) {
        ASSERT_TRUE(worker.Pull(&parameters).ok());
      }
      for (const size_t w : order) {
        const auto pushed = workers[w].Push(
            gradients[w], {.weight = 0.3 + static_cast<double>(w)});
        ASSERT_TRUE(pushed.ok()) << pushed.status();
        ASSERT_TRUE(pushed->accepted) << pushed->message;
      }
    }
    ASSERT_TRUE(workers[0].Pull(&parameters).ok());
    if (want.empty()) want = parameters;
    EXPECT_TRUE(parameters == want) << spec.name;
  } while (std::next_permutation(order.begin(), order.end()));
}

// Four workers at once, and ingest memory for one payload: each is held, and
// the memory free for the next, long before the cycle is full. Twice, so that
// a cycle's memory is free after it. Held for real, it stays under the ceiling.
TEST_F(GatherTest, IngestMemoryOfOnePayloadTakesAWholeCycle) {
  constexpr int64_t kElems = 4 << 20;
  constexpr int64_t kPayload = kElems * 4;  // 16 MiB
  ASSERT_NO_FATAL_FAILURE(Start(
      {absl::StrCat("--ingest_memory=", kPayload), "--max_push_streams=8"}));
  const auto ceiling = [&] {
    return client_->GetServerInfo()->memory_ceiling_bytes;
  };
  const int64_t before = ceiling();
  client::ModelSpec spec = Spec("m", kElems, 8);
  spec.max_publications = 2;
  const client::Model model = Make(spec);
  // Two moments and two publications; and eight pushes, with little beside
  // them.
  const int64_t reserved = ceiling() - before - 4 * kPayload;
  EXPECT_GE(reserved, 8 * kPayload);
  EXPECT_LE(reserved, 8 * kPayload / 100 * 101);
  const std::vector<float> gradient(static_cast<size_t>(kElems), 0.5f);
  const auto push = [&](int number) {
    auto client =
        Client::Connect(number % 2 == 0 ? daemon_->tcp() : daemon_->uds());
    ASSERT_TRUE(client.ok()) << client.status();
    auto open = client->OpenModel("m");
    ASSERT_TRUE(open.ok()) << open.status();
    auto worker = open->OpenWorker({.name = absl::StrCat("w", number)});
    ASSERT_TRUE(worker.ok()) << worker.status();
    std::vector<float> parameters(gradient.size());
    for (int64_t pushes = 0; pushes < 2; ++pushes) {
      const auto described = open->Describe();
      ASSERT_TRUE(described.ok()) << described.status();
      const auto pushed = worker->Push(gradient, {.version = described->version,
                                                  .timeout = absl::Minutes(1)});
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      ASSERT_TRUE(pushed->accepted) << pushed->message;
    }
  };
  for (int cycle = 1; cycle <= 2; ++cycle) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(push, i);
    for (std::thread& thread : threads) thread.join();
    const auto now = model.Describe();
    ASSERT_TRUE(now.ok()) << now.status();
    EXPECT_EQ(now->version->number, cycle);
    EXPECT_EQ(now->folded_pushes, 8 * cycle);
    EXPECT_EQ(LiveBytes(*now, "gathered"), 0);
    for (const client::MemoryItem& item : now->memory.items) {
      if (item.tag != "gathered") continue;
      EXPECT_GE(item.peak_bytes, 8 * kPayload);
      EXPECT_LE(item.peak_bytes, reserved);
    }
  }
  const int64_t peak = daemon_->PeakMemoryBytes();
  std::cout << "VmHWM " << (peak >> 20) << " MiB, ceiling " << (ceiling() >> 20)
            << " MiB\n";
  if (kMeasures) {
    EXPECT_LT(peak, ceiling());
  }
}

// Small ones and such as one message holds: what they are charged for is what
// the process grows by. (That they let go of what they were read with, touched
// or not, tests/ingest shows.)
TEST_F(GatherTest, PushesHoldLittleMoreThanThemselves) {
  struct Case {
    int64_t elems, pushes;
  };
  for (const auto& [elems, pushes] :
       {Case{256, 2000}, Case{20'000, 300}, Case{100'000, 100}}) {
    ASSERT_NO_FATAL_FAILURE(Start({}));
    const client::Model model = Make(Spec("m", elems, pushes));
    auto worker = model.OpenWorker({.name = "w"});
    ASSERT_TRUE(worker.ok()) << worker.status();
    std::vector<float> gradient(static_cast<size_t>(elems), 0.5f);
    ASSERT_TRUE(worker->Pull(&gradient).ok());
    const int64_t before = daemon_->PeakMemoryBytes();
    for (int64_t push = 1; push < pushes; ++push) {
      const auto pushed = worker->Push(gradient);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      ASSERT_TRUE(pushed->accepted) << pushed->message;
    }
    const auto now = model.Describe();
    ASSERT_TRUE(now.ok()) << now.status();
    const int64_t held = LiveBytes(*now, "gathered");
    EXPECT_GE(held, (pushes - 1) * elems * 4);
    const int64_t grown = daemon_->PeakMemoryBytes() - before;
    std::cout << pushes - 1 << " of " << elems << " elements: held "
              << (held >> 10) << " KiB, VmHWM grew by " << (grown >> 10)
              << " KiB\n";
    if (kMeasures) {
      // What a connection's first pushes take besides.
      EXPECT_LT(grown, held + (int64_t{16} << 20));
    }
  }
}

// The same pushes to a model of GATHER and to one of CLASSIC, which sums them
// as they come. sgd with momentum 1/2 and the learning rate 1/8, as in
// tests/model/gather_test.cc: in either order the sum of four gradients has
// three roundings of at most 2^-24 of S = sum|g|, each m one of M >= |m|, and
// each theta one of T >= |theta|; so the two m differ by
// E <- E/2 + 6/4*2^-24*S + 2*2^-24*M, the two theta by 1/8*E + 2*2^-24*T more.
TEST_F(GatherTest, IsWithinRoundingOfClassicInAnyOrder) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  std::cout << "seed " << kSeed << "\n";
  constexpr size_t kElems = 1000;
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal;
  struct Trained {
    client::Model model;
    std::vector<client::Worker> workers;
    std::vector<float> parameters = std::vector<float>(kElems);
  };
  std::vector<Trained> trained;
  for (const auto buffering :
       {client::Buffering::kClassic, client::Buffering::kGather}) {
    client::ModelSpec spec =
        Spec(buffering == client::Buffering::kGather ? "gather" : "classic",
             static_cast<int64_t>(kElems), 4);
    spec.optimizer.optimizer = client::Optimizer::kSgd;
    spec.optimizer.buffering = buffering;
    spec.groups[0].hyperparameters.learning_rate = 0.125;
    spec.groups[0].hyperparameters.beta1 = 0.5;
    Trained& one = trained.emplace_back(Trained{Make(spec), {}});
    for (int w = 0; w < 4; ++w) {
      auto worker = one.model.OpenWorker({.name = absl::StrCat("worker", w)});
      ASSERT_TRUE(worker.ok()) << worker.status();
      one.workers.push_back(*std::move(worker));
    }
  }
  std::vector<double> error(kElems), m(kElems), theta(kElems, 0.5),
      bound(kElems);
  std::vector<size_t> order = {0, 1, 2, 3};
  for (int cycle = 0; cycle < 24; ++cycle) {
    std::vector<std::vector<float>> gradients(4, std::vector<float>(kElems));
    for (auto& gradient : gradients) {
      for (float& g : gradient) g = normal(random);
    }
    for (Trained& one : trained) {
      for (auto& worker : one.workers) {
        ASSERT_TRUE(worker.Pull(&one.parameters).ok());
      }
      for (const size_t w : order) {
        const auto pushed = one.workers[w].Push(gradients[w]);
        ASSERT_TRUE(pushed.ok()) << pushed.status();
        ASSERT_TRUE(pushed->accepted) << pushed->message;
      }
      ASSERT_TRUE(one.workers[0].Pull(&one.parameters).ok());
    }
    for (size_t e = 0; e < kElems; ++e) {
      double sum = 0;
      for (const auto& gradient : gradients) {
        sum += std::abs(static_cast<double>(gradient[e]));
      }
      m[e] = m[e] / 2 + sum / 4;
      theta[e] += 0.125 * m[e];
      error[e] = error[e] / 2 + 0x1p-24 * (1.5 * sum + 2 * m[e]);
      bound[e] += 0.125 * error[e] + 2 * 0x1p-24 * theta[e];
      ASSERT_NEAR(trained[0].parameters[e], trained[1].parameters[e], bound[e])
          << cycle;
    }
    std::next_permutation(order.begin(), order.end());
  }
  EXPECT_NE(trained[0].parameters, trained[1].parameters)
      << "no order was another";
}

TEST_F(GatherTest, WhatACycleTakesMustFitIntoTheStateMemory) {
  constexpr int64_t kElems = 1 << 20;
  // Two moments, two publications, four pushes; and a little.
  constexpr int64_t kState = (4 + 4) * kElems * 4 / 100 * 105;
  ASSERT_NO_FATAL_FAILURE(Start({absl::StrCat("--state_memory=", kState)}));
  client::ModelSpec spec = Spec("m", kElems, 5);
  spec.max_publications = 2;
  const auto refused = client_->CreateModel(spec);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(client::GetReason(refused.status()), client::Reason::kStateMemory);
  EXPECT_THAT(std::string(refused.status().message()),
              testing::AllOf(HasSubstr("--state_memory"), HasSubstr("GATHER")));
  spec.groups[0].k = 4;
  EXPECT_TRUE(client_->CreateModel(spec).ok());
}

}  // namespace
}  // namespace accrue
