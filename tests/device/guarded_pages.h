// GuardedPages: zeroed bytes that end, but for alignment, at a page that nobody
// may touch, and that can be closed to everyone.
//
// Threading. compatible; what Protect does, it does for all threads.
#ifndef ACCRUE_TESTS_DEVICE_GUARDED_PAGES_H_
#define ACCRUE_TESTS_DEVICE_GUARDED_PAGES_H_

#include <cstddef>
#include <cstdint>

namespace accrue {

class GuardedPages {
 public:
  static constexpr int64_t kAlignment = 256;

  // Open at first. data() is null: the machine has no memory.
  explicit GuardedPages(int64_t size_bytes);
  ~GuardedPages();
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;

  std::byte* data() const { return data_; }
  int64_t size_bytes() const { return size_bytes_; }
  bool Contains(const void* at, int64_t size_bytes) const;

  // Touching closed pages ends the process.
  void Open();
  void Close();

 private:
  const int64_t size_bytes_;
  int64_t open_bytes_ = 0;  // what can be opened: all but the guard
  std::byte* mapping_ = nullptr;
  std::byte* data_ = nullptr;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DEVICE_GUARDED_PAGES_H_
