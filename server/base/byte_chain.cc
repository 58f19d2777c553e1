#include "server/base/byte_chain.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <string>
#include <utility>

namespace accrue {
namespace {

void Run(const ByteChain::Release& release) {
  if (release.fn != nullptr) release.fn(release.arg);
}

// The release of a span that was cut: runs when both pieces are gone.
struct SharedRelease {
  ByteChain::Release release;
  std::atomic<int> pieces{2};

  static void Drop(void* arg) {
    auto* shared = static_cast<SharedRelease*>(arg);
    if (shared->pieces.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    Run(shared->release);
    delete shared;
  }
};

}  // namespace

ByteChain::ByteChain(ByteChain&& other) noexcept
    : spans_(std::exchange(other.spans_, {})),
      releases_(std::exchange(other.releases_, {})) {}

ByteChain& ByteChain::operator=(ByteChain&& other) noexcept {
  if (this == &other) return *this;
  Clear();
  spans_.swap(other.spans_);
  releases_.swap(other.releases_);
  return *this;
}

ByteChain::~ByteChain() { Clear(); }

ByteChain ByteChain::CopyOf(absl::string_view bytes) {
  auto* copy = new std::string(bytes);
  ByteChain chain;
  chain.Append(
      copy->data(), static_cast<int64_t>(copy->size()),
      {[](void* arg) { delete static_cast<std::string*>(arg); }, copy});
  return chain;
}

ByteChain ByteChain::View(const void* data, int64_t size_bytes) {
  ByteChain chain;
  chain.Append(data, size_bytes, Release{});
  return chain;
}

void ByteChain::Append(const void* data, int64_t size_bytes, Release release) {
  if (size_bytes == 0) return Run(release);
  spans_.push_back(
      {static_cast<const std::byte*>(data), size_bytes, this->size_bytes()});
  releases_.push_back(release);
}

void ByteChain::Append(ByteChain&& other) {
  const int64_t start = size_bytes();
  for (const Span& span : other.spans_) {
    spans_.push_back({span.data, span.size, start + span.start});
  }
  releases_.insert(releases_.end(), other.releases_.begin(),
                   other.releases_.end());
  other.spans_.clear();
  other.releases_.clear();
}

void ByteChain::RemovePrefix(int64_t n) { TakePrefix(n); }

ByteChain ByteChain::TakePrefix(int64_t n) {
  assert(0 <= n && n <= size_bytes());
  ByteChain prefix;
  size_t whole = 0;  // spans that leave entirely
  while (whole < spans_.size() &&
         spans_[whole].start + spans_[whole].size <= n) {
    ++whole;
  }
  prefix.spans_.assign(spans_.begin(), spans_.begin() + whole);
  prefix.releases_.assign(releases_.begin(), releases_.begin() + whole);
  spans_.erase(spans_.begin(), spans_.begin() + whole);
  releases_.erase(releases_.begin(), releases_.begin() + whole);

  const int64_t cut = n - prefix.size_bytes();
  if (cut > 0) {
    Release& release = releases_.front();
    if (release.fn != nullptr) {
      release = {&SharedRelease::Drop, new SharedRelease{release}};
    }
    Span& span = spans_.front();
    prefix.Append(span.data, cut, release);
    span = {span.data + cut, span.size - cut, n};
  }
  for (Span& span : spans_) span.start -= n;
  return prefix;
}

void ByteChain::Clear() {
  // Emptied first: a release may look at the chain that it came from.
  spans_.clear();
  for (const Release& release : std::exchange(releases_, {})) Run(release);
}

void ChainReader::Seek(int64_t offset) {
  const auto holds = [&](size_t i) {
    return spans_[i].start <= offset &&
           offset < spans_[i].start + spans_[i].size;
  };
  if (holds(hint_)) return;
  if (hint_ + 1 < spans_.size() && holds(hint_ + 1)) {
    ++hint_;
    return;
  }
  const auto after = std::upper_bound(
      spans_.begin(), spans_.end(), offset,
      [](int64_t at, const ByteChain::Span& span) { return at < span.start; });
  hint_ = static_cast<size_t>(after - spans_.begin()) - 1;
}

const std::byte* ChainReader::Contiguous(int64_t offset, int64_t size,
                                         std::byte* scratch) {
  if (size == 0) return scratch;
  Seek(offset);
  const ByteChain::Span& first = spans_[hint_];
  if (offset + size <= first.start + first.size) {
    return first.data + (offset - first.start);
  }
  for (int64_t copied = 0; copied < size;) {
    const ByteChain::Span& span = spans_[hint_];
    const int64_t skip = offset + copied - span.start;
    const int64_t count = std::min(size - copied, span.size - skip);
    std::memcpy(scratch + copied, span.data + skip, static_cast<size_t>(count));
    copied += count;
    if (copied < size) ++hint_;
  }
  return scratch;
}

int64_t ChainReader::RunBytes(int64_t offset) {
  Seek(offset);
  const ByteChain::Span& span = spans_[hint_];
  return span.start + span.size - offset;
}

}  // namespace accrue
