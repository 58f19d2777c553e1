#include "server/kernels/payload_hash.h"

#include <cstdlib>
#include <xxhash.h>

#if defined(__x86_64__)
// Redirects XXH3 to the variant that suits the CPU at hand.
#include <xxh_x86dispatch.h>
#endif

namespace accrue::kernels {

PayloadHash::PayloadHash() : state_(XXH3_createState()) {
  if (state_ == nullptr) std::abort();  // no memory, as `new` would end it
  XXH3_64bits_reset(state_.get());
}

void PayloadHash::Update(const std::byte* data, int64_t size) {
  XXH3_64bits_update(state_.get(), data, static_cast<size_t>(size));
}

uint64_t PayloadHash::Digest() const {
  return XXH3_64bits_digest(state_.get());
}

void PayloadHash::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

}  // namespace accrue::kernels
