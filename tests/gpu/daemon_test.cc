// The real daemon on a GPU, over loopback, beside one on the CPU: what both are
// told the same, they publish in the same bits.
#include "tests/e2e/daemon.h"

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accrue/client.h"
#include "server/device/gpu.h"
#include "tests/device/lacks_gpu.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/gpu/sides.h"

namespace accrue {
namespace {

using client::Buffering;
using client::Encoding;
using client::Optimizer;

// Both daemons, for all tests of a suite; without a GPU, none.
template <class Base>
class WithDaemons : public Base {
 protected:
  static void SetUpTestSuite() {
    if (FakeProgram() == nullptr) {
      const auto gpus = OpenCudaGpus({});
      if (LacksGpu(gpus.status())) {
        no_gpu_ = std::string(gpus.status().message());
        return;
      }
      ASSERT_TRUE(gpus.ok()) << gpus.status();
      name_ = (*gpus)[0]->name();
      product_ = (*gpus)[0]->product();
      gpu_ = Daemon::Start({"--device=cuda"});
    } else {
      name_ = "fake:0";
      product_ = "fake";
      gpu_ = Daemon::Start({"--device=cuda"}, FakeProgram());
    }
    cpu_ = Daemon::Start({"--device=cpu"});
  }
  static void TearDownTestSuite() {
    gpu_.reset();
    cpu_.reset();
  }

  void SetUp() override {
    if (!no_gpu_.empty()) GTEST_SKIP() << no_gpu_;
    ASSERT_NE(gpu_, nullptr);
    ASSERT_NE(cpu_, nullptr);
  }

  static Sides Make(const client::ModelSpec& spec,
                    const client::Compression& compression = {}) {
    return Sides(*gpu_, *cpu_, spec, compression);
  }

