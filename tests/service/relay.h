// Relay: stands between a client and a server on loopback, and can stop passing
// bytes on: a peer whose machine froze.
//
// Threading. safe

#ifndef ACCRUE_TESTS_SERVICE_RELAY_H_
#define ACCRUE_TESTS_SERVICE_RELAY_H_

#include <atomic>
#include <string>
#include <thread>

namespace accrue {

class Relay {
 public:
  // Relays one connection to `target` ("127.0.0.1:40123").
  explicit Relay(const std::string& target);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Where the client connects.
  const std::string& address() const { return address_; }

  // From now on what the server sends stays where it is.
  void Freeze() { frozen_ = true; }

  // Waits until the server ends the connection, frozen or not.
  void AwaitServersEnd();

 private:
  void ThreadLoop();

  const std::string target_;
  std::string address_;
  int listening_ = -1;
  int wake_ = -1;
  int ended_ = -1;
  std::atomic<bool> frozen_{false};
  std::thread thread_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_RELAY_H_
