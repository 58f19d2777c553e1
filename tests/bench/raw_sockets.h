// RawSockets: the baseline of pushes and pulls. As many plain connections as
// there are workers, each a sender and a receiver that fills a buffer.
//
// Units.     bytes
// Invariant. Transfer returns once every receiver has all its bytes and every
//            sender has been told so.
#ifndef ACCRUE_TESTS_BENCH_RAW_SOCKETS_H_
#define ACCRUE_TESTS_BENCH_RAW_SOCKETS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace accrue::bench {

enum class Transport { kTcp, kUnix };

class RawSockets {
 public:
  RawSockets(Transport transport, int connections, int64_t buffer_bytes);
  ~RawSockets();
  RawSockets(const RawSockets&) = delete;
  RawSockets& operator=(const RawSockets&) = delete;

  // Sends buffer_bytes over every connection at once. sources[i]: what
  // connection i sends; they may be the same.
  void Transfer(const std::vector<const std::byte*>& sources);

 private:
  struct Connection {
    int sender = -1;
    int receiver = -1;
    std::vector<std::byte> buffer;
  };
  std::vector<Connection> connections_;
};

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_RAW_SOCKETS_H_
