// FakeDaemon: a daemon for the SDK's tests: sessions and sequences as
// proto/accrue/v1/worker_service.proto has them, "folding" that only remembers,
// and a script of faults.
//
// Threading. safe

#ifndef ACCRUE_TESTS_CLIENT_FAKE_DAEMON_H_
#define ACCRUE_TESTS_CLIENT_FAKE_DAEMON_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/server.h>

#include "accrue/v1/error.pb.h"
#include "accrue/v1/model_service.grpc.pb.h"
#include "accrue/v1/server_service.grpc.pb.h"
#include "accrue/v1/worker_service.grpc.pb.h"

namespace accrue::client {

// An error as the daemon sends it.
struct Refusal {
  grpc::StatusCode code;
  v1::ErrorDetail::Reason reason = v1::ErrorDetail::REASON_UNSPECIFIED;
  int64_t retry_after_ms = 0;
};

// What becomes of one push, pull, call.
struct Fate {
  enum Kind {
    kServe,              // as it should be
    kPublishAndServe,    // the same, but a version comes just before
    kServeAndCut,        // done, but the connection breaks before the answer
    kServeForgetAndCut,  // ... and by then the sessions have expired
    kServeAndHang,       // done, but the answer never leaves
    kCut,                // the connection breaks instead
    kCutHalfWay,         // ... after the first message of the stream
    kHang,               // no answer before EndHangs()
    kRefuse,             // `refusal`
    kPlainStatus,        // `refusal.code`, without a detail
  };
  Kind kind = kServe;
  Refusal refusal = {};
};

inline Fate Refuse(grpc::StatusCode code, v1::ErrorDetail::Reason reason,
                   int64_t retry_after_ms = 0) {
  return {Fate::kRefuse, {code, reason, retry_after_ms}};
}

struct FoldedPush {
  v1::PushHeader header;
  std::string payload;
  std::vector<size_t> chunk_bytes;  // by message
};

class FakeDaemon {
 public:
  struct Options {
    // Listen there; empty: on a port of 127.0.0.1.
    std::string unix_socket = {};
    // Takes data connections. Otherwise whatever connects gets gRPC, which
    // hangs up on a preface.
    bool data_connections = false;
    // They are taken, but their prefaces never answered.
    bool swallows_prefaces = false;
  };
  FakeDaemon() : FakeDaemon(Options()) {}
  explicit FakeDaemon(const Options& options);
  ~FakeDaemon();

  const std::string& target() const { return target_; }

  // What becomes of the calls to come of a method ("Push", "OpenSession", ...),
  // in order; all others are served.
  void Script(const std::string& method, std::vector<Fate> fates);
  // Attempts of a method so far.
  int calls(const std::string& method) const;
  // What new sessions were asked for with, answered or not.
  std::vector<std::string> openings() const;

  // Calls that hang are answered, OK, from now on.
  void EndHangs();

  // Ends every connection, as a crash would.
  void CutConnections();
  // As a daemon that is away: new connections are refused.
  void StopListening();
  // How many were accepted so far, data connections included; and those.
  int connections() const;
  int data_connections() const;
  // Ends the data connections there are.
  void CutDataConnections();
  // Leaves them open, but knows none of their ids any more.
  void ForgetDataConnections();

  std::vector<FoldedPush> folded() const;
  void ForgetFolded();
  // Waits for a method's n-th attempt to begin.
  void AwaitCalls(const std::string& method, int n) const;

  // As if all sessions had expired. / As if the daemon had restarted without
  // its state: without models; and with them anew, in another lineage.
  void ForgetSessions();
  void ForgetModels();
  void BeginLineage();

  // The parameters that a pull sends, under the next version; notices go out.
  void Publish(const std::string& parameters);
  // Sizes of the chunks of a pull, in turn.
  void CutPullsInto(std::vector<size_t> chunk_bytes);

  v1::Version version() const;
  std::optional<v1::PullRequest> last_pull() const;
  std::optional<v1::InitializeModelHeader> initialized_by() const;
  std::string parameters() const;

 private:
  class Worker;
  class Model;
  class Server;
  friend class Worker;

  struct Session {
    std::string worker;
    int64_t last_sequence = 0;
    v1::PushResponse last_response;
  };

  // Takes the next fate of a method.
  Fate Next(const std::string& method);
  // Does what the fate says before the work (true: nothing more is to be done,
  // `*status` is the answer) or after it.
  bool Before(const Fate& fate, grpc::ServerContext* context,
              grpc::Status* status);
  void After(const Fate& fate);
  grpc::Status Error(const Refusal& refusal,
                     grpc::ServerContext* context) const;
  void Hang();
  void Accept();
  // Answers the preface; false: it is none.
  bool AdoptDataConnection(int fd);
  // Reads a payload that a header announces. False: there is no such
  // connection, or it broke.
  bool ReadPayload(const v1::PushHeader& header, std::string* payload);

  const Options options_;
  std::string target_;
  int listener_ = -1;
  std::thread acceptor_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool stopping_ = false;
  bool hangs_end_ = false;
  std::vector<int> connections_;  // our duplicates of their descriptors
  int accepted_ = 0;
  std::map<std::string, int> data_;  // descriptors, by their ids
  std::vector<int> forgotten_data_;
  int data_accepted_ = 0;
  std::map<std::string, std::deque<Fate>> script_;
  std::map<std::string, int> calls_;
  std::map<std::string, Session> sessions_;  // by id
  int opened_ = 0;
  std::vector<std::string> openings_;
  std::vector<FoldedPush> folded_;
  std::map<std::string, v1::ModelSpec> models_;
  std::optional<v1::InitializeModelHeader> initialized_by_;
  std::string parameters_;
  v1::Version version_;
  std::vector<size_t> cuts_;
  std::optional<v1::PullRequest> last_pull_;

  std::unique_ptr<v1::WorkerService::Service> worker_service_;
  std::unique_ptr<v1::ModelService::Service> model_service_;
  std::unique_ptr<v1::ServerService::Service> server_service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace accrue::client

#endif  // ACCRUE_TESTS_CLIENT_FAKE_DAEMON_H_
