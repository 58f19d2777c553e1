// DataConnection: a connection of the worker's own, which carries the payloads
// of its pushes beside gRPC (base/data_preface.h): straight from the gradient
// into the socket.
// DataRoute: whether a push goes that way; it opens the connection where it
// does.
//
// Errors.    none that end a push: where there is no data connection (the
//            daemon has as many as it allows, or something in between speaks
//            HTTP/2 alone) payloads go in gRPC's messages
// Threading. compatible

#ifndef ACCRUE_CLIENT_CPP_SRC_DATA_CONNECTION_H_
#define ACCRUE_CLIENT_CPP_SRC_DATA_CONNECTION_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/payload.h"
#include "client/cpp/src/target.h"

namespace accrue::client::internal {

class DataConnection {
 public:
  // UNAVAILABLE: nobody is there. FAILED_PRECONDITION: nothing answers in time,
  // or not as a daemon would that has room for one more.
  static absl::StatusOr<std::unique_ptr<DataConnection>> Open(
      const Target& target, absl::Time deadline);
  ~DataConnection();
  DataConnection(const DataConnection&) = delete;
  DataConnection& operator=(const DataConnection&) = delete;

  const std::string& id() const { return id_; }
  // Of the next payload.
  int64_t next_payload() const { return next_payload_; }

  // False once its peer has hung up.
  bool usable() const;

  // Sends the next payload. False: not all of it, since the connection broke or
  // go_on() said no, which is asked now and then, and whenever nothing could be
  // sent for a while: the connection is over, and its daemon told so. No
  // reference to the payload is left.
  bool Send(const Payload& payload, absl::FunctionRef<bool()> go_on);

 private:
  DataConnection(int fd, std::string id) : fd_(fd), id_(std::move(id)) {}

  const int fd_;
  const std::string id_;
  int64_t next_payload_ = 1;
};

class DataRoute {
 public:
  // For payloads of `min_bytes` and more.
  explicit DataRoute(int64_t min_bytes) : min_bytes_(min_bytes) {}

  // The connection to send a payload on, idle; null: send it in messages.
  DataConnection* Get(const Target& target, int64_t payload_bytes,
                      absl::Time deadline);

  // The connection is of no use any more.
  void Drop() { connection_ = nullptr; }
  // Nor was it any for the daemon: the next Get opens another, but if that one
  // is to be replaced before it has served, there is none for a while.
  void Replace();
  // It has served.
  void Keep() { replaced_ = false; }

 private:
  void Avoid();

  const int64_t min_bytes_;
  bool replaced_ = false;
  std::unique_ptr<DataConnection> connection_;
  // The wall clock may step.
  std::chrono::steady_clock::time_point avoided_until_ = {};
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_DATA_CONNECTION_H_
