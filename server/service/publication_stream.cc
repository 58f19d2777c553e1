#include "server/service/publication_stream.h"

#include <algorithm>
#include <utility>

namespace accrue {
namespace {

// Shorter pieces (biases, say) are cheaper to copy than to refer to.
constexpr int64_t kCopiedBytes = 512;

std::vector<Publication::Range> NonEmpty(
    std::vector<Publication::Range> ranges) {
  std::erase_if(ranges, [](const Publication::Range& range) {
    return range.size_bytes == 0;
  });
  return ranges;
}

}  // namespace

PublicationStream::PublicationStream(
    std::shared_ptr<const Publication> publication,
    std::vector<Publication::Range> ranges)
    : hold_(std::make_shared<const Hold>(Hold{std::move(publication)})),
      ranges_(NonEmpty(std::move(ranges))) {
  for (const Publication::Range& range : ranges_) {
    total_bytes_ += range.size_bytes;
  }
}

std::vector<grpc::Slice> PublicationStream::Next() {
  std::vector<grpc::Slice> slices;
  for (int64_t left = kChunkBytes; left > 0 && !done();) {
    const Publication::Range& range = ranges_[index_];
    const int64_t n = std::min(left, range.size_bytes - at_);
    slices.push_back(Refer(range.data + at_, n));
    left -= n;
    at_ += n;
    if (at_ == range.size_bytes) {
      ++index_;
      at_ = 0;
    }
  }
  return slices;
}

grpc::Slice PublicationStream::Refer(const std::byte* data,
                                     int64_t size_bytes) const {
  const auto size = static_cast<size_t>(size_bytes);
  if (size_bytes < kCopiedBytes) return grpc::Slice(data, size);
  // gRPC only reads what it sends.
  return grpc::Slice(
      const_cast<std::byte*>(data), size,
      [](void* hold) {
        delete static_cast<std::shared_ptr<const Hold>*>(hold);
      },
      new std::shared_ptr<const Hold>(hold_));
}

}  // namespace accrue
