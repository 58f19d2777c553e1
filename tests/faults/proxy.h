// FaultProxy: stands between workers and a daemon and does to their connections
// what networks do: cuts them, in the middle of a message or of a payload, half
// closes them, holds them up, and sends what a client has sent once more on
// another connection.
//
// When, and which of these, depends on the seed and on the bytes that pass; so
// two runs are alike, not equal.
//
// Order.     a thread of its own
// Errors.    reported as failures of the test that runs
// Threading. safe

#ifndef ACCRUE_TESTS_FAULTS_PROXY_H_
#define ACCRUE_TESTS_FAULTS_PROXY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace accrue::faults {

enum class NetworkFault {
  kReset,      // both ends learn of it at once, and lose what is on its way
  kTruncate,   // the first part of what was read goes on, then it ends
  kHalfClose,  // one direction ends, the other goes on
  kDelay,      // one direction waits for a moment
  kRepeat,     // all that the client has sent so far comes a second time
  kCount,
};

struct FaultProxyOptions {
  std::string upstream;  // "127.0.0.1:7700"
  uint64_t seed = 1;
  // Bytes of a connection, on average, between two faults.
  double mean_bytes = 10'000;
};

class FaultProxy {
 public:
  // Null if it cannot listen.
  static std::unique_ptr<FaultProxy> Start(const FaultProxyOptions& options);
  // Ends all connections.
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  // "127.0.0.1:40123".
  const std::string& target() const { return target_; }
  // How often it has done so.
  int64_t count(NetworkFault fault) const {
    return counts_[static_cast<size_t>(fault)];
  }

 private:
  using Count = std::atomic<int64_t>;

  // A direction: what comes from one descriptor goes to the other.
  struct Pipe {
    int from = -1, to = -1;
    std::string pending;
    bool ended = false;  // nothing more comes
    absl::Time held_until = absl::InfinitePast();
  };
  struct Link {
    Pipe up, down;     // to the daemon, and from it
    std::string sent;  // by the client; empty once it is too much
    double until_fault = 0;
    absl::Time ends_at = absl::InfiniteFuture();
    bool over = false;
  };

  explicit FaultProxy(const FaultProxyOptions& options);

  bool Listen();
  void ThreadLoop();
  absl::Time AwaitEvents();
  void Accept();
  void Move(Link& link, Pipe& pipe);
  bool Read(Link& link, Pipe& pipe);
  static bool Write(Pipe& pipe);
  void Befall(Link& link, Pipe& pipe, size_t passed);
  void Repeat(const Link& link);
  void Close(Link& link, bool reset);
  double BytesToNextFault();

  const FaultProxyOptions options_;
  std::string target_;
  int listening_ = -1;
  int stop_ = -1;
  std::array<Count, static_cast<size_t>(NetworkFault::kCount)> counts_ = {};
  // The thread's.
  std::mt19937_64 random_;
  std::list<Link> links_;
  std::thread thread_;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_PROXY_H_
