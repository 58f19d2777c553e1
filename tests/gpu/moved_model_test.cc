// A model that was kept on one backend is taken up on the other, and goes on
// there in the same bits: from a checkpoint, and from the journal behind it.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "server/device/gpu.h"
#include "tests/device/lacks_gpu.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/gpu/sides.h"

namespace accrue {
namespace {

using client::Buffering;
using client::Optimizer;

struct Moved {
  const char* name;
  Optimizer optimizer;
  Buffering buffering;
  bool nesterov = false;
};

void PrintTo(const Moved& moved, std::ostream* out) { *out << moved.name; }

class MovedModelTest : public testing::TestWithParam<Moved> {
 protected:
  static constexpr int64_t kElems = 100'003;

  void SetUp() override {
    if (FakeProgram() != nullptr) return;
    const auto gpus = OpenCudaGpus({});
    if (LacksGpu(gpus.status())) GTEST_SKIP() << gpus.status().message();
    ASSERT_TRUE(gpus.ok()) << gpus.status();
  }

  // At the address that the one before had, if there was one, which is killed.
  void StartOn(const std::string& device) {
    std::vector<std::string> flags = {"--device=" + device,
                                      "--data_dir=" + data_.path()};
    if (moving_ != nullptr) {
      flags.push_back("--listen=" + moving_->tcp());
      moving_->Kill();
    }
    const bool fake = device == "cuda" && FakeProgram() != nullptr;
    moving_ = Daemon::Start(flags, fake ? FakeProgram() : "accrued");
    ASSERT_NE(moving_, nullptr);
  }
  void Checkpoint() {
    const auto client = client::Client::Connect(moving_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    const auto made = client->OpenModel(GetParam().name)->Checkpoint();
    ASSERT_TRUE(made.ok()) << made.status();
  }

  const TemporaryDirectory data_;
  const TemporaryDirectory twins_data_;
  std::unique_ptr<Daemon> moving_;
};

TEST_P(MovedModelTest, GoesOnInTheSameBits) {
  client::ModelSpec spec =
      Spec(GetParam().name, kElems, GetParam().optimizer, GetParam().buffering);
  if (GetParam().nesterov) {
    spec.optimizer.nesterov = true;
    for (client::GroupSpec& group : spec.groups) {
      group.hyperparameters.clip_norm = 0;  // it looks ahead before that
    }
  }
  spec.durability = client::Durability::kJournal;
  const auto twin =
      Daemon::Start({"--device=cpu", "--data_dir=" + twins_data_.path()});
  ASSERT_NE(twin, nullptr);
  ASSERT_NO_FATAL_FAILURE(StartOn("cpu"));
  Sides sides(*moving_, *twin, spec, {});
  for (const std::string to : {"cuda", "cpu"}) {
    SCOPED_TRACE("to " + to);
    sides.Train(kCycle + 1);
    ASSERT_NO_FATAL_FAILURE(Checkpoint());
    sides.Train(2);
    ASSERT_NO_FATAL_FAILURE(StartOn(to));
    EXPECT_TRUE(SameBits(sides.gpu().Pull(), sides.cpu().Pull()));
    EXPECT_EQ(sides.gpu().Describe().lost_pushes, 0);
  }
  sides.Train(kCycle + 1);
}

INSTANTIATE_TEST_SUITE_P(
    Gpu, MovedModelTest,
    testing::ValuesIn(std::vector<Moved>{
        {"AdamW", Optimizer::kAdamW, Buffering::kEmbedded},
        {"Nesterov", Optimizer::kSgd, Buffering::kEmbedded, true},
        {"ClassicAdam", Optimizer::kAdam, Buffering::kClassic},
        {"GatherAdamW", Optimizer::kAdamW, Buffering::kGather}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace accrue
