#include "tests/device/guarded_pages.h"

#include <algorithm>
#include <sys/mman.h>
#include <unistd.h>

namespace accrue {
namespace {

int64_t RoundUp(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

GuardedPages::GuardedPages(int64_t size_bytes) : size_bytes_(size_bytes) {
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  const int64_t used_bytes =
      RoundUp(std::max<int64_t>(size_bytes, 1), kAlignment);
  open_bytes_ = RoundUp(used_bytes, page_bytes);
  void* const mapping =
      mmap(nullptr, static_cast<size_t>(open_bytes_ + page_bytes), PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return;
  mapping_ = static_cast<std::byte*>(mapping);
  data_ = mapping_ + (open_bytes_ - used_bytes);
  Open();
}

GuardedPages::~GuardedPages() {
  if (mapping_ == nullptr) return;
  munmap(mapping_, static_cast<size_t>(open_bytes_ + sysconf(_SC_PAGESIZE)));
}

bool GuardedPages::Contains(const void* at, int64_t size_bytes) const {
  const auto* const first = static_cast<const std::byte*>(at);
  return first >= data_ && first - data_ <= size_bytes_ &&
         size_bytes <= size_bytes_ - (first - data_);
}

void GuardedPages::Open() {
  mprotect(mapping_, static_cast<size_t>(open_bytes_), PROT_READ | PROT_WRITE);
}

void GuardedPages::Close() {
  mprotect(mapping_, static_cast<size_t>(open_bytes_), PROT_NONE);
}

}  // namespace accrue
