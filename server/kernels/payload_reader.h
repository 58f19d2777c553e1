// PayloadReader: reads any piece of a push's payload as floats.
//
// Memory.    floats that lie in one span are read in place; all else is
//            gathered and decoded into the caller's scratch.
// Numerics.  bit_exact_cpu_gpu: encoding.h's elements, however the bytes are
//            cut and in whatever pieces they are read.
// Threading. compatible; never blocks. Cheap where reads are mostly ascending.
#ifndef ACCRUE_SERVER_KERNELS_PAYLOAD_READER_H_
#define ACCRUE_SERVER_KERNELS_PAYLOAD_READER_H_

#include <cstddef>
#include <cstdint>

#include "server/base/byte_chain.h"
#include "server/kernels/encoding.h"

namespace accrue::kernels {

class PayloadReader {
 public:
  // The payload outlives it, and is one that ArrivalScan found no flaw in.
  PayloadReader(const ByteChain& payload, Encoding encoding)
      : chain_(payload),
        encoding_(encoding),
        pairs_(payload.size_bytes() / kPairBytes) {}

  // Whether every element passes through scratch.
  bool decodes() const { return encoding_ != Encoding::kF32; }

  // How many elements from `offset` on can be read in place; not where they
  // are decoded.
  int64_t RunElems(int64_t offset);

  // Elements [offset, offset + size), in the payload or in `scratch` [size].
  // `encoded` has room for 2*size bytes.
  const float* Read(int64_t offset, int64_t size, float* scratch,
                    std::byte* encoded);

 private:
  void ReadScaled(int64_t offset, int64_t size, float* out, std::byte* encoded);
  void ReadPairs(int64_t offset, int64_t size, float* out);

  ChainReader chain_;
  Encoding encoding_;
  int64_t pairs_;      // top-k: all of them
  int64_t pair_ = 0;   // top-k: the first that was not read yet, if the next
  int64_t next_ = -1;  // read begins at this element
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_PAYLOAD_READER_H_
