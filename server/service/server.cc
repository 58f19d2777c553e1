#include "server/service/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "absl/synchronization/notification.h"
#include "server/base/logging.h"
#include "server/base/memory_ledger.h"
#include "server/base/status_macros.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/service/access.h"
#include "server/service/backend.h"
#include "server/service/call_environment.h"
#include "server/service/credential_files.h"
#include "server/service/data_connections.h"
#include "server/service/device_watch.h"
#include "server/service/doorway.h"
#include "server/service/health.h"
#include "server/service/limits.h"
#include "server/service/method_needs.h"
#include "server/service/model_service.h"
#include "server/service/server_service.h"
#include "server/service/worker_service.h"

namespace accrue {
namespace {

// A peer that does not answer a ping within the timeout is gone.
constexpr int kKeepaliveMilliseconds = 20'000;
constexpr int kKeepaliveTimeoutMilliseconds = 10'000;
// Clients may ping this often; ours do every 20 s.
constexpr int kMinClientPingMilliseconds = 5'000;
// More wait at the client. gRPC reads the message of each, whoever sends it.
constexpr int kMaxStreamsPerConnection = 256;
// Of one call, its token included.
constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kHandshakeMilliseconds = 10'000;
constexpr int kLargestFrame = 16'777'215;
constexpr int kTcpReadBytes = 1 << 20;
// gRPC 1.51 leaks the list of what it read a handshake into if that has more
// than eight entries, of 64 KiB each.
constexpr int kTlsReadBytes = 512 << 10;
constexpr int kTcpMaxReadBytes = 4 << 20;

void SetChannelArguments(const ServerOptions& options,
                         grpc::ServerBuilder& builder) {
  const auto set = [&](const char* name, int value) {
    builder.AddChannelArgument(name, value);
  };
  // With the probe, unread streams buffer what the link can carry: gigabytes.
  set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  set(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES,
      static_cast<int>(options.stream_window_bytes));
  set(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kLargestFrame);
  const int read_bytes =
      options.credentials.tls.enabled() ? kTlsReadBytes : kTcpReadBytes;
  set(GRPC_ARG_TCP_READ_CHUNK_SIZE, read_bytes);
  set(GRPC_ARG_TCP_MIN_READ_CHUNK_SIZE, read_bytes);
  set(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kTcpMaxReadBytes);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // no limit
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      kMinClientPingMilliseconds);
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  set(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  // A TLS handshake; otherwise a connection's first bytes.
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMilliseconds);
  set(GRPC_ARG_ENABLE_CHANNELZ, 0);
}

// Reflection registers itself with every server of a process that links it;
// this takes it out again.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>*
                         plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) {
      return plugin->name() == "proto_server_reflection";
    });
  }
};

// Threads that receive payloads: what a socket's copies keep busy.
int ReceivingThreadCount() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 2,
                    8);
}

int ThreadCount(int asked) {
  if (asked > 0) return asked;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::unique_ptr<DataDirectory> MakeDataDirectory(const ServerOptions& options,
                                                 WorkPool* pool,
                                                 TimerQueue* timers,
                                                 const MemoryLedger* ledger) {
  if (options.durability.data_dir.empty()) return nullptr;
  return std::make_unique<DataDirectory>(DurabilityEnvironment{
      .options = options.durability,
      .files = options.files,
      .pool = pool,
      .timers = timers,
      .memory = std::make_shared<CheckpointMemory>(
          options.durability.checkpoint_memory_bytes, ledger)});
}

}  // namespace

// In the order in which they may be built; destroyed the other way round.
struct Server::Parts {
  Parts(const ServerOptions& options, Backend made)
      : backend(std::move(made)),
        devices(&backend.gpus),
        access(&connections, options.max_streams_per_peer),
        health(&backend.gpus, &timers),
        data(MakeDataDirectory(options, &pool, &timers, &ledger)),
        pool(ThreadCount(options.threads)),
        store({.environment = {.make_shard = backend.make_shard,
                               .device = backend.device,
                               .pool = &pool,
                               .timers = &timers,
                               .ledger = &ledger,
                               .max_sessions = options.max_sessions,
                               .session_ttl = options.session_ttl,
                               .pass_time = backend.pass_time,
                               .on_poison_change =
                                   [this](bool poisoned) {
                                     health.OnPoisonChange(poisoned);
                                   }},
               .limits = {.max_payload_bytes =
                              options.ingest.ingest_memory_bytes},
               .max_models = options.max_models,
               .state_memory_bytes = options.state_memory_bytes,
               .keeper = data.get()}),
        ingest(options.ingest, &store, &timers, &ledger),
        data_connections({.threads = ReceivingThreadCount(),
                          .max_connections = options.max_data_connections,
                          .first_use_timeout = options.ingest.header_timeout},
                         &timers),
        environment{
            .store = &store,
            .data = data.get(),
            .ingest = &ingest,
            .timers = &timers,
            .pool = &pool,
            .lane = pool.NewLane(),
            .connections = &connections,
            .data_connections = &data_connections,
            .calls = &calls,
            .access = &access,
            .reader_idle_timeout = options.reader_idle_timeout,
            .stream_bytes = options.stream_window_bytes + kStreamOverheadBytes,
            .pinned_bytes = backend.pinned_bytes()},
        worker_service(environment),
        model_service(environment),
        server_service(environment, backend, devices, options.max_sessions),
        units(std::move(backend.units)) {}
  // Where no server comes of them, too: no timer may fire without a pool.
  ~Parts() { timers.Stop(); }

