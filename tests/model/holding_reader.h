// HoldingReader: a reader that holds a publication until it is told to let go.
#ifndef ACCRUE_TESTS_MODEL_HOLDING_READER_H_
#define ACCRUE_TESTS_MODEL_HOLDING_READER_H_

#include <atomic>
#include <future>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "server/model/publication.h"

namespace accrue {

class HoldingReader : public Reader {
 public:
  static std::shared_ptr<HoldingReader> Of(
      std::shared_ptr<const Publication> publication) {
    auto reader = std::make_shared<HoldingReader>();
    reader->registration_ = publication->Register(reader);
    reader->publication_ = std::move(publication);
    return reader;
  }
  void End(absl::Status why) override {
    if (!ended_.exchange(true)) why_.set_value(std::move(why));
  }
  absl::Status Why() { return why_.get_future().get(); }
  bool ended() const { return ended_; }
  void LetGo() {
    registration_ = Publication::Registration();
    publication_.reset();
  }

 private:
  std::atomic<bool> ended_{false};
  std::promise<absl::Status> why_;
  Publication::Registration registration_;
  std::shared_ptr<const Publication> publication_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_HOLDING_READER_H_
