// PushCall: the transport's side of one Push call: messages as a worker sends
// them, taken apart as the service does, and whatever else a call meets.
#ifndef ACCRUE_TESTS_FUZZ_PUSH_CALL_H_
#define ACCRUE_TESTS_FUZZ_PUSH_CALL_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ingest/ingest.h"
#include "server/model/push.h"

namespace accrue::fuzz {

// What a read may find.
struct Arriving {
  enum class Kind { kMessage, kEnd, kFault };
  Kind kind = Kind::kMessage;
  std::string bytes;           // of a message
  std::vector<size_t> slices;  // how it is cut; what is left is the last
};

class PushCall {
 public:
  // `eager`: what is there is handed over as soon as a read asks for it, in the
  // middle of whatever asks.
  PushCall(Ingest& ingest, bool eager);
  PushCall(const PushCall&) = delete;
  PushCall& operator=(const PushCall&) = delete;

  // In order, each when a read asks for it.
  void Send(Arriving arriving);
  void Cancel();

  bool answered() const { return answer_.has_value(); }
  const absl::StatusOr<PushOutcome>& answer() const { return *answer_; }
  // Whether the answer has been asked for already.
  bool TakeAnswer();

  // What ingest has been given.
  const std::optional<PushHeader>& header() const { return header_; }
  const std::string& payload() const { return payload_; }
  bool ended() const { return ended_; }

 private:
  void HandOver();
  void Deliver(const Arriving& arriving);
  absl::Status TakeMessage(const Arriving& arriving);

  const bool eager_;
  std::shared_ptr<PushStream> stream_;
  std::deque<Arriving> arriving_;
  bool reading_ = false;
  bool handing_over_ = false;
  std::optional<absl::StatusOr<PushOutcome>> answer_;
  bool taken_ = false;
  std::optional<PushHeader> header_;
  std::string payload_;
  bool ended_ = false;
};

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_PUSH_CALL_H_
