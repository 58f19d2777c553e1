// Who may call what: every RPC that the daemon serves, by every kind of caller.

#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/any_call.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using grpc::StatusCode;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr char kModel[] = "here";

constexpr char kPull[] = "token-of-a-puller";
constexpr char kPush[] = "token-of-a-pusher";
constexpr char kAdmin[] = "token-of-an-admin";
constexpr char kElsewhere[] = "token-for-others-only";
constexpr char kTokens[] = R"(
- {name: puller, token: token-of-a-puller, role: pull}
- {name: pusher, token: token-of-a-pusher, role: push}
- {name: admin, token: token-of-an-admin, role: admin}
- name: elsewhere
  token: token-for-others-only
  role: admin
  models: ["there", "h[!e]*"]
)";

enum class Role { kNobody, kAnyToken, kPull, kPush, kAdmin };

struct Row {
  Role least;         // that may call it
  bool about_model;   // the request names one
  StatusCode answer;  // to who may, of a request that says nothing else
};

// One line for each RPC that there is. An RPC of the API without one fails the
// test.
const std::map<std::string, Row>& Rows() {
  static const auto* const rows = new std::map<std::string, Row>{
      {"/accrue.v1.ServerService/GetServerInfo",
       {Role::kPull, false, StatusCode::OK}},
      {"/accrue.v1.ModelService/GetModel", {Role::kPull, true, StatusCode::OK}},
      {"/accrue.v1.ModelService/ListModels",
       {Role::kPull, false, StatusCode::OK}},
      {"/accrue.v1.ModelService/ListSessions",
       {Role::kPull, true, StatusCode::OK}},
      {"/accrue.v1.ModelService/CreateModel",
       {Role::kAdmin, true, StatusCode::INVALID_ARGUMENT}},
      {"/accrue.v1.ModelService/DeleteModel",
       {Role::kAdmin, true, StatusCode::OK}},
      {"/accrue.v1.ModelService/InitializeModel",
       {Role::kAdmin, true, StatusCode::ALREADY_EXISTS}},
      {"/accrue.v1.ModelService/UpdateHyperparameters",
       {Role::kAdmin, true, StatusCode::OK}},
      {"/accrue.v1.ModelService/EndCycle",
       {Role::kAdmin, true, StatusCode::OK}},
      {"/accrue.v1.ModelService/Checkpoint",
       {Role::kAdmin, true, StatusCode::FAILED_PRECONDITION}},
      {"/accrue.v1.ModelService/ListCheckpoints",
       {Role::kAdmin, true, StatusCode::FAILED_PRECONDITION}},
      {"/accrue.v1.ModelService/Restore",
       {Role::kAdmin, true, StatusCode::FAILED_PRECONDITION}},
      {"/accrue.v1.WorkerService/Pull",
       {Role::kPull, true, StatusCode::INVALID_ARGUMENT}},
      {"/accrue.v1.WorkerService/Watch", {Role::kPull, true, StatusCode::OK}},
      {"/accrue.v1.WorkerService/OpenSession",
       {Role::kPush, true, StatusCode::INVALID_ARGUMENT}},
      {"/accrue.v1.WorkerService/Push",
       {Role::kPush, true, StatusCode::INVALID_ARGUMENT}},
      {"/accrue.v1.WorkerService/CloseSession",
       {Role::kPush, true, StatusCode::OK}},
      {"/grpc.health.v1.Health/Check", {Role::kNobody, false, StatusCode::OK}},
      {"/grpc.health.v1.Health/Watch", {Role::kNobody, false, StatusCode::OK}},
      {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
       {Role::kAnyToken, false, StatusCode::OK}},
  };
  return *rows;
}

// Puts the model's name where the API has it: in the request, in its header, or
// in the spec. False: there is no such place.
bool SetModel(Message& message, const std::string& model) {
  const Descriptor& descriptor = *message.GetDescriptor();
  for (const auto& [part, name] :
       {std::pair("header", "model"), {"spec", "name"}}) {
    const FieldDescriptor* const field = descriptor.FindFieldByName(part);
    if (field == nullptr) continue;
    Message* const inner =
        message.GetReflection()->MutableMessage(&message, field);
    inner->GetReflection()->SetString(
        inner, inner->GetDescriptor()->FindFieldByName(name), model);
    return true;
  }
  const FieldDescriptor* const field = descriptor.FindFieldByName("model");
  if (field == nullptr) return false;
  message.GetReflection()->SetString(&message, field, model);
  return true;
}

class AccessTest : public testing::Test {
 protected:
  AccessTest() {
    char name[] = "/tmp/accrue_tokens_XXXXXX";
    file_ = name;
    const int fd = mkstemp(file_.data());
    close(fd);
    std::ofstream(file_) << kTokens;
    daemon_ = Daemon::Start({"--token_file=" + file_, "--reflection"});
    channel_ =
        grpc::CreateChannel(daemon_->tcp(), grpc::InsecureChannelCredentials());
  }
  ~AccessTest() override { unlink(file_.c_str()); }