  inline static std::string no_gpu_, name_, product_;
  inline static std::unique_ptr<Daemon> gpu_, cpu_;
};

struct Training {
  const char* name;
  Optimizer optimizer;
  Buffering buffering;
  client::Compression compression = {};
};

void PrintTo(const Training& training, std::ostream* out) {
  *out << training.name;
}

class GpuTrainingTest : public WithDaemons<testing::TestWithParam<Training>> {};

TEST_P(GpuTrainingTest, PublishesTheBitsOfTheCpu) {
  const Training& training = GetParam();
  Sides sides =
      Make(Spec(training.name, 100'003, training.optimizer, training.buffering),
           training.compression);
  sides.Train(3 * kCycle);
}

INSTANTIATE_TEST_SUITE_P(
    Gpu, GpuTrainingTest,
    testing::ValuesIn(std::vector<Training>{
        {"Sgd", Optimizer::kSgd, Buffering::kEmbedded},
        {"AdamW", Optimizer::kAdamW, Buffering::kEmbedded},
        {"Lamb", Optimizer::kLamb, Buffering::kEmbedded},
        {"Lion", Optimizer::kLion, Buffering::kEmbedded},
        {"ClassicSgd", Optimizer::kSgd, Buffering::kClassic},
        {"ClassicAdam", Optimizer::kAdam, Buffering::kClassic},
        {"ClassicLamb", Optimizer::kLamb, Buffering::kClassic},
        {"ClassicLion", Optimizer::kLion, Buffering::kClassic},
        {"GatherSgd", Optimizer::kSgd, Buffering::kGather},
        {"GatherAdamW", Optimizer::kAdamW, Buffering::kGather},
        {"Bf16",
         Optimizer::kAdamW,
         Buffering::kEmbedded,
         {.encoding = Encoding::kBf16}},
        {"F16",
         Optimizer::kAdamW,
         Buffering::kEmbedded,
         {.encoding = Encoding::kF16}},
        {"Int8",
         Optimizer::kAdamW,
         Buffering::kEmbedded,
         {.encoding = Encoding::kInt8}},
        {"TopK",
         Optimizer::kAdamW,
         Buffering::kEmbedded,
         {.encoding = Encoding::kTopK}},
        {"GatherTopK",
         Optimizer::kSgd,
         Buffering::kGather,
         {.encoding = Encoding::kTopK}}}),
    [](const testing::TestParamInfo<Training>& info) {
      return info.param.name;
    });

class GpuDaemonTest : public WithDaemons<testing::Test> {};

TEST_F(GpuDaemonTest, SaysWhichDeviceItHas) {
  const auto info = client::Client::Connect(gpu_->tcp())->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  ASSERT_FALSE(info->devices.empty());
  EXPECT_EQ(info->devices[0], name_);
  ASSERT_EQ(info->device_infos.size(), info->devices.size());
  EXPECT_EQ(info->device_infos[0].name, name_);
  EXPECT_EQ(info->device_infos[0].product, product_);
  EXPECT_GT(info->device_infos[0].total_bytes,
            info->device_infos[0].free_bytes);
  EXPECT_EQ(info->device_infos[0].fault, "");
}

// 100 MB and more: pushes on data connections, through every slot of the ring
// several times, while others come and go.
TEST_F(GpuDaemonTest, ModelsThatTrainAtTheSameTimeDoNotTouchEachOther) {
  const std::vector<client::ModelSpec> specs = {
      Spec("large", 25'000'003, Optimizer::kAdamW, Buffering::kEmbedded),
      Spec("middling", 3'000'000, Optimizer::kSgd, Buffering::kClassic),
      Spec("small", 5'000, Optimizer::kLamb, Buffering::kEmbedded),
      Spec("held", 2'000'000, Optimizer::kAdamW, Buffering::kGather)};
  std::vector<std::thread> threads;
  for (const client::ModelSpec& spec : specs) {
    threads.emplace_back([&spec] { Make(spec).Train(2 * kCycle); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(GpuDaemonTest, ReportsTwelveBytesAParameterOfAdamAndNoBuffer) {
  constexpr int64_t kElems = 1'000'000;
  Sides sides =
      Make(Spec("m", kElems, Optimizer::kAdamW, Buffering::kEmbedded));
  const client::MemoryReport memory = sides.gpu().Describe().memory;
  EXPECT_EQ(memory.accumulation_buffer_bytes, 0);
  int64_t device_bytes = 0;
  for (const client::MemoryItem& item : memory.items) {
    if (item.tag == "momentum" || item.tag == "variance" ||
        item.tag == "device_parameters") {
      EXPECT_EQ(item.live_bytes, 4 * kElems) << item.tag;
      device_bytes += item.live_bytes;
    }
  }
  EXPECT_EQ(device_bytes, 12 * kElems);
}

// The fault is between two chunks of a pass: some of a push is folded then, and
// some is not.
TEST_F(GpuDaemonTest, AFaultPoisonsOneModelUntilItIsInitializedAgain) {
  const auto faulty_daemon =
      Daemon::Start({"--device=cuda"},
                    FakeProgram() == nullptr ? kFaultyProgram : FakeProgram());
  ASSERT_NE(faulty_daemon, nullptr);
  const auto spec = [](const char* name, int64_t elems) {
    return Spec(name, elems, Optimizer::kAdamW, Buffering::kEmbedded);
  };
  Side faulty(*faulty_daemon, spec("faulty", kHalfFoldedElems), {});
  Sides sound(*faulty_daemon, *cpu_, spec("sound", 50'000), {});
  Side reference(*cpu_, spec("reference", kHalfFoldedElems), {});
  for (int64_t i = 0; i < kGoodPasses; ++i) {
    const auto pushed = faulty.Push(Gradient(kHalfFoldedElems, i));
    ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
  }
  const auto failed = faulty.Push(Gradient(kHalfFoldedElems, kGoodPasses));
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal)
      << failed.status();
  EXPECT_EQ(faulty.Describe().state,
            client::ModelDescription::State::kPoisoned);
  ASSERT_NO_FATAL_FAILURE(sound.Train(2 * kCycle));

  ASSERT_NO_FATAL_FAILURE(faulty.Initialize(/*restore=*/true));
  EXPECT_EQ(faulty.Describe().state, client::ModelDescription::State::kReady);
  for (int64_t i = 0; i < 2 * kCycle; ++i) {
    for (Side* side : {&faulty, &reference}) {
      const auto pushed = side->Push(Gradient(kHalfFoldedElems, 100 + i));
      ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
    }
    EXPECT_TRUE(SameBits(faulty.Pull(), reference.Pull()))
        << "after push " << i;
  }
  ASSERT_NO_FATAL_FAILURE(sound.Train(kCycle));
}

}  // namespace
}  // namespace accrue
