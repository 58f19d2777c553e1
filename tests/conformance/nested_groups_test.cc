// Groups of different k through a model against the oracle, with cycles that
// end early: by EndCycle, and by a timeout, which skips pushes in the outer
// group.
#include <cstdint>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/mutex.h"
#include "tests/model/harness.h"
#include "tests/oracle/oracle.h"

namespace accrue {
namespace {

constexpr uint32_t kSeed = 271;
constexpr int64_t kInner = 2, kOuter = 4;

struct Case {
  std::string name;
  rule::RuleSpec rule;
};

rule::RuleSpec Sgd() {
  rule::RuleSpec rule;
  rule.optimizer = rule::Optimizer::kSgd;
  rule.hyper.learning_rate = 0.01;
  rule.hyper.weight_decay = 0.01;
  return rule;
}

std::vector<Case> Cases() {
  rule::RuleSpec adamw;
  adamw.hyper.learning_rate = 0.01;
  adamw.hyper.weight_decay = 0.01;
  rule::RuleSpec nesterov = Sgd(), per_push = Sgd();
  nesterov.nesterov = true;
  per_push.decay = rule::Decay::kPerPush;
  rule::RuleSpec gather = adamw;
  gather.buffering = rule::Buffering::kGather;
  return {{"AdamW", adamw},
          {"Nesterov", nesterov},
          {"PerPushL2", per_push},
          {"AdamWGather", gather}};
}

// The newest version's number, to wait for.
class Versions {
 public:
  explicit Versions(Model& model)
      : subscription_(model.Subscribe([newest = newest_](auto news) {
          MutexLock lock(&newest->mu);
          newest->number = (*news)->facts().version.number;
          newest->news.SignalAll();
        })) {}
  void AwaitNewerThan(int64_t number) {
    MutexLock lock(&newest_->mu);
    while (newest_->number <= number) newest_->news.Wait(&newest_->mu);
  }

 private:
  // Shared with a notice that is still being given.
  struct Newest {
    Mutex mu;
    CondVar news;
    int64_t number ACCRUE_GUARDED_BY(mu) = 0;
  };
  const std::shared_ptr<Newest> newest_ = std::make_shared<Newest>();
  const std::shared_ptr<Model::Subscription> subscription_;
};

class NestedGroupsTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    std::cout << "seed " << kSeed << "\n";
    ASSERT_TRUE(InitLogging("warn").ok());
  }

  void Make(absl::Duration cycle_timeout) {
    const rule::RuleSpec& rule = GetParam().rule;
    ModelSpec spec;
    spec.name = "m";
    spec.tensors = {
        {"a", {3}, "inner"}, {"b", {5}, "outer"}, {"c", {2}, "inner"}};
    spec.optimizer.optimizer = rule.optimizer;
    spec.optimizer.decay = rule.decay;
    spec.optimizer.buffering = rule.buffering;
    spec.optimizer.nesterov = rule.nesterov;
    spec.cycle_timeout = cycle_timeout;
    std::vector<oracle::Group> groups;
    for (const int64_t k : {kInner, kOuter}) {
      spec.groups.push_back(
          {k == kInner ? "inner" : "outer", k, k, rule.hyper});
      oracle::Group& group = groups.emplace_back();
      group.spec = rule;
      group.spec.k = group.spec.update_every = k;
      group.theta.assign(5, 0.5f);
    }
    model_ = harness_.Make(spec, 0.5);
    session_ = harness_.Open(*model_, "w")->id;
    oracle_ = std::make_unique<oracle::Oracle>(groups);
    versions_ = std::make_unique<Versions>(*model_);
  }

  // The oracle follows what only a timeout can have published.
  void Follow(int64_t version) {
    ASSERT_LE(version - version_, 1);
    if (version == version_) return;
    version_ = version;
    oracle_->CloseNearest();
    ++timeouts_;
    open_ = false;
  }

