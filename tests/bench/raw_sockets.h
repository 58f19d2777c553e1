// RawSockets: the baseline of pushes and pulls. As many plain connections as
// there are workers, between this process, as the daemon, and a process each,
// as the workers: on each a sender of an array and a receiver that fills one.
//
// Their buffers are the kernel's own choice; TCP_NODELAY as gRPC sets it.
//
// Units.     bytes
// Invariant. Transfer returns once every receiver has all its bytes and every
//            sender has been told so.
#ifndef ACCRUE_TESTS_BENCH_RAW_SOCKETS_H_
#define ACCRUE_TESTS_BENCH_RAW_SOCKETS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/peer_process.h"

namespace accrue::bench {

enum class Transport { kTcp, kUnix };

// What the other processes do.
enum class RawTask { kSend, kReceive };

class RawSockets {
 public:
  RawSockets(Transport transport, RawTask task, int connections,
             int64_t array_bytes);
  ~RawSockets();
  RawSockets(const RawSockets&) = delete;
  RawSockets& operator=(const RawSockets&) = delete;

  // Moves an array over every connection at once. The arrays are each
  // receiver's own and each sender's own, but for the one that this process
  // sends to all: gradients, and a publication.
  void Transfer();

 private:
  struct Connection {
    int fd = -1;
    std::vector<float> array;  // that is received here
    std::unique_ptr<PeerProcess> peer;
  };
  const RawTask task_;
  const std::vector<float> sent_;
  std::vector<Connection> connections_;
};

inline constexpr char kRawPeer[] = "raw";

// In the new process: arguments[0] is kRawPeer.
int RunRawPeer(const std::vector<std::string>& arguments);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_RAW_SOCKETS_H_