  Backend backend;
  DeviceWatch devices;
  MemoryLedger ledger;
  Connections connections;
  LiveCalls calls;
  Access access;
  CredentialFiles credential_files{&access};
  TimerQueue timers;
  Health health;
  // Null: nothing is kept. Goes after the pool, which ends what is queued: for
  // as long as anything is written, no other process may lock the directory.
  const std::unique_ptr<DataDirectory> data;
  WorkPool pool;
  ModelStore store;
  DataDirectory::Recovered recovered;  // until Serve
  std::atomic<bool> stop_serving{false};
  Ingest ingest;
  DataConnections data_connections;
  const CallEnvironment environment;
  WorkerService worker_service;
  ModelService model_service;
  ServerService server_service;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> tls_acceptor;
  std::unique_ptr<grpc::Server> grpc_server;
  std::unique_ptr<Doorway> doorway;
  // Passes on GPUs end on threads of theirs, which hand them on to the pool:
  // those threads are gone before it, and before anything that a pass needs.
  std::vector<std::unique_ptr<kernels::DeviceUnit>> units;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options) {
  ACCRUE_RETURN_IF_ERROR(CheckMethodNeeds());
  ACCRUE_ASSIGN_OR_RETURN(Backend backend, MakeBackend(options.backend));
  auto parts = std::make_unique<Parts>(options, std::move(backend));
  ACCRUE_RETURN_IF_ERROR(parts->credential_files.Load(options.credentials));
  if (parts->data != nullptr) {
    ACCRUE_RETURN_IF_ERROR(parts->data->Open());
    ACCRUE_ASSIGN_OR_RETURN(parts->recovered,
                            parts->data->Recover(parts->store));
  }
  ListenerOptions listener = options.listener;
  listener.tls = options.credentials.tls.enabled();
  ACCRUE_ASSIGN_OR_RETURN(parts->listener,
                          Listener::Open(listener, &parts->connections));

  // Links reflection in where the linker would leave it out; it may be asked
  // for any number of times.
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  if (!options.reflection) {
    builder.SetOption(std::make_unique<WithoutReflection>());
  }
  SetChannelArguments(options, builder);
  std::vector<
      std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
      interceptors;
  interceptors.push_back(parts->access.NewInterceptorFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  // A few kilobytes may stand for gigabytes, which gRPC would make of them
  // before anybody looks at the size.
  for (const auto compression : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(compression, false);
  }
  // Reflection is the only synchronous service there is.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
  if (listener.tls) {
    // Not a port of gRPC's own: the listener goes on to accept, and to end what
    // stalls.
    parts->tls_acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        parts->credential_files.NewTlsCredentials());
  }
  builder.RegisterService(&parts->worker_service);
  builder.RegisterService(&parts->model_service);
  builder.RegisterService(&parts->server_service);
  parts->grpc_server = builder.BuildAndStart();
  if (parts->grpc_server == nullptr) {
    return absl::InternalError("gRPC cannot start its server");
  }
  parts->health.Start(parts->grpc_server->GetHealthCheckService());
  parts->doorway = std::make_unique<Doorway>(parts->grpc_server.get(),
                                             parts->tls_acceptor.get(),
                                             &parts->data_connections);
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

absl::Status Server::Serve() {
  Parts& parts = *parts_;
  if (parts.data != nullptr) {
    ACCRUE_RETURN_IF_ERROR(parts.data->Serve(std::exchange(parts.recovered, {}),
                                             parts.store, parts.stop_serving));
  }
  parts.credential_files.Follow(&parts.timers, &parts.pool);
  parts.listener->Start(
      [doorway = parts.doorway.get()](int fd, char first_byte, bool tls) {
        doorway->Adopt(fd, first_byte, tls);
      });
  return absl::OkStatus();
}

void Server::StopServing() { parts_->stop_serving = true; }

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() {
  parts_->listener->Stop();
  parts_->calls.EndWaiting();
  // Its connections closed, no call can linger.
  parts_->connections.ShutdownAll();
  parts_->grpc_server->Shutdown(std::chrono::system_clock::now());
  parts_->health.Stop();
  // Models may still set timers while they go; none may fire without a pool.
  parts_->timers.Stop();
  parts_->devices.Stop();
  if (parts_->units.empty()) return;
  // Nor may a pass run without the GPUs' units.
  absl::Notification drained;
  parts_->store.Drain([&drained] { drained.Notify(); });
  drained.WaitForNotification();
}

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> names;
  for (const SocketAddress& address : parts_->listener->addresses()) {
    names.push_back(address.ToString());
  }
  return names;
}

void Server::Drain(std::function<void()> done) {
  Parts* const parts = parts_.get();
  parts->health.Drain();
  const auto drained = [parts] { parts->calls.EndWaiting(); };
  const auto end = [parts, done = std::move(done)] {
    parts->calls.WhenNone(done);
  };
  if (parts->data != nullptr) {
    return parts->data->Drain(parts->store, drained, end);
  }
  parts->store.Drain([drained, end] {
    drained();
    end();
  });
}

int64_t Server::live_call_count() const { return parts_->calls.count(); }

std::vector<std::string> Server::Unkept() const {
  if (parts_->data == nullptr) return {};
  return parts_->data->Unkept();
}

const ModelStore& Server::models() const { return parts_->store; }

const Ingest& Server::ingest() const { return parts_->ingest; }

const DataDirectory* Server::data() const { return parts_->data.get(); }

}  // namespace accrue
