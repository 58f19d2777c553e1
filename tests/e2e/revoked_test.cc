// Streams that are open when their token comes to allow less.

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/any_call.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

constexpr char kOps[] = "the-token-of-ops";
constexpr char kWorker[] = "the-token-of-a-worker";

// Of the one whose token changes; none: it has none any more.
std::string Tokens(const std::string& worker) {
  return absl::StrCat("- {name: ops, token: ", kOps, ", role: admin}\n",
                      worker.empty() ? "" : "- {name: worker, token: ",
                      worker.empty() ? "" : kWorker, worker);
}

struct TokenContext : BoundedContext {
  explicit TokenContext(const std::string& token) {
    AddMetadata("authorization", "Bearer " + token);
  }
};

class RevokedTest : public testing::Test {
 protected:
  RevokedTest() {
    Write(", role: push, models: ['m*']}");
    daemon_ = Daemon::Start({"--token_file=" + file_});
    const auto channel =
        grpc::CreateChannel(daemon_->tcp(), grpc::InsecureChannelCredentials());
    models_ = v1::ModelService::NewStub(channel);
    workers_ = v1::WorkerService::NewStub(channel);
    Make();
  }

  void Write(const std::string& worker) {
    file_ = files_.Write("tokens", Tokens(worker));
  }

  void Make() {
    TokenContext creating(kOps), initializing(kOps);
    v1::CreateModelRequest create;
    *create.mutable_spec() = Wire::Spec("m", 2, 1);
    v1::CreateModelResponse created;
    ASSERT_TRUE(models_->CreateModel(&creating, create, &created).ok());
    v1::InitializeModelResponse initialized;
    const auto writer = models_->InitializeModel(&initializing, &initialized);
    v1::InitializeModelRequest initialize;
    initialize.mutable_header()->set_model("m");
    initialize.mutable_header()->set_encoding(v1::ENCODING_F32);
    initialize.mutable_header()->set_payload_bytes(8);
    initialize.set_chunk(std::string(8, '\0'));
    writer->WriteLast(initialize, {});
    ASSERT_TRUE(writer->Finish().ok());
    version_ = initialized.version();
  }

  // A watcher that has heard of the newest version.
  struct Watch {
    Watch(RevokedTest& test, const std::string& token) : context(token) {
      v1::WatchRequest request;
      request.set_model("m");
      call = test.workers_->Watch(&context, request);
      v1::WatchResponse response;
      EXPECT_TRUE(call->Read(&response));
    }
    // How it ended, without a further notice.
    grpc::Status End() {
      v1::WatchResponse response;
      EXPECT_FALSE(call->Read(&response));
      return call->Finish();
    }
    TokenContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchResponse>> call;
  };

  const Certificates files_;
  std::string file_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  v1::Version version_;
};

TEST_F(RevokedTest, AStreamOfATokenThatIsGoneIsEnded) {
  Watch watch(*this, kWorker), of_another(*this, kOps);
  Write("");
  const grpc::Status status = watch.End();
  EXPECT_EQ(status.error_code(), StatusCode::UNAUTHENTICATED)
      << status.error_message();
  // The other's hears of what comes.
  TokenContext ending(kOps);
  v1::EndCycleRequest end;
  end.set_model("m");
  v1::EndCycleResponse ended;
  EXPECT_TRUE(models_->EndCycle(&ending, end, &ended).ok());
  EXPECT_THAT(daemon_->Log(),
              HasSubstr("method=/accrue.v1.WorkerService/Watch model=\"m\" "
                        "code=UNAUTHENTICATED"));
  of_another.context.TryCancel();
  EXPECT_EQ(of_another.End().error_code(), StatusCode::CANCELLED);
}

TEST_F(RevokedTest, AStreamOfAModelThatItsTokenIsNotForAnyMoreIsEnded) {
  Watch watch(*this, kWorker);
  Write(", role: push, models: ['n*']}");
  const grpc::Status status = watch.End();
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("not for model \"m\""));
}

// Who waits for the next version would have been given it.
TEST_F(RevokedTest, APullThatWaitsIsEnded) {
  TokenContext context(kWorker);
  v1::PullRequest request;
  request.set_model("m");
  *request.mutable_have() = version_;
  request.set_encoding(v1::ENCODING_F32);
  request.mutable_wait()->set_seconds(3600);
  const auto pull = workers_->Pull(&context, request);
  Watch until_it_waits(*this, kWorker);
  Write("");
  v1::PullResponse response;
  EXPECT_FALSE(pull->Read(&response));
  EXPECT_EQ(pull->Finish().error_code(), StatusCode::UNAUTHENTICATED);
}

TEST_F(RevokedTest, ARoleThatShrinksEndsWhatItIsTooSmallForAlone) {
  Watch watch(*this, kWorker);
  TokenContext opening(kWorker), pushing(kWorker);
  v1::OpenSessionRequest open;
  open.set_model("m");
  open.set_worker("w");
  v1::OpenSessionResponse session;
  ASSERT_TRUE(workers_->OpenSession(&opening, open, &session).ok());
  v1::PushRequest push;
  push.mutable_header()->set_model("m");
  push.mutable_header()->set_session_id(session.session_id());
  push.mutable_header()->set_sequence(1);
  *push.mutable_header()->mutable_version() = version_;
  push.mutable_header()->set_encoding(v1::ENCODING_F32);
  push.mutable_header()->set_payload_bytes(8);
  v1::PushResponse response;
  const auto writer = workers_->Push(&pushing, &response);
  ASSERT_TRUE(writer->Write(push));
  Write(", role: pull, models: ['m*']}");
  const grpc::Status status = writer->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED)
      << status.error_message();
  watch.context.TryCancel();
  EXPECT_EQ(watch.End().error_code(), StatusCode::CANCELLED);
}

}  // namespace
}  // namespace accrue
