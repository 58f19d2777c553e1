// Pushes of several workers, message by message, with whatever can come in
// between: bytes that are no message, headers that contradict the model, ends
// that come early, cancellations, timeouts, cycles that are ended, sessions
// that are taken over, drains. Whatever comes,
//
//   each call is answered once;
//   a push is folded only when it is complete, finite and its session's next,
//   and once: t rises by its micro-steps;
//   without a push that was accepted no bit of the model's state changes;
//   in the end no stream, reservation or byte of ingest memory is left.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fuzzer/FuzzedDataProvider.h>
#include <google/protobuf/stubs/logging.h>

#include "server/base/logging.h"
#include "tests/fuzz/push_call.h"
#include "tests/fuzz/push_message.h"
#include "tests/fuzz/world.h"

namespace accrue::fuzz {
namespace {

constexpr size_t kMostEvents = 24;
constexpr size_t kMostCalls = 8;
// Room for two pushes of the small models, or one of the large one.
constexpr int64_t kIngestMemory = 24'000;

ModelSpec SpecOf(FuzzedDataProvider& in) {
  using rule::Buffering;
  using rule::Optimizer;
  struct Kind {
    Optimizer optimizer;
    Buffering buffering;
    bool nesterov = false;
  };
  constexpr Kind kKinds[] = {{Optimizer::kAdamW, Buffering::kEmbedded},
                             {Optimizer::kSgd, Buffering::kEmbedded},
                             {Optimizer::kSgd, Buffering::kEmbedded, true},
                             {Optimizer::kAdam, Buffering::kClassic},
                             {Optimizer::kAdam, Buffering::kGather},
                             {Optimizer::kLion, Buffering::kGather},
                             {Optimizer::kSignum, Buffering::kEmbedded},
                             {Optimizer::kLamb, Buffering::kEmbedded}};
  constexpr int64_t kSizes[] = {7, 1, 2, 3, 5, 8, 13, 15, 16, 17, 33};
  const auto elems = [&] {
    return kSizes[in.ConsumeIntegralInRange<size_t>(0, std::size(kSizes) - 1)];
  };
  const Kind& kind =
      kKinds[in.ConsumeIntegralInRange<size_t>(0, std::size(kKinds) - 1)];
  // Now and then one whose pushes come in several messages.
  const bool large = in.ConsumeIntegral<uint8_t>() % 16 == 15;
  ModelSpec spec;
  spec.name = "m";
  spec.tensors = {{"a", {elems()}, "one"},
                  {"b", {large ? 5003 : elems()}, "two"}};
  const auto k = in.ConsumeIntegralInRange<int64_t>(1, 4);
  spec.groups = {{"one", k, 0, {}},
                 {"two", k * in.ConsumeIntegralInRange<int64_t>(1, 3), 0, {}}};
  for (GroupSpec& group : spec.groups) group.hyper.learning_rate = 0.1;
  spec.optimizer.optimizer = kind.optimizer;
  spec.optimizer.buffering = kind.buffering;
  spec.optimizer.nesterov = kind.nesterov;
  spec.max_staleness = in.ConsumeIntegralInRange<int64_t>(-1, 1);
  spec.stale_policy =
      static_cast<StalePolicy>(in.ConsumeIntegralInRange<int>(0, 2));
  spec.max_pushes_per_worker = in.ConsumeIntegralInRange<int64_t>(0, 3);
  return spec;
}

class PushScript {
 public:
  explicit PushScript(FuzzedDataProvider& in) : in_(in) {
    auto model = world_.Create(SpecOf(in));
    Require(model.status(), "the spec is one that can be");
    model_ = *std::move(model);
    Require(world_.Initialize(*model_).status(), "it takes its parameters");
    for (const char* const worker : {"a", "b"}) OpenSession(worker, "");
    before_ = world_.Look(*model_);
  }

  void Run() {
    for (size_t i = 0; i < kMostEvents && in_.remaining_bytes() > 0; ++i) {
      Settle(/*may_change=*/Step());
    }
    for (const auto& call : calls_) call->Cancel();
    Settle(false);
    for (const auto& call : calls_) {
      Require(call->answered(), "a call that was cancelled is answered");
    }
  }

 private:
  struct Folded {
    std::string payload;
    PushOutcome outcome;
  };
  struct Known {                       // a session
    std::map<int64_t, Folded> pushes;  // by sequence
    int64_t last() const { return pushes.empty() ? 0 : pushes.rbegin()->first; }
  };

  // What the input says. Whether it may change the state though no push is
  // folded.
  bool Step() {
    switch (in_.ConsumeIntegral<uint8_t>() % 16) {
      case 8:
        if (!calls_.empty()) AnyCall().Cancel();
        return false;
      case 9:
        if (!calls_.empty()) AnyCall().Send({.kind = Arriving::Kind::kFault});
        return false;
      case 10:
        if (!calls_.empty()) AnyCall().Send({.kind = Arriving::Kind::kEnd});
        return false;
      case 11:
        FireTimers();
        return false;
      case 12:
        return world_.EndCycle(*model_).ok();
      case 13:
        OpenSession(in_.ConsumeBool() ? "a" : "b",
                    in_.ConsumeBool() ? AnySession() : "");
        return false;
      case 14:
        CloseSession(AnySession());
        return false;
      case 15:
        if (in_.ConsumeIntegral<uint8_t>() == 255) Drain();
        return false;
      default:
        Push();
        return false;
    }
  }

