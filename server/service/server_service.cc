#include "server/service/server_service.h"

#include <string>
#include <utility>
#include <vector>

#include "server/service/convert.h"
#include "server/service/limits.h"
#include "server/service/unary_call.h"

namespace accrue {
namespace {

// Of the CPU there is nothing to say that the machine's own tools do not.
std::vector<v1::DeviceInfo> DeviceInfos(const Backend& backend,
                                        const DeviceWatch& devices) {
  std::vector<v1::DeviceInfo> infos;
  for (size_t i = 0; i < backend.gpus.size(); ++i) {
    const Gpu& gpu = *backend.gpus[i];
    v1::DeviceInfo& info = infos.emplace_back();
    info.set_name(gpu.name());
    info.set_product(gpu.product());
    const absl::Status health = gpu.health();
    info.set_fault(std::string(health.message()));
    // Of a lost one it is not known any more.
    const auto memory = devices.memory(i);
    if (!health.ok() || !memory.has_value()) continue;
    info.set_total_bytes(memory->total_bytes);
    info.set_free_bytes(memory->free_bytes);
  }
  if (infos.empty()) infos.emplace_back().set_name(backend.device->name());
  return infos;
}

}  // namespace

grpc::ServerUnaryReactor* ServerService::GetServerInfo(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::GetServerInfoRequest*,
          v1::GetServerInfoResponse* response) {
        Describe(*response);
        call->Finish(absl::OkStatus());
      });
}

void ServerService::Describe(v1::GetServerInfoResponse& response) const {
  const IngestOptions& ingest = environment_.ingest->options();
  response.set_version(ACCRUE_VERSION);
  for (v1::DeviceInfo& info : DeviceInfos(backend_, devices_)) {
    response.add_devices(info.name());
    *response.add_device_infos() = std::move(info);
  }
  for (const auto encoding :
       {v1::ENCODING_F32, v1::ENCODING_BF16, v1::ENCODING_F16}) {
    response.add_encodings(encoding);
  }
  for (const auto encoding : {v1::ENCODING_INT8, v1::ENCODING_TOPK}) {
    response.add_push_encodings(encoding);
  }
  response.set_max_chunk_bytes(kMaxChunkBytes);
  response.set_ingest_memory_bytes(ingest.ingest_memory_bytes);
  response.set_max_push_streams(ingest.max_push_streams);
  response.set_max_sessions(max_sessions_);
  *response.mutable_push_idle_timeout() = ToApi(ingest.push_idle_timeout);
  response.set_draining(environment_.store->draining());
  response.set_memory_ceiling_bytes(MemoryCeiling(environment_));
  response.set_ingest_reserved_bytes(environment_.ingest->reserved_bytes());
}

}  // namespace accrue
