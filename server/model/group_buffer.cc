#include "server/model/group_buffer.h"

#include <algorithm>
#include <utility>

#include "server/base/status_macros.h"
#include "server/device/driver_wait.h"
#include "server/kernels/convert.h"

namespace accrue {
namespace {

constexpr int64_t kChunkElems = int64_t{1} << 18;

}  // namespace

void GroupBuffer::Prepare(kernels::Encoding encoding, WorkPool* pool,
                          const WorkPool::Lane& lane,
                          std::function<void(absl::Status)> done) {
  {
    MutexLock lock(&mu_);
    Copy& copy = copies_[Index(encoding)];
    copy.asked_for = true;
    if (copy.state != Copy::State::kReady) {
      copy.waiting.push_back(std::exchange(done, nullptr));
      if (copy.state == Copy::State::kMaking) return;
      copy.state = Copy::State::kMaking;
    }
  }
  if (done != nullptr) return done(absl::OkStatus());  // it is there
  pool->Post(lane,
             [this, encoding, pool, lane] { Make(encoding, pool, lane); });
}

void GroupBuffer::Make(kernels::Encoding encoding, WorkPool* pool,
                       const WorkPool::Lane& lane) {
  absl::StatusOr<std::byte*> room = Allocate(encoding);
  if (!room.ok()) return Finish(encoding, std::move(room).status());
  const int64_t chunks = (elems_ + kChunkElems - 1) / kChunkElems;
  pool->Run(
      lane, chunks,
      [this, encoding, out = *room](int64_t chunk) {
        const int64_t begin = chunk * kChunkElems;
        const int64_t count = std::min(kChunkElems, elems_ - begin);
        kernels::Encode(floats() + begin, count, encoding,
                        out + begin * kernels::EncodedBytes(encoding));
      },
      [this, encoding] { Finish(encoding, absl::OkStatus()); });
}

absl::StatusOr<std::byte*> GroupBuffer::Allocate(kernels::Encoding encoding) {
  if (!HasRoom(encoding)) {
    ACCRUE_RETURN_IF_ERROR(permit_->Permit(encoding));
    const DriverWait wait(*device_);
    ACCRUE_ASSIGN_OR_RETURN(
        Buffer buffer,
        device_->AllocateHost(elems_ * kernels::EncodedBytes(encoding),
                              MemoryTag::kEncoded, ledger_));
    MutexLock lock(&mu_);
    copies_[Index(encoding)].buffer = std::move(buffer);
  }
  MutexLock lock(&mu_);
  return static_cast<std::byte*>(copies_[Index(encoding)].buffer.data());
}

void GroupBuffer::Finish(kernels::Encoding encoding, absl::Status status) {
  std::vector<std::function<void(absl::Status)>> waiting;
  {
    MutexLock lock(&mu_);
    Copy& copy = copies_[Index(encoding)];
    copy.state = status.ok() ? Copy::State::kReady : Copy::State::kNone;
    waiting.swap(copy.waiting);
  }
  // Nothing of it stays behind on this thread: ThreadSanitizer cannot see that
  // copies of a status count themselves.
  const std::function<void(absl::Status)> last = std::move(waiting.back());
  waiting.pop_back();
  for (const auto& done : waiting) done(status);
  last(std::move(status));
}

std::vector<kernels::Encoding> GroupBuffer::asked_for() const {
  std::vector<kernels::Encoding> encodings;
  MutexLock lock(&mu_);
  for (const auto encoding :
       {kernels::Encoding::kBf16, kernels::Encoding::kF16}) {
    if (copies_[Index(encoding)].asked_for) encodings.push_back(encoding);
  }
  return encodings;
}

std::byte* GroupBuffer::Room(kernels::Encoding encoding) {
  return Allocate(encoding).value_or(nullptr);
}

bool GroupBuffer::HasRoom(kernels::Encoding encoding) const {
  MutexLock lock(&mu_);
  return elems_ == 0 || copies_[Index(encoding)].buffer.size_bytes() > 0;
}

void GroupBuffer::SetReady(kernels::Encoding encoding) {
  MutexLock lock(&mu_);
  copies_[Index(encoding)].state = Copy::State::kReady;
}

const std::byte* GroupBuffer::bytes(kernels::Encoding encoding) const {
  if (encoding == kernels::Encoding::kF32) {
    return reinterpret_cast<const std::byte*>(floats());
  }
  MutexLock lock(&mu_);
  return static_cast<const std::byte*>(copies_[Index(encoding)].buffer.data());
}

void GroupBuffer::Invalidate() {
  MutexLock lock(&mu_);
  for (Copy& copy : copies_) {
    copy.state = Copy::State::kNone;
    copy.asked_for = false;
  }
}

}  // namespace accrue
