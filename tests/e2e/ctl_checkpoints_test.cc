// accruectl's checkpoints, of the real daemon.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/durability/model_directory.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/training.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using Json = nlohmann::json;

constexpr Training kTraining = {.durability = client::Durability::kMemory,
                                .buffering = client::Buffering::kEmbedded,
                                .workers = 1};

class CtlCheckpointsTest : public testing::Test {
 protected:
  CtlCheckpointsTest()
      : daemon_(Daemon::Start(
            {"--data_dir=" + data_.path(), "--checkpoint_keep=3"})),
        model_(Make(daemon_->tcp(), kTraining)) {}

  Finished Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"accruectl", "--target", daemon_->tcp()});
    return RunProgram(arguments);
  }
  Json RunJson(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--output", "json"});
    const Finished finished = Run(arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return Json::parse(finished.out, nullptr, /*allow_exceptions=*/false);
  }
  void TrainTo(int64_t version) {
    for (const Trained& worker : Train(daemon_->tcp(), kTraining, version)) {
      EXPECT_TRUE(worker.status.ok()) << worker.status;
    }
  }

  // Another model of these tensors, without parameters.
  void Create(const std::string& name, const std::string& tensors) {
    const Finished created =
        RunProgram({"accruectl", "--target", daemon_->tcp(), "create", "-"},
                   absl::StrCat("name: ", name,
                                "\ngroups: [{name: all, hyperparameters: "
                                "{learning_rate: 1}}]\ntensors: ",
                                tensors, "\n"));
    ASSERT_EQ(created.exit_code, 0) << created.err;
  }

  TemporaryDirectory data_;
  std::unique_ptr<Daemon> daemon_;
  client::Model model_;
};

TEST_F(CtlCheckpointsTest, ACheckpointIsWrittenAndListed) {
  TrainTo(2);
  const Json made = RunJson({"checkpoint", "model"});
  EXPECT_EQ(made["version"]["number"], 2);
  EXPECT_EQ(made["folded_pushes"], 2);
  EXPECT_GT(made["size_bytes"], 12 * kTraining.elements);
  TrainTo(3);
  EXPECT_THAT(Run({"checkpoint", "model"}).out,
              MatchesRegex("CHECKPOINT .*\n.* 3 .*\n"));
  const Json listed = RunJson({"checkpoints", "model"});
  ASSERT_EQ(listed.size(), 3) << "the first is of its beginning";
  EXPECT_EQ(listed[0]["version"]["number"], 3);
  EXPECT_EQ(listed[1], made);
  EXPECT_THAT(Run({"checkpoints", "model"}).out,
              HasSubstr(made["name"].get<std::string>()));
}

TEST_F(CtlCheckpointsTest, AModelGoesBackToTheOneThatIsNamed) {
  TrainTo(2);
  const std::vector<float> then = Parameters(daemon_->tcp(), kTraining);
  const std::string name = RunJson({"checkpoint", "model"})["name"];
  TrainTo(4);
  ASSERT_EQ(Run({"checkpoint", "model"}).exit_code, 0);
  const Json restored = RunJson({"restore", "model", name});
  EXPECT_EQ(restored["version"]["number"], 2);
  EXPECT_EQ(restored["folded_pushes"], 2);
  EXPECT_NE(restored["version"]["lineage"],
            RunJson({"checkpoints", "model"})[1]["version"]["lineage"]);
  EXPECT_TRUE(Parameters(daemon_->tcp(), kTraining) == then);
  TrainTo(3);
}

TEST_F(CtlCheckpointsTest, WithoutANameToTheNewest) {
  TrainTo(2);
  ASSERT_EQ(Run({"checkpoint", "model"}).exit_code, 0);
  TrainTo(4);
  const Finished restored = Run({"restore", "model"});
  EXPECT_EQ(restored.exit_code, 0) << restored.err;
  EXPECT_THAT(restored.err, HasSubstr("new lineage"));
  EXPECT_EQ(RunJson({"describe", "model"})["folded_pushes"], 2);
}

TEST_F(CtlCheckpointsTest, AWorkerOfTheOldLineageIsToldOnce) {
  client::Worker worker = Value(model_.OpenWorker({.name = "w"}));
  std::vector<float> parameters(static_cast<size_t>(kTraining.elements));
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  ASSERT_TRUE(Value(worker.Push(parameters)).accepted);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  ASSERT_EQ(Run({"restore", "model"}).exit_code, 0);
  const client::PushResult refused = Value(worker.Push(parameters));
  EXPECT_FALSE(refused.accepted);
  EXPECT_EQ(refused.reason, client::Reason::kLineageChanged);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  EXPECT_TRUE(Value(worker.Push(parameters)).accepted);
}