  PushCall& AnyCall() {
    return *calls_[in_.ConsumeIntegralInRange<size_t>(0, calls_.size() - 1)];
  }
  std::string AnySession() {
    auto session = sessions_.begin();
    std::advance(session,
                 in_.ConsumeIntegralInRange<size_t>(0, sessions_.size() - 1));
    return session->first;
  }

  // Some of its messages now, the others on top of the next one's.
  void Push() {
    if (calls_.size() == kMostCalls) return;
    PushFactsNow now;
    now.model = model_->name();
    now.session_id = AnySession();
    now.sequence = sessions_.at(now.session_id).last() + 1;
    now.version = model_->newest()->facts().version;
    now.elems = model_->layout()->elems();
    calls_.push_back(
        std::make_unique<PushCall>(world_.ingest(), in_.ConsumeBool()));
    for (Arriving& arriving : unsent_) unsent_to_->Send(std::move(arriving));
    unsent_ = MakePush(in_, now);
    unsent_to_ = calls_.back().get();
    const size_t held_back = in_.ConsumeIntegralInRange<size_t>(0, 2);
    const size_t sent = unsent_.size() - std::min(unsent_.size(), held_back);
    for (size_t i = 0; i < sent; ++i) unsent_to_->Send(std::move(unsent_[i]));
    unsent_.erase(unsent_.begin(),
                  unsent_.begin() + static_cast<int64_t>(sent));
  }

  void OpenSession(const std::string& worker, const std::string& id) {
    const auto opened = world_.Open(*model_, worker, id);
    if (!opened.ok()) return;
    Require(id.empty() || opened->id == id, "a session is resumed");
    // Pushes that were queued before it are known of by now.
    CollectAnswers();
    Require(opened->last_sequence == sessions_[opened->id].last(),
            "a session knows its last push");
  }

  void CloseSession(const std::string& id) {
    const auto closed = Await<absl::Status>(
        [&](auto done) { model_->CloseSession(id, std::move(done)); });
    if (draining_ && absl::IsUnavailable(closed)) return;
    Require(closed, "any session may be closed, but for a drain");
  }

  void Drain() {
    draining_ = true;
    model_->Drain([] {});
  }

  // What was answered since.
  void CollectAnswers() {
    std::vector<const PushCall*> folded, repeats;
    for (const auto& call : calls_) {
      if (!call->TakeAnswer() || !call->answer().ok()) continue;
      Require(sessions_.contains(call->header()->session_id),
              "who has pushed has a session");
      (call->answer()->duplicate ? repeats : folded).push_back(call.get());
    }
    std::sort(folded.begin(), folded.end(), [](auto* a, auto* b) {
      return a->answer()->folded_pushes < b->answer()->folded_pushes;
    });
    for (const PushCall* call : folded) Fold(*call);
    for (const PushCall* call : repeats) CheckRepeat(*call);
  }

  void Fold(const PushCall& call) {
    const PushHeader& header = *call.header();
    const PushOutcome& outcome = *call.answer();
    const auto bytes = static_cast<int64_t>(call.payload().size());
    const int64_t elems = model_->layout()->elems();
    Require(call.ended(), "what is folded has come to its end");
    Require(bytes == header.payload_bytes &&
                kernels::PayloadBytesOf(header.encoding, elems).Allow(bytes),
            "what is folded is complete");
    Require(IsFinite({header.encoding, call.payload()}, elems),
            "what is folded is finite");
    Known& session = sessions_.at(header.session_id);
    Require(header.sequence == session.last() + 1,
            "what is folded is its session's next");
    folded_pushes_ += header.micro_steps;
    Require(outcome.folded_pushes == folded_pushes_,
            "t rises by the micro-steps of what is folded");
    session.pushes[header.sequence] = {call.payload(), outcome};
  }

  void CheckRepeat(const PushCall& call) {
    const PushHeader& header = *call.header();
    const auto& pushes = sessions_.at(header.session_id).pushes;
    const auto first = pushes.find(header.sequence);
    Require(first != pushes.end(), "what is repeated was folded");
    Require(first->second.outcome.folded_pushes == call.answer()->folded_pushes,
            "a repeat has the first one's answer");
    Require(
        header.checksum.has_value() || first->second.payload == call.payload(),
        "a repeat has the first one's payload");
  }

  void Settle(bool may_change) {
    RunQueued();
    CollectAnswers();
    Image now = world_.Look(*model_);
    Require(now.folded_pushes == folded_pushes_,
            "t is how many pushes were acknowledged");
    const bool folded = folded_pushes_ > before_.folded_pushes;
    Require(folded || may_change || now == before_,
            "without a push that was accepted nothing changes");
    before_ = std::move(now);
  }

  FuzzedDataProvider& in_;
  World world_{kIngestMemory};
  std::shared_ptr<Model> model_;
  std::vector<std::unique_ptr<PushCall>> calls_;
  std::vector<Arriving> unsent_;
  PushCall* unsent_to_ = nullptr;
  bool draining_ = false;
  std::map<std::string, Known> sessions_;  // by id
  int64_t folded_pushes_ = 0;
  Image before_;
};

}  // namespace
}  // namespace accrue::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  accrue::fuzz::Require(accrue::InitLogging("off"), "logging can be off");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  accrue::fuzz::PushScript(in).Run();
  return 0;
}
