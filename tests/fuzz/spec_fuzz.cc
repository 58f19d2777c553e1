// A spec as a client may send it. What is accepted can be trained with: pushes
// with any headers, ended cycles, new hyperparameters, pulls; and
//
//   a spec that is sent back and forth stays the same;
//   what is refused is refused as INVALID_ARGUMENT, and changes nothing;
//   no parameter or moment leaves the range of a float by the rule's own doing
//   (IsTame);
//   a model that is made once more of the state that a checkpoint has of it
//   goes on bit for bit, and what a journal has since an earlier one leads to
//   it; what describes the model is what can be.
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fuzzer/FuzzedDataProvider.h>
#include <google/protobuf/stubs/logging.h>

#include "accrue/v1/model_service.pb.h"
#include "server/base/logging.h"
#include "server/durability/change_record.h"
#include "server/service/convert.h"
#include "tests/fuzz/any_spec.h"
#include "tests/fuzz/any_value.h"
#include "tests/fuzz/memory_log.h"
#include "tests/fuzz/push_call.h"
#include "tests/fuzz/push_message.h"
#include "tests/fuzz/stored_state.h"
#include "tests/fuzz/world.h"

namespace accrue::fuzz {
namespace {

constexpr int kMostSteps = 12;

void RequireRefused(const absl::Status& status) {
  Require(status.ok() || absl::IsInvalidArgument(status) ||
              absl::IsResourceExhausted(status) ||
              absl::IsFailedPrecondition(status),  // JOURNAL, but no disk
          "what cannot be is INVALID_ARGUMENT, or this daemon's limit");
}

// What a client sees of it makes the same model.
void CheckRoundTrip(const ModelSpec& spec) {
  const v1::ModelSpec sent = ToApi(spec);
  absl::StatusOr<ModelSpec> back = FromApi(sent);
  Require(back.status(), "what is sent can be sent back");
  FillDefaults(*back);
  Require(*back == spec, "a spec that is sent back is the same");
}

class Training {
 public:
  Training(FuzzedDataProvider& in, std::shared_ptr<Model> model, World& world)
      : in_(in),
        world_(world),
        model_(std::move(model)),
        log_(std::make_shared<MemoryLog>(world.pool())) {
    Initialize();
    first_ = Store(world_, *model_);
    model_->Attach(log_);
    const auto opened = world_.Open(*model_, "worker");
    Require(opened.status(), "it takes a session");
    session_ = opened->id;
  }

  void Run() {
    for (int i = 0; i < kMostSteps && in_.remaining_bytes() > 0; ++i) {
      Step();
      Check();
    }
    log_->set_fails(fails_ = false);
    switch (in_.ConsumeIntegral<uint8_t>() % 4) {
      case 0:
        CheckGoesOn();
        break;
      case 1:
        ReplayDamaged();
        break;
      default:
        CheckReplay();
    }
    for (const auto encoding :
         {kernels::Encoding::kF32, kernels::Encoding::kBf16,
          kernels::Encoding::kF16}) {
      Require(world_.Parameters(*model_, encoding).size() ==
                  static_cast<size_t>(model_->layout()->elems()),
              "all parameters can be pulled");
    }
  }

 private:
  void Step() {
    switch (in_.ConsumeIntegral<uint8_t>() % 8) {
      case 5:
        Require(world_.EndCycle(*model_).ok() || fails_,
                "a cycle can be ended");
        return;
      case 6:
        return Update();
      case 7:
        // Until it can be written again nothing can happen.
        if (Changes(in_)) log_->set_fails(fails_ = !fails_);
        return FireTimers();
      default:
        return Push();
    }
  }

  // As the input says, or else, if that cannot be.
  void Initialize() {
    const auto header = FromApi(AnyInitialization(in_, ToApi(model_->spec())));
    Require(header.status(), "every initializer has a kind");
    const auto version = Await<absl::StatusOr<Version>>([&](auto done) {
      const auto stream = world_.ingest().NewInitialize(
          absl::InfiniteFuture(), {.read = [] {}}, std::move(done));
      stream->OnHeader(*header, {});
      stream->OnEnd();
    });
    if (version.ok()) {
      Require(world_.Look(*model_).finite(), "it begins with numbers");
    } else {
      RequireRefused(version.status());
      Require(world_.Initialize(*model_).status(), "it takes its parameters");
    }
  }