  // Every RPC of the API and of the services beside it, with a request of its
  // own that names `model`.
  std::map<std::string, std::string> Requests(const std::string& model) {
    std::map<std::string, std::string> requests = {
        {"/grpc.health.v1.Health/Check", ""},
        {"/grpc.health.v1.Health/Watch", ""},
        // list_services
        {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
         std::string("\x3a\x00", 2)},
    };
    std::ifstream input(ACCRUE_DESCRIPTORS, std::ios::binary);
    google::protobuf::FileDescriptorSet set;
    EXPECT_TRUE(set.ParseFromIstream(&input)) << ACCRUE_DESCRIPTORS;
    DescriptorPool pool;
    google::protobuf::DynamicMessageFactory factory;
    for (const auto& file : set.file()) {
      const auto* const built = pool.BuildFile(file);
      for (int i = 0; i < built->service_count(); ++i) {
        for (int j = 0; j < built->service(i)->method_count(); ++j) {
          const auto& method = *built->service(i)->method(j);
          const std::unique_ptr<Message> request(
              factory.GetPrototype(method.input_type())->New());
          const std::string name =
              "/" + built->service(i)->full_name() + "/" + method.name();
          const auto row = Rows().find(name);
          EXPECT_NE(row, Rows().end())
              << name << ": nothing says here who may call it";
          const bool about_model = SetModel(*request, model);
          if (row != Rows().end()) {
            EXPECT_EQ(about_model, row->second.about_model) << name;
          }
          requests[name] = request->SerializeAsString();
        }
      }
    }
    return requests;
  }

  Ending Call(const std::string& method, const std::string& request,
              const Metadata& metadata) {
    return CallAny(channel_, method, request, metadata);
  }

  std::vector<std::string> AuditLines() const {
    std::vector<std::string> lines = absl::StrSplit(daemon_->Log(), '\n');
    std::erase_if(lines, [](const std::string& line) {
      return !absl::StrContains(line, " audit ");
    });
    return lines;
  }

  // A model of this name, as new.
  void Make(const std::string& model) {
    v1::CreateModelRequest create;
    *create.mutable_spec() = Wire::Spec(model, 2, 1);
    ASSERT_TRUE(Call("/accrue.v1.ModelService/CreateModel",
                     create.SerializeAsString(), Bearer(kAdmin))
                    .status.ok());
    v1::InitializeModelRequest initialize;
    initialize.mutable_header()->set_model(model);
    initialize.mutable_header()->set_encoding(v1::ENCODING_F32);
    initialize.mutable_header()->set_payload_bytes(8);
    initialize.set_chunk(std::string(8, '\0'));
    Call("/accrue.v1.ModelService/InitializeModel",
         initialize.SerializeAsString(), Bearer(kAdmin));
  }

