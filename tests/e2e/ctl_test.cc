// accruectl, each subcommand, against the real daemon.

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using Json = nlohmann::json;

// Momentum 1/2 and dampening 1/2 over two pushes; everything is a power of two
// and so exact.
constexpr char kSpec[] =
    "name: m\n"
    "optimizer: {optimizer: sgd}\n"
    "groups:\n"
    "  - name: all\n"
    "    k: 2\n"
    "    hyperparameters: {learning_rate: 0.5, beta1: 0.5, dampening: 0.5}\n"
    "tensors:\n"
    "  - {name: w, shape: [2, 2]}\n"
    "  - {name: b, shape: [2]}\n"
    "max_pushes_per_worker: 1\n"
    "initializers:\n"
    "  - {tensor: w, constant: 1}\n"
    "  - {tensor: b, constant: -1}\n";

class CtlTest : public testing::Test {
 protected:
  void SetUp() override {
    daemon_ = Daemon::Start();
    ASSERT_NE(daemon_, nullptr);
  }

  Finished Run(std::vector<std::string> arguments,
               const std::string& input = "") {
    arguments.insert(arguments.begin(),
                     {"accruectl", "--target", daemon_->tcp()});
    return RunProgram(arguments, input);
  }

  // Its JSON; it must end well.
  Json RunJson(std::vector<std::string> arguments,
               const std::string& input = "") {
    arguments.insert(arguments.end(), {"--output", "json"});
    const Finished finished = Run(arguments, input);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_EQ(finished.err, "");
    return Json::parse(finished.out, nullptr, /*allow_exceptions=*/false);
  }

  void Create() { ASSERT_EQ(Run({"create", "-"}, kSpec).exit_code, 0); }

  // A worker's push of gradients that are all `value`.
  void Push(const std::string& worker_name, float value) {
    const auto client = client::Client::Connect(daemon_->tcp());
    ASSERT_TRUE(client.ok()) << client.status();
    const auto model = client->OpenModel("m");
    ASSERT_TRUE(model.ok()) << model.status();
    auto worker = model->OpenWorker({.name = worker_name});
    ASSERT_TRUE(worker.ok()) << worker.status();
    std::vector<float> parameters(6);
    ASSERT_TRUE(worker->Pull(&parameters).ok());
    const auto pushed =
        worker->Push(std::vector<float>(6, value), {.loss = 0.5});
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    ASSERT_TRUE(pushed->accepted) << pushed->message;
  }

  std::string Path(const std::string& name) {
    return absl::StrCat(daemon_->directory(), "/", name);
  }

  std::unique_ptr<Daemon> daemon_;
};

TEST_F(CtlTest, SaysWhyLionCannotAccumulateEmbedded) {
  const std::string spec =
      "name: lion\noptimizer: {optimizer: lion}\n"
      "groups: [{name: all, k: 4, hyperparameters: {learning_rate: 1}}]\n"
      "tensors: [{name: w, shape: [2]}]\n";
  const Finished refused = Run({"create", "-"}, spec);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("needs beta1 = beta2"));
  EXPECT_THAT(refused.err, HasSubstr("use CLASSIC or GATHER"));
  EXPECT_EQ(Run({"describe", "lion"}).exit_code, 1);
  const std::string optimizer = "optimizer: lion";
  std::string classic = spec;
  classic.insert(classic.find(optimizer) + optimizer.size(),
                 ", buffering: classic");
  EXPECT_EQ(Run({"create", "-"}, classic).exit_code, 0);
}

TEST_F(CtlTest, CreateSaysWhatItCreatedAndAgainIsNoError) {
  const Finished created = Run({"create", "-"}, kSpec);
  EXPECT_EQ(created.exit_code, 0) << created.err;
  EXPECT_THAT(created.out, MatchesRegex("MODEL  STATE .*\nm      ready .*\n"));
  EXPECT_EQ(Run({"create", "-"}, kSpec).exit_code, 0);
  const Finished other = Run({"create", "-", "--name=m"},
                             absl::StrCat(kSpec, "max_staleness: 1\n"));
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, HasSubstr("ALREADY_EXISTS (MODEL_EXISTS)"));
}

TEST_F(CtlTest, CreateReadsFilesAndLeavesAModelWithoutParametersWaiting) {
  const std::string spec = absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"),
                                        "/client/ctl/example.yaml");
  const Json example = RunJson({"create", spec});
  EXPECT_EQ(example["name"], "example");
  EXPECT_EQ(example["state"], "ready");
  EXPECT_EQ(example["parameter_count"], 101770);

  const std::string json =
      R"({"name":"bare","tensors":[{"name":"w","shape":[3]}],
          "groups":[{"name":"all","hyperparameters":{"learning_rate":1}}]})";
  std::ofstream(Path("bare.json")) << json;
  EXPECT_EQ(RunJson({"create", Path("bare.json")})["state"], "uninitialized");
  const Json initialized =
      RunJson({"initialize", "bare", "--initialize=uniform:0,1", "--seed=3"});
  EXPECT_EQ(initialized["initialized"], true);
  EXPECT_EQ(initialized["version"]["number"], 0);
  EXPECT_EQ(
      RunJson({"initialize", "bare", "--initialize=zeros"})["initialized"],
      false);
}