  std::vector<Arriving> NextPush() {
    PushFactsNow now;
    now.model = model_->name();
    now.session_id = session_;
    now.sequence = sequence_ + 1;
    now.version = model_->newest()->facts().version;
    now.elems = model_->layout()->elems();
    return MakePush(in_, now);
  }

  // Whether it was folded.
  static bool Send(World& world, const std::vector<Arriving>& push) {
    PushCall call(world.ingest(), /*eager=*/true);
    for (const Arriving& arriving : push) call.Send(arriving);
    RunQueued();
    call.Cancel();
    RunQueued();
    Require(call.answered(), "a push is answered");
    return call.answer().ok() && !call.answer()->duplicate;
  }

  void Push() {
    if (Send(world_, NextPush())) ++sequence_;
  }

  // What the log has, behind the state that it begins with.
  void CheckReplay() {
    World other;
    const auto again = Restore(other, model_->spec(), first_);
    for (size_t i = 0; i < log_->records().size(); ++i) {
      auto change =
          DecodeChange(log_->Read(i), again->spec(), *again->layout());
      Require(change.status(), "a record that was written is read");
      Require(Replay(*again, **std::move(change)), "it happens again");
    }
    again->Attach(nullptr);
    RunQueued();
    Require(other.Look(*again) == world_.Look(*model_),
            "what is made again is what was");
    const auto sessions = model_->Sessions(), same = again->Sessions();
    Require(sessions.size() == same.size() &&
                (sessions.empty() ||
                 (sessions[0].id == same[0].id &&
                  sessions[0].last_sequence == same[0].last_sequence)),
            "and its sessions");
  }

  static absl::Status Replay(Model& model, Change change) {
    return Await<absl::Status>(
        [&](auto done) { model.Replay(std::move(change), std::move(done)); });
  }

  // With a byte of a record replaced: an error, or something else that may
  // happen to a model.
  void ReplayDamaged() {
    if (log_->records().empty()) return;
    const auto index =
        in_.ConsumeIntegralInRange<size_t>(0, log_->records().size() - 1);
    std::string& head = log_->records()[index].head;
    if (head.empty()) return;
    head[in_.ConsumeIntegralInRange<size_t>(0, head.size() - 1)] =
        in_.ConsumeIntegral<char>();
    World other;
    const auto again = Restore(other, model_->spec(), first_);
    for (size_t i = 0; i < log_->records().size(); ++i) {
      auto change =
          DecodeChange(log_->Read(i), again->spec(), *again->layout());
      if (!change.ok()) return;
      Replay(*again, **std::move(change)).IgnoreError();
    }
  }

  // Two pushes and a cycle's end behind what is stored of it.
  void CheckGoesOn() {
    World other;
    const auto stored = Store(world_, *model_);
    stored->PassThroughJson(model_->spec());
    const auto again = Restore(other, model_->spec(), stored);
    again->Attach(nullptr);
    Require(other.Look(*again) == world_.Look(*model_), "it is where it was");
    // How long a cycle has been open is not stored.
    if (model_->spec().cycle_timeout != absl::InfiniteDuration()) return;
    for (int i = 0; i < 2; ++i) {
      const std::vector<Arriving> push = NextPush();
      const bool folded = Send(world_, push);
      Require(Send(other, push) == folded, "both take the same pushes");
      if (folded) ++sequence_;
    }
    Require(other.Look(*again) == world_.Look(*model_), "it goes on alike");
    const auto ended = world_.EndCycle(*model_, {});
    const auto other_ended = other.EndCycle(*again, {});
    Require(ended->closed_groups == other_ended->closed_groups &&
                ended->missing_pushes == other_ended->missing_pushes,
            "both end the same cycles");
    Require(other.Look(*again) == world_.Look(*model_), "it ends alike");
  }

