// Peer: a client process of a test, that a signal can freeze or kill.
//
// The test's binary starts itself again with --role=NAME and the role's
// arguments; the role then runs instead of the tests. The two talk in lines:
// the peer's standard output and input.
//
//   int Reader(const std::vector<std::string>& arguments) { ... Say("done"); }
//   const PeerRole kReader("reader", Reader);
//   ...
//   auto peer = Peer::Start("reader", {daemon->tcp()});
//   peer->AwaitLine();
//
// Errors.    reported as failures of the test that runs
// Threading. compatible

#ifndef ACCRUE_TESTS_E2E_PEER_H_
#define ACCRUE_TESTS_E2E_PEER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace accrue {

// What the process exits with.
using RoleFunction = int (*)(const std::vector<std::string>& arguments);

// At namespace scope: makes a role known.
class PeerRole {
 public:
  PeerRole(const std::string& name, RoleFunction function);
};

// Of roles. One line to the test; safe to call from several threads.
void Say(const std::string& line);
// A line of the test; none once the test closed its end.
std::optional<std::string> Hear();
// Says "frozen" and stops the process until SIGCONT.
void Freeze();

class Peer {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(60);

  // Null if it does not start. The child dies with the test's process.
  static std::unique_ptr<Peer> Start(const std::string& role,
                                     const std::vector<std::string>& arguments);
  // Kills it if it still runs.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Its next line; none, and a failure, if it ends or takes too long.
  std::optional<std::string> AwaitLine(absl::Duration patience = kPatience);
  // Reads on until the line "frozen", then until the process has stopped.
  bool AwaitFrozen();
  void Tell(const std::string& line) const;

  void Signal(int signal) const;
  // Closes its input and waits for its end: the exit code, or minus the signal
  // that ended it. One that takes too long is a failure, and killed.
  int AwaitExit(absl::Duration patience = kPatience);
  void Kill();

 private:
  Peer() = default;

  pid_t pid_ = -1;
  int pidfd_ = -1;
  int to_ = -1, from_ = -1;
  std::string unread_;
};

// Asks again and again until it is true. Meant for what only a call to the
// daemon tells, so that each look waits for an answer.
bool Eventually(const std::function<bool()>& condition,
                absl::Duration patience = absl::Seconds(60));

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_PEER_H_
