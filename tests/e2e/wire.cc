#include "tests/e2e/wire.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace accrue {
namespace {

// gRPC shares channels that look alike: each Wire has its own.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                   arguments);
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
  return spec;
}

Ending Wire::Create(const v1::ModelSpec& spec) {
  grpc::ClientContext context;
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

Ending Wire::Initialize(const std::string& model) {
  grpc::ClientContext context;
  v1::InitializeModelResponse response;
  auto writer = models_->InitializeModel(&context, &response);
  v1::InitializeModelRequest request;
  request.mutable_header()->set_model(model);
  v1::Initializer* const zeros = request.mutable_header()->add_initializers();
  zeros->set_tensor("w");
  zeros->set_constant(0);
  writer->WriteLast(request, grpc::WriteOptions());
  return EndOf(writer->Finish(), context);
}

std::string Wire::Open(const std::string& model, const std::string& worker) {
  grpc::ClientContext context;
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
                     const std::string& session) {
  grpc::ClientContext context;
  v1::OpenSessionRequest request;
  request.set_model(model);
  request.set_worker(worker);
  request.set_session_id(session);
  v1::OpenSessionResponse response;
  return EndOf(workers_->OpenSession(&context, request, &response), context);
}

v1::Model Wire::Describe(const std::string& model) {
  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.set_model(model);
  v1::GetModelResponse response;
  const grpc::Status status = models_->GetModel(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.model();
}

Ending Wire::Delete(const std::string& model) {
  grpc::ClientContext context;
  v1::DeleteModelRequest request;
  request.set_model(model);
  v1::DeleteModelResponse response;
  return EndOf(models_->DeleteModel(&context, request, &response), context);
}

std::string Wire::Parameters(const std::string& model) {
  grpc::ClientContext context;
  v1::PullRequest request;
  request.set_model(model);
  request.set_encoding(v1::ENCODING_F32);
  auto reader = workers_->Pull(&context, request);
  std::string bytes;
  v1::PullResponse response;
  while (reader->Read(&response)) bytes += response.chunk();
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return bytes;
}

void Wire::AwaitIngest() {
  v1::GetServerInfoResponse info;
  do {
    grpc::ClientContext context;
    const grpc::Status status =
        server_->GetServerInfo(&context, v1::GetServerInfoRequest(), &info);
    ASSERT_TRUE(status.ok()) << status.error_message();
  } while (info.ingest_reserved_bytes() == 0);
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
  grpc::ClientContext context;
  v1::PushResponse ignored;
  auto writer =
      workers_->Push(&context, response != nullptr ? response : &ignored);
  v1::PushRequest request;
  *request.mutable_header() = header;
  size_t sent = 0;
  do {
    const size_t size = std::min(chunk_bytes, payload.size() - sent);
    request.set_chunk(payload.substr(sent, size));
    if (!writer->Write(request)) break;
    request.Clear();
    sent += size;
  } while (sent < payload.size());
  writer->WritesDone();
  return EndOf(writer->Finish(), context);
}

}  // namespace accrue