  void Update() {
    v1::UpdateHyperparametersRequest request;
    v1::GroupUpdate& update = *request.add_updates();
    if (Changes(in_)) update.set_group("g0");
    *update.mutable_hyperparameters() = AnyHyperparameters(in_);
    auto updates =
        FromApi(request, static_cast<int64_t>(model_->spec().groups.size()));
    if (!updates.ok()) return RequireRefused(updates.status());
    const ModelSpec before = model_->Describe().spec;
    const absl::Status updated = Await<absl::Status>([&](auto done) {
      model_->UpdateHyperparameters(*std::move(updates), std::move(done));
    });
    if (!fails_) RequireRefused(updated);
    Require(updated.ok() || model_->Describe().spec == before,
            "an update that is refused changes nothing");
  }

  void Check() {
    const ModelDescription description = model_->Describe();
    for (size_t g = 0; g < description.spec.groups.size(); ++g) {
      rule::RuleSpec rule = GroupRule(description.spec, static_cast<int>(g));
      rule.k = description.groups[g].k;
      tame_ = tame_ && IsTame(rule);
    }
    const Image image = world_.Look(*model_);
    Require(!tame_ || image.finite(),
            "nothing leaves the range of a float by itself");
    for (const GroupDescription& group : description.groups) {
      CheckGroup(group);
    }
    for (const MemoryLedger::Row& row : description.memory) {
      Require(row.live_bytes >= 0 && row.peak_bytes >= row.live_bytes,
              "memory is counted");
    }
    Require(description.folded_pushes >= 0, "t is no less than 0");
    Require(!ToApi(description, 0).SerializeAsString().empty(),
            "a description can be sent");
  }

  void CheckGroup(const GroupDescription& group) const {
    Require(group.k >= 1 && group.k <= rule::kMaxK, "k is within its bounds");
    Require(group.position >= 0 && group.position < group.update_every,
            "a cycle ends with its last push");
    Require(group.updates >= 0, "u is no less than 0");
    Require(std::isfinite(group.learning_rate) && group.learning_rate >= 0,
            "a learning rate is a number of at least 0");
    if (!tame_) return;
    Require(group.clip_norm_seen >= 0, "a norm is at least 0");
    if (!group.noise.has_value()) return;
    const rule::NoiseEstimate& noise = group.noise->estimate;
    Require(noise.variance >= 0 && noise.mean_squared >= 0 &&
                group.noise->variation.value >= 0,
            "noise is at least 0");
    const double left = rule::PowerLeft(noise, group.k);
    Require(left >= 0 && left <= 1, "a mean has no more power than one");
  }

  FuzzedDataProvider& in_;
  World& world_;
  const std::shared_ptr<Model> model_;
  const std::shared_ptr<MemoryLog> log_;
  std::shared_ptr<StoredState> first_;  // before what is in the log
  bool fails_ = false;                  // the log does
  std::string session_;
  int64_t sequence_ = 0;
  bool tame_ = true;  // so far
};

void Run(FuzzedDataProvider& in) {
  absl::StatusOr<ModelSpec> spec = FromApi(AnySpec(in));
  if (!spec.ok()) return RequireRefused(spec.status());
  World world;
  const auto model = world.Create(*spec);
  if (!model.ok()) return RequireRefused(model.status());
  CheckRoundTrip((*model)->spec());
  Training(in, *model, world).Run();
}

}  // namespace
}  // namespace accrue::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  accrue::fuzz::Require(accrue::InitLogging("off"), "logging can be off");
  // Else nothing behind it would be reached.
  FuzzedDataProvider nothing(nullptr, 0);
  accrue::fuzz::World world;
  accrue::fuzz::Require(
      world.Create(*accrue::FromApi(accrue::fuzz::AnySpec(nothing))).status(),
      "a spec that no input changes can be");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  accrue::fuzz::Run(in);
  return 0;
}
