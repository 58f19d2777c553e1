#include "accrue/receive_pages.h"

#include <malloc.h>

namespace accrue::client {

void KeepReceivePages() {
#if defined(__GLIBC__)
  // Blocks of up to 32 MiB, the most that glibc accepts here, come from the
  // heap instead of mappings of their own...
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  // ...and the heap's end is not given back while it is free.
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace accrue::client
