#include "tests/fuzz/push_call.h"

#include <algorithm>
#include <utility>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "accrue/v1/worker_service.pb.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/raw_message.h"
#include "tests/fuzz/chain_bytes.h"
#include "tests/fuzz/require.h"

namespace accrue::fuzz {
namespace {

grpc::ByteBuffer BufferOf(const Arriving& arriving) {
  std::vector<grpc::Slice> slices;
  size_t at = 0;
  for (const size_t size : arriving.slices) {
    const size_t count = std::min(size, arriving.bytes.size() - at);
    slices.emplace_back(arriving.bytes.data() + at, count);
    at += count;
  }
  slices.emplace_back(arriving.bytes.data() + at, arriving.bytes.size() - at);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace

PushCall::PushCall(Ingest& ingest, bool eager) : eager_(eager) {
  StreamCallbacks callbacks{[this] {
    Require(!reading_, "no read begins while one is outstanding");
    Require(!answered(), "no read begins after the answer");
    reading_ = true;
    if (eager_) HandOver();
  }};
  stream_ = ingest.NewPush(absl::InfiniteFuture(), std::move(callbacks),
                           [this](absl::StatusOr<PushOutcome> answer) {
                             Require(!answered(), "a call is answered once");
                             answer_ = std::move(answer);
                           });
}

void PushCall::Send(Arriving arriving) {
  arriving_.push_back(std::move(arriving));
  HandOver();
}

void PushCall::Cancel() { stream_->OnCancelled(); }

bool PushCall::TakeAnswer() {
  return answered() && !std::exchange(taken_, true);
}

void PushCall::HandOver() {
  // The first read comes while the stream is made.
  if (stream_ == nullptr || handing_over_) return;
  handing_over_ = !eager_;
  while (reading_ && !arriving_.empty()) {
    reading_ = false;
    const Arriving next = std::move(arriving_.front());
    arriving_.pop_front();
    Deliver(next);
  }
  handing_over_ = false;
}

void PushCall::Deliver(const Arriving& arriving) {
  switch (arriving.kind) {
    case Arriving::Kind::kMessage:
      if (absl::Status taken = TakeMessage(arriving); !taken.ok()) {
        stream_->OnFault(std::move(taken));
      }
      return;
    case Arriving::Kind::kEnd:
      ended_ = true;
      return stream_->OnEnd();
    case Arriving::Kind::kFault:
      return stream_->OnFault(absl::UnavailableError("the connection broke"));
  }
}

// What server/service/upload_call.cc does with a message.
absl::Status PushCall::TakeMessage(const Arriving& arriving) {
  grpc::ByteBuffer buffer = BufferOf(arriving);
  ACCRUE_ASSIGN_OR_RETURN(RawMessage message, ParseRawMessage(&buffer));
  if (message.header.has_value() == header_.has_value()) {
    return absl::InvalidArgumentError("a header too few or too many");
  }
  v1::PushHeader api;
  if (!header_.has_value()) {
    if (!api.ParseFromString(*message.header)) {
      return absl::InvalidArgumentError("malformed header");
    }
    ACCRUE_ASSIGN_OR_RETURN(header_, FromApi(api));
  }
  payload_ += BytesOf(message.chunk);
  if (message.header.has_value()) {
    stream_->OnHeader(*header_, std::move(message.chunk));
  } else {
    stream_->OnChunk(std::move(message.chunk));
  }
  return absl::OkStatus();
}

}  // namespace accrue::fuzz
