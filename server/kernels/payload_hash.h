// PayloadHash: XXH3, 64 bits, of bytes that arrive in pieces.
//
// Invariant. Digest does not depend on how the bytes were cut.
// Threading. compatible; never blocks.
#ifndef ACCRUE_SERVER_KERNELS_PAYLOAD_HASH_H_
#define ACCRUE_SERVER_KERNELS_PAYLOAD_HASH_H_

#include <cstddef>
#include <cstdint>
#include <memory>

struct XXH3_state_s;

namespace accrue::kernels {

class PayloadHash {
 public:
  PayloadHash();

  void Update(const std::byte* data, int64_t size);

  // Of all bytes so far; more may follow.
  uint64_t Digest() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_PAYLOAD_HASH_H_
