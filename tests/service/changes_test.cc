// Models come and go on a slow disk.
#include <chrono>
#include <deque>
#include <future>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/service/disk_fixture.h"

namespace accrue {
namespace {

// More than there can be threads, on a machine of few processors.
constexpr int kDeletes = 300;

class ChangesTest : public DiskFixture {
 protected:
  struct Call {
    grpc::ClientContext context;
    v1::DeleteModelRequest request;
    v1::DeleteModelResponse response;
    std::promise<grpc::Status> ended;
  };

  void Delete(const std::string& model) {
    Call& call = calls_.emplace_back();
    call.request.set_model(model);
    models_->async()->DeleteModel(
        &call.context, &call.request, &call.response,
        [&call](grpc::Status status) { call.ended.set_value(status); });
  }

  std::deque<Call> calls_;
};

TEST_F(ChangesTest, HoweverManyWaitForTheDiskOthersAreAnswered) {
  CreateInitialized(PlainSpec("going", 3), {1, 2, 3});
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  std::promise<void> reached, go_on;
  faults().Add({.operation = "rename",
                .path_part = "/going@",
                .code = absl::StatusCode::kOk,
                .first = [&] {
                  reached.set_value();
                  go_on.get_future().wait();
                }});
  Delete("going");
  reached.get_future().wait();
  for (int i = 1; i < kDeletes; ++i) Delete("going");
  while (server_->live_call_count() < kDeletes) std::this_thread::yield();
  v1::GetModelRequest request;
  request.set_model("m");
  v1::GetModelResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  const grpc::Status described =
      models_->GetModel(&context, request, &response);
  EXPECT_TRUE(described.ok()) << described.error_message();
  go_on.set_value();
  int deleted = 0;
  for (Call& call : calls_) {
    const grpc::Status status = call.ended.get_future().get();
    EXPECT_TRUE(status.ok() || status.error_code() == grpc::NOT_FOUND);
    if (status.ok()) ++deleted;
  }
  EXPECT_EQ(deleted, 1);
}

}  // namespace
}  // namespace accrue
