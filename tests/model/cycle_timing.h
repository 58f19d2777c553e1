// What tests of timeouts wait for: a publication, and a timer's work.
#ifndef ACCRUE_TESTS_MODEL_CYCLE_TIMING_H_
#define ACCRUE_TESTS_MODEL_CYCLE_TIMING_H_

#include <atomic>
#include <chrono>
#include <future>
#include <memory>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/model/model.h"
#include "tests/model/harness.h"

namespace accrue {

// A future of the next publication.
class NextVersion {
 public:
  explicit NextVersion(Model& model) {
    subscription_ = model.Subscribe([this](auto news) {
      if (!seen_.exchange(true)) promise_.set_value(*news);
    });
  }
  // Null if none comes in any time that it could take.
  std::shared_ptr<const Publication> Wait() {
    auto future = promise_.get_future();
    if (future.wait_for(std::chrono::seconds(60)) !=
        std::future_status::ready) {
      ADD_FAILURE() << "no publication";
      return nullptr;
    }
    return future.get();
  }

 private:
  std::atomic<bool> seen_{false};
  std::promise<std::shared_ptr<const Publication>> promise_;
  std::shared_ptr<Model::Subscription> subscription_;
};

// Returns once every timer that is due after `wait` has fired and the executor
// has done what it asked for.
inline void Outlast(Harness& harness, Model& model, absl::Duration wait) {
  std::promise<void> fired;
  harness.environment().timers->At(absl::Now() + wait,
                                   [&] { fired.set_value(); });
  fired.get_future().wait();
  std::promise<void> looked;
  model.Inspect([&](auto*, auto&) { looked.set_value(); });
  looked.get_future().wait();
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_CYCLE_TIMING_H_
