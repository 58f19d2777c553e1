#include "tests/e2e/raw_push.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include <grpcpp/create_channel.h>

#include "accrue/v1/error.pb.h"

namespace accrue {

RawPush::RawPush(const std::string& target, const std::string& model,
                 const std::string& worker, int64_t payload_bytes)
    : stub_(v1::WorkerService::NewStub(
          grpc::CreateChannel(target, grpc::InsecureChannelCredentials()))) {
  v1::OpenSessionRequest open;
  open.set_model(model);
  open.set_worker(worker);
  v1::OpenSessionResponse session;
  grpc::ClientContext context;
  if (const auto status = stub_->OpenSession(&context, open, &session);
      !status.ok()) {
    std::cerr << worker << ": " << status.error_message() << "\n";
    std::exit(EXIT_FAILURE);
  }
  v1::PushHeader& header = *request_.mutable_header();
  header.set_model(model);
  header.set_session_id(session.session_id());
  header.set_sequence(1);
  *header.mutable_version() = session.version();
  header.set_encoding(v1::ENCODING_F32);
  header.set_payload_bytes(payload_bytes);
  writer_ = stub_->Push(&context_, &response_);
}

bool RawPush::Send(int64_t bytes, int64_t chunk_bytes) {
  while (bytes > 0) {
    const int64_t size = std::min(bytes, chunk_bytes);
    request_.mutable_chunk()->assign(static_cast<size_t>(size), '\0');
    if (!writer_->Write(request_)) return false;
    request_.clear_header();
    bytes -= size;
  }
  return true;
}

std::string RawPush::Finish() {
  writer_->WritesDone();
  const grpc::Status status = writer_->Finish();
  if (status.ok()) return "OK";
  const auto& trailers = context_.GetServerTrailingMetadata();
  const auto found = trailers.find("accrue-error-bin");
  v1::ErrorDetail detail;
  if (found == trailers.end() ||
      !detail.ParseFromArray(found->second.data(),
                             static_cast<int>(found->second.size()))) {
    return "gone";
  }
  const std::string name = v1::ErrorDetail::Reason_Name(detail.reason());
  return name.substr(std::strlen("REASON_"));
}

}  // namespace accrue
