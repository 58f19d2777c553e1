// FakeModel: a model that folds nothing and remembers what ingest told it.
//
// Like the real one it aborts arrivals with its lock held, and answers from a
// thread of the pool after it has let go of the push.
#ifndef ACCRUE_TESTS_INGEST_FAKE_MODEL_H_
#define ACCRUE_TESTS_INGEST_FAKE_MODEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/base/work_pool.h"
#include "server/model/model.h"

namespace accrue {

class FakeModel final : public Model {
 public:
  // One tensor a group, of these many elements.
  FakeModel(const std::string& name, std::vector<int64_t> group_elems,
            WorkPool* pool,
            rule::Buffering buffering = rule::Buffering::kEmbedded)
      : spec_(MakeSpec(name, std::move(group_elems), buffering)),
        layout_(std::make_shared<Layout>(spec_)),
        pool_(pool),
        lane_(pool->NewLane()) {}

  const std::string& name() const override { return spec_.name; }
  const ModelSpec& spec() const override { return spec_; }
  std::shared_ptr<const Layout> layout() const override { return layout_; }
  WorkPool* pool() const override { return pool_; }
  WorkPool::Lane lane() const override { return lane_; }

  // What Begin answers; default: go on.
  void set_begin(
      std::function<absl::StatusOr<BegunPush>(const PushHeader&)> begin) {
    MutexLock lock(&mu_);
    begin_ = std::move(begin);
  }
  // Looks at every complete push before it is let go.
  void set_look(std::function<void(const Push&)> look) {
    MutexLock lock(&mu_);
    look_ = std::move(look);
  }
  void set_draining(bool draining) {
    MutexLock lock(&mu_);
    draining_ = draining;
  }
  // Complete pushes stay queued until Fold.
  void set_hold(bool hold) {
    MutexLock lock(&mu_);
    hold_ = hold;
  }

  // The first of those that have begun; null: none has.
  std::shared_ptr<Arrival> arrival() {
    MutexLock lock(&mu_);
    return arrivals_.empty() ? nullptr : arrivals_.begin()->second;
  }

  absl::StatusOr<BegunPush> Begin(const PushHeader& header,
                                  std::shared_ptr<Arrival> arrival) override {
    MutexLock lock(&mu_);
    if (begin_) {
      absl::StatusOr<BegunPush> begun = begin_(header);
      if (!begun.ok() || begun->duplicate.has_value()) return begun;
    }
    const Arrival* key = arrival.get();
    arrivals_.emplace(key, std::move(arrival));
    return BegunPush();
  }

  void Leave(const Arrival* arrival) override {
    std::shared_ptr<Arrival> gone;
    MutexLock lock(&mu_);
    if (const auto at = arrivals_.find(arrival); at != arrivals_.end()) {
      gone = std::move(at->second);
      arrivals_.erase(at);
    }
  }

  void Submit(std::unique_ptr<Push> push, const Arrival* arrival) override {
    std::shared_ptr<Arrival> gone;
    {
      MutexLock lock(&mu_);
      const auto at = arrivals_.find(arrival);
      if (at != arrivals_.end()) {
        submitted_ = gone = std::move(at->second);
        arrivals_.erase(at);
      }
      if (hold_) return held_.push_back(std::move(push));
    }
    Post(std::move(push));
  }

  // Folds what was held back.
  void Fold() {
    std::vector<std::unique_ptr<Push>> pushes;
    {
      MutexLock lock(&mu_);
      pushes.swap(held_);
    }
    for (auto& push : pushes) Post(std::move(push));
  }

  // Too old, all of them. With the lock held, as a real model does it; and a
  // status for each, since ThreadSanitizer does not see how abseil counts the
  // references to a shared one.
  void AbortAll() {
    MutexLock lock(&mu_);
    for (const auto& [key, arrival] : arrivals_) {
      arrival->Abort(
          MakeError(absl::StatusCode::kAborted, Reason::kStale, "too old"));
    }
  }
  // Also of the last one that was submitted.
  void AbortSubmitted(const absl::Status& why) {
    MutexLock lock(&mu_);
    if (submitted_ != nullptr) submitted_->Abort(why);
    submitted_ = nullptr;
  }
  int64_t arrival_count() const {
    MutexLock lock(&mu_);
    return static_cast<int64_t>(arrivals_.size());
  }
  void Forget() {
    std::shared_ptr<Arrival> gone;
    MutexLock lock(&mu_);
    gone = std::move(submitted_);
  }

