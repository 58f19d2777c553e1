// DataSocket: a data connection by hand, to leave payloads half done.
//
// Errors.    what a test does not expect to fail is reported as its failure
// Threading. compatible; HangUp() from the sending thread only

#ifndef ACCRUE_TESTS_E2E_DATA_SOCKET_H_
#define ACCRUE_TESTS_E2E_DATA_SOCKET_H_

#include <cstdint>
#include <string>

#include "tests/e2e/wire.h"

namespace accrue {

class DataSocket {
 public:
  // Connects to "127.0.0.1:PORT" or "unix:PATH" and has the daemon know its id,
  // which is another one each time.
  explicit DataSocket(const std::string& target);
  ~DataSocket() { HangUp(); }
  DataSocket(const DataSocket&) = delete;
  DataSocket& operator=(const DataSocket&) = delete;

  const std::string& id() const { return id_; }

  // Waits while the daemon reads nothing. False: it has hung up.
  bool Send(const std::string& bytes) const;
  void HangUp();
  // Whether the daemon has hung up; and waits until it has.
  bool ended() const { return Ended(0); }
  void AwaitEnd() const;

  // A push whose header names this connection and its next payload, of which
  // there is the number alone as yet.
  Wire::HalfPush Begin(Wire& wire, v1::PushHeader header);
  // A whole push: its end.
  Ending Push(Wire& wire, const v1::PushHeader& header,
              const std::string& payload, v1::PushResponse* response = nullptr);

 private:
  bool Ended(int patience_ms) const;

  int fd_ = -1;
  std::string id_;
  int64_t payload_ = 0;  // the last one's number
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_DATA_SOCKET_H_
