#include "server/ingest/initialize_arrival.h"

#include "absl/strings/str_cat.h"

namespace accrue {

void InitializeArrival::OnHeader(InitializeHeader header, ByteChain chunk) {
  TakeHeader(
      [this, header = std::move(header), chunk = std::move(chunk)]() mutable {
        Begin(std::move(header), std::move(chunk));
      });
}

void InitializeArrival::Begin(InitializeHeader header, ByteChain chunk) {
  absl::Status usable = FindModel(header.model);
  if (usable.ok()) usable = CheckHeader(header);
  if (!usable.ok()) return Fail(std::move(usable));
  header_ = std::move(header);
  Receive({.noun = "values",
           .payload_bytes = header_.payload_bytes,
           .encoding = header_.encoding.value_or(kernels::Encoding::kF32)},
          std::move(chunk));
}

absl::Status InitializeArrival::CheckHeader(
    const InitializeHeader& header) const {
  const auto refuse = [&](Reason reason, const auto&... problem) {
    return Error(
        absl::StatusCode::kInvalidArgument, reason,
        absl::StrCat("values for model \"", header.model, "\": ", problem...));
  };
  if (absl::Status takes = model()->CheckTakesParameters(header.restore);
      !takes.ok()) {
    return takes;
  }
  if (header.encoding.has_value() && !header.initializers.empty()) {
    return refuse(Reason::kUnspecified,
                  "both values and initializers are given");
  }
  if (header.encoding.has_value() && !kernels::IsPlain(*header.encoding)) {
    return refuse(Reason::kUnspecified,
                  "an encoding for pushes only, want a plain one");
  }
  const int64_t want =
      header.encoding.has_value()
          ? model()->layout()->elems() * kernels::EncodedBytes(*header.encoding)
          : 0;
  if (header.payload_bytes != want) {
    return refuse(Reason::kWrongShape, header.payload_bytes, " bytes, want ",
                  want);
  }
  return absl::OkStatus();
}

void InitializeArrival::Deliver(PayloadAssembly payload,
                                Admission::Reservation reservation) {
  Initialization initialization;
  initialization.initializers = std::move(header_.initializers);
  initialization.seed = header_.seed;
  initialization.restore = header_.restore;
  initialization.source = std::move(header_.source);
  initialization.encoding = header_.encoding.value_or(kernels::Encoding::kF32);
  initialization.first_non_finite = payload.scan().first_non_finite();
  initialization.values = payload.TakeChain();
  initialization.reservation = std::move(reservation);
  auto self = std::static_pointer_cast<InitializeArrival>(shared_from_this());
  model()->Initialize(
      std::move(initialization), [self](absl::StatusOr<Version> version) {
        self->OnStrand([self, version = std::move(version)]() mutable {
          self->Answer(std::move(version));
        });
      });
}

void InitializeArrival::Answer(absl::StatusOr<Version> version) {
  if (Close()) std::exchange(done_, nullptr)(std::move(version));
}

}  // namespace accrue
