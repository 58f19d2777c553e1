// BytesOf: a chain's bytes, one behind the other.
#ifndef ACCRUE_TESTS_FUZZ_CHAIN_BYTES_H_
#define ACCRUE_TESTS_FUZZ_CHAIN_BYTES_H_

#include <string>

#include "server/base/byte_chain.h"

namespace accrue::fuzz {

inline std::string BytesOf(const ByteChain& chain) {
  std::string bytes;
  for (const ByteChain::Span& span : chain.spans()) {
    bytes.append(reinterpret_cast<const char*>(span.data),
                 static_cast<size_t>(span.size));
  }
  return bytes;
}

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_CHAIN_BYTES_H_
