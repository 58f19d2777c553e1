// Bytes really sent each way: the daemon and its workers count the same, and
// how many they are for k, dense and sparse pushes and local accumulation, next
// to the article's eq. 55.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "accrue/local_accumulation.h"
#include "tests/e2e/communication.h"

namespace accrue {
namespace {

using client::Compression;
using client::Encoding;
using client::Traffic;

class TrafficTest : public CommunicationTest {
 protected:
  static void Add(const Traffic& more, Traffic& sum) {
    sum.push_request_bytes += more.push_request_bytes;
    sum.push_response_bytes += more.push_response_bytes;
    sum.pull_request_bytes += more.pull_request_bytes;
    sum.pull_response_bytes += more.pull_response_bytes;
  }

  // What the daemon has counted, once that is as much: of a pull's last message
  // it hears when its reader may have gone on.
  static Traffic Counted(const client::Model& model, const Traffic& want) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    Traffic traffic;
    do {
      const auto description = model.Describe();
      EXPECT_TRUE(description.ok()) << description.status();
      if (!description.ok()) break;
      traffic = description->traffic;
    } while (traffic != want && absl::Now() < deadline);
    return traffic;
  }
};

TEST_F(TrafficTest, TheDaemonAndItsWorkersCountTheSame) {
  constexpr int64_t kElems = 1'500'000;  // several messages each way
  const client::Model model = Make(PlainSgd("m", {kElems, 10}, {2, 2}));
  const std::vector<Compression> compressions = {
      {}, {.encoding = Encoding::kTopK}, {.encoding = Encoding::kInt8}};
  std::vector<client::Worker> workers;
  for (size_t i = 0; i < compressions.size(); ++i) {
    workers.push_back(*model.OpenWorker(
        {.name = absl::StrCat("w", i), .compression = compressions[i]}));
  }
  std::vector<float> parameters(kElems + 10);
  const std::vector<float> gradient(kElems + 10, 0.25f);
  std::vector<float> few(10);
  for (int round = 0; round < 4; ++round) {
    for (client::Worker& worker : workers) {
      ASSERT_TRUE(worker.Pull(&parameters).ok());
      ASSERT_TRUE(worker.PullNewer(&parameters, absl::ZeroDuration()).ok());
      ASSERT_TRUE(worker.Pull(&few, {.tensors = {"t1"}}).ok());
      ASSERT_FALSE(worker.Pull(&few, {.tensors = {"absent"}}).ok());
      const auto pushed = worker.Push(gradient, {.loss = 1.5});
      ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
      // Of the newest version, so that it is refused for what it holds, and not
      // before the daemon has read it.
      ASSERT_TRUE(worker.Pull(&parameters).ok());
      EXPECT_FALSE(
          worker.Push(std::vector<float>(kElems + 10, INFINITY))->accepted);
    }
  }
  Traffic sum;
  for (const client::Worker& worker : workers) Add(worker.traffic(), sum);
  EXPECT_EQ(Counted(model, sum), sum);
  EXPECT_GT(workers[0].traffic().push_request_bytes, 8 * 4 * kElems);
  EXPECT_LT(workers[1].traffic().push_request_bytes,
            workers[0].traffic().push_request_bytes / 4);
}

// 784-256-128-10, and 16 minibatches of one worker.
constexpr int64_t kElems = 235'146;
constexpr int kMinibatches = 16;

struct Measured {
  double in = 0;   // to the daemon, a minibatch
  double out = 0;  // from it
};

TEST_F(TrafficTest, OfAMinibatchNextToTheArticle) {
  const auto measure = [&](int64_t k, const Compression& compression,
                           bool local) {
    const client::Model model =
        Make(PlainSgd(absl::StrCat("k", k, Name(compression.encoding), local),
                      {kElems}, {k}));
    client::Worker worker = *model.OpenWorker({.compression = compression});
    std::vector<float> parameters(kElems);
    const std::vector<float> gradient(kElems, 0.5f);
    client::LocalAccumulation sum(kElems);
    EXPECT_TRUE(worker.Pull(&parameters).ok());
    const Traffic before = worker.traffic();
    for (int i = 1; i <= kMinibatches; ++i) {
      if (local) {
        EXPECT_TRUE(sum.Add(gradient).ok());
        if (i % k == 0) {
          EXPECT_TRUE(sum.PushTo(worker)->accepted);
        }
      } else {
        EXPECT_TRUE(worker.Push(gradient)->accepted);
      }
      if (i % k == 0) {
        EXPECT_TRUE(worker.PullNewer(&parameters, absl::Seconds(10)).ok());
      }
    }
    const Traffic after = worker.traffic();
    EXPECT_EQ(Counted(model, after), after);
    return Measured{static_cast<double>(
                        after.push_request_bytes + after.pull_request_bytes -
                        before.push_request_bytes - before.pull_request_bytes) /
                        kMinibatches,
                    static_cast<double>(after.push_response_bytes +
                                        after.pull_response_bytes -
                                        before.push_response_bytes -
                                        before.pull_response_bytes) /
                        kMinibatches};
  };
  const Compression dense;
  const Compression sparse = {.encoding = Encoding::kTopK, .top_fraction = 0.1};
  const double n = 4.0 * kElems;
  struct Row {
    const char* name;
    int64_t k;
    Compression compression;
    bool local;
    double in, out;  // of n: what the topology needs, indices included
  };
  const std::vector<Row> rows = {
      {"k = 1, dense", 1, dense, false, 1, 1},
      {"k = 4, dense", 4, dense, false, 1, 0.25},
      {"k = 4, dense, accumulated locally", 4, dense, true, 0.25, 0.25},
      {"k = 1, top 10 %", 1, sparse, false, 0.2, 1},
      {"k = 4, top 10 %", 4, sparse, false, 0.2, 0.25},
      {"k = 4, top 10 %, accumulated locally", 4, sparse, true, 0.05, 0.25},
  };
  for (const Row& row : rows) {
    const Measured got = measure(row.k, row.compression, row.local);
    std::printf("%-38s %9.0f in %9.0f out, of dense k = 1: 1/%.2f 1/%.2f\n",
                row.name, got.in, got.out, n / got.in, n / got.out);
    // A header and the fields' tags are below 1 kB a push or pull.
    EXPECT_GE(got.in, row.in * n - 8) << row.name;
    EXPECT_LE(got.in, row.in * n + 2048) << row.name;
    EXPECT_GE(got.out, row.out * n) << row.name;
    EXPECT_LE(got.out, row.out * n + 2048) << row.name;
  }
}

}  // namespace
}  // namespace accrue