  void Initialize(Initialization initialization,
                  std::function<void(absl::StatusOr<Version>)> done) override {
    auto kept = std::make_shared<Initialization>(std::move(initialization));
    pool_->Post(lane_, [this, kept, done = std::move(done)]() mutable {
      {
        MutexLock lock(&mu_);
        initialized_bytes_ = kept->values.size_bytes();
        initializer_count_ = static_cast<int64_t>(kept->initializers.size());
        first_non_finite_ = kept->first_non_finite;
      }
      kept->values.Clear();
      kept->reservation = nullptr;
      done(Version{"lineage", 0});
    });
  }
  int64_t initialized_bytes() const {
    MutexLock lock(&mu_);
    return initialized_bytes_;
  }
  int64_t initializer_count() const {
    MutexLock lock(&mu_);
    return initializer_count_;
  }
  int64_t first_non_finite() const {
    MutexLock lock(&mu_);
    return first_non_finite_;
  }

  // Ingest has no use for the rest.
  void OpenSession(
      SessionRequest,
      std::function<void(absl::StatusOr<OpenedSession>)>) override {}
  void CloseSession(std::string, std::function<void(absl::Status)>) override {}
  void UpdateHyperparameters(std::vector<HyperparameterUpdate>,
                             std::function<void(absl::Status)>) override {}
  void EndCycle(std::optional<Version>,
                std::function<void(absl::StatusOr<EndedCycle>)>) override {}
  absl::Status CheckUsable() const override { return absl::OkStatus(); }
  absl::Status CheckTakesParameters(bool) const override {
    MutexLock lock(&mu_);
    return draining_ ? MakeError(absl::StatusCode::kUnavailable,
                                 Reason::kDraining, "draining")
                     : absl::OkStatus();
  }
  std::shared_ptr<const Publication> newest() const override { return nullptr; }
  std::shared_ptr<Subscription> Subscribe(Notice) override { return nullptr; }
  ModelDescription Describe() const override { return {}; }
  std::vector<SessionDescription> Sessions() const override { return {}; }
  void CountSent(int64_t) override {}
  void CountTraffic(const Traffic&) override {}
  void Drain(std::function<void()>) override {}
  void Delete() override {}
  void Restore(StoredModel, std::function<void(absl::Status)>) override {}
  void GoBack(std::shared_ptr<const StateSource>,
              std::function<void(absl::StatusOr<Version>)>) override {}
  void Replay(Change, std::function<void(absl::Status)>) override {}
  void Attach(std::shared_ptr<CommitLog>) override {}
  void CaptureState(std::shared_ptr<Capture>) override {}
  void Inspect(
      std::function<void(kernels::Shard*,
                         const std::vector<rule::CycleState>&)>) override {}

 private:
  static ModelSpec MakeSpec(const std::string& name,
                            std::vector<int64_t> group_elems,
                            rule::Buffering buffering) {
    ModelSpec spec;
    spec.name = name;
    spec.optimizer.buffering = buffering;
    for (size_t i = 0; i < group_elems.size(); ++i) {
      const std::string group = "g" + std::to_string(i);
      GroupSpec made;
      made.name = group;
      spec.groups.push_back(made);
      spec.tensors.push_back(
          {"t" + std::to_string(i), {group_elems[i]}, group});
    }
    FillDefaults(spec);
    return spec;
  }

  void Post(std::unique_ptr<Push> push) {
    auto shared = std::make_shared<std::unique_ptr<Push>>(std::move(push));
    pool_->Post(lane_, [this, shared] {
      std::unique_ptr<Push> push = std::move(*shared);
      std::function<void(const Push&)> look;
      PushOutcome outcome;
      {
        MutexLock lock(&mu_);
        look = look_;
        outcome.folded_pushes = ++folded_;
      }
      if (look) look(*push);
      const PushDone done = std::move(push->done);
      push = nullptr;
      done(outcome);
    });
  }

  const ModelSpec spec_;
  const std::shared_ptr<const Layout> layout_;
  WorkPool* const pool_;
  const WorkPool::Lane lane_;

  mutable Mutex mu_;
  std::function<absl::StatusOr<BegunPush>(const PushHeader&)> begin_
      ACCRUE_GUARDED_BY(mu_);
  std::function<void(const Push&)> look_ ACCRUE_GUARDED_BY(mu_);
  bool hold_ ACCRUE_GUARDED_BY(mu_) = false;
  bool draining_ ACCRUE_GUARDED_BY(mu_) = false;
  std::map<const Arrival*, std::shared_ptr<Arrival>> arrivals_
      ACCRUE_GUARDED_BY(mu_);
  std::shared_ptr<Arrival> submitted_ ACCRUE_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Push>> held_ ACCRUE_GUARDED_BY(mu_);
  int64_t folded_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t initialized_bytes_ ACCRUE_GUARDED_BY(mu_) = -1;
  int64_t initializer_count_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t first_non_finite_ ACCRUE_GUARDED_BY(mu_) = -1;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_INGEST_FAKE_MODEL_H_
