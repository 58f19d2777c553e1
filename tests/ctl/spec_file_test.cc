#include "client/ctl/spec_file.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "client/ctl/description_json.h"
#include "client/ctl/failure.h"

namespace accrue::ctl {
namespace {

using client::Initializer;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kSmallest[] =
    "name: m\n"
    "groups:\n"
    "  - name: all\n"
    "    hyperparameters: {learning_rate: 0.1}\n"
    "tensors:\n"
    "  - {name: w, shape: [2, 3]}\n";

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

std::string ExampleText() {
  const std::string path = std::string(std::getenv("ACCRUE_SOURCE_DIR")) +
                           "/client/ctl/example.yaml";
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(SpecFileTest, TheSmallestSpecHasEveryDefault) {
  const auto file = ParseSpecFile(kSmallest, "m.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  const client::ModelSpec& spec = file->spec;
  EXPECT_EQ(spec.name, "m");
  ASSERT_EQ(spec.tensors.size(), 1);
  EXPECT_EQ(spec.tensors[0].shape, (std::vector<int64_t>{2, 3}));
  ASSERT_EQ(spec.groups.size(), 1);
  EXPECT_EQ(spec.groups[0].k, 1);
  EXPECT_FALSE(spec.groups[0].update_every.has_value());
  EXPECT_EQ(spec.groups[0].hyperparameters.learning_rate, 0.1);
  EXPECT_FALSE(spec.groups[0].hyperparameters.beta1.has_value());
  EXPECT_EQ(spec.optimizer.optimizer, client::Optimizer::kAdamW);
  EXPECT_EQ(spec.optimizer.buffering, client::Buffering::kEmbedded);
  EXPECT_EQ(spec.max_staleness, 0);
  EXPECT_FALSE(spec.cycle_timeout.has_value());
  EXPECT_TRUE(file->initializers.empty());
  EXPECT_FALSE(file->seed.has_value());
}

TEST(SpecFileTest, TheExampleIsReadAndSaysWhatItSays) {
  const auto file = ParseSpecFile(ExampleText(), "example.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  const client::ModelSpec& spec = file->spec;
  EXPECT_EQ(spec.groups.size(), 2);
  EXPECT_EQ(spec.tensors.size(), 4);
  EXPECT_EQ(spec.groups[0].hyperparameters.schedule->kind,
            client::Schedule::Kind::kCosine);
  EXPECT_EQ(spec.groups[0].hyperparameters.schedule->total_updates, 2000);
  EXPECT_EQ(spec.cycle_timeout, absl::Seconds(30));
  EXPECT_EQ(spec.min_pushes, 2);
  EXPECT_EQ(file->seed, 1);
  const auto initializers = ResolveInitializers(spec, file->initializers);
  ASSERT_TRUE(initializers.ok()) << initializers.status();
  EXPECT_EQ(std::get<Initializer::Normal>((*initializers)[2].kind).stddev,
            0.01);
}

TEST(SpecFileTest, JsonMeansTheSame) {
  const auto file = ParseSpecFile(
      R"({"name":"m","max_staleness":-1,"stale_policy":"dampen",
	"optimizer":{"optimizer":"sgd","nesterov":true,"buffering":"gather"},
        "groups":[{"name":"all","k":4,"hyperparameters":{
            "learning_rate":1e-3,"beta1":0.9,"dampening":0.9}}],
        "tensors":[{"name":"w","shape":[],"group":"all"}],
        "initializers":[{"tensor":"w","uniform":{"low":-1,"high":1}}],
        "seed":7})",
      "m.json");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->spec.max_staleness, -1);
  EXPECT_EQ(file->spec.stale_policy, client::StalePolicy::kDampen);
  EXPECT_EQ(file->spec.optimizer.optimizer, client::Optimizer::kSgd);
  EXPECT_TRUE(file->spec.optimizer.nesterov);
  EXPECT_EQ(file->spec.optimizer.buffering, client::Buffering::kGather);
  EXPECT_EQ(file->spec.groups[0].k, 4);
  EXPECT_EQ(file->spec.groups[0].hyperparameters.dampening, 0.9);
  EXPECT_TRUE(file->spec.tensors[0].shape.empty());
  EXPECT_EQ(file->seed, 7);
}

// With its per_layer_k, and without the k that this takes the place of.
TEST(SpecFileTest, TheExamplesPerLayerKDoublesFromOutputToInput) {
  std::string text = ExampleText();
  const size_t begin = text.find("# per_layer_k:");
  const size_t end = text.find("\n\n", begin);
  ASSERT_NE(begin, std::string::npos);
  text.replace(begin, end - begin,
               absl::StrReplaceAll(text.substr(begin + 2, end - begin - 2),
                                   {{"\n#", "\n"}}));
  EXPECT_THAT(Message(ParseSpecFile(text, "example.yaml").status()),
              HasSubstr("group \"weights\" has a k"));
  absl::StrReplaceAll({{"\n    k: 4", "\n"}}, &text);
  const auto file = ParseSpecFile(text, "example.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::pair<std::string, int64_t>> ks;
  for (const client::GroupSpec& group : file->spec.groups) {
    ks.emplace_back(group.name, group.k);
  }
  EXPECT_THAT(ks, testing::ElementsAre(testing::Pair("weights.k4", 4),
                                       testing::Pair("biases.k4", 4),
                                       testing::Pair("weights.k2", 2),
                                       testing::Pair("biases.k2", 2)));
}

TEST(SpecFileTest, WhatDescribePrintsCanBeCreatedFrom) {
  const auto file = ParseSpecFile(ExampleText(), "example.yaml");
  ASSERT_TRUE(file.ok()) << file.status();
  const Json printed = ToJson(file->spec);
  const auto again = ParseSpecFile(printed.dump(2), "printed");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(again->spec), printed);
}

TEST(SpecFileTest, EveryComplaintNamesFileLineAndWhatWasExpected) {
  const std::string smallest = kSmallest;
  const struct {
    std::string text;
    const char* message;
  } cases[] = {
      {"", "line 1: there is nothing in it"},
      {"# nothing\n", "line 1: there is nothing in it"},
      {"- a\n", "line 1: expected the spec: keys and values"},
      {"name: [m\n", "not YAML or JSON"},
      {"name: m\n", "the spec needs \"tensors\""},
      {smallest + "---\nname: n\n", "a second document"},
      {smallest + "max_stalenes: 1\n",
       "line 7: unknown key \"max_stalenes\" in the spec; did you mean "
       "\"max_staleness\"?"},
      {smallest + "colour: red\n",
       "line 7: unknown key \"colour\" in the spec; it has name, optimizer, "},
      {smallest + "name: other\n", "line 7: key \"name\" comes twice"},
      {smallest + "seed:\n", "line 7: \"seed\" has no value"},
      {smallest + "seed: many\n", "line 7: expected an integer, got \"many\""},
      {smallest + "seed: [1]\n", "line 7: expected an integer"},
      {smallest + "max_staleness: 99999999999999999999\n",
       "line 7: expected an integer"},
      {smallest + "nominal_weight: nan\n",
       "line 7: expected a number, got \"nan\""},
      {smallest + "cycle_timeout: 30\n",
       "line 7: expected a duration such as 1.5s, 200ms or 2m, got \"30\""},
      {smallest + "optimizer: adamw\n",
       "line 7: expected optimizer: keys and values"},
      {smallest + "optimizer:\n  optimizer: adamx\n",
       "line 8: expected one of sgd, adam, adamw, signum, lion, lamb, got "
       "\"adamx\""},
      {smallest + "optimizer: {optimizer: unknown}\n",
       "line 7: expected one of sgd"},
      {smallest + "optimizer: {decay: 1}\n",
       "expected one of per_cycle, per_push, sliding, sliding_exact, got"},
      {smallest + "optimizer: {nesterov: yes}\n",
       "line 7: expected true or false, got \"yes\""},
      {smallest + "initializers:\n  - {tensor: w}\n",
       "line 8: an initializer needs one of constant, uniform, normal"},
      {smallest + "initializers:\n  - {tensor: w, constant: 1, kaiming: {}}\n",
       "line 8: an initializer needs one of"},
      {smallest + "initializers: [{tensor: w, uniform: {low: 1}}]\n",
       "line 7: uniform needs \"high\""},
      {smallest + "initializers: [{tensor: w, kaiming: {gain: 1}}]\n",
       "line 7: unknown key \"gain\" in kaiming; it has none"},
      {"name: m\ngroups: [{name: all}]\ntensors: [{name: w, shape: [1]}]\n",
       "line 2: a group needs \"hyperparameters\""},
      {"name: m\ngroups:\n- name: all\n  hyperparameters: {beta1: 0.9}\n",
       "line 4: hyperparameters needs \"learning_rate\""},
      {"name: m\ngroups: []\ntensors: [{name: w}]\n",
       "line 3: a tensor needs \"shape\""},
      {"name: m\ngroups: []\ntensors: [{name: w, shape: 3}]\n",
       "line 3: expected a list of integers"},
      {"name: m\ngroups: []\ntensors: {name: w}\n", "line 3: expected a list"},
      {"name: m\ngroups:\n  - name: all\n    hyperparameters:\n"
       "      learning_rate: 1\n      schedule: {total_updates: 5}\n",
       "line 6: a schedule needs \"kind\""},
      {"name: m\ngroups: [{name: all,\n  k: 1,\n  hyperparameters:\n"
       "    {learning_rate: 1}}]\ntensors: [{name: w, shape: [1]}]\n"
       "per_layer_k: {k_min: 1, max_k: 2, depths: [{tensors: w, depth: 0}]}\n",
       "line 3: group \"all\" has a k, and per_layer_k gives it others"},
  };
  for (const auto& c : cases) {
    const auto file = ParseSpecFile(c.text, "m.yaml");
    ASSERT_FALSE(file.ok()) << c.text;
    EXPECT_THAT(Message(file.status()), HasSubstr(c.message)) << c.text;
    EXPECT_THAT(Message(file.status()), StartsWith("m.yaml: line "));
    EXPECT_EQ(ExitCodeOf(file.status()), kUsage);
  }
}

TEST(SpecFileTest, ASchedulesFlagIsReadTheSameWay) {
  const auto schedule =
      ParseSchedule("{kind: step, step_updates: 10, gamma: 0.5}");
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_EQ(schedule->kind, client::Schedule::Kind::kStep);
  EXPECT_EQ(schedule->step_updates, 10);
  EXPECT_EQ(schedule->gamma, 0.5);
  EXPECT_THAT(Message(ParseSchedule("cosine").status()),
              HasSubstr("expected a schedule"));
}

}  // namespace
}  // namespace accrue::ctl
