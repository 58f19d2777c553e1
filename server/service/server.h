// Server: the daemon in one object: models, ingest, the services, and the
// sockets they are reached on.
//
// Threading. Start, Serve, Drain and the destructor one after the other, on any
//            thread; StopServing beside Serve

#ifndef ACCRUE_SERVER_SERVICE_SERVER_H_
#define ACCRUE_SERVER_SERVICE_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/durability/data_directory.h"
#include "server/durability/durability_options.h"
#include "server/durability/file.h"
#include "server/ingest/ingest.h"
#include "server/model/model_store.h"
#include "server/service/backend.h"
#include "server/service/credential_files.h"
#include "server/service/listener.h"

namespace accrue {

struct ServerOptions {
  ListenerOptions listener;
  BackendOptions backend;
  // The window of one stream: what a peer may send before it is read. It
  // bounds the rate of a push to the window over the round-trip time.
  int64_t stream_window_bytes = int64_t{256} << 10;
  IngestOptions ingest = {.max_push_streams = 1024};
  // All models' moments, buffers and publications together, as far as they are
  // in the host's memory.
  int64_t state_memory_bytes = int64_t{1} << 62;
  // Without a data_dir nothing is kept.
  DurabilityOptions durability;
  FileSystem* files = PosixFileSystem();  // outlives the server
  int64_t max_data_connections = 1024;    // 0: payloads come in messages only
  int64_t max_streams_per_peer = 1024;
  int64_t max_models = 1000;
  int64_t max_sessions = 10'000;  // a model
  absl::Duration session_ttl = absl::Hours(24);
  int threads = 0;  // that compute; 0: one a processor
  absl::Duration reader_idle_timeout = absl::Seconds(30);
  bool reflection = false;
  CredentialOptions credentials;
};

class Server {
 public:
  // Listens when it returns, and answers from Serve on. All that may take long
  // or be refused is done by then; a process that ends in between leaves what
  // is kept as it has found it.
  // INVALID_ARGUMENT, FAILED_PRECONDITION: an option, an address or the data
  // directory cannot be; NOT_FOUND: there are no such GPUs;
  // UNAVAILABLE: the disk fails. A model that is kept and cannot be made is
  // left out, and the others are made all the same.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options);
  // Models that are kept are there again, and go on; one whose going on the
  // disk fails at is left out. Waits for the disk, model by model. Once.
  // CANCELLED: StopServing came first. Nobody is listened to, and what is kept
  // is as it was found: there is nothing to drain.
  absl::Status Serve();
  void StopServing();  // at any time, from any thread
  // Ends whatever still goes on, and waits for it: a peer that does not read
  // can delay this by the keepalive's bound.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // What is listened on, as clients name it: "127.0.0.1:7700", "unix:/path".
  std::vector<std::string> addresses() const;

  // Not ready from now on: new pushes are refused as DRAINING, complete ones
  // are folded, calls that only wait are ended, and every model that is kept
  // gets a last checkpoint. Runs `done`, on any thread, once no call is in
  // progress. Once.
  void Drain(std::function<void()> done);

  int64_t live_call_count() const;
  // DataDirectory's; none without one.
  std::vector<std::string> Unkept() const;

  // For what watches it, and ends before it does.
  const ModelStore& models() const;
  const Ingest& ingest() const;
  const DataDirectory* data() const;  // null: nothing is kept

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);

  const std::unique_ptr<Parts> parts_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_SERVER_H_
