// Models that a start could not take up, as an operator finds them: listed
// beside the sound ones, with why; then restored, or deleted.
#include <fstream>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/acked_pushes.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;

constexpr auto kDamaged = v1::Model::STATE_DAMAGED;
constexpr auto kLeftOut = v1::Model::STATE_LEFT_OUT;
constexpr auto kReady = v1::Model::STATE_READY;

class UnavailableModelsTest : public testing::Test {
 protected:
  UnavailableModelsTest() { Start(place_ / "data"); }

  void Start(const std::string& data_dir) {
    data_ = data_dir;
    daemon_ = Daemon::Start({"--data_dir=" + data_});
    ASSERT_NE(daemon_, nullptr);
  }
  // Three, of two checkpoints each beside that of their beginning.
  void MakeModels() {
    for (const char* name : {"above", "hurt", "ordinary"}) {
      models_.push_back(std::make_unique<AckedPushes>(*daemon_, name,
                                                      v1::DURABILITY_JOURNAL));
      for (int i = 0; i < 2; ++i) {
        models_.back()->PushAll(2);
        ASSERT_TRUE(models_.back()->Checkpoint().status.ok());
      }
    }
  }
  AckedPushes& hurt() { return *models_[1]; }
  // A file of the second, and the daemon is started again. Its path.
  std::string Damage(const std::vector<std::string>& environment = {}) {
    daemon_->Kill();
    const std::string path =
        NewestFile(data_, hurt().model(), "/parameters.safetensors");
    FlipBit(path, 5000);
    EXPECT_TRUE(daemon_->Restart(environment)) << daemon_->Log();
    return path;
  }

  std::vector<v1::Model::State> States() {
    std::vector<v1::Model::State> states;
    for (const v1::Model& model : hurt().wire().Models()) {
      states.push_back(model.state());
    }
    return states;
  }
  Finished Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"accruectl", "--target", daemon_->tcp()});
    return RunProgram(arguments);
  }
  Json ListJson(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--output", "json", "list"});
    const Finished finished = Run(flags);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return Json::parse(finished.out, nullptr, /*allow_exceptions=*/false);
  }

  TemporaryDirectory place_;
  std::string data_;
  std::unique_ptr<Daemon> daemon_;
  std::vector<std::unique_ptr<AckedPushes>> models_;
};

TEST_F(UnavailableModelsTest, ADamagedOneIsListedInItsPlaceWithWhy) {
  MakeModels();
  const std::string path = Damage();
  const Ending refused = hurt().Describe();
  ExpectRefused(refused, grpc::StatusCode::DATA_LOSS,
                v1::ErrorDetail::REASON_DAMAGED);

  EXPECT_THAT(States(), ElementsAre(kReady, kDamaged, kReady));
  const std::vector<v1::Model> models = hurt().wire().Models();
  EXPECT_THAT(models[1].unavailable_reason(), HasSubstr(path));
  v1::Model all_that_is_known;
  all_that_is_known.mutable_spec()->set_name("hurt");
  all_that_is_known.set_state(kDamaged);
  all_that_is_known.set_unavailable_reason(refused.status.error_message());
  EXPECT_EQ(models[1].DebugString(), all_that_is_known.DebugString());
  for (const size_t sound : {0, 2}) {
    EXPECT_THAT(models[sound].unavailable_reason(), IsEmpty());
    EXPECT_EQ(models[sound].folded_pushes(), 4);
  }
}

TEST_F(UnavailableModelsTest, EveryPageBeginsWhereTheOneBeforeEnded) {
  MakeModels();
  Damage();
  std::vector<std::string> names;
  v1::ListModelsRequest request;
  request.set_page_size(1);
  do {
    BoundedContext context;
    v1::ListModelsResponse response;
    ASSERT_TRUE(
        hurt().wire().models().ListModels(&context, request, &response).ok());
    ASSERT_EQ(response.models_size(), 1);
    names.push_back(response.models(0).spec().name());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("above", "hurt", "ordinary"));
}

TEST_F(UnavailableModelsTest, AccruectlShowsItInItsTableAndInJson) {
  MakeModels();
  const std::string path = Damage();
  const Finished table = Run({"list"});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("\nabove     ready "));
  EXPECT_THAT(table.out, HasSubstr("\nhurt      damaged\n"));
  EXPECT_THAT(table.out, HasSubstr("\n\nmodel \"hurt\" is damaged: "));
  EXPECT_THAT(table.out, HasSubstr(path));

  const Json models = ListJson();
  ASSERT_EQ(models.size(), 3);
  EXPECT_EQ(models[0]["state"], "ready");
  EXPECT_FALSE(models[0].contains("unavailable_reason"));
  EXPECT_EQ(models[1]["name"], "hurt");
  EXPECT_EQ(models[1]["state"], "damaged");
  EXPECT_THAT(models[1]["unavailable_reason"].get<std::string>(),
              HasSubstr(path));
  EXPECT_EQ(models[1].size(), 3) << "nothing else is known: " << models[1];
}

