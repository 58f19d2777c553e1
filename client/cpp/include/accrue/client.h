// Client: a connection to an Accrue daemon.
//
//   absl::StatusOr<Client> client = Client::Connect("127.0.0.1:7700");
//   absl::StatusOr<Model> model = client->CreateOrOpen(spec);
//   absl::StatusOr<Worker> worker = model->OpenWorker();
//
// A Client is one connection, shared by its models, workers and watchers, and
// one more for each worker that makes large pushes. It reconnects by itself. A
// process that wants parallel pulls connects several clients.
//
// Time.      Every call ends by its timeout, whatever the daemon does: the
//            timeout bounds all attempts, the waits between them and
//            reconnecting. (The lookup of a host name is bounded by the system
//            resolver's own settings; addresses need none.)
// Retries.   UNAVAILABLE (the daemon restarts or drains, the network fails) and
//            "try again later" answers are retried until the timeout; the last
//            error is then returned. Each call says if a retry could act twice;
//            a push never does.
// Errors.    accrue/error.h; each call names its own.
// Memory.    Receiving is twice as fast with an allocator that keeps its pages:
//            accrue/receive_pages.h.
// Threading. safe; copies are cheap and share the connection

#ifndef ACCRUE_CLIENT_CLIENT_H_
#define ACCRUE_CLIENT_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "accrue/description.h"
#include "accrue/error.h"
#include "accrue/model.h"
#include "accrue/payload.h"
#include "accrue/spec.h"
#include "accrue/version.h"
#include "accrue/watcher.h"
#include "accrue/worker.h"

namespace accrue::client {

namespace internal {
class Channel;
}  // namespace internal

// PEM files, read whenever a connection is made.
struct TlsOptions {
  // Of the CAs, one of which the daemon's certificate has to be of; empty: the
  // system's.
  std::string ca = {};
  // The client's own certificate with its chain, and its key, for a daemon that
  // asks for one. Both or neither.
  std::string cert = {};
  std::string key = {};
  // The name that the daemon's certificate has to have; empty: the target's
  // host.
  std::string server_name = {};
};

struct ClientOptions {
  // How long Connect() waits for a daemon that answers; where somebody is there
  // who does not, another second to see whether it speaks TLS. Zero: it does
  // not look; the first call does.
  absl::Duration connect_timeout = absl::Seconds(10);

  // Timeout of calls that carry no parameters: create, describe, open, ... As
  // the next one, long enough to sit out a restart of the daemon.
  absl::Duration call_timeout = absl::Minutes(1);

  // Timeout of a push, a pull (on top of its own `wait`) or an initialization,
  // where its options give none.
  absl::Duration transfer_timeout = absl::Minutes(5);

  // The wait before the first retry; it doubles up to the largest, and a random
  // fifth is taken off or added. A daemon that says how long to wait is obeyed.
  absl::Duration initial_backoff = absl::Milliseconds(50);
  absl::Duration max_backoff = absl::Seconds(5);

  // While a call is in flight and the connection has been silent this long, it
  // is probed; without an answer within the second time it is given up, and the
  // call retried. This is what ends a call to a frozen daemon or host before
  // its timeout does.
  absl::Duration keepalive_time = absl::Seconds(20);
  absl::Duration keepalive_timeout = absl::Seconds(10);

  // Bytes of payload in one message: 16 KiB to 4 MiB. Of a message that the
  // daemon has not begun to read, gRPC lets at most 64 KiB travel: each message
  // costs about a round trip, which makes small ones slow, the more so over a
  // network.
  int64_t chunk_bytes = 4 << 20;

  // Pushes of at least this many bytes travel on a connection of the worker's
  // own beside gRPC's, without gRPC's costs; INT64_MAX: none do. A daemon or a
  // proxy that knows no such connections gets messages. (proto/accrue/v1,
  // PushHeader.data_connection.)
  int64_t data_connection_min_bytes = 1 << 20;

  // Received bytes that may be on their way, or unread, per pull.
  int64_t receive_window_bytes = 4 << 20;

  // Pushes of up to this many bytes carry a checksum (XXH3-64) that the daemon
  // verifies before it folds. It costs a pass over the gradient, about a tenth
  // of a transfer over loopback; 0: never, INT64_MAX: always. TCP's own
  // checksum is 16 bits wide, so "always" is right for networks without a
  // stronger one underneath.
  int64_t checksum_max_bytes = 1 << 20;

  // Set: TLS over TCP. A Unix socket has none: there this is of no effect. All
  // payloads then travel in gRPC's messages; and what ends a call to a frozen
  // daemon is keepalive alone, also where its own timeout is over before.
  std::optional<TlsOptions> tls = {};

  // Who we are, for a daemon with --token_file: the token, or a file that holds
  // nothing else; not both. The file is read whenever a connection is made, and
  // when the token is not accepted any more: calls go on with the one that it
  // holds then, if that is another. Neither is sent to another machine without
  // TLS: INVALID_ARGUMENT.
  std::string token = {};
  std::string token_file = {};
};

class Client {
 public:
  // Target: "host:port", "[v6]:port" or "unix:/path/of/socket".
  // INVALID_ARGUMENT: a target or option that cannot be. UNAVAILABLE: nobody
  // answers there; the message says what was tried. UNAUTHENTICATED: a
  // certificate or token is not accepted. FAILED_PRECONDITION: there is no TLS.
  static absl::StatusOr<Client> Connect(absl::string_view target,
                                        const ClientOptions& options = {});

  // Creates a model. ALREADY_EXISTS (kModelExists): the name is taken by
  // another spec. A model with this very spec is no error.
  absl::StatusOr<Model> CreateOrOpen(const ModelSpec& spec) const;

  // The same, but ALREADY_EXISTS also if it was there before with this spec.
  // After a lost answer the model may be this call's own.
  absl::StatusOr<Model> CreateModel(const ModelSpec& spec) const;

  // NOT_FOUND (kModelUnknown).
  absl::StatusOr<Model> OpenModel(absl::string_view name) const;

  // NOT_FOUND (kModelUnknown).
  absl::StatusOr<ModelDescription> Describe(absl::string_view name) const;

  // All models, by name; those too that are damaged or left out, which Describe
  // refuses.
  absl::StatusOr<std::vector<ModelDescription>> ListModels() const;

  // Deletes a model with its state and sessions. NOT_FOUND (kModelUnknown);
  // after a lost answer and a retry that may be this call's own doing.
  // UNAVAILABLE (kCheckpointFailed): it serves no more, but its files may be
  // there still, delete it again; without a reason: another call restores it.
  absl::Status DeleteModel(absl::string_view name) const;

  // As Model::ListCheckpoints() and Model::Restore(), of a damaged model, too
  // (DATA_LOSS, kDamaged), which cannot be opened. NOT_FOUND (kModelUnknown).
  absl::StatusOr<std::vector<CheckpointDescription>> ListCheckpoints(
      absl::string_view name) const;
  absl::StatusOr<ModelDescription> Restore(
      absl::string_view name, absl::string_view checkpoint = {},
      absl::Duration timeout = Model::kCheckpointTimeout) const;

  absl::StatusOr<ServerInfo> GetServerInfo() const;

  // As given to Connect().
  const std::string& target() const;

 private:
  explicit Client(std::shared_ptr<internal::Channel> channel);

  std::shared_ptr<internal::Channel> channel_;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_CLIENT_H_
