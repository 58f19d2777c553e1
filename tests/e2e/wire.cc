#include "tests/e2e/wire.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace accrue {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

// gRPC shares channels that look alike: each Wire has its own.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                   arguments);
}

// False: the call is over.
bool WriteChunks(grpc::ClientWriter<v1::PushRequest>& writer,
                 const v1::PushHeader* header, const std::string& payload,
                 size_t chunk_bytes = 1 << 20) {
  v1::PushRequest request;
  if (header != nullptr) *request.mutable_header() = *header;
  size_t sent = 0;
  do {
    const size_t size = std::min(chunk_bytes, payload.size() - sent);
    request.set_chunk(payload.substr(sent, size));
    if (!writer.Write(request)) return false;
    request.Clear();
    sent += size;
  } while (sent < payload.size());
  return true;
}

}  // namespace

std::string FloatBytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()),
                     values.size() * sizeof(float));
}

Ending EndOf(grpc::Status status, const grpc::ClientContext& context) {
  Ending ending{std::move(status), {}};
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find("accrue-error-bin");
  if (found != trailers.end()) {
    EXPECT_TRUE(ending.detail.ParseFromArray(
        found->second.data(), static_cast<int>(found->second.size())));
  }
  return ending;
}

Wire::Wire(const std::string& target)
    : channel_(NewChannel(target)),
      models_(v1::ModelService::NewStub(channel_)),
      workers_(v1::WorkerService::NewStub(channel_)),
      server_(v1::ServerService::NewStub(channel_)) {}

