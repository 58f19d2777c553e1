#include "server/service/server_service.h"

#include "server/service/convert.h"
#include "server/service/limits.h"
#include "server/service/unary_call.h"

namespace accrue {

grpc::ServerUnaryReactor* ServerService::GetServerInfo(
    grpc::CallbackServerContext* context, const v1::GetServerInfoRequest*,
    v1::GetServerInfoResponse* response) {
  const IngestOptions& ingest = environment_.ingest->options();
  response->set_version(ACCRUE_VERSION);
  for (const std::string& device : devices_) response->add_devices(device);
  for (const auto encoding :
       {v1::ENCODING_F32, v1::ENCODING_BF16, v1::ENCODING_F16}) {
    response->add_encodings(encoding);
  }
  for (const auto encoding : {v1::ENCODING_INT8, v1::ENCODING_TOPK}) {
    response->add_push_encodings(encoding);
  }
  response->set_max_chunk_bytes(kMaxChunkBytes);
  response->set_ingest_memory_bytes(ingest.ingest_memory_bytes);
  response->set_max_push_streams(ingest.max_push_streams);
  response->set_max_sessions(max_sessions_);
  *response->mutable_push_idle_timeout() = ToApi(ingest.push_idle_timeout);
  response->set_draining(environment_.store->draining());
  response->set_memory_ceiling_bytes(MemoryCeiling(environment_));
  response->set_ingest_reserved_bytes(environment_.ingest->reserved_bytes());
  const auto call = UnaryCall::New(environment_, context);
  call->Finish(absl::OkStatus());
  return call->reactor();
}

}  // namespace accrue
