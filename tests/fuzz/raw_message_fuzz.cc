// Bytes as a stream's message, cut into slices: where the parser by hand and
// protobuf's own both take them they find the same. Bytes that no protobuf
// would write (a tag of more than 32 bits, say) one of the two may take alone;
// but what protobuf makes of those that it takes, both take.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <fuzzer/FuzzedDataProvider.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "accrue/v1/worker_service.pb.h"
#include "server/service/raw_message.h"
#include "tests/fuzz/chain_bytes.h"
#include "tests/fuzz/require.h"

namespace accrue::fuzz {
namespace {

void Compare(grpc::ByteBuffer buffer, const v1::PushRequest& request,
             bool must_be_taken) {
  const absl::StatusOr<RawMessage> parsed = ParseRawMessage(&buffer);
  if (!parsed.ok()) {
    return Require(!must_be_taken, "what protobuf writes is taken");
  }
  Require(BytesOf(parsed->chunk) == request.chunk(), "the chunk is the same");
  Require(parsed->header.has_value() == request.has_header(),
          "there is a header where there is one");
  if (!parsed->header.has_value()) return;
  v1::PushHeader header;
  Require(header.ParseFromString(*parsed->header), "the header can be read");
  Require(header.SerializeAsString() == request.header().SerializeAsString(),
          "the header is the same");
}

// As many slices as `sizes`, and one of what is left.
grpc::ByteBuffer Cut(const std::string& bytes,
                     const std::vector<size_t>& sizes) {
  std::vector<grpc::Slice> slices;
  size_t at = 0;
  for (const size_t size : sizes) {
    const size_t count = std::min(size, bytes.size() - at);
    slices.emplace_back(bytes.data() + at, count);
    at += count;
  }
  slices.emplace_back(bytes.data() + at, bytes.size() - at);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

void CompareCut(FuzzedDataProvider& in) {
  std::vector<size_t> sizes;
  for (int cuts = in.ConsumeIntegralInRange(0, 4); cuts > 0; --cuts) {
    sizes.push_back(in.ConsumeIntegralInRange<size_t>(0, 40));
  }
  const std::string bytes = in.ConsumeRemainingBytesAsString();
  v1::PushRequest request;
  if (request.ParseFromString(bytes)) {
    Compare(Cut(bytes, sizes), request, /*must_be_taken=*/false);
    Compare(Cut(request.SerializeAsString(), sizes), request, true);
  } else {
    grpc::ByteBuffer buffer = Cut(bytes, sizes);
    static_cast<void>(ParseRawMessage(&buffer));
  }
}

}  // namespace
}  // namespace accrue::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  accrue::fuzz::CompareCut(in);
  return 0;
}
