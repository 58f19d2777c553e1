#include "client/cpp/src/pull.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "accrue/v1/worker_service.pb.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/far_copy.h"
#include "client/cpp/src/raw_call.h"
#include "client/cpp/src/retry.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// What the wire's duration can say, and more than anybody needs.
constexpr absl::Duration kLongestWait = absl::Hours(24);

constexpr char kPullMethod[] = "/accrue.v1.WorkerService/Pull";

absl::Status Malformed(const char* what) {
  return absl::InternalError(absl::StrCat("pull: the daemon sent ", what));
}

// Takes one answer's messages apart. The chunks are not parsed by protobuf,
// which would copy them to a string first.
class PullReceiver {
 public:
  PullReceiver(const ModelSpec& spec, const v1::PullRequest& request,
               const PayloadBuffer& into)
      : spec_(spec), request_(request), into_(into) {}

  absl::Status Receive(grpc::ByteBuffer* message) {
    grpc::ProtoBufferReader slices(message);
    CodedInputStream input(&slices);
    while (const uint32_t tag = input.ReadTag()) {
      uint32_t size = 0;
      switch (tag) {
        case kHeaderTag:
          ACCRUE_RETURN_IF_ERROR(ReceiveHeader(&input));
          break;
        case kChunkTag:
          if (!input.ReadVarint32(&size)) return Malformed("half a chunk");
          ACCRUE_RETURN_IF_ERROR(ReceiveChunk(&input, size));
          break;
        default:
          if (!WireFormatLite::SkipField(&input, tag)) {
            return Malformed("something that is no message");
          }
      }
    }
    return absl::OkStatus();
  }

  int64_t received_bytes() const { return received_bytes_; }

  // After the last message of an answer that ended well.
  absl::StatusOr<PullResult> Result() const {
    if (!header_.has_value()) return CutShort();
    if (received_bytes_ != header_->payload_bytes()) return CutShort();
    return PullResult{.version = FromProto(header_->version()),
                      .unchanged = header_->unchanged(),
                      .folded_pushes = header_->folded_pushes()};
  }

