// ModelImpl: pushes that wait for others to be folded with.
//
// A pass over an Adam model's state moves 16 bytes a parameter besides its
// pushes, however few they are: four pushes in one pass move 32 bytes, four
// passes 80. So where another push is about to be complete, the pass waits, but
// no longer than a pass takes where memory is slow
// (ModelEnvironment::pass_time). Acks wait with it.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

// Shorter passes are not worth a timer.
constexpr absl::Duration kLeastPatience = absl::Milliseconds(1);

// Whoever is not there so long after the time it gave is asked again: by then a
// sender that has stopped gives none (Receiver).
constexpr absl::Duration kGrace = absl::Milliseconds(15);

}  // namespace

absl::Duration ModelImpl::Patience() const {
  const absl::Duration pass = layout_->elems() * environment_.pass_time;
  // What is gathered is folded a cycle at a time anyway.
  return gathers_ || pass < kLeastPatience ? absl::ZeroDuration() : pass;
}

// True: the queue is left alone for now; a push that comes, or the timer, looks
// at it again.
bool ModelImpl::AwaitsCompany() {
  if (patience_ == absl::ZeroDuration()) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!awaits_until_.has_value()) {
    awaits_until_ = now + absl::ToChronoNanoseconds(patience_);
  }
  const absl::Duration left = absl::FromChrono(*awaits_until_ - now);
  const absl::Duration company = NextCompany();
  if (left <= absl::ZeroDuration() || company > left) {
    awaits_until_ = std::nullopt;
    return false;
  }
  if (awaits_timer_ == TimerId()) {
    std::weak_ptr<ModelImpl> weak = Self();
    awaits_timer_ = environment_.timers->At(
        absl::Now() + std::min(left, company + kGrace), [weak] {
          if (const auto self = weak.lock()) self->EndAwaiting();
        });
  }
  return true;
}

// When the next push for the same pass is complete; infinite: there is none to
// wait for.
absl::Duration ModelImpl::NextCompany() const {
  int64_t ready = 0;
  for (const Step& step : queue_) {
    if (step.push == nullptr) return absl::InfiniteDuration();
    ready += step.push->header.micro_steps;
  }
  for (size_t g = 0; g < rules_.size(); ++g) {
    if (cycles_[g].position + ready >= rules_[g].update_every) {
      return absl::InfiniteDuration();
    }
  }
  absl::Duration least = absl::InfiniteDuration();
  for (const Incoming& incoming : arrivals_) {
    least = std::min(least, incoming.arrival->TimeLeft());
  }
  return least;
}

// The timer's.
void ModelImpl::EndAwaiting() {
  {
    MutexLock lock(&mu_);
    awaits_timer_ = TimerId();
    if (driving_ || queue_.empty()) return;
    driving_ = true;
  }
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

}  // namespace accrue
