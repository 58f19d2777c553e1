#include "server/service/data_connection.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/error.h"
#include "server/service/data_connections.h"

namespace accrue {
namespace {

// A piece is scanned right after it was received, while it is in the core's
// second cache. Larger ones leave it, smaller ones cost more hand-overs.
constexpr int64_t kPieceBytes = int64_t{256} << 10;

// What a connection may receive before others have their turn.
constexpr int64_t kTurnPieces = 16;

void FreeBytes(void* bytes) { std::free(bytes); }

}  // namespace

DataConnection::~DataConnection() { close(fd_); }

void DataConnection::Start() {
  MutexLock lock(&mutex_);
  AwaitInput();
}

void DataConnection::OnReady() {
  {
    MutexLock lock(&mutex_);
    switch (state_) {
      case State::kPreface:
        return ReadPreface();
      case State::kIdle:
        return Close();
      case State::kClosed:
        return;
      case State::kPush:
        if (!asked_ || pumping_) return;
        pumping_ = true;
    }
  }
  Pump();
}

void DataConnection::EndUnused() {
  MutexLock lock(&mutex_);
  if (!used_) Close();
}

void DataConnection::ReadPreface() {
  const ssize_t n = recv(fd_, preface_.data() + preface_size_,
                         preface_.size() - preface_size_, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
    return AwaitInput();
  }
  if (n <= 0) return Close();
  preface_size_ += static_cast<size_t>(n);
  if (preface_size_ < preface_.size()) {
    return AwaitInput();
  }
  const auto id =
      ParseDataPreface(absl::string_view(preface_.data(), preface_.size()));
  if (!id.has_value() || !connections_->Name(key_, *id)) return Close();
  id_ = *id;
  // Nothing was sent before: it has room.
  if (send(fd_, kDataPrefaceAnswer.data(), kDataPrefaceAnswer.size(),
           MSG_NOSIGNAL) != std::ssize(kDataPrefaceAnswer)) {
    return Close();
  }
  BeIdle();
}

void DataConnection::AwaitInput() const {
  connections_->Await(key_, fd_, DataConnections::Event::kInput);
}

void DataConnection::BeIdle() {
  state_ = State::kIdle;
  connections_->Await(key_, fd_, DataConnections::Event::kHangUp);
}

void DataConnection::Close() {
  if (std::exchange(state_, State::kClosed) == State::kClosed) return;
  asked_ = false;
  stream_ = nullptr;
  shutdown(fd_, SHUT_RDWR);
  connections_->Remove(key_, id_);
}

bool DataConnection::Begin(std::shared_ptr<PayloadStream> stream,
                           int64_t number, int64_t payload_bytes) {
  MutexLock lock(&mutex_);
  if (state_ != State::kIdle) return false;
  state_ = State::kPush;
  used_ = true;
  stream_ = std::move(stream);
  number_expected_ = number;
  numbered_ = false;
  payload_bytes_ = left_bytes_ = payload_bytes;
  return true;
}

void DataConnection::Read() {
  std::shared_ptr<PayloadStream> complete;
  {
    MutexLock lock(&mutex_);
    if (state_ != State::kPush) return;
    if (left_bytes_ > 0) {
      asked_ = true;
      if (!pumping_) AwaitInput();
      return;
    }
    complete = stream_;
  }
  complete->OnEnd();
}

int64_t DataConnection::End() {
  MutexLock lock(&mutex_);
  const int64_t received = payload_bytes_ - left_bytes_;
  if (state_ != State::kPush) return received;
  if (left_bytes_ != 0 || !numbered_) {
    Close();
  } else {
    stream_ = nullptr;
    BeIdle();
  }
  return received;
}

void DataConnection::Pump() {
  int64_t pieces = 0;
  while (PumpOnce(/*rest=*/pieces == kTurnPieces)) ++pieces;
}

// False: this thread pumps no longer. `rest`: others are to have their turn.
bool DataConnection::PumpOnce(bool rest) {
  Expected expected;
  {
    MutexLock lock(&mutex_);
    if (!asked_ || rest) return StopPumping();
    expected = {numbered_, number_expected_, left_bytes_};
  }
  const Received received = Receive(expected);

  std::shared_ptr<PayloadStream> stream;
  ByteChain chunk;
  {
    MutexLock lock(&mutex_);
    if (!asked_) return StopPumping();  // answered in the meantime, and closed
    numbered_ = expected.numbered;
    if (received == Received::kSome) return StopPumping();
    asked_ = false;
    stream = stream_;
    if (received == Received::kAll) {
      left_bytes_ -= piece_.size;
      std::byte* const bytes = piece_.bytes.release();
      chunk.Append(bytes, piece_.size, {.fn = FreeBytes, .arg = bytes});
    }
  }
  if (received == Received::kAll) {
    stream->OnChunk(std::move(chunk));
  } else {
    stream->OnFault(Fault(received, expected));
  }
  return true;
}

bool DataConnection::StopPumping() {
  pumping_ = false;
  if (asked_) AwaitInput();
  return false;
}

DataConnection::Received DataConnection::Receive(Expected& expected) {
  if (!expected.numbered) {
    const Received received =
        Fill(number_.data(), std::ssize(number_), number_filled_);
    if (received != Received::kAll) return received;
    number_filled_ = 0;
    expected.numbered = true;
    const absl::string_view number(
        reinterpret_cast<const char*>(number_.data()), number_.size());
    if (ParsePayloadNumber(number) != expected.number) return Received::kOther;
  }
  if (piece_.bytes == nullptr) {
    piece_.size = std::min(kPieceBytes, expected.left_bytes);
    piece_.filled = 0;
    piece_.bytes.reset(
        static_cast<std::byte*>(std::malloc(static_cast<size_t>(piece_.size))));
    if (piece_.bytes == nullptr) return Received::kNoMemory;
  }
  return Fill(piece_.bytes.get(), piece_.size, piece_.filled);
}

DataConnection::Received DataConnection::Fill(std::byte* bytes, int64_t size,
                                              int64_t& filled) const {
  while (filled < size) {
    const ssize_t n =
        recv(fd_, bytes + filled, static_cast<size_t>(size - filled), 0);
    if (n > 0) {
      filled += n;
    } else if (n < 0 && errno == EAGAIN) {
      return Received::kSome;
    } else if (n == 0 || errno != EINTR) {
      return Received::kBroken;
    }
  }
  return Received::kAll;
}

absl::Status DataConnection::Fault(Received received,
                                   const Expected& expected) {
  if (received == Received::kNoMemory) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, Reason::kIngestMemory,
        absl::StrCat("no memory to receive ", expected.left_bytes, " bytes"));
  }
  return MakeError(
      absl::StatusCode::kUnavailable, Reason::kDataConnection,
      received == Received::kOther
          ? absl::StrCat("the data connection does not carry payload ",
                         expected.number, " next")
          : absl::StrCat("the data connection ended, ", expected.left_bytes,
                         " bytes of the payload were still to come"));
}

}  // namespace accrue