TEST_F(UnavailableModelsTest, RestoredItIsReady) {
  MakeModels();
  const std::string older = hurt().Checkpoints().at(1);
  Damage();
  // The newest is the damaged one.
  EXPECT_NE(Run({"restore", "hurt"}).exit_code, 0);
  EXPECT_THAT(States(), ElementsAre(kReady, kDamaged, kReady));
  const Finished restored = Run({"restore", "hurt", older});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  EXPECT_THAT(States(), ElementsAre(kReady, kReady, kReady));
  const Finished listed = Run({"list"});
  EXPECT_THAT(listed.out, HasSubstr("\nhurt      ready "));
  EXPECT_THAT(listed.out, Not(HasSubstr("damaged")));
  hurt().TakeBackTo(2);
  hurt().Resume();
  hurt().PushAll(2);
  hurt().ExpectHolds();
}

TEST_F(UnavailableModelsTest, DeletedItIsGoneAndItsNameIsFree) {
  MakeModels();
  Damage();
  const Finished deleted = Run({"delete", "hurt", "--yes"});
  EXPECT_EQ(deleted.exit_code, 0) << deleted.err;
  EXPECT_THAT(States(), ElementsAre(kReady, kReady));
  daemon_->Kill();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_THAT(States(), ElementsAre(kReady, kReady));
  hurt().wire().Make(Wire::Spec("hurt", 10, 1));
  EXPECT_THAT(States(), ElementsAre(kReady, kReady, kReady));
}

class LeftOutModelTest : public UnavailableModelsTest {
 protected:
  // And a fourth, for which there is no memory at the next start: it alone is
  // of more than 1 MiB.
  void LeaveOut() {
    MakeModels();
    hurt().wire().Make(Wire::Spec("large", 100'000, 1));
    daemon_->Kill();
    ASSERT_TRUE(daemon_->Restart({"ACCRUED_STATE_MEMORY=1MiB"}))
        << daemon_->Log();
  }
};

TEST_F(LeftOutModelTest, IsListedWithWhyUntilAStartTakesItUp) {
  LeaveOut();
  EXPECT_THAT(States(), ElementsAre(kReady, kReady, kLeftOut, kReady));
  const Json models = ListJson();
  EXPECT_EQ(models[2]["name"], "large");
  EXPECT_EQ(models[2]["state"], "left_out");
  EXPECT_THAT(models[2]["unavailable_reason"].get<std::string>(),
              HasSubstr("--state_memory"));
  EXPECT_THAT(Run({"list"}).out, HasSubstr("\nlarge     left_out\n"));
  daemon_->Kill();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_THAT(States(), ElementsAre(kReady, kReady, kReady, kReady));
}

TEST_F(LeftOutModelTest, DeletedItIsGone) {
  LeaveOut();
  const Finished deleted = Run({"delete", "large", "--yes"});
  EXPECT_EQ(deleted.exit_code, 0) << deleted.err;
  EXPECT_THAT(States(), ElementsAre(kReady, kReady, kReady));
  daemon_->Kill();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  EXPECT_THAT(States(), ElementsAre(kReady, kReady, kReady));
}

TEST_F(UnavailableModelsTest, ATokenForOtherModelsDoesNotShowIt) {
  MakeModels();
  const auto write = [&](const std::string& name, const std::string& text) {
    const std::string path = place_ / name;
    std::ofstream(path) << text;
    EXPECT_EQ(chmod(path.c_str(), 0600), 0);
    return path;
  };
  const std::string tokens =
      write("tokens",
            "- {name: all, token: token-for-all-models, role: pull}\n"
            "- {name: some, token: token-for-some-models, role: pull,\n"
            "   models: [\"above\", \"ordinary\"]}\n");
  Damage({"ACCRUED_TOKEN_FILE=" + tokens});
  const Json all =
      ListJson({"--token_file", write("all", "token-for-all-models")});
  ASSERT_EQ(all.size(), 3);
  EXPECT_EQ(all[1]["state"], "damaged");
  const Json some =
      ListJson({"--token_file", write("some", "token-for-some-models")});
  ASSERT_EQ(some.size(), 2);
  EXPECT_EQ(some[0]["name"], "above");
  EXPECT_EQ(some[1]["name"], "ordinary");
}

TEST_F(UnavailableModelsTest, APathThatIsNoTextIsListedAllTheSame) {
  Start(place_ / "\xff\xfe");
  MakeModels();
  Damage();
  EXPECT_THAT(States(), ElementsAre(kReady, kDamaged, kReady));
  EXPECT_THAT(Run({"list"}).out, HasSubstr("/\\xff\\xfe/models/hurt@"));
}

}  // namespace
}  // namespace accrue