TEST_F(CtlTest, ASpecThatTheDaemonRefusesIsSaidWithItsReason) {
  const Finished refused =
      Run({"create", "-"},
          "name: m\n"
          "groups: [{name: all, hyperparameters: {learning_rate: -1}}]\n"
          "tensors: [{name: w, shape: [2]}]\n");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("INVALID_ARGUMENT (INVALID_SPEC)"));
  EXPECT_THAT(refused.err, HasSubstr("learning_rate"));
}

TEST_F(CtlTest, ListShowsEveryModel) {
  EXPECT_THAT(RunJson({"list"}), IsEmpty());
  Create();
  ASSERT_EQ(Run({"create", "-", "--name=n"}, kSpec).exit_code, 0);
  const Json models = RunJson({"list"});
  ASSERT_EQ(models.size(), 2);
  EXPECT_EQ(models[0]["name"], "m");
  EXPECT_EQ(models[1]["name"], "n");
  EXPECT_THAT(Run({"list"}).out, HasSubstr("\nn      ready"));
}

TEST_F(CtlTest, ModelsOfManyTensorsAreListedHoweverMuchThereIsToSay) {
  const auto client = client::Client::Connect(daemon_->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  client::ModelSpec spec;
  spec.groups = {{.name = "all", .hyperparameters = {.learning_rate = 1}}};
  // 2 MB of names a model: three models are more than a message of chunks.
  for (int i = 0; i < 10'000; ++i) {
    spec.tensors.push_back(
        {.name = absl::StrCat(std::string(200, 'x'), i), .shape = {1}});
  }
  for (const char* name : {"a", "b", "c"}) {
    spec.name = name;
    const auto model = client->CreateModel(spec);
    ASSERT_TRUE(model.ok()) << model.status();
  }
  const Finished listed = Run({"list"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  for (const char* name : {"\na ", "\nb ", "\nc "}) {
    EXPECT_THAT(listed.out, HasSubstr(name));
  }
}

TEST_F(CtlTest, DescribeShowsCyclesWorkersMemoryAndSessions) {
  Create();
  Push("first", 1);
  Push("second", 1);
  Push("first", 1);
  const Json model = RunJson({"describe", "m"});
  EXPECT_EQ(model["version"]["number"], 1);
  EXPECT_EQ(model["folded_pushes"], 3);
  EXPECT_EQ(model["last_loss"], 0.5);
  EXPECT_EQ(model["groups"][0]["position"], 1);
  EXPECT_EQ(model["groups"][0]["updates"], 1);
  EXPECT_THAT(model["pushed_workers"], ElementsAre("first"));
  EXPECT_THAT(model["missing_workers"], ElementsAre("second"));
  EXPECT_THAT(model["devices"], ElementsAre("cpu"));
  EXPECT_EQ(model["memory"]["accumulation_buffer_bytes"], 0);
  EXPECT_GT(model["memory"]["ceiling_bytes"], 0);
  ASSERT_EQ(model["sessions"].size(), 2);
  EXPECT_EQ(model["sessions"][0]["worker"], "first");
  EXPECT_EQ(model["sessions"][0]["pushes_this_version"], 1);
  EXPECT_EQ(model["spec"]["optimizer"]["optimizer"], "sgd");

  const std::string text = Run({"describe", "m"}).out;
  for (const char* part :
       {"devices       cpu\n", "pushed        first\n",
        "missing       second\n", "all    2       1/2", "[2, 2]",
        "moments on the device", "publications (",
        "accumulation buffer        0 B", "ceiling of the daemon",
        model["version"]["lineage"].get_ref<const std::string&>().c_str()}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST_F(CtlTest, ADescribedSpecCanBeCreatedAgain) {
  Create();
  Json spec = RunJson({"describe", "m"})["spec"];
  // The very same: no error.
  EXPECT_EQ(Run({"create", "-"}, spec.dump()).exit_code, 0);
  EXPECT_EQ(RunJson({"create", "-", "--name=twin"}, spec.dump())["state"],
            "uninitialized");
}

TEST_F(CtlTest, SessionsShowsWhoIsThere) {
  Create();
  Push("first", 1);
  const Json sessions = RunJson({"sessions", "m"});
  ASSERT_EQ(sessions.size(), 1);
  EXPECT_EQ(sessions[0]["worker"], "first");
  EXPECT_EQ(sessions[0]["last_sequence"], 1);
  EXPECT_THAT(Run({"sessions", "m"}).out, HasSubstr("first   "));
}

TEST_F(CtlTest, WatchSaysEachVersionAsItComes) {
  Create();
  const auto watch = Program::Start({"accruectl", "watch", "m", "--target",
                                     daemon_->uds(), "--until_version=1"});
  ASSERT_NE(watch, nullptr);
  ASSERT_TRUE(watch->AwaitOutput("all\n"));
  Push("first", 1);
  Push("second", 1);
  EXPECT_EQ(watch->AwaitExit(), 0) << watch->err();
  EXPECT_THAT(watch->out(), MatchesRegex("TIME .*\n.* 0 .*\n.* 1 .* 0.5 .*\n"));

  // Two pushes are a full cycle, one and an end-cycle are not.
  Push("first", 1);
  ASSERT_EQ(Run({"end-cycle", "m"}).exit_code, 0);
  const Json notice = RunJson({"watch", "m", "--count=1"});
  EXPECT_EQ(notice["version"]["number"], 2);
  EXPECT_EQ(notice["missing_pushes"], 1);
  EXPECT_EQ(notice["changed_bytes"], 24);
  EXPECT_THAT(notice["changed_groups"], ElementsAre("all"));
  EXPECT_THAT(Run({"watch", "m", "--count=1"}).out,
              HasSubstr("short: 1 missing"));
}

TEST_F(CtlTest, UpdateChangesWhatItNames) {
  Create();
  const Json model = RunJson({"update", "m", "--group=all", "--lr=0.25",
                              "--schedule={kind: linear, total_updates: 4}"});
  const Json& hyperparameters = model["spec"]["groups"][0]["hyperparameters"];
  EXPECT_EQ(hyperparameters["learning_rate"], 0.25);
  EXPECT_EQ(hyperparameters["beta1"], 0.5);
  EXPECT_EQ(hyperparameters["schedule"]["kind"], "linear");
  const Finished text = Run({"update", "m", "--lr=0.125"});
  EXPECT_THAT(text.out, HasSubstr("lr 0.125"));
  EXPECT_THAT(text.err, HasSubstr("next cycle"));
  const Finished refused = Run({"update", "m", "--group=none", "--lr=1"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("INVALID_SPEC"));
}

TEST_F(CtlTest, EndCycleClosesWhatIsOpen) {
  Create();
  const Json none = RunJson({"end-cycle", "m"});
  EXPECT_THAT(none["closed_groups"], IsEmpty());
  EXPECT_EQ(none["version"]["number"], 0);
  Push("first", 1);
  const Json closed = RunJson({"end-cycle", "m"});
  EXPECT_THAT(closed["closed_groups"], ElementsAre("all"));
  EXPECT_THAT(closed["missing_pushes"], ElementsAre(1));
  EXPECT_EQ(closed["version"]["number"], 1);
  EXPECT_THAT(Run({"end-cycle", "m"}).out, HasSubstr("no cycle was open"));
}

TEST_F(CtlTest, AnExportInitializesAnotherModelWithTheSameParameters) {
  Create();
  Push("first", 1);
  Push("second", 3);
  const Json exported = RunJson({"export", "m", Path("m.safetensors")});
  EXPECT_EQ(exported["version"]["number"], 1);
  ASSERT_EQ(Run({"create", "-"},
                "name: n\n"
                "groups: [{name: all, hyperparameters: {learning_rate: 1}}]\n"
                "tensors: [{name: w, shape: [2, 2]}, {name: b, shape: [2]}]\n")
                .exit_code,
            0);
  const Finished initialized =
      Run({"initialize", "n", "--values", Path("m.safetensors")});
  EXPECT_EQ(initialized.exit_code, 0) << initialized.err;

  const auto client = client::Client::Connect(daemon_->tcp());
  ASSERT_TRUE(client.ok()) << client.status();
  std::vector<float> parameters(6);
  ASSERT_TRUE(client->OpenModel("n")->Pull(&parameters).ok());
  // m = 1/2 * mean(1, 3) = 1; theta = +-1 - 1/2 * 1.
  EXPECT_THAT(parameters, ElementsAre(0.5, 0.5, 0.5, 0.5, -1.5, -1.5));
}

TEST_F(CtlTest, AnExportIsWhatPythonsPackageLoads) {
  const char* found = std::getenv("ACCRUE_PYTHON");
  const std::string python = found == nullptr ? "ACCRUE_PYTHON" : found;
  if (!std::ifstream(python)) {
    GTEST_SKIP() << python << " is not there: deploy/dependencies/install.sh "
                 << "--with-tests makes it";
  }
  Create();
  Push("first", 1);
  Push("second", 3);
  constexpr char kScript[] =
      "import sys, safetensors, safetensors.numpy\n"
      "arrays = safetensors.numpy.load_file(sys.argv[1])\n"
      "print({k: v.tolist() for k, v in sorted(arrays.items())})\n"
      "with safetensors.safe_open(sys.argv[1], 'np') as f:\n"
      "    print(f.metadata()['version'], f.metadata()['folded_pushes'],\n"
      "          len(f.metadata()['lineage']))\n";
  for (const char* encoding : {"f32", "f16"}) {
    ASSERT_EQ(Run({"export", "m", Path("m"), "--encoding", encoding}).exit_code,
              0);
    const Finished loaded = RunProgram({python, "-c", kScript, Path("m")});
    EXPECT_EQ(loaded.exit_code, 0) << loaded.err;
    EXPECT_EQ(loaded.out,
              "{'b': [-1.5, -1.5], 'w': [[0.5, 0.5], [0.5, 0.5]]}\n1 2 32\n");
  }
  // NumPy has no bfloat16; its bits are the upper half of a float's.
  ASSERT_EQ(Run({"export", "m", Path("m"), "--encoding=bf16", "--tensors=b"})
                .exit_code,
            0);
  const Finished loaded = RunProgram(
      {python, "-c",
       "import sys, safetensors\n"
       "blob = open(sys.argv[1], 'rb').read()\n"
       "(name, info), = safetensors.deserialize(blob)\n"
       "print(name, info['dtype'], info['shape'], info['data'].hex())\n",
       Path("m")});
  EXPECT_EQ(loaded.out, "b BF16 [2] c0bfc0bf\n") << loaded.err;
}

TEST_F(CtlTest, AnExportThatFailsLeavesWhatWasThere) {
  Create();
  std::ofstream(Path("m")) << "precious";
  EXPECT_EQ(Run({"export", "none", Path("m")}).exit_code, 1);
  EXPECT_EQ(Run({"export", "m", Path("m"), "--tensors=x"}).exit_code, 2);
  EXPECT_EQ(Run({"export", "m", Path("none/m")}).exit_code, 4);
  std::stringstream text;
  text << std::ifstream(Path("m")).rdbuf();
  EXPECT_EQ(text.str(), "precious");
}

TEST_F(CtlTest, ValuesOfAnotherShapeAreRefusedHere) {
  Create();
  ASSERT_EQ(Run({"export", "m", Path("m")}).exit_code, 0);
  ASSERT_EQ(Run({"create", "-"},
                "name: n\n"
                "groups: [{name: all, hyperparameters: {learning_rate: 1}}]\n"
                "tensors: [{name: w, shape: [4]}]\n")
                .exit_code,
            0);
  const Finished refused = Run({"initialize", "n", "--values", Path("m")});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("tensor \"w\": shape [2, 2], want [4]"));
}

TEST_F(CtlTest, DeleteWantsToBeSureWhereNobodyCanBeAsked) {
  Create();
  EXPECT_EQ(Run({"delete", "m"}, "y\n").exit_code, 2);
  EXPECT_THAT(Run({"list"}).out, HasSubstr("\nm "));
  EXPECT_EQ(RunJson({"delete", "m", "--yes"})["deleted"], "m");
  const Finished gone = Run({"delete", "m", "--yes"});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.err, HasSubstr("NOT_FOUND (MODEL_UNKNOWN)"));
}

TEST_F(CtlTest, ServerInfoShowsTheLimits) {
  const Json info = RunJson({"server-info"});
  EXPECT_THAT(info["encodings"], ElementsAre("f32", "bf16", "f16"));
  EXPECT_GT(info["ingest_memory_bytes"], 0);
  EXPECT_EQ(info["draining"], false);
  ASSERT_EQ(info["device_infos"].size(), info["devices"].size());
  EXPECT_EQ(info["device_infos"][0]["name"], info["devices"][0]);
  EXPECT_THAT(Run({"server-info"}).out, HasSubstr("ingest memory"));
}

TEST_F(CtlTest, TheTargetMayComeFromTheEnvironment) {
  const Finished listed = RunProgram(
      {"/usr/bin/env", "ACCRUE_TARGET=" + daemon_->uds(),
       std::string(std::getenv("ACCRUE_BIN_DIR")) + "/accruectl", "list"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
}

TEST_F(CtlTest, ErrorsOfTheDaemonAreObjectsWithTheirReason) {
  const Finished unknown = Run({"describe", "none", "-o", "json"});
  EXPECT_EQ(unknown.exit_code, 1);
  const Json error = Json::parse(unknown.err)["error"];
  EXPECT_EQ(error["code"], "NOT_FOUND");
  EXPECT_EQ(error["reason"], "MODEL_UNKNOWN");
  EXPECT_EQ(error["subject"], "none");
}

}  // namespace
}  // namespace accrue
