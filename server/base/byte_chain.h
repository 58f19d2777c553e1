// ByteChain: an ordered list of read-only byte spans that others own.
// ChainReader: reads a chain as if it were one contiguous array.
//
// This is how a payload travels from the network to the kernels uncopied: each
// span is a slice that the transport received, with the callback that gives it
// back.
//
// Shapes.    spans: consecutive, none empty, any size and alignment
// Units.     bytes
// Memory.    the host's; a span is valid until its release runs
// Invariant. each release runs exactly once: when the chain is cleared or
//            destroyed, or the last piece of a span cut in two is
// Threading. compatible; one chain may be read by many readers at once. A
//            release runs on whichever thread lets the span go

#ifndef ACCRUE_SERVER_BASE_BYTE_CHAIN_H_
#define ACCRUE_SERVER_BASE_BYTE_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace accrue {

class ByteChain {
 public:
  // Gives a span back to its owner: fn(arg). A null fn does nothing.
  struct Release {
    void (*fn)(void* arg) = nullptr;
    void* arg = nullptr;
  };

  struct Span {
    const std::byte* data;
    int64_t size;
    int64_t start;  // offset of data[0] in the chain
  };

  ByteChain() = default;
  ByteChain(ByteChain&& other) noexcept;
  ByteChain& operator=(ByteChain&& other) noexcept;
  ByteChain(const ByteChain&) = delete;
  ByteChain& operator=(const ByteChain&) = delete;
  ~ByteChain();

  // A chain of one span that holds a copy of the bytes.
  static ByteChain CopyOf(absl::string_view bytes);

  // A chain of one span that the caller keeps alive.
  static ByteChain View(const void* data, int64_t size_bytes);

  // Adds a span behind the last. An empty one is released at once.
  void Append(const void* data, int64_t size_bytes, Release release);

  // Moves the spans of `other`, which is left empty, behind the last.
  void Append(ByteChain&& other);

  // The first n <= size_bytes() bytes leave the chain: dropped, or handed over.
  void RemovePrefix(int64_t n);
  ByteChain TakePrefix(int64_t n);

  void Clear();

  int64_t size_bytes() const {
    return spans_.empty() ? 0 : spans_.back().start + spans_.back().size;
  }
  int64_t span_count() const { return static_cast<int64_t>(spans_.size()); }
  absl::Span<const Span> spans() const { return spans_; }

 private:
  std::vector<Span> spans_;
  std::vector<Release> releases_;  // of the span with the same index
};

// A cursor that is cheap where reads are mostly sequential: it remembers the
// span it read last, and searches only when that one does not serve. The chain
// must outlive it and stay as it is.
class ChainReader {
 public:
  explicit ChainReader(const ByteChain& chain) : spans_(chain.spans()) {}

  // The bytes [offset, offset + size), which must lie in the chain: a pointer
  // into a span if one span holds them all, else a copy of them in `scratch`,
  // which has room for `size`. Valid as long as both. Size 0 gives `scratch`.
  const std::byte* Contiguous(int64_t offset, int64_t size, std::byte* scratch);

  // How many bytes from `offset` on, which lies in the chain, one span holds.
  int64_t RunBytes(int64_t offset);

 private:
  void Seek(int64_t offset);

  absl::Span<const ByteChain::Span> spans_;
  size_t hint_ = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_BYTE_CHAIN_H_
