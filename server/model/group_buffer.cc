#include "server/model/group_buffer.h"

#include <algorithm>
#include <utility>

#include "server/base/status_macros.h"
#include "server/kernels/convert.h"

namespace accrue {
namespace {

constexpr int64_t kChunkElems = int64_t{1} << 18;

}  // namespace

void GroupBuffer::Prepare(kernels::Encoding encoding, WorkPool* pool,
                          const WorkPool::Lane& lane,
                          std::function<void(absl::Status)> done) {
  std::byte* out = nullptr;
  absl::Status status;
  Copy* copy = nullptr;
  {
    MutexLock lock(&mu_);
    copy = &copies_[Index(encoding)];
    copy->asked_for = true;
    if (copy->state == Copy::State::kMaking) {
      copy->waiting.push_back(std::move(done));
      return;
    }
    if (copy->state == Copy::State::kNone) {
      status = Allocate(*copy, encoding);
      if (status.ok()) {
        copy->state = Copy::State::kMaking;
        copy->waiting.push_back(std::exchange(done, nullptr));
        out = static_cast<std::byte*>(copy->buffer.data());
      }
    }
  }
  if (done != nullptr) {  // it is there already, or cannot be
    done(status);
    return;
  }
  const int64_t chunks = (elems_ + kChunkElems - 1) / kChunkElems;
  pool->Run(
      lane, chunks,
      [this, encoding, out](int64_t chunk) {
        const int64_t begin = chunk * kChunkElems;
        const int64_t count = std::min(kChunkElems, elems_ - begin);
        kernels::Encode(floats() + begin, count, encoding,
                        out + begin * kernels::EncodedBytes(encoding));
      },
      [this, copy] { Finish(*copy, absl::OkStatus()); });
}

absl::Status GroupBuffer::Allocate(Copy& copy, kernels::Encoding encoding) {
  if (copy.buffer.size_bytes() > 0 || elems_ == 0) return absl::OkStatus();
  ACCRUE_RETURN_IF_ERROR(permit_->Permit(encoding));
  ACCRUE_ASSIGN_OR_RETURN(
      copy.buffer,
      device_->AllocateHost(elems_ * kernels::EncodedBytes(encoding),
                            MemoryTag::kEncoded, ledger_));
  return absl::OkStatus();
}

void GroupBuffer::Finish(Copy& copy, absl::Status status) {
  std::vector<std::function<void(absl::Status)>> waiting;
  {
    MutexLock lock(&mu_);
    copy.state = Copy::State::kReady;
    waiting.swap(copy.waiting);
  }
  for (auto& done : waiting) done(status);
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
  MutexLock lock(&mu_);
  Copy& copy = copies_[Index(encoding)];
  if (!Allocate(copy, encoding).ok()) return nullptr;
  return static_cast<std::byte*>(copy.buffer.data());
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