  std::string file_;
  std::unique_ptr<Daemon> daemon_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(AccessTest, EveryCallerGetsOfEveryRpcWhatItsRoleAllows) {
  struct Caller {
    const char* name;
    Metadata metadata;
    std::optional<Role> role;  // none: it is nobody's token
    bool elsewhere = false;    // its token is for other models
  };
  const std::vector<Caller> callers = {
      {"no credentials", {}, std::nullopt},
      {"a wrong token", Bearer("token-of-an-admim"), std::nullopt},
      {"a token's beginning", Bearer("token-of-an-admi"), std::nullopt},
      {"an empty token", Bearer(""), std::nullopt},
      {"another scheme", {{"authorization", "Basic dXNlcjp3"}}, std::nullopt},
      {"two tokens",
       {{"authorization", std::string("Bearer ") + kAdmin},
        {"authorization", std::string("Bearer ") + kAdmin}},
       std::nullopt},
      {"pull", Bearer(kPull), Role::kPull},
      {"push", Bearer(kPush), Role::kPush},
      {"admin", Bearer(kAdmin), Role::kAdmin},
      {"an admin of other models", Bearer(kElsewhere), Role::kAdmin, true},
  };
  for (const auto& [method, request] : Requests(kModel)) {
    const auto row = Rows().find(method);
    if (row == Rows().end()) continue;  // has failed already
    for (const Caller& caller : callers) {
      SCOPED_TRACE(method + " by " + caller.name);
      Make(kModel);
      const Ending ending = Call(method, request, caller.metadata);
      const auto& [least, about_model, answer] = row->second;
      StatusCode expected = answer;
      if (least != Role::kNobody) {
        if (!caller.role.has_value()) {
          expected = StatusCode::UNAUTHENTICATED;
        } else if (*caller.role < least || (caller.elsewhere && about_model)) {
          expected = StatusCode::PERMISSION_DENIED;
        }
      }
      EXPECT_EQ(ending.status.error_code(), expected)
          << ending.status.error_message();
      EXPECT_THAT(ending.status.error_message(), Not(HasSubstr("token-of")));
    }
  }
  EXPECT_EQ(daemon_->Log().find("token-of"), std::string::npos);
}

TEST_F(AccessTest, EveryRpcThatTakesTheAdminsRoleIsAudited) {
  for (const auto& [method, request] : Requests(kModel)) {
    const auto row = Rows().find(method);
    if (row == Rows().end()) continue;  // has failed already
    SCOPED_TRACE(method);
    Make(kModel);
    const size_t before = AuditLines().size();
    Call(method, request, Bearer(kAdmin));
    const std::vector<std::string> lines = AuditLines();
    if (row->second.least != Role::kAdmin) {
      EXPECT_EQ(lines.size(), before);
      continue;
    }
    ASSERT_EQ(lines.size(), before + 1);
    const auto code = static_cast<absl::StatusCode>(row->second.answer);
    EXPECT_THAT(lines.back(),
                HasSubstr("audit caller=\"admin\" peer=127.0.0.1:"));
    EXPECT_THAT(lines.back(), EndsWith(absl::StrCat(
                                  " method=", method, " model=\"", kModel,
                                  "\" code=", absl::StatusCodeToString(code))));
  }
}

TEST_F(AccessTest, ARefusedCallChangesNothing) {
  Make(kModel);
  v1::DeleteModelRequest request;
  request.set_model(kModel);
  for (const char* token :
       {kPull, kPush, kElsewhere, "nobody-s-token-at-all"}) {
    const Ending ending = Call("/accrue.v1.ModelService/DeleteModel",
                               request.SerializeAsString(), Bearer(token));
    EXPECT_FALSE(ending.status.ok());
  }
  v1::GetModelRequest get;
  get.set_model(kModel);
  EXPECT_TRUE(Call("/accrue.v1.ModelService/GetModel", get.SerializeAsString(),
                   Bearer(kPull))
                  .status.ok());
}

TEST_F(AccessTest, OfModelsThatATokenIsNotForNothingIsTold) {
  Make(kModel);
  for (const char* model : {kModel, "no-such-model", "hero"}) {
    v1::GetModelRequest get;
    get.set_model(model);
    const Ending ending = Call("/accrue.v1.ModelService/GetModel",
                               get.SerializeAsString(), Bearer(kElsewhere));
    EXPECT_EQ(ending.status.error_code(), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ending.detail.subject(), model);
    EXPECT_EQ(ending.detail.current_version(), 0);
  }
}

class ListedTest : public AccessTest {
 protected:
  std::vector<std::string> Listed(const std::string& token, int page_size) {
    const auto stub = v1::ModelService::NewStub(channel_);
    std::vector<std::string> names;
    v1::ListModelsRequest request;
    request.set_page_size(page_size);
    do {
      BoundedContext context;
      context.AddMetadata("authorization", "Bearer " + token);
      v1::ListModelsResponse response;
      const grpc::Status status =
          stub->ListModels(&context, request, &response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      for (const auto& model : response.models()) {
        names.push_back(model.spec().name());
      }
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    return names;
  }
};

TEST_F(ListedTest, AreTheModelsOfTheTokenAlone) {
  for (const char* model : {"here", "hidden", "hot", "there", "zebra"}) {
    Make(model);
  }
  const std::vector<std::string> all = {"here", "hidden", "hot", "there",
                                        "zebra"};
  const std::vector<std::string> some = {"hidden", "hot", "there"};
  for (const int page_size : {0, 1, 2, 3, 4}) {
    EXPECT_EQ(Listed(kPull, page_size), all);
    EXPECT_EQ(Listed(kElsewhere, page_size), some);
  }
}

TEST_F(AccessTest, AnUnixSocketAsksForATokenToo) {
  const auto channel =
      grpc::CreateChannel(daemon_->uds(), grpc::InsecureChannelCredentials());
  constexpr char kList[] = "/accrue.v1.ModelService/ListModels";
  EXPECT_EQ(CallAny(channel, kList, "", {}).status.error_code(),
            StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(CallAny(channel, kList, "", Bearer(kPull)).status.ok());
}

TEST_F(AccessTest, AnRpcThatThereIsNotIsRefused) {
  for (const char* method :
       {"/accrue.v1.ModelService/NoSuchMethod", "/no.such.Service/Method"}) {
    for (const Metadata& metadata : {Metadata(), Bearer(kAdmin)}) {
      EXPECT_FALSE(Call(method, "", metadata).status.ok());
    }
  }
}

}  // namespace
}  // namespace accrue
