#include "server/service/method_needs.h"

#include <string>

#include <google/protobuf/descriptor.h>

#include "absl/strings/str_cat.h"
#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/server_service.pb.h"
#include "accrue/v1/worker_service.pb.h"

namespace accrue {
namespace {

struct Entry {
  absl::string_view method;
  Need need;
};

constexpr Entry kNeeds[] = {
    {"/accrue.v1.ServerService/GetServerInfo", Need::kPull},

    {"/accrue.v1.ModelService/GetModel", Need::kPull},
    {"/accrue.v1.ModelService/ListModels", Need::kPull},
    {"/accrue.v1.ModelService/ListSessions", Need::kPull},
    {"/accrue.v1.ModelService/CreateModel", Need::kAdmin},
    {"/accrue.v1.ModelService/DeleteModel", Need::kAdmin},
    {"/accrue.v1.ModelService/InitializeModel", Need::kAdmin},
    {"/accrue.v1.ModelService/UpdateHyperparameters", Need::kAdmin},
    {"/accrue.v1.ModelService/EndCycle", Need::kAdmin},
    {"/accrue.v1.ModelService/Checkpoint", Need::kAdmin},
    {"/accrue.v1.ModelService/ListCheckpoints", Need::kAdmin},
    {"/accrue.v1.ModelService/Restore", Need::kAdmin},

    {"/accrue.v1.WorkerService/Pull", Need::kPull},
    {"/accrue.v1.WorkerService/Watch", Need::kPull},
    {"/accrue.v1.WorkerService/OpenSession", Need::kPush},
    {"/accrue.v1.WorkerService/Push", Need::kPush},
    {"/accrue.v1.WorkerService/CloseSession", Need::kPush},

    // Whatever starts and stops daemons asks for their health, and tells of
    // nothing but that; it should hold no secret for it.
    {"/grpc.health.v1.Health/Check", Need::kNothing},
    {"/grpc.health.v1.Health/Watch", Need::kNothing},
    // The API is public, but not that a daemon of it is here.
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     Need::kAnyToken},
};

}  // namespace

std::optional<Need> NeedOf(absl::string_view method) {
  for (const Entry& entry : kNeeds) {
    if (entry.method == method) return entry.need;
  }
  return std::nullopt;
}

absl::Status CheckMethodNeeds() {
  for (const google::protobuf::FileDescriptor* file :
       {v1::CreateModelRequest::descriptor()->file(),
        v1::PushRequest::descriptor()->file(),
        v1::GetServerInfoRequest::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      const google::protobuf::ServiceDescriptor& service = *file->service(i);
      for (int j = 0; j < service.method_count(); ++j) {
        const std::string method = absl::StrCat("/", service.full_name(), "/",
                                                service.method(j)->name());
        if (NeedOf(method).has_value()) continue;
        return absl::InternalError(
            absl::StrCat(method, ": nothing says who may call it"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace accrue