 private:
  static constexpr uint32_t kHeaderTag =
      WireFormatLite::MakeTag(v1::PullResponse::kHeaderFieldNumber,
                              WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  static constexpr uint32_t kChunkTag =
      WireFormatLite::MakeTag(v1::PullResponse::kChunkFieldNumber,
                              WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

  absl::Status ReceiveHeader(CodedInputStream* input) {
    if (header_.has_value()) return Malformed("a second header");
    uint32_t size = 0;
    std::string bytes;
    v1::PullHeader header;
    if (!input->ReadVarint32(&size) || !input->ReadString(&bytes, size) ||
        !header.ParseFromString(bytes)) {
      return Malformed("half a header");
    }
    if (!header.unchanged()) {
      if (header.changed_only()) {
        ACCRUE_RETURN_IF_ERROR(PlaceChanged(header));
      } else {
        ACCRUE_RETURN_IF_ERROR(CheckSize(header.payload_bytes()));
        if (into_.size_bytes() > 0) places_ = {{.bytes = into_.size_bytes()}};
      }
    }
    header_ = std::move(header);
    return absl::OkStatus();
  }

  absl::Status CheckSize(int64_t bytes) const {
    if (bytes == into_.size_bytes()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("pull: the destination has ", into_.size_bytes(),
                     " bytes, the parameters asked for have ", bytes));
  }

  // Where the tensors of the changed groups belong.
  absl::Status PlaceChanged(const v1::PullHeader& header) {
    std::set<absl::string_view> changed, wanted;
    for (const int group : header.changed_groups()) {
      if (group < 0 || group >= static_cast<int>(spec_.groups.size())) {
        return Malformed("a group that the model does not have");
      }
      changed.insert(spec_.groups[static_cast<size_t>(group)].name);
    }
    for (const std::string& tensor : request_.tensors()) wanted.insert(tensor);
    int64_t all_bytes = 0, sent_bytes = 0, skipped_bytes = 0;
    for (const TensorSpec& tensor : spec_.tensors) {
      if (!wanted.empty() && wanted.count(tensor.name) == 0) continue;
      const int64_t bytes =
          ElementCount(tensor) * ElementBytes(into_.encoding());
      all_bytes += bytes;
      if (changed.count(tensor.group) > 0) {
        places_.push_back({std::exchange(skipped_bytes, int64_t{0}), bytes});
        sent_bytes += bytes;
      } else {
        skipped_bytes += bytes;
      }
    }
    if (sent_bytes != header.payload_bytes()) {
      return Malformed("more or less than the groups that it names");
    }
    return CheckSize(all_bytes);
  }

  absl::Status ReceiveChunk(CodedInputStream* input, int64_t size) {
    if (size > 0 && !header_.has_value()) {
      return Malformed("a chunk before the header");
    }
    while (size > 0) {
      if (place_ == places_.size()) {
        return Malformed("more bytes than it announced");
      }
      Place& place = places_[place_];
      Advance(std::exchange(place.skipped_bytes, int64_t{0}));
      const PayloadBuffer::Part part = into_.parts()[part_];
      const int64_t part_left = static_cast<int64_t>(part.size()) - part_start_;
      const int64_t copied = std::min({size, part_left, place.bytes});
      if (!Copy(input, part.data() + part_start_, copied)) {
        return Malformed("half a chunk");
      }
      Advance(copied);
      size -= copied;
      received_bytes_ += copied;
      place.bytes -= copied;
      if (place.bytes == 0) ++place_;
    }
    return absl::OkStatus();
  }

  // In the destination.
  void Advance(int64_t bytes) {
    while (bytes > 0) {
      const auto size = static_cast<int64_t>(into_.parts()[part_].size());
      const int64_t step = std::min(bytes, size - part_start_);
      bytes -= step;
      part_start_ += step;
      if (part_start_ == size) {
        ++part_;
        part_start_ = 0;
      }
    }
  }

  // The input's next bytes; false: it has not so many.
  bool Copy(CodedInputStream* input, std::byte* to, int64_t size) const {
    if (into_.size_bytes() < kFarBytes) {
      return input->ReadRaw(to, static_cast<int>(size));
    }
    while (size > 0) {
      const void* from;
      int there = 0;
      if (!input->GetDirectBufferPointer(&from, &there)) return false;
      there = static_cast<int>(std::min<int64_t>(there, size));
      FarCopy(to, static_cast<const std::byte*>(from),
              static_cast<size_t>(there));
      input->Skip(there);
      to += there;
      size -= there;
    }
    return true;
  }

  // A piece of the destination, behind so many bytes that stay as they are.
  struct Place {
    int64_t skipped_bytes = 0;
    int64_t bytes = 0;  // that it still lacks
  };

  const ModelSpec& spec_;
  const v1::PullRequest& request_;
  const PayloadBuffer& into_;
  std::optional<v1::PullHeader> header_;
  std::vector<Place> places_;  // what is sent, in turn
  size_t place_ = 0;
  int64_t received_bytes_ = 0;
  size_t part_ = 0;         // where the next byte goes
  int64_t part_start_ = 0;  // in that part
};

absl::StatusOr<PullResult> Attempt(Channel& channel, const ModelSpec& spec,
                                   const v1::PullRequest& request,
                                   const PayloadBuffer& into,
                                   const PullOptions& options,
                                   absl::Time deadline, Traffic* traffic) {
  ACCRUE_ASSIGN_OR_RETURN(const auto connection,
                          channel.GetConnection(deadline));
  RawCall call(connection, kPullMethod, deadline);
  const grpc::Slice slice(request.SerializeAsString());
  if (call.Write(grpc::ByteBuffer(&slice, 1), /*last=*/true)) {
    traffic->pull_request_bytes += static_cast<int64_t>(slice.size());
  }
  PullReceiver receiver(spec, request, into);
  grpc::ByteBuffer message;
  while (call.Read(&message)) {
    traffic->pull_response_bytes += static_cast<int64_t>(message.Length());
    // On an error the call is cancelled as it goes out of scope.
    ACCRUE_RETURN_IF_ERROR(receiver.Receive(&message));
    message.Clear();
    if (options.progress) options.progress(receiver.received_bytes());
  }
  ACCRUE_RETURN_IF_ERROR(call.Finish());
  return receiver.Result();
}

}  // namespace

absl::StatusOr<PullResult> PullInto(Channel& channel, const ModelSpec& spec,
                                    const PayloadBuffer& into,
                                    const PullOptions& options,
                                    Traffic* traffic) {
  const absl::Time wait_until =
      absl::Now() + std::min(options.wait, kLongestWait);
  const absl::Time deadline =
      wait_until + options.timeout.value_or(channel.options().transfer_timeout);
  v1::PullRequest request;
  request.set_model(spec.name);
  if (options.have.has_value()) {
    *request.mutable_have() = ToProto(*options.have);
  }
  request.set_encoding(ToProto(into.encoding()));
  for (const std::string& tensor : options.tensors) request.add_tensors(tensor);
  request.set_changed_only(options.changed_only);

  Retry retry(channel.options(), deadline);
  absl::StatusOr<PullResult> result;
  do {
    const absl::Duration wait =
        std::max(wait_until - absl::Now(), absl::ZeroDuration());
    *request.mutable_wait() = ToProto(wait);
    result = Attempt(channel, spec, request, into, options, deadline, traffic);
  } while (!result.ok() && Retryable(result.status()) &&
           retry.Wait(result.status()));
  return result;
}

}  // namespace accrue::client::internal
