// PullCall: a reader of one publication, or of none if it has the newest.
//
// Waits for a newer version if asked to, then streams slices of the
// publication's memory uncopied. The publication lives until gRPC has let go of
// the last of them.
//
// A reader whose memory is needed, or that takes nothing for too long, is told
// ABORTED SLOW_READER. If it does not take even that and lets go of the bytes
// within a moment, the call is cancelled (the client then sees ABORTED without
// the detail), and if the transport itself is stuck, its connection is closed.
//
// Memory.    owns itself until gRPC is done with it
// Threading. safe

#ifndef ACCRUE_SERVER_SERVICE_PULL_CALL_H_
#define ACCRUE_SERVER_SERVICE_PULL_CALL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/v1/worker_service.pb.h"
#include "server/base/mutex.h"
#include "server/service/call_environment.h"
#include "server/service/publication_stream.h"

namespace accrue {

using PullReactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

class PullCall final : public PullReactor,
                       public Reader,
                       public Waiter,
                       public std::enable_shared_from_this<PullCall> {
 public:
  static PullReactor* New(const CallEnvironment& environment,
                          grpc::CallbackServerContext* context,
                          const grpc::ByteBuffer& request);

  PullCall(const CallEnvironment& environment,
           grpc::CallbackServerContext* context);

  // Of the model: the publication's memory is needed.
  void End(absl::Status why) override;
  void OnDrain() override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using PublicationPtr = std::shared_ptr<const Publication>;
  enum class Phase { kChecking, kWaiting, kStreaming };

  // What is asked for, checked.
  struct Wanted {
    std::shared_ptr<Model> model;
    std::vector<int> tensors;  // ascending; empty: all
    bool changed_only = false;
    kernels::Encoding encoding = kernels::Encoding::kF32;
    Version have;
    absl::Duration wait;
  };
  static absl::StatusOr<Wanted> Check(const v1::PullRequest& request,
                                      std::shared_ptr<Model> model);

  absl::Status Answer(const grpc::ByteBuffer& request);
  void Wait(const Version& newest);
  void OnNotice(absl::StatusOr<PublicationPtr> notice);
  void AnswerUnchanged();
  void Stream(PublicationPtr publication);
  // Of what is wanted, the tensors of these groups, ascending.
  std::vector<int> TensorsOf(const std::vector<int32_t>& groups) const;
  void OnRanges(const PublicationPtr& publication,
                absl::StatusOr<std::vector<Publication::Range>> ranges);
  void WriteNext() ACCRUE_REQUIRES(mutex_);
  void Write(std::vector<grpc::Slice> chunk, bool last) ACCRUE_REQUIRES(mutex_);
  void FinishOnce(const absl::Status& status) ACCRUE_REQUIRES(mutex_);
  // A message has left.
  void CountSent(int64_t chunk_bytes, int64_t message_bytes);

  void EndNow(const absl::Status& why);
  void Cancel(const absl::Status& why);
  void CheckProgress();

  const CallEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  LiveCalls::Entry entry_;
  std::shared_ptr<PullCall> self_;  // until OnDone
  Wanted wanted_;                   // written by Answer alone

  Mutex mutex_;
  Phase phase_ ACCRUE_GUARDED_BY(mutex_) = Phase::kChecking;
  // Finish was called: nothing more may be written.
  bool finished_ ACCRUE_GUARDED_BY(mutex_) = false;
  // gRPC is done with the call: context_ is no more.
  bool done_ ACCRUE_GUARDED_BY(mutex_) = false;
  bool ending_ ACCRUE_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Model::Subscription> subscription_ ACCRUE_GUARDED_BY(mutex_);
  TimerId timer_ ACCRUE_GUARDED_BY(mutex_);  // of the wait, then of progress
  absl::Time progress_at_ ACCRUE_GUARDED_BY(mutex_);
  Publication::Registration registration_ ACCRUE_GUARDED_BY(mutex_);
  std::unique_ptr<PublicationStream> stream_ ACCRUE_GUARDED_BY(mutex_);
  // Expires when nobody refers to the publication's bytes any more.
  std::weak_ptr<const void> bytes_ ACCRUE_GUARDED_BY(mutex_);
  std::string header_ ACCRUE_GUARDED_BY(mutex_);         // empty once written
  grpc::ByteBuffer message_ ACCRUE_GUARDED_BY(mutex_);   // being written
  int64_t chunk_bytes_ ACCRUE_GUARDED_BY(mutex_) = 0;    // in message_
  int64_t message_bytes_ ACCRUE_GUARDED_BY(mutex_) = 0;  // of message_
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_PULL_CALL_H_
