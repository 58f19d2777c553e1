#include "tests/service/service_fixture.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

// The request with the payload's first chunk, and alone the others.
template <class Request>
void WriteChunks(grpc::ClientWriter<Request>& writer, Request request,
                 const std::string& payload, size_t chunk_bytes) {
  size_t at = 0;
  do {
    request.set_chunk(payload.substr(at, chunk_bytes));
    at += chunk_bytes;
    if (!writer.Write(request)) break;
    request.clear_header();
  } while (at < payload.size());
  writer.WritesDone();
}

}  // namespace

v1::ModelSpec PlainSpec(const std::string& name, int64_t elems, int64_t k) {
  v1::ModelSpec spec;
  spec.set_name(name);
  v1::TensorSpec& tensor = *spec.add_tensors();
  tensor.set_name("w");
  tensor.add_shape(elems);
  v1::GroupSpec& group = *spec.add_groups();
  group.set_name("all");
  group.set_k(k);
  group.mutable_hyperparameters()->set_learning_rate(1);
  v1::OptimizerSpec& optimizer = *spec.mutable_optimizer();
  optimizer.set_optimizer(v1::OPTIMIZER_SGD);
  optimizer.set_decay(v1::DECAY_PER_CYCLE);
  optimizer.set_buffering(v1::BUFFERING_EMBEDDED);
  optimizer.set_second_moment(v1::SECOND_MOMENT_ARTICLE);
  optimizer.set_epsilon_place(v1::EPSILON_PLACE_OUTSIDE);
  optimizer.set_learning_rate_scaling(v1::LEARNING_RATE_SCALING_CONSERVATIVE);
  optimizer.set_clip_scope(v1::CLIP_SCOPE_GROUP);
  spec.set_stale_policy(v1::STALE_POLICY_REJECT);
  spec.set_durability(v1::DURABILITY_MEMORY);
  return spec;
}

std::string FloatBytes(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

v1::ErrorDetail DetailOf(const grpc::ClientContext& context) {
  v1::ErrorDetail detail;
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find("accrue-error-bin");
  if (found != trailers.end()) {
    detail.ParseFromArray(found->second.data(),
                          static_cast<int>(found->second.length()));
  }
  return detail;
}

std::string Describe(const grpc::Status& status,
                     const grpc::ClientContext& context) {
  static constexpr const char* kCodes[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  if (status.ok()) return "OK";
  const std::string reason =
      v1::ErrorDetail::Reason_Name(DetailOf(context).reason());
  return absl::StrCat(kCodes[status.error_code()], " ",
                      reason.substr(sizeof("REASON_") - 1), ": ",
                      status.error_message());
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

ServerOptions ServiceFixture::Options() {
  ServerOptions options;
  options.listener.tcp = {"127.0.0.1:0"};
  options.backend.device.kind = DeviceChoice::Kind::kCpu;
  return options;
}

ServiceFixture::ServiceFixture(const ServerOptions& options) {
  auto server = Server::Start(options);
  if (!server.ok()) {
    ADD_FAILURE() << server.status();
    return;
  }
  server_ = *std::move(server);
  EXPECT_EQ(server_->Serve(), absl::OkStatus());
  channel_ = NewChannel(server_->addresses()[0]);
  models_ = v1::ModelService::NewStub(channel_);
  workers_ = v1::WorkerService::NewStub(channel_);
  info_ = v1::ServerService::NewStub(channel_);
}

v1::Version ServiceFixture::CreateInitialized(
    const v1::ModelSpec& spec, const std::vector<float>& values) {
  v1::CreateModelRequest create;
  *create.mutable_spec() = spec;
  v1::CreateModelResponse created;
  grpc::ClientContext create_context;
  grpc::Status status = models_->CreateModel(&create_context, create, &created);
  EXPECT_TRUE(status.ok()) << Describe(status, create_context);

  grpc::ClientContext context;
  v1::InitializeModelResponse response;
  auto writer = models_->InitializeModel(&context, &response);
  v1::InitializeModelRequest request;
  request.mutable_header()->set_model(spec.name());
  request.mutable_header()->set_restore(true);
  request.mutable_header()->set_encoding(v1::ENCODING_F32);
  request.mutable_header()->set_payload_bytes(
      static_cast<int64_t>(values.size() * sizeof(float)));
  WriteChunks(*writer, request, FloatBytes(values), kChunkBytes);
  status = writer->Finish();
  EXPECT_TRUE(status.ok()) << Describe(status, context);
  return response.version();
}

std::string ServiceFixture::OpenSession(const std::string& model,
                                        const std::string& worker) {
  v1::OpenSessionRequest request;
  request.set_model(model);
  request.set_worker(worker);
  v1::OpenSessionResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      workers_->OpenSession(&context, request, &response);
  EXPECT_TRUE(status.ok()) << Describe(status, context);
  return response.session_id();
}

v1::PushHeader ServiceFixture::HeaderFor(const std::string& model,
                                         const std::string& session,
                                         int64_t sequence,
                                         const v1::Version& version,
                                         int64_t elems) {
  v1::PushHeader header;
  header.set_model(model);
  header.set_session_id(session);
  header.set_sequence(sequence);
  *header.mutable_version() = version;
  header.set_encoding(v1::ENCODING_F32);
  header.set_payload_bytes(elems * static_cast<int64_t>(sizeof(float)));
  return header;
}

grpc::Status ServiceFixture::Push(grpc::ClientContext* context,
                                  const v1::PushHeader& header,
                                  const std::string& payload,
                                  v1::PushResponse* response,
                                  size_t chunk_bytes) {
  auto writer = workers_->Push(context, response);
  v1::PushRequest request;
  *request.mutable_header() = header;
  WriteChunks(*writer, request, payload, chunk_bytes);
  return writer->Finish();
}

ServiceFixture::Pulled ServiceFixture::Pull(const v1::PullRequest& request) {
  Pulled pulled;
  grpc::ClientContext context;
  auto reader = workers_->Pull(&context, request);
  v1::PullResponse response;
  while (reader->Read(&response)) {
    EXPECT_EQ(response.has_header(), pulled.messages == 0);
    if (response.has_header()) pulled.header = response.header();
    pulled.bytes += response.chunk();
    ++pulled.messages;
  }
  pulled.status = reader->Finish();
  pulled.description = Describe(pulled.status, context);
  return pulled;
}

v1::GetServerInfoResponse ServiceFixture::Info() {
  v1::GetServerInfoResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      info_->GetServerInfo(&context, v1::GetServerInfoRequest(), &response);
  EXPECT_TRUE(status.ok()) << Describe(status, context);
  return response;
}

}  // namespace accrue
