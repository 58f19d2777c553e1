// A refused push never happened. In the middle of a cycle, with moments that
// are not zero, each refusal leaves every bit that can be seen, and what cannot
// (Nesterov's halfway parameters, a session's last payload) shows in what
// follows: a twin that was never asked ends with the same bits.
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

constexpr int64_t kElems = 12;

struct Case {
  std::string name;
  int64_t k_two;
  std::function<void(ModelSpec&)> change;
};

ModelSpec SpecOf(const Case& c) {
  ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{"a", {7}, "one"}, {"b", {5}, "two"}};
  spec.groups = {{"one", 4, 0, {}}, {"two", c.k_two, 0, {}}};
  spec.max_pushes_per_worker = 2;
  c.change(spec);
  FillDefaults(spec);
  return spec;
}

// A model and its two workers, "a" and "b".
struct Trained {
  std::shared_ptr<Model> model;
  std::string a, b;
  int64_t a_sequence = 0, b_sequence = 0;
};

class RefusalTest : public testing::TestWithParam<Case> {
 protected:
  Trained NewModel() {
    Trained trained;
    trained.model = harness_.Make(SpecOf(GetParam()), 0.5);
    trained.a = harness_.Open(*trained.model, "a")->id;
    trained.b = harness_.Open(*trained.model, "b")->id;
    return trained;
  }

  static std::vector<float> Gradient(int64_t sequence, float phase) {
    std::vector<float> gradient(kElems);
    for (float& g : gradient) {
      g = std::sin(static_cast<float>(sequence) * (phase += 0.7f));
    }
    return gradient;
  }

  // The next `count` pushes, by both workers in turn.
  void Train(Trained& trained, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const bool by_a = trained.a_sequence == trained.b_sequence;
      int64_t& sequence = by_a ? trained.a_sequence : trained.b_sequence;
      ++sequence;
      auto pushed =
          harness_.PushNow(*trained.model, by_a ? trained.a : trained.b,
                           sequence, Gradient(sequence, by_a ? 0.0f : 0.3f));
      ASSERT_TRUE(pushed.ok()) << pushed.status();
    }
  }

  void ExpectRefused(Model& model, std::unique_ptr<Push> push, Reason reason) {
    const StateImage before = harness_.Image(model);
    const auto answer = harness_.PushNow(model, std::move(push));
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(GetErrorInfo(answer.status()).reason, reason) << answer.status();
    EXPECT_TRUE(harness_.Image(model) == before) << answer.status();
  }

  void RefuseAll(const Trained& at);

  Harness harness_;
};

// Every reason for which a model refuses a push in the middle of a cycle.
void RefusalTest::RefuseAll(const Trained& at) {
  Model& model = *at.model;
  const std::vector<float> good = Gradient(1, 0.5f);
  const int64_t next = at.b_sequence + 1;
  auto of_b = [&](int64_t sequence, const std::vector<float>& gradient) {
    return harness_.NewPush(model, at.b, sequence, gradient);
  };
  std::vector<float> bad = good;
  bad.back() = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(model, of_b(next, bad), Reason::kNonFinite);
  bad.back() = 0x1p64f;
  ExpectRefused(model, of_b(next, bad), Reason::kNonFinite);

  ExpectRefused(model, of_b(next - 2, good), Reason::kSequenceOld);
  ExpectRefused(model, of_b(next - 1, good), Reason::kSequenceReused);
  ExpectRefused(model, of_b(next + 1, good), Reason::kFuture);

  auto push = of_b(next, good);
  ++push->header.version.number;
  ExpectRefused(model, std::move(push), Reason::kFuture);
  push = of_b(next, good);
  --push->header.version.number;
  ExpectRefused(model, std::move(push), Reason::kStale);
  push = of_b(next, good);
  push->header.version.lineage = std::string(32, 'f');
  ExpectRefused(model, std::move(push), Reason::kLineageChanged);

  push = of_b(next, good);
  push->header.micro_steps = 2;
  ExpectRefused(model, std::move(push), Reason::kMicroSteps);
  push = of_b(next, good);
  push->header.weight = 0;
  ExpectRefused(model, std::move(push), Reason::kUnspecified);
  ExpectRefused(model, harness_.NewPush(model, at.a, at.a_sequence + 1, good),
                Reason::kQuota);
  ExpectRefused(model, harness_.NewPush(model, std::string(32, '0'), 1, good),
                Reason::kSessionUnknown);
}

TEST_P(RefusalTest, ARefusedPushNeverHappened) {
  Trained asked = NewModel(), twin = NewModel();
  constexpr int64_t kMidway = 7;  // of the second cycle, the third push
  Train(asked, kMidway);
  Train(twin, kMidway);
  RefuseAll(asked);

  // The session still has its last push: its outcome, and its payload's hash.
  const auto resumed = harness_.Open(*asked.model, "b", asked.b);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->last_sequence, asked.b_sequence);
  EXPECT_EQ(resumed->last_outcome->folded_pushes, kMidway - 1);
  const auto repeated =
      harness_.PushNow(*asked.model, asked.b, asked.b_sequence,
                       Gradient(asked.b_sequence, 0.3f));
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  EXPECT_TRUE(repeated->duplicate);

  Train(asked, 9);
  Train(twin, 9);
  EXPECT_TRUE(Anonymous(harness_.Image(*asked.model)) ==
              Anonymous(harness_.Image(*twin.model)));
}

void Momentum(ModelSpec& spec) {
  spec.optimizer.optimizer = rule::Optimizer::kSgd;
  for (GroupSpec& group : spec.groups) {
    group.hyper.learning_rate = 0.1;
    group.hyper.weight_decay = 0.01;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, RefusalTest,
    testing::Values(Case{"Momentum", 4, Momentum},
                    Case{"AdamW", 4, [](ModelSpec&) {}},
                    Case{"Signum", 4,
                         [](ModelSpec& spec) {
                           Momentum(spec);
                           spec.optimizer.optimizer = rule::Optimizer::kSignum;
                         }},
                    Case{"Lamb", 4,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kLamb;
                         }},
                    Case{"LionClassic", 4,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kLion;
                           spec.optimizer.buffering = rule::Buffering::kClassic;
                         }},
                    Case{"AdamClassic", 4,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kAdam;
                           spec.optimizer.buffering = rule::Buffering::kClassic;
                         }},
                    Case{"AdamGather", 8,
                         [](ModelSpec& spec) {
                           spec.optimizer.optimizer = rule::Optimizer::kAdam;
                           spec.optimizer.buffering = rule::Buffering::kGather;
                         }},
                    Case{"Nesterov", 4,
                         [](ModelSpec& spec) {
                           Momentum(spec);
                           spec.optimizer.nesterov = true;
                         }},
                    Case{"TwoGroupsOfDifferentK", 8, [](ModelSpec&) {}}),
    [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace accrue