  void Push() {
    std::vector<float> flat(10);
    for (float& g : flat) g = normal_(random_) + 0.25f;
    auto pushed = harness_.PushNow(*model_, session_, sequence_, flat);
    while (GetErrorInfo(pushed.status()).reason == Reason::kStale) {
      pushed = harness_.PushNow(*model_, session_, sequence_, flat);
    }
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    ++sequence_;
    const int64_t published = pushed->published ? 1 : 0;
    ASSERT_NO_FATAL_FAILURE(Follow(pushed->version.number - published));
    version_ += published;
    oracle_->Push({{flat[0], flat[1], flat[2], flat[8], flat[9]},
                   {flat[3], flat[4], flat[5], flat[6], flat[7]}},
                  {});
    open_ = published == 0;
  }

  void AwaitTimeout() {
    versions_->AwaitNewerThan(version_);
    Follow(version_ + 1);
  }

  void EndCycle() {
    const Version known{model_->newest()->facts().version.lineage, version_};
    auto ended = harness_.EndCycle(*model_, known);
    ASSERT_TRUE(ended.ok()) << ended.status();
    if (ended->closed_groups.empty()) {
      ASSERT_NO_FATAL_FAILURE(Follow(ended->version.number));
      return;
    }
    version_ = ended->version.number;
    oracle_->Close();
    ++closes_;
    open_ = false;
  }

  void Compare() {
    const StateImage image = harness_.Image(*model_);
    for (size_t g = 0; g < 2; ++g) {
      // Of the flat vector [a b c].
      auto part = [g](const std::vector<float>& x) {
        return g == 0 ? std::vector<float>{x[0], x[1], x[2], x[8], x[9]}
                      : std::vector<float>{x[3], x[4], x[5], x[6], x[7]};
      };
      auto expect = [&](const char* what,
                        const std::vector<oracle::Bounded>& want,
                        const std::vector<float>& flat) {
        if (flat.empty()) return;
        ASSERT_EQ(oracle::Mismatch(what, want, part(flat).data(), 5), "");
      };
      expect("theta", oracle_->theta(g), image.parameters);
      expect("m", oracle_->m(g), image.momentum);
      expect("v", oracle_->v(g), image.variance);
    }
  }

  Harness harness_{1};
  std::shared_ptr<Model> model_;
  std::unique_ptr<oracle::Oracle> oracle_;
  std::unique_ptr<Versions> versions_;
  std::string session_;
  std::mt19937 random_{kSeed};
  std::normal_distribution<float> normal_;
  int64_t sequence_ = 1, version_ = 0, timeouts_ = 0, closes_ = 0;
  bool open_ = false;  // pushes have come since the newest version
};

TEST_P(NestedGroupsTest, EndCycleIsTheOracles) {
  Make(absl::InfiniteDuration());
  for (int step = 0; step < 400; ++step) {
    if (random_() % 5 == 0) {
      ASSERT_NO_FATAL_FAILURE(EndCycle());
    } else {
      ASSERT_NO_FATAL_FAILURE(Push());
    }
    ASSERT_NO_FATAL_FAILURE(Compare());
  }
  EXPECT_GT(closes_, 50);
}

// How many pushes come before a timeout is the machine's affair: the oracle
// follows the versions.
TEST_P(NestedGroupsTest, TimeoutsAreTheOracles) {
  Make(absl::Milliseconds(3));
  for (int step = 0; step < 150; ++step) {
    const uint32_t choice = random_() % 8;
    if (choice == 0) {
      ASSERT_NO_FATAL_FAILURE(EndCycle());
    } else if (choice < 4 && open_) {
      ASSERT_NO_FATAL_FAILURE(AwaitTimeout());
    } else {
      ASSERT_NO_FATAL_FAILURE(Push());
    }
    if (step % 10 != 9) continue;
    // Then no timeout is on its way.
    if (open_) {
      ASSERT_NO_FATAL_FAILURE(AwaitTimeout());
    }
    ASSERT_NO_FATAL_FAILURE(Compare());
  }
  EXPECT_GT(timeouts_, 10);
}

INSTANTIATE_TEST_SUITE_P(Rules, NestedGroupsTest, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace accrue