TEST_F(CtlCheckpointsTest, WhatCannotBeIsSaid) {
  const Finished none = Run({"restore", "model", "checkpoint-7"});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("NOT_FOUND (CHECKPOINT_UNKNOWN)"));
  EXPECT_THAT(Run({"checkpoints", "none"}).err,
              HasSubstr("NOT_FOUND (MODEL_UNKNOWN)"));
  const auto forgetful = Daemon::Start();
  Make(forgetful->tcp(), kTraining);
  for (const char* command : {"checkpoint", "checkpoints", "restore"}) {
    const Finished refused = RunProgram(
        {"accruectl", "--target", forgetful->tcp(), command, "model"});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err,
                HasSubstr("FAILED_PRECONDITION (NO_DATA_DIRECTORY)"));
    EXPECT_THAT(refused.err, HasSubstr("--data_dir"));
  }
}

// By its checkpoints alone, since it cannot be opened.
TEST_F(CtlCheckpointsTest, ADamagedModelIsRestored) {
  TrainTo(2);
  const std::string good = RunJson({"checkpoint", "model"})["name"];
  TrainTo(3);
  const std::string bad = RunJson({"checkpoint", "model"})["name"];
  daemon_->Kill();
  std::ofstream(absl::StrCat(ModelDirectory(data_.path(), "model"), "/", bad,
                             "/manifest.json"))
      << "{}";
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_THAT(Run({"describe", "model"}).err, HasSubstr("DATA_LOSS (DAMAGED)"));
  EXPECT_EQ(RunJson({"checkpoints", "model"})[0]["name"], good);
  EXPECT_EQ(RunJson({"restore", "model", good})["folded_pushes"], 2);
  TrainTo(3);
}

TEST_F(CtlCheckpointsTest, AFileOfTheDaemonsInitializesAModel) {
  TrainTo(2);
  std::filesystem::create_directories(data_ / "import/run");
  ASSERT_EQ(
      Run({"export", "model", data_ / "import/run/m.safetensors"}).exit_code,
      0);
  Create("twin", "[{name: w, shape: [1000]}]");
  const Finished initialized =
      Run({"initialize", "twin", "--import=run/m.safetensors"});
  EXPECT_EQ(initialized.exit_code, 0) << initialized.err;
  std::vector<float> parameters(static_cast<size_t>(kTraining.elements));
  const auto twin =
      Value(Value(client::Client::Connect(daemon_->tcp())).OpenModel("twin"));
  ASSERT_TRUE(twin.Pull(&parameters).ok());
  EXPECT_TRUE(parameters == Parameters(daemon_->tcp(), kTraining));
  EXPECT_EQ(RunJson({"initialize", "twin",
                     "--import=run/m.safetensors"})["initialized"],
            false);
}

TEST_F(CtlCheckpointsTest, AFileThatDoesNotFitLeavesTheModelWithoutParameters) {
  ASSERT_EQ(Run({"export", "model", data_ / "import/m"}).exit_code, 0);
  Create("twin", "[{name: w, shape: [4]}]");
  const Finished wrong = Run({"initialize", "twin", "--import=m"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("INVALID_ARGUMENT (WRONG_SHAPE)"));
  EXPECT_THAT(wrong.err, HasSubstr("tensor \"w\" is F32 [1000]"));
  EXPECT_THAT(Run({"initialize", "twin", "--import=none"}).err,
              HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Run({"initialize", "twin", "--import=../models"}).err,
              HasSubstr("INVALID_ARGUMENT"));
  EXPECT_EQ(RunJson({"describe", "twin"})["state"], "uninitialized");
  EXPECT_EQ(Run({"initialize", "twin"}).exit_code, 2);
}

TEST_F(CtlCheckpointsTest, AFileWithANanIsReadInVain) {
  std::vector<float> values(4);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  const std::string header =
      R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})";
  const uint64_t header_bytes = header.size();
  std::ofstream(data_ / "import/m", std::ios::binary)
      .write(reinterpret_cast<const char*>(&header_bytes), 8)
      .write(header.data(), static_cast<std::streamsize>(header.size()))
      .write(reinterpret_cast<const char*>(values.data()), 16);
  Create("twin", "[{name: w, shape: [4]}]");
  const Finished refused = Run({"initialize", "twin", "--import=m"});
  EXPECT_THAT(refused.err, HasSubstr("INVALID_ARGUMENT (NON_FINITE)"));
  EXPECT_THAT(refused.err, HasSubstr("tensor \"w\": value 3"));
  EXPECT_EQ(RunJson({"describe", "twin"})["state"], "uninitialized");
  EXPECT_EQ(Run({"initialize", "twin", "--initialize=zeros"}).exit_code, 0);
}

}  // namespace
}  // namespace accrue