v1::ModelSpec Wire::Spec(const std::string& name, int64_t elems, int64_t k) {
  v1::ModelSpec spec;
  spec.set_name(name);
  v1::TensorSpec* const tensor = spec.add_tensors();
  tensor->set_name("w");
  tensor->add_shape(elems);
  v1::GroupSpec* const group = spec.add_groups();
  group->set_name("all");
  group->set_k(k);
  group->mutable_hyperparameters()->set_learning_rate(0.5);
  group->mutable_hyperparameters()->set_beta1(0.5);
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

Ending Wire::Create(const v1::ModelSpec& spec) {
  BoundedContext context;
  v1::CreateModelRequest request;
  *request.mutable_spec() = spec;
  v1::CreateModelResponse response;
  return EndOf(models_->CreateModel(&context, request, &response), context);
}

void Wire::Make(const v1::ModelSpec& spec) {
  const Ending created = Create(spec);
  ASSERT_TRUE(created.status.ok()) << created.status.error_message();
  const Ending initialized = Initialize(spec.name());
  ASSERT_TRUE(initialized.status.ok()) << initialized.status.error_message();
}

Ending Wire::Initialize(const std::string& model, bool restore) {
  v1::InitializeModelRequest request;
  request.mutable_header()->set_model(model);
  request.mutable_header()->set_restore(restore);
  const v1::ModelSpec spec = Describe(model).spec();
  for (const v1::TensorSpec& tensor : spec.tensors()) {
    v1::Initializer* const zeros = request.mutable_header()->add_initializers();
    zeros->set_tensor(tensor.name());
    zeros->set_constant(0);
  }
  return Send(request);
}

Ending Wire::InitializeValues(const std::string& model,
                              const std::vector<float>& values,
                              size_t missing) {
  v1::InitializeModelRequest request;
  request.mutable_header()->set_model(model);
  request.mutable_header()->set_restore(true);
  request.mutable_header()->set_encoding(v1::ENCODING_F32);
  request.mutable_header()->set_payload_bytes(
      static_cast<int64_t>(values.size() * sizeof(float)));
  request.set_chunk(FloatBytes(
      {values.begin(), values.end() - static_cast<std::ptrdiff_t>(missing)}));
  return Send(request);
}

Ending Wire::Send(const v1::InitializeModelRequest& request) {
  BoundedContext context;
  v1::InitializeModelResponse response;
  auto writer = models_->InitializeModel(&context, &response);
  writer->WriteLast(request, grpc::WriteOptions());
  return EndOf(writer->Finish(), context);
}

std::string Wire::Open(const std::string& model, const std::string& worker) {
  BoundedContext context;
  v1::OpenSessionRequest request;
  request.set_model(model);
  request.set_worker(worker);
  v1::OpenSessionResponse response;
  const grpc::Status status =
      workers_->OpenSession(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.session_id();
}

Ending Wire::TryOpen(const std::string& model, const std::string& worker,
                     const std::string& session,
                     v1::OpenSessionResponse* response) {
  BoundedContext context;
  v1::OpenSessionRequest request;
  request.set_model(model);
  request.set_worker(worker);
  request.set_session_id(session);
  v1::OpenSessionResponse ignored;
  return EndOf(workers_->OpenSession(&context, request,
                                     response != nullptr ? response : &ignored),
               context);
}

v1::Model Wire::Describe(const std::string& model) {
  BoundedContext context;
  v1::GetModelRequest request;
  request.set_model(model);
  v1::GetModelResponse response;
  const grpc::Status status = models_->GetModel(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.model();
}

std::vector<v1::Model> Wire::Models() {
  BoundedContext context;
  v1::ListModelsResponse response;
  const grpc::Status status =
      models_->ListModels(&context, v1::ListModelsRequest(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return {response.models().begin(), response.models().end()};
}

Ending Wire::Delete(const std::string& model) {
  BoundedContext context;
  v1::DeleteModelRequest request;
  request.set_model(model);
  v1::DeleteModelResponse response;
  return EndOf(models_->DeleteModel(&context, request, &response), context);
}

void Wire::EndCycle(const std::string& model) {
  BoundedContext context;
  v1::EndCycleRequest request;
  request.set_model(model);
  v1::EndCycleResponse response;
  const grpc::Status status = models_->EndCycle(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

std::string Wire::Parameters(const std::string& model, v1::Encoding encoding) {
  BoundedContext context;
  v1::PullRequest request;
  request.set_model(model);
  request.set_encoding(encoding);
  auto reader = workers_->Pull(&context, request);
  std::string bytes;
  v1::PullResponse response;
  while (reader->Read(&response)) bytes += response.chunk();
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return bytes;
}

int64_t Wire::ReservedBytes() {
  BoundedContext context;
  v1::GetServerInfoResponse info;
  const grpc::Status status =
      server_->GetServerInfo(&context, v1::GetServerInfoRequest(), &info);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return status.ok() ? info.ingest_reserved_bytes() : -1;
}

void Wire::AwaitIngest(int64_t bytes) {
  const absl::Time deadline = absl::Now() + kPatience;
  int64_t reserved = 0;
  do {
    ASSERT_LT(absl::Now(), deadline) << reserved << " bytes, want " << bytes;
    reserved = ReservedBytes();
    ASSERT_GE(reserved, 0);
  } while (bytes == 0 ? reserved > 0 : reserved < bytes);
}

std::vector<v1::Session> Wire::Sessions(const std::string& model) {
  BoundedContext context;
  v1::ListSessionsRequest request;
  request.set_model(model);
  v1::ListSessionsResponse response;
  const grpc::Status status =
      models_->ListSessions(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return {response.sessions().begin(), response.sessions().end()};
}

Wire::HalfPush::HalfPush(Wire& wire, const v1::PushHeader& header,
                         const std::string& payload, size_t bytes)
    : writer_(wire.workers().Push(&context_, &response_)),
      rest_(payload.substr(bytes)) {
  EXPECT_TRUE(WriteChunks(*writer_, &header, payload.substr(0, bytes)));
}

void Wire::HalfPush::FinishSending() {
  if (!rest_.empty()) WriteChunks(*writer_, nullptr, rest_);
  writer_->WritesDone();
}

Ending Wire::HalfPush::Finish(v1::PushResponse* response) {
  const grpc::Status status = writer_->Finish();
  if (response != nullptr) *response = response_;
  return EndOf(status, context_);
}

v1::PushHeader Wire::Header(const std::string& model,
                            const std::string& session, int64_t sequence,
                            const std::vector<float>& gradient) {
  v1::PushHeader header;
  header.set_model(model);
  header.set_session_id(session);
  header.set_sequence(sequence);
  *header.mutable_version() = Describe(model).version();
  header.set_encoding(v1::ENCODING_F32);
  header.set_payload_bytes(static_cast<int64_t>(gradient.size() * 4));
  return header;
}

Ending Wire::Push(const v1::PushHeader& header, const std::string& payload,
                  v1::PushResponse* response, size_t chunk_bytes) {
  BoundedContext context;
  v1::PushResponse ignored;
  auto writer =
      workers_->Push(&context, response != nullptr ? response : &ignored);
  WriteChunks(*writer, &header, payload, chunk_bytes);
  writer->WritesDone();
  return EndOf(writer->Finish(), context);
}

}  // namespace accrue
